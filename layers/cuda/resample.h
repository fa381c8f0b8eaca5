/* Resizing and average pooling: tables of layers/resample.h for kernels, in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_RESAMPLE_H
#define KC_LAYERS_CUDA_RESAMPLE_H

#include "layers/cuda/access.h"
#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

/* What an element of the out side reads: elements first and on; the weight of all but the
 * second of two is weight[0]. */
struct kc_cu_taps { int32_t first, count; float weight[2]; };
/* The elements of the out side that read an element of the in side. */
struct kc_cu_readers { int32_t first, end; };

/* Of rows and columns; readers for the transpose alone. */
struct kc_cu_resample {
	struct kc_image_view x, y;
	const struct kc_cu_taps *rows, *columns;
	const struct kc_cu_readers *row_readers, *column_readers;
};

#ifdef __cplusplus
extern "C" {
#endif
int kc_cu_resample_run(const struct kc_cu_resample *, enum kc_cu_access, cudaStream_t);
int kc_cu_resample_back_run(const struct kc_cu_resample *, enum kc_cu_access, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
