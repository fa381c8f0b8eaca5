#include "tests/op_cases.h"

#include "layers/ops.h"

#include <math.h>

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)
#define N (b->row->n)

/* ---- convolutions and products: N = nd, n, c, h, w, out, k, stride, pad, dilation, groups,
	act ---- */

static struct kc_conv_attr conv_attr(const struct op_build *b)
{
	struct kc_conv_attr a = {.nd = N[0], .groups = N[10]};

	for (int i = 0; i < N[0]; i++) {
		a.stride[i] = N[7];
		a.pad[i] = N[8];
		a.dilation[i] = N[9];
	}
	return a;
}

/* [first, second, h, w], without h or with a time axis of 3 before it. */
static struct kc_type spatial(const struct op_build *b, int first, int second, int h, int w)
{
	switch (N[0]) {
	case 1: return REAL(first, second, w);
	case 2: return REAL(first, second, h, w);
	default: return REAL(first, second, 3, h, w);
	}
}

static struct kc_type kernel(const struct op_build *b, int first, int second)
{
	switch (N[0]) {
	case 1: return REAL(first, second, N[6]);
	case 2: return REAL(first, second, N[6], N[6]);
	default: return REAL(first, second, N[6], N[6], N[6]);
	}
}

/* What output k of a 2-D convolution of one group has before its activation. */
static double before_act(const struct op_build *b, int k, int n, int64_t p, int64_t q)
{
	const double *x = b->in[0].data, *w = b->in[1].data + (int64_t)k * N[2] * N[6] * N[6];
	double sum = b->in[2].data[k];

	for (int c = 0; c < N[2]; c++)
		for (int i = 0; i < N[6]; i++)
			for (int j = 0; j < N[6]; j++, w++) {
				int64_t h = p * N[7] - N[8] + i * N[9];
				int64_t v = q * N[7] - N[8] + j * N[9];

				if (h >= 0 && h < N[3] && v >= 0 && v < N[4])
					sum += *w * x[((n * N[2] + c) * N[3] + h) * N[4] + v];
			}
	return sum;
}

static double uniform(struct op_build *b, double bound)
{
	return (float)(bound * (2 * kc_random_unit(&b->random) - 1));
}

static bool is_near_kink(const struct op_build *b, int k, const struct kc_type *y)
{
	for (int n = 0; n < N[1]; n++)
		for (int64_t i = 0; i < y->dim[2] * y->dim[3]; i++)
			if (fabs(before_act(b, k, n, i / y->dim[3], i % y->dim[3])) < 0.02)
				return true;
	return false;
}

/*
 * Draws the weights of every output again until none of its values is beside the activation's
 * kink: bf16 would put some on its other side, with another derivative, and whoever rounds
 * elsewhere would put others there.  The margin is eight times what bf16 is off there.
 */
static void leave_kink(struct op_build *b, const struct kc_type *y)
{
	struct op_input *w = &b->in[1], *bias = &b->in[2];
	int64_t fan = (int64_t)N[2] * N[6] * N[6];
	double bound = 1 / sqrt((double)fan);

	for (int k = 0; k < N[5]; k++)
		while (is_near_kink(b, k, y)) {
			for (int64_t i = 0; i < fan; i++)
				w->data[k * fan + i] = uniform(b, bound);
			bias->data[k] = uniform(b, bound);
		}
}

static void conv(struct op_build *b)
{
	struct kc_conv_attr a = conv_attr(b);
	struct kc_tensor *x = op_real(b, -1, 1, spatial(b, N[1], N[2], N[3], N[4]));
	struct kc_tensor *w = op_param(b, kernel(b, N[5], N[2] / N[10]));
	struct kc_tensor *y = kc_conv_op(b->g, x, w, op_param(b, REAL(N[5])), &a);

	if (N[11] == KC_RELU || N[11] == KC_LEAKY)
		leave_kink(b, &y->type);
	op_give(b, kc_activate(b->g, y, (enum kc_act)N[11], 0.1));
}

