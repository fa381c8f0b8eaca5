/*
 * What .cu files are written with.  Compiled by nvcc for the device, and by the host's compiler
 * with the emulator of the tests, which runs blocks thread by thread in random order.
 *
 *  - A kernel is `KC_KERNEL void name(...)`; KC_BOUNDS(threads) follows KC_KERNEL void, or
 *    KC_BOUNDS_FOR(threads, blocks) where so many blocks shall fit a multiprocessor.
 *  - KC_LAUNCH starts a kernel whose threads do not talk to each other; KC_LAUNCH_BLOCK one that
 *    uses barriers, shuffles or shared memory.  No <<<>>> in the text.
 *  - Fixed shared memory: KC_SHARED(float, tile, [32]); of a size given at launch:
 *    KC_SHARED_BYTES(name), an array of bytes aligned at 16.
 *  - A struct that a kernel takes by value and indexes is `KC_CONSTANT struct ...`.
 *  - Indices of elements are int64_t.  No C++ library.
 *  - A launcher is extern "C" int kc_cu_name(..., cudaStream_t) and returns kc_cu_status().
 */
#ifndef KC_LAYERS_CUDA_KERNEL_H
#define KC_LAYERS_CUDA_KERNEL_H

#include "layers/cuda/view.h"

#include <cuda_runtime.h>

#ifdef __CUDACC__
#define KC_KERNEL __global__ static
/* With the 1, ptxas would rather use more registers than spill some for more blocks. */
#define KC_BOUNDS(threads) __launch_bounds__((threads), 1)
#define KC_BOUNDS_FOR(threads, blocks) __launch_bounds__((threads), (blocks))
#define KC_DEVICE __device__ __forceinline__ static
#define KC_SHARED(type, name, dims) __shared__ type name dims
#define KC_SHARED_BYTES(name) extern __shared__ __align__(16) unsigned char name[]
#define KC_LAUNCH(kernel, grid, block, shared, stream, ...) \
	kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define KC_LAUNCH_BLOCK KC_LAUNCH
#define KC_CONSTANT const __grid_constant__
#else
#define KC_CONSTANT const
#endif

static inline int kc_cu_status(void)
{
	return (int)cudaGetLastError();
}

/* Element i of n for this thread, then those a grid further. */
#define KC_GRID_LOOP(i, n) \
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); \
	     i += (int64_t)gridDim.x * blockDim.x)

enum { KC_CU_THREADS = 256, KC_CU_BLOCKS = 132 * 16 };

/* Blocks of KC_CU_THREADS for n elements of a grid loop. */
static inline unsigned kc_cu_blocks(int64_t n)
{
	int64_t b = (n + KC_CU_THREADS - 1) / KC_CU_THREADS;

	return (unsigned)(b < 1 ? 1 : b > KC_CU_BLOCKS ? (int64_t)KC_CU_BLOCKS : b);
}

/* ---- element types ---- */

struct kc_bf16 {
	uint16_t bits;
};

KC_DEVICE float kc_cu_load(const float *p)
{
	return *p;
}

KC_DEVICE float kc_cu_load(const kc_bf16 *p)
{
	return __uint_as_float((uint32_t)p->bits << 16);
}

KC_DEVICE float kc_cu_load(const uint8_t *p)
{
	return (float)*p;
}

/* Round to nearest even; NaN stays NaN. */
KC_DEVICE uint16_t kc_cu_bf16_bits(float f)
{
#ifdef __CUDACC__
	uint16_t bits;

	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(f));
	return bits;
#else
	uint32_t u = __float_as_uint(f);

	if ((u & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
#endif
}

KC_DEVICE void kc_cu_store(float *p, float x)
{
	*p = x;
}

KC_DEVICE void kc_cu_store(kc_bf16 *p, float x)
{
	p->bits = kc_cu_bf16_bits(x);
}

/* Sixteen bytes that are read and written as one. */
template <class T>
struct alignas(16) kc_pack16 {
	T v[16 / sizeof(T)];
};

/* Sixteen aligned bytes on their way to shared memory; the calling thread may read them after
 * kc_cu_copy_wait, others after a barrier behind it. */
KC_DEVICE void kc_cu_copy_async(void *shared, const void *from)
{
#ifdef __CUDACC__
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(
			     (unsigned)__cvta_generic_to_shared(shared)),
		     "l"(from)
		     : "memory");
#else
	*(kc_pack16<uint32_t> *)shared = *(const kc_pack16<uint32_t> *)from;
#endif
}

KC_DEVICE void kc_cu_copy_wait(void)
{
#ifdef __CUDACC__
	asm volatile("cp.async.wait_all;\n" ::: "memory");
#endif
}

/* Any element type as float: for kernels that are not worth a version per type. */
KC_DEVICE float kc_cu_read(const void *data, int dtype, int64_t at)
{
	switch (dtype) {
	case KC_VIEW_F32: return ((const float *)data)[at];
	case KC_VIEW_BF16: return kc_cu_load((const kc_bf16 *)data + at);
	case KC_VIEW_F64: return (float)((const double *)data)[at];
	case KC_VIEW_I32: return (float)((const int32_t *)data)[at];
	case KC_VIEW_I64: return (float)((const int64_t *)data)[at];
	default: return (float)((const uint8_t *)data)[at];
	}
}

KC_DEVICE void kc_cu_write(void *data, int dtype, int64_t at, float x)
{
	switch (dtype) {
	case KC_VIEW_F32: ((float *)data)[at] = x; break;
	case KC_VIEW_BF16: kc_cu_store((kc_bf16 *)data + at, x); break;
	case KC_VIEW_F64: ((double *)data)[at] = x; break;
	case KC_VIEW_I32: ((int32_t *)data)[at] = (int32_t)x; break;
	case KC_VIEW_I64: ((int64_t *)data)[at] = (int64_t)x; break;
	default: ((uint8_t *)data)[at] = (uint8_t)x; break;
	}
}

KC_DEVICE float kc_cu_get(const struct kc_view &x, int64_t at)
{
	return kc_cu_read(x.data, x.dtype, at);
}

/* An element of x to y, as it is where their types are equal. */
KC_DEVICE void kc_cu_copy(const struct kc_view &y, int64_t to, const struct kc_view &x,
			  int64_t from)
{
	bool same = x.dtype == y.dtype;

	if (same && y.dtype == KC_VIEW_I32)
		((int32_t *)y.data)[to] = ((const int32_t *)x.data)[from];
	else if (same && (y.dtype == KC_VIEW_I64 || y.dtype == KC_VIEW_F64))
		((int64_t *)y.data)[to] = ((const int64_t *)x.data)[from];
	else
		kc_cu_write(y.data, y.dtype, to, kc_cu_get(x, from));
}

/* Offset of element i of x, counted with the last dimension fastest. */
KC_DEVICE int64_t kc_cu_at(const struct kc_view &x, int64_t i)
{
	int64_t at = 0;

	for (int d = x.nd - 1; d > 0; d--) {
		at += i % x.dim[d] * x.stride[d];
		i /= x.dim[d];
	}
	return x.nd ? at + i * x.stride[0] : 0;
}

#endif
