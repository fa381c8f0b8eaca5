/* Norm and check of many tensors: a partial result per piece, then one block adds them up. */
#include "layers/cuda/kernel.h"
#include "layers/cuda/many.h"

enum { WARPS = KC_CU_THREADS / 32, ENOUGH = 132 * 8 };

template <class T>
KC_DEVICE T sum_of_block(T x, T *part)
{
	for (int k = 16; k; k /= 2)
		x += __shfl_xor_sync(0xffffffffu, x, k);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = x;
	__syncthreads();
	x = 0;
	for (int w = 0; w < WARPS; w++)
		x += part[w];
	__syncthreads();
	return x;
}

/* A run of floats is read as such. */
KC_DEVICE float read_item(const kc_cu_item &x, int64_t i)
{
	if (x.view.nd == 1 && x.view.stride[0] == 1 && x.view.dtype == KC_VIEW_F32)
		return ((const float *)x.view.data)[i];
	return kc_cu_get(x.view, kc_cu_at(x.view, i));
}

/* Doubles: squares of floats do not overflow, and millions of them add up to float's precision. */
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
square_pieces(const kc_cu_item *items, kc_cu_pieces pieces, double *part)
{
	KC_SHARED(double, shared, [WARPS]);

	for (int64_t p = blockIdx.x; p < pieces.n; p += gridDim.x) {
		const kc_cu_item &x = items[pieces.at[p].item];
		int64_t first = pieces.at[p].first, end = min(first + KC_CU_PIECE, x.n);
		double sum = 0;

#pragma unroll 4
		for (int64_t i = first + threadIdx.x; i < end; i += KC_CU_THREADS) {
			double v = read_item(x, i);

			sum += v * v;
		}
		sum = sum_of_block(sum, shared);
		if (threadIdx.x == 0)
			part[p] = sum;
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) root_of_sum(const double *part, int64_t n, float *y)
{
	KC_SHARED(double, shared, [WARPS]);
	double sum = 0;

	for (int64_t i = threadIdx.x; i < n; i += KC_CU_THREADS)
		sum += part[i];
	sum = sum_of_block(sum, shared);
	if (threadIdx.x == 0)
		*y = (float)sqrt(sum);
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
check_pieces(const kc_cu_item *items, kc_cu_pieces pieces, int32_t *part)
{
	for (int64_t p = blockIdx.x; p < pieces.n; p += gridDim.x) {
		const kc_cu_item &x = items[pieces.at[p].item];
		int64_t first = pieces.at[p].first, end = min(first + KC_CU_PIECE, x.n);
		int bad = 0;

#pragma unroll 4
		for (int64_t i = first + threadIdx.x; i < end; i += KC_CU_THREADS)
			bad |= !isfinite(read_item(x, i));
		bad = __syncthreads_or(bad);
		if (threadIdx.x == 0)
			part[p] = bad;
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) none_is_bad(const int32_t *part, int64_t n, float *y)
{
	int bad = 0;

	for (int64_t i = threadIdx.x; i < n; i += KC_CU_THREADS)
		bad |= part[i];
	bad = __syncthreads_or(bad);
	if (threadIdx.x == 0)
		*y = bad ? 0 : 1;
}

static unsigned blocks_for(kc_cu_pieces pieces)
{
	return (unsigned)max(min(pieces.n, (int64_t)ENOUGH), (int64_t)1);
}

extern "C" int kc_cu_norm(const struct kc_cu_item *items, struct kc_cu_pieces pieces,
			  double *part, float *y, cudaStream_t stream)
{
	KC_LAUNCH_BLOCK(square_pieces, blocks_for(pieces), KC_CU_THREADS, 0, stream, items, pieces,
			part);
	KC_LAUNCH_BLOCK(root_of_sum, 1, KC_CU_THREADS, 0, stream, part, pieces.n, y);
	return kc_cu_status();
}

extern "C" int kc_cu_finite(const struct kc_cu_item *items, struct kc_cu_pieces pieces,
			    int32_t *part, float *y, cudaStream_t stream)
{
	KC_LAUNCH_BLOCK(check_pieces, blocks_for(pieces), KC_CU_THREADS, 0, stream, items, pieces,
			part);
	KC_LAUNCH_BLOCK(none_is_bad, 1, KC_CU_THREADS, 0, stream, part, pieces.n, y);
	return kc_cu_status();
}