static void deconv(struct op_build *b)
{
	struct kc_conv_attr a = conv_attr(b);
	struct kc_tensor *x = op_real(b, -1, 1, spatial(b, N[1], N[2], N[3], N[4]));
	struct kc_tensor *w = op_param(b, kernel(b, N[2], N[5] / N[10]));
	struct kc_tensor *bias = N[11] ? NULL : op_param(b, REAL(N[5]));

	op_give(b, kc_deconv_op(b->g, x, w, bias, &a, (int64_t[]){0, 0, 0}));
}

static void conv_wgrad(struct op_build *b)
{
	struct kc_conv_attr a = conv_attr(b);
	struct kc_tensor *x = op_real(b, -1, 1, spatial(b, N[1], N[2], N[3], N[4]));
	struct kc_tensor *w = op_param(b, kernel(b, N[5], N[2] / N[10]));

	op_give_gradient(b, kc_conv_op(b->g, x, w, NULL, &a), w);
}

/* batch (0: matrices), m, k, n, transposed a, transposed b */
static void matmul(struct op_build *b)
{
	struct kc_type x = REAL(N[4] ? N[2] : N[1], N[4] ? N[1] : N[2]);
	struct kc_type y = REAL(N[5] ? N[3] : N[2], N[5] ? N[2] : N[3]);

	if (N[0]) {
		x = REAL(N[0], x.dim[0], x.dim[1]);
		y = REAL(N[0], y.dim[0], y.dim[1]);
	}
	op_give(b, kc_matmul_t(b->g, op_real(b, -1, 1, x), op_real(b, -1, 1, y), N[4], N[5]));
}

/* Factors that lie nowhere as matrices: one row, one column, one number again and again. */
static void matmul_repeated(struct op_build *b)
{
	struct kc_type x = REAL(4, 6), y = REAL(6, 5);
	struct kc_tensor *row = kc_expand_to(b->g, op_real(b, -1, 1, REAL(1, 6)), &x);
	struct kc_tensor *column = kc_expand_to(b->g, op_real(b, -1, 1, REAL(6, 1)), &y);

	op_give(b, kc_matmul_t(b->g, row, column, false, false));
	op_give(b, kc_matmul_t(b->g, kc_fill(b->g, 0.5, x), column, false, false));
}

/* ---- shape ---- */

static void expand(struct op_build *b)
{
	struct kc_type to = REAL(2, 3, 4, 5);

	op_give(b, kc_expand_to(b->g, op_real(b, -1, 1, REAL(3, 1, N[0])), &to));
}

static void sum_to(struct op_build *b)
{
	struct kc_type to = REAL(N[4], N[5], N[6], N[7]);

	op_give(b, kc_sum_to(b->g, op_real(b, -1, 1, REAL(N[0], N[1], N[2], N[3])), &to));
}

static void reshape(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(2, 6, 3, 5));

	op_give(b, kc_reshape(b->g, x, 5, (int64_t[]){2, 2, 3, 5, 3}));
	op_give(b, kc_reshape(b->g, x, 2, (int64_t[]){12, 15}));
}

static void permute(struct op_build *b)
{
	op_give(b, kc_permute(b->g, op_real(b, -1, 1, REAL(2, 3, 4, 5)), N));
}

static void flip(struct op_build *b)
{
	op_give(b, kc_flip(b->g, op_real(b, -1, 1, REAL(2, 3, 4, 5)), N[0]));
}

static void concat(struct op_build *b)
{
	struct kc_type x = REAL(2, 3, 4, 5), y = x;
	struct kc_tensor *p, *q;

	y.dim[N[0]] = N[1];
	p = op_real(b, -1, 1, x);
	q = op_real(b, -1, 1, y);
	op_give(b, KC_CONCAT(b->g, N[0], p, q, p));
}

static void slice(struct op_build *b)
{
	op_give(b, kc_slice(b->g, op_real(b, -1, 1, REAL(5, 7, 6, 9)), N[0], N[1], N[2], N[3]));
}

static void unslice(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(5, 7, 6, 9));

	op_give_gradient(b, kc_slice(b->g, x, N[0], N[1], N[2], N[3]), x);
}

static void split(struct op_build *b)
{
	struct kc_tensor *part[3];

	kc_split(b->g, op_real(b, -1, 1, REAL(6, 6, 3, 5)), N[0], 3, part);
	for (int i = 0; i < 3; i++)
		op_give(b, part[i]);
}

