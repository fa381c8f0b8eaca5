/*
 * What the user of bin/colorize says about colour: hints at places (eval/hint_list.h), hints about
 * the whole (models/global.h); and the colours that are suggested at a place in return.
 */
#ifndef KC_EVAL_GUIDE_H
#define KC_EVAL_GUIDE_H

#include "data/clip.h"
#include "eval/hint_list.h"
#include "models/colorizer.h"

#include <stdio.h>

struct kc_guide {
	const char *hints;              /* file; or NULL */
	const char *reference;          /* image whose histogram all frames shall have; or NULL */
	double saturation;              /* mean of the frames, in [0,1]; below 0: not told */
	bool suggest;
	int x, y, frame;                /* where */

	struct kc_hint_list list;
};

/* Before the colorizer is opened: loads the hints; the data set must be a single clip for them. */
int kc_guide_load(struct kc_guide *, const struct kc_dataset *);
void kc_guide_release(struct kc_guide *);

/*
 * When it is open: whether the hints fit the clip and the network that args tell of; and tells the
 * colorizer the global ones.  KC_ECONFIG, KC_EFORMAT with the option, or file and line.
 */
int kc_guide_apply(const struct kc_guide *, const struct kc_clip *,
		   const struct kc_colorizer_args *args, struct kc_colorizer *);

/* A clip's callback `hints`, for a frame of the size of that clip. */
int kc_guide_draw(const struct kc_guide *, const struct kc_clip *, int64_t frame, int size,
		  float *hint, float *mask);

/*
 * Prints the suggestions: a line "RANK PROBABILITY A,B #rrggbb" each; A,B is what a hint takes, the
 * last column its colour at the pixel's lightness.
 */
int kc_guide_suggest(const struct kc_guide *, struct kc_colorizer *,
		     const struct kc_colorizer_clip *, FILE *out);

#endif
