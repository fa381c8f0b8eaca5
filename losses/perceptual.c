#include "losses/perceptual.h"

static struct kc_tensor *weighted(struct kc_graph *g, struct kc_tensor *sum, struct kc_tensor *x,
				  struct kc_tensor *y, double weight, enum kc_pixel_kind kind)
{
	struct kc_pixel_args args = {.kind = kind, .reduction = KC_REDUCE_MEAN};
	struct kc_tensor *part = kc_scale(g, kc_loss_pixel(g, x, y, &args), weight);

	return sum ? kc_add(g, sum, part) : part;
}

struct kc_tensor *kc_loss_features(struct kc_graph *g, struct kc_tensor *const *x,
				   struct kc_tensor *const *y, const double *weight, int n,
				   enum kc_pixel_kind kind)
{
	struct kc_tensor *sum = NULL;

	for (int i = 0; i < n; i++)
		sum = weighted(g, sum, x[i], y[i], weight[i], kind);
	return sum;
}

struct kc_tensor *kc_gram(struct kc_graph *g, struct kc_tensor *x)
{
	const int64_t *d = x->type.dim;
	struct kc_tensor *rows;

	if (kc_is_poison(x))
		return x;
	rows = kc_reshape(g, x, 3, (int64_t[]){d[0], d[1], d[2] * d[3]});
	return kc_scale(g, kc_matmul_t(g, rows, rows, false, true),
			1.0 / (double)(d[1] * d[2] * d[3]));
}

struct kc_tensor *kc_loss_style(struct kc_graph *g, struct kc_tensor *const *x,
				struct kc_tensor *const *y, const double *weight, int n,
				enum kc_pixel_kind kind)
{
	struct kc_tensor *sum = NULL;

	for (int i = 0; i < n; i++)
		sum = weighted(g, sum, kc_gram(g, x[i]), kc_gram(g, y[i]), weight[i], kind);
	return sum;
}
