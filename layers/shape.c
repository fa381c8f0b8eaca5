#include "layers/shape.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/ref.h"

static struct kc_dims_attr dims_of(const struct kc_type *t)
{
	struct kc_dims_attr a = {.ndim = t->ndim};

	for (int i = 0; i < t->ndim; i++)
		a.dim[i] = t->dim[i];
	return a;
}

/* The output has the attribute's dimensions and the input's dtype. */
static void given_type(struct kc_infer *f)
{
	const struct kc_dims_attr *a = f->attr;

	f->out[0] = kc_type_of(f->in[0]->type.dtype, (int)a->ndim, a->dim);
}

static struct kc_tensor *apply_dims(struct kc_graph *g, const struct kc_op *op, struct kc_tensor *x,
				    const struct kc_type *t)
{
	struct kc_dims_attr a = dims_of(t);

	if (kc_is_poison(x) || kc_same_dims(&x->type, t))
		return x;
	return kc_apply(g, op, &a, &x, 1);
}

/* Can `small` be repeated to the dimensions of `big`, aligned at the right? */
static int check_repeat(const struct kc_type *small, const struct kc_type *big)
{
	int shift = big->ndim - small->ndim;
	char a[96], b[96];
	bool ok = shift >= 0;

	for (int i = 0; ok && i < small->ndim; i++)
		ok = small->dim[i] == 1 || small->dim[i] == big->dim[i + shift];
	return ok ? 0 : KC_FAIL(KC_ESHAPE, "%s cannot be repeated to %s", kc_dims_text(small, a),
				kc_dims_text(big, b));
}

/* ---- expand and sum_to ---- */

static int infer_expand(struct kc_infer *f)
{
	given_type(f);
	return check_repeat(&f->in[0]->type, &f->out[0]);
}

static void grad_expand(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_sum_to(c->g, c->gy[0], &c->in[0]->type);
}

static void ref_expand(const struct kc_call *c)
{
	struct kc_buf x = {.data = c->in[0].data, .type = c->out[0].type};

	x.type.dtype = c->in[0].type.dtype;
	kc_repeat_strides(&c->in[0], &x.type, x.stride);
	kc_copy(&c->out[0], &x);
}

static const char *onnx_expand(struct kc_onnx *x, const struct kc_tensor *t)
{
	return KC_ONNX(x, "Expand", NULL, kc_onnx_value(x, t->node->in[0]),
		       kc_onnx_dims(x, &t->type));
}

const struct kc_op kc_op_expand = {
	.name = "expand", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_BROADCAST | KC_OP_CHEAP,
	.precision = KC_PREC_FIRST, .attr_size = sizeof(struct kc_dims_attr),
	.infer = infer_expand, .grad = grad_expand, .ref = ref_expand, .onnx = onnx_expand,
};

/* The same value, which no gradient passes: an expansion to its own shape, so it costs nothing. */
static int infer_stop(struct kc_infer *f)
{
	f->out[0] = f->in[0]->type;
	return 0;
}

static const char *onnx_stop(struct kc_onnx *x, const struct kc_tensor *t)
{
	return kc_onnx_value(x, t->node->in[0]);
}

const struct kc_op kc_op_stop = {
	.name = "stop", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_BROADCAST | KC_OP_NONDIFF,
	.precision = KC_PREC_FIRST, .infer = infer_stop, .ref = ref_expand, .onnx = onnx_stop,
};

struct kc_tensor *kc_stop(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_apply(g, &kc_op_stop, NULL, &x, 1);
}

struct kc_tensor *kc_expand_to(struct kc_graph *g, struct kc_tensor *x, const struct kc_type *t)
{
	return apply_dims(g, &kc_op_expand, x, t);
}

static int infer_sum_to(struct kc_infer *f)
{
	given_type(f);
	return check_repeat(&f->out[0], &f->in[0]->type);
}

static void grad_sum_to(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_expand_to(c->g, c->gy[0], &c->in[0]->type);
}

/* The dimensions that are summed over. */
struct summed { int64_t dim[KC_MAX_DIM], stride[KC_MAX_DIM]; int n; };

static double sum_dims(const struct kc_buf *x, const struct summed *s, int d, int64_t at)
{
	double sum = 0;

	if (d == s->n)
		return kc_get(x, at);
	for (int64_t i = 0; i < s->dim[d]; i++, at += s->stride[d])
		sum += d + 1 == s->n ? kc_get(x, at) : sum_dims(x, s, d + 1, at);
	return sum;
}

