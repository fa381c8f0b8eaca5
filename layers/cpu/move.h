/* Copies of boxes of elements between any strides: what most shape operators are made of. */
#ifndef KC_LAYERS_CPU_MOVE_H
#define KC_LAYERS_CPU_MOVE_H

#include "core/tensor.h"

struct kc_vec_pointwise;

/*
 * A copy whose geometry is known beforehand.  Axes in the order of the destination's memory,
 * merged where possible; strides may be 0 or negative on the source's side.
 */
struct kc_move {
	int nd;
	int64_t dim[KC_MAX_DIM], to[KC_MAX_DIM], from[KC_MAX_DIM];
	int to_type, from_type;
	int across;             /* an axis along which the source is contiguous, -1: the last one */
	int64_t to_at, from_at; /* offsets in elements of the box's first element */
	const struct kc_vec_pointwise *vec;
};

/* Equal dtypes, or float32 and bf16. */
bool kc_move_can(int to_type, int from_type);

/* The elements of dims: element i of `from` goes to element i of `to` (strides in elements). */
void kc_move_init(struct kc_move *, const struct kc_type *dims, int to_type, const int64_t *to,
		  int64_t to_at, int from_type, const int64_t *from, int64_t from_at);
/* In the OpenMP team of the caller's making: work is divided over `threads`. */
void kc_move_run(const struct kc_move *, void *to, const void *from, int threads);

#endif
