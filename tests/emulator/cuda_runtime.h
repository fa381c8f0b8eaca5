/*
 * What .cu files see when they are compiled by the host's compiler: CUDA's built-in names, and
 * the macros of layers/cuda/kernel.h.  See tests/emulator/emulator.h.
 */
#ifndef KC_TESTS_EMULATOR_CUDA_RUNTIME_H
#define KC_TESTS_EMULATOR_CUDA_RUNTIME_H

#include "tests/emulator/cuda_runtime_api.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

using std::isfinite;
using std::isinf;
using std::isnan;

/* ---- vectors ---- */

struct dim3 {
	unsigned x, y, z;

	dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
	{
	}
};

#define EMU_VECTOR(type, name, align2, align4) \
	struct alignas(align2) name##2 { type x, y; }; \
	struct alignas(align4) name##4 { type x, y, z, w; }; \
	static inline name##2 make_##name##2(type x, type y) \
	{ \
		return {x, y}; \
	} \
	static inline name##4 make_##name##4(type x, type y, type z, type w) \
	{ \
		return {x, y, z, w}; \
	}
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(double, double, 16, 16)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(unsigned, uint, 8, 16)
#undef EMU_VECTOR

/* ---- the running thread ---- */

struct emu_index { unsigned x, y, z; };
extern struct emu_index threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
enum { warpSize = 32 };

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __align__(n) alignas(n)

#define KC_KERNEL __attribute__((unused)) static
#define KC_BOUNDS(threads)
#define KC_BOUNDS_FOR(threads, blocks)
#define KC_DEVICE __attribute__((unused)) static inline
#define KC_SHARED(type, name, dims) \
	type(&name) dims = *(type(*) dims)emu_shared(__FILE__, __LINE__, sizeof(type dims), \
						     alignof(type))
