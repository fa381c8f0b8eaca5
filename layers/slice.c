#include "layers/shape.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/ref.h"

#include <stdlib.h>

/* ---- flip ---- */

static const struct kc_opt axis_rows[] = {KC_ATTR(kc_axis_attr, axis, INT)};

static int check_axis(const struct kc_type *t, int64_t axis)
{
	if (axis < 0 || axis >= t->ndim)
		return KC_FAIL(KC_ESHAPE, "axis %lld of %d dimensions", (long long)axis, t->ndim);
	return 0;
}

static int infer_flip(struct kc_infer *f)
{
	f->out[0] = f->in[0]->type;
	return check_axis(&f->out[0], ((const struct kc_axis_attr *)f->attr)->axis);
}

static void grad_flip(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_flip(c->g, c->gy[0], (int)((const struct kc_axis_attr *)c->node->attr)->axis);
}

/* The elements first, first + step, ... of an axis; count of them. */
static struct kc_buf part(const struct kc_buf *x, int64_t axis, int64_t first, int64_t count,
			  int64_t step)
{
	struct kc_buf b = *x;
	size_t size = kc_dtype_size((enum kc_dtype)x->type.dtype);

	b.data = (char *)x->data + first * x->stride[axis] * (int64_t)size;
	b.type.dim[axis] = count;
	b.stride[axis] = x->stride[axis] * step;
	return b;
}

static void ref_flip(const struct kc_call *c)
{
	int64_t axis = ((const struct kc_axis_attr *)c->attr)->axis, n = c->in[0].type.dim[axis];
	struct kc_buf x = part(&c->in[0], axis, n - 1, n, -1);

	kc_copy(&c->out[0], &x);
}

const struct kc_op kc_op_flip = {
	.name = "flip",
	.n_in_min = 1,
	.n_in_max = 1,
	.precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_axis_attr),
	.attrs = axis_rows,
	.n_attrs = KC_COUNT(axis_rows),
	.infer = infer_flip,
	.grad = grad_flip,
	.ref = ref_flip,
};

struct kc_tensor *kc_flip(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	return kc_apply(g, &kc_op_flip, &(struct kc_axis_attr){axis}, &x, 1);
}

/* ---- concat ---- */

static int infer_concat(struct kc_infer *f)
{
	int64_t axis = ((const struct kc_axis_attr *)f->attr)->axis;
	struct kc_type *y = &f->out[0];
	char a[96], b[96];

	*y = f->in[0]->type;
	KC_TRY(check_axis(y, axis));
	for (int i = 1; i < f->n_in; i++) {
		struct kc_type x = f->in[i]->type, want = *y;

		want.dim[axis] = x.ndim == y->ndim ? x.dim[axis] : 0;
		if (!kc_same_dims(&x, &want))
			return KC_FAIL(KC_ESHAPE, "%s behind %s along axis %lld",
				       kc_dims_text(&x, a), kc_dims_text(y, b), (long long)axis);
		y->dim[axis] += x.dim[axis];
	}
	return 0;
}

/* Ranges of the axis that some gradient is wanted of, neighbours joined.  Returns how many. */
static int wanted(const struct kc_grad_ctx *c, int axis, struct kc_range *r)
{
	int64_t first = 0;
	int n = 0;

	for (int i = 0; i < c->node->n_in; i++) {
		int64_t count = c->in[i]->type.dim[axis];

		if (c->need[i] && n && r[n - 1].first + r[n - 1].count == first)
			r[n - 1].count += count;
		else if (c->need[i])
			r[n++] = (struct kc_range){first, count};
		first += count;
	}
	return n;
}

/* The gradient without what nobody wants of it, if it was not computed for others anyway. */
static struct kc_tensor *narrowed(const struct kc_grad_ctx *c, int axis)
{
	const struct kc_node *made = c->gy[0]->node;
	struct kc_range *r;
	struct kc_tensor *gy;

	if (kc_is_poison(c->gy[0]) || !made->op->narrow)
		return NULL;
	r = kc_calloc((size_t)c->node->n_in, sizeof *r);
	if (!r)
		return kc_graph_fail(c->g, "out of memory");
	gy = made->op->narrow(c->g, made, axis, r, wanted(c, axis, r));
	free(r);
	return gy;
}

