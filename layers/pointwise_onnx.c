/* The formulas of layers/pointwise.def in operators of ONNX. */
#include "layers/pointwise.h"

#include "core/onnx.h"

#include <math.h>

/* What an operator is there, where it has the same formula. */
static const char *const same[KC_PW_COUNT] = {
	[KC_PW_neg] = "Neg", [KC_PW_recip] = "Reciprocal", [KC_PW_sqrt] = "Sqrt",
	[KC_PW_exp] = "Exp", [KC_PW_log] = "Log", [KC_PW_abs] = "Abs", [KC_PW_sign] = "Sign",
	[KC_PW_floor] = "Floor", [KC_PW_round] = "Round", [KC_PW_relu] = "Relu",
	[KC_PW_sigmoid] = "Sigmoid", [KC_PW_tanh] = "Tanh", [KC_PW_softplus] = "Softplus",
	[KC_PW_add] = "Add", [KC_PW_sub] = "Sub", [KC_PW_mul] = "Mul", [KC_PW_div] = "Div",
	[KC_PW_min] = "Min", [KC_PW_max] = "Max",
};

static const char *affine(struct kc_onnx *x, const char *u, double p, double q)
{
	if (p != 1)
		u = KC_ONNX(x, "Mul", NULL, u, kc_onnx_number(x, p));
	if (q != 0 || p == 1)
		u = KC_ONNX(x, "Add", NULL, u, kc_onnx_number(x, q));
	return u;
}

static const char *where(struct kc_onnx *x, const char *condition, const char *yes, const char *no)
{
	return KC_ONNX(x, "Where", NULL, condition, yes, no);
}

static const char *greater(struct kc_onnx *x, const char *u, const char *v)
{
	return KC_ONNX(x, "Greater", NULL, u, v);
}

static const char *with_slope(struct kc_onnx *x, const char *op, const char *u, double p)
{
	return KC_ONNX(x, op, KC_ONNX_ATTRS(KC_ONNX_REAL("alpha", p)), u);
}

static const char *clamp(struct kc_onnx *x, const char *u, double p, double q)
{
	if (!isinf(p))
		u = KC_ONNX(x, "Max", NULL, u, kc_onnx_number(x, p));
	return isinf(q) ? u : KC_ONNX(x, "Min", NULL, u, kc_onnx_number(x, q));
}

static const char *inside(struct kc_onnx *x, const char *u, double p, double q)
{
	const char *zero = kc_onnx_number(x, 0), *one = kc_onnx_number(x, 1);
	const char *y = where(x, greater(x, u, kc_onnx_number(x, q)), zero, one);

	return where(x, KC_ONNX(x, "Less", NULL, u, kc_onnx_number(x, p)), zero, y);
}

static const char *elu_slope(struct kc_onnx *x, const char *u, double p)
{
	return where(x, greater(x, u, kc_onnx_number(x, 0)), kc_onnx_number(x, 1),
		     affine(x, u, 1, p));
}

/* 1 where u is v, else 0 */
static const char *equal(struct kc_onnx *x, const char *u, const char *v)
{
	return where(x, KC_ONNX(x, "Equal", NULL, u, v), kc_onnx_number(x, 1),
		     kc_onnx_number(x, 0));
}

/* v where u is not 0, else w */
static const char *choose(struct kc_onnx *x, const char *u, const char *v, const char *w)
{
	return where(x, KC_ONNX(x, "Equal", NULL, u, kc_onnx_number(x, 0)), w, v);
}

static const char *above(struct kc_onnx *x, const char *u, const char *v, double p)
{
	const char *tie = where(x, KC_ONNX(x, "Equal", NULL, u, v), kc_onnx_number(x, p),
				kc_onnx_number(x, 0));

	return where(x, greater(x, u, v), kc_onnx_number(x, 1), tie);
}

static const char *blend(struct kc_onnx *x, const char *u, const char *v, const char *w)
{
	const char *rest = KC_ONNX(x, "Sub", NULL, kc_onnx_number(x, 1), u);

	return KC_ONNX(x, "Add", NULL, KC_ONNX(x, "Mul", NULL, u, v),
		       KC_ONNX(x, "Mul", NULL, rest, w));
}

/* The rest. */
static const char *formula(struct kc_onnx *x, const struct kc_node *n, const char *const *in)
{
	const struct kc_pw_attr *a = n->attr;
	const char *u = in[0];

	switch (n->op->pointwise) {
	case KC_PW_affine: return affine(x, u, a->p, a->q);
	case KC_PW_square: return KC_ONNX(x, "Mul", NULL, u, u);
	case KC_PW_rsqrt: return KC_ONNX(x, "Reciprocal", NULL, KC_ONNX(x, "Sqrt", NULL, u));
	case KC_PW_pow: return KC_ONNX(x, "Pow", NULL, u, kc_onnx_number(x, a->p));
	case KC_PW_clamp: return clamp(x, u, a->p, a->q);
	case KC_PW_inside: return inside(x, u, a->p, a->q);
	case KC_PW_step:
		return where(x, greater(x, u, kc_onnx_number(x, a->q)), kc_onnx_number(x, 1),
			     kc_onnx_number(x, a->p));
	case KC_PW_leaky: return with_slope(x, "LeakyRelu", u, a->p);
	case KC_PW_elu: return with_slope(x, "Elu", u, a->p);
	case KC_PW_elu_slope: return elu_slope(x, u, a->p);
	case KC_PW_above: return above(x, u, in[1], a->p);
	case KC_PW_equal: return equal(x, u, in[1]);
	case KC_PW_fma: return KC_ONNX(x, "Add", NULL, KC_ONNX(x, "Mul", NULL, u, in[1]), in[2]);
	case KC_PW_blend: return blend(x, u, in[1], in[2]);
	case KC_PW_select: return choose(x, u, in[1], in[2]);
	default: return kc_onnx_refuse(x, n, "its formula is not known there");
	}
}

const char *kc_pointwise_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_node *n = t->node;
	const char *in[3];

	kc_onnx_operands(x, n, in);
	if (same[n->op->pointwise])
		return kc_onnx_add(x, same[n->op->pointwise], NULL, in, n->n_in);
	return formula(x, n, in);
}
