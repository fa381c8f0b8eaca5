/* What plans and gradients spare: work that nobody wants, copies, memory. */
#include "core/plan.h"
#include "layers/layers.h"
#include "layers/ops.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)

static struct kc_graph *new_graph(void)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);

	KC_ASSERT(g);
	return g;
}

/* ---- gradients ---- */

enum { PARTS = 4 };

/* d sum(conv(concat(parts))^2) / d parts; of those that are not wanted, when they are stopped. */
static void grad_of_parts(struct kc_graph *g, struct kc_tensor *const *x, struct kc_tensor *w,
			  const bool *stopped, struct kc_tensor **d)
{
	static const struct kc_conv_attr attr = {.pad = {1, 1}, .stride = {2, 1}};
	struct kc_tensor *in[PARTS], *y;

	for (int i = 0; i < PARTS; i++)
		in[i] = stopped[i] ? kc_stop(g, x[i]) : x[i];
	y = kc_square(g, kc_conv_op(g, kc_concat(g, 1, in, PARTS), w, NULL, &attr));
	KC_CHECK_OK(kc_grad(g, y, NULL, x, PARTS, d));
}

/* The data gradient of a concatenation is computed for those parts that want it. */
static void test_narrow_gradient(void)
{
	static const bool none[PARTS] = {0}, some[PARTS] = {[1] = true};
	static double values[PARTS][2 * 30], weight[3 * 8 * 9];
	struct kc_graph *g = new_graph();
	struct kc_tensor *x[PARTS], *w = kc_input(g, "w", REAL(3, 8, 3, 3)), *d[2][PARTS];
	struct test_feed feed[PARTS + 1] = {{w, weight}};
	struct kc_plan_opts opts = {.real = KC_F64};
	double whole[PARTS][2 * 30], part[PARTS][2 * 30];
	double *to[2 * PARTS];
	struct kc_device device;

	for (int i = 0; i < PARTS; i++) {
		x[i] = kc_input(g, (const char *[]){"a", "b", "c", "d"}[i], REAL(1, 2, 6, 5));
		for (int k = 0; k < 60; k++)
			values[i][k] = sin(17 * i + k);
		feed[i + 1] = (struct test_feed){x[i], values[i]};
		to[i] = whole[i];
		to[PARTS + i] = part[i];
	}
	for (size_t k = 0; k < KC_COUNT(weight); k++)
		weight[k] = cos(0.7 * (double)k);
	grad_of_parts(g, x, w, none, d[0]);
	grad_of_parts(g, x, w, some, d[1]);
	KC_CHECK(d[0][0]->node->in[0]->type.dim[1] == 8);
	KC_CHECK(d[1][0]->node->in[0]->type.dim[1] == 6);
	KC_CHECK(d[1][1]->node->op == &kc_op_fill);
	kc_device_reference(&device);
	KC_CHECK_OK(test_run(g, &device, &opts, feed, PARTS + 1, d[0], 2 * PARTS, to));
	for (int i = 0; i < PARTS; i++)
		for (int k = 0; k < 60; k++)
			KC_CHECK(part[i][k] == (some[i] ? 0 : whole[i][k]));
	kc_device_release(&device);
	kc_graph_free(g);
}

/* ---- what is kept ---- */

/* Bytes and steps of a plan whose concatenation is used at both ends of a long way; its result. */
static struct kc_plan_stats run_long_way(bool roomy, bool low, double *to)
{
	enum { SIDE = 256, LONG = 40 };
	static double at[SIDE * SIDE];
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(SIDE, SIDE)), *both, *y;
	struct test_feed feed = {x, at};
	struct kc_plan_opts opts = {.real = KC_F32, .low = low};
	struct kc_plan_stats s = {0};
	struct kc_device device;
	struct kc_plan *p;

	for (int i = 0; i < SIDE * SIDE; i++)
		at[i] = sin(i);
	both = KC_CONCAT(g, 1, x, kc_flip(g, x, 0));
	y = both;
	for (int i = 0; i < LONG; i++)
		y = kc_flip(g, y, i % 2);
	y = kc_slice(g, kc_slice(g, kc_mul(g, y, both), 0, 0, 1, 1), 1, 0, 8, 1);
	kc_device_reference(&device);
	device.roomy = roomy;
	KC_CHECK_OK(test_run(g, &device, &opts, &feed, 1, &y, 1, &to));
	if (KC_CHECK_OK(kc_plan_build(&p, g, &device, &y, 1, &opts))) {
		kc_plan_stats(p, &s);
		kc_plan_free(p);
	}
	kc_device_release(&device);
	kc_graph_free(g);
	return s;
}

