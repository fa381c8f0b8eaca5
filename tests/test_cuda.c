/*
 * Kernels of layers/cuda on the emulated device against the reference: where chains find their
 * operands, how sums are cut, lines, and the updates of parameters, which equal the processor's
 * bit for bit.  (All operators of the table: tests/test_cuda_ops.c.)
 */
#include "layers/optim.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/op_check.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)
#define N (b->row->n)

static uint64_t seed = 1;

/* Another order of threads for every plan. */
static int open_emulator(struct kc_device *d)
{
	emu_seed(seed++);
	return kc_emulator_open(d);
}

static const struct op_config configs[] = {
	{"float32", open_emulator, KC_F32, false, false, true, OP_DENSE, 1e-5},
	{"float32, sliced", open_emulator, KC_F32, false, true, true, OP_SLICED, 1e-5},
	{"float32, turned", open_emulator, KC_F32, false, false, true, OP_TURNED, 1e-5},
	{"bfloat16", open_emulator, KC_F32, true, false, true, OP_DENSE, 2e-2},
};

static void check_rows(const struct op_row *row)
{
	for (; row->op; row++) {
		struct kc_device device;
		struct trial t;

		if (KC_CHECK_OK(op_check_want(&t, &device, row)))
			for (size_t i = 0; i < KC_COUNT(configs); i++)
				op_check(&t, &configs[i], NULL);
		trial_release(&t);
		kc_device_release(&device);
	}
}

static double noise(uint64_t i)
{
	i = (i + 1) * 0x9e3779b97f4a7c15u;
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
	return (float)((double)(i >> 40) / 8388608.0 - 1);
}

/* ---- chains: N = n, c, h, w ---- */

/* Operands as large as the result, of one image, one row, one channel, one number. */
static void repeated(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(N[0], N[1], N[2], N[3]));
	struct kc_tensor *image = op_real(b, -1, 1, REAL(1, N[1], N[2], N[3]));
	struct kc_tensor *bias = op_real(b, -1, 1, REAL(1, N[1], 1, 1));
	struct kc_tensor *mask = op_real(b, -1, 1, REAL(N[0], 1, N[2], N[3]));
	struct kc_tensor *one = op_real(b, 1, 2, REAL(1));
	struct kc_tensor *y = kc_pw3(b->g, KC_PW_fma, 0, 0, x, bias, image);

	y = kc_pw3(b->g, KC_PW_blend, 0, 0, kc_sigmoid(b->g, mask), y, x);
	op_give(b, kc_sub(b->g, kc_mul(b->g, kc_tanh(b->g, y), one), kc_mul(b->g, y, image)));
}

/* Results go to channels of something larger. */
static void into_slices(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(N[0], N[1], N[2], N[3]));
	struct kc_tensor *y = op_real(b, -1, 1, REAL(N[0], 3, N[2], N[3]));

	y = kc_exp(b->g, y);
	op_give(b, KC_CONCAT(b->g, 1, kc_tanh(b->g, x), y, kc_square(b->g, x)));
}

/* More values alive at once than small blocks have room for. */
static void many_values(struct op_build *b)
{
	struct kc_tensor *v[15], *y;

	v[0] = op_real(b, 0.8, 1, REAL(N[0], N[1], N[2], N[3]));
	for (int i = 1; i < 15; i++)
		v[i] = kc_pw1(b->g, KC_PW_affine, 0.9, 0.01 * i, v[i - 1]);
	y = v[14];
	for (int i = 13; i >= 0; i--)
		y = kc_add(b->g, y, v[i]);
	op_give(b, y);
}

/* Operands that are no real numbers. */
static void of_integers(struct op_build *b)
{
	struct kc_tensor *x = op_integers(b, 256, KC_TYPE(KC_U8, N[0], N[1], N[2], N[3]));
	struct kc_tensor *i = op_integers(b, 9, KC_TYPE(KC_I32, N[0], N[1], N[2], N[3]));
	struct kc_tensor *y = op_real(b, -1, 1, REAL(N[0], N[1], N[2], N[3]));

	op_give(b, kc_pw3(b->g, KC_PW_fma, 0, 0, y, kc_pw1(b->g, KC_PW_affine, 1. / 255, 0, x),
			  kc_pw1(b->g, KC_PW_affine, 0.1, 0, i)));
}