static struct kc_tensor *padded(struct op_build *b, struct kc_tensor *x)
{
	return kc_pad(b->g, x, (enum kc_pad_mode)N[0], N[1], N[2], N[3], N[4]);
}

static void pad(struct op_build *b)
{
	op_give(b, padded(b, op_real(b, -1, 1, REAL(2, 3, 5, 6))));
}

static void unpad(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(2, 3, 5, 6));

	op_give_gradient(b, padded(b, x), x);
}

static void gather(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(4, 3, 5));

	op_give(b, kc_gather(b->g, x, op_integers(b, 4, KC_TYPE(KC_I32, 7))));
}

static void scatter(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(4, 3, 5));

	op_give_gradient(b, kc_gather(b->g, x, op_integers(b, 4, KC_TYPE(KC_I32, 7))), x);
}

static void take(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(2, 5, 3, 4));

	op_give(b, kc_take(b->g, x, op_integers(b, 5, KC_TYPE(KC_I32, 2, 1, 3, 4)), 1));
}

static void put(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(2, 5, 3, 4));

	op_give_gradient(b, kc_take(b->g, x, op_integers(b, 5, KC_TYPE(KC_I32, 2, 1, 3, 4)), 1), x);
}

static void argmax(struct op_build *b)
{
	op_give(b, kc_argmax(b->g, op_distinct(b, REAL(2, 5, 3, 4)), N[0]));
}

static void to_real(struct op_build *b)
{
	op_give(b, kc_to_real(b->g, op_integers(b, 256, KC_TYPE(KC_U8, 2, 3, 5, 7)), 1.0 / 255));
}

/* images, samples, channels, h, w, side; axes in reverse order. */
static struct kc_tensor *to_cut(struct op_build *b, int below, int dtype)
{
	if (!N[6])
		return op_integers(b, below, KC_TYPE(dtype, N[0], N[2], N[3], N[4]));
	return kc_permute(b->g, op_integers(b, below, KC_TYPE(dtype, N[4], N[3], N[2], N[0])),
			  (int[]){3, 2, 1, 0});
}

static void cut_frames(struct op_build *b)
{
	struct kc_tensor *x = to_cut(b, 256, KC_U8);

	op_give(b, kc_cut_frames(b->g, x, op_integers(b, 9, KC_TYPE(KC_I32, N[1], 3)), N[5]));
}

static void cut_flows(struct op_build *b)
{
	struct kc_tensor *x = to_cut(b, INT32_MAX, KC_I32);

	op_give(b, kc_cut_flows(b->g, x, op_integers(b, 9, KC_TYPE(KC_I32, N[1], 3)), N[5],
				1.0 / 64));
}

static void stop(struct op_build *b)
{
	op_give(b, kc_stop(b->g, op_real(b, -1, 1, REAL(2, 3, 4, 5))));
}

/* ---- reductions ---- */

static void softmax(struct op_build *b)
{
	op_give(b, kc_softmax(b->g, op_real(b, -2, 2, REAL(2, N[1], 3, 4)), N[0]));
}

static void log_softmax(struct op_build *b)
{
	op_give(b, kc_log_softmax(b->g, op_real(b, -2, 2, REAL(2, N[1], 3, 4)), N[0]));
}

static void norm(struct op_build *b)
{
	struct kc_tensor *x[2] = {op_real(b, -1, 1, REAL(3, 5)), op_real(b, -1, 1, REAL(2, 3, 5,
											7))};

	op_give(b, kc_global_norm(b->g, x, 2));
}

static void all_finite(struct op_build *b)
{
	struct kc_tensor *x[2] = {op_real(b, -1, 1, REAL(3, 5)), op_real(b, -1, 1, REAL(2, 3, 5,
											7))};
	struct kc_tensor *log = kc_pw1(b->g, KC_PW_log, 0, 0, x[0]);

	op_give(b, kc_all_finite(b->g, x, 2));
	op_give(b, kc_all_finite(b->g, &log, 1));
}

/* ---- resampling and motion: N = kind, ... ---- */

