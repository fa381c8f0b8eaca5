/* Reductions: sums and means are sum_to (layers/shape.c); softmax, norms and checks are here. */
#include "layers/shape.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/ref.h"

#include <math.h>

/* ---- sums and means ---- */

struct kc_tensor *kc_sum(struct kc_graph *g, struct kc_tensor *x)
{
	struct kc_type one = KC_TYPE(KC_REAL, 1);

	return kc_sum_to(g, x, &one);
}

struct kc_tensor *kc_mean(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_scale(g, kc_sum(g, x), 1 / (double)kc_numel(&x->type));
}

struct kc_tensor *kc_sum_axis(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	struct kc_type t = x->type;

	if (kc_is_poison(x))
		return x;
	if (axis < 0 || axis >= t.ndim)
		return kc_graph_fail(g, "sum over axis %d of %d dimensions", axis, t.ndim);
	t.dim[axis] = 1;
	return kc_sum_to(g, x, &t);
}

struct kc_tensor *kc_mean_axis(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	struct kc_tensor *sum = kc_sum_axis(g, x, axis);

	return kc_is_poison(sum) ? sum : kc_scale(g, sum, 1 / (double)x->type.dim[axis]);
}

/* ---- softmax and log_softmax along one axis ---- */

static const struct kc_opt axis_rows[] = {KC_ATTR(kc_axis_attr, axis, INT)};

static int infer_softmax(struct kc_infer *f)
{
	const struct kc_axis_attr *a = f->attr;

	f->out[0] = f->in[0]->type;
	if (a->axis < 0 || a->axis >= f->out[0].ndim)
		return KC_FAIL(KC_ESHAPE, "axis %lld of %d dimensions", (long long)a->axis,
			       f->out[0].ndim);
	return 0;
}

/* gx = y (gy - <gy, y>) */
static void grad_softmax(struct kc_grad_ctx *c)
{
	int axis = (int)((const struct kc_axis_attr *)c->node->attr)->axis;
	struct kc_tensor *y = &c->node->out[0], *gy = c->gy[0];
	struct kc_tensor *dot = kc_sum_axis(c->g, kc_mul(c->g, gy, y), axis);

	c->gx[0] = kc_mul(c->g, y, kc_sub(c->g, gy, dot));
}

/* gx = gy - softmax sum gy */
static void grad_log_softmax(struct kc_grad_ctx *c)
{
	int axis = (int)((const struct kc_axis_attr *)c->node->attr)->axis;
	struct kc_tensor *gy = c->gy[0], *share = kc_exp(c->g, &c->node->out[0]);

	c->gx[0] = kc_sub(c->g, gy, kc_mul(c->g, share, kc_sum_axis(c->g, gy, axis)));
}

/* One line along the axis, which begins at element `from` of x and `to` of y. */
static void softmax_line(const struct kc_call *c, int64_t axis, int64_t from, int64_t to, bool logs)
{
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	int64_t n = x->type.dim[axis], dx = x->stride[axis], dy = y->stride[axis];
	double most = -INFINITY, sum = 0;

	for (int64_t k = 0; k < n; k++) {
		double v = kc_get(x, from + k * dx);

		most = v > most || v != v ? v : most;
	}
	for (int64_t k = 0; k < n; k++)
		sum += exp(kc_get(x, from + k * dx) - most);
	for (int64_t k = 0; k < n; k++) {
		double v = kc_get(x, from + k * dx) - most;

		kc_put(y, to + k * dy, logs ? v - log(sum) : exp(v) / sum);
	}
}

static void softmax_lines(const struct kc_call *c, bool logs)
{
	int64_t axis = ((const struct kc_axis_attr *)c->attr)->axis, n;
	struct kc_type t = c->out[0].type;

	t.dim[axis] = 1;
	n = kc_numel(&t);
	#pragma omp parallel for if (kc_is_large(&c->in[0].type))
	for (int64_t i = 0; i < n; i++)
		softmax_line(c, axis, kc_elem_at(&t, c->in[0].stride, i),
			     kc_elem_at(&t, c->out[0].stride, i), logs);
}

static void ref_softmax(const struct kc_call *c)
{
	softmax_lines(c, false);
}

