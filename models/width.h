/*
 * Narrower variants of the published networks: hidden channels times a factor, rounded up to
 * the next multiple of 8.  What enters and leaves a network (luma, chroma, bins) keeps its size.
 */
#ifndef KC_MODELS_WIDTH_H
#define KC_MODELS_WIDTH_H

#include <math.h>

/* width 0 and 1 mean the published network. */
static inline int kc_width(double width, int channels)
{
	return width == 0 || width == 1 ? channels : 8 * (int)ceil(channels * width / 8);
}

#endif
