/* The compiled parts of a colorizer: colorizer_plans.c builds them, colorizer.c runs them. */
#ifndef KC_MODELS_COLORIZER_PRIVATE_H
#define KC_MODELS_COLORIZER_PRIVATE_H

#include "models/colorizer.h"
#include "models/global.h"

/* The keyframe network on one frame. */
struct kc_anchor_plan {
	struct kc_graph *graph;
	struct kc_plan *plan;
	struct kc_tensor *l, *ab, *feature;     /* feature: NULL without propagation */
	struct kc_tensor *hint, *mask;          /* NULL without args.hints */
	struct kc_tensor *histogram, *saturation;       /* NULL without args.global_hints */
	/* What suggestions come from, in a plan of its own. */
	struct kc_tensor *logits;
	struct kc_plan *suggest;
	struct kc_tensor *bins;                 /* logits of 313 bins; NULL: the network has none */
};

/* Colour of the frames between two anchors. */
struct kc_window_plan {
	int frames, n_pairs;                    /* frames 0: an unused entry */
	struct kc_pair *pairs;
	struct kc_graph *graph;
	struct kc_plan *plan;
	struct kc_tensor *l, *first, *last, *flows, *ab;
	struct kc_tensor *bins;                 /* NULL without args.alternatives, confidence */
};

/* Between RGB of one size and the networks' luma and chroma. */
struct kc_colour_plan {
	int width, height;                      /* width 0: an unused entry */
	struct kc_graph *graph;
	struct kc_plan *split, *join;
	struct kc_tensor *frame, *l, *ab[KC_COLORIZER_INTERVALS], *rgb;
};

/* From logits [1,313,size/4,size/4] of one frame to what they tell. */
struct kc_bins_plan {
	struct kc_graph *graph;
	struct kc_plan *leaning, *measure;
	struct kc_tensor *logits, *lean, *ab;
	struct kc_tensor *sure, *share;         /* of every pixel; of every bin in the frame */
	float towards[KC_ALTERNATIVES_MOST][KC_BINS];   /* added to the logits */
	float *map;
};

/* The confidence as a picture of one size. */
struct kc_show_plan {
	int width, height;                      /* 0: not built */
	struct kc_graph *graph;
	struct kc_plan *plan;
	struct kc_tensor *map, *rgb;
};

enum { KC_WINDOW_PLANS = 4, KC_COLOUR_PLANS = 2 };

struct kc_colorizer {
	struct kc_colorizer_args args;          /* resolved: no zeros for defaults */
	struct kc_device *device;
	struct kc_params *params;
	bool own_params;
	struct kc_anchor_plan anchor;
	/* The newest plans by window length and by frame size; the oldest is replaced. */
	struct kc_window_plan window[KC_WINDOW_PLANS];
	struct kc_colour_plan colour[KC_COLOUR_PLANS];
	int next_window, next_colour;
	struct kc_bins_plan bins;
	struct kc_show_plan show;
	float histogram[KC_GLOBAL_HISTOGRAM], saturation[KC_GLOBAL_SATURATION];
	float *hint, *mask;                     /* of one anchor; NULL without args.hints */
};

/* Builds graphs; lays out an own store. */
int kc_colorizer_build(struct kc_colorizer *);
void kc_colorizer_free_plans(struct kc_colorizer *);

/* Plans that are built when they are first asked for; owned by the colorizer. */
int kc_colorizer_anchor(struct kc_colorizer *, struct kc_anchor_plan **);
/* The same graph, to its logits. */
int kc_colorizer_suggest_plan(struct kc_colorizer *, struct kc_anchor_plan **);
/* Everything that an anchor is computed from; l: size x size. */
int kc_colorizer_feed_anchor(struct kc_colorizer *, struct kc_plan *,
			     const struct kc_colorizer_clip *, int64_t frame, float *l);
/* ---- of the 313 bins; logits: channels last ---- */
/* Chooses the colours that the alternatives lean to, from a frame. */
int kc_colorizer_choose(struct kc_colorizer *, const float *logits);
/* Chroma [size][size][2], ab / 110, of alternative k. */
int kc_colorizer_lean(struct kc_colorizer *, const float *logits, int k, float *ab);
/* The confidence as RGB. */
int kc_colorizer_sure(struct kc_colorizer *, const float *logits, int width, int height,
		      uint8_t *rgb);
void kc_colorizer_free_bins(struct kc_colorizer *);

int kc_colorizer_window(struct kc_colorizer *, int frames, struct kc_window_plan **);
int kc_colorizer_colour(struct kc_colorizer *, int width, int height, struct kc_colour_plan **);

#endif
