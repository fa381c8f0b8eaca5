/*
 * Numbers that compare or describe frames of 8-bit RGB, all in double precision.
 * A frame is a dense array of `pixels` RGB triples.
 */
#ifndef KC_LOSSES_METRICS_H
#define KC_LOSSES_METRICS_H

#include "core/base.h"

/* A running mean that leaves out and counts what is not finite. */
struct kc_mean {
	double sum;
	int64_t n, left_out;
};

void kc_mean_add(struct kc_mean *, double x);
double kc_mean_get(const struct kc_mean *);     /* NAN when nothing finite was added */

/* Sum of squared differences over all bytes; exact. */
uint64_t kc_squared_error(const uint8_t *a, const uint8_t *b, size_t pixels);

/* 20 log10(255 / sqrt(error / values)) in dB; INFINITY when error is 0. */
double kc_psnr(uint64_t error, size_t values);

/* PSNR of one frame against another. */
double kc_psnr_frame(const uint8_t *a, const uint8_t *b, size_t pixels);

/*
 * Whether frame i of n is an anchor: i is a multiple of interval + 1, or the last frame
 * (specification of TCVC, sections 6 and 7).
 */
bool kc_is_anchor(int64_t i, int64_t n, int64_t interval);

/*
 * Colourfulness (Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003,
 * M3): rg = R - G and yb = (R + G) / 2 - B, signed; sqrt of the sum of their variances plus
 * 0.3 times the length of their means.
 */
double kc_colourfulness(const uint8_t *rgb, size_t pixels);

/*
 * Colour distribution consistency of a clip (Liu et al., TCVC, equation 10): the
 * Jensen-Shannon divergence (natural logarithm) of the channels' 256-bin histograms of
 * frames i and i + d, averaged over i, then over d in 1, 2, 4.  It includes luma, so it is
 * not zero for the ground truth; print that beside it.
 */
enum { KC_CDC_DILATIONS = 3, KC_CDC_FRAMES = 5 };

struct kc_cdc {                                 /* starts zeroed */
	double histogram[KC_CDC_FRAMES][3][256];    /* of the newest frames, frame i at i % 5 */
	double sum[KC_CDC_DILATIONS][3];
	int64_t pairs[KC_CDC_DILATIONS], frames;
};

/* What one clip has; NAN where it is too short for a dilation. */
struct kc_cdc_result {
	double by_dilation[KC_CDC_DILATIONS][3];    /* of d = 1, 2, 4; red, green, blue */
	double rgb[3];                              /* mean of the dilations that there are */
	double cdc;                                 /* mean of the channels */
};

void kc_cdc_add(struct kc_cdc *, const uint8_t *rgb, size_t pixels);
struct kc_cdc_result kc_cdc_get(const struct kc_cdc *);

/*
 * Structural similarity (Wang et al. 2004), mean of the three channels and of all window
 * positions inside the frame; K1 0.01, K2 0.03, range 255.
 */
enum kc_ssim_window {
	KC_SSIM_GAUSS,          /* 11 x 11, sigma 1.5, as in the paper */
	KC_SSIM_UNIFORM         /* 7 x 7, sample covariance: what scikit-image does unasked */
};

/* KC_ESHAPE when the frame is smaller than the window. */
int kc_ssim(const uint8_t *a, const uint8_t *b, int width, int height, enum kc_ssim_window,
	    double *ssim);

#endif
