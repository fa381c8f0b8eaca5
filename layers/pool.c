/*
 * Max pooling keeps the place of each maximum in its plane; its gradient puts values at such
 * places, and the gradient of that takes them from there.
 */
#include "layers/layers.h"
#include "layers/ops.h"
#include "layers/pool.h"
#include "layers/ref.h"

static const struct kc_opt pool_rows[] = {
	KC_ATTR(kc_pool_attr, k, INT), KC_ATTR(kc_pool_attr, stride, INT),
	KC_ATTR(kc_pool_attr, pad, INT),
};

static const struct kc_opt plane_rows[] = {
	KC_ATTR(kc_plane_attr, h, INT), KC_ATTR(kc_plane_attr, w, INT),
};

static int max_pool_infer(struct kc_infer *f)
{
	const struct kc_pool_attr *a = f->attr;
	const struct kc_type *x = &f->in[0]->type;
	char text[96];

	if (x->ndim != 4 || a->k < 1 || a->stride < 1 || a->pad < 0 || 2 * a->pad > a->k ||
	    x->dim[2] + 2 * a->pad < a->k || x->dim[3] + 2 * a->pad < a->k)
		return KC_FAIL(KC_ESHAPE, "%s with window %lld, pad %lld", kc_dims_text(x, text),
			       (long long)a->k, (long long)a->pad);
	f->n_out = 2;
	f->out[0] = *x;
	f->out[0].dtype = KC_REAL;
	for (int j = 2; j < 4; j++)
		f->out[0].dim[j] = (x->dim[j] + 2 * a->pad - a->k) / a->stride + 1;
	f->out[1] = f->out[0];
	f->out[1].dtype = KC_I32;
	return 0;
}

static struct kc_tensor *plane_put(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *index,
				   const struct kc_type *like)
{
	struct kc_plane_attr a = {like->dim[2], like->dim[3]};

	return kc_apply(g, &kc_op_plane_put, &a, (struct kc_tensor *[]){x, index}, 2);
}

static void max_pool_grad(struct kc_grad_ctx *c)
{
	struct kc_tensor *index = kc_output(&c->node->out[0], 1);

	if (c->gy[0])
		c->gx[0] = plane_put(c->g, c->gy[0], index, &c->in[0]->type);
}

static int64_t plane_at(const struct kc_buf *b, int64_t plane)
{
	return plane / b->type.dim[1] * b->stride[0] + plane % b->type.dim[1] * b->stride[1];
}

/* Element i of the plane at `from`, in row-major order. */
static int64_t place(const struct kc_buf *b, int64_t from, int64_t i)
{
	return from + i / b->type.dim[3] * b->stride[2] + i % b->type.dim[3] * b->stride[3];
}

/* NaN counts as a maximum, as in PyTorch, so that it is seen. */
static void max_pool_cell(const struct kc_call *call, int64_t from, const int64_t at[2], int64_t to,
			  int64_t to_index)
{
	const struct kc_pool_attr *a = call->attr;
	const struct kc_buf *x = &call->in[0];
	int64_t h = x->type.dim[2], w = x->type.dim[3], best = -1;
	double max = 0;

	for (int64_t i = KC_MAX(at[0], 0); i < KC_MIN(at[0] + a->k, h); i++)
		for (int64_t j = KC_MAX(at[1], 0); j < KC_MIN(at[1] + a->k, w); j++) {
			double v = kc_get(x, from + i * x->stride[2] + j * x->stride[3]);

			if (best < 0 || v > max || (v != v && max == max)) {
				best = i * w + j;
				max = v;
			}
		}
	kc_put(&call->out[0], to, max);
	kc_put(&call->out[1], to_index, (double)best);
}

static void max_pool_ref(const struct kc_call *call)
{
	const struct kc_pool_attr *a = call->attr;
	const struct kc_buf *x = &call->in[0], *y = &call->out[0], *index = &call->out[1];
	const int64_t *d = y->type.dim;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < d[0] * d[1]; p++)
		for (int64_t i = 0; i < d[2]; i++)
			for (int64_t j = 0; j < d[3]; j++)
				max_pool_cell(call, plane_at(x, p),
					      (int64_t[]){i * a->stride - a->pad,
							  j * a->stride - a->pad},
					      place(y, plane_at(y, p), i * d[3] + j),
					      place(index, plane_at(index, p), i * d[3] + j));
}