static void grad_concat(struct kc_grad_ctx *c)
{
	int axis = (int)((const struct kc_axis_attr *)c->node->attr)->axis;
	struct kc_tensor *narrow = narrowed(c, axis), *gy = narrow ? narrow : c->gy[0];
	int64_t first = 0;

	for (int i = 0; i < c->node->n_in; i++) {
		int64_t n = c->in[i]->type.dim[axis];

		if (c->need[i])
			c->gx[i] = kc_slice(c->g, gy, axis, first, n, 1);
		if (c->need[i] || !narrow)
			first += n;
	}
}

static void ref_concat(const struct kc_call *c)
{
	int64_t axis = ((const struct kc_axis_attr *)c->attr)->axis, first = 0;

	for (int i = 0; i < c->n_in; i++) {
		int64_t n = c->in[i].type.dim[axis];
		struct kc_buf y = part(&c->out[0], axis, first, n, 1);

		kc_copy(&y, &c->in[i]);
		first += n;
	}
}

/* Where input k lies when all dimensions in front of the axis are 1: one behind the other. */
static int64_t join_concat(const void *attr, const struct kc_buf *out, const struct kc_buf *in,
			   int k)
{
	int axis = (int)((const struct kc_axis_attr *)attr)->axis;
	int64_t at = 0;

	for (int i = 0; i < out->type.ndim; i++)
		if (i != axis && out->type.dim[i] > 1 && out->stride[i] > out->stride[axis])
			return -1;
	for (int i = 0; i < k; i++)
		at += in[i].type.dim[axis];
	return at * out->stride[axis];
}

static const char *onnx_concat(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_node *n = t->node;
	const char **in = kc_onnx_alloc(x, (size_t)n->n_in * sizeof *in);

	if (!in)
		return "";
	for (int i = 0; i < n->n_in; i++)
		in[i] = kc_onnx_value(x, n->in[i]);
	return kc_onnx_add(x, "Concat", KC_ONNX_ATTRS(KC_ONNX_INT("axis",
			   ((const struct kc_axis_attr *)n->attr)->axis)), in, n->n_in);
}

const struct kc_op kc_op_concat = {
	.name = "concat",
	.n_in_min = 1,
	.n_in_max = -1,
	.flags = KC_OP_CHEAP,
	.attr_size = sizeof(struct kc_axis_attr),
	.attrs = axis_rows,
	.n_attrs = KC_COUNT(axis_rows),
	.infer = infer_concat,
	.grad = grad_concat,
	.ref = ref_concat,
	.join = join_concat,
	.onnx = onnx_concat,
};

struct kc_tensor *kc_concat(struct kc_graph *g, int axis, struct kc_tensor *const *in, int n)
{
	return n == 1 ? in[0] : kc_apply(g, &kc_op_concat, &(struct kc_axis_attr){axis}, in, n);
}

/* ---- slice, and unslice: its adjoint, zeros elsewhere ---- */

static const struct kc_opt slice_rows[] = {
	KC_ATTR(kc_slice_attr, axis, INT), KC_ATTR(kc_slice_attr, start, INT),
	KC_ATTR(kc_slice_attr, count, INT), KC_ATTR(kc_slice_attr, step, INT),
	KC_ATTR(kc_slice_attr, size, INT),
};

/* The attribute's size is that of the longer axis, whichever side has it. */
static int check_slice(const struct kc_slice_attr *a, const struct kc_type *t)
{
	KC_TRY(check_axis(t, a->axis));
	if (a->start < 0 || a->count < 1 || a->step < 1 ||
	    a->start + (a->count - 1) * a->step >= a->size)
		return KC_FAIL(KC_ESHAPE,
			       "%lld elements from %lld on in steps of %lld are not in an "
			       "axis of %lld",
			       (long long)a->count, (long long)a->start, (long long)a->step,
			       (long long)a->size);
	return 0;
}

static int infer_slice(struct kc_infer *f)
{
	const struct kc_slice_attr *a = f->attr;

	f->out[0] = f->in[0]->type;
	KC_TRY(check_slice(a, &f->out[0]));
	f->out[0].dim[a->axis] = a->count;
	return 0;
}

static int infer_unslice(struct kc_infer *f)
{
	const struct kc_slice_attr *a = f->attr;

	f->out[0] = f->in[0]->type;
	KC_TRY(check_slice(a, &f->out[0]));
	f->out[0].dim[a->axis] = a->size;
	return 0;
}

