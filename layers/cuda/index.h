/* Elements picked by indices and their adjoints (layers/shape.h), in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_INDEX_H
#define KC_LAYERS_CUDA_INDEX_H

#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

/*
 * Entries of axis 0, which x and y do not have here: their dimensions are an entry's.  gather:
 * y[i] = x[index[i]]; scatter: y[k] = sum of x[i] with index[i] = k.
 */
struct kc_cu_entries {
	struct kc_view x, y;
	int64_t n;                      /* elements of an entry */
	int64_t x_count, x_stride, y_count, y_stride;
	const int32_t *index;
	int64_t index_stride;
};

/*
 * One element of an axis, which the views do not have (their dimensions are the places).
 * take: y = x[index] ; put: x's element goes to y[index], zeros to the rest of y's axis.
 */
struct kc_cu_places {
	struct kc_view index, x, y;
	int64_t n;                      /* places */
	int64_t size, stride;           /* of the axis, where it is long */
};

#ifdef __cplusplus
extern "C" {
#endif
int kc_cu_gather(const struct kc_cu_entries *, cudaStream_t);
int kc_cu_scatter(const struct kc_cu_entries *, cudaStream_t);
int kc_cu_take(const struct kc_cu_places *, cudaStream_t);
int kc_cu_put(const struct kc_cu_places *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
