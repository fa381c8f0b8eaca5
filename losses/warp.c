#include "losses/warp.h"

#include "losses/pixel.h"

struct kc_tensor *kc_warp_mask(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *warped,
			       double alpha)
{
	struct kc_tensor *d = kc_square(g, kc_sub(g, x, warped));

	if (d->type.dim[1] > 1)
		d = kc_sum_axis(g, d, 1);
	return kc_exp(g, kc_scale(g, d, -alpha));
}

struct kc_self_regularization kc_self_regularize(struct kc_graph *g, struct kc_tensor *l,
						 struct kc_tensor *ab, struct kc_tensor *flows,
						 double alpha)
{
	int64_t n = flows->type.dim[0], shift = l->type.dim[0] - n;
	struct kc_tensor *earlier_l = kc_slice(g, l, 0, 0, n, 1);
	struct kc_tensor *later_l = kc_slice(g, l, 0, shift, n, 1);
	struct kc_tensor *earlier_ab = kc_slice(g, ab, 0, 0, n, 1);
	struct kc_tensor *later_ab = kc_slice(g, ab, 0, shift, n, 1);
	struct kc_self_regularization r;

	r.mask = kc_warp_mask(g, later_l, kc_warp(g, earlier_l, flows), alpha);
	r.warped = kc_warp(g, earlier_ab, flows);
	r.loss = kc_loss_mse(g, kc_mul(g, r.mask, later_ab), kc_mul(g, r.mask, r.warped));
	return r;
}
