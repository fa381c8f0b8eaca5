/*
 * State writers of layers/cuda on the emulated device: parameters, moments, averages and gradients
 * have the processor's bits.  And what looks at many tensors at once.
 */
#include "layers/layers.h"
#include "layers/optim.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)

enum { PARAMS = 5, STEPS = 3 };

static const int64_t sizes[PARAMS][2] = {{3, 7}, {1, 1}, {130, 127}, {5, 40}, {64, 9}};

/* A store whose gradients are inputs, one of them turned. */
struct store {
	struct kc_device device;
	struct kc_graph *g;
	struct kc_params *params;
	struct kc_param *p[PARAMS];
	struct kc_tensor *grad[PARAMS], *value[PARAMS], *hyper, *finite, *scale;
	struct kc_plan *plan;
};

static uint64_t seed = 1;                /* of the order of threads */

static size_t count_of(const struct kc_tensor *t)
{
	return (size_t)kc_numel(&t->type);
}

static double noise(uint64_t i)
{
	i = (i + 1) * 0x9e3779b97f4a7c15u;
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
	return (float)((double)(i >> 40) / 8388608.0 - 1);
}

static bool store_open(struct store *s, bool emulated, bool amsgrad)
{
	*s = (struct store){.g = kc_graph_new(&kc_layers), .params = kc_params_new(KC_F32)};
	for (int i = 0; i < PARAMS; i++) {
		const struct kc_param like = {.type = REAL(sizes[i][0], sizes[i][1]),
					      .kind = KC_PARAM_LINEAR, .trainable = true};
		struct kc_type turned = REAL(sizes[i][1], sizes[i][0]);
		char name[16];

		snprintf(name, sizeof name, "p%d", i);
		s->p[i] = kc_params_get(s->params, name, &like);
		s->grad[i] = kc_input(s->g, name, i == 3 ? turned : like.type);
		s->value[i] = i == 3 ? kc_permute(s->g, s->grad[i], (int[]){1, 0}) : s->grad[i];
	}
	KC_CHECK_OK(kc_params_alloc(s->params, true, true));
	if (amsgrad)
		KC_CHECK_OK(kc_params_alloc_max(s->params));
	for (size_t i = 0; i < s->params->count; i++) {
		kc_params_put(s->params, s->params->master, i, noise(i));
		kc_params_put(s->params, s->params->ema, i, noise(i));
	}
	s->hyper = kc_input(s->g, "hyper", KC_TYPE(KC_F64, KC_HYPER_COUNT));
	s->finite = kc_input(s->g, "finite", REAL(1));
	s->scale = kc_input(s->g, "scale", REAL(1));
	emu_seed(seed++);
	if (emulated)
		return KC_CHECK_OK(kc_emulator_open(&s->device));
	kc_device_reference(&s->device);
	return true;
}

static void store_close(struct store *s)
{
	kc_plan_free(s->plan);
	kc_graph_free(s->g);
	kc_params_free(s->params);
	kc_device_release(&s->device);
}

static void store_feed(struct store *s, struct kc_tensor *input, double *x)
{
	KC_CHECK_OK(test_feed_all(s->plan, &(struct test_feed){input, x}, 1));
}

static void store_step(struct store *s, int step, double finite)
{
	double hyper[KC_HYPER_COUNT] = {[KC_HYPER_LR] = 0.01, [KC_HYPER_STEP] = step};

	for (int i = 0; i < PARAMS; i++) {
		size_t n = count_of(s->grad[i]);
		double *x = kc_calloc(n, sizeof *x);

		KC_ASSERT(x);
		for (size_t k = 0; k < n; k++)
			x[k] = noise(k + 7919 * (uint64_t)(PARAMS * step + i));
		store_feed(s, s->grad[i], x);
		free(x);
	}
	store_feed(s, s->hyper, hyper);
	store_feed(s, s->finite, &finite);
	store_feed(s, s->scale, &(double){0.7});
	KC_CHECK_OK(kc_plan_run(s->plan));
}

static bool store_plan(struct store *s, struct kc_tensor *const *fetch, int n)
{
	const struct kc_plan_opts opts = {.real = KC_F32, .deterministic = true};

	return KC_CHECK_OK(kc_plan_build(&s->plan, s->g, &s->device, fetch, n, &opts));
}

/* Bits of every array of both stores. */
static void compare_stores(struct store *a, struct store *b, const char *what)
{
	KC_CHECK_OK(kc_params_to_host(a->params));
	KC_CHECK_OK(kc_params_to_host(b->params));
	for (int i = 0; i < KC_PARAM_ARRAYS; i++) {
		const void *x = kc_params_array(a->params, (enum kc_param_array)i);
		const void *y = kc_params_array(b->params, (enum kc_param_array)i);
		size_t n = kc_params_length(a->params, (enum kc_param_array)i);

		KC_CHECK(!x == !y);
		if (x && y && memcmp(x, y, n * sizeof(float)))
			kc_test_fail(__FILE__, __LINE__, "%s: array %d differs", what, i);
	}
}

