/*
 * Correlation of two feature maps over displacements (FlowNet), and the norm over channels.
 * sum of g(d) a(p) b(p + d) is linear in each of g, a and b: correlation gives its derivative
 * by g, the two operators beside it those by a and b, and the three are closed.
 */
#include "layers/motion.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/ref.h"

#include <math.h>

static const struct kc_opt correlation_rows[] = {
	KC_ATTR(kc_correlation_attr, max_displacement, INT),
	KC_ATTR(kc_correlation_attr, step, INT),
};

static int64_t displacements(const struct kc_correlation_attr *a)
{
	return 2 * (a->max_displacement / a->step) + 1;
}

static int check_attr(const struct kc_correlation_attr *a)
{
	if (a->max_displacement < 0 || a->step < 1 || a->max_displacement > 1024)
		return KC_FAIL(KC_ESHAPE, "displacement and its step must be positive");
	return 0;
}

static int correlation_infer(struct kc_infer *f)
{
	const struct kc_correlation_attr *attr = f->attr;
	char a[96], b[96];

	KC_TRY(check_attr(attr));
	if (f->in[0]->type.ndim != 4 || !kc_same_dims(&f->in[0]->type, &f->in[1]->type))
		return KC_FAIL(KC_ESHAPE, "%s and %s", kc_dims_text(&f->in[0]->type, a),
			       kc_dims_text(&f->in[1]->type, b));
	f->out[0] = f->in[0]->type;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[1] = displacements(attr) * displacements(attr);
	return 0;
}

static int correlation_part_infer(struct kc_infer *f)
{
	const struct kc_correlation_attr *attr = f->attr;
	const struct kc_type *g = &f->in[0]->type, *x = &f->in[1]->type;
	char a[96], b[96];

	KC_TRY(check_attr(attr));
	if (g->ndim != 4 || x->ndim != 4 ||
	    g->dim[1] != displacements(attr) * displacements(attr) ||
	    g->dim[0] != x->dim[0] || g->dim[2] != x->dim[2] || g->dim[3] != x->dim[3])
		return KC_FAIL(KC_ESHAPE, "%s and %s", kc_dims_text(g, a), kc_dims_text(x, b));
	f->out[0] = *x;
	f->out[0].dtype = KC_REAL;
	return 0;
}

static struct kc_tensor *apply(struct kc_grad_ctx *c, const struct kc_op *op, struct kc_tensor *p,
			       struct kc_tensor *q)
{
	return kc_apply(c->g, op, c->node->attr, (struct kc_tensor *[]){p, q}, 2);
}

static void correlation_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = apply(c, &kc_op_correlation_a, c->gy[0], c->in[1]);
	if (c->need[1])
		c->gx[1] = apply(c, &kc_op_correlation_b, c->gy[0], c->in[0]);
}

static void correlation_a_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = apply(c, &kc_op_correlation, c->gy[0], c->in[1]);
	if (c->need[1])
		c->gx[1] = apply(c, &kc_op_correlation_b, c->in[0], c->gy[0]);
}

static void correlation_b_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = apply(c, &kc_op_correlation, c->in[1], c->gy[0]);
	if (c->need[1])
		c->gx[1] = apply(c, &kc_op_correlation_a, c->in[0], c->gy[0]);
}

/* ---- reference ---- */

static int64_t pixel(const struct kc_buf *b, int64_t n, int64_t i, int64_t j)
{
	return n * b->stride[0] + i * b->stride[2] + j * b->stride[3];
}

/* Displacement d of the list: dy is the slow index. */
static void displacement(const struct kc_correlation_attr *a, int64_t d, int64_t *dy, int64_t *dx)
{
	int64_t side = displacements(a);

	*dy = (d / side - side / 2) * a->step;
	*dx = (d % side - side / 2) * a->step;
}

static bool inside(const struct kc_buf *b, int64_t i, int64_t j)
{
	return i >= 0 && j >= 0 && i < b->type.dim[2] && j < b->type.dim[3];
}

