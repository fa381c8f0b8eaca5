/*
 * Losses of generators and discriminators.  real and fake are the discriminator's raw scores
 * (no sigmoid), of any shape; every loss is a scalar of shape [1].
 */
#ifndef KC_LOSSES_ADVERSARIAL_H
#define KC_LOSSES_ADVERSARIAL_H

#include "layers/layers.h"

/*
 * The five pairs of losses by name: of the discriminator and of the generator.
 *	VANILLA  Goodfellow et al., NIPS 2014, equation 1, with the generator's -log D
 *	LSGAN    Mao et al., ICCV 2017, equation 9
 *	HINGE    Lim and Ye, 2017; Miyato et al., ICLR 2018, equations 16 and 17
 *	WGAN     Arjovsky et al., ICML 2017, equations 2 and 3 (with kc_gradient_penalty: WGAN-GP)
 *	RALSGAN  Jolicoeur-Martineau, ICLR 2019, relativistic average least squares
 * The two terms of VANILLA and LSGAN are averaged, as in pix2pix; those of the others are added.
 * ranks: whose scores are one batch, which RALSGAN takes means of; NULL: these alone.
 */
enum kc_gan { KC_GAN_VANILLA, KC_GAN_LSGAN, KC_GAN_HINGE, KC_GAN_WGAN, KC_GAN_RALSGAN };
struct kc_tensor *kc_gan_d(struct kc_graph *, struct kc_ranks *ranks, enum kc_gan,
			   struct kc_tensor *real, struct kc_tensor *fake);
struct kc_tensor *kc_gan_g(struct kc_graph *, struct kc_ranks *ranks, enum kc_gan,
			   struct kc_tensor *real, struct kc_tensor *fake);

/* Share of right decisions: real scores above 0, fake ones not.  No gradient. */
struct kc_tensor *kc_gan_accuracy(struct kc_graph *, struct kc_tensor *real,
				  struct kc_tensor *fake);

/*
 * Mean over the n features of their mean absolute difference (Wang et al., pix2pixHD, CVPR 2018,
 * equation 4).
 */
struct kc_tensor *kc_feature_match(struct kc_graph *, struct kc_tensor *const *real,
				   struct kc_tensor *const *fake, int n);

/* Of the discriminator. */
struct kc_tensor *kc_hinge_d(struct kc_graph *, struct kc_tensor *real, struct kc_tensor *fake);
struct kc_tensor *kc_wgan_d(struct kc_graph *, struct kc_tensor *real, struct kc_tensor *fake);
/* Relativistic average least squares: the two swapped is the generator's loss. */
struct kc_tensor *kc_ralsgan_d(struct kc_graph *, struct kc_ranks *, struct kc_tensor *real,
			       struct kc_tensor *fake);

/* Of the generator: -mean(fake), for hinge and WGAN alike. */
struct kc_tensor *kc_score_g(struct kc_graph *, struct kc_tensor *fake);

/* Of either: scores that should be `target` (1 real, 0 fake). */
struct kc_tensor *kc_lsgan(struct kc_graph *, struct kc_tensor *x, double target);
struct kc_tensor *kc_bce_logits(struct kc_graph *, struct kc_tensor *x, double target);

struct kc_gradient_penalty {
	struct kc_tensor *gx;           /* d sum(y) / dx, shaped as x */
	struct kc_tensor *norm;         /* [N,1,...] its length per sample */
	struct kc_tensor *loss;         /* weight * mean (norm - 1)^2 */
};

/*
 * WGAN-GP (Gulrajani et al. 2017): y are the scores of x [N,...], which lies between real and
 * fake samples.  Differentiating the loss takes second derivatives of the discriminator.
 */
struct kc_gradient_penalty kc_gradient_penalty(struct kc_graph *, struct kc_tensor *y,
					       struct kc_tensor *x, double weight);

/* R1: weight / 2 * mean |d sum(y) / dx|^2 at real samples x (Mescheder et al., ICML 2018). */
struct kc_tensor *kc_r1_penalty(struct kc_graph *, struct kc_tensor *y, struct kc_tensor *x,
				double weight);

#endif
