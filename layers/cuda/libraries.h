/* What layers/cuda/libraries.c and the rows of the libraries share; nobody else includes this. */
#ifndef KC_LAYERS_CUDA_LIBRARIES_H
#define KC_LAYERS_CUDA_LIBRARIES_H

#include "layers/cuda/cuda.h"

extern const struct kc_kernel kc_cuda_conv, kc_cuda_conv_dgrad, kc_cuda_conv_wgrad;
extern const struct kc_kernel kc_cuda_matmul;

#endif
