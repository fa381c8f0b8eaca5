/* Whole frames: what the loader hands over is cut later, and nothing else changes. */
#include "data/loader.h"
#include "data/pack_build.h"
#include "data/symmetry.h"
#include "tests/clips.h"
#include "tests/loader_set.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

enum { RUN = 24 };

/* ---- the loader ---- */


/* Cut as the table says, they are the batch of a loader that cuts them itself. */
static void check_whole(const struct kc_batch *whole, const struct kc_batch *cut)
{
	size_t pixels = (size_t)whole->width * (size_t)whole->height;
	size_t frames = (size_t)(cut->window * cut->batch);
	size_t flows = (size_t)(cut->n_pairs * cut->batch);
	size_t out = (size_t)cut->width * (size_t)cut->height;
	uint8_t *pixel = kc_alloc(3 * out);
	float *flow = kc_alloc(2 * out * sizeof *flow);

	KC_ASSERT(pixel && flow);
	KC_CHECK(!whole->flows && !cut->stored_flows && !cut->cuts && whole->index == cut->index);
	for (size_t i = 0; i < KC_MAX(frames, flows); i++) {
		const int32_t *c = whole->cuts[i % (size_t)cut->batch];
		const struct kc_crop crop = {whole->width, c[0], c[1], cut->width, cut->height};

		KC_CHECK(c[0] >= 0 && c[0] + cut->width <= whole->width && c[1] >= 0 &&
			 c[1] + cut->height <= whole->height);
		if (i < frames) {
			kc_crop_pixels(whole->frames + 3 * i * pixels, &crop, (unsigned)c[2], 3,
				       pixel);
			KC_CHECK(!memcmp(pixel, cut->frames + 3 * i * out, 3 * out));
		}
		if (i < flows) {
			kc_crop_flow16(whole->stored_flows + 2 * i * pixels, &crop, (unsigned)c[2],
				       KC_PACK_FLOW_UNIT, flow);
			KC_CHECK(!memcmp(flow, cut->flows + 2 * i * out, 2 * out * sizeof *flow));
		}
	}
	free(pixel);
	free(flow);
}

/* Both from batch `first` on. */
static void compare_whole(const struct kc_dataset *d, struct kc_loader_opts o, int64_t first)
{
	struct kc_loader *l[2];
	const struct kc_batch *b[2];
	int n = 0;

	for (int i = 0; i < 2; i++) {
		o.whole = i == 0;
		o.workers = 2 * i;
		if (!KC_CHECK_OK(kc_loader_open(d, &o, first, &l[i])))
			return;
	}
	for (; n < RUN && KC_CHECK_OK(kc_loader_get(l[0], &b[0])) &&
	       KC_CHECK_OK(kc_loader_get(l[1], &b[1]));
	     n++) {
		check_whole(b[0], b[1]);
		for (int i = 0; i < 2; i++)
			kc_loader_release(l[i], b[i]);
	}
	KC_CHECK(n == RUN);
	for (int i = 0; i < 2; i++)
		kc_loader_close(l[i]);
}

static void test_whole(void)
{
	struct kc_dataset *folder = kc_test_set(), *d;
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_pack_job job = {.dataset = folder, .output = kc_test_path("x.h5"), .width = 40,
				  .height = 32, .offsets = {1, 2, 4}, .n_offsets = 3,
				  .dis = KC_DIS_ULTRAFAST, .workers = 2};

	o.flow = KC_LOADER_NO_FLOW;
	compare_whole(folder, o, 0);
	compare_whole(folder, o, 5);
	kc_test_spoil(kc_test_path("set/b"), "00002.png");
	compare_whole(folder, o, 0);
	kc_test_clip(kc_test_path("set"), "b", 6, 40, 32, 2);
	KC_CHECK_OK(kc_pack_build(&job));
	if (KC_CHECK_OK(kc_dataset_open(job.output, &d))) {
		o.window = 1;
		compare_whole(d, o, 0);
		o.window = 3;
		o.flow = KC_LOADER_PACK;
		compare_whole(d, o, 3);
		kc_dataset_close(d);
	}
	kc_dataset_close(folder);
}

static void test_no_whole(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_loader *l;

	o.whole = true;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "no DIS");
	o.flow = KC_LOADER_NO_FLOW;
	o.resize = 28;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "no resizing");
	o.resize = o.crop = 0;
	o.rotate = false;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "expected a crop");
	o.crop = 24;
	o.window = 1;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "a pack file for single images");
	kc_dataset_close(d);
	o.window = 3;
	kc_test_clip(kc_test_path("set"), "d", 5, 44, 32, 4);
	if (KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d))) {
		KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG,
			     "set: whole frames: expected all of one size");
		kc_dataset_close(d);
	}
}

static void test_no_memory(void)
{
	struct kc_dataset *folder = kc_test_set(), *d;
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_pack_job job = {.dataset = folder, .output = kc_test_path("x.h5"), .width = 40,
				  .height = 32, .offsets = {1, 2, 4}, .n_offsets = 3,
				  .dis = KC_DIS_ULTRAFAST, .workers = 1};
	const struct kc_batch *b;
	struct kc_loader *l;
	int rc = KC_ENOMEM;

	o.whole = true;
	o.flow = KC_LOADER_PACK;
	KC_CHECK_OK(kc_pack_build(&job));
	if (KC_CHECK_OK(kc_dataset_open(job.output, &d))) {
		for (long n = 1; rc < 0 && n < 400; n++) {
			kc_alloc_fail_after(n);
			rc = kc_loader_open(d, &o, 0, &l);
			if (rc >= 0) {
				rc = kc_loader_get(l, &b);
				kc_loader_close(l);
			}
			KC_CHECK(rc >= 0 || rc == KC_ENOMEM);
		}
		kc_alloc_fail_after(0);
		KC_CHECK(rc >= 0);
		kc_dataset_close(d);
	}
	kc_dataset_close(folder);
}

const struct kc_test kc_tests_whole[] = {
	{"whole frames, cut later, are the same batches", test_whole},
	{"frames that cannot be handed out whole", test_no_whole},
	{"failing allocations for whole frames are reported", test_no_memory},
	{0}};
