/* The part of cuBLAS that layers/cuda uses, for a machine without CUDA: plain loops. */
#ifndef KC_TESTS_EMULATOR_CUBLAS_V2_H
#define KC_TESTS_EMULATOR_CUBLAS_V2_H

#include "tests/emulator/cuda_runtime_api.h"

typedef enum { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_ALLOC_FAILED = 3,
	       CUBLAS_STATUS_INVALID_VALUE = 7 } cublasStatus_t;
typedef enum { CUBLAS_OP_N, CUBLAS_OP_T } cublasOperation_t;
typedef enum { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 } cublasComputeType_t;
typedef enum { CUBLAS_GEMM_DEFAULT = -1 } cublasGemmAlgo_t;
typedef enum { CUDA_R_32F = 0, CUDA_R_16BF = 14 } cudaDataType_t;
typedef struct cublasContext *cublasHandle_t;

cublasStatus_t cublasCreate(cublasHandle_t *);
cublasStatus_t cublasDestroy(cublasHandle_t);
cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t);
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t);
const char *cublasGetStatusString(cublasStatus_t);
/* Matrices column by column: op(A) m x k, op(B) k x n, C m x n. */
cublasStatus_t cublasGemmStridedBatchedEx_64(
	cublasHandle_t, cublasOperation_t, cublasOperation_t, int64_t m, int64_t n, int64_t k,
	const void *alpha, const void *a, cudaDataType_t, int64_t lda, long long int stride_a,
	const void *b, cudaDataType_t, int64_t ldb, long long int stride_b, const void *beta,
	void *c, cudaDataType_t, int64_t ldc, long long int stride_c, int64_t batch,
	cublasComputeType_t, cublasGemmAlgo_t);

#endif
