/* VGG and the losses on its features, alone and in training. */
#include "core/file.h"
#include "layers/cpu/cpu.h"
#include "models/vgg.h"
#include "tests/step_run.h"
#include "tests/test.h"
#include "weights/safetensors.h"

#include <math.h>
#include <stdlib.h>

static void test_layers(void)
{
	static const int64_t relus16[] = {1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29};
	static const int64_t relus19[] = {1,  3,  6,  8,  11, 13, 15, 17,
					  20, 22, 24, 26, 29, 31, 33, 35};
	size_t at16 = 0, at19 = 0;

	for (int64_t i = -1; i < 50; i++) {
		bool in16 = at16 < KC_COUNT(relus16) && relus16[at16] == i;
		bool in19 = at19 < KC_COUNT(relus19) && relus19[at19] == i;

		KC_CHECK(kc_vgg_has(KC_VGG16, i) == in16);
		KC_CHECK(kc_vgg_has(KC_VGG19, i) == in19);
		at16 += in16;
		at19 += in19;
	}
}

static int open_cpu(struct kc_device *d, void *own)
{
	(void)own;
	return kc_device_cpu(d, 1);
}

#define SMALL "flow=dis", "datasets.train.keyframe_interval=1", "datasets.train.batch_size=1", \
	"datasets.train.GT_size=32", "network_G.width=0.125", "train.lr_G=1e-3"

static double term(const struct step_run *r, const char *name)
{
	for (int i = 0; i < r->training.n_terms; i++)
		if (!strcmp(r->training.terms[i].name, name))
			return r->training.terms[i].last;
	return NAN;
}

static void check_config(const char *bad, const char *message)
{
	const char *const set[] = {SMALL, "perceptual.weight=1", bad, NULL};
	struct step_run r;

	KC_CHECK_ERR(step_open(&r, open_cpu, NULL, set), KC_ECONFIG, message);
	step_close(&r);
}

static void test_config(void)
{
	check_config("perceptual.layers=[3, 4]", "layers: 4 is not the number of a ReLU");
	check_config("perceptual.layers=[8, 3]", "perceptual.layers: 3 is not");
	check_config("perceptual.layer_weights=[1]", "1 weights for 4 layers");
}

/* The same pieces of film again and again: the losses on features fall. */
static void test_training(void)
{
	static const char *const set[] = {SMALL, "train.srl_weight=0", "perceptual.weight=1",
					  "perceptual.style_weight=10", "perceptual.layers=[3, 8]",
					  "perceptual.layer_weights=[1, 0.5]", NULL};
	double content = NAN, style = NAN;
	struct step_run r;

	if (KC_CHECK_OK(step_open(&r, open_cpu, NULL, set)) && KC_CHECK_OK(step_take(&r, 1))) {
		content = term(&r, "l_percep");
		style = term(&r, "l_style");
		for (int i = 0; i < 60; i++) {
			r.steps = 0;
			KC_CHECK_OK(step_take(&r, 1));
		}
		KC_CHECK(content > 0 && style > 0);
		KC_CHECK(term(&r, "l_percep") < 0.9 * content);
		KC_CHECK(term(&r, "l_style") < 0.9 * style);
	}
	step_close(&r);
}

/* Without weights the losses are absent, and the log is told; so the run is the same as without. */
static void test_absent(void)
{
	static const char *const set[] = {SMALL, "network_G.init=random", "train.pixel_weight=1",
					  "perceptual.weight=1", NULL};
	struct step_run r;

	if (KC_CHECK_OK(step_open(&r, open_cpu, NULL, set))) {
		KC_CHECK(r.training.n_remarks == 1 && strstr(r.training.remark[0], "left out"));
		KC_CHECK(isnan(term(&r, "l_percep")));
	}
	step_close(&r);
}

/* A file as published: the classifier is in it, too. */
static void write_vgg(const char *path)
{
	static const int64_t dims[4][4] = {{64, 3, 3, 3}, {64}, {64, 64, 3, 3}, {64}};
	static const char *const names[] = {"features.0.weight", "features.0.bias",
					    "features.2.weight", "features.2.bias",
					    "classifier.6.bias"};
	float *zeros = kc_calloc(64 * 64 * 9, sizeof *zeros);
	struct kc_st_item items[5] = {0};

	for (int i = 0; i < 5; i++) {
		items[i] = (struct kc_st_item){.name = names[i], .dtype = KC_ST_F32, .data = zeros};
		items[i].ndim = i % 2 || i == 4 ? 1 : 4;
		memcpy(items[i].dim, dims[i == 4 ? 1 : i], sizeof(int64_t[4]));
	}
	KC_CHECK_OK(kc_st_save(path, items, 5, NULL, 0));
	free(zeros);
}

static void test_file(void)
{
	char *vgg = kc_format("path.pretrain_vgg=%s", kc_test_path("vgg.safetensors"));
	const char *set[] = {SMALL, "network_G.init=random", "perceptual.weight=1",
			     "perceptual.layers=[3]", vgg, NULL};
	struct step_run r;

	write_vgg(kc_test_path("vgg.safetensors"));
	if (KC_CHECK_OK(step_open(&r, open_cpu, NULL, set)) && KC_CHECK_OK(step_take(&r, 1)))
		KC_CHECK(term(&r, "l_percep") == 0);    /* all features are 0 */
	step_close(&r);
	free(vgg);
}

const struct kc_test kc_tests_perceptual[] = {
	{"perceptual: the ReLUs of VGG by number", test_layers},
	{"perceptual: layers that are none are refused", test_config},
	{"perceptual: losses on features fall", test_training},
	{"perceptual: without weights they are left out", test_absent},
	{"perceptual: weights from a published file", test_file},
	{0}};
