/* Boxes of elements that one launch moves (layers/boxes.h): in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_MOVE_H
#define KC_LAYERS_CUDA_MOVE_H

#include "layers/cuda/divide.h"
#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

enum kc_cu_box_kind {
	KC_BOX_1, KC_BOX_2, KC_BOX_4, KC_BOX_8, KC_BOX_16,      /* units of so many bytes */
	KC_BOX_NARROW, KC_BOX_WIDEN,    /* units of one element: float32 to bf16, and back */
	KC_BOX_NARROW_4, KC_BOX_WIDEN_4,        /* ... of four */
	KC_BOX_ANY                      /* units of one element: converted, times scale */
};

enum { KC_BOX_MANY = 16 };

/* Dimensions fastest first, in units. */
struct kc_cu_box {
	void *to;
	const void *from;               /* NULL: zeros */
	int64_t n;                      /* units; below 2^31 */
	double scale;
	int32_t kind, nd, to_type, from_type;
	struct kc_divisor dim[KC_VIEW_DIMS];
	int64_t to_step[KC_VIEW_DIMS], from_step[KC_VIEW_DIMS];
};

struct kc_cu_boxes {
	struct kc_cu_box box[KC_BOX_MANY];
};

/*
 * A plane whose rows are runs of the one side and whose columns are runs of the other:
 * to[i + k * to_row] = from[i * from_row + k], i < n, k < m, for every index of the outer dims.
 */
struct kc_cu_turn {
	void *to;
	const void *from;
	int32_t size, nd;               /* bytes of an element: 2 or 4; of outer */
	int64_t n, m, to_row, from_row, planes;
	uint32_t dim[KC_VIEW_DIMS];
	int64_t to_step[KC_VIEW_DIMS], from_step[KC_VIEW_DIMS];
};

#ifdef __cplusplus
extern "C" {
#endif
int kc_cu_move(const struct kc_cu_boxes *, int n, cudaStream_t);
int kc_cu_transpose(const struct kc_cu_turn *, cudaStream_t);
/* Elements in logical order under other dimensions, however they lie. */
int kc_cu_reshape(const struct kc_view *to, const struct kc_view *from, int64_t n, cudaStream_t);
/*
 * The adjoint of padding with mirrored or repeated margins: every plain element sums its readers.
 * The last two dimensions are the plane's; before: top and left margin.
 */
struct kc_cu_unpad {
	struct kc_view plain, wide;
	int64_t n;                      /* plain elements */
	int64_t mirror;                 /* margins are mirrored, else repeated */
	int64_t before[2], after[2];
};
int kc_cu_sum_readers(const struct kc_cu_unpad *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
