/*
 * Colour for a clip: the trained networks run over its frames, window by window.
 *
 * Anchors are colorized by the keyframe network, one every `interval + 1` frames and the clip's
 * last frame; each is computed once, as the end of one window and the start of the next.  The
 * frames between get their colour by propagation (models/tcvc.h).  A clip of one frame is
 * colorized by the keyframe network alone.
 *
 * The networks see luma l = (L - 50) / 100 resized to size x size, bilinearly.  Their chroma is
 * resized back to the frame and joined with the frame's own L, so size, detail and luma of the
 * result are those of the input: the grey level of equal luminance differs by at most half a
 * level, the rounding to 8 bits (a whole level with two intervals, whose mean is truncated;
 * there it may also fall where the two disagree about colour, being a mean of sRGB values).
 *
 * Source: specification of TCVC, section 6.  The public code clips colours that sRGB does not
 * have, which changes their luma; that is what `published` does.
 */
#ifndef KC_MODELS_COLORIZER_H
#define KC_MODELS_COLORIZER_H

#include "core/plan.h"
#include "models/suggest.h"
#include "models/tcvc.h"

enum kc_colorizer_network {
	KC_COLORIZE_TCVC,       /* parameters as kc_tcvc names them */
	KC_COLORIZE_FRAMES,     /* siggraph17 alone, every frame by itself */
	KC_COLORIZE_BINS        /* eccv16, every frame by itself */
};

enum { KC_COLORIZER_INTERVALS = 2, KC_COLORIZER_INTERVAL = 17, KC_COLORIZER_SIZE = 256,
       KC_ALTERNATIVES_MOST = 8 };

struct kc_colorizer_args {
	enum kc_colorizer_network network;
	int intervals[KC_COLORIZER_INTERVALS];  /* frames between anchors; 0 for the first: 17 */
	int n_intervals;                        /* 2: the mean of both results; 0 counts as 1 */
	int size;               /* of the networks' input, a multiple of 8; 0: 256 */
	double width;           /* models/width.h */
	double mask_cent;       /* of siggraph17, also as TCVC's: see models/siggraph17.h */
	bool global_hints, distribution;        /* of KC_COLORIZE_FRAMES: parts of siggraph17 */
	int classes;            /* of KC_COLORIZE_FRAMES, of the class head; 0: 529 */
	bool hints;             /* anchors take hints; not of KC_COLORIZE_BINS */
	double temperature;     /* of eccv16, also as TCVC's: see models/eccv16.h */
	enum kc_tcvc_key key;   /* of KC_COLORIZE_TCVC: the network of its anchors */
	bool class_head;        /* of KC_COLORIZE_TCVC: siggraph17 has a head of 313 bins */
	/*
	 * More of every frame, for networks with 313 bins and one interval.  Alternatives: so many
	 * of the likeliest colours of the clip's first frame (models/suggest.h, of the mean of its
	 * pixels' distributions, the likeliest first) are where further colourings of the whole
	 * clip lean, one to each: before the annealed mean is taken with temperature 0.38, bins
	 * count times exp(-d^2 / (2 * 20^2)), d being their distance from that colour.  So what
	 * can be of several colours takes that one, the rest keeps its own, and nothing flickers.
	 * Confidence: 1 - H / log 313, H being the entropy of a pixel's distribution, annealed as
	 * for its colour: 0 where all bins are alike, 1 where there is one.
	 */
	int alternatives;
	bool confidence;
	bool flownet;           /* flows by FlowNet 2.0, parameters "flow.*"; else by callback */
	bool low;               /* bf16 where operators allow it */
	bool published;         /* clip colours outside of sRGB */
};

/* Packed rows of RGB. */
struct kc_picture {
	int width, height;
	const uint8_t *rgb;
};

enum { KC_CONFIDENCE = -1 };

/* What a source returns for a frame that cannot be decoded. */
enum { KC_DAMAGED = 1 };

/* Where frames come from and go to.  Callbacks return 0 or an error, which ends the run. */
struct kc_colorizer_clip {
	int64_t frames;
	/*
	 * A frame of any size; valid until the next call.  KC_DAMAGED: the frame's result will be
	 * that of the frame before (of the next readable one at the start).  Frames are asked for
	 * about twice each, in almost rising order.
	 */
	int (*source)(void *own, int64_t frame, struct kc_picture *);
	/*
	 * flow[p] of size x size pairs (u, v) in pixels: pixel (x, y) of grey frame pairs[p].from
	 * is found in frame pairs[p].to at (x + u, y + v).  grey: frames of size x size bytes, one
	 * after the other.  Not called for a network that needs no flow from outside.
	 */
	int (*flows)(void *own, const uint8_t *grey, int size, const struct kc_pair *pairs, int n,
		     float *flow);
	/*
	 * Hints of an anchor frame on the size x size pixels that the networks see: hint [..][2],
	 * ab / 110, and mask, 1 where there is one; both come as zeros.  NULL: there are none, and
	 * there must be none without args.hints.
	 */
	int (*hints)(void *own, int64_t frame, int size, float *hint, float *mask);
	/* Results come in order, each once. */
	int (*sink)(void *own, int64_t frame, const struct kc_picture *);
	/*
	 * Behind each sink: alternatives 0, 1, ... and the confidence (which = KC_CONFIDENCE, grey:
	 * 255 is 1).  Needed with args.alternatives or confidence only.
	 */
	int (*extra)(void *own, int64_t frame, int which, const struct kc_picture *);
	void *own;
};

struct kc_colorizer_count { int64_t anchors, windows, damaged; };

struct kc_colorizer;

/*
 * params: the store of a model that is being trained, borrowed; or NULL for a store of its own,
 * which the caller fills (kc_colorizer_params; kc_param_changed for each) before the first run.
 * The device is borrowed.  KC_ECONFIG: an argument out of range.
 */
int kc_colorizer_open(struct kc_colorizer **, const struct kc_colorizer_args *, struct kc_device *,
		      struct kc_params *params);
void kc_colorizer_close(struct kc_colorizer *);
struct kc_params *kc_colorizer_params(struct kc_colorizer *);

/* KC_EFORMAT: no frame could be read.  count may be NULL. */
int kc_colorizer_run(struct kc_colorizer *, const struct kc_colorizer_clip *,
		     struct kc_colorizer_count *count);

/*
 * Global hints (models/global.h) for every frame from now on; NULL: that one is not told.
 * KC_ECONFIG: without args.global_hints.
 */
int kc_colorizer_tell(struct kc_colorizer *, const float *histogram, const float *saturation);

/*
 * The likeliest colours of a pixel of one frame (an anchor), hints considered: from the
 * distribution head if there is one, else from the classes (models/suggest.h).  x, y: pixels of
 * the frame.  Fills out with up to `most`, the most probable first, and returns how many.
 * KC_EINVAL: outside of the frame or clip; KC_EIO: the frame cannot be read.
 */
int kc_colorizer_suggest(struct kc_colorizer *, const struct kc_colorizer_clip *, int64_t frame,
			 int x, int y, struct kc_suggestion *out, int most);

/*
 * Builds the plans for clips of so many frames of that size; runs nothing.  Tells the bytes of
 * the largest plan, and the FLOPs of one longest window with one of its anchors.
 */
int kc_colorizer_prepare(struct kc_colorizer *, int64_t frames, int width, int height,
			 struct kc_plan_stats *);

#endif
