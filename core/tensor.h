/*
 * Types of tensors, and the buffers that hold their elements.
 *
 * Logical dimensions are always in PyTorch's order N, C, (T,) H, W.  Where the elements
 * lie is said by strides, so a layout is metadata: activations are channels-last in
 * memory, parameters row-major, and every reference kernel reads either.
 */
#ifndef KC_CORE_TENSOR_H
#define KC_CORE_TENSOR_H

#include "core/base.h"

#include <string.h>

enum { KC_MAX_DIM = 6 };

enum kc_dtype { KC_F32, KC_F64, KC_BF16, KC_I32, KC_I64, KC_U8, KC_DTYPES };

/*
 * In a graph, KC_F32 means "a real number whose precision the plan chooses": the plan may
 * hold it as float64 (checks), float32 or bfloat16.
 */
enum { KC_REAL = KC_F32 };

enum kc_layout {
	KC_PLAIN,               /* row-major in logical order */
	KC_CLAST                /* N, (T,) H, W, C: same as KC_PLAIN for fewer than 4 dimensions */
};

struct kc_type {
	int64_t dim[KC_MAX_DIM];
	int32_t ndim;           /* 0 for a scalar */
	int32_t dtype;
};

struct kc_buf {
	void *data;
	struct kc_type type;
	int64_t stride[KC_MAX_DIM];     /* in elements */
	int64_t pads;                   /* zeros behind the channels of every pixel, which nobody
					 * sees who does not ask: dense channels-last with them */
};

size_t kc_dtype_size(enum kc_dtype);
const char *kc_dtype_name(enum kc_dtype);
int64_t kc_numel(const struct kc_type *);
bool kc_same_dims(const struct kc_type *, const struct kc_type *);
/* "2x3x256x256"; text holds at least 96 bytes; returns text. */
char *kc_dims_text(const struct kc_type *, char *text);
void kc_strides(const struct kc_type *, enum kc_layout, int64_t stride[KC_MAX_DIM]);
/* Elements lie without holes in that layout (strides of dimensions of size 1 do not matter). */
bool kc_is_dense(const struct kc_buf *, enum kc_layout);
struct kc_buf kc_buf_of(void *data, const struct kc_type *, enum kc_layout);
/* The same memory with its pads as further channels. */
struct kc_buf kc_with_pads(const struct kc_buf *);
/* Element by element from src to dst, which have equal dimensions: any dtypes, any strides. */
void kc_copy(const struct kc_buf *dst, const struct kc_buf *src);

static inline struct kc_type kc_type_of(int dtype, int ndim, const int64_t *dim)
{
	struct kc_type t = {.ndim = ndim, .dtype = dtype};

	for (int i = 0; i < ndim; i++)
		t.dim[i] = dim[i];
	return t;
}
#define KC_TYPE(dtype, ...) \
	kc_type_of((dtype), (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
		   (int64_t[]){__VA_ARGS__})

static inline float kc_from_bf16(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t kc_to_bf16(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	if ((u & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* One element at an offset in elements, whatever the dtype: what reference kernels read... */
static inline double kc_get(const struct kc_buf *b, int64_t at)
{
	switch (b->type.dtype) {
	case KC_F32: return ((const float *)b->data)[at];
	case KC_F64: return ((const double *)b->data)[at];
	case KC_BF16: return kc_from_bf16(((const uint16_t *)b->data)[at]);
	case KC_I32: return ((const int32_t *)b->data)[at];
	case KC_I64: return (double)((const int64_t *)b->data)[at];
	default: return ((const uint8_t *)b->data)[at];
	}
}

/* ... and write. */
static inline void kc_put(const struct kc_buf *b, int64_t at, double x)
{
	switch (b->type.dtype) {
	case KC_F32: ((float *)b->data)[at] = (float)x; break;
	case KC_F64: ((double *)b->data)[at] = x; break;
	case KC_BF16: ((uint16_t *)b->data)[at] = kc_to_bf16((float)x); break;
	case KC_I32: ((int32_t *)b->data)[at] = (int32_t)x; break;
	case KC_I64: ((int64_t *)b->data)[at] = (int64_t)x; break;
	default: ((uint8_t *)b->data)[at] = (uint8_t)x; break;
	}
}

#endif
