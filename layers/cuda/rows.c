/* Every kernel row of the device: the library's, then those of layers/cuda/rows.def. */
#include "layers/cuda/cuda.h"

#define KC_ROW(name) extern const struct kc_kernel kc_cuda_##name;
#include "layers/cuda/rows.def"
#undef KC_ROW

static const struct kc_kernel *const own[] = {
#define KC_ROW(name) &kc_cuda_##name,
#include "layers/cuda/rows.def"
#undef KC_ROW
	NULL
};

const struct kc_kernel *const *kc_cuda_rows(void)
{
	enum { ROOM = 256 };
	static const struct kc_kernel *all[ROOM];
	size_t n = 0;

	for (const struct kc_kernel *const *row = kc_cuda_library_rows; *row; row++)
		all[n++] = *row;
	for (const struct kc_kernel *const *row = own; *row; row++) {
		KC_ASSERT(n + 1 < ROOM);
		all[n++] = *row;
	}
	return all;
}
