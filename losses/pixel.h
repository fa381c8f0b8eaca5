/*
 * Losses between two images of equal shape, and total variation of one.  Every loss is a
 * scalar of shape [1].
 */
#ifndef KC_LOSSES_PIXEL_H
#define KC_LOSSES_PIXEL_H

#include "layers/layers.h"

enum kc_pixel_kind {
	KC_PIXEL_MSE,           /* d^2 */
	KC_PIXEL_L1,            /* |d| */
	KC_PIXEL_SMOOTH_L1,     /* d^2 / (2 p) where |d| < p, else |d| - p / 2; p = 1 by default.
				 * Huber's loss of the colour networks is this with p = 1 / 110 */
	KC_PIXEL_CHARBONNIER    /* sqrt(d^2 + p); p = 1e-6 by default */
};

enum kc_reduction {
	KC_REDUCE_MEAN,         /* over every element */
	KC_REDUCE_SUM,
	KC_REDUCE_PIXELS        /* sum over the channels, mean over everything else */
};

struct kc_pixel_args {
	enum kc_pixel_kind kind;
	enum kc_reduction reduction;
	double p;               /* 0: the default */
};

struct kc_tensor *kc_loss_pixel(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *y,
				const struct kc_pixel_args *);
struct kc_tensor *kc_loss_mse(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *y);
struct kc_tensor *kc_loss_l1(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *y);

/* Mean of |differences| of vertical neighbours plus that of horizontal ones; x: [N,C,H,W]. */
struct kc_tensor *kc_loss_tv(struct kc_graph *, struct kc_tensor *x);

#endif