static void correlation_ref(const struct kc_call *call)
{
	const struct kc_buf *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
	int64_t channels = a->type.dim[1], h = y->type.dim[2], w = y->type.dim[3];

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < y->type.dim[0] * h * w; p++)
		for (int64_t d = 0; d < y->type.dim[1]; d++) {
			int64_t n = p / (h * w), i = p / w % h, j = p % w, dy, dx;
			double sum = 0;

			displacement(call->attr, d, &dy, &dx);
			for (int64_t c = 0; c < channels && inside(b, i + dy, j + dx); c++)
				sum += kc_get(a, pixel(a, n, i, j) + c * a->stride[1]) *
				       kc_get(b, pixel(b, n, i + dy, j + dx) + c * b->stride[1]);
			kc_put(y, pixel(y, n, i, j) + d * y->stride[1], sum / (double)channels);
		}
}

/* out(p) = 1/C sum over d of g(d, p) x(p + d), or with sign -1 of g(d, p - d) x(p - d). */
static void part(const struct kc_call *call, int sign)
{
	const struct kc_buf *g = &call->in[0], *x = &call->in[1], *y = &call->out[0];
	int64_t channels = y->type.dim[1], h = y->type.dim[2], w = y->type.dim[3];

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < y->type.dim[0] * channels * h * w; p++) {
		int64_t n = p / (channels * h * w), c = p / (h * w) % channels;
		int64_t i = p / w % h, j = p % w;
		double sum = 0;

		for (int64_t d = 0; d < g->type.dim[1]; d++) {
			int64_t dy, dx, at;

			displacement(call->attr, d, &dy, &dx);
			if (!inside(x, i + sign * dy, j + sign * dx))
				continue;
			at = sign > 0 ? pixel(g, n, i, j) : pixel(g, n, i - dy, j - dx);
			sum += kc_get(g, at + d * g->stride[1]) *
			       kc_get(x, pixel(x, n, i + sign * dy, j + sign * dx) +
				      c * x->stride[1]);
		}
		kc_put(y, pixel(y, n, i, j) + c * y->stride[1], sum / (double)channels);
	}
}

static void correlation_a_ref(const struct kc_call *call)
{
	part(call, 1);
}

static void correlation_b_ref(const struct kc_call *call)
{
	part(call, -1);
}

static double correlation_flops(const struct kc_node *n)
{
	const struct kc_type *x = &n->in[1]->type;

	return 2.0 * (double)kc_numel(x) *
	       (double)(displacements(n->attr) * displacements(n->attr));
}

/* Mean over channels of a and the padded b seen through one window. */
static const char *window_onnx(struct kc_onnx *x, const char *a, const char *wide, int64_t reach,
			       const int64_t shift[2])
{
	static const int64_t axes[] = {2, 3}, channels = 1;
	int64_t from[2], end[2];

	for (int j = 0; j < 2; j++) {
		from[j] = reach + shift[j];
		end[j] = shift[j] == reach ? INT64_MAX : shift[j] - reach;
	}
	wide = KC_ONNX(x, "Slice", NULL, wide, kc_onnx_ints(x, 2, from), kc_onnx_ints(x, 2, end),
		       kc_onnx_ints(x, 2, axes));
	return KC_ONNX(x, "ReduceMean", KC_ONNX_ATTRS(KC_ONNX_LIST("axes", 1, &channels)),
		       KC_ONNX(x, "Mul", NULL, a, wide));
}

static const char *correlation_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_correlation_attr *attr = t->node->attr;
	int64_t side = displacements(attr), reach = side / 2 * attr->step, shift[2];
	const int64_t pads[] = {0, 0, reach, reach, 0, 0, reach, reach};
	const char *a = kc_onnx_value(x, t->node->in[0]), *wide;
	const char **part = kc_onnx_alloc(x, (size_t)(side * side) * sizeof *part);

	if (!part)
		return "";
	wide = KC_ONNX(x, "Pad", NULL, kc_onnx_value(x, t->node->in[1]), kc_onnx_ints(x, 8, pads));
	for (int64_t d = 0; d < side * side; d++) {
		displacement(attr, d, &shift[0], &shift[1]);
		part[d] = window_onnx(x, a, wide, reach, shift);
	}
	return kc_onnx_add(x, "Concat", KC_ONNX_ATTRS(KC_ONNX_INT("axis", 1)), part,
			   (int)(side * side));
}

