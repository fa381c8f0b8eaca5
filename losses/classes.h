/*
 * Losses of colorizers that classify: every pixel's ab is one of a grid of bins (hard) or a
 * distribution over those in the gamut (soft, rebalanced).  The encodings are in
 * layers/layers.h: kc_hard_encode, kc_soft_encode.
 *
 * Source: hard, 529 bins: Zhang et al., SIGGRAPH 2017 and its public training code.  Soft, 313
 * bins: Zhang et al., "Colorful image colorization", ECCV 2016, sections 2.1 and 2.2.
 */
#ifndef KC_LOSSES_CLASSES_H
#define KC_LOSSES_CLASSES_H

#include "layers/layers.h"

/* -sum over classes of target * log softmax(logits): [N,K,H,W] both, to [N,1,H,W]. */
struct kc_tensor *kc_cross_entropy(struct kc_graph *, struct kc_tensor *logits,
				   struct kc_tensor *target);

/* -log softmax(logits) at the right class: index [N,H,W] of int32, to [N,1,H,W]. */
struct kc_tensor *kc_hard_cross_entropy(struct kc_graph *, struct kc_tensor *logits,
					struct kc_tensor *index);
/* Its mean over pixels. */
struct kc_tensor *kc_loss_hard_ce(struct kc_graph *, struct kc_tensor *logits,
				  struct kc_tensor *index);

/*
 * Factors that lift rare colours: v = ((1 - lambda) prior + lambda / n)^-alpha, scaled so that
 * its mean under the prior is 1; 0 where that would divide by 0.  prior and v: n values.
 */
void kc_rebalance(const double *prior, int n, double lambda, double alpha, double *v);

struct kc_rebalanced {
	struct kc_tensor *target;       /* [N,313,H,W] soft encoding of ab */
	struct kc_tensor *weight;       /* [N,1,H,W] v of the likeliest bin; 0 in grey images */
	struct kc_tensor *loss;         /* [1] mean over pixels of weight * cross entropy */
};

/* ab: [N,2,H,W] in Lab units; an image is grey if |a| <= 5 and |b| <= 5 everywhere; v: [313]. */
struct kc_rebalanced kc_loss_rebalanced(struct kc_graph *, struct kc_tensor *logits,
					struct kc_tensor *ab, struct kc_tensor *v);

#endif
