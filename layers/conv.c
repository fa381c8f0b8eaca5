/*
 * Convolution in 1, 2 or 3 dimensions with its data gradient (also the transposed convolution)
 * and its weight gradient: three operators closed under differentiation.  With y = conv(x, w),
 *     gx = conv_dgrad(gy, w)     gw = conv_wgrad(x, gy)
 * and each is linear in either input, so the gradients of these two are the other ones.
 */
#include "core/onnx.h"
#include "layers/conv_private.h"
#include "layers/ops.h"

static const struct kc_opt conv_rows[] = {
	KC_ATTR(kc_conv_attr, nd, INT),
	KC_ATTR(kc_conv_attr, stride[0], INT), KC_ATTR(kc_conv_attr, stride[1], INT),
	KC_ATTR(kc_conv_attr, stride[2], INT),
	KC_ATTR(kc_conv_attr, pad[0], INT), KC_ATTR(kc_conv_attr, pad[1], INT),
	KC_ATTR(kc_conv_attr, pad[2], INT),
	KC_ATTR(kc_conv_attr, dilation[0], INT), KC_ATTR(kc_conv_attr, dilation[1], INT),
	KC_ATTR(kc_conv_attr, dilation[2], INT),
	KC_ATTR(kc_conv_attr, groups, INT),
	KC_ATTR(kc_conv_attr, size[0], INT), KC_ATTR(kc_conv_attr, size[1], INT),
	KC_ATTR(kc_conv_attr, size[2], INT),
	KC_ATTR(kc_conv_attr, act, INT), KC_ATTR(kc_conv_attr, slope, REAL),
};

/* ---- shapes ---- */

/* Size of y along dimension j; below 1 when the window does not fit. */
static int64_t y_size(const struct kc_conv_attr *a, int j, int64_t x, int64_t k)
{
	int64_t room = x + 2 * a->pad[j] - a->dilation[j] * (k - 1) - 1;

	return room < 0 ? 0 : room / a->stride[j] + 1;
}

static int check_attr(const struct kc_infer *f, const struct kc_type *image,
		      const struct kc_type *other)
{
	const struct kc_conv_attr *a = f->attr;

	if (a->nd < 1 || a->nd > 3 || a->groups < 1)
		return KC_FAIL(KC_ESHAPE, "expected 1 to 3 dimensions and at least 1 group");
	if (image->ndim != a->nd + 2 || other->ndim != a->nd + 2)
		return KC_FAIL(KC_ESHAPE, "expected two tensors of %d dimensions, got %d and %d",
			       (int)a->nd + 2, image->ndim, other->ndim);
	for (int j = 0; j < a->nd; j++)
		if (a->stride[j] < 1 || a->dilation[j] < 1 || a->pad[j] < 0)
			return KC_FAIL(KC_ESHAPE,
				       "stride and dilation must be 1 or more, pad 0 or more");
	return 0;
}

static int misfit(const char *what, const struct kc_type *p, const struct kc_type *q)
{
	char a[96], b[96];

	return KC_FAIL(KC_ESHAPE, "%s: %s and %s", what, kc_dims_text(p, a), kc_dims_text(q, b));
}

static int check_bias(const struct kc_infer *f, int64_t channels)
{
	if (f->n_in < 3)
		return 0;
	if (f->in[2]->type.ndim != 1 || f->in[2]->type.dim[0] != channels)
		return misfit("bias does not fit the weight", &f->in[2]->type, &f->in[1]->type);
	return 0;
}

static int conv_infer(struct kc_infer *f)
{
	const struct kc_conv_attr *a = f->attr;
	const struct kc_type *x = &f->in[0]->type, *w = &f->in[1]->type;

	KC_TRY(check_attr(f, x, w));
	if (x->dim[1] != w->dim[1] * a->groups || w->dim[0] % a->groups)
		return misfit("channels of input and weight differ", x, w);
	KC_TRY(check_bias(f, w->dim[0]));
	f->out[0] = *x;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[1] = w->dim[0];
	for (int j = 0; j < a->nd; j++) {
		f->out[0].dim[j + 2] = y_size(a, j, x->dim[j + 2], w->dim[j + 2]);
		if (f->out[0].dim[j + 2] < 1)
			return misfit("input smaller than the kernel", x, w);
	}
	return 0;
}

