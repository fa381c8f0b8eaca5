/* What follows a library's convolution: in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_FINISH_H
#define KC_LAYERS_CUDA_FINISH_H

#include <cuda_runtime_api.h>
#include <stdint.h>

/* Bias, then activation, over the first `channels` of y [pixels][pitch], float32 or bf16 (enum
 * kc_view_type); zeros behind them. */
struct kc_cu_ending {
	void *y;
	const float *bias;              /* or NULL */
	int64_t dtype, pixels, channels, pitch;
	int64_t act;                    /* enum kc_act */
	float slope;
};

#ifdef __cplusplus
extern "C" {
#endif
int kc_cu_finish(const struct kc_cu_ending *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
