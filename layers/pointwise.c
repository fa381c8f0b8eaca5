#include "layers/pointwise.h"

#include "layers/layers.h"
#include "layers/ops.h"
#include "layers/ref.h"

#include <math.h>

/* ---- gradients, as graph ---- */

#define F1(name, p_, q_, a) kc_pw1(c->g, KC_PW_##name, (p_), (q_), (a))
#define F2(name, p_, q_, a, b) kc_pw2(c->g, KC_PW_##name, (p_), (q_), (a), (b))
#define F3(name, p_, q_, a, b, d) kc_pw3(c->g, KC_PW_##name, (p_), (q_), (a), (b), (d))
#define ZERO kc_fill(c->g, 0, gy->type)
#define NAMES(n) \
	const struct kc_pw_attr *a_ = c->node->attr; \
	struct kc_tensor *gy = c->gy[0], *y = &c->node->out[0], *u = c->in[0]; \
	struct kc_tensor *v = c->in[(n) > 1 ? 1 : 0], *w = c->in[(n) > 2 ? 2 : 0]; \
	double p = a_->p, q = a_->q; \
	(void)gy, (void)y, (void)u, (void)v, (void)w, (void)p, (void)q
#define KC_PW1(name, formula, fl, du) \
	static void grad_##name(struct kc_grad_ctx *c) \
	{ \
		NAMES(1); \
		if (c->need[0]) \
			c->gx[0] = du; \
	}
#define KC_PW2(name, formula, fl, du, dv) \
	static void grad_##name(struct kc_grad_ctx *c) \
	{ \
		NAMES(2); \
		if (c->need[0]) \
			c->gx[0] = du; \
		if (c->need[1]) \
			c->gx[1] = dv; \
	}
#define KC_PW3(name, formula, fl, du, dv, dw) \
	static void grad_##name(struct kc_grad_ctx *c) \
	{ \
		NAMES(3); \
		if (c->need[0]) \
			c->gx[0] = du; \
		if (c->need[1]) \
			c->gx[1] = dv; \
		if (c->need[2]) \
			c->gx[2] = dw; \
	}
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
#undef F1
#undef F2
#undef F3
#undef ZERO
#undef NAMES

/* ---- formulas in double ---- */

#define KC_PW_EXP exp
#define KC_PW_EXPM1 expm1
#define KC_PW_LOG log
#define KC_PW_LOG1P log1p
#define KC_PW_TANH tanh
#define KC_PW_SQRT sqrt
#define KC_PW_POW pow
#define KC_PW_ABS fabs
#define KC_PW_FLOOR floor
#define KC_PW_RINT rint
#define VALUE(name, formula) \
	static double value_##name(double p, double q, double u, double v, double w) \
	{ \
		(void)p, (void)q, (void)u, (void)v, (void)w; \
		return formula; \
	}
#define KC_PW1(name, formula, ...) VALUE(name, formula)
#define KC_PW2(name, formula, ...) VALUE(name, formula)
#define KC_PW3(name, formula, ...) VALUE(name, formula)
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3

static double (*const values[KC_PW_COUNT])(double p, double q, double u, double v, double w) = {
#define KC_PW1(name, ...) value_##name,
#define KC_PW2(name, ...) value_##name,
#define KC_PW3(name, ...) value_##name,
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
};

/* ---- descriptors ---- */

static int infer_pw(struct kc_infer *f)
{
	char a[96], b[96];

	for (int i = 1; i < f->n_in; i++)
		if (!kc_same_dims(&f->in[0]->type, &f->in[i]->type))
			return KC_FAIL(KC_ESHAPE, "inputs have shapes %s and %s",
				       kc_dims_text(&f->in[0]->type, a),
				       kc_dims_text(&f->in[i]->type, b));
	f->out[0] = f->in[0]->type;
	f->out[0].dtype = KC_REAL;
	return 0;
}

static double flops_pw(const struct kc_node *n)
{
	return (double)kc_numel(&n->out[0].type);
}

