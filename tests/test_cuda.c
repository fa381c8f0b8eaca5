/*
 * Kernels of layers/cuda on the emulated device against the reference: where chains find their
 * operands, how sums are cut, lines.  (All operators of the table: tests/test_cuda_ops.c.)
 */
#include "layers/shape.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/golden_run.h"
#include "tests/op_check.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)
#define N (b->row->n)

static const struct op_config configs[] = {
	{"float32", kc_emulator_open_in_turn, KC_F32, false, false, true, OP_DENSE, 1e-5},
	{"float32, sliced", kc_emulator_open_in_turn, KC_F32, false, true, true, OP_SLICED, 1e-5},
	{"float32, turned", kc_emulator_open_in_turn, KC_F32, false, false, true, OP_TURNED, 1e-5},
	{"bfloat16", kc_emulator_open_in_turn, KC_F32, true, false, true, OP_DENSE, 2e-2},
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

/* What the gradient of a bias is, behind a chain that has other results too. */
static void summed(struct op_build *b)
{
	struct kc_type channels = REAL(1, N[1], 1, 1);
	struct kc_tensor *x = op_real(b, -1, 1, REAL(N[0], N[1], N[2], N[3]));
	struct kc_tensor *y = op_real(b, -1, 1, REAL(N[0], N[1], N[2], N[3])), *z;

	y = kc_mul(b->g, kc_shift(b->g, x, 0.5), y);
	z = kc_tanh(b->g, y);
	op_give(b, z);
	op_give(b, kc_sum_to(b->g, y, &channels));
	op_give(b, kc_add(b->g, y, x));
}

static const struct op_row chains[] = {
	{"fma", "packs of channels", repeated, {2, 16, 5, 3}, 0},
	{"fma", "odd channels", repeated, {2, 11, 5, 3}, 0},
	{"fma", "one channel", repeated, {3, 1, 7, 5}, 0},
	{"fma", "wide", repeated, {1, 136, 3, 7}, 0},
	{"tanh", "aligned slices", into_slices, {2, 8, 5, 3}, 0},
	{"tanh", "odd slices", into_slices, {1, 5, 6, 7}, 0},
	{"sum_to", "of a chain, packs of channels", summed, {2, 16, 9, 7}, 0},
	{"sum_to", "of a chain, 196 channels", summed, {2, 196, 5, 3}, 0},
	{"sum_to", "of a chain, odd channels", summed, {2, 11, 20, 11}, 0},
	{"sum_to", "of a chain, more channels than a block's elements", summed, {2, 2100, 1, 1}, 0},
	{"fma", "integers", of_integers, {2, 8, 3, 5}, 0},
	{"fma", "integers, odd", of_integers, {2, 3, 3, 5}, 0},
	{"mul", "many values", many_values, {1, 8, 9, 5}, 4},
	{"mul", "many values, odd", many_values, {1, 7, 3, 5}, 4}, {0}};

static void test_chains(void)
{
	check_rows(op_pointwise_rows);
	check_rows(chains);
}

/* Blocks come back for more, and must then meet the same channels. */
static void test_long_sum(void)
{
	enum { CHANNELS = 20, PIXELS = 41000, ALL = CHANNELS * PIXELS };
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", REAL(1, CHANNELS, 41, 1000)), *sum;
	struct kc_type channels = REAL(1, CHANNELS, 1, 1);
	struct kc_plan_opts opts = {.real = KC_F32};
	double *at = kc_alloc(ALL * sizeof *at), is[CHANNELS], *to = is;
	struct kc_device device;

	KC_ASSERT(at);
	for (int i = 0; i < ALL; i++)
		at[i] = noise((uint64_t)i);
	sum = kc_sum_to(g, kc_square(g, kc_shift(g, x, 1)), &channels);
	KC_CHECK_OK(kc_emulator_open(&device));
	KC_CHECK_OK(test_run(g, &device, &opts, &(struct test_feed){x, at}, 1, &sum, 1, &to));
	for (int c = 0; c < CHANNELS; c++) {
		double want = 0;

		for (int i = 0; i < PIXELS; i++)
			want += (at[c * PIXELS + i] + 1) * (at[c * PIXELS + i] + 1);
		KC_CHECK(fabs(is[c] - want) < 1e-5 * want);
	}
	kc_device_release(&device);
	kc_graph_free(g);
	free(at);
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
	{"sum_to", "channels by halves of packs", sums, {2, 28, 17, 19, 1, 28, 1, 1}, 0},
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

		if (KC_CHECK_OK(kc_emulator_open_in_turn(&d)))
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

		if (KC_CHECK_OK(kc_emulator_open_in_turn(&d)) &&
		    KC_CHECK_OK(test_run(g, &d, &opts, &feed, 1, &out, 1, &values)))
			KC_CHECK(!memcmp(got, want, sizeof got));
		kc_device_release(&d);
	}
	kc_graph_free(g);
}

/* ---- bf16, which plans do not hand to reductions today ---- */

enum { CLAST, PLAIN, PART, FORMS };

/* Random bf16 of that type, in the device's memory. */
static struct kc_buf low_input(struct kc_device *d, struct kc_type t, int form, void **memory)
{
	struct kc_type held = t;
	struct kc_buf b;