static const struct rule {
	const char *name;
	struct kc_optimizer_args args;
} rules[] = {
	{"adam", {.kind = KC_ADAM, .beta1 = .9, .beta2 = .99, .eps = 1e-8, .ema_decay = .99}},
	{"adam, decay, amsgrad", {.kind = KC_ADAM, .beta1 = .4, .beta2 = .999, .eps = 1e-5,
				  .weight_decay = .1, .amsgrad = true}},
	{"adamw", {.kind = KC_ADAMW, .beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .1}},
	{"sgd", {.kind = KC_SGD, .weight_decay = .01}},
	{"sgd, momentum", {.kind = KC_SGD, .momentum = .9, .ema_decay = .3}},
	{"sgd, nesterov", {.kind = KC_SGD, .momentum = .9, .nesterov = true}},
};

static void run_rule(struct store *s, const struct rule *r, bool emulated)
{
	struct kc_tensor *done;

	if (!store_open(s, emulated, r->args.amsgrad))
		return;
	done = kc_optimizer_step(s->g, s->params, &r->args, s->value, s->p, PARAMS, s->hyper,
				 s->scale, s->finite);
	if (!store_plan(s, &done, 1))
		return;
	for (int step = 1; step <= STEPS; step++)
		store_step(s, step, 1);
	KC_CHECK(kc_plan_scalar(s->plan, done) == 1);
	store_step(s, STEPS + 1, 0);
	KC_CHECK(kc_plan_scalar(s->plan, done) == 0);
}

static void test_optimizer(void)
{
	for (size_t i = 0; i < KC_COUNT(rules); i++) {
		struct store a, b;

		run_rule(&a, &rules[i], false);
		run_rule(&b, &rules[i], true);
		compare_stores(&a, &b, rules[i].name);
		store_close(&a);
		store_close(&b);
	}
}

/* Gradients added up, read again as a value of another plan, and a statistic that is assigned. */
static void run_state(struct store *s, bool emulated)
{
	struct kc_tensor *all[2];

	if (!store_open(s, emulated, false))
		return;
	all[0] = kc_accumulate(s->g, s->params, s->value, s->p, PARAMS);
	if (!store_plan(s, all, 1))
		return;
	for (int step = 1; step <= STEPS; step++)
		store_step(s, step, 1);
	KC_CHECK(kc_plan_scalar(s->plan, all[0]) == 1);
	kc_plan_free(s->plan);
	s->plan = NULL;
	for (int i = 0; i < 2; i++)
		all[i] = kc_assign(s->g, s->p[2 + i],
				   kc_scale(s->g, kc_stored_gradient(s->g, s->p[2 + i]), 0.5),
				   i ? s->finite : NULL);
	if (!store_plan(s, all, 2))
		return;
	for (int finite = 0; finite < 2; finite++) {
		store_step(s, 1, finite);
		KC_CHECK(kc_plan_scalar(s->plan, all[0]) == 1);
		KC_CHECK(kc_plan_scalar(s->plan, all[1]) == finite);
	}
}

static void test_state(void)
{
	struct store a, b;

	run_state(&a, false);
	run_state(&b, true);
	compare_stores(&a, &b, "state");
	store_close(&a);
	store_close(&b);
}

/* ---- many tensors ---- */

static void check_many(struct store *s, const double *bad, double norm, double finite)
{
	struct kc_tensor *fetch[2] = {kc_global_norm(s->g, s->value, PARAMS),
				      kc_all_finite(s->g, s->value, PARAMS)};
	const struct kc_plan_opts opts = {.real = KC_F32};
	double got[2];

	if (!KC_CHECK_OK(kc_plan_build(&s->plan, s->g, &s->device, fetch, 2, &opts)))
		return;
	for (int i = 0; i < PARAMS; i++) {
		size_t n = count_of(s->grad[i]);
		double *x = kc_calloc(n, sizeof *x);

		KC_ASSERT(x);
		for (size_t k = 0; k < n; k++)
			x[k] = 0.5;
		if (i == 3 && bad)
			x[n - 1] = *bad;
		store_feed(s, s->grad[i], x);
		free(x);
	}
	KC_CHECK_OK(kc_plan_run(s->plan));
	for (int i = 0; i < 2; i++)
		got[i] = kc_plan_scalar(s->plan, fetch[i]);
	KC_CHECK(got[1] == finite);
	KC_CHECK(isnan(norm) ? isnan(got[0]) : fabs(got[0] - norm) <= 1e-6 * norm ||
					       got[0] == norm);
	kc_plan_free(s->plan);
	s->plan = NULL;
}

static void test_many(void)
{
	const double nan = NAN, infinite = -INFINITY, large = 3e38;
	double n = 0;
	struct store s;

	if (!store_open(&s, true, false))
		return;
	for (int i = 0; i < PARAMS; i++)
		n += (double)(sizes[i][0] * sizes[i][1]);
	check_many(&s, NULL, 0.5 * sqrt(n), 1);
	check_many(&s, &nan, NAN, 0);
	check_many(&s, &infinite, INFINITY, 0);
	check_many(&s, &large, (float)large, 1);
	store_close(&s);
}

const struct kc_test kc_tests_cuda_optim[] = {
	{"the optimizer has the processor's bits", test_optimizer},
	{"accumulated gradients and statistics have the processor's bits", test_state},
	{"norm and check of many tensors", test_many},
	{0}};