static void ref_sum_to(const struct kc_call *c)
{
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	int shift = x->type.ndim - y->type.ndim;
	int64_t n = kc_numel(&y->type), keep[KC_MAX_DIM];
	struct summed s = {.n = 0};

	for (int i = 0; i < x->type.ndim; i++)
		if (i < shift || y->type.dim[i - shift] != x->type.dim[i]) {
			s.dim[s.n] = x->type.dim[i];
			s.stride[s.n++] = x->stride[i];
		}
	for (int i = 0; i < y->type.ndim; i++)
		keep[i] = y->type.dim[i] == 1 ? 0 : x->stride[i + shift];
	#pragma omp parallel for if (kc_is_large(&c->in[0].type))
	for (int64_t i = 0; i < n; i++)
		kc_put(y, kc_elem_at(&y->type, y->stride, i),
		       sum_dims(x, &s, 0, kc_elem_at(&y->type, keep, i)));
}

static const char *onnx_sum_to(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_type *from = &t->node->in[0]->type;
	int shift = from->ndim - t->type.ndim, n = 0;
	const char *y = kc_onnx_value(x, t->node->in[0]);
	int64_t axes[KC_MAX_DIM];

	for (int i = 0; i < from->ndim; i++)
		if (i < shift || t->type.dim[i - shift] != from->dim[i])
			axes[n++] = i;
	if (n)
		y = KC_ONNX(x, "ReduceSum", NULL, y, kc_onnx_ints(x, n, axes));
	return shift ? KC_ONNX(x, "Reshape", NULL, y, kc_onnx_dims(x, &t->type)) : y;
}

const struct kc_op kc_op_sum_to = {
	.name = "sum_to", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_SUM,
	.precision = KC_PREC_FULL,
	.attr_size = sizeof(struct kc_dims_attr), .infer = infer_sum_to, .grad = grad_sum_to,
	.ref = ref_sum_to, .onnx = onnx_sum_to,
};

struct kc_tensor *kc_sum_to(struct kc_graph *g, struct kc_tensor *x, const struct kc_type *t)
{
	return apply_dims(g, &kc_op_sum_to, x, t);
}

/* ---- reshape: the same elements in logical order under other dimensions ---- */

static int infer_reshape(struct kc_infer *f)
{
	char a[96], b[96];

	given_type(f);
	if (kc_numel(&f->out[0]) != kc_numel(&f->in[0]->type))
		return KC_FAIL(KC_ESHAPE, "%s has not as many elements as %s",
			       kc_dims_text(&f->in[0]->type, a), kc_dims_text(&f->out[0], b));
	return 0;
}

static void grad_reshape(struct kc_grad_ctx *c)
{
	const struct kc_type *t = &c->in[0]->type;

	c->gx[0] = kc_reshape(c->g, c->gy[0], t->ndim, t->dim);
}

static void ref_reshape(const struct kc_call *c)
{
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	int64_t n = kc_numel(&y->type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t i = 0; i < n; i++)
		kc_put(y, kc_elem_at(&y->type, y->stride, i),
		       kc_get(x, kc_elem_at(&x->type, x->stride, i)));
}

/* Joins dimensions that lie behind each other: equal results mean equal places of all elements. */
static int join_dims(const struct kc_type *t, const int64_t *stride, struct summed *j)
{
	j->n = 0;
	for (int i = 0; i < t->ndim; i++) {
		if (t->dim[i] == 1)
			continue;
		if (j->n && j->stride[j->n - 1] == t->dim[i] * stride[i]) {
			j->dim[j->n - 1] *= t->dim[i];
			j->stride[j->n - 1] = stride[i];
			continue;
		}
		j->dim[j->n] = t->dim[i];
		j->stride[j->n++] = stride[i];
	}
	return j->n;
}

static bool same_places(const struct kc_buf *x, const struct kc_type *t, enum kc_layout layout)
{
	int64_t stride[KC_MAX_DIM];
	struct summed a, b;

	kc_strides(t, layout, stride);
	if (join_dims(&x->type, x->stride, &a) != join_dims(t, stride, &b))
		return false;
	for (int i = 0; i < a.n; i++)
		if (a.dim[i] != b.dim[i] || a.stride[i] != b.stride[i])
			return false;
	return true;
}

/*
 * The output is channels-last if the input counts as such, and both can be true of an input with
 * one channel or one pixel: then the output must fit either way.
 */
static int64_t view_reshape(const void *attr, const struct kc_buf *in, const struct kc_type *out,
			    int k)
{
	bool clast = in->type.ndim >= 4 && kc_is_dense(in, KC_CLAST);
	bool plain = kc_is_dense(in, KC_PLAIN);

	(void)attr, (void)k;
	if ((!clast && !plain) || (clast && !same_places(in, out, KC_CLAST)) ||
	    (plain && !same_places(in, out, KC_PLAIN)))
		return -1;
	return 0;
}

static const char *onnx_reshape(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_tensor *from = t->node->in[0];

	if (kc_onnx_is_free(x, &from->type) && !kc_onnx_is_free(x, &t->type))
		return kc_onnx_refuse(x, t->node, "height and width are free");
	return KC_ONNX(x, "Reshape", NULL, kc_onnx_value(x, from), kc_onnx_dims(x, &t->type));
}