#define KC_SHARED_BYTES(name) unsigned char *name = emu_shared_bytes()
#define KC_LAUNCH(kernel, grid, block, shared, stream, ...) \
	emu_launch(#kernel, false, kernel, grid, block, shared, stream, __VA_ARGS__)
#define KC_LAUNCH_BLOCK(kernel, grid, block, shared, stream, ...) \
	emu_launch(#kernel, true, kernel, grid, block, shared, stream, __VA_ARGS__)

/* Shared memory of the running block: the same for the same place in the source. */
void *emu_shared(const char *file, int line, size_t bytes, size_t align);
unsigned char *emu_shared_bytes(void);
void emu_barrier(int line);
int emu_barrier_vote(int line, int value, int kind);
/* Meets the lanes of the mask; then every lane's eight bytes can be read with emu_lane. */
void emu_meet(unsigned mask, int line, uint64_t bits);
uint64_t emu_lane(unsigned lane);
unsigned emu_my_lane(void);
bool emu_lane_met(unsigned mask, unsigned lane);

struct emu_kernel {
	const char *name;
	const void *function;
	bool block;                     /* threads talk to each other */
	dim3 grid, threads;
	size_t shared;
	std::function<void()> body;     /* of one thread */
};
void emu_enqueue(const struct emu_kernel &, cudaStream_t);

/* Bytes of a kernel's arguments, each where its alignment puts it. */
template <class... P>
constexpr size_t emu_arguments(void)
{
	size_t at = 0;

	((at = (at + alignof(P) - 1) / alignof(P) * alignof(P) + sizeof(P)), ...);
	return at;
}

template <class... P, class... A>
static inline void emu_launch(const char *name, bool block, void (*kernel)(P...), dim3 grid,
			      dim3 threads, size_t shared, cudaStream_t stream, const A &...a)
{
	static_assert(emu_arguments<P...>() <= 4096, "arguments of a kernel");
	std::tuple<std::decay_t<P>...> args(static_cast<P>(a)...);

	emu_enqueue({name, (const void *)kernel, block, grid, threads, shared,
		     [=] { std::apply(kernel, args); }},
		    stream);
}

cudaError_t emu_shared_limit(const void *kernel, enum cudaFuncAttribute, int value);

template <class F>
static inline cudaError_t cudaFuncSetAttribute(F *kernel, enum cudaFuncAttribute a, int value)
{
	return emu_shared_limit((const void *)kernel, a, value);
}

/* ---- threads that talk ---- */

#define __syncthreads() emu_barrier(__LINE__)
#define __syncthreads_or(x) emu_barrier_vote(__LINE__, (x), 0)
#define __syncthreads_and(x) emu_barrier_vote(__LINE__, (x), 1)
#define __syncthreads_count(x) emu_barrier_vote(__LINE__, (x), 2)
#define __syncwarp(...) emu_syncwarp(__LINE__, ##__VA_ARGS__)

static inline void emu_syncwarp(int line, unsigned mask = 0xffffffffu)
{
	emu_meet(mask, line, 0);
}

template <class T>
static inline uint64_t emu_bits(T x)
{
	uint64_t bits = 0;

	static_assert(sizeof x <= sizeof bits, "shuffles move up to eight bytes");
	memcpy(&bits, &x, sizeof x);
	return bits;
}

/* What a lane has that does not take part is anything: all bits. */
template <class T>
static inline T emu_shuffle(unsigned mask, T x, int from, bool inside, int line)
{
	uint64_t bits;
	T y = x;

	emu_meet(mask, line, emu_bits(x));
	if (inside) {
		bits = emu_lane_met(mask, (unsigned)from) ? emu_lane((unsigned)from) : ~0ull;
		memcpy(&y, &bits, sizeof y);
	}
	return y;
}

template <class T>
static inline T emu_shfl(unsigned mask, T x, int line, int from, int width = 32)
{
	int me = (int)emu_my_lane();

	return emu_shuffle(mask, x, (me & ~(width - 1)) | (from & (width - 1)), true, line);
}

template <class T>
static inline T emu_shfl_up(unsigned mask, T x, int line, int by, int width = 32)
{
	int me = (int)emu_my_lane();

	return emu_shuffle(mask, x, me - by, me - by >= (me & ~(width - 1)), line);
}

template <class T>
static inline T emu_shfl_down(unsigned mask, T x, int line, int by, int width = 32)
{
	int me = (int)emu_my_lane();

	return emu_shuffle(mask, x, me + by, me + by <= (me | (width - 1)), line);
}

template <class T>
static inline T emu_shfl_xor(unsigned mask, T x, int line, int by, int width = 32)
{
	int me = (int)emu_my_lane();

	return emu_shuffle(mask, x, me ^ by, (me ^ by) <= (me | (width - 1)), line);
}

#define __shfl_sync(mask, x, ...) emu_shfl((mask), (x), __LINE__, __VA_ARGS__)
#define __shfl_up_sync(mask, x, ...) emu_shfl_up((mask), (x), __LINE__, __VA_ARGS__)
#define __shfl_down_sync(mask, x, ...) emu_shfl_down((mask), (x), __LINE__, __VA_ARGS__)
#define __shfl_xor_sync(mask, x, ...) emu_shfl_xor((mask), (x), __LINE__, __VA_ARGS__)

static inline unsigned emu_ballot(unsigned mask, bool x, int line)
{
	unsigned votes = 0;

	emu_meet(mask, line, x);
	for (unsigned lane = 0; lane < 32; lane++)
		if (emu_lane_met(mask, lane) && emu_lane(lane))
			votes |= 1u << lane;
	return votes;
}

#define __ballot_sync(mask, x) emu_ballot((mask), (x), __LINE__)
#define __any_sync(mask, x) (emu_ballot((mask), (x), __LINE__) != 0)
#define __all_sync(mask, x) (emu_ballot((mask), !(x), __LINE__) == 0)

static inline void __threadfence(void)
{
}

static inline void __threadfence_block(void)
{
}

#define EMU_ATOMIC(name, value) \
	template <class T> \
	static inline T name(T *p, std::common_type_t<T> x) \
	{ \
		T old = *p; \
\
		*p = (value); \
		return old; \
	}
EMU_ATOMIC(atomicAdd, old + x)
EMU_ATOMIC(atomicSub, old - x)
EMU_ATOMIC(atomicMax, old < x ? x : old)
EMU_ATOMIC(atomicMin, x < old ? x : old)
EMU_ATOMIC(atomicOr, old | x)
EMU_ATOMIC(atomicAnd, old & x)
EMU_ATOMIC(atomicXor, old ^ x)
EMU_ATOMIC(atomicExch, x)
#undef EMU_ATOMIC

template <class T>
static inline T atomicCAS(T *p, std::common_type_t<T> expected, std::common_type_t<T> x)
{
	T old = *p;

	if (old == expected)
		*p = x;
	return old;
}

/* ---- numbers ---- */

#define EMU_CAST(name, to, from) \
	static inline to name(from x) \
	{ \
		to y; \
\
		static_assert(sizeof x == sizeof y, "a cast keeps the bits"); \
		memcpy(&y, &x, sizeof y); \
		return y; \
	}
EMU_CAST(__float_as_uint, unsigned, float)
EMU_CAST(__uint_as_float, float, unsigned)
#undef EMU_CAST

#define EMU_MIN_MAX(type) \
	static inline type min(type a, type b) \
	{ \
		return b < a ? b : a; \
	} \
	static inline type max(type a, type b) \
	{ \
		return a < b ? b : a; \
	}
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX
static inline float min(float a, float b)
{
	return fminf(a, b);
}

static inline float max(float a, float b)
{
	return fmaxf(a, b);
}

static inline double min(double a, double b)
{
	return fmin(a, b);
}

static inline double max(double a, double b)
{
	return fmax(a, b);
}

static inline float __fadd_rn(float a, float b)
{
	return a + b;
}

static inline float __fsub_rn(float a, float b)
{
	return a - b;
}

static inline float __fmul_rn(float a, float b)
{
	return a * b;
}

static inline float __fdiv_rn(float a, float b)
{
	return a / b;
}

static inline float __fsqrt_rn(float x)
{
	return sqrtf(x);
}

static inline float __fmaf_rn(float a, float b, float c)
{
	return fmaf(a, b, c);
}

static inline long long __double2ll_rn(double x)
{
	return llrint(x);
}

#endif
