#include "layers/layers.h"
#include "layers/ops.h"
#include "layers/product.h"

static const struct kc_opt matmul_rows[] = {
	KC_ATTR(kc_matmul_attr, transpose_a, INT),
	KC_ATTR(kc_matmul_attr, transpose_b, INT),
};

static int matmul_infer(struct kc_infer *f)
{
	const struct kc_matmul_attr *at = f->attr;
	const struct kc_type *a = &f->in[0]->type, *b = &f->in[1]->type;
	int n = a->ndim, ta = at->transpose_a != 0, tb = at->transpose_b != 0;
	char s[96], t[96];

	if (n < 2 || n > 3 || b->ndim != n || (n == 3 && a->dim[0] != b->dim[0]) ||
	    a->dim[n - 1 - ta] != b->dim[n - 2 + tb])
		return KC_FAIL(KC_ESHAPE, "%s%s times %s%s", kc_dims_text(a, s),
			       ta ? " transposed" : "",
			       kc_dims_text(b, t), tb ? " transposed" : "");
	f->out[0] = *a;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[n - 2] = a->dim[n - 2 + ta];
	f->out[0].dim[n - 1] = b->dim[n - 1 - tb];
	return 0;
}

static void matmul_grad(struct kc_grad_ctx *c)
{
	const struct kc_matmul_attr *at = c->node->attr;
	bool ta = at->transpose_a != 0, tb = at->transpose_b != 0;
	struct kc_tensor *a = c->in[0], *b = c->in[1], *gy = c->gy[0];

	if (c->need[0])
		c->gx[0] = ta ? kc_matmul_t(c->g, b, gy, tb, true)
			      : kc_matmul_t(c->g, gy, b, false, !tb);
	if (c->need[1])
		c->gx[1] = tb ? kc_matmul_t(c->g, gy, a, true, ta)
			      : kc_matmul_t(c->g, a, gy, !ta, false);
}

struct matrix {
	const struct kc_buf *buf;
	int64_t at, row, column;        /* offset and strides */
};

struct matrices { struct matrix a, b, c; };

static struct matrix matrix_of(const struct kc_buf *b, int64_t batch, bool transposed)
{
	int n = b->type.ndim;
	struct matrix m = {.buf = b, .at = n == 3 ? batch * b->stride[0] : 0,
			   .row = b->stride[n - 2 + transposed],
			   .column = b->stride[n - 1 - transposed]};

	return m;
}

static void matmul_a(const void *own, int64_t i, int64_t d, int64_t count, double *to)
{
	const struct matrix *m = &((const struct matrices *)own)->a;

	kc_row_read(m->buf, m->at + i * m->row + d * m->column, m->column, count, to);
}

static void matmul_b(const void *own, int64_t d, int64_t j, int64_t count, double *to)
{
	const struct matrix *m = &((const struct matrices *)own)->b;

	kc_row_read(m->buf, m->at + d * m->row + j * m->column, m->column, count, to);
}

static void matmul_store(const void *own, int64_t i, int64_t j, int64_t count, double *c)
{
	const struct matrix *m = &((const struct matrices *)own)->c;

	kc_row_write(m->buf, m->at + i * m->row + j * m->column, m->column, count, c);
}

static void matmul_ref(const struct kc_call *call)
{
	const struct kc_matmul_attr *at = call->attr;
	const struct kc_type *a = &call->in[0].type, *c = &call->out[0].type;
	int n = c->ndim;

	for (int64_t i = 0; i < (n == 3 ? c->dim[0] : 1); i++) {
		struct matrices m = {matrix_of(&call->in[0], i, at->transpose_a != 0),
				     matrix_of(&call->in[1], i, at->transpose_b != 0),
				     matrix_of(&call->out[0], i, false)};

		kc_product_run(&(struct kc_product){
			.own = &m, .m = c->dim[n - 2], .n = c->dim[n - 1],
			.depth = a->dim[n - 1 - (at->transpose_a != 0)],
			.a = matmul_a, .b = matmul_b,
			.store = matmul_store});
	}
}

static double matmul_flops(const struct kc_node *n)
{
	const struct kc_matmul_attr *at = n->attr;
	const struct kc_type *a = &n->in[0]->type;

	return 2.0 * (double)kc_numel(&n->out[0].type) *
	       (double)a->dim[a->ndim - 1 - (at->transpose_a != 0)];
}

/* The result stays float32 in bf16 plans: it is a weight's gradient or goes into a softmax. */
const struct kc_op kc_op_matmul = {
	.name = "matmul", .n_in_min = 2, .n_in_max = 2, .flags = KC_OP_OUT_FULL,
	.precision = KC_PREC_LOW, .layout = KC_LAYOUT_PLAIN,
	.attr_size = sizeof(struct kc_matmul_attr), .attrs = matmul_rows,
	.n_attrs = KC_COUNT(matmul_rows), .infer = matmul_infer, .grad = matmul_grad,
	.ref = matmul_ref, .flops = matmul_flops,
};

struct kc_tensor *kc_matmul_t(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b,
			      bool transpose_a, bool transpose_b)
{
	struct kc_matmul_attr at = {transpose_a, transpose_b};

	return kc_apply(g, &kc_op_matmul, &at, (struct kc_tensor *[]){a, b}, 2);
}

struct kc_tensor *kc_matmul(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_matmul_t(g, a, b, false, false);
}

struct kc_tensor *kc_linear_op(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *w,
			       struct kc_tensor *bias)
{
	struct kc_tensor *y = kc_matmul_t(g, x, w, false, true);

	return bias ? kc_add(g, y, bias) : y;
}

struct kc_tensor *kc_linear(struct kc_model *m, const char *name, struct kc_tensor *x, int64_t out)
{
	struct kc_param weight = {.kind = KC_PARAM_LINEAR, .fan = x->type.dim[1]};
	struct kc_param bias = {.kind = KC_PARAM_BIAS, .fan = x->type.dim[1]};

	if (!kc_is_poison(x) && x->type.ndim != 2)
		return kc_graph_fail(m->g, "%s: a linear layer expects 2 dimensions", name);
	weight.type = KC_TYPE(KC_REAL, out, x->type.dim[1]);
	bias.type = KC_TYPE(KC_REAL, out);
	KC_SCOPE(m->g, name)
		x = kc_linear_op(m->g, x, kc_parameter(m, "weight", &weight),
				 kc_parameter(m, "bias", &bias));
	return x;
}
