/* The libraries of the device: opened with it, and the rows that use them. */
#include "layers/cuda/libraries.h"

#include "layers/cuda/cublas.h"
#include "layers/cuda/cudnn.h"
#include "layers/cuda/cudnn_cache.h"

#include <stdlib.h>

/* Without its file every run times anew, nothing worse. */
static void open_cache(struct kc_cuda *c)
{
	char *path = kc_cudnn_cache_path();

	if (path && kc_cudnn_cache_open(&c->cudnn_cache, path, c->properties.name) < 0)
		c->cudnn_cache = NULL;
	free(path);
}

int kc_cuda_libraries_open(struct kc_cuda *c)
{
	KC_TRY(kc_cudnn_open(&c->cudnn, c->stream));
	if (c->autotune)
		open_cache(c);
	return kc_cublas_open(&c->cublas, c->stream);
}

void kc_cuda_libraries_close(struct kc_cuda *c)
{
	kc_cublas_close(c->cublas);
	kc_cudnn_cache_free(c->cudnn_cache);
	kc_cudnn_close(c->cudnn);
}

const struct kc_kernel *const kc_cuda_library_rows[] = {
	&kc_cuda_conv, &kc_cuda_conv_dgrad, &kc_cuda_conv_wgrad, &kc_cuda_matmul, NULL};