const struct kc_op kc_op_correlation = {
	.name = "correlation", .n_in_min = 2, .n_in_max = 2,
	.attr_size = sizeof(struct kc_correlation_attr), .attrs = correlation_rows,
	.n_attrs = KC_COUNT(correlation_rows), .infer = correlation_infer, .grad = correlation_grad,
	.ref = correlation_ref, .onnx = correlation_onnx, .flops = correlation_flops,
};
const struct kc_op kc_op_correlation_a = {
	.name = "correlation_a", .n_in_min = 2, .n_in_max = 2,
	.attr_size = sizeof(struct kc_correlation_attr), .attrs = correlation_rows,
	.n_attrs = KC_COUNT(correlation_rows), .infer = correlation_part_infer,
	.grad = correlation_a_grad, .ref = correlation_a_ref, .flops = correlation_flops,
};
const struct kc_op kc_op_correlation_b = {
	.name = "correlation_b", .n_in_min = 2, .n_in_max = 2,
	.attr_size = sizeof(struct kc_correlation_attr), .attrs = correlation_rows,
	.n_attrs = KC_COUNT(correlation_rows), .infer = correlation_part_infer,
	.grad = correlation_b_grad, .ref = correlation_b_ref, .flops = correlation_flops,
};

struct kc_tensor *kc_correlation(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b,
				 int64_t max_displacement, int64_t stride2)
{
	struct kc_correlation_attr attr = {max_displacement, stride2};

	return kc_apply(g, &kc_op_correlation, &attr, (struct kc_tensor *[]){a, b}, 2);
}

/* ---- norm over channels ---- */

static int channel_norm_infer(struct kc_infer *f)
{
	f->out[0] = f->in[0]->type;
	f->out[0].dtype = KC_REAL;
	if (f->out[0].ndim < 2)
		return KC_FAIL(KC_ESHAPE, "expected channels in dimension 1");
	f->out[0].dim[1] = 1;
	return 0;
}

/* FlowNet 2.0's convention: the term makes the gradient 0 where the norm is 0. */
static void channel_norm_grad(struct kc_grad_ctx *c)
{
	struct kc_tensor *y = kc_shift(c->g, &c->node->out[0], 1e-9);

	c->gx[0] = kc_mul(c->g, kc_div(c->g, c->gy[0], y), c->in[0]);
}

static void channel_norm_ref(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	int64_t n = kc_numel(&y->type);

	#pragma omp parallel for if (kc_is_large(&call->in[0].type))
	for (int64_t p = 0; p < n; p++) {
		int64_t rest = p, from = 0, to = 0;
		double sum = 0;

		for (int k = y->type.ndim - 1; k >= 0; k--) {
			from += rest % y->type.dim[k] * x->stride[k];
			to += rest % y->type.dim[k] * y->stride[k];
			rest /= y->type.dim[k];
		}
		for (int64_t c = 0; c < x->type.dim[1]; c++) {
			double v = kc_get(x, from + c * x->stride[1]);

			sum += v * v;
		}
		kc_put(y, to, sqrt(sum));
	}
}

static const char *channel_norm_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	static const int64_t channels = 1;

	return KC_ONNX(x, "ReduceL2", KC_ONNX_ATTRS(KC_ONNX_LIST("axes", 1, &channels)),
		       kc_onnx_value(x, t->node->in[0]));
}

const struct kc_op kc_op_channel_norm = {
	.name = "channel_norm", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FULL,
	.infer = channel_norm_infer, .grad = channel_norm_grad, .ref = channel_norm_ref,
	.onnx = channel_norm_onnx,
};

struct kc_tensor *kc_channel_norm(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_apply(g, &kc_op_channel_norm, NULL, &x, 1);
}