static void grad_slice(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_apply(c->g, &kc_op_unslice, c->node->attr, &c->gy[0], 1);
}

static void grad_unslice(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_apply(c->g, &kc_op_slice, c->node->attr, &c->gy[0], 1);
}

static void ref_slice(const struct kc_call *c)
{
	const struct kc_slice_attr *a = c->attr;
	struct kc_buf x = part(&c->in[0], a->axis, a->start, a->count, a->step);

	kc_copy(&c->out[0], &x);
}

static void ref_unslice(const struct kc_call *c)
{
	const struct kc_slice_attr *a = c->attr;
	struct kc_buf y = part(&c->out[0], a->axis, a->start, a->count, a->step);

	kc_zero(&c->out[0]);
	kc_copy(&y, &c->in[0]);
}

static int64_t view_slice(const void *attr, const struct kc_buf *in, const struct kc_type *out,
			  int k)
{
	const struct kc_slice_attr *a = attr;

	(void)out, (void)k;
	return a->step == 1 ? a->start * in->stride[a->axis] : -1;
}

/* What reaches the end of a free side has no end of its own. */
static const char *onnx_slice(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_slice_attr *a = t->node->attr;
	const struct kc_tensor *from = t->node->in[0];
	int64_t end = a->start + a->count * a->step;

	if (end >= a->size)
		end = INT64_MAX;
	else if (a->axis >= 2 && kc_onnx_is_free(x, &from->type))
		return kc_onnx_refuse(x, t->node, "height and width are free");
	return KC_ONNX(x, "Slice", NULL, kc_onnx_value(x, from), kc_onnx_ints(x, 1, &a->start),
		       kc_onnx_ints(x, 1, &end), kc_onnx_ints(x, 1, &a->axis),
		       kc_onnx_ints(x, 1, &a->step));
}

const struct kc_op kc_op_slice = {
	.name = "slice", .n_in_min = 1, .n_in_max = 1,
	.flags = KC_OP_VIEW | KC_OP_WINDOW | KC_OP_CHEAP,
	.precision = KC_PREC_FIRST, .attr_size = sizeof(struct kc_slice_attr),
	.attrs = slice_rows, .n_attrs = KC_COUNT(slice_rows), .infer = infer_slice,
	.grad = grad_slice, .ref = ref_slice, .view = view_slice, .onnx = onnx_slice,
};
const struct kc_op kc_op_unslice = {
	.name = "unslice", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_slice_attr), .attrs = slice_rows,
	.n_attrs = KC_COUNT(slice_rows), .infer = infer_unslice, .grad = grad_unslice,
	.ref = ref_unslice,
};

struct kc_tensor *kc_slice(struct kc_graph *g, struct kc_tensor *x, int axis, int64_t start,
			   int64_t count, int64_t step)
{
	struct kc_slice_attr a = {axis, start, count, step, 0};

	if (kc_is_poison(x))
		return x;
	if (axis >= 0 && axis < x->type.ndim)
		a.size = x->type.dim[axis];
	if (start == 0 && step == 1 && count == a.size)
		return x;
	return kc_apply(g, &kc_op_slice, &a, &x, 1);
}

/* ---- split ---- */

static int infer_split(struct kc_infer *f)
{
	const struct kc_split_attr *a = f->attr;
	struct kc_type t = f->in[0]->type;

	KC_TRY(check_axis(&t, a->axis));
	if (a->n < 1 || a->n > KC_MAX_OUT || t.dim[a->axis] % a->n)
		return KC_FAIL(KC_ESHAPE, "an axis of %lld in %lld equal parts",
			       (long long)t.dim[a->axis], (long long)a->n);
	t.dim[a->axis] /= a->n;
	f->n_out = (int)a->n;
	for (int k = 0; k < f->n_out; k++)
		f->out[k] = t;
	return 0;
}

static void grad_split(struct kc_grad_ctx *c)
{
	const struct kc_split_attr *a = c->node->attr;
	struct kc_tensor *part_gy[KC_MAX_OUT];

	for (int k = 0; k < a->n; k++)
		part_gy[k] = c->gy[k] ? c->gy[k] : kc_fill(c->g, 0, c->node->out[k].type);
	c->gx[0] = kc_concat(c->g, (int)a->axis, part_gy, (int)a->n);
}

