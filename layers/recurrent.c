/* Recurrent cells and attention, written in simpler operators. */
#include "layers/layers.h"

/* c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c') */
static void cell(struct kc_graph *g, struct kc_tensor *i, struct kc_tensor *f, struct kc_tensor *o,
		 struct kc_tensor *update, struct kc_tensor **h, struct kc_tensor **c)
{
	*c = kc_add(g, kc_mul(g, kc_sigmoid(g, f), *c),
		    kc_mul(g, kc_sigmoid(g, i), kc_tanh(g, update)));
	*h = kc_mul(g, kc_sigmoid(g, o), kc_tanh(g, *c));
}

void kc_lstm_step(struct kc_graph *g, const struct kc_lstm *w, struct kc_tensor *x,
		  struct kc_tensor **h, struct kc_tensor **c)
{
	struct kc_tensor *gate[4];

	kc_split(g, kc_add(g, kc_linear_op(g, x, w->w_ih, w->b_ih),
			   kc_linear_op(g, *h, w->w_hh, w->b_hh)), 1, 4, gate);
	cell(g, gate[0], gate[1], gate[3], gate[2], h, c);
}

void kc_conv_lstm_step(struct kc_graph *g, struct kc_tensor *w, struct kc_tensor *bias,
		       struct kc_tensor *x, struct kc_tensor **h, struct kc_tensor **c)
{
	struct kc_conv_attr a = {.nd = 2, .pad = {w->type.dim[2] / 2, w->type.dim[3] / 2}};
	struct kc_tensor *gate[4];

	kc_split(g, kc_conv_op(g, KC_CONCAT(g, 1, x, *h), w, bias, &a), 1, 4, gate);
	cell(g, gate[0], gate[1], gate[2], gate[3], h, c);
}

/* A 1x1 convolution whose positions become one axis: (N, C, H W). */
static struct kc_tensor *project(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *w,
				 struct kc_tensor *bias)
{
	const int64_t *d = x->type.dim;
	struct kc_tensor *y = kc_conv_op(g, x, w, bias, &(struct kc_conv_attr){.nd = 2});

	return kc_reshape(g, y, 3, (int64_t[]){d[0], w->type.dim[0], d[2] * d[3]});
}

struct kc_tensor *kc_self_attention(struct kc_graph *g, const struct kc_attention *w,
				    struct kc_tensor *x)
{
	struct kc_tensor *q = project(g, x, w->wq, w->bq), *k = project(g, x, w->wk, w->bk);
	struct kc_tensor *v = project(g, x, w->wv, w->bv), *p, *y;

	p = kc_softmax(g, kc_matmul_t(g, q, k, true, false), 2);
	y = kc_matmul_t(g, v, p, false, true);
	return kc_add(g, kc_mul(g, kc_reshape(g, y, x->type.ndim, x->type.dim), w->gain), x);
}
