/* Operators that pick elements by computed or given indices, and their adjoints. */
#include "layers/shape.h"

#include "layers/layers.h"
#include "layers/ref.h"

static const struct kc_opt index_rows[] = {
	KC_ATTR(kc_index_attr, axis, INT), KC_ATTR(kc_index_attr, size, INT),
};

static int check_index(const struct kc_type *index, const struct kc_type *want)
{
	char a[96], b[96];

	if (index->dtype != KC_I32 || !kc_same_dims(index, want))
		return KC_FAIL(KC_ESHAPE, "indices are %s %s, expected int32 %s",
			       kc_dtype_name((enum kc_dtype)index->dtype), kc_dims_text(index, a),
			       kc_dims_text(want, b));
	return 0;
}

/* ---- gather and scatter: whole entries along axis 0 ---- */

static int infer_gather(struct kc_infer *f)
{
	struct kc_type n = f->in[1]->type;

	f->out[0] = f->in[0]->type;
	if (f->out[0].ndim < 1 || n.ndim != 1)
		return KC_FAIL(KC_ESHAPE, "needs rows and a list of indices");
	f->out[0].dim[0] = n.dim[0];
	return check_index(&n, &n);
}

static int infer_scatter(struct kc_infer *f)
{
	const struct kc_index_attr *a = f->attr;
	struct kc_type n = KC_TYPE(KC_I32, f->in[0]->type.dim[0]);

	f->out[0] = f->in[0]->type;
	f->out[0].dim[0] = a->size;
	return check_index(&f->in[1]->type, &n);
}

static void grad_gather(struct kc_grad_ctx *c)
{
	struct kc_index_attr a = {0, c->in[0]->type.dim[0]};

	if (c->need[0])
		c->gx[0] = kc_apply(c->g, &kc_op_scatter, &a,
				    (struct kc_tensor *[]){c->gy[0], c->in[1]}, 2);
}

static void grad_scatter(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = kc_gather(c->g, c->gy[0], c->in[1]);
}

/* Entry i of axis 0. */
static struct kc_buf entry(const struct kc_buf *b, int64_t i)
{
	struct kc_buf e = *b;

	e.data = (char *)b->data +
		 i * b->stride[0] * (int64_t)kc_dtype_size((enum kc_dtype)b->type.dtype);
	e.type.dim[0] = 1;
	return e;
}

static int64_t index_at(const struct kc_buf *index, int64_t i, int64_t size)
{
	int64_t k = (int64_t)kc_get(index, i * index->stride[0]);

	return k >= 0 && k < size ? k : -1;
}

static void ref_gather(const struct kc_call *c)
{
	for (int64_t i = 0; i < c->out[0].type.dim[0]; i++) {
		int64_t k = index_at(&c->in[1], i, c->in[0].type.dim[0]);
		struct kc_buf y = entry(&c->out[0], i), x = entry(&c->in[0], KC_MAX(k, 0));

		if (k < 0)
			kc_zero(&y);
		else
			kc_copy(&y, &x);
	}
}

static void add_entry(const struct kc_buf *y, const struct kc_buf *x)
{
	for (int64_t i = 0; i < kc_numel(&y->type); i++) {
		int64_t at = kc_elem_at(&y->type, y->stride, i);

		kc_put(y, at, kc_get(y, at) + kc_get(x, kc_elem_at(&x->type, x->stride, i)));
	}
}

static void ref_scatter(const struct kc_call *c)
{
	kc_zero(&c->out[0]);
	for (int64_t i = 0; i < c->in[0].type.dim[0]; i++) {
		int64_t k = index_at(&c->in[1], i, c->out[0].type.dim[0]);
		struct kc_buf x = entry(&c->in[0], i), y = entry(&c->out[0], KC_MAX(k, 0));

		if (k >= 0)
			add_entry(&y, &x);
	}
}

const struct kc_op kc_op_gather = {
	.name = "gather", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FIRST,
	.infer = infer_gather, .grad = grad_gather, .ref = ref_gather,
};
const struct kc_op kc_op_scatter = {
	.name = "scatter", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FULL,
	.attr_size = sizeof(struct kc_index_attr), .attrs = index_rows,
	.n_attrs = KC_COUNT(index_rows), .infer = infer_scatter, .grad = grad_scatter,
	.ref = ref_scatter,
};

struct kc_tensor *kc_gather(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *index)
{
	return kc_apply(g, &kc_op_gather, NULL, (struct kc_tensor *[]){x, index}, 2);
}

/* ---- take and put: one element of an axis at every place of the others ---- */

