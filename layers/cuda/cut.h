/* Crops and symmetries (layers/cut.h), in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_CUT_H
#define KC_LAYERS_CUDA_CUT_H

#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

enum { KC_CU_MIRROR_X = 1, KC_CU_MIRROR_Y = 2, KC_CU_TRANSPOSE = 4 };

struct kc_cu_cut {
	struct kc_image_view x, y;      /* y: side x side */
	const int32_t *table;           /* of `samples` rows */
	int64_t per_row, per_column;
	int32_t samples, side;
	float unit;                     /* of flows */
	/* Both are packed and channels-last, three channels for frames and float32 for flows; and
	 * every row of y begins at a multiple of sixteen bytes. */
	int32_t packed, aligned;
};

#ifdef __cplusplus
extern "C" {
#endif
/* uint8 to uint8 */
int kc_cu_cut_frames(const struct kc_cu_cut *, cudaStream_t);
/* two int16 in an int32 to two channels */
int kc_cu_cut_flows(const struct kc_cu_cut *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
