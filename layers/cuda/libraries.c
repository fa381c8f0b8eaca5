/* The libraries of the device: opened for it, and the rows that use them. */
#include "layers/cuda/libraries.h"

#include "layers/cuda/cublas.h"
#include "layers/cuda/cudnn.h"
#include "layers/cuda/cudnn_cache.h"

#include <stdlib.h>

/* What timing may take in all, and of that what compiling and small convolutions may take: the
 * rest get the best guess, and the next run goes on where this one stopped. */
static const struct kc_cudnn_budget budget = {
	.timing = 40, .compiling = 20, .small = 10, .below = 20e-6};

/* Without its file every run times anew, nothing worse. */
static void open_caches(struct kc_cuda *c)
{
	char *path = kc_cudnn_cache_path();

	if (!path || kc_cudnn_cache_open(&c->timed, path, c->properties.name) < 0)
		(void)kc_cudnn_cache_open(&c->timed, NULL, c->properties.name);
	(void)kc_cudnn_cache_open(&c->guessed, NULL, c->properties.name);
	free(path);
}

int kc_cuda_use_cudnn(struct kc_cuda *c)
{
	if (c->cudnn)
		return 0;
	KC_TRY(kc_cudnn_open(&c->cudnn, c->stream));
	c->budget = budget;
	if (c->autotune)
		open_caches(c);
	return 0;
}

int kc_cuda_use_cublas(struct kc_cuda *c)
{
	return c->cublas ? 0 : kc_cublas_open(&c->cublas, c->stream);
}

void kc_cuda_libraries_close(struct kc_cuda *c)
{
	kc_cublas_close(c->cublas);
	kc_cudnn_cache_free(c->timed);
	kc_cudnn_cache_free(c->guessed);
	kc_cudnn_close(c->cudnn);
}

const struct kc_kernel *const kc_cuda_library_rows[] = {
	&kc_cuda_conv, &kc_cuda_conv_dgrad, &kc_cuda_conv_wgrad, &kc_cuda_matmul, NULL};
