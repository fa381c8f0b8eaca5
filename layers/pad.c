/* Padding of the last two axes.  The padded image reads the plain one through two index maps. */
#include "layers/shape.h"

#include "layers/layers.h"
#include "layers/ref.h"

/* Which element of an axis of n stands at place i of the padded axis; -1: none, a zero. */
static int64_t source(int64_t mode, int64_t n, int64_t before, int64_t i)
{
	int64_t at = i - before;

	if (at >= 0 && at < n)
		return at;
	switch (mode) {
	case KC_PAD_REFLECT: return at < 0 ? -at : 2 * (n - 1) - at;
	case KC_PAD_REPLICATE: return at < 0 ? 0 : n - 1;
	default: return -1;
	}
}

/* One axis of the pair of images. */
struct axis { int64_t mode, n, before, after, plain_step, wide_step; };

static struct axis axis_of(const struct kc_pad_attr *a, const struct kc_buf *plain,
			   const struct kc_buf *wide, bool vertical)
{
	int d = plain->type.ndim - (vertical ? 2 : 1);

	return (struct axis){
		.mode = a->mode, .n = vertical ? a->h : a->w,
		.before = vertical ? a->top : a->left, .after = vertical ? a->bottom : a->right,
		.plain_step = plain->stride[d], .wide_step = wide->stride[d],
	};
}

static int64_t wide_size(const struct axis *x)
{
	return x->n + x->before + x->after;
}

/* Offset of a plane of the last two axes. */
static int64_t plane_at(const struct kc_buf *b, int64_t plane)
{
	int64_t at = 0;

	for (int i = b->type.ndim - 3; i >= 0; i--) {
		at += plane % b->type.dim[i] * b->stride[i];
		plane /= b->type.dim[i];
	}
	return at;
}

static int64_t plane_count(const struct kc_type *t)
{
	int64_t n = 1;

	for (int i = 0; i + 2 < t->ndim; i++)
		n *= t->dim[i];
	return n;
}

static void ref_pad(const struct kc_call *c)
{
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	struct axis v = axis_of(c->attr, x, y, true), h = axis_of(c->attr, x, y, false);
	int64_t planes = plane_count(&x->type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t p = 0; p < planes; p++) {
		int64_t from = plane_at(x, p), to = plane_at(y, p);

		for (int64_t i = 0; i < wide_size(&v); i++)
			for (int64_t j = 0; j < wide_size(&h); j++) {
				int64_t si = source(v.mode, v.n, v.before, i);
				int64_t sj = source(h.mode, h.n, h.before, j);

				kc_put(y, to + i * v.wide_step + j * h.wide_step,
				       si < 0 || sj < 0 ? 0 : kc_get(x, from + si * v.plain_step +
								     sj * h.plain_step));
			}
	}
}

/* ---- the adjoint: every plain element sums its readers ---- */

/* A plain element is read at its own place and maybe from the margins: that many candidates. */
static int64_t reader_count(const struct axis *x)
{
	return 1 + KC_MAX(x->before, 0) + KC_MAX(x->after, 0);
}

/* Candidate k for a reader of element s: its place, or -1 if it does not read s. */
static int64_t reader(const struct axis *x, int64_t s, int64_t k)
{
	int64_t margin = KC_MAX(x->before, 0), i = s + x->before;

	if (k > 0)
		i = k <= margin ? k - 1 : x->before + x->n + k - 1 - margin;
	return i >= 0 && i < wide_size(x) && source(x->mode, x->n, x->before, i) == s ? i : -1;
}

static double sum_readers(const struct kc_buf *wide, int64_t at, const struct axis *v, int64_t si,
			  const struct axis *h, int64_t sj)
{
	double sum = 0;

	for (int64_t a = 0; a < reader_count(v); a++) {
		int64_t i = reader(v, si, a);

		for (int64_t b = 0; i >= 0 && b < reader_count(h); b++) {
			int64_t j = reader(h, sj, b);

			if (j >= 0)
				sum += kc_get(wide, at + i * v->wide_step + j * h->wide_step);
		}
	}
	return sum;
}