static struct kc_tensor *resampled(struct op_build *b, struct kc_tensor *x)
{
	switch (N[0]) {
	case 0: return kc_resize_nearest(b->g, x, N[1], N[2]);
	case 1: return kc_resize_bilinear(b->g, x, N[1], N[2], false);
	case 2: return kc_resize_bilinear(b->g, x, N[1], N[2], true);
	case 3: return kc_avg_pool(b->g, x, .k = N[1], .stride = N[2], .pad = N[3]);
	case 4: return kc_avg_pool(b->g, x, .k = N[1], .stride = N[2], .pad = N[3],
				   .exclude_pad = true);
	default: return kc_adaptive_avg_pool(b->g, x, N[1], N[2]);
	}
}

static void resample(struct op_build *b)
{
	op_give(b, resampled(b, op_real(b, -1, 1, REAL(2, N[4] ? N[4] : 3, 5, 7))));
}

static void resample_back(struct op_build *b)
{
	struct kc_tensor *x = op_real(b, -1, 1, REAL(2, N[4] ? N[4] : 3, 5, 7));

	op_give_gradient(b, resampled(b, x), x);
}

static struct kc_tensor *pooled(struct op_build *b, struct kc_tensor *x)
{
	return kc_max_pool(b->g, x, .k = N[0], .stride = N[1], .pad = N[2]);
}

static void max_pool(struct op_build *b)
{
	op_give(b, pooled(b, op_distinct(b, REAL(2, N[3], 5, 7))));
}

static void plane_put(struct op_build *b)
{
	struct kc_tensor *x = op_distinct(b, REAL(2, N[3], 5, 7));

	op_give_gradient(b, pooled(b, x), x);
}

/* The gradient of a gradient of pooling picks what the maxima picked. */
static void plane_take(struct op_build *b)
{
	struct kc_tensor *x = op_distinct(b, REAL(2, N[3], 5, 7)), *y = pooled(b, x), *gx;
	struct kc_tensor *gy = op_real(b, -1, 1, y->type);

	if (!kc_grad(b->g, y, gy, &x, 1, &gx))
		op_give_gradient(b, gx, gy);
}

/* A flow of up to two pixels, away from whole ones, where the derivative jumps. */
static struct kc_tensor *flow(struct op_build *b, int n, int h, int w)
{
	struct kc_tensor *f = op_real(b, -2, 2, REAL(n, 2, h, w));
	double *v = b->in[b->n_in - 1].data;

	for (int64_t i = 0; i < kc_numel(&f->type); i++)
		v[i] = (float)((int)(v[i] + 2) - 2 + 0.1 + 0.8 * (v[i] + 2 - (int)(v[i] + 2)));
	return f;
}

static void warp(struct op_build *b)
{
	struct kc_tensor *img = op_real(b, -1, 1, REAL(2, N[0], N[1], N[2]));

	op_give(b, kc_warp(b->g, img, flow(b, 2, 4, 5)));
}

static void warp_back(struct op_build *b)
{
	struct kc_tensor *img = op_real(b, -1, 1, REAL(2, N[0], N[1], N[2]));

	op_give_gradient(b, kc_warp(b->g, img, flow(b, 2, 4, 5)), img);
}

static void grid_sample(struct op_build *b)
{
	struct kc_tensor *img = op_real(b, -1, 1, REAL(2, 3, 5, 6));

	op_give(b, kc_grid_sample(b->g, img, op_real(b, -1.3, 1.3, REAL(2, 3, 4, 2)), N[0]));
}

/* channels, h, w, displacement, step; the gradient of which input, 0 for none */
static void correlation(struct op_build *b)
{
	struct kc_tensor *x[2], *y;

	for (int i = 0; i < 2; i++)
		x[i] = op_real(b, -1, 1, REAL(2, N[0], N[1], N[2]));
	y = kc_correlation(b->g, x[0], x[1], N[3], N[4]);
	if (N[5])
		op_give_gradient(b, y, x[N[5] - 1]);
	else
		op_give(b, y);
}