static const struct kc_opt pw_rows[] = {
	KC_ATTR(kc_pw_attr, p, REAL),
	KC_ATTR(kc_pw_attr, q, REAL),
};

#define DESCRIPTOR(name_, n, fl) \
	[KC_PW_##name_] = { \
		.name = #name_, .n_in_min = n, .n_in_max = n, \
		.flags = KC_OP_POINTWISE | KC_OP_INPLACE | (fl), \
		.attr_size = sizeof(struct kc_pw_attr), .attrs = pw_rows, \
		.n_attrs = KC_COUNT(pw_rows), .infer = infer_pw, \
		.grad = (fl) & KC_OP_NONDIFF ? NULL : grad_##name_, .flops = flops_pw, \
		.onnx = kc_pointwise_onnx, .pointwise = KC_PW_##name_, \
	},
#define KC_PW1(name, formula, fl, ...) DESCRIPTOR(name, 1, fl)
#define KC_PW2(name, formula, fl, ...) DESCRIPTOR(name, 2, fl)
#define KC_PW3(name, formula, fl, ...) DESCRIPTOR(name, 3, fl)
const struct kc_op kc_pw_ops[KC_PW_COUNT] = {
#include "layers/pointwise.def"
};
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3

/* ---- chains ---- */

enum { REGISTERS = KC_FUSED_IN + KC_FUSED_MAX };

static void run_row(const struct kc_call *c, int64_t row)
{
	const struct kc_fused_attr *a = c->attr;
	const struct kc_type *t = &c->out[0].type;
	int64_t at[KC_FUSED_IN], step[KC_FUSED_IN], to[KC_FUSED_OUT], stride[KC_MAX_DIM];
	double reg[REGISTERS];

	for (int k = 0; k < c->n_in; k++) {
		kc_repeat_strides(&c->in[k], t, stride);
		at[k] = kc_row_at(t, stride, row);
		step[k] = kc_row_step(t, stride);
	}
	for (int k = 0; k < a->n_out; k++)
		to[k] = kc_row_at(t, c->out[k].stride, row);
	for (int64_t i = 0; i < kc_row_len(t); i++) {
		for (int k = 0; k < c->n_in; k++)
			reg[k] = kc_get(&c->in[k], at[k] + i * step[k]);
		for (int k = 0; k < a->n_code; k++) {
			const struct kc_fused_code *s = &a->code[k];

			reg[a->n_in + k] = values[s->op](s->p, s->q, reg[s->arg[0]],
							 reg[s->arg[1]], reg[s->arg[2]]);
		}
		for (int k = 0; k < a->n_out; k++)
			kc_put(&c->out[k], to[k] + i * kc_row_step(t, c->out[k].stride),
			       reg[a->out[k]]);
	}
}

static void ref_fused(const struct kc_call *c)
{
	const struct kc_fused_attr *a = c->attr;
	int64_t rows = kc_row_count(&c->out[0].type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t row = 0; row < rows; row++)
		run_row(c, row);
	if (a->summed)
		kc_op_sum_to.ref(&(struct kc_call){.in = &c->out[a->summed - 1], .n_in = 1,
						   .out = &c->out[a->n_out], .n_out = 1});
}

const struct kc_op kc_op_fused = {
	.name = "fused", .n_in_min = 1, .n_in_max = KC_FUSED_IN,
	.attr_size = sizeof(struct kc_fused_attr), .ref = ref_fused,
};

/* ---- applying one ---- */

struct kc_tensor *kc_pw1(struct kc_graph *g, enum kc_pw op, double p, double q, struct kc_tensor *u)
{
	return kc_apply(g, &kc_pw_ops[op], &(struct kc_pw_attr){p, q}, &u, 1);
}

