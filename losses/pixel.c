#include "losses/pixel.h"

/* With m = min(|d|, p), both branches are m (2 |d| - m) / (2 p). */
static struct kc_tensor *smooth_l1(struct kc_graph *g, struct kc_tensor *d, double p)
{
	struct kc_tensor *e = kc_abs(g, d);
	struct kc_tensor *m = kc_pw1(g, KC_PW_clamp, 0, p, e);

	return kc_scale(g, kc_mul(g, m, kc_sub(g, kc_scale(g, e, 2), m)), 0.5 / p);
}

static struct kc_tensor *charbonnier(struct kc_graph *g, struct kc_tensor *d, double p)
{
	return kc_pw1(g, KC_PW_sqrt, 0, 0, kc_shift(g, kc_square(g, d), p));
}

static struct kc_tensor *reduce(struct kc_graph *g, struct kc_tensor *e, enum kc_reduction how)
{
	switch (how) {
	case KC_REDUCE_SUM: return kc_sum(g, e);
	case KC_REDUCE_PIXELS: return kc_scale(g, kc_mean(g, e), (double)e->type.dim[1]);
	default: return kc_mean(g, e);
	}
}

struct kc_tensor *kc_loss_pixel(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *y,
				const struct kc_pixel_args *a)
{
	struct kc_tensor *d = kc_sub(g, x, y);

	switch (a->kind) {
	case KC_PIXEL_L1: d = kc_abs(g, d); break;
	case KC_PIXEL_SMOOTH_L1: d = smooth_l1(g, d, a->p > 0 ? a->p : 1); break;
	case KC_PIXEL_CHARBONNIER: d = charbonnier(g, d, a->p > 0 ? a->p : 1e-6); break;
	default: d = kc_square(g, d); break;
	}
	return reduce(g, d, a->reduction);
}

struct kc_tensor *kc_loss_mse(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *y)
{
	return kc_loss_pixel(g, x, y, &(struct kc_pixel_args){.kind = KC_PIXEL_MSE});
}

struct kc_tensor *kc_loss_l1(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *y)
{
	return kc_loss_pixel(g, x, y, &(struct kc_pixel_args){.kind = KC_PIXEL_L1});
}

static struct kc_tensor *neighbours(struct kc_graph *g, struct kc_tensor *x, int axis)
{
	int64_t n = x->type.dim[axis] - 1;

	return kc_loss_l1(g, kc_slice(g, x, axis, 1, n, 1), kc_slice(g, x, axis, 0, n, 1));
}

struct kc_tensor *kc_loss_tv(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_add(g, neighbours(g, x, 2), neighbours(g, x, 3));
}
