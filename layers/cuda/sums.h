/*
 * Sums into places that are only known when the kernel runs (scatters), in C and in CUDA.
 *
 * Without determinism the sums are float32 and the order of the additions is the machine's.
 * With it they are 64-bit integers, whose sums have no order: every term is rounded to a
 * multiple of a power of two that is so small that terms as large as the largest input, as many
 * as there can be in one place, just do not overflow.  With 2^18 terms to a place that is 2^-44
 * of the largest input, far below float32's own 2^-24; what a sort of the places would cost in
 * time costs four bytes more per sum here.  An input that is not finite makes all sums NaN.
 */
#ifndef KC_LAYERS_CUDA_SUMS_H
#define KC_LAYERS_CUDA_SUMS_H

#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

struct kc_cu_sums {
	void *sum;                      /* of an image as it lies channels-last, dense */
	uint32_t *most;                 /* largest magnitude, as its bits; NULL: float32 sums */
	int32_t bits;                   /* of one term */
	int32_t pad;
};

#ifdef __cplusplus
extern "C" {
#endif
/* *most = largest magnitude of x; it was 0. */
int kc_cu_sums_most(const struct kc_image_view *x, uint32_t *most, cudaStream_t);
/* The finished sums into y. */
int kc_cu_sums_store(const struct kc_cu_sums *, const struct kc_image_view *y, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