static const struct op_row chains[] = {
	{"fma", "packs of channels", repeated, {2, 16, 5, 3}, 0},
	{"fma", "odd channels", repeated, {2, 11, 5, 3}, 0},
	{"fma", "one channel", repeated, {3, 1, 7, 5}, 0},
	{"fma", "wide", repeated, {1, 136, 3, 7}, 0},
	{"tanh", "aligned slices", into_slices, {2, 8, 5, 3}, 0},
	{"tanh", "odd slices", into_slices, {1, 5, 6, 7}, 0},
	{"fma", "integers", of_integers, {2, 8, 3, 5}, 0},
	{"fma", "integers, odd", of_integers, {2, 3, 3, 5}, 0},
	{"mul", "many values", many_values, {1, 8, 9, 5}, 4},
	{"mul", "many values, odd", many_values, {1, 7, 3, 5}, 4}, {0}};

static void test_chains(void)
{
	check_rows(op_pointwise_rows);
	check_rows(chains);
}

/* ---- sums: N = n, c, h, w of x, then of y ---- */

static void sums(struct op_build *b)
{
	struct kc_type to = REAL(N[4], N[5], N[6], N[7]);

	op_give(b, kc_sum_to(b->g, op_real(b, -0.5, 1, REAL(N[0], N[1], N[2], N[3])), &to));
}

/* Row-major, so that the last axis is the fastest. */
static void plain_sums(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -0.5, 1, REAL(N[0], N[1], N[2]));

	for (int i = 0; i < 3; i++)
		op_give(b, kc_sum_axis(b->g, x, i));
	op_give(b, kc_mean(b->g, x));
}

static void batch_norm(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, 3, 5, REAL(N[0], N[1], N[2], N[3])), *mean, *var;
	struct kc_tensor *w = op_real(b, 0.5, 1, REAL(N[1])), *bias = op_real(b, -1, 1, REAL(N[1]));

	op_give(b, kc_batch_norm_train(b->g, NULL, x, w, bias, &mean, &var));
	op_give(b, var);
}

static const struct op_row reductions[] = {
	{"sum_to", "channels by packs", sums, {2, 24, 17, 19, 1, 24, 1, 1}, 0},
	{"sum_to", "channels, odd", sums, {2, 37, 17, 9, 1, 37, 1, 1}, 0},
	{"sum_to", "wide channels", sums, {1, 300, 9, 9, 1, 300, 1, 1}, 0},
	{"sum_to", "channels of images", sums, {3, 8, 21, 13, 3, 8, 1, 1}, 0},
	{"sum_to", "rows", sums, {2, 8, 11, 13, 2, 1, 11, 13}, 0},
	{"sum_to", "long rows", sums, {1, 144, 5, 7, 1, 1, 5, 7}, 0},
	{"sum_to", "two channels", sums, {2, 2, 11, 13, 2, 1, 11, 13}, 0},
	{"sum_to", "columns and batch", sums, {2, 6, 5, 70, 1, 6, 5, 1}, 0},
	{"sum_to", "one", sums, {2, 16, 33, 31, 1, 1, 1, 1}, 0},
	{"sum_to", "one, odd", sums, {1, 3, 77, 59, 1, 1, 1, 1}, 0},
	{"sum_to", "nothing", sums, {2, 3, 5, 7, 2, 3, 5, 7}, 0},
	{"sum_to", "axes", plain_sums, {5, 40, 72}, 0},
	{"sum_to", "axes, odd", plain_sums, {9, 3, 151}, 0},
	{"sum_to", "long axis", plain_sums, {1, 2, 9001}, 0},
	{"sum_to", "batch norm", batch_norm, {3, 12, 9, 11}, 8}, {0}};

static void test_sums(void)
{
	check_rows(reductions);
}

