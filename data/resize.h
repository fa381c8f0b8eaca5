/*
 * Resizing of 8-bit pictures, separable, in float, rounded once at the end.
 */
#ifndef KC_DATA_RESIZE_H
#define KC_DATA_RESIZE_H

#include "data/image.h"

enum kc_filter {
	KC_FILTER_BILINEAR,     /* pixel centres aligned, two taps, edges repeated, no antialiasing:
	                           PyTorch's interpolate with align_corners false */
	KC_FILTER_BICUBIC,      /* a = -0.5 (Keys 1981), widened when shrinking */
	KC_FILTER_AREA          /* mean over the covered area */
};

/* Resizes src to width x height into *dst, another image.  KC_EFORMAT: a size out of range. */
int kc_image_resize(const struct kc_image *src, int width, int height, enum kc_filter,
		    struct kc_image *dst);

#endif
