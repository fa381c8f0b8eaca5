#include <cublas_v2.h>

#include "core/tensor.h"
#include "tests/emulator/emulator.h"

#include <stdlib.h>

struct cublasContext { cudaStream_t stream; };

/* Strides of the factors as they are multiplied: from row to row, and from column to column. */
struct product {
	const void *a, *b;
	float *c;
	int64_t m, n, k, batch, a_row, a_column, b_row, b_column, c_column;
	int32_t low_a, low_b;
};

cublasStatus_t cublasCreate(cublasHandle_t *h)
{
	*h = kc_calloc(1, sizeof **h);
	return *h ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy(cublasHandle_t h)
{
	free(h);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t stream)
{
	h->stream = stream;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t h, void *p, size_t bytes)
{
	return h && p && bytes ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

const char *cublasGetStatusString(cublasStatus_t s)
{
	return s == CUBLAS_STATUS_SUCCESS ? "success" : "failure";
}

static double element(const void *data, int32_t low, int64_t at)
{
	return low ? kc_from_bf16(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

static void multiply(const void *argument)
{
	const struct product p = *(const struct product *)argument;

	for (int64_t b = 0; b < p.batch; b++)
		for (int64_t i = 0; i < p.m * p.n; i++) {
			int64_t a_at = b * p.m * p.k + i % p.m * p.a_row;
			int64_t b_at = b * p.k * p.n + i / p.m * p.b_column;
			double sum = 0;

			for (int64_t d = 0; d < p.k; d++)
				sum += element(p.a, p.low_a, a_at + d * p.a_column) *
				       element(p.b, p.low_b, b_at + d * p.b_row);
			p.c[b * p.m * p.n + i / p.m * p.c_column + i % p.m] = (float)sum;
		}
}

cublasStatus_t cublasGemmStridedBatchedEx_64(
	cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int64_t m, int64_t n,
	int64_t k, const void *alpha, const void *a, cudaDataType_t type_a, int64_t lda,
	long long int stride_a, const void *b, cudaDataType_t type_b, int64_t ldb,
	long long int stride_b, const void *beta, void *c, cudaDataType_t type_c, int64_t ldc,
	long long int stride_c, int64_t batch, cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
	bool turn_a = op_a == CUBLAS_OP_T, turn_b = op_b == CUBLAS_OP_T;
	struct product p = {
		.a = a, .b = b, .c = c, .m = m, .n = n, .k = k, .batch = batch,
		.a_row = turn_a ? lda : 1, .a_column = turn_a ? 1 : lda,
		.b_row = turn_b ? ldb : 1, .b_column = turn_b ? 1 : ldb, .c_column = ldc,
		.low_a = type_a == CUDA_R_16BF, .low_b = type_b == CUDA_R_16BF};

	(void)compute, (void)algo;
	if (*(const float *)alpha != 1 || *(const float *)beta != 0 || type_c != CUDA_R_32F ||
	    lda < (turn_a ? k : m) || ldb < (turn_b ? n : k) || ldc < m || stride_a != m * k ||
	    stride_b != k * n || stride_c != m * n)
		return CUBLAS_STATUS_INVALID_VALUE;
	return emu_call(multiply, &p, sizeof p, h->stream) ? CUBLAS_STATUS_INVALID_VALUE
							   : CUBLAS_STATUS_SUCCESS;
}