static void channel_norm(struct op_build *b)
{
	op_give(b, kc_channel_norm(b->g, op_signed(b, 0.2, 1, REAL(2, N[0], 4, 5))));
}

/* ---- colour ---- */

static void rgb_to_lab(struct op_build *b)
{
	op_give(b, kc_rgb_to_lab(b->g, op_real(b, N[0] / 1000.0, N[1] / 1000.0, REAL(2, 3, 4, 5))));
}

static struct kc_tensor *lab(struct op_build *b)
{
	struct kc_tensor *l = op_real(b, 40, 70, REAL(2, 1, 4, 5));

	return KC_CONCAT(b->g, 1, l, op_real(b, -N[0], N[0], REAL(2, 2, 4, 5)));
}

static void lab_to_rgb(struct op_build *b)
{
	op_give(b, kc_lab_to_rgb(b->g, lab(b)));
}

static void lab_to_rgb_fit(struct op_build *b)
{
	op_give(b, kc_lab_to_rgb_fit(b->g, lab(b)));
}

static void constant(struct op_build *b)
{
	op_give(b, kc_constant(b->g, kc_bins_a, REAL(KC_BINS)));
}

static void soft_encode(struct op_build *b)
{
	op_give(b, kc_soft_encode(b->g, op_real(b, -60, 60, REAL(2, 2, 3, 4))));
}

static void hard_encode(struct op_build *b)
{
	op_give(b, kc_hard_encode(b->g, op_real(b, -0.9, 0.9, REAL(2, 2, 3, 4))));
}

