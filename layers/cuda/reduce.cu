/*
 * Sums over some of the dimensions, in two stages where one would not fill the device: equal
 * inputs give equal bits.  Terms are added in float32, a few hundred in a row at most; what
 * chunks gave is added in double.
 */
#include "layers/cuda/kernel.h"
#include "layers/cuda/reduce.h"

enum { WARPS = KC_CU_SUM_BLOCK / 32 };
static_assert((int)KC_CU_SUM_BLOCK == (int)KC_CU_THREADS, "threads of a block");

KC_DEVICE void put_sum(const kc_cu_sum &s, int64_t k, int64_t chunk, float x)
{
	if (s.chunks > 1)
		s.part[chunk * s.n + k] = x;
	else
		kc_cu_write(s.to.data, s.to.dtype, kc_cu_at(s.to, k), x);
}

/* ---- a thread per sum ---- */

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) sum_threads(KC_CONSTANT kc_cu_sum s)
{
	KC_GRID_LOOP(k, s.n) {
		int64_t base = kc_cu_at(s.kept, k);
		float sum = 0;

		for (int64_t r = 0; r < s.terms; r++)
			sum += kc_cu_get(s.kept, base + kc_cu_at(s.summed, r));
		put_sum(s, k, 0, sum);
	}
}

/* ---- a warp per sum ---- */

KC_DEVICE float sum_of_lanes(float x)
{
	for (int k = 16; k; k /= 2)
		x += __shfl_xor_sync(0xffffffffu, x, k);
	return x;
}

template <class T, int width>
struct alignas(width * sizeof(T)) pack { T v[width]; };

template <class T, int width>
KC_DEVICE float sum_pack(const void *data, int64_t at)
{
	pack<T, width> x = *(const pack<T, width> *)((const T *)data + at);
	float sum = 0;

#pragma unroll
	for (int k = 0; k < width; k++)
		sum += kc_cu_load(&x.v[k]);
	return sum;
}

/* A pack of terms, or one of any type. */
template <class T, int step>
KC_DEVICE float terms_at(const kc_cu_sum &s, int64_t base, int64_t r)
{
	int64_t at = base + (s.summed.nd == 1 ? r * s.summed.stride[0] : kc_cu_at(s.summed, r));

	return step == 1 ? kc_cu_get(s.kept, at) : sum_pack<T, step>(s.kept.data, at);
}

/* blockIdx.y: the chunk.  Several sums per block, a warp each... */
template <class T, int step>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) sum_warps(KC_CONSTANT kc_cu_sum s)
{
	int lane = threadIdx.x % 32;
	int64_t first = blockIdx.y * s.length, end = min(first + s.length, s.terms);

	for (int64_t k = blockIdx.x * (int64_t)WARPS + threadIdx.x / 32; k < s.n;
	     k += gridDim.x * (int64_t)WARPS) {
		int64_t base = kc_cu_at(s.kept, k);
		float sum = 0;

		for (int64_t r = first + lane * step; r < end; r += 32 * step)
			sum += terms_at<T, step>(s, base, r);
		sum = sum_of_lanes(sum);
		if (lane == 0)
			put_sum(s, k, blockIdx.y, sum);
	}
}

/* ... or the block's one. */
template <class T, int step>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) sum_block(KC_CONSTANT kc_cu_sum s)
{
	KC_SHARED(float, part, [WARPS]);
	int64_t first = blockIdx.y * s.length, end = min(first + s.length, s.terms);
	int64_t base = kc_cu_at(s.kept, blockIdx.x);
	float sum = 0;

	for (int64_t r = first + threadIdx.x * step; r < end; r += KC_CU_THREADS * step)
		sum += terms_at<T, step>(s, base, r);
	sum = sum_of_lanes(sum);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = sum;
	__syncthreads();
	if (threadIdx.x)
		return;
	for (int w = 1; w < WARPS; w++)
		sum += part[w];
	put_sum(s, blockIdx.x, blockIdx.y, sum);
}

/* ---- columns ---- */

/*
 * x is rows of neighbouring sums.  A block takes blockDim.x packs of them side by side and
 * blockDim.y rows at a time, and adds its rows up in shared memory.
 */