static int infer_take(struct kc_infer *f)
{
	const struct kc_index_attr *a = f->attr;
	struct kc_type *y = &f->out[0];

	*y = f->in[0]->type;
	if (a->axis < 0 || a->axis >= y->ndim)
		return KC_FAIL(KC_ESHAPE, "axis %lld of %d dimensions", (long long)a->axis,
			       y->ndim);
	y->dim[a->axis] = 1;
	return f->n_in > 1 ? check_index(&f->in[1]->type, y) : 0;
}

static int infer_put(struct kc_infer *f)
{
	const struct kc_index_attr *a = f->attr;

	f->out[0] = f->in[0]->type;
	f->out[0].dim[a->axis] = a->size;
	return check_index(&f->in[1]->type, &f->in[0]->type);
}

static void grad_take(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = kc_apply(c->g, &kc_op_put, c->node->attr,
				    (struct kc_tensor *[]){c->gy[0], c->in[1]}, 2);
}

static void grad_put(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = kc_apply(c->g, &kc_op_take, c->node->attr,
				    (struct kc_tensor *[]){c->gy[0], c->in[1]}, 2);
}

static void ref_take(const struct kc_call *c)
{
	const struct kc_index_attr *a = c->attr;
	const struct kc_buf *x = &c->in[0], *index = &c->in[1], *y = &c->out[0];
	int64_t n = kc_numel(&y->type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t i = 0; i < n; i++) {
		int64_t k = (int64_t)kc_get(index, kc_elem_at(&y->type, index->stride, i));
		int64_t at = kc_elem_at(&y->type, x->stride, i) + k * x->stride[a->axis];

		kc_put(y, kc_elem_at(&y->type, y->stride, i),
		       k >= 0 && k < a->size ? kc_get(x, at) : 0);
	}
}

static void ref_put(const struct kc_call *c)
{
	const struct kc_index_attr *a = c->attr;
	const struct kc_buf *x = &c->in[0], *index = &c->in[1], *y = &c->out[0];
	int64_t n = kc_numel(&x->type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t i = 0; i < n; i++) {
		int64_t k = (int64_t)kc_get(index, kc_elem_at(&x->type, index->stride, i));
		int64_t at = kc_elem_at(&x->type, y->stride, i);
		double v = kc_get(x, kc_elem_at(&x->type, x->stride, i));

		for (int64_t j = 0; j < a->size; j++)
			kc_put(y, at + j * y->stride[a->axis], j == k ? v : 0);
	}
}

const struct kc_op kc_op_take = {
	.name = "take", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_index_attr), .attrs = index_rows,
	.n_attrs = KC_COUNT(index_rows), .infer = infer_take, .grad = grad_take, .ref = ref_take,
};
const struct kc_op kc_op_put = {
	.name = "put", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_index_attr), .attrs = index_rows,
	.n_attrs = KC_COUNT(index_rows), .infer = infer_put, .grad = grad_put, .ref = ref_put,
};

static struct kc_index_attr index_attr(const struct kc_tensor *x, int axis)
{
	bool fits = axis >= 0 && axis < x->type.ndim;

	return (struct kc_index_attr){axis, fits ? x->type.dim[axis] : 0};
}

struct kc_tensor *kc_take(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *index,
			  int axis)
{
	struct kc_index_attr a = index_attr(x, axis);

	return kc_apply(g, &kc_op_take, &a, (struct kc_tensor *[]){x, index}, 2);
}

/* ---- argmax: the first of the largest, NaN counting as the largest ---- */

static int infer_argmax(struct kc_infer *f)
{
	KC_TRY(infer_take(f));
	f->out[0].dtype = KC_I32;
	return 0;
}

static void ref_argmax(const struct kc_call *c)
{
	const struct kc_index_attr *a = c->attr;
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	int64_t n = kc_numel(&y->type);

	#pragma omp parallel for if (kc_is_large(&c->in[0].type))
	for (int64_t i = 0; i < n; i++) {
		int64_t at = kc_elem_at(&y->type, x->stride, i), best = 0;
		double most = kc_get(x, at);

		for (int64_t k = 1; k < a->size && most == most; k++) {
			double v = kc_get(x, at + k * x->stride[a->axis]);

			if (v > most || v != v) {
				most = v;
				best = k;
			}
		}
		kc_put(y, kc_elem_at(&y->type, y->stride, i), (double)best);
	}
}

const struct kc_op kc_op_argmax = {
	.name = "argmax", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .attr_size = sizeof(struct kc_index_attr), .attrs = index_rows,
	.n_attrs = KC_COUNT(index_rows), .infer = infer_argmax, .ref = ref_argmax,
};

struct kc_tensor *kc_argmax(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	struct kc_index_attr a = index_attr(x, axis);

	return kc_apply(g, &kc_op_argmax, &a, &x, 1);
}

struct kc_tensor *kc_max_axis(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	return kc_take(g, x, kc_argmax(g, x, axis), axis);
}