const struct op_row op_rows[] = {
	{"conv", "3x3", conv, {2, 2, 3, 5, 7, 4, 3, 1, 1, 1, 1}, 0},
	{"conv", "3x3, relu", conv, {2, 1, 8, 6, 5, 8, 3, 1, 1, 1, 1, KC_RELU}, 0},
	{"conv", "3x3, leaky, 17 to 33", conv, {2, 1, 17, 5, 6, 33, 3, 1, 1, 1, 1, KC_LEAKY}, 0},
	{"conv", "1x1, tanh, 33 to 2", conv, {2, 2, 33, 3, 5, 2, 1, 1, 0, 1, 1, KC_TANH}, 0},
	{"conv", "3x3, sigmoid, 16 to 1", conv, {2, 1, 16, 5, 5, 1, 3, 1, 1, 1, 1, KC_SIGMOID}, 0},
	{"conv", "7x7 by 2, one channel", conv, {2, 1, 1, 11, 13, 3, 7, 2, 3, 1, 1}, 0},
	{"conv", "5x5 by 2, even", conv, {2, 1, 4, 8, 6, 6, 5, 2, 2, 1, 1}, 0},
	{"conv", "dilated", conv, {2, 1, 3, 7, 8, 5, 3, 1, 2, 2, 1}, 0},
	{"conv", "groups", conv, {2, 2, 4, 5, 4, 6, 3, 1, 1, 1, 2}, 0},
	{"conv", "depthwise by 2", conv, {2, 1, 5, 6, 7, 5, 3, 2, 1, 1, 5}, 0},
	{"conv", "kernel as large as the image", conv, {2, 1, 2, 4, 4, 3, 4, 1, 0, 1, 1}, 0},
	{"conv", "1 dimension", conv, {1, 2, 6, 0, 11, 3, 3, 1, 1, 1, 1}, 0},
	{"conv", "3 dimensions", conv, {3, 1, 2, 5, 4, 3, 3, 1, 1, 1, 1}, 0},
	{"conv_dgrad", "4x4 by 2", deconv, {2, 1, 4, 4, 5, 3, 4, 2, 1, 1, 1}, 0},
	{"conv_dgrad", "4x4 by 2, 16 to 32", deconv, {2, 2, 16, 3, 5, 32, 4, 2, 1, 1, 1}, 0},
	{"conv_dgrad", "4x4 by 2, 2 to 2, no bias", deconv, {2, 1, 2, 3, 3, 2, 4, 2, 1, 1, 1, 1},
	 0},
	{"conv_dgrad", "3x3 by 1", deconv, {2, 1, 5, 4, 5, 3, 3, 1, 1, 1, 1}, 0},
	{"conv_dgrad", "groups", deconv, {2, 1, 4, 4, 3, 4, 4, 2, 1, 1, 2}, 0},
	{"conv_wgrad", "3x3", conv_wgrad, {2, 2, 3, 5, 7, 4, 3, 1, 1, 1, 1}, 0},
	{"conv_wgrad", "3x3, 33 to 17", conv_wgrad, {2, 1, 33, 6, 5, 17, 3, 1, 1, 1, 1}, 0},
	{"conv_wgrad", "3x3, 32 to 64", conv_wgrad, {2, 1, 32, 8, 8, 64, 3, 1, 1, 1, 1}, 0},
	{"conv_wgrad", "3x3, 33 to 17, wide", conv_wgrad, {2, 1, 33, 3, 29, 17, 3, 1, 1, 1, 1}, 0},
	{"conv_wgrad", "4x4 by 2", conv_wgrad, {2, 1, 3, 6, 8, 4, 4, 2, 1, 1, 1}, 0},
	{"matmul", "2-D", matmul, {0, 5, 7, 3, 0, 0}, 0},
	{"matmul", "batched", matmul, {3, 4, 5, 6, 0, 0}, 0},
	{"matmul", "batched, both transposed", matmul, {2, 3, 17, 4, 1, 1}, 0},
	{"matmul", "a column", matmul, {0, 9, 33, 1, 1, 0}, 0},
	{"matmul", "repeated", matmul_repeated, {0}, 0},
	{"expand", "", expand, {5}, 0},
	{"expand", "to two axes", expand, {1}, 0},
	{"sum_to", "channels", sum_to, {2, 17, 4, 5, 1, 17, 1, 1}, 0},
	{"sum_to", "one", sum_to, {2, 3, 5, 7, 1, 1, 1, 1}, 0},
	{"sum_to", "planes", sum_to, {2, 3, 5, 7, 2, 3, 1, 1}, 0},
	{"sum_to", "over channels", sum_to, {2, 33, 3, 5, 2, 1, 3, 5}, 0},
	{"reshape", "", reshape, {0}, 0},
	{"permute", "channels last", permute, {0, 2, 3, 1}, 0},
	{"permute", "all", permute, {3, 0, 2, 1}, 0},
	{"flip", "columns", flip, {3}, 0}, {"flip", "channels", flip, {1}, 0},
	{"concat", "channels", concat, {1, 2}, 0}, {"concat", "batch", concat, {0, 1}, 0},
	{"concat", "columns", concat, {3, 3}, 0},
	{"slice", "channels", slice, {1, 2, 3, 1}, 0}, {"slice", "every third column", slice,
							{3, 1, 3, 3}, 0},
	{"slice", "batch", slice, {0, 1, 2, 2}, 0},
	{"unslice", "channels", unslice, {1, 2, 3, 1}, 0},
	{"unslice", "every other row", unslice, {2, 0, 3, 2}, 0},
	{"split", "channels", split, {1}, 0}, {"split", "batch", split, {0}, 0},
	{"pad", "constant", pad, {KC_PAD_CONSTANT, 2, 1, 0, 3}, 0},
	{"pad", "crop", pad, {KC_PAD_CONSTANT, -1, -2, -1, 0}, 0},
	{"pad", "reflect", pad, {KC_PAD_REFLECT, 3, 3, 1, 2}, 0},
	{"pad", "replicate", pad, {KC_PAD_REPLICATE, 1, 0, 2, 2}, 0},
	{"unpad", "constant", unpad, {KC_PAD_CONSTANT, 2, 1, 0, 3}, 0},
	{"unpad", "reflect", unpad, {KC_PAD_REFLECT, 3, 3, 1, 2}, 0},
	{"unpad", "replicate", unpad, {KC_PAD_REPLICATE, 1, 0, 2, 2}, 0},
	{"gather", "", gather, {0}, 0}, {"scatter", "", scatter, {0}, 0},
	{"take", "", take, {0}, 0}, {"put", "", put, {0}, 0},
	{"argmax", "channels", argmax, {1}, 0}, {"argmax", "columns", argmax, {3}, 0},
	{"cut_frames", "", cut_frames, {6, 3, 3, 18, 23, 16}, 0},
	{"cut_frames", "odd", cut_frames, {8, 4, 3, 11, 19, 9}, 0},
	{"cut_frames", "five channels", cut_frames, {4, 2, 5, 9, 12, 7}, 0},
	{"cut_frames", "turned", cut_frames, {4, 4, 3, 9, 12, 7, 1}, 0},
	{"cut_frames", "tiles", cut_frames, {4, 4, 3, 85, 90, 80}, 0},
	{"cut_flows", "", cut_flows, {6, 3, 1, 18, 23, 16}, 0},
	{"cut_flows", "odd", cut_flows, {8, 4, 1, 11, 19, 9}, 0},
	{"cut_flows", "turned", cut_flows, {4, 4, 1, 9, 12, 7, 1}, 0},
	{"to_real", "", to_real, {0}, 0}, {"stop", "", stop, {0}, 0},
	{"softmax", "channels", softmax, {1, 17}, 0}, {"softmax", "columns", softmax, {3, 3}, 0},
	{"log_softmax", "channels", log_softmax, {1, 17}, 0},
	{"log_softmax", "columns", log_softmax, {3, 3}, 0},
	{"norm", "", norm, {0}, 0}, {"all_finite", "", all_finite, {0}, 0},
	{"resample", "nearest up", resample, {0, 10, 21}, 0},
	{"resample", "nearest down", resample, {0, 3, 4}, 0},
	{"resample", "bilinear by 4", resample, {1, 20, 28, 0, 17}, 0},
	{"resample", "bilinear down", resample, {1, 3, 4}, 0},
	{"resample", "bilinear, corners", resample, {2, 9, 4}, 0},
	{"resample", "mean of 3", resample, {3, 3, 2, 1}, 0},
	{"resample", "mean of 3, inside", resample, {4, 3, 2, 1}, 0},
	{"resample", "adaptive mean", resample, {5, 2, 3}, 0},
	{"resample_back", "nearest up", resample_back, {0, 10, 21}, 0},
	{"resample_back", "bilinear by 4", resample_back, {1, 20, 28, 0, 17}, 0},
	{"resample_back", "bilinear, corners", resample_back, {2, 9, 4}, 0},
	{"resample_back", "mean of 3", resample_back, {3, 3, 2, 1}, 0},
	{"resample_back", "adaptive mean", resample_back, {5, 2, 3}, 0},
	{"max_pool", "2", max_pool, {2, 2, 0, 3}, 0}, {"max_pool", "3 by 2", max_pool,
						       {3, 2, 1, 17}, 0},
	{"plane_put", "", plane_put, {3, 2, 1, 3}, 0}, {"plane_take", "", plane_take,
							{2, 2, 0, 3}, 0},
	{"sample", "flow", warp, {3, 4, 5}, 0}, {"sample", "larger image", warp, {17, 6, 9}, 0},
	{"sample", "grid, zeros", grid_sample, {false}, 0},
	{"sample", "grid, border", grid_sample, {true}, 0},
	{"sample_back", "", warp_back, {3, 4, 5}, 0},
	{"correlation", "9 by 1", correlation, {5, 5, 6, 4, 1}, 0},
	{"correlation", "5 by 2", correlation, {33, 4, 7, 4, 2}, 0},
	{"correlation_a", "", correlation, {5, 5, 6, 2, 1, 1}, 0},
	{"correlation_b", "", correlation, {5, 5, 6, 4, 2, 2}, 0},
	{"channel_norm", "", channel_norm, {3}, 0}, {"channel_norm", "17", channel_norm, {17}, 0},
	{"rgb_to_lab", "", rgb_to_lab, {150, 950}, 0}, {"rgb_to_lab", "dark", rgb_to_lab,
							{5, 30}, 0},
	{"lab_to_rgb", "", lab_to_rgb, {15}, 0}, {"lab_to_rgb_fit", "", lab_to_rgb_fit, {90}, 0},
	{"constant", "", constant, {0}, 0}, {"soft_encode", "", soft_encode, {0}, 0},
	{"hard_encode", "", hard_encode, {0}, 0}, {0}};
