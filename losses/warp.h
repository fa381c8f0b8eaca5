/*
 * Self-regularization of TCVC: a frame and the one t frames earlier, warped onto it, should
 * have the same colour wherever the luma says that the warp is right.
 *
 * Source: Liu et al., arXiv 2110.04562, section on self-regularization learning.
 */
#ifndef KC_LOSSES_WARP_H
#define KC_LOSSES_WARP_H

#include "layers/layers.h"

/* exp(-alpha * squared difference), the squares summed over the channels: [N,1,H,W]. */
struct kc_tensor *kc_warp_mask(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *warped,
			       double alpha);

struct kc_self_regularization {
	struct kc_tensor *warped;       /* [(T-t) N,2,H,W]: ab of frames 0 .. T-1-t on t .. T-1 */
	struct kc_tensor *mask;         /* [(T-t) N,1,H,W] */
	struct kc_tensor *loss;         /* mean of (mask * ab - mask * warped)^2, shape [1] */
};

/*
 * l [T N,1,H,W] and ab [T N,2,H,W] hold N windows frame by frame; flows [(T-t) N,2,H,W] are
 * those from frame i+t to frame i by rising i, so that t follows from their number.  The
 * loss passes gradients to both frames, and none to the mask unless l or flows need them.
 */
struct kc_self_regularization kc_self_regularize(struct kc_graph *, struct kc_tensor *l,
						 struct kc_tensor *ab, struct kc_tensor *flows,
						 double alpha);

#endif
