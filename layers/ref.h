/*
 * What reference kernels share: elements in logical order, row by row.  A row is the last
 * logical dimension; where it lies in memory is said by strides.
 */
#ifndef KC_LAYERS_REF_H
#define KC_LAYERS_REF_H

#include "core/tensor.h"

/* Worth the threads' waking up. */
static inline bool kc_is_large(const struct kc_type *t)
{
	return kc_numel(t) > 1 << 14;
}

/* Elements of one row; 1 for a scalar. */
static inline int64_t kc_row_len(const struct kc_type *t)
{
	return t->ndim ? t->dim[t->ndim - 1] : 1;
}

static inline int64_t kc_row_count(const struct kc_type *t)
{
	int64_t n = 1;

	for (int i = 0; i + 1 < t->ndim; i++)
		n *= t->dim[i];
	return n;
}

/* Offset of the first element of a row. */
static inline int64_t kc_row_at(const struct kc_type *t, const int64_t *stride, int64_t row)
{
	int64_t at = 0;

	for (int i = t->ndim - 2; i >= 0; i--) {
		at += row % t->dim[i] * stride[i];
		row /= t->dim[i];
	}
	return at;
}

static inline int64_t kc_row_step(const struct kc_type *t, const int64_t *stride)
{
	return t->ndim ? stride[t->ndim - 1] : 0;
}

/* Offset of an element given by its place in logical order. */
static inline int64_t kc_elem_at(const struct kc_type *t, const int64_t *stride, int64_t i)
{
	int64_t len = kc_row_len(t);

	return kc_row_at(t, stride, i / len) + i % len * kc_row_step(t, stride);
}

/* Strides with which b is read as if it were repeated to the dimensions of t. */
static inline void kc_repeat_strides(const struct kc_buf *b, const struct kc_type *t,
				     int64_t stride[KC_MAX_DIM])
{
	int shift = t->ndim - b->type.ndim;

	for (int i = 0; i < t->ndim; i++)
		stride[i] = i < shift || b->type.dim[i - shift] == 1 ? 0 : b->stride[i - shift];
}

static inline void kc_zero(const struct kc_buf *b)
{
	for (int64_t row = 0; row < kc_row_count(&b->type); row++) {
		int64_t at = kc_row_at(&b->type, b->stride, row);

		for (int64_t i = 0; i < kc_row_len(&b->type); i++)
			kc_put(b, at + i * kc_row_step(&b->type, b->stride), 0);
	}
}

#endif