const struct kc_op kc_op_reshape = {
	.name = "reshape", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_VIEW | KC_OP_CHEAP,
	.precision = KC_PREC_FIRST, .attr_size = sizeof(struct kc_dims_attr),
	.infer = infer_reshape, .grad = grad_reshape, .ref = ref_reshape, .view = view_reshape,
	.onnx = onnx_reshape,
};

struct kc_tensor *kc_reshape(struct kc_graph *g, struct kc_tensor *x, int ndim, const int64_t *dim)
{
	struct kc_type t = kc_type_of(KC_REAL, ndim, dim);

	return apply_dims(g, &kc_op_reshape, x, &t);
}

/* ---- permute: dimension i of the output is dimension order[i] of the input ---- */

static int infer_permute(struct kc_infer *f)
{
	const struct kc_permute_attr *a = f->attr;
	const struct kc_type *x = &f->in[0]->type;
	unsigned seen = 0;

	f->out[0] = *x;
	for (int i = 0; i < x->ndim; i++) {
		if (a->order[i] < 0 || a->order[i] >= x->ndim || (seen & 1u << a->order[i]))
			return KC_FAIL(KC_ESHAPE, "not an order of %d dimensions", x->ndim);
		seen |= 1u << a->order[i];
		f->out[0].dim[i] = x->dim[a->order[i]];
	}
	return 0;
}

static void grad_permute(struct kc_grad_ctx *c)
{
	const struct kc_permute_attr *a = c->node->attr;
	int back[KC_MAX_DIM];

	for (int i = 0; i < c->in[0]->type.ndim; i++)
		back[a->order[i]] = i;
	c->gx[0] = kc_permute(c->g, c->gy[0], back);
}

/* The input's elements with the output's dimensions. */
static struct kc_buf permuted(const struct kc_permute_attr *a, const struct kc_buf *x)
{
	struct kc_buf b = *x;

	for (int i = 0; i < x->type.ndim; i++) {
		b.type.dim[i] = x->type.dim[a->order[i]];
		b.stride[i] = x->stride[a->order[i]];
	}
	return b;
}

static void ref_permute(const struct kc_call *c)
{
	struct kc_buf x = permuted(c->attr, &c->in[0]);

	kc_copy(&c->out[0], &x);
}

static int64_t view_permute(const void *attr, const struct kc_buf *in, const struct kc_type *out,
			    int k)
{
	struct kc_buf x = permuted(attr, in);

	(void)out, (void)k;
	return kc_is_dense(&x, KC_PLAIN) ? 0 : -1;
}

static const char *onnx_permute(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_permute_attr *a = t->node->attr;

	if (kc_onnx_is_free(x, &t->type))
		return kc_onnx_refuse(x, t->node, "height and width are free");
	return KC_ONNX(x, "Transpose",
		       KC_ONNX_ATTRS(KC_ONNX_LIST("perm", t->type.ndim, a->order)),
		       kc_onnx_value(x, t->node->in[0]));
}

const struct kc_op kc_op_permute = {
	.name = "permute", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_VIEW | KC_OP_CHEAP,
	.precision = KC_PREC_FIRST, .layout = KC_LAYOUT_PLAIN,
	.attr_size = sizeof(struct kc_permute_attr), .infer = infer_permute, .grad = grad_permute,
	.ref = ref_permute, .view = view_permute, .onnx = onnx_permute,
};

struct kc_tensor *kc_permute(struct kc_graph *g, struct kc_tensor *x, const int *order)
{
	struct kc_permute_attr a = {{0}};

	for (int i = 0; i < x->type.ndim; i++)
		a.order[i] = order[i];
	return kc_apply(g, &kc_op_permute, &a, &x, 1);
}

/* ---- integers as real numbers ---- */

static int infer_to_real(struct kc_infer *f)
{
	f->out[0] = f->in[0]->type;
	f->out[0].dtype = KC_REAL;
	return 0;
}

static void ref_to_real(const struct kc_call *c)
{
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	double scale = ((const struct kc_pw_attr *)c->attr)->p;
	int64_t n = kc_numel(&y->type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t i = 0; i < n; i++)
		kc_put(y, kc_elem_at(&y->type, y->stride, i),
		       scale * kc_get(x, kc_elem_at(&x->type, x->stride, i)));
}

const struct kc_op kc_op_to_real = {
	.name = "to_real", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .attr_size = sizeof(struct kc_pw_attr),
	.infer = infer_to_real, .ref = ref_to_real,
};

struct kc_tensor *kc_to_real(struct kc_graph *g, struct kc_tensor *u8, double scale)
{
	return kc_apply(g, &kc_op_to_real, &(struct kc_pw_attr){scale, 0}, &u8, 1);
}
