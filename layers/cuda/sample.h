/* Sampling at positions and its transpose (layers/sample.h), in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_SAMPLE_H
#define KC_LAYERS_CUDA_SAMPLE_H

#include "layers/cuda/access.h"
#include "layers/cuda/sums.h"

struct kc_cu_sample {
	struct kc_image_view image, at, y;      /* y: a value per position */
	int32_t relative, border, dx, dy;
};

#ifdef __cplusplus
extern "C" {
#endif
/* access: of image and y. */
int kc_cu_sample_run(const struct kc_cu_sample *, enum kc_cu_access, cudaStream_t);
/* From y into the sums of image; access: of y, in packs only to float32 sums. */
int kc_cu_sample_back_run(const struct kc_cu_sample *, const struct kc_cu_sums *, enum kc_cu_access,
			  cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