/* ---- the pair of moves within planes ---- */

static int check_plane(const struct kc_type *x, const struct kc_type *index)
{
	char a[96], b[96];

	if (x->ndim != 4 || index->ndim != 4 || index->dtype != KC_I32 ||
	    x->dim[0] != index->dim[0] ||
	    x->dim[1] != index->dim[1])
		return KC_FAIL(KC_ESHAPE, "values %s and places %s", kc_dims_text(x, a),
			       kc_dims_text(index, b));
	return 0;
}

static int plane_take_infer(struct kc_infer *f)
{
	const struct kc_plane_attr *a = f->attr;

	KC_TRY(check_plane(&f->in[0]->type, &f->in[1]->type));
	if (f->in[0]->type.dim[2] != a->h || f->in[0]->type.dim[3] != a->w)
		return KC_FAIL(KC_ESHAPE, "places of another plane");
	f->out[0] = f->in[1]->type;
	f->out[0].dtype = KC_REAL;
	return 0;
}

static int plane_put_infer(struct kc_infer *f)
{
	const struct kc_plane_attr *a = f->attr;

	KC_TRY(check_plane(&f->in[0]->type, &f->in[1]->type));
	if (!kc_same_dims(&f->in[0]->type, &f->in[1]->type))
		return KC_FAIL(KC_ESHAPE, "every value needs a place");
	f->out[0] = f->in[0]->type;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[2] = a->h;
	f->out[0].dim[3] = a->w;
	return 0;
}

static void plane_take_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = plane_put(c->g, c->gy[0], c->in[1], &c->in[0]->type);
}

static void plane_put_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = kc_apply(c->g, &kc_op_plane_take, c->node->attr,
				    (struct kc_tensor *[]){c->gy[0], c->in[1]}, 2);
}

static void plane_take_ref(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *index = &call->in[1], *y = &call->out[0];
	int64_t area = y->type.dim[2] * y->type.dim[3];

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < y->type.dim[0] * y->type.dim[1]; p++)
		for (int64_t i = 0; i < area; i++) {
			int64_t at = (int64_t)kc_get(index, place(index, plane_at(index, p), i));

			kc_put(y, place(y, plane_at(y, p), i),
			       kc_get(x, place(x, plane_at(x, p), at)));
		}
}

static void plane_put_ref(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *index = &call->in[1], *y = &call->out[0];
	int64_t area = x->type.dim[2] * x->type.dim[3], whole = y->type.dim[2] * y->type.dim[3];

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < y->type.dim[0] * y->type.dim[1]; p++) {
		for (int64_t i = 0; i < whole; i++)
			kc_put(y, place(y, plane_at(y, p), i), 0);
		for (int64_t i = 0; i < area; i++) {
			int64_t to = (int64_t)kc_get(index, place(index, plane_at(index, p), i));

			to = place(y, plane_at(y, p), to);
			kc_put(y, to, kc_get(y, to) + kc_get(x, place(x, plane_at(x, p), i)));
		}
	}
}

const struct kc_op kc_op_max_pool = {
	.name = "max_pool", .n_in_min = 1, .n_in_max = 1, .attr_size = sizeof(struct kc_pool_attr),
	.attrs = pool_rows, .n_attrs = KC_COUNT(pool_rows), .infer = max_pool_infer,
	.grad = max_pool_grad, .ref = max_pool_ref,
};
const struct kc_op kc_op_plane_take = {
	.name = "plane_take", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_plane_attr), .attrs = plane_rows,
	.n_attrs = KC_COUNT(plane_rows),
	.infer = plane_take_infer, .grad = plane_take_grad, .ref = plane_take_ref,
};
const struct kc_op kc_op_plane_put = {
	.name = "plane_put", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_plane_attr), .attrs = plane_rows,
	.n_attrs = KC_COUNT(plane_rows),
	.infer = plane_put_infer, .grad = plane_put_grad, .ref = plane_put_ref,
};

struct kc_tensor *kc_max_pool_args(struct kc_graph *g, struct kc_tensor *x,
				   const struct kc_pool_args *args)
{
	struct kc_pool_attr a = {args->k, args->stride ? args->stride : args->k, args->pad};

	return kc_apply(g, &kc_op_max_pool, &a, &x, 1);
}
