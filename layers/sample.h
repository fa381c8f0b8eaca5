/*
 * Bilinear sampling of images at positions, and its transpose.  Along x the two neighbours of
 * a position weigh 1 - alpha and alpha with alpha = x - floor(x), or -1 and 1 where the
 * derivative by x is meant; along y likewise.  The derivatives of order 2 in one direction are
 * 0, so these two operators are closed under differentiation by image and position.
 */
#ifndef KC_LAYERS_SAMPLE_H
#define KC_LAYERS_SAMPLE_H

#include "layers/ops.h"

/*
 * sample: img (N,C,h,w), at (N,2,H,W) -> (N,C,H,W); sample_back: (N,C,H,W), at -> (N,C,h,w).
 * Channel 0 of `at` is x, channel 1 is y, in pixels.
 */
struct kc_sample_attr {
	int64_t relative;       /* positions count from the pixel's own place: a flow */
	int64_t border;         /* neighbours are clamped to the image; else outside is 0 */
	int64_t dx, dy;         /* order of the derivative, 0 or 1 each */
	int64_t size[2];        /* h, w */
};

/* The four neighbours of one position; those outside have index -1. */
struct kc_corners { int64_t x[2], y[2]; double wx[2], wy[2]; };
struct kc_corners kc_sample_corners(const struct kc_sample_attr *, double x, double y);

#endif