/* Steps of a plan with two parts of a convolution's channels: one is added to something, the other
 * is a convolution's input. */
static int run_parts(bool strided, double *to)
{
	static double at[3 * 5 * 4], weight[8 * 3 * 9], last[4];
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(1, 3, 5, 4)), *w, *y, *sum, *conv;
	struct test_feed feed[3] = {{x, at}};
	struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_conv_attr attr = {.pad = {1, 1}}, one = {0};
	struct kc_plan_stats s = {0};
	struct kc_device device;
	struct kc_plan *p;

	for (size_t i = 0; i < KC_COUNT(at); i++)
		at[i] = sin((double)i);
	for (size_t i = 0; i < KC_COUNT(weight); i++)
		weight[i] = cos((double)i);
	for (size_t i = 0; i < KC_COUNT(last); i++)
		last[i] = (double)i - 1.5;
	w = kc_input(g, "w", REAL(8, 3, 3, 3));
	feed[1] = (struct test_feed){w, weight};
	y = kc_conv_op(g, x, w, NULL, &attr);
	sum = kc_mul(g, kc_slice(g, y, 1, 1, 3, 1), x);
	w = kc_input(g, "v", REAL(1, 4, 1, 1));
	feed[2] = (struct test_feed){w, last};
	conv = kc_conv_op(g, kc_slice(g, y, 1, 4, 4, 1), w, NULL, &one);
	y = KC_CONCAT(g, 1, sum, conv);
	kc_device_reference(&device);
	device.strided = strided;
	KC_CHECK_OK(test_run(g, &device, &opts, feed, 3, &y, 1, &to));
	if (KC_CHECK_OK(kc_plan_build(&p, g, &device, &y, 1, &opts))) {
		kc_plan_stats(p, &s);
		kc_plan_free(p);
	}
	kc_device_release(&device);
	kc_graph_free(g);
	return s.steps;
}

static void test_parts(void)
{
	double copied[80], strided[80];
	int steps = run_parts(false, copied);

	KC_CHECK(run_parts(true, strided) == steps - 1);
	KC_CHECK(!memcmp(copied, strided, sizeof copied));
}

/* A convolution of a concatenation in bf16; how many steps it takes. */
static int run_written_low(bool fetched, double *to)
{
	static double at[2][2 * 5 * 4], weight[8 * 4 * 9];
	static double both[4 * 5 * 4];
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(1, 2, 5, 4)), *w, *y[2];
	struct test_feed feed[3] = {{x, at[0]}};
	struct kc_plan_opts opts = {.real = KC_F32, .low = true};
	struct kc_conv_attr attr = {.pad = {1, 1}};
	struct kc_plan_stats s = {0};
	struct kc_device device;
	struct kc_plan *p;

	for (size_t i = 0; i < 2 * KC_COUNT(at[0]); i++)
		at[i / KC_COUNT(at[0])][i % KC_COUNT(at[0])] = sin((double)i);
	for (size_t i = 0; i < KC_COUNT(weight); i++)
		weight[i] = cos((double)i);
	y[1] = kc_input(g, "y", REAL(1, 2, 5, 4));
	feed[1] = (struct test_feed){y[1], at[1]};
	w = kc_input(g, "w", REAL(8, 4, 3, 3));
	feed[2] = (struct test_feed){w, weight};
	y[1] = KC_CONCAT(g, 1, x, y[1]);
	y[0] = kc_conv_op(g, y[1], w, NULL, &attr);
	kc_device_reference(&device);
	KC_CHECK_OK(test_run(g, &device, &opts, feed, 3, y, 1 + fetched,
			     (double *[]){to, both}));
	if (KC_CHECK_OK(kc_plan_build(&p, g, &device, y, 1 + fetched, &opts))) {
		kc_plan_stats(p, &s);
		kc_plan_free(p);
	}
	kc_device_release(&device);
	kc_graph_free(g);
	return s.steps;
}

