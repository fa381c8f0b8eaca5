/*
 * How layers/cuda/nccl.c finds NCCL, or says that there is none.  The other tests have an emulated
 * one in its place (tests/emulator/nccl.c), so here its functions bear other names.
 */
#define kc_nccl_version product_nccl_version
#define kc_nccl_id_make product_nccl_id_make
#define kc_nccl_open product_nccl_open
#define kc_nccl_close product_nccl_close
#define kc_nccl_abort product_nccl_abort
#define kc_nccl_sum product_nccl_sum
#define kc_nccl_check product_nccl_check

#include "layers/cuda/nccl.c"

#include "tests/test.h"

#include <string.h>

/* Found or not, depending on the machine. */
static void test_nccl(void)
{
	struct kc_nccl_id id;
	char text[32];
	int rc = kc_nccl_version(text, sizeof text);

	if (rc == 0) {
		KC_CHECK(!strncmp(text, "NCCL 2.", 7));
		return;
	}
	KC_CHECK_ERR(rc, KC_ENOSUP, "training on several GPUs needs NCCL: libnccl.so.2");
	KC_CHECK_ERR(kc_nccl_id_make(&id), KC_ENOSUP, "needs NCCL");
	KC_CHECK(!strchr(kc_errmsg(), '\n'));
}

#if __has_include(<nccl.h>)
#include <nccl.h>
_Static_assert(sizeof(ncclUniqueId) == KC_NCCL_ID, "an id is passed by value");
_Static_assert(ncclInProgress == 7 && ncclFloat32 == 7 && ncclSum == 0,
	       "numbers of layers/cuda/nccl.c");
#endif

const struct kc_test kc_tests_nccl[] = {
	{"NCCL is found, or missed in one line", test_nccl},
	{0}};
