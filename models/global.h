/*
 * Global hints: what a user says about a whole image, not about a place in it.  How often which
 * colour occurs, as 313 shares; how saturated the image is on average.  Each is followed by a 1
 * that says that it is told; all zeros say that it is not.
 *
 * Source: Zhang et al., SIGGRAPH 2017, section 3.3, and the authors' Caffe network.
 */
#ifndef KC_MODELS_GLOBAL_H
#define KC_MODELS_GLOBAL_H

#include "layers/layers.h"

enum { KC_GLOBAL_HISTOGRAM = KC_BINS + 1, KC_GLOBAL_SATURATION = 2 };

/*
 * Every 4x4 square's mean ab counts for the bin nearest to it (of equally near ones the first);
 * rows and columns beyond the last whole square are left out.  ab: [h][w][2], ab / 110.
 * KC_EINVAL: the image is smaller than a square.
 */
int kc_global_histogram(const float *ab, int h, int w, float out[KC_GLOBAL_HISTOGRAM]);

/* The mean of HSV's saturation, (max - min) / max of a pixel's channels, 0 for black. */
void kc_global_saturation(const uint8_t *rgb, size_t pixels, float out[KC_GLOBAL_SATURATION]);

/* Training forgets each of them with probability 1/2, drawn for (seed, sample). */
void kc_global_forget(uint64_t seed, uint64_t sample, float histogram[KC_GLOBAL_HISTOGRAM],
		      float saturation[KC_GLOBAL_SATURATION]);

#endif