static int conv_dgrad_infer(struct kc_infer *f)
{
	const struct kc_conv_attr *a = f->attr;
	const struct kc_type *y = &f->in[0]->type, *w = &f->in[1]->type;

	KC_TRY(check_attr(f, y, w));
	if (y->dim[1] != w->dim[0] || w->dim[0] % a->groups)
		return misfit("channels of input and weight differ", y, w);
	KC_TRY(check_bias(f, w->dim[1] * a->groups));
	f->out[0] = *y;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[1] = w->dim[1] * a->groups;
	for (int j = 0; j < a->nd; j++) {
		f->out[0].dim[j + 2] = a->size[j];
		if (y_size(a, j, a->size[j], w->dim[j + 2]) != y->dim[j + 2])
			return misfit("size of the result does not fit", y, w);
	}
	return 0;
}

static int conv_wgrad_infer(struct kc_infer *f)
{
	const struct kc_conv_attr *a = f->attr;
	const struct kc_type *x = &f->in[0]->type, *y = &f->in[1]->type;

	KC_TRY(check_attr(f, x, y));
	if (x->dim[0] != y->dim[0] || x->dim[1] % a->groups || y->dim[1] % a->groups)
		return misfit("batch or channels do not fit", x, y);
	f->out[0] = *x;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[0] = y->dim[1];
	f->out[0].dim[1] = x->dim[1] / a->groups;
	for (int j = 0; j < a->nd; j++) {
		f->out[0].dim[j + 2] = a->size[j];
		if (y_size(a, j, x->dim[j + 2], a->size[j]) != y->dim[j + 2])
			return misfit("size of the kernel does not fit", x, y);
	}
	return 0;
}

/* ---- gradients ---- */

/* The attributes with the sizes of `like`; no activation. */
static struct kc_conv_attr sized(const struct kc_conv_attr *a, const struct kc_tensor *like)
{
	struct kc_conv_attr b = *a;

	KC_ASSERT(a->act == KC_ACT_NONE);       /* only plans fuse activations */
	for (int j = 0; j < a->nd; j++)
		b.size[j] = like ? like->type.dim[j + 2] : 0;
	return b;
}

static struct kc_tensor *forward(struct kc_graph *g, const struct kc_conv_attr *a,
				 struct kc_tensor *x, struct kc_tensor *w)
{
	struct kc_conv_attr b = sized(a, NULL);

	return kc_apply(g, &kc_op_conv, &b, (struct kc_tensor *[]){x, w}, 2);
}

static struct kc_tensor *dgrad(struct kc_graph *g, const struct kc_conv_attr *a,
			       struct kc_tensor *gy, struct kc_tensor *w, const struct kc_tensor *x)
{
	struct kc_conv_attr b = sized(a, x);

	return kc_apply(g, &kc_op_conv_dgrad, &b, (struct kc_tensor *[]){gy, w}, 2);
}

static struct kc_tensor *wgrad(struct kc_graph *g, const struct kc_conv_attr *a,
			       struct kc_tensor *x, struct kc_tensor *gy, const struct kc_tensor *w)
{
	struct kc_conv_attr b = sized(a, w);

	return kc_apply(g, &kc_op_conv_wgrad, &b, (struct kc_tensor *[]){x, gy}, 2);
}

/* Sum over everything but the channels. */
static struct kc_tensor *bias_grad(struct kc_graph *g, struct kc_tensor *gy)
{
	struct kc_type t = gy->type;

	for (int i = 0; i < t.ndim; i++)
		t.dim[i] = i == 1 ? t.dim[1] : 1;
	return kc_reshape(g, kc_sum_to(g, gy, &t), 1, &t.dim[1]);
}

static void conv_grad(struct kc_grad_ctx *c)
{
	struct kc_tensor *gy = c->gy[0];

	if (c->need[0])
		c->gx[0] = dgrad(c->g, c->node->attr, gy, c->in[1], c->in[0]);
	if (c->need[1])
		c->gx[1] = wgrad(c->g, c->node->attr, c->in[0], gy, c->in[1]);
	if (c->node->n_in > 2 && c->need[2])
		c->gx[2] = bias_grad(c->g, gy);
}

