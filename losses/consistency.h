/*
 * Temporal consistency by optical flow (Lai et al., "Learning blind video temporal
 * consistency", ECCV 2018).  Flows are dense arrays of pairs (u, v) in pixels, row-major:
 * pixel (x, y) of a frame is found at (x + u, y + v) of the other one.
 */
#ifndef KC_LOSSES_CONSISTENCY_H
#define KC_LOSSES_CONSISTENCY_H

#include "core/base.h"

/*
 * Where a frame's pixels cannot be followed into the next frame (Sundaram et al., ECCV
 * 2010): with w the backward flow sampled at the end of the forward flow f,
 *	|w + f|^2 > 0.01 (|w|^2 + |f|^2) + 0.5, or at motion boundaries, where
 *	|du|^2 + |dv|^2 > 0.01 |f|^2 + 0.002 (forward differences).
 * occluded gets 1 there, else 0.
 */
void kc_occlusion(const float *forward, const float *backward, int width, int height,
		  uint8_t *occluded);

/*
 * Warp error of a pair: mean over visible pixels and channels of (warped next - frame)^2
 * with RGB in [0, 1]; bilinear, coordinates clamped at the border.  NAN when every pixel is
 * occluded: the pair is then left out of means, and counted.
 */
double kc_warp_error(const uint8_t *frame, const uint8_t *next, const float *forward,
		     const uint8_t *occluded, int width, int height);

#endif
