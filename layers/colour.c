/*
 * sRGB and CIE Lab (D65): one kernel each way; the gradients follow from the definition in
 * pointwise operators.  Constants are those of the networks' training data (scikit-image).
 */
#include "layers/colour.h"

#include "layers/layers.h"
#include "layers/ops.h"
#include "layers/ref.h"

#include <math.h>

/* ---- definition ---- */

/* high where x > knee, else low. */
static struct kc_tensor *choose(struct kc_graph *g, struct kc_tensor *x, double knee,
				struct kc_tensor *high, struct kc_tensor *low)
{
	return kc_pw3(g, KC_PW_select, 0, 0, kc_pw1(g, KC_PW_step, 0, knee, x), high, low);
}

/* (scale max(x, knee) + term)^power: the bound keeps slopes finite where it is not chosen. */
static struct kc_tensor *power(struct kc_graph *g, struct kc_tensor *x, double knee, double scale,
			       double term, double exponent)
{
	x = kc_pw1(g, KC_PW_clamp, knee, INFINITY, x);
	if (scale != 1 || term != 0)
		x = kc_pw1(g, KC_PW_affine, scale, term, x);
	return kc_pw1(g, KC_PW_pow, exponent, 0, x);
}

/* Unlike relu, with the gradient 1 on the bound: black is exactly there. */
static struct kc_tensor *not_below_0(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_clamp, 0, INFINITY, x);
}

static struct kc_tensor *channel(struct kc_graph *g, struct kc_tensor *x, int c)
{
	return kc_slice(g, x, 1, c, 1, 1);
}

/* m[0] x[0] + m[1] x[1] + m[2] x[2] */
static struct kc_tensor *mix(struct kc_graph *g, const double *m, struct kc_tensor *const *x)
{
	return kc_add(g, kc_add(g, kc_scale(g, x[0], m[0]), kc_scale(g, x[1], m[1])),
		      kc_scale(g, x[2], m[2]));
}

static void rgb_to_lab_expand(struct kc_graph *g, const struct kc_node *node,
			      struct kc_tensor *const *in, struct kc_tensor **out)
{
	struct kc_tensor *x = in[0], *c[3], *f[3];

	(void)node;
	x = choose(g, x, srgb_knee, power(g, x, srgb_knee, 1 / 1.055, 0.055 / 1.055, 2.4),
		   kc_scale(g, x, 1 / 12.92));
	for (int i = 0; i < 3; i++)
		c[i] = channel(g, x, i);
	for (int i = 0; i < 3; i++) {
		struct kc_tensor *t = kc_scale(g, mix(g, xyz_of_rgb[i], c), 1 / white[i]);

		f[i] = choose(g, t, xyz_knee, power(g, t, xyz_knee, 1, 0, 1.0 / 3),
			      kc_pw1(g, KC_PW_affine, slope, offset, t));
	}
	out[0] = KC_CONCAT(g, 1, kc_pw1(g, KC_PW_affine, 116, -16, f[1]),
			   kc_scale(g, kc_sub(g, f[0], f[1]), 500),
			   kc_scale(g, kc_sub(g, f[1], f[2]), 200));
}

/* d is f less its value at black, so that black stays exactly 0 in every precision. */
static void lab_to_rgb_expand(struct kc_graph *g, const struct kc_node *node,
			      struct kc_tensor *const *in, struct kc_tensor **out)
{
	struct kc_tensor *c[3], *d[3], *rgb;

	(void)node;
	for (int i = 0; i < 3; i++)
		c[i] = channel(g, in[0], i);
	d[1] = kc_scale(g, c[0], 1.0 / 116);
	d[0] = kc_add(g, kc_scale(g, c[1], 1.0 / 500), d[1]);
	d[2] = kc_sub(g, d[1], kc_scale(g, c[2], 1.0 / 200));
	d[2] = kc_pw1(g, KC_PW_clamp, -offset, INFINITY, d[2]);
	for (int i = 0; i < 3; i++) {
		struct kc_tensor *f = kc_shift(g, d[i], offset);
		struct kc_tensor *cube = kc_mul(g, kc_square(g, f), f);

		c[i] = choose(g, f, lab_knee, cube, kc_scale(g, d[i], 1 / slope));
		c[i] = kc_scale(g, c[i], white[i]);
	}
	for (int i = 0; i < 3; i++)
		d[i] = mix(g, rgb_of_xyz[i], c);
	rgb = not_below_0(g, kc_concat(g, 1, d, 3));
	out[0] = choose(g, rgb, linear_knee,
			kc_pw1(g, KC_PW_affine, 1.055, -0.055,
			       power(g, rgb, linear_knee, 1, 0, 1 / 2.4)),
			kc_scale(g, rgb, 12.92));
}

/* ---- reference ---- */

static double dot(const double *m, const double *x)
{
	return m[0] * x[0] + m[1] * x[1] + m[2] * x[2];
}

static void rgb_to_lab(const double rgb[3], double lab[3])
{
	double linear[3], f[3];

	for (int i = 0; i < 3; i++)
		linear[i] = rgb[i] > srgb_knee ? pow((rgb[i] + 0.055) / 1.055, 2.4)
					       : rgb[i] / 12.92;
	for (int i = 0; i < 3; i++) {
		double t = dot(xyz_of_rgb[i], linear) / white[i];

		f[i] = t > xyz_knee ? cbrt(t) : slope * t + offset;
	}
	lab[0] = 116 * f[1] - 16;
	lab[1] = 500 * (f[0] - f[1]);
	lab[2] = 200 * (f[1] - f[2]);
}