static void conv_dgrad_grad(struct kc_grad_ctx *c)
{
	struct kc_tensor *gx = c->gy[0];

	if (c->need[0])
		c->gx[0] = forward(c->g, c->node->attr, gx, c->in[1]);
	if (c->need[1])
		c->gx[1] = wgrad(c->g, c->node->attr, gx, c->in[0], c->in[1]);
	if (c->node->n_in > 2 && c->need[2])
		c->gx[2] = bias_grad(c->g, gx);
}

/* The inputs of the forward one that nobody wants the gradient of need no weights either. */
static struct kc_tensor *conv_dgrad_narrow(struct kc_graph *g, const struct kc_node *node, int axis,
					   const struct kc_range *r, int n)
{
	struct kc_tensor *in[2] = {node->in[0]}, *w[KC_MAX_OUT];
	int64_t kept = 0;

	for (int i = 0; i < n; i++)
		kept += r[i].count;
	if (axis != 1 || node->n_in > 2 || n > KC_MAX_OUT ||
	    kept == node->out[0].type.dim[1] ||
	    ((const struct kc_conv_attr *)node->attr)->groups > 1)
		return NULL;
	for (int i = 0; i < n; i++)
		w[i] = kc_slice(g, node->in[1], 1, r[i].first, r[i].count, 1);
	in[1] = kc_concat(g, 1, w, n);
	return kc_apply(g, &kc_op_conv_dgrad, node->attr, in, 2);
}

static void conv_wgrad_grad(struct kc_grad_ctx *c)
{
	struct kc_tensor *gw = c->gy[0];

	if (c->need[0])
		c->gx[0] = dgrad(c->g, c->node->attr, c->in[1], gw, c->in[0]);
	if (c->need[1])
		c->gx[1] = forward(c->g, c->node->attr, c->in[0], gw);
}

/* ---- what plans ask ---- */

/* Two operations per tap, pair of channels of a group, and position of y. */
static double count(const struct kc_type *x, const struct kc_type *y, const struct kc_type *w)
{
	double n = 2.0 * (double)x->dim[1] * (double)kc_numel(y) / (double)x->dim[1];

	for (int i = 1; i < w->ndim; i++)
		n *= (double)w->dim[i];
	return n;
}

static double conv_flops(const struct kc_node *n)
{
	return count(&n->in[0]->type, &n->out[0].type, &n->in[1]->type);
}

static double conv_dgrad_flops(const struct kc_node *n)
{
	return count(&n->out[0].type, &n->in[0]->type, &n->in[1]->type);
}

static double conv_wgrad_flops(const struct kc_node *n)
{
	return count(&n->in[0]->type, &n->in[1]->type, &n->out[0].type);
}

static bool conv_absorb(const void *attr, const struct kc_op *next, const void *next_attr,
			void *merged)
{
	struct kc_conv_attr *a = merged;

	*a = *(const struct kc_conv_attr *)attr;
	if (a->act != KC_ACT_NONE)
		return false;
	switch (next->pointwise) {
	case KC_PW_relu: a->act = KC_RELU; break;
	case KC_PW_leaky: a->act = KC_LEAKY; break;
	case KC_PW_tanh: a->act = KC_TANH; break;
	case KC_PW_sigmoid: a->act = KC_SIGMOID; break;
	default: return false;
	}
	a->slope = a->act == KC_LEAKY ? ((const struct kc_pw_attr *)next_attr)->p : 0;
	return true;
}

/* Strides, dilations, pads at both ends, groups, and what a transposed one adds to its size. */
static const char *write_onnx(struct kc_onnx *x, const struct kc_tensor *t, const char *op,
			      const int64_t *more)
{
	const struct kc_node *n = t->node;
	const struct kc_conv_attr *a = n->attr;
	const char *in[3];
	int64_t pads[6];
	int nd = (int)a->nd;

	if (a->act != KC_ACT_NONE)
		return kc_onnx_refuse(x, n, "it holds an activation");
	for (int j = 0; j < nd; j++)
		pads[j] = pads[nd + j] = a->pad[j];
	for (int i = 0; i < n->n_in; i++)
		in[i] = kc_onnx_value(x, n->in[i]);
	return kc_onnx_add(x, op, KC_ONNX_ATTRS(
		KC_ONNX_INT("group", a->groups), KC_ONNX_LIST("strides", nd, a->stride),
		KC_ONNX_LIST("dilations", nd, a->dilation), KC_ONNX_LIST("pads", 2 * nd, pads),
		{"output_padding", more ? KC_ONNX_IS : KC_ONNX_END, .is = more, .n = nd}),
		in, n->n_in);
}

