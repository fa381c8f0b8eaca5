/* Correlation over displacements and its parts (layers/motion.h), in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_MOTION_H
#define KC_LAYERS_CUDA_MOTION_H

#include "layers/cuda/access.h"
#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

/*
 * Displacements are step * (-half .. half) in either direction, side = 2 half + 1 of them.
 * correlation: a, b -> y; the parts: g, x -> y (layers/motion.c), sign 1 for that of a.
 */
struct kc_cu_correlation {
	struct kc_image_view a, b, y;
	int32_t half, side, step, sign;
	/* Of a block of correlation: rows of displacements, groups of columns of them. */
	int32_t lines, groups;
};

#ifdef __cplusplus
extern "C" {
#endif
/* access: of a and b. */
int kc_cu_correlation_run(const struct kc_cu_correlation *, enum kc_cu_access, cudaStream_t);
/* a: g; access: of b (x) and y. */
int kc_cu_correlation_part(const struct kc_cu_correlation *, enum kc_cu_access, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