static void test_written_low(void)
{
	double direct[160], converted[160];
	int steps = run_written_low(true, converted);

	KC_CHECK(run_written_low(false, direct) == steps - 1);
	KC_CHECK(!memcmp(direct, converted, sizeof direct));
}

/* A bias' gradient behind an activation's: how many steps, and both results. */
static int run_summed(bool sums, double *to)
{
	static double at[2][2 * 3 * 20];
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(2, 3, 5, 4)), *y = kc_input(g, "y", x->type);
	struct test_feed feed[2] = {{x, at[0]}, {y, at[1]}};
	struct kc_type channels = REAL(1, 3, 1, 1);
	struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_plan_stats s = {0};
	struct kc_device device;
	struct kc_tensor *fetch[2];
	struct kc_plan *p;

	for (size_t i = 0; i < KC_COUNT(at[0]); i++) {
		at[0][i] = sin((double)i);
		at[1][i] = cos(3 * (double)i);
	}
	fetch[0] = kc_mul(g, kc_tanh(g, x), y);
	fetch[1] = kc_sum_to(g, fetch[0], &channels);
	kc_device_reference(&device);
	device.sums = sums;
	KC_CHECK_OK(test_run(g, &device, &opts, feed, 2, fetch, 2, (double *[]){to, to + 120}));
	if (KC_CHECK_OK(kc_plan_build(&p, g, &device, fetch, 2, &opts))) {
		kc_plan_stats(p, &s);
		kc_plan_free(p);
	}
	kc_device_release(&device);
	kc_graph_free(g);
	return s.steps;
}

static void test_summed(void)
{
	double apart[123], together[123];

	KC_CHECK(run_summed(false, apart) == 2 && run_summed(true, together) == 1);
	KC_CHECK(!memcmp(apart, together, sizeof apart));
}

/* A variance: the squares are only summed, and must not be put where the differences are. */
static void test_only_summed(void)
{
	static double at[5 * 4 * 4 * 3];
	double want[2], is[2];

	for (size_t i = 0; i < KC_COUNT(at); i++)
		at[i] = sin((double)i);
	for (int sums = 0; sums < 2; sums++) {
		struct kc_graph *g = new_graph();
		struct kc_tensor *x = kc_input(g, "x", REAL(1, 5, 4, 4 * 3)), *d, *y;
		struct kc_plan_opts opts = {.real = KC_F64};
		struct kc_type channels = REAL(1, 5, 1, 1);
		struct kc_device device;
		double *to = sums ? is : want;

		d = kc_sub(g, kc_flip(g, x, 2), kc_scale(g, kc_sum_to(g, x, &channels), 1. / 48));
		y = kc_mul(g, kc_flip(g, d, 3), kc_sum_to(g, kc_square(g, d), &channels));
		y = kc_slice(g, kc_reshape(g, y, 1, (int64_t[]){240}), 0, 100, 2, 1);
		kc_device_reference(&device);
		device.sums = sums;
		KC_CHECK_OK(test_run(g, &device, &opts, &(struct test_feed){x, at}, 1, &y, 1, &to));
		kc_device_release(&device);
		kc_graph_free(g);
	}
	KC_CHECK(want[0] == is[0] && want[1] == is[1]);
}

static void test_room(void)
{
	double kept[8], again[8];
	struct kc_plan_stats roomy = run_long_way(true, true, kept);
	struct kc_plan_stats narrow = run_long_way(false, true, again);

	KC_CHECK(narrow.steps == roomy.steps + 1 && narrow.arena < roomy.arena);
	KC_CHECK(!memcmp(kept, again, sizeof kept));
	KC_CHECK(run_long_way(true, false, again).steps == narrow.steps);
}

const struct kc_test kc_tests_plan[] = {
	{"a device with room keeps what others compute again", test_room},
	{"pointwise steps read channels where they lie", test_parts},
	{"what is only read as bf16 is written as bf16", test_written_low},
	{"a chain sums its result, where chains can", test_summed},
	{"what is only summed is not put over something else", test_only_summed},
	{"the gradient of a part is computed without the others", test_narrow_gradient},
	{0}};