/* The dimensions that all n values can be repeated to. */
static int common_type(struct kc_tensor *const *in, int n, struct kc_type *t)
{
	*t = in[0]->type;
	for (int i = 1; i < n; i++) {
		const struct kc_type *x = &in[i]->type;
		struct kc_type both = x->ndim > t->ndim ? *x : *t;

		for (int d = 1; d <= KC_MIN(x->ndim, t->ndim); d++) {
			int64_t a = x->dim[x->ndim - d], b = t->dim[t->ndim - d];

			if (a != b && a != 1 && b != 1)
				return -1;
			both.dim[both.ndim - d] = a == 1 ? b : a;
		}
		*t = both;
	}
	t->dtype = KC_REAL;
	return 0;
}

static struct kc_tensor *apply_repeated(struct kc_graph *g, enum kc_pw op, double p, double q,
					struct kc_tensor **in, int n)
{
	struct kc_type t;
	char a[96], b[96];

	for (int i = 0; i < n; i++)
		if (kc_is_poison(in[i]))
			return in[i];
	if (common_type(in, n, &t) < 0)
		return kc_graph_fail(g, "%s: shapes %s and %s do not fit", kc_pw_ops[op].name,
				     kc_dims_text(&in[0]->type, a),
				     kc_dims_text(&in[n - 1]->type, b));
	for (int i = 0; i < n; i++)
		in[i] = kc_expand_to(g, in[i], &t);
	return kc_apply(g, &kc_pw_ops[op], &(struct kc_pw_attr){p, q}, in, n);
}

struct kc_tensor *kc_pw2(struct kc_graph *g, enum kc_pw op, double p, double q, struct kc_tensor *u,
			 struct kc_tensor *v)
{
	return apply_repeated(g, op, p, q, (struct kc_tensor *[]){u, v}, 2);
}

struct kc_tensor *kc_pw3(struct kc_graph *g, enum kc_pw op, double p, double q, struct kc_tensor *u,
			 struct kc_tensor *v, struct kc_tensor *w)
{
	return apply_repeated(g, op, p, q, (struct kc_tensor *[]){u, v, w}, 3);
}

struct kc_tensor *kc_add(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_pw2(g, KC_PW_add, 0, 0, a, b);
}

struct kc_tensor *kc_sub(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_pw2(g, KC_PW_sub, 0, 0, a, b);
}

struct kc_tensor *kc_mul(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_pw2(g, KC_PW_mul, 0, 0, a, b);
}

struct kc_tensor *kc_div(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_pw2(g, KC_PW_div, 0, 0, a, b);
}

struct kc_tensor *kc_scale(struct kc_graph *g, struct kc_tensor *x, double factor)
{
	return factor == 1 ? x : kc_pw1(g, KC_PW_affine, factor, 0, x);
}

struct kc_tensor *kc_shift(struct kc_graph *g, struct kc_tensor *x, double term)
{
	return kc_pw1(g, KC_PW_affine, 1, term, x);
}

struct kc_tensor *kc_relu(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_relu, 0, 0, x);
}

struct kc_tensor *kc_leaky(struct kc_graph *g, struct kc_tensor *x, double slope)
{
	return kc_pw1(g, KC_PW_leaky, slope, 0, x);
}

struct kc_tensor *kc_sigmoid(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_sigmoid, 0, 0, x);
}

struct kc_tensor *kc_tanh(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_tanh, 0, 0, x);
}

struct kc_tensor *kc_exp(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_exp, 0, 0, x);
}

struct kc_tensor *kc_square(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_square, 0, 0, x);
}

struct kc_tensor *kc_abs(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_pw1(g, KC_PW_abs, 0, 0, x);
}

struct kc_tensor *kc_activate(struct kc_graph *g, struct kc_tensor *x, enum kc_act act,
			      double slope)
{
	switch (act) {
	case KC_RELU: return kc_relu(g, x);
	case KC_LEAKY: return kc_leaky(g, x, slope);
	case KC_TANH: return kc_tanh(g, x);
	case KC_SIGMOID: return kc_sigmoid(g, x);
	default: return x;
	}
}
