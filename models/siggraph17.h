/*
 * siggraph17: colour for one frame from its luma and, if there are any, a user's colour hints.
 * A regression head gives the chroma, a classification head the distribution over 529 bins of
 * the ab plane.  With no hints it is the automatic colorizer that TCVC starts from.
 *
 * Source: Zhang et al., "Real-time user-guided image colorization with learned deep priors",
 * SIGGRAPH 2017; names and sizes as in the published PyTorch weights (siggraph17-df00044c.pth).
 * 34,187,027 parameters, 75.8 GMAC for a frame of 256x256.
 *
 * Two parts are options, which the published PyTorch weights do not have; their sizes are those
 * of the authors' Caffe networks, their names are ours:
 *	global hints        global_hist.0, global_sat.0 (1x1 to 512 channels), summed, ReLU;
 *	                    global.1 (norm), then three times 1x1 convolution, ReLU, norm:
 *	                    global.2, .4, .5, .7, .8, .10; added to block 4 everywhere.
 *	                    954,880 parameters
 *	distribution head   dist.conv3, dist.conv8 (3x3), dist.conv4 .. dist.conv7 (transposed 4x4)
 *	                    project the blocks to 384 channels each, summed, ReLU; dist.out (1x1)
 *	                    to 313 bins.  The trunk gets no gradient from it.
 *	                    14,475,193 parameters
 */
#ifndef KC_MODELS_SIGGRAPH17_H
#define KC_MODELS_SIGGRAPH17_H

#include "layers/layers.h"

enum {
	KC_SIGGRAPH17_SIDE = 8,         /* height and width are multiples of it */
	KC_SIGGRAPH17_CLASSES = 529     /* a 23x23 grid of step 10: index = ia * 23 + ib */
};

/* Which of the two losses trains the trunk; the other head sees detached values. */
enum kc_siggraph17_route {
	KC_ROUTE_BOTH,
	KC_ROUTE_CLASSES,               /* blocks 9 and 10 see detached blocks 1, 2 and 8 */
	KC_ROUTE_COLOUR                 /* the class head sees a detached block 8 */
};

struct kc_siggraph17_args {
	struct kc_tensor *hint;         /* [N,2,H,W] ab / 110, 0 where there is no hint; or NULL */
	struct kc_tensor *mask;         /* [N,1,H,W] 1 where there is a hint, else 0; or NULL */
	double mask_cent;               /* taken off the mask: 0 for the published weights, 0.5 for
					 * networks trained with colorization-pytorch */
	enum kc_siggraph17_route route;
	double width;                   /* models/width.h */
	bool global_hints;              /* the part exists; its inputs come from models/global.h */
	struct kc_tensor *histogram;    /* [N,314,1,1] shares of the bins and 1; zeros where it is
					 * not told; NULL: never told */
	struct kc_tensor *saturation;   /* [N,2,1,1] mean saturation and 1; likewise */
	bool distribution;              /* the part exists */
	int classes;                    /* of the class head: KC_SIGGRAPH17_CLASSES, which is 0's
					 * meaning, or KC_BINS */
};

struct kc_siggraph17 {
	struct kc_tensor *ab;           /* [N,2,H,W] ab / 110 in [-1,1] */
	struct kc_tensor *feature;      /* [N,128,H,W], what ab is computed from */
	struct kc_tensor *logits;       /* [N,529 or 313,H/4,W/4] of the class head */
	struct kc_tensor *distribution; /* [N,313,H/4,W/4] logits; NULL without the head */
};

/* l: [N,1,H,W], (L - 50) / 100.  args NULL: no hints, both losses, full width. */
struct kc_siggraph17 kc_siggraph17(struct kc_model *, struct kc_tensor *l,
				   const struct kc_siggraph17_args *args);

/* The regression head alone, 1x1 convolution and tanh: [N,128,H,W] to [N,2,H,W]. */
struct kc_tensor *kc_siggraph17_out(struct kc_model *, struct kc_tensor *feature);

#endif
