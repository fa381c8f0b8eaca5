/* A run that is given less memory than it would take. */
#include "tests/emulator/device.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double plan_mb(const struct kc_run *r)
{
	struct kc_plan_stats s;

	kc_training_stats(&r->training, &s);
	return (double)(s.arena + s.slots + s.packed + r->training.params->bytes) / 1e6;
}

/* The norm of the gradient in a step of batch 4; cap in MB, 0 for none. */
static double take_step(const char *reduction, double cap, double *mb, int64_t *accumulate)
{
	struct kc_config c = {0};
	struct kc_run r = {0};
	char text[64];
	const char *set[] = {"datasets.train.batch_size=4", "datasets.train.GT_size=32",
			     "train.pixel_weight=1", reduction, text, NULL};
	double norm = NAN;

	snprintf(text, sizeof text, "memory_cap=%.6f", cap);
	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, set)) && kc_test_step(&r)) {
		*mb = plan_mb(&r);
		*accumulate = c.optimizer.accumulate;
		norm = r.training.grad_norm;
	}
	kc_test_close(&r, &c);
	return norm;
}

/* Two batches of two are one of four but for the order of sums. */
static void check_cap(const char *reduction)
{
	double mb = 0, less = 0, norm, capped;
	int64_t accumulate = 0;

	norm = take_step(reduction, 0, &mb, &accumulate);
	KC_CHECK(accumulate == 1);
	capped = take_step(reduction, 0.95 * mb, &less, &accumulate);
	KC_CHECK(accumulate == 2 && less < 0.95 * mb);
	KC_CHECK(fabs(capped - norm) <= 1e-4 * norm);
	capped = take_step(reduction, 100 * mb, &less, &accumulate);
	KC_CHECK(accumulate == 1 && capped == norm);
}

static void test_cap(void)
{
	check_cap("train.reduction=mean");
	check_cap("train.reduction=sum");
}

/* Bytes of frozen weights in the forms that kernels want, under that cap in MB. */
static size_t packed_bytes(double cap)
{
	struct kc_config c = {0};
	struct kc_run r = {0};
	char text[64];
	size_t bytes = 0;

	snprintf(text, sizeof text, "memory_cap=%.6f", cap);
	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, (const char *[]){"datasets.train.batch_size=4", text,
							      NULL})))
		bytes = r.device.packed_bytes;
	KC_CHECK((c.optimizer.accumulate > 1) == (cap > 0));
	kc_test_close(&r, &c);
	return bytes;
}

/* Those of the step that did not fit are given back. */
static void test_packed(void)
{
	double mb = 0;
	int64_t accumulate;
	size_t whole;

	take_step("train.reduction=mean", 0, &mb, &accumulate);
	whole = packed_bytes(0);
	KC_CHECK(whole > 0 && packed_bytes(0.8 * mb) <= whole);
}

static void test_too_small(void)
{
	struct kc_config c = {0};
	struct kc_run r = {0};

	kc_test_clips();
	KC_CHECK_ERR(kc_test_open(&r, &c, (const char *[]){"memory_cap=0.001", NULL}), KC_ENOMEM,
		     "memory_cap");
	kc_test_close(&r, &c);
}

/* The norms of the keyframe network see less when a batch is split: it is said. */
static void test_parts(void)
{
	const char *set[] = {"model=idc", "network_G.which_model_G=siggraph17",
			     "datasets.train.batch_size=16", "train.niter=1", "train.drop_grey=5",
			     "memory_cap=1e9", NULL, NULL, NULL};
	const char *said;
	struct kc_config c = {0};
	struct kc_run r = {0};
	struct kc_plan_stats s;
	char cap[64];

	kc_test_clips();
	if (!KC_CHECK_OK(kc_test_open(&r, &c, set)))
		return;
	kc_training_stats(&r.training, &s);
	snprintf(cap, sizeof cap, "memory_cap=%.6f",
		 ((double)kc_run_step_bytes(&r) - 0.1 * (double)s.arena) / 1e6);
	kc_test_close(&r, &c);
	set[5] = cap;
	KC_CHECK_OK(kc_test_train(set, &said));
	KC_CHECK(strstr(said, "a step takes 2 batches of 8"));
	KC_CHECK(strstr(said, "batch norm takes its moments over each part alone"));
	KC_CHECK(strstr(said, "drop_grey counts") && !strstr(said, "wgangp"));
	/* Of one image, the norms of the branch of global hints would see one value. */
	set[2] = "datasets.train.batch_size=2";
	set[5] = "memory_cap=1";
	set[6] = "network_G.global_hints=true";
	KC_CHECK_ERR(kc_test_train(set, &said), KC_ENOMEM, "(memory_cap); expected a smaller");
}

/* Zeroing leaves the host's array alone where the device's counts, and only there. */
static void test_zero(void)
{
	struct kc_params *s = kc_params_new(KC_F32);
	struct kc_param like = {.type = KC_TYPE(KC_F32, 64), .trainable = true}, *p;
	struct kc_device d;
	float *grad;

	if (!KC_CHECK_OK(kc_emulator_open(&d)))
		return;
	p = kc_params_get(s, "w", &like);
	KC_CHECK_OK(kc_params_alloc(s, false, false));
	grad = s->grad;
	grad[3] = 1;
	KC_CHECK_OK(kc_params_zero(s, KC_ARRAY_GRAD));
	KC_CHECK(grad[3] == 0);
	grad[3] = 2;
	kc_param_changed(p);
	KC_CHECK_OK(kc_params_to_device(s, &d));
	KC_CHECK_OK(kc_params_zero(s, KC_ARRAY_GRAD));
	KC_CHECK(grad[3] == 2);
	KC_CHECK_OK(kc_params_to_host(s));
	KC_CHECK(grad[3] == 0);
	grad[3] = 3;
	kc_param_changed(p);
	KC_CHECK_OK(kc_params_zero(s, KC_ARRAY_GRAD));
	KC_CHECK(grad[3] == 0);
	kc_params_free(s);
	kc_device_release(&d);
}

const struct kc_test kc_tests_memory[] = {
	{"memory: a cap splits the batch", test_cap},
	{"memory: a split step packs frozen weights once", test_packed},
	{"memory: what a split batch changes is said", test_parts},
	{"memory: zeroing where an array counts", test_zero},
	{"memory: a cap that nothing fits is told before the run", test_too_small},
	{0}};
