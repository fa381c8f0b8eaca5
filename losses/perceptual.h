/*
 * Losses between features of two pictures (models/vgg.h): their contents, and their style.  Every
 * loss is a scalar of shape [1].
 *
 * Source: Johnson, Alahi, Fei-Fei, "Perceptual losses for real-time style transfer and
 * super-resolution", ECCV 2016, sections 3.2 (feature reconstruction, style reconstruction).
 */
#ifndef KC_LOSSES_PERCEPTUAL_H
#define KC_LOSSES_PERCEPTUAL_H

#include "losses/pixel.h"

/* sum over i of weight[i] * mean distance of x[i] and y[i], [N,C,H,W] each. */
struct kc_tensor *kc_loss_features(struct kc_graph *, struct kc_tensor *const *x,
				   struct kc_tensor *const *y, const double *weight, int n,
				   enum kc_pixel_kind);

/* F F^T / (C H W) of every sample's features as a C x HW matrix F: [N,C,H,W] -> [N,C,C]. */
struct kc_tensor *kc_gram(struct kc_graph *, struct kc_tensor *x);

/* The same distance of Gram matrices. */
struct kc_tensor *kc_loss_style(struct kc_graph *, struct kc_tensor *const *x,
				struct kc_tensor *const *y, const double *weight, int n,
				enum kc_pixel_kind);

#endif