static void ref_split(const struct kc_call *c)
{
	const struct kc_split_attr *a = c->attr;

	for (int k = 0; k < c->n_out; k++) {
		int64_t n = c->out[k].type.dim[a->axis];
		struct kc_buf x = part(&c->in[0], a->axis, k * n, n, 1);

		kc_copy(&c->out[k], &x);
	}
}

static int64_t view_split(const void *attr, const struct kc_buf *in, const struct kc_type *out,
			  int k)
{
	const struct kc_split_attr *a = attr;

	return a->axis == 0 ? k * out->dim[0] * in->stride[0] : -1;
}

static const char *onnx_split(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_split_attr *a = t->node->attr;
	int64_t n = t->type.dim[a->axis], first = t->out * n, end = first + n;

	if (a->axis >= 2 && kc_onnx_is_free(x, &t->type))
		return kc_onnx_refuse(x, t->node, "height and width are free");
	return KC_ONNX(x, "Slice", NULL, kc_onnx_value(x, t->node->in[0]),
		       kc_onnx_ints(x, 1, &first), kc_onnx_ints(x, 1, &end),
		       kc_onnx_ints(x, 1, &a->axis));
}

static const struct kc_opt split_rows[] = {
	KC_ATTR(kc_split_attr, axis, INT), KC_ATTR(kc_split_attr, n, INT),
};

const struct kc_op kc_op_split = {
	.name = "split", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_VIEW | KC_OP_CHEAP,
	.precision = KC_PREC_FIRST, .attr_size = sizeof(struct kc_split_attr),
	.attrs = split_rows, .n_attrs = KC_COUNT(split_rows), .infer = infer_split,
	.grad = grad_split, .ref = ref_split, .view = view_split, .onnx = onnx_split,
};

void kc_split(struct kc_graph *g, struct kc_tensor *x, int axis, int n, struct kc_tensor **out)
{
	struct kc_tensor *first =
		kc_apply(g, &kc_op_split, &(struct kc_split_attr){axis, n}, &x, 1);

	for (int k = 0; k < n; k++)
		out[k] = kc_output(first, k);
}

/* ---- made of the above ---- */

struct kc_tensor *kc_subsample(struct kc_graph *g, struct kc_tensor *x, int64_t step)
{
	for (int d = x->type.ndim - 2; d < x->type.ndim && !kc_is_poison(x); d++)
		x = kc_slice(g, x, d, 0, (x->type.dim[d] + step - 1) / step, step);
	return x;
}

struct kc_tensor *kc_pixel_shuffle(struct kc_graph *g, struct kc_tensor *x, int64_t r)
{
	const int64_t *d = x->type.dim;
	int64_t n = d[0], c = d[1] / (r * r), h = d[2], w = d[3];

	if (x->type.ndim != 4 || d[1] % (r * r))
		return kc_is_poison(x) ? x : kc_graph_fail(g, "pixel_shuffle needs N, C*%lld, H, W",
							   (long long)(r * r));
	x = kc_reshape(g, x, 6, (int64_t[]){n, c, r, r, h, w});
	x = kc_permute(g, x, (int[]){0, 1, 4, 2, 5, 3});
	return kc_reshape(g, x, 4, (int64_t[]){n, c, h * r, w * r});
}

struct kc_tensor *kc_unfold3x3(struct kc_graph *g, struct kc_tensor *x)
{
	const int64_t *d = x->type.dim;
	int64_t n = d[0], c = d[1], h = d[2], w = d[3];
	struct kc_tensor *at[9], *wide;

	if (x->type.ndim != 4)
		return kc_is_poison(x) ? x : kc_graph_fail(g, "unfold needs N, C, H, W");
	wide = kc_pad(g, x, KC_PAD_CONSTANT, 1, 1, 1, 1);
	for (int k = 0; k < 9; k++) {
		at[k] = kc_slice(g, wide, 2, k / 3, h, 1);
		at[k] = kc_slice(g, at[k], 3, k % 3, w, 1);
		at[k] = kc_reshape(g, at[k], 4, (int64_t[]){n, c, 1, h * w});
	}
	return kc_reshape(g, kc_concat(g, 2, at, 9), 3, (int64_t[]){n, 9 * c, h * w});
}