static void ref_log_softmax(const struct kc_call *c)
{
	softmax_lines(c, true);
}

static const char *along_axis(struct kc_onnx *x, const struct kc_tensor *t, const char *op)
{
	return KC_ONNX(x, op, KC_ONNX_ATTRS(KC_ONNX_INT("axis",
		       ((const struct kc_axis_attr *)t->node->attr)->axis)),
		       kc_onnx_value(x, t->node->in[0]));
}

static const char *onnx_softmax(struct kc_onnx *x, const struct kc_tensor *t)
{
	return along_axis(x, t, "Softmax");
}

static const char *onnx_log_softmax(struct kc_onnx *x, const struct kc_tensor *t)
{
	return along_axis(x, t, "LogSoftmax");
}

const struct kc_op kc_op_softmax = {
	.name = "softmax", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FULL,
	.attr_size = sizeof(struct kc_axis_attr), .attrs = axis_rows,
	.n_attrs = KC_COUNT(axis_rows), .infer = infer_softmax, .grad = grad_softmax,
	.ref = ref_softmax, .onnx = onnx_softmax,
};
const struct kc_op kc_op_log_softmax = {
	.name = "log_softmax", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FULL,
	.attr_size = sizeof(struct kc_axis_attr), .attrs = axis_rows,
	.n_attrs = KC_COUNT(axis_rows), .infer = infer_softmax, .grad = grad_log_softmax,
	.ref = ref_log_softmax, .onnx = onnx_log_softmax,
};

struct kc_tensor *kc_softmax(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	return kc_apply(g, &kc_op_softmax, &(struct kc_axis_attr){axis}, &x, 1);
}

struct kc_tensor *kc_log_softmax(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	return kc_apply(g, &kc_op_log_softmax, &(struct kc_axis_attr){axis}, &x, 1);
}

/* ---- over any number of values of any shapes ---- */

static int infer_scalar(struct kc_infer *f)
{
	f->out[0] = KC_TYPE(KC_REAL, 1);
	return 0;
}

static double sum_squares(const struct kc_buf *x)
{
	int64_t rows = kc_row_count(&x->type), len = kc_row_len(&x->type);
	int64_t step = kc_row_step(&x->type, x->stride);
	double sum = 0;

	for (int64_t row = 0; row < rows; row++) {
		int64_t at = kc_row_at(&x->type, x->stride, row);

		for (int64_t i = 0; i < len; i++, at += step) {
			double v = kc_get(x, at);

			sum += v * v;
		}
	}
	return sum;
}

static void ref_norm(const struct kc_call *c)
{
	double sum = 0;

	for (int k = 0; k < c->n_in; k++)
		sum += sum_squares(&c->in[k]);
	kc_put(&c->out[0], 0, sqrt(sum));
}

static void grad_norm(struct kc_grad_ctx *c)
{
	struct kc_tensor *share = kc_div(c->g, c->gy[0], &c->node->out[0]);

	for (int k = 0; k < c->node->n_in; k++)
		if (c->need[k])
			c->gx[k] = kc_mul(c->g, c->in[k], share);
}

/* A sum of squares is finite unless an element is not: doubles do not overflow on floats. */
static void ref_all_finite(const struct kc_call *c)
{
	bool ok = true;

	for (int k = 0; ok && k < c->n_in; k++)
		ok = isfinite(sum_squares(&c->in[k]));
	kc_put(&c->out[0], 0, ok);
}

const struct kc_op kc_op_norm = {
	.name = "norm", .n_in_min = 1, .n_in_max = -1, .precision = KC_PREC_FULL,
	.infer = infer_scalar, .grad = grad_norm, .ref = ref_norm,
};
const struct kc_op kc_op_all_finite = {
	.name = "all_finite", .n_in_min = 1, .n_in_max = -1, .flags = KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .infer = infer_scalar, .ref = ref_all_finite,
};

struct kc_tensor *kc_all_finite(struct kc_graph *g, struct kc_tensor *const *in, int n)
{
	return kc_apply(g, &kc_op_all_finite, NULL, in, n);
}

struct kc_tensor *kc_global_norm(struct kc_graph *g, struct kc_tensor *const *in, int n)
{
	return kc_apply(g, &kc_op_norm, NULL, in, n);
}