	t.dtype = held.dtype = KC_BF16;
	if (form == PART)
		held.dim[1] += 5;
	KC_CHECK_OK(kc_device_alloc(d, (size_t)kc_numel(&held) * sizeof(uint16_t), memory));
	b = kc_buf_of(*memory, &held, form == PLAIN ? KC_PLAIN : KC_CLAST);
	for (int64_t i = 0; i < kc_numel(&held); i++)
		kc_put(&b, i, noise((uint64_t)i));
	b.type = t;
	return b;
}

static int run_kernel(struct kc_device *d, const struct kc_op *op, const void *attr,
		      const struct kc_buf *in, const struct kc_buf *out)
{
	struct kc_step_info info = {.op = op, .attr = attr, .in = in, .out = out, .n_in = 1,
				    .n_out = 1, .device = d, .deterministic = true};
	struct kc_call call = {.attr = attr, .in = in, .out = out, .n_in = 1, .n_out = 1,
			       .device = d};
	const struct kc_kernel *const *row = d->kernels;
	int rc;

	while ((*row)->op != op || !(*row)->fits(&info))
		row++;
	if ((*row)->prepare)
		KC_TRY((*row)->prepare(&info));
	call.prepared = info.prepared;
	KC_TRY(kc_device_alloc(d, info.workspace + 1, &call.workspace));
	rc = (*row)->run(&call);
	if (!rc)
		rc = d->memory->wait(d);
	kc_device_free(d, call.workspace);
	if ((*row)->release)
		(*row)->release(info.prepared);
	return rc;
}

static double worst_of(const struct kc_buf *got, const struct kc_buf *want)
{
	double worst = 0, most = 0;

	for (int64_t i = 0; i < kc_numel(&got->type); i++) {
		double error = fabs(kc_get(got, i) - kc_get(want, i));

		worst = kc_test_worse(worst, error);
		most = fmax(most, fabs(kc_get(want, i)));
	}
	return worst / fmax(most, 1e-30);
}

static void check_low(struct kc_device *d, const char *name, const void *attr, struct kc_type x,
		      struct kc_type y, int form)
{
	struct kc_type wide = y;
	struct kc_buf in, out, want;
	void *memory, *result;
	const struct kc_op *op = NULL;

	for (size_t i = 0; i < kc_layers.n; i++)
		if (!strcmp(kc_layers.all[i]->name, name))
			op = kc_layers.all[i];
	in = low_input(d, x, form, &memory);
	KC_CHECK_OK(kc_device_alloc(d, (size_t)kc_numel(&y) * sizeof(float), &result));
	wide.dtype = y.dtype == KC_I32 ? KC_I32 : KC_F64;
	out = kc_buf_of(result, &y, KC_PLAIN);
	want = kc_buf_of(kc_calloc((size_t)kc_numel(&y), sizeof(double)), &wide, KC_PLAIN);
	KC_ASSERT(op && want.data);
	op->ref(&(struct kc_call){.attr = attr, .in = &in, .out = &want, .n_in = 1, .n_out = 1});
	if (KC_CHECK_OK(run_kernel(d, op, attr, &in, &out)) && worst_of(&out, &want) > 1e-5)
		kc_test_fail(__FILE__, __LINE__, "%s, form %d, %lld channels: off by %.2e", name,
			     form, (long long)x.dim[1], worst_of(&out, &want));
	free(want.data);
	kc_device_free(d, memory);
	kc_device_free(d, result);
}

static void test_low(void)
{
	static const int64_t channels[] = {1, 3, 20, 64, 313};
	struct kc_device d;

	if (!KC_CHECK_OK(kc_emulator_open_in_turn(&d)))
		return;
	for (size_t i = 0; i < KC_COUNT(channels); i++)
		for (int form = 0; form < FORMS; form++) {
			int64_t c = channels[i];
			struct kc_type x = REAL(2, c, 13, 11), line = REAL(2, 1, 13, 11);
			struct kc_type index = line;

			index.dtype = KC_I32;
			check_low(&d, "sum_to", NULL, x, REAL(1, c, 1, 1), form);
			check_low(&d, "sum_to", NULL, x, line, form);
			check_low(&d, "sum_to", NULL, x, REAL(2, c, 1, 1), form);
			check_low(&d, "sum_to", NULL, x, REAL(1, 1, 1, 1), form);
			check_low(&d, "softmax", &(struct kc_axis_attr){1}, x, x, form);
			check_low(&d, "log_softmax", &(struct kc_axis_attr){1}, x, x, form);
			check_low(&d, "argmax", &(struct kc_index_attr){1, c}, x, index, form);
			check_low(&d, "norm", NULL, x, REAL(1), form);
			check_low(&d, "all_finite", NULL, x, REAL(1), form);
		}
	kc_device_release(&d);
}

const struct kc_test kc_tests_cuda[] = {
	{"chains on the emulated device equal the reference", test_chains},
	{"a chain's sum over more elements than a round has", test_long_sum},
	{"sums on the emulated device equal the reference", test_sums},
	{"sums and lines have the same bits in any order of threads", test_repeat},
	{"lines on the emulated device equal the reference", test_lines},
	{"the first of the largest is found, whatever there is", test_argmax_special},
	{"reductions of bf16, in parts of something larger, too", test_low},
	{0}};
