/*
 * siggraph17: colour for one frame from its luma and, if there are any, a user's colour hints.
 * A regression head gives the chroma, a classification head the distribution over 529 bins of
 * the ab plane.  With no hints it is the automatic colorizer that TCVC starts from.
 *
 * Source: Zhang et al., "Real-time user-guided image colorization with learned deep priors",
 * SIGGRAPH 2017; names and sizes as in the published PyTorch weights (siggraph17-df00044c.pth).
 * 34,187,027 parameters, 75.8 GMAC for a frame of 256x256.
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
};

struct kc_siggraph17 {
	struct kc_tensor *ab;           /* [N,2,H,W] ab / 110 in [-1,1] */
	struct kc_tensor *feature;      /* [N,128,H,W], what ab is computed from */
	struct kc_tensor *logits;       /* [N,529,H/4,W/4] */
};

/* l: [N,1,H,W], (L - 50) / 100.  args NULL: no hints, both losses, full width. */
struct kc_siggraph17 kc_siggraph17(struct kc_model *, struct kc_tensor *l,
				   const struct kc_siggraph17_args *args);

/* The regression head alone, 1x1 convolution and tanh: [N,128,H,W] to [N,2,H,W]. */
struct kc_tensor *kc_siggraph17_out(struct kc_model *, struct kc_tensor *feature);

#endif
