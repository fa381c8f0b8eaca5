/*
 * TCVC: temporally consistent video colorization.  The first and the last frame of a window (its
 * anchors) are colorized by siggraph17; their features travel along the optical flow to the
 * frames between, from both sides, and are blended and refined there.
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

struct kc_tcvc_args {
	int frames;                     /* of one window */
	const int *steps;               /* of self-regularization: 1 and 2 as published */
	int n_steps;
	struct kc_tensor *flows;        /* [pairs * N,2,H,W]; NULL: FlowNet 2.0 is part of it */
	int pairs_per_call;             /* of FlowNet 2.0: bounds the memory; 0 for all at once */
	double width;                   /* models/width.h; not of FlowNet 2.0 */
	double mask_cent;               /* of siggraph17, as it was trained */
	struct kc_tensor *hint, *mask;  /* of anchors, as models/siggraph17.h says; or NULL */
	bool train_anchors;             /* siggraph17 is trained as well */
};

struct kc_tcvc {
	struct kc_tensor *ab;           /* [frames * N,2,H,W] ab / 110 */
	struct kc_tensor *flows;        /* [pairs * N,2,H,W] */
};

/* l: [frames * N,1,H,W], (L - 50) / 100. */
struct kc_tcvc kc_tcvc(struct kc_model *, struct kc_tensor *l, const struct kc_tcvc_args *);

/* The flows i+t -> i that self-regularization step t needs, by rising i; NULL: there are none. */
struct kc_tensor *kc_tcvc_step_flows(struct kc_graph *, struct kc_tensor *flows, int t,
				     const struct kc_tcvc_args *);

/* ---- the parts, for inference window by window ---- */

/* Colour and feature of anchor frames [N,1,H,W], any number of them. */
struct kc_siggraph17 kc_tcvc_anchors(struct kc_model *, struct kc_tensor *l,
				     const struct kc_tcvc_args *);

/* FlowNet 2.0 on the pairs of kc_tcvc_pairs; args->flows is ignored. */
struct kc_tensor *kc_tcvc_flows(struct kc_model *, struct kc_tensor *l,
				const struct kc_tcvc_args *);

/*
 * Chroma [(frames - 2) * N,2,H,W] of the frames between the anchors, whose features
 * [N,128,H,W] are given.  NULL when there are none, which is when a window has 1 or 2 frames.
 */
struct kc_tensor *kc_tcvc_between(struct kc_model *, struct kc_tensor *l,
				  struct kc_tensor *first_feature, struct kc_tensor *last_feature,
				  struct kc_tensor *flows, const struct kc_tcvc_args *);

/* ---- one step of the propagation, as a graph of its own ---- */

/* What reaches a frame from its neighbours; the flows lead from the frame to them. */
struct kc_tcvc_neighbours {
	struct kc_tensor *previous;             /* [N,128,H,W] feature of the frame before */
	struct kc_tensor *next;                 /* [N,128,H,W] what came backward to the one after:
						 * the next anchor's feature, or `backward` of it */
	struct kc_tensor *to_previous, *to_next;        /* [N,2,H,W] */
};

struct kc_tcvc_step {
	struct kc_tensor *ab;                   /* [N,2,H,W] ab / 110 */
	struct kc_tensor *feature;              /* [N,128,H,W]: `previous` of the next frame */
	struct kc_tensor *backward;             /* [N,128,H,W]: `next` of the frame before */
};

/* l: luma [N,1,H,W] of the frame before, the frame, the frame after.  A window is this step for
 * every frame between its anchors, once `backward` has gone from its end to its start. */
struct kc_tcvc_step kc_tcvc_step(struct kc_model *, struct kc_tensor *const l[3],
				 const struct kc_tcvc_neighbours *, double width);

#endif
