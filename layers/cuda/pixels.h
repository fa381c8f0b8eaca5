/* Kernels that take the channels of a pixel together, in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_PIXELS_H
#define KC_LAYERS_CUDA_PIXELS_H

#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

/* Views of the pixels, without the channels, whose strides are xc and yc. */
struct kc_cu_pixels {
	struct kc_view x, y;
	int64_t n, channels;            /* pixels; channels of x */
	int64_t xc, yc;
};

/* layers/bins.h again. */
enum { KC_CU_BINS = 313, KC_CU_NEAREST = 10, KC_CU_SIGMA = 5, KC_CU_SIDE = 23 };

/* layers/colour.h; rows of xyz_of_rgb over white. */
struct kc_cu_lab {
	double xyz_of_rgb[3][3], rgb_of_xyz[3][3], white[3];
	double srgb_knee, linear_knee, xyz_knee, lab_knee, slope, offset;
};

#ifdef __cplusplus
extern "C" {
#endif
int kc_cu_rgb_to_lab(const struct kc_cu_pixels *, const struct kc_cu_lab *, cudaStream_t);
/* fit: colours are moved into the gamut (kc_lab_to_rgb_fit). */
int kc_cu_lab_to_rgb(const struct kc_cu_pixels *, const struct kc_cu_lab *, int fit, cudaStream_t);
/* bins: a and b of all KC_CU_BINS. */
int kc_cu_soft_encode(const struct kc_cu_pixels *, const float (*bins)[2], cudaStream_t);
int kc_cu_hard_encode(const struct kc_cu_pixels *, cudaStream_t);
int kc_cu_channel_norm(const struct kc_cu_pixels *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
