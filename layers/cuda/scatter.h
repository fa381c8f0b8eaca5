/* What rows that scatter into an image share; the sums are those of layers/cuda/sums.h. */
#ifndef KC_LAYERS_CUDA_SCATTER_H
#define KC_LAYERS_CUDA_SCATTER_H

#include "layers/cuda/image.h"
#include "layers/cuda/sums.h"

/* prepare: workspace for the sums of output 0; terms: how many may meet in one place. */
int kc_cuda_scatter_prepare(struct kc_step_info *, int64_t terms);
/* run: sums that are 0, and the bound of input 0. */
int kc_cuda_scatter_begin(const struct kc_call *, struct kc_cu_sums *);
/* ... then the row's own kernel, then this. */
int kc_cuda_scatter_end(const struct kc_call *, const struct kc_cu_sums *);
void kc_cuda_scatter_release(void *prepared);

#endif
