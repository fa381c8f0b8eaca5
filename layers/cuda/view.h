/* A tensor as kernels see it, in C and in CUDA: included by cuda.h and kernel.h alone. */
#ifndef KC_LAYERS_CUDA_VIEW_H
#define KC_LAYERS_CUDA_VIEW_H

#include <stdint.h>

enum { KC_VIEW_DIMS = 6 };

/* The values of enum kc_dtype. */
enum kc_view_type { KC_VIEW_F32, KC_VIEW_F64, KC_VIEW_BF16, KC_VIEW_I32, KC_VIEW_I64, KC_VIEW_U8 };

struct kc_view {
	void *data;
	int32_t dtype, nd;
	int64_t dim[KC_VIEW_DIMS], stride[KC_VIEW_DIMS];        /* strides in elements */
};

/* N, C, H, W or N, C, T, H, W by name: what kernels of images take.  T is 1 without time. */
struct kc_image_view {
	void *data;
	int32_t dtype, pad;
	int64_t n, c, t, h, w;
	int64_t sn, sc, st, sh, sw;
};

#endif