/* Blocks and threads in any order: the same bits. */
static void test_repeat(void)
{
	struct kc_plan_opts opts = {.real = KC_F32, .deterministic = true};
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", REAL(2, 24, 19, 23)), *y = kc_tanh(g, x);
	struct kc_tensor *fetch[] = {kc_sum(g, y), kc_sum_axis(g, y, 1), kc_sum_axis(g, y, 3),
				     kc_global_norm(g, &y, 1), kc_softmax(g, y, 1)};
	double *v[2][KC_COUNT(fetch)], *data = kc_calloc(trial_count(x), sizeof *data);

	KC_ASSERT(data);
	for (size_t i = 0; i < trial_count(x); i++)
		data[i] = noise(i);
	for (size_t i = 0; i < KC_COUNT(fetch); i++)
		for (int k = 0; k < 2; k++) {
			v[k][i] = kc_calloc(trial_count(fetch[i]), sizeof *v[k][i]);
			KC_ASSERT(v[k][i]);
		}
	for (int k = 0; k < 4; k++) {
		struct kc_device d;

		if (KC_CHECK_OK(open_emulator(&d)))
			KC_CHECK_OK(test_run(g, &d, &opts, &(struct test_feed){x, data}, 1, fetch,
					     KC_COUNT(fetch), v[k > 0]));
		kc_device_release(&d);
		for (size_t i = 0; k && i < KC_COUNT(fetch); i++)
			KC_CHECK(!memcmp(v[0][i], v[1][i],
					 trial_count(fetch[i]) * sizeof *v[0][i]));
	}
	for (size_t i = 0; i < KC_COUNT(fetch); i++)
		for (int k = 0; k < 2; k++)
			free(v[k][i]);
	free(data);
	kc_graph_free(g);
}

/* ---- lines: N = axis, sizes ---- */

static void softmaxes(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -3, 3, REAL(N[1], N[2], N[3], N[4]));

	op_give(b, kc_softmax(b->g, x, N[0]));
	op_give(b, kc_log_softmax(b->g, x, N[0]));
}

static void argmaxes(struct op_build *b)
{
	struct kc_tensor *x = op_distinct(b, REAL(N[1], N[2], N[3], N[4]));

	op_give(b, kc_argmax(b->g, x, N[0]));
	op_give(b, kc_argmax(b->g, kc_pw1(b->g, KC_PW_floor, 0, 0, x), N[0]));
}

static const struct op_row lines[] = {
	{"softmax", "313 channels", softmaxes, {1, 2, 313, 3, 5}, 0},
	{"softmax", "few channels", softmaxes, {1, 2, 5, 7, 9}, 0},
	{"softmax", "columns", softmaxes, {3, 1, 3, 5, 40}, 0},
	{"softmax", "rows, long", softmaxes, {2, 1, 2, 700, 3}, 0},
	{"argmax", "channels", argmaxes, {1, 2, 70, 3, 5}, 0},
	{"argmax", "few", argmaxes, {1, 2, 3, 9, 5}, 0},
	{"argmax", "rows, long", argmaxes, {2, 1, 2, 600, 3}, 0}, {0}};

static void test_lines(void)
{
	check_rows(lines);
}

/* Largest, not a number, all equal: the first wins as in the reference. */
static void test_argmax_special(void)
{
	enum { LINES = 4, LENGTH = 40 };
	double x[LINES][LENGTH], got[LINES], want[LINES] = {7, 3, 0, 39};
	const struct kc_plan_opts opts = {.real = KC_F32};
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *in = kc_input(g, "x", REAL(LINES, LENGTH)), *out = kc_argmax(g, in, 1);
	struct test_feed feed = {in, x[0]};
	double *values = got;

	for (int i = 0; i < LINES; i++)
		for (int k = 0; k < LENGTH; k++)
			x[i][k] = i == 2 ? 1 : sin(i + k);
	x[0][7] = x[0][8] = x[0][33] = 5;
	x[1][3] = x[1][20] = NAN;
	x[1][5] = INFINITY;
	x[3][39] = 2;
	for (int i = 0; i < 4; i++) {
		struct kc_device d;

		if (KC_CHECK_OK(open_emulator(&d)) &&
		    KC_CHECK_OK(test_run(g, &d, &opts, &feed, 1, &out, 1, &values)))
			KC_CHECK(!memcmp(got, want, sizeof got));
		kc_device_release(&d);
	}
	kc_graph_free(g);
}

/* ---- parameters ---- */

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
	if (emulated)
		return KC_CHECK_OK(open_emulator(&s->device));
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
		size_t n = trial_count(s->grad[i]);
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
		size_t n = trial_count(s->grad[i]);
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

const struct kc_test kc_tests_cuda[] = {
	{"chains on the emulated device equal the reference", test_chains},
	{"sums on the emulated device equal the reference", test_sums},
	{"sums and lines have the same bits in any order of threads", test_repeat},
	{"lines on the emulated device equal the reference", test_lines},
	{"the first of the largest is found, whatever there is", test_argmax_special},
	{"the optimizer has the processor's bits", test_optimizer},
	{"accumulated gradients and statistics have the processor's bits", test_state},
	{"norm and check of many tensors", test_many},
	{0}};
