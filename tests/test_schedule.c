/* Learning rates: the published ones to the last digit, ours as the header promises. */
#include "tests/golden_schedules.h"
#include "tests/test.h"
#include "train/schedule.h"

#include <math.h>

static int64_t steps[] = {20, 40}, restarts[] = {30}, periods[] = {30, 60};
static double weights[] = {0.5};

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-12 * fabs(b);
}

static struct kc_schedule multistep(void)
{
	return (struct kc_schedule){.lr = 1e-3, .warmup = -1, .gamma = 0.5, .steps = {steps, 2}};
}

static void test_golden(void)
{
	double worst;

	KC_CHECK(kc_golden_check_schedules(kc_test_fixture("golden/schedules.json"), &worst) == 10);
	KC_CHECK(worst <= 1e-12);
}

static void test_warmup(void)
{
	struct kc_schedule s = multistep();

	s.warmup = 10;
	for (int64_t k = 1; k <= 10; k++)
		KC_CHECK(near(kc_schedule_lr(&s, k), 1e-4 * (double)k));
	KC_CHECK(near(kc_schedule_lr(&s, 11), 1e-3) && near(kc_schedule_lr(&s, 20), 1e-3));
	KC_CHECK(near(kc_schedule_lr(&s, 21), 5e-4) && near(kc_schedule_lr(&s, 41), 2.5e-4));
	KC_CHECK(kc_schedule_logged(&s, 20) == kc_schedule_lr(&s, 20));
}

/* A milestone at 20 changes iteration 21; so does a restart at 30 iteration 31. */
static void test_restart(void)
{
	struct kc_schedule s = multistep();

	s.restarts = (struct kc_ints){restarts, 1};
	s.restart_weights = (struct kc_reals){weights, 1};
	KC_CHECK_OK(kc_schedule_check(&s));
	KC_CHECK(near(kc_schedule_lr(&s, 30), 5e-4) && near(kc_schedule_lr(&s, 31), 5e-4));
	KC_CHECK(near(kc_schedule_lr(&s, 41), 2.5e-4));
	KC_CHECK(!kc_schedule_restarts(&s, 30) && kc_schedule_restarts(&s, 31));
	s.published = true;
	KC_CHECK(!kc_schedule_restarts(&s, 31) && kc_schedule_restarts(&s, 32));
	s.published = false;
	s.kind = KC_SCHEDULE_COSINE;
	s.periods = (struct kc_ints){periods, 2};
	s.eta_min = 1e-7;
	KC_CHECK_OK(kc_schedule_check(&s));
	KC_CHECK(near(kc_schedule_lr(&s, 1), 1e-3) && near(kc_schedule_lr(&s, 31), 5e-4));
	KC_CHECK(near(kc_schedule_lr(&s, 16), (1e-3 + 1e-7) / 2));
	KC_CHECK(near(kc_schedule_lr(&s, 61), (5e-4 + 1e-7) / 2));
	KC_CHECK(near(kc_schedule_lr(&s, 91), 1e-7));
}

static void test_linear(void)
{
	struct kc_schedule s = {.kind = KC_SCHEDULE_LINEAR, .lr = 1, .decay_start = 10,
				.decay_iter = 4};

	KC_CHECK(kc_schedule_lr(&s, 1) == 1 && kc_schedule_lr(&s, 11) == 1);
	KC_CHECK(kc_schedule_lr(&s, 12) == 0.75 && kc_schedule_lr(&s, 15) == 0);
	KC_CHECK(kc_schedule_lr(&s, 1000) == 0);
}

/*
 * The public code step by step: the rate is a state that each iteration multiplies.  Our
 * closed form must follow it through warm-up, restarts and milestones wherever they fall.
 */
static double step_by_step(const struct kc_schedule *s, int64_t iterations)
{
	double rate = s->lr;

	for (int64_t e = 1; e <= iterations; e++) {
		bool restarted = false;

		for (size_t i = 0; i < s->restarts.n; i++)
			if (e == s->restarts.v[i] + 1) {
				rate = s->lr * s->restart_weights.v[i];
				restarted = true;
			}
		for (size_t i = 0; i < s->steps.n && !restarted; i++)
			if (e == s->steps.v[i])
				rate *= s->gamma;
		if (e < s->warmup)
			rate = s->lr / (double)s->warmup * (double)e;
	}
	return rate;
}

static void test_carried(void)
{
	struct kc_schedule s = multistep();

	s.published = true;
	s.restart_weights = (struct kc_reals){weights, 1};
	for (s.warmup = -1; s.warmup < 50; s.warmup++)
		for (restarts[0] = 1; restarts[0] < 60; restarts[0] += 7) {
			s.restarts = (struct kc_ints){restarts, 1};
			for (int64_t k = 1; k < 80; k++)
				KC_CHECK(near(kc_schedule_lr(&s, k), step_by_step(&s, k - 1)));
		}
	restarts[0] = 30;
}

static void test_lists(void)
{
	int64_t falling[] = {5, 4}, twice[] = {5, 5};
	struct kc_schedule s = multistep();

	s.steps = (struct kc_ints){falling, 2};
	KC_CHECK_ERR(kc_schedule_check(&s), KC_ECONFIG, "train.lr_steps");
	s.steps.v = twice;
	KC_CHECK_OK(kc_schedule_check(&s));
	s.restarts = (struct kc_ints){twice, 2};
	KC_CHECK_ERR(kc_schedule_check(&s), KC_ECONFIG, "train.restarts");
	s.restarts = (struct kc_ints){restarts, 1};
	KC_CHECK_ERR(kc_schedule_check(&s), KC_ECONFIG, "train.restart_weights: expected 1");
	s.restart_weights = (struct kc_reals){weights, 1};
	s.kind = KC_SCHEDULE_COSINE;
	KC_CHECK_ERR(kc_schedule_check(&s), KC_ECONFIG, "train.T_period: expected 2");
	s.kind = KC_SCHEDULE_ONECYCLE;
	KC_CHECK_ERR(kc_schedule_check(&s), KC_ECONFIG, "train.T_period: expected one");
	s.periods = (struct kc_ints){periods, 1};
	KC_CHECK_ERR(kc_schedule_check(&s), KC_ECONFIG, "train.pct_start");
}

const struct kc_test kc_tests_schedule[] = {
	{"published schedules equal the golden ones", test_golden},
	{"a warm-up ends at the scheduled rate", test_warmup},
	{"restarts act like milestones", test_restart},
	{"the linear decay ends at zero", test_linear},
	{"the published rate is carried along", test_carried},
	{"lists that do not fit are refused", test_lists},
	{0}
};