static const char *conv_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	return write_onnx(x, t, "Conv", NULL);
}

static const char *conv_dgrad_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_conv_attr *a = t->node->attr;
	const struct kc_type *y = &t->node->in[0]->type, *w = &t->node->in[1]->type;
	int64_t more[3];

	for (int j = 0; j < a->nd; j++)
		more[j] = a->size[j] - ((y->dim[j + 2] - 1) * a->stride[j] - 2 * a->pad[j] +
					a->dilation[j] * (w->dim[j + 2] - 1) + 1);
	return write_onnx(x, t, "ConvTranspose", more);
}

const struct kc_op kc_op_conv = {
	.name = "conv", .n_in_min = 2, .n_in_max = 3, .precision = KC_PREC_LOW,
	.layout = KC_LAYOUT_CLAST, .attr_size = sizeof(struct kc_conv_attr), .attrs = conv_rows,
	.n_attrs = KC_COUNT(conv_rows), .infer = conv_infer, .grad = conv_grad,
	.ref = kc_conv_ref, .flops = conv_flops, .absorb = conv_absorb, .onnx = conv_onnx,
};
const struct kc_op kc_op_conv_dgrad = {
	.name = "conv_dgrad", .n_in_min = 2, .n_in_max = 3, .precision = KC_PREC_LOW,
	.layout = KC_LAYOUT_CLAST, .attr_size = sizeof(struct kc_conv_attr), .attrs = conv_rows,
	.n_attrs = KC_COUNT(conv_rows), .infer = conv_dgrad_infer, .grad = conv_dgrad_grad,
	.narrow = conv_dgrad_narrow,
	.ref = kc_conv_dgrad_ref, .flops = conv_dgrad_flops, .absorb = conv_absorb,
	.onnx = conv_dgrad_onnx,
};
const struct kc_op kc_op_conv_wgrad = {
	.name = "conv_wgrad", .n_in_min = 2, .n_in_max = 2, .flags = KC_OP_OUT_FULL,
	.precision = KC_PREC_LOW, .layout = KC_LAYOUT_PLAIN,
	.attr_size = sizeof(struct kc_conv_attr), .attrs = conv_rows,
	.n_attrs = KC_COUNT(conv_rows), .infer = conv_wgrad_infer, .grad = conv_wgrad_grad,
	.ref = kc_conv_wgrad_ref, .flops = conv_wgrad_flops,
};

/* ---- on given values ---- */

/* Zeros of stride, dilation and groups mean 1. */
static struct kc_conv_attr with_defaults(const struct kc_conv_attr *a)
{
	struct kc_conv_attr b = *a;

	b.nd = b.nd ? b.nd : 2;
	b.groups = b.groups ? b.groups : 1;
	for (int j = 0; j < b.nd && j < 3; j++) {
		b.stride[j] = b.stride[j] ? b.stride[j] : 1;
		b.dilation[j] = b.dilation[j] ? b.dilation[j] : 1;
		b.size[j] = 0;
	}
	return b;
}

struct kc_tensor *kc_conv_op(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *w,
			     struct kc_tensor *bias, const struct kc_conv_attr *attr)
{
	struct kc_conv_attr a = with_defaults(attr);

	return kc_apply(g, &kc_op_conv, &a, (struct kc_tensor *[]){x, w, bias}, bias ? 3 : 2);
}

struct kc_tensor *kc_deconv_op(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *w,
			       struct kc_tensor *bias, const struct kc_conv_attr *attr,
			       const int64_t *output_padding)
{
	struct kc_conv_attr a = with_defaults(attr);

	for (int j = 0; j < a.nd && j < 3; j++)
		a.size[j] = (x->type.dim[j + 2] - 1) * a.stride[j] - 2 * a.pad[j] +
			    a.dilation[j] * (w->type.dim[j + 2] - 1) + 1 +
			    (output_padding ? output_padding[j] : 0);
	return kc_apply(g, &kc_op_conv_dgrad, &a, (struct kc_tensor *[]){x, w, bias}, bias ? 3 : 2);
}
