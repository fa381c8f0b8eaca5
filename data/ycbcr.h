/*
 * Exact conversion between 8-bit YCbCr and RGB as JPEG files hold it (JFIF 1.02: BT.601
 * weights, full range, chroma sited between the luma samples).  16-bit fixed point with
 * rounding and triangle-filtered chroma, the arithmetic that image libraries agree on, so
 * frames decode to the same bytes as elsewhere.
 */
#ifndef KC_DATA_YCBCR_H
#define KC_DATA_YCBCR_H

#include "core/base.h"

/* Three planes; chroma is halved (rounding up) in x if half_x, in y if half_y. */
struct kc_ycbcr {
	const uint8_t *plane[3];
	ptrdiff_t stride[3];
	int width, height;
	bool half_x, half_y;
	bool limited;           /* luma 16..235, chroma 16..240 (WebP, video) */
};

/* rgb: packed height x width x 3.  KC_ENOMEM. */
int kc_ycbcr_to_rgb(const struct kc_ycbcr *, uint8_t *rgb);

/* Full range, chroma not halved.  Planes of `stride` bytes a row. */
void kc_ycbcr_from_rgb(const uint8_t *rgb, int width, int height, uint8_t *const plane[3],
		       const ptrdiff_t stride[3]);

#endif
