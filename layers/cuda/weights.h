/* What convolutions need around the library's kernels: in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_WEIGHTS_H
#define KC_LAYERS_CUDA_WEIGHTS_H

#include <cuda_runtime_api.h>
#include <stdint.h>

/* Weights seen as Cout x Cin x window, float32 or bf16 (enum kc_view_type), with these strides. */
struct kc_cu_weights {
	void *data;
	int64_t dtype;
	int64_t out, in, tap;
};

/* Bias, then activation, over what is there: `pixels` places `pitch` elements apart. */
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
/* to = from, element by element, converted. */
int kc_cu_repack(const struct kc_cu_weights *to, const struct kc_cu_weights *from, int64_t out,
		 int64_t in, int64_t taps, cudaStream_t);
/* n elements of bf16 to float32. */
int kc_cu_widen(float *to, const void *from, int64_t n, cudaStream_t);
int kc_cu_finish(const struct kc_cu_ending *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
