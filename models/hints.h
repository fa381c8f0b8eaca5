/*
 * A simulated user: square patches of true colour at random places of an image, as siggraph17
 * is trained with.
 *
 * Source: Zhang et al., SIGGRAPH 2017, section 3.1, and the public training code.
 */
#ifndef KC_MODELS_HINTS_H
#define KC_MODELS_HINTS_H

#include "core/base.h"

struct kc_hint_args {
	double stop;            /* before each patch: no more, with this probability in (0,1]; 1/8
				 * gives 7 patches on average, 1 none at all */
	int count;              /* more than 0: exactly so many patches */
	int min_side, max_side; /* of a patch, drawn uniformly: 1 and 9 as published */
	bool uniform;           /* places are uniform instead of normal around the centre */
	double reveal;          /* probability that the image is one hint (0.01 in the paper) */
};

/* stop 1/8, sides 1 to 9, normal places, nothing revealed. */
extern const struct kc_hint_args kc_hints_published;

/*
 * Draws the hints of one image for (seed, sample); equal arguments give equal hints.
 * ab: [h][w][2], any unit; hint: [h][w][2] in the same unit, the mean of each patch all over the
 * patch, 0 elsewhere, later patches over earlier ones; mask: [h][w], 1 in patches, else 0.
 * The caller owns all three.  Returns the number of patches (1 when all is revealed).
 * KC_EINVAL: the arguments or a size that cannot hold a patch.
 */
int kc_hints_draw(const struct kc_hint_args *, uint64_t seed, uint64_t sample, const float *ab,
		  int h, int w, float *hint, float *mask);

/*
 * Whether an image is too grey to learn colour from: the ranges (largest less smallest value) of
 * a and of b sum to less than `least`.  ab: [pixels][2]; least in the same unit, 5 / 110 of
 * ab / 110 as published.
 */
bool kc_hints_grey(const float *ab, size_t pixels, double least);

#endif
