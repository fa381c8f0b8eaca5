/*
 * The eight symmetries of the square on frames and flows, with cropping.
 *
 * A symmetry is a number 0..7: bit 0 mirrors left-right, then bit 1 mirrors top-bottom,
 * then bit 2 transposes.  All functions cut width x height pixels at column x, row y out of
 * a picture whose rows hold src_width pixels, apply the symmetry and write packed rows to
 * dst: height x width, or width x height if it transposes.  The caller sees to it that the
 * crop lies inside and that dst does not overlap src.
 */
#ifndef KC_DATA_SYMMETRY_H
#define KC_DATA_SYMMETRY_H

#include "core/base.h"

enum {
	KC_MIRROR_X = 1,
	KC_MIRROR_Y = 2,
	KC_TRANSPOSE = 4
};

struct kc_crop {
	int src_width, x, y, width, height;
};

/* Interleaved pixels of `size` bytes each. */
void kc_crop_pixels(const void *src, const struct kc_crop *, unsigned symmetry, size_t size,
		    void *dst);

/*
 * Flow fields of (u, v) pairs, u to the right, v down, in pixels: the vectors turn with the
 * picture, so mirroring negates a component and transposing swaps the two.  A crop changes
 * no vector: displacements do not depend on the origin.
 */
void kc_crop_flow(const float *src, const struct kc_crop *, unsigned symmetry, float *dst);

/* The same from a pack file's fixed point: dst = src * unit. */
void kc_crop_flow16(const int16_t *src, const struct kc_crop *, unsigned symmetry, float unit,
		    float *dst);

#endif
