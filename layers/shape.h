/*
 * Operators that move elements, and their attributes as kernels see them.  Each one's adjoint
 * is an operator of this list too, so their gradients have gradients:
 *
 *	expand / sum_to         repeat along dimensions of size 1, aligned at the right
 *	reshape, permute, flip
 *	concat / slice          split is several slices; unslice puts a slice into zeros
 *	pad / unpad             of the last two axes
 *	gather / scatter        whole entries along axis 0, by index
 *	take / put              one element of an axis, by index
 *
 * Indices are int32 values of the graph; gather and take read 0 where one is out of range,
 * scatter and put leave it out.
 */
#ifndef KC_LAYERS_SHAPE_H
#define KC_LAYERS_SHAPE_H

#include "layers/ops.h"

struct kc_dims_attr { int64_t ndim, dim[KC_MAX_DIM]; };         /* expand, sum_to, reshape */
struct kc_permute_attr { int64_t order[KC_MAX_DIM]; };          /* input axis of each output axis */
struct kc_axis_attr { int64_t axis; };                          /* flip, concat */
/* Elements start, start + step, ... (count of them) of an axis of that size. */
struct kc_slice_attr { int64_t axis, start, count, step, size; };       /* slice, unslice */
struct kc_split_attr { int64_t axis, n; };                      /* n equal parts */
/* h, w: of the side without the padding. */
struct kc_pad_attr { int64_t mode, left, right, top, bottom, h, w; };   /* pad, unpad */
struct kc_index_attr { int64_t axis, size; };   /* of the longer side: take, put, scatter, argmax */

#endif
