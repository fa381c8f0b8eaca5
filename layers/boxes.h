/*
 * Operators that only move elements (layers/shape.h), described as copies of boxes: what a
 * device's kernels for them need to know.  A box is a set of dimensions and, on either side,
 * the offset of its first element and the strides, all in elements.
 */
#ifndef KC_LAYERS_BOXES_H
#define KC_LAYERS_BOXES_H

#include "core/device.h"
#include "layers/ops.h"

struct kc_box_side { int64_t stride[KC_MAX_DIM], at; };        /* strides of `from` may be <= 0 */
struct kc_box {
	int in, out;                    /* which input goes to which output of the step */
	int32_t ndim;
	int64_t dim[KC_MAX_DIM];
	struct kc_box_side to, from;
};
struct kc_boxes {
	int n;
	bool zero;                      /* the boxes do not cover the outputs: zeros elsewhere */
	struct kc_box box[];
};

/*
 * The boxes of a copy, flip, permute, reshape, concat, slice, unslice, split, pad or unpad:
 * owned by the caller, who frees them.  NULL without memory, and for steps that are none:
 * kc_boxes_can tells (reshapes whose sides have no strides in common, sums of mirrored margins).
 */
struct kc_boxes *kc_boxes_new(const struct kc_step_info *);
bool kc_boxes_can(const struct kc_step_info *);

#endif
