#include "tests/loader_set.h"

#include "tests/clips.h"
#include "tests/test.h"

static const struct kc_loader_pair some_pairs[] = {{0, 1}, {2, 1}, {2, 0}};

struct kc_dataset *kc_test_set(void)
{
	struct kc_dataset *d = NULL;

	kc_test_clip(kc_test_path("set"), "a", 10, 40, 32, 1);
	kc_test_clip(kc_test_path("set"), "b", 6, 40, 32, 2);
	kc_test_clip(kc_test_path("set"), "c", 3, 40, 32, 3);
	KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d));
	return d;
}

struct kc_loader_opts kc_test_loader_opts(void)
{
	static const int64_t intervals[] = {1, 2};

	return (struct kc_loader_opts){
		.window = 3, .intervals = intervals, .n_intervals = 2, .random_reverse = true,
		.crop = 24, .flip = true, .rotate = true, .shuffle = true, .seed = 11, .batch = 2,
		.flow = KC_LOADER_DIS, .dis = KC_DIS_ULTRAFAST, .pairs = some_pairs, .n_pairs = 3};
}
