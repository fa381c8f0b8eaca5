/*
 * Images for kernels, on the side of the rows: N, C, H, W by name, and how their channels may be
 * read.  layers/cuda/image_kernel.h is the kernels' side.
 */
#ifndef KC_LAYERS_CUDA_IMAGE_H
#define KC_LAYERS_CUDA_IMAGE_H

#include "layers/cuda/access.h"
#include "layers/cuda/cuda.h"

/* Of four dimensions. */
struct kc_image_view kc_cuda_image(const struct kc_buf *);
/*
 * Sixteen bytes of channels at a time where all n images have one float type, dense channels
 * in that number and addresses to match; all channels where these are two or three of float32;
 * else channel by channel, whatever the types.
 */
enum kc_cu_access kc_cuda_access(const struct kc_image_view *const *, int n);
/* Four dimensions each, all inputs and outputs. */
bool kc_cuda_are_images(const struct kc_step_info *);

#endif