static void ref_unpad(const struct kc_call *c)
{
	const struct kc_buf *x = &c->in[0], *y = &c->out[0];
	struct axis v = axis_of(c->attr, y, x, true), h = axis_of(c->attr, y, x, false);
	int64_t planes = plane_count(&x->type);

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t p = 0; p < planes; p++) {
		int64_t from = plane_at(x, p), to = plane_at(y, p);

		for (int64_t i = 0; i < v.n; i++)
			for (int64_t j = 0; j < h.n; j++)
				kc_put(y, to + i * v.plain_step + j * h.plain_step,
				       sum_readers(x, from, &v, i, &h, j));
	}
}

/* ---- descriptors ---- */

static int check_pad(const struct kc_pad_attr *a)
{
	int64_t most = KC_MAX(KC_MAX(a->left, a->right), KC_MAX(a->top, a->bottom));
	int64_t least = KC_MIN(KC_MIN(a->left, a->right), KC_MIN(a->top, a->bottom));

	if (a->mode != KC_PAD_CONSTANT && least < 0)
		return KC_FAIL(KC_ESHAPE, "only constant padding can crop");
	if (a->mode == KC_PAD_REFLECT && most >= KC_MIN(a->h, a->w))
		return KC_FAIL(KC_ESHAPE, "%lldx%lld is too small to reflect %lld", (long long)a->h,
			       (long long)a->w, (long long)most);
	if (a->h + a->top + a->bottom < 1 || a->w + a->left + a->right < 1)
		return KC_FAIL(KC_ESHAPE, "nothing is left of %lldx%lld", (long long)a->h,
			       (long long)a->w);
	return 0;
}

static void resize(struct kc_type *t, int64_t h, int64_t w)
{
	t->dim[t->ndim - 2] = h;
	t->dim[t->ndim - 1] = w;
}

static int infer_pad(struct kc_infer *f)
{
	const struct kc_pad_attr *a = f->attr;

	f->out[0] = f->in[0]->type;
	resize(&f->out[0], a->h + a->top + a->bottom, a->w + a->left + a->right);
	return check_pad(a);
}

static int infer_unpad(struct kc_infer *f)
{
	const struct kc_pad_attr *a = f->attr;

	f->out[0] = f->in[0]->type;
	resize(&f->out[0], a->h, a->w);
	return check_pad(a);
}

static void grad_pad(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_apply(c->g, &kc_op_unpad, c->node->attr, &c->gy[0], 1);
}

static void grad_unpad(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_apply(c->g, &kc_op_pad, c->node->attr, &c->gy[0], 1);
}

static const struct kc_opt pad_rows[] = {
	KC_ATTR(kc_pad_attr, mode, INT), KC_ATTR(kc_pad_attr, left, INT),
	KC_ATTR(kc_pad_attr, right, INT), KC_ATTR(kc_pad_attr, top, INT),
	KC_ATTR(kc_pad_attr, bottom, INT),
};

const struct kc_op kc_op_pad = {
	.name = "pad", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_pad_attr), .attrs = pad_rows,
	.n_attrs = KC_COUNT(pad_rows), .infer = infer_pad, .grad = grad_pad, .ref = ref_pad,
};
const struct kc_op kc_op_unpad = {
	.name = "unpad", .n_in_min = 1, .n_in_max = 1, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_pad_attr), .attrs = pad_rows,
	.n_attrs = KC_COUNT(pad_rows), .infer = infer_unpad, .grad = grad_unpad,
	.ref = ref_unpad,
};

struct kc_tensor *kc_pad(struct kc_graph *g, struct kc_tensor *x, enum kc_pad_mode mode, int left,
			 int right, int top, int bottom)
{
	int n = x->type.ndim;
	struct kc_pad_attr a = {mode, left, right, top, bottom, 0, 0};

	if (kc_is_poison(x) || (!left && !right && !top && !bottom))
		return x;
	if (n < 2)
		return kc_graph_fail(g, "pad needs at least two dimensions");
	a.h = x->type.dim[n - 2];
	a.w = x->type.dim[n - 1];
	return kc_apply(g, &kc_op_pad, &a, &x, 1);
}
