#include "layers/cuda/cublas.h"

#include <cublas_v2.h>
#include <stdlib.h>

struct kc_cublas {
	cublasHandle_t handle;
	void *workspace;
};

static int check(cublasStatus_t s, const char *what)
{
	if (s == CUBLAS_STATUS_SUCCESS)
		return 0;
	return KC_FAIL(s == CUBLAS_STATUS_ALLOC_FAILED ? KC_ENOMEM : KC_EBACKEND, "cublas: %s: %s",
		       what, cublasGetStatusString(s));
}

static int start(struct kc_cublas *b, cudaStream_t stream)
{
	KC_TRY(check(cublasCreate(&b->handle), "opening"));
	KC_TRY(check(cublasSetStream(b->handle, stream), "opening"));
	if (cudaMalloc(&b->workspace, KC_CUBLAS_WORKSPACE) != cudaSuccess) {
		cudaGetLastError();
		return KC_FAIL(KC_ENOMEM, "cublas: no memory on the device for a workspace");
	}
	/* Behind the stream: setting one takes the workspace back. */
	return check(cublasSetWorkspace(b->handle, b->workspace, KC_CUBLAS_WORKSPACE), "workspace");
}

int kc_cublas_open(struct kc_cublas **out, void *stream)
{
	struct kc_cublas *b = kc_calloc(1, sizeof *b);
	int rc;

	if (!b)
		return KC_ENOMEM;
	rc = start(b, (cudaStream_t)stream);
	if (rc < 0) {
		kc_cublas_close(b);
		return rc;
	}
	*out = b;
	return 0;
}

void kc_cublas_close(struct kc_cublas *b)
{
	if (!b)
		return;
	if (b->handle)
		cublasDestroy(b->handle);
	if (b->workspace)
		cudaFree(b->workspace);
	free(b);
}

/* Read column by column, every matrix here is its transpose: C^T = op(B)^T op(A)^T. */
int kc_cublas_run(struct kc_cublas *blas, const struct kc_cublas_product *p, const void *a,
		  const void *b, float *c)
{
	cudaDataType_t type = p->in == KC_BF16 ? CUDA_R_16BF : CUDA_R_32F;
	cublasComputeType_t compute = p->in == KC_F32 && p->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
								 : CUBLAS_COMPUTE_32F;
	const float one = 1, zero = 0;

	return check(cublasGemmStridedBatchedEx_64(
			     blas->handle, p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
			     p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, p->n, p->m, p->k, &one,
			     b, type, p->transpose_b ? p->k : p->n, p->k * p->n, a, type,
			     p->transpose_a ? p->m : p->k, p->m * p->k, &zero, c, CUDA_R_32F, p->n,
			     p->m * p->n, p->batch, compute, CUBLAS_GEMM_DEFAULT),
		     "matrix product");
}
