/*
 * Losses of generators and discriminators.  real and fake are the discriminator's raw scores
 * (no sigmoid), of any shape; every loss is a scalar of shape [1].
 */
#ifndef KC_LOSSES_ADVERSARIAL_H
#define KC_LOSSES_ADVERSARIAL_H

#include "layers/layers.h"

/* Of the discriminator. */
struct kc_tensor *kc_hinge_d(struct kc_graph *, struct kc_tensor *real, struct kc_tensor *fake);
struct kc_tensor *kc_wgan_d(struct kc_graph *, struct kc_tensor *real, struct kc_tensor *fake);
/* Relativistic average least squares: the two swapped is the generator's loss. */
struct kc_tensor *kc_ralsgan_d(struct kc_graph *, struct kc_tensor *real, struct kc_tensor *fake);

/* Of the generator: -mean(fake), for hinge and WGAN alike. */
struct kc_tensor *kc_score_g(struct kc_graph *, struct kc_tensor *fake);

/* Of either: scores that should be `target` (1 real, 0 fake). */
struct kc_tensor *kc_lsgan(struct kc_graph *, struct kc_tensor *x, double target);
struct kc_tensor *kc_bce_logits(struct kc_graph *, struct kc_tensor *x, double target);

struct kc_gradient_penalty {
	struct kc_tensor *gx;           /* d sum(y) / dx, shaped as x */
	struct kc_tensor *norm;         /* [N,1,1,1] its length per sample */
	struct kc_tensor *loss;         /* weight * mean (norm - 1)^2 */
};

/*
 * WGAN-GP (Gulrajani et al. 2017): y are the scores of x [N,C,H,W], which lies between real and
 * fake samples.  Differentiating the loss takes second derivatives of the discriminator.
 */
struct kc_gradient_penalty kc_gradient_penalty(struct kc_graph *, struct kc_tensor *y,
					       struct kc_tensor *x, double weight);

#endif
