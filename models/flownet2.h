/*
 * FlowNet 2.0: dense optical flow between two frames.  Flow channel 0 is horizontal, 1 is
 * vertical, in pixels; warping the second frame by it gives the first one.
 *
 * Source: Ilg et al., "FlowNet 2.0: evolution of optical flow estimation with deep networks",
 * CVPR 2017; layers and names as in NVIDIA's flownet2-pytorch (FlowNet2_checkpoint.pth.tar),
 * without batch norm.  162,518,834 parameters, 33.2 GMAC for a pair of 256x256.
 */
#ifndef KC_MODELS_FLOWNET2_H
#define KC_MODELS_FLOWNET2_H

#include "layers/layers.h"

enum { KC_FLOWNET2_SIDE = 64, KC_FLOWNET2_LEVELS = 7 };

/* What the five networks compute on the way.  flow[i] has 2^i times fewer pixels a side; the
 * first four predict levels 6 to 2, in units of 20 pixels (sd: of 1/20 pixel). */
struct kc_flownet2_parts {
	struct kc_tensor *corr;                         /* [N,441,H/8,W/8], before its activation */
	struct kc_tensor *c[KC_FLOWNET2_LEVELS], *s1[KC_FLOWNET2_LEVELS];
	struct kc_tensor *s2[KC_FLOWNET2_LEVELS], *sd[KC_FLOWNET2_LEVELS];
	struct kc_tensor *s1_in, *s2_in;                /* [N,12,H,W] */
	struct kc_tensor *sd_in;                        /* [N,6,H,W] */
	struct kc_tensor *fusion_in;                    /* [N,11,H,W] */
	struct kc_tensor *flow;                         /* [N,2,H,W] */
};

/* The whole network on a batch of pairs whose sides are multiples of 64. */
void kc_flownet2_parts(struct kc_model *, struct kc_tensor *first, struct kc_tensor *second,
		       double rgb_max, struct kc_flownet2_parts *);

/*
 * Flow [N,2,H,W] from frame first[i] to second[i], [N,3,H,W] RGB in 0..rgb_max, any size: other
 * sides than multiples of 64 are resized up to the next one, and the flow back, its vectors
 * rescaled.  pairs_per_call bounds the memory: so many pairs go through the network at once;
 * 0 for all.
 */
struct kc_tensor *kc_flownet2(struct kc_model *, struct kc_tensor *first, struct kc_tensor *second,
			      double rgb_max, int pairs_per_call);

#endif