template <class T, int width>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) sum_columns(KC_CONSTANT kc_cu_sum s)
{
	KC_SHARED(float, part, [KC_CU_THREADS][width]);
	int last = s.kept.nd - 1, me = threadIdx.y * blockDim.x + threadIdx.x;
	int64_t packs = s.kept.dim[last] / width;
	int64_t column = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
	int64_t row = blockIdx.z, k = row * s.kept.dim[last] + column * width;
	int64_t first = blockIdx.y * s.length, end = min(first + s.length, s.terms);
	float sum[width];

#pragma unroll
	for (int j = 0; j < width; j++)
		sum[j] = 0;
	if (column < packs) {
		const T *x = (const T *)s.kept.data + kc_cu_at(s.kept, k);

#pragma unroll 4
		for (int64_t r = first + threadIdx.y; r < end; r += blockDim.y) {
			int64_t at = s.summed.nd == 1 ? r * s.summed.stride[0]
						      : kc_cu_at(s.summed, r);

			pack<T, width> p = *(const pack<T, width> *)(x + at);

#pragma unroll
			for (int j = 0; j < width; j++)
				sum[j] += kc_cu_load(&p.v[j]);
		}
	}
#pragma unroll
	for (int j = 0; j < width; j++)
		part[me][j] = sum[j];
	__syncthreads();
	if (threadIdx.y || column >= packs)
		return;
	for (unsigned y = 1; y < blockDim.y; y++)
#pragma unroll
		for (int j = 0; j < width; j++)
			sum[j] += part[me + y * blockDim.x][j];
#pragma unroll
	for (int j = 0; j < width; j++)
		put_sum(s, k + j, blockIdx.y, sum[j]);
}

/* ---- the chunks of every sum ---- */

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) sum_chunks(KC_CONSTANT kc_cu_sum s)
{
	KC_GRID_LOOP(k, s.n) {
		double sum = 0;

		for (int64_t c = 0; c < s.chunks; c++)
			sum += s.part[c * s.n + k];
		kc_cu_write(s.to.data, s.to.dtype, kc_cu_at(s.to, k), (float)sum);
	}
}

/* Few sums of many chunks: a warp each. */
KC_KERNEL void KC_BOUNDS(32) sum_chunks_by_warp(KC_CONSTANT kc_cu_sum s)
{
	int64_t k = blockIdx.x;
	double sum = 0;

	for (int64_t c = threadIdx.x; c < s.chunks; c += 32)
		sum += s.part[c * s.n + k];
	for (int j = 16; j; j /= 2)
		sum += __shfl_xor_sync(0xffffffffu, sum, j);
	if (threadIdx.x == 0)
		kc_cu_write(s.to.data, s.to.dtype, kc_cu_at(s.to, k), (float)sum);
}

/* ---- launching ---- */

template <class T, int step>
static void by_warps(const kc_cu_sum &s, cudaStream_t stream)
{
	enum { MANY = 4 * 132 };
	int64_t blocks = (s.n + WARPS - 1) / WARPS;

	if (s.n <= MANY && s.length > 32 * 4 * step)
		KC_LAUNCH_BLOCK((sum_block<T, step>), dim3((unsigned)s.n, (unsigned)s.chunks),
				KC_CU_THREADS, 0, stream, s);
	else
		KC_LAUNCH_BLOCK((sum_warps<T, step>),
				dim3((unsigned)min(blocks, (int64_t)KC_CU_BLOCKS),
				     (unsigned)s.chunks),
				KC_CU_THREADS, 0, stream, s);
}

template <class T, int width>
static void by_columns(const kc_cu_sum &s, cudaStream_t stream)
{
	int64_t packs = s.kept.dim[s.kept.nd - 1] / width, rows = s.n / (packs * width);
	unsigned across = 1;

	while (across < packs && across < 32)
		across *= 2;
	KC_LAUNCH_BLOCK((sum_columns<T, width>),
			dim3((unsigned)((packs + across - 1) / across), (unsigned)s.chunks,
			     (unsigned)rows),
			dim3(across, KC_CU_THREADS / across), 0, stream, s);
}

extern "C" int kc_cu_run_sum(const struct kc_cu_sum *s, cudaStream_t stream)
{
	bool low = s->kept.dtype == KC_VIEW_BF16;

	if (s->kind == KC_CU_SUM_THREAD)
		KC_LAUNCH(sum_threads, kc_cu_blocks(s->n), KC_CU_THREADS, 0, stream, *s);
	else if (s->kind == KC_CU_SUM_WARP && low && s->width == 8)
		by_warps<kc_bf16, 8>(*s, stream);
	else if (s->kind == KC_CU_SUM_WARP && !low && s->width == 4)
		by_warps<float, 4>(*s, stream);
	else if (s->kind == KC_CU_SUM_WARP)
		by_warps<float, 1>(*s, stream);
	else if (low && s->width == 8)
		by_columns<kc_bf16, 8>(*s, stream);
	else if (low && s->width == 4)
		by_columns<kc_bf16, 4>(*s, stream);
	else if (low)
		by_columns<kc_bf16, 1>(*s, stream);
	else if (s->width == 4)
		by_columns<float, 4>(*s, stream);
	else
		by_columns<float, 1>(*s, stream);
	if (s->chunks > 1 && s->n < 512)
		KC_LAUNCH_BLOCK(sum_chunks_by_warp, (unsigned)s->n, 32, 0, stream, *s);
	else if (s->chunks > 1)
		KC_LAUNCH(sum_chunks, kc_cu_blocks(s->n), KC_CU_THREADS, 0, stream, *s);
	return kc_cu_status();
}
