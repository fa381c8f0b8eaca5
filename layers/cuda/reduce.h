/* Reductions as their kernels take them: in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_REDUCE_H
#define KC_LAYERS_CUDA_REDUCE_H

#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

/* Threads of a block of the kernels that sum. */
enum { KC_CU_SUM_BLOCK = 256 };

/* Who adds what. */
enum kc_cu_sum_kind {
	KC_CU_SUM_THREAD,       /* a thread per sum: few terms */
	KC_CU_SUM_WARP,         /* a warp per sum and chunk: terms are neighbours, or nothing is */
	KC_CU_SUM_COLUMNS       /* a thread per neighbouring sums: these are neighbours */
};

/*
 * y[k] = sum over r of x[k, r].  kept and summed are x's dimensions of each kind, slowest first,
 * kept with y's strides in to.  The sums are cut into chunks of `length` terms; where there
 * are several, their partial sums go to part[chunk][k], and a second kernel adds these.
 */
struct kc_cu_sum {
	struct kc_view kept, to, summed;
	int64_t n, terms;               /* sums; terms of each */
	int64_t chunks, length;
	int32_t kind;
	int32_t width;                  /* neighbours that are read as one, if not 1: aligned */
	float *part;
};

/* Lines along an axis: n elements, x.stride apart; the other dimensions number the lines. */
struct kc_cu_lines {
	struct kc_view x, y;            /* without the axis, joined */
	int64_t lines, n, x_step, y_step;
};

#ifdef __cplusplus
extern "C" {
#endif
int kc_cu_run_sum(const struct kc_cu_sum *, cudaStream_t);
int kc_cu_softmax(const struct kc_cu_lines *, int logs, cudaStream_t);
int kc_cu_argmax(const struct kc_cu_lines *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
