/*
 * TCVC: temporally consistent video colorization.  The first and the last frame of a window (its
 * anchors) are colorized by an image network; their features travel along the optical flow to
 * the frames between, from both sides, and are blended and refined there.
 *
 * The published image network is siggraph17, whose 128 features have the frame's size.  With
 * eccv16 the 256 channels before its last layer travel, at a quarter of the size: flows are
 * averaged over cells of 4 x 4 pixels and divided by 4, luma is averaged likewise, and the heads
 * have 256 channels where they have 128.  (The public code names eccv16 as a choice, but does not
 * run with it.)
 *
 * Source: Liu et al., "Temporally consistent video colorization with deep feature propagation
 * and self-regularization learning", arXiv 2110.04562, and the authors' published networks,
 * whose parameter names are kept ("weigting" included).  1,675,305 parameters are trained.
 *
 * The frames of N windows lie frame by frame in one tensor: frame t of window s is row t * N + s.
 * Flows likewise: pair p of window s is row p * N + s.
 */
#ifndef KC_MODELS_TCVC_H
#define KC_MODELS_TCVC_H

#include "models/eccv16.h"
#include "models/siggraph17.h"

/* A flow from one frame of a window to another: warping frame `to` by it gives frame `from`. */
struct kc_pair { int from, to; };

/*
 * The distinct flows that a window of so many frames needs, in the order in which they are given
 * or computed: i -> i+1 of the backward propagation, i+1 -> i of the forward propagation and of
 * self-regularization step 1, then i+t -> i for every other step t, each run by rising i.
 * steps may be empty (inference).  Returns the number of pairs; pairs may be NULL to count.
 */
int kc_tcvc_pairs(int frames, const int *steps, int n_steps, struct kc_pair *pairs);

enum kc_tcvc_key { KC_TCVC_SIGGRAPH17, KC_TCVC_ECCV16 };

struct kc_tcvc_args {
	int frames;                     /* of one window */
	const int *steps;               /* of self-regularization: 1 and 2 as published */
	int n_steps;
	struct kc_tensor *flows;        /* [pairs * N,2,H,W]; NULL: FlowNet 2.0 is part of it */
	int pairs_per_call;             /* of FlowNet 2.0: bounds the memory; 0 for all at once */
	double width;                   /* models/width.h; not of FlowNet 2.0 */
	double mask_cent;               /* of siggraph17, as it was trained */
	struct kc_tensor *hint, *mask;  /* of anchors, as models/siggraph17.h says; or NULL */
	bool train_anchors;             /* the image network is trained as well */
	enum kc_tcvc_key key;           /* which it is */
	double temperature;             /* of eccv16: models/eccv16.h */
	bool class_head;                /* siggraph17 gets a trained head of 313 bins */
};

struct kc_tcvc {
	struct kc_tensor *ab;           /* [frames * N,2,H,W] ab / 110 */
	struct kc_tensor *flows;        /* [pairs * N,2,H,W] */
	/*
	 * [frames * N,313,H/4,W/4]: eccv16's own, or of a 1x1 convolution (class_head) on every
	 * fourth row and column of siggraph17's features; NULL without either.
	 */
	struct kc_tensor *logits;
};

/* l: [frames * N,1,H,W], (L - 50) / 100. */
struct kc_tcvc kc_tcvc(struct kc_model *, struct kc_tensor *l, const struct kc_tcvc_args *);

/* The flows i+t -> i that self-regularization step t needs, by rising i; NULL: there are none. */
struct kc_tensor *kc_tcvc_step_flows(struct kc_graph *, struct kc_tensor *flows, int t,
				     const struct kc_tcvc_args *);

/* ---- the parts, for inference window by window ---- */

/* What frames have: feature is [N,128,H,W] or [N,256,H/4,W/4], logits as above. */
struct kc_tcvc_colour {
	struct kc_tensor *ab, *feature, *logits;
	struct kc_tensor *own_logits;   /* of anchors: the image network's, 529 of siggraph17 */
};

/* Of anchor frames [N,1,H,W], any number of them. */
struct kc_tcvc_colour kc_tcvc_anchors(struct kc_model *, struct kc_tensor *l,
				     const struct kc_tcvc_args *);

/* FlowNet 2.0 on the pairs of kc_tcvc_pairs; args->flows is ignored. */
struct kc_tensor *kc_tcvc_flows(struct kc_model *, struct kc_tensor *l,
				const struct kc_tcvc_args *);

/*
 * Of the (frames - 2) * N frames between the anchors, whose features are given; `feature` is
 * NULL.  All are NULL when there are no such frames, which is when a window has 1 or 2.
 */
struct kc_tcvc_colour kc_tcvc_between(struct kc_model *, struct kc_tensor *l,
				      struct kc_tensor *first_feature,
				      struct kc_tensor *last_feature, struct kc_tensor *flows,
				      const struct kc_tcvc_args *);

/* ---- one step of the propagation, as a graph of its own ---- */

/* What reaches a frame from its neighbours; the flows lead from the frame to them. */
struct kc_tcvc_neighbours {
	struct kc_tensor *previous;             /* feature of the frame before */
	struct kc_tensor *next;                 /* what came backward to the one after:
						 * the next anchor's feature, or `backward` of it */
	struct kc_tensor *to_previous, *to_next;        /* [N,2,H,W] */
};

struct kc_tcvc_step {
	struct kc_tensor *ab;                   /* [N,2,H,W] ab / 110 */
	struct kc_tensor *feature;              /* `previous` of the next frame */
	struct kc_tensor *backward;             /* `next` of the frame before */
};

/* l: luma [N,1,H,W] of the frame before, the frame, the frame after.  Of the arguments, width,
 * key and temperature count.  A window is this step for
 * every frame between its anchors, once `backward` has gone from its end to its start. */
struct kc_tcvc_step kc_tcvc_step(struct kc_model *, struct kc_tensor *const l[3],
				 const struct kc_tcvc_neighbours *,
				 const struct kc_tcvc_args *);

#endif
