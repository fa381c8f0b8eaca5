/* A run that is given less memory than it would take. */
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>

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

const struct kc_test kc_tests_memory[] = {
	{"memory: a cap splits the batch", test_cap},
	{"memory: a split step packs frozen weights once", test_packed},
	{"memory: a cap that nothing fits is told before the run", test_too_small},
	{0}};
