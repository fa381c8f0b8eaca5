/* Max pooling and moves within planes (layers/pool.h), in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_POOL_H
#define KC_LAYERS_CUDA_POOL_H

#include "layers/cuda/access.h"
#include "layers/cuda/sums.h"

struct kc_cu_pool {
	struct kc_image_view x, y, place;
	int32_t k, stride, pad, unused;
};

#ifdef __cplusplus
extern "C" {
#endif
/* access: of x and y; places are written one by one. */
int kc_cu_max_pool(const struct kc_cu_pool *, enum kc_cu_access, cudaStream_t);
int kc_cu_plane_take(const struct kc_image_view *x, const struct kc_image_view *place,
		     const struct kc_image_view *y, cudaStream_t);
/* y: the image of the sums. */
int kc_cu_plane_put(const struct kc_image_view *x, const struct kc_image_view *place,
		    const struct kc_image_view *y, const struct kc_cu_sums *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
