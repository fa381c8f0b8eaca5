/* cuBLAS: the only way to it. */
#ifndef KC_LAYERS_CUDA_CUBLAS_H
#define KC_LAYERS_CUDA_CUBLAS_H

#include "core/tensor.h"

struct kc_cublas;

/* Bytes of the device that it works in: what the library recommends for the largest devices; its
 * own would be allocated while a recording runs. */
enum { KC_CUBLAS_WORKSPACE = 32 << 20 };

/* On the calling thread's device; products run on that stream (a cudaStream_t). */
int kc_cublas_open(struct kc_cublas **, void *stream);
void kc_cublas_close(struct kc_cublas *);

/*
 * C = op(A) op(B), `batch` times, one behind the other: row-major, A m x k (k x m where it is
 * read transposed), B k x n (n x k), C m x n float32.  Sums are float32.
 */
struct kc_cublas_product {
	int64_t batch, m, n, k;
	bool transpose_a, transpose_b;
	enum kc_dtype in;               /* of A and B: KC_F32 or KC_BF16 */
	bool tf32;                      /* float32 factors may be rounded to TF32 */
};
int kc_cublas_run(struct kc_cublas *, const struct kc_cublas_product *, const void *a,
		  const void *b, float *c);

#endif
