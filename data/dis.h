/*
 * Dense optical flow on the CPU: Kroeger et al., "Fast optical flow using dense inverse
 * search", ECCV 2016, as in OpenCV's video module.
 *
 * OpenCV runs single-threaded here (its threads would make results depend on their number):
 * open one object per worker.  Equal inputs give equal bits, whatever was computed before.
 */
#ifndef KC_DATA_DIS_H
#define KC_DATA_DIS_H

#include "core/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum kc_dis_preset { KC_DIS_ULTRAFAST, KC_DIS_FAST, KC_DIS_MEDIUM };

enum { KC_DIS_LEAST = 16 };     /* smallest width and height */

struct kc_dis;

int kc_dis_open(enum kc_dis_preset, struct kc_dis **);
void kc_dis_close(struct kc_dis *);

/*
 * Flow from a to b, grey pictures of height x width bytes: pixel (x, y) of a is found in b at
 * (x + u, y + v).  flow: height x width pairs (u, v).  KC_ESHAPE: smaller than KC_DIS_LEAST.
 */
int kc_dis_run(struct kc_dis *, const uint8_t *a, const uint8_t *b, int width, int height,
	       float *flow);

#ifdef __cplusplus
}
#endif

/* Luma of n RGB pixels: 0.299 R + 0.587 G + 0.114 B, rounded (BT.601). */
void kc_grey_from_rgb(const uint8_t *rgb, size_t n, uint8_t *grey);

#endif