/* Linear RGB, not limited at all; returns the luminance Y. */
static double lab_to_linear(const double lab[3], double linear[3])
{
	double f[3], xyz[3];

	f[1] = (lab[0] + 16) / 116;
	f[0] = lab[1] / 500 + f[1];
	f[2] = fmax(f[1] - lab[2] / 200, 0);
	for (int i = 0; i < 3; i++)
		xyz[i] = white[i] *
			 (f[i] > lab_knee ? f[i] * f[i] * f[i] : (f[i] - offset) / slope);
	for (int i = 0; i < 3; i++)
		linear[i] = dot(rgb_of_xyz[i], xyz);
	return xyz[1];
}

static double encode(double c)
{
	return c > linear_knee ? 1.055 * pow(c, 1 / 2.4) - 0.055 : 12.92 * c;
}

static void lab_to_rgb(const double lab[3], double rgb[3])
{
	double linear[3];

	lab_to_linear(lab, linear);
	for (int i = 0; i < 3; i++)
		rgb[i] = encode(fmax(linear[i], 0));
}

/* The part of the way from grey y to the colour that stays within 0 .. 1. */
static void lab_to_rgb_fit(const double lab[3], double rgb[3])
{
	double linear[3], y = fmin(fmax(lab_to_linear(lab, linear), 0), 1), part = 1;

	for (int i = 0; i < 3; i++)
		if (linear[i] < 0)
			part = fmin(part, y / (y - linear[i]));
		else if (linear[i] > 1)
			part = fmin(part, (1 - y) / (linear[i] - y));
	for (int i = 0; i < 3; i++) {
		double c = part < 1 ? y + part * (linear[i] - y) : linear[i];

		rgb[i] = encode(fmin(fmax(c, 0), 1));
	}
}

void kc_lab_of_rgb(const double rgb[3], double lab[3])
{
	rgb_to_lab(rgb, lab);
}

void kc_rgb_of_lab_fit(const double lab[3], double rgb[3])
{
	lab_to_rgb_fit(lab, rgb);
}

bool kc_lab_fits(const double lab[3])
{
	const double rounding = 1e-4;
	double linear[3];

	lab_to_linear(lab, linear);
	for (int i = 0; i < 3; i++)
		if (!(linear[i] >= -rounding && linear[i] <= 1 + rounding))
			return false;
	return true;
}

/* Offset of pixel p, counted over every dimension but the channels. */
static int64_t pixel(const struct kc_buf *b, int64_t p)
{
	int64_t at = 0;

	for (int k = b->type.ndim - 1; k >= 0; k--) {
		if (k == 1)
			continue;
		at += p % b->type.dim[k] * b->stride[k];
		p /= b->type.dim[k];
	}
	return at;
}

static void per_pixel(const struct kc_call *call,
		      void (*convert)(const double from[3], double to[3]))
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	int64_t pixels = kc_numel(&x->type) / 3;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < pixels; p++) {
		double from[3], to[3];

		for (int c = 0; c < 3; c++)
			from[c] = kc_get(x, pixel(x, p) + c * x->stride[1]);
		convert(from, to);
		for (int c = 0; c < 3; c++)
			kc_put(y, pixel(y, p) + c * y->stride[1], to[c]);
	}
}

static void rgb_to_lab_ref(const struct kc_call *call)
{
	per_pixel(call, rgb_to_lab);
}

static void lab_to_rgb_ref(const struct kc_call *call)
{
	per_pixel(call, lab_to_rgb);
}

static void lab_to_rgb_fit_ref(const struct kc_call *call)
{
	per_pixel(call, lab_to_rgb_fit);
}

static int colour_infer(struct kc_infer *f)
{
	const struct kc_type *x = &f->in[0]->type;
	char text[96];

	if (x->ndim < 2 || x->dim[1] != 3)
		return KC_FAIL(KC_ESHAPE, "expected 3 channels, got %s", kc_dims_text(x, text));
	f->out[0] = *x;
	f->out[0].dtype = KC_REAL;
	return 0;
}

const struct kc_op kc_op_rgb_to_lab = {
	.name = "rgb_to_lab", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FULL,
	.infer = colour_infer, .expand = rgb_to_lab_expand, .ref = rgb_to_lab_ref,
};
const struct kc_op kc_op_lab_to_rgb = {
	.name = "lab_to_rgb", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FULL,
	.infer = colour_infer, .expand = lab_to_rgb_expand, .ref = lab_to_rgb_ref,
};
const struct kc_op kc_op_lab_to_rgb_fit = {
	.name = "lab_to_rgb_fit", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .infer = colour_infer, .ref = lab_to_rgb_fit_ref,
};

struct kc_tensor *kc_rgb_to_lab(struct kc_graph *g, struct kc_tensor *rgb)
{
	return kc_apply(g, &kc_op_rgb_to_lab, NULL, &rgb, 1);
}

struct kc_tensor *kc_lab_to_rgb(struct kc_graph *g, struct kc_tensor *lab)
{
	return kc_apply(g, &kc_op_lab_to_rgb, NULL, &lab, 1);
}

struct kc_tensor *kc_lab_to_rgb_fit(struct kc_graph *g, struct kc_tensor *lab)
{
	return kc_apply(g, &kc_op_lab_to_rgb_fit, NULL, &lab, 1);
}
