#include "layers/cuda/kernel.h"
#include "tests/emulator/planted.h"

template <int fault>
KC_KERNEL void KC_BOUNDS(64) sums(float *y, const float *x)
{
	KC_SHARED(float, tile, [64]);
	KC_SHARED(float, part, [2]);
	int t = threadIdx.x, i = blockIdx.x * 64 + t;
	float sum, *first = &tile[0];

	first[fault == PLANTED_SHARED ? t + 1 : t] = x[i];
	if (fault != PLANTED_NO_BARRIER && (fault != PLANTED_DIVERGENT || t < 32))
		__syncthreads();
	sum = tile[63 - t];
	if (fault == PLANTED_SHUFFLE && t == 40)
		return;
	for (int k = 16; k; k /= 2)
		sum += __shfl_xor_sync(0xffffffffu, sum, k);
	if (t % 32 == 0)
		part[t / 32] = sum;
	__syncthreads();
	y[i] = x[i] + part[0] + part[1];
}

KC_KERNEL void shift_by(float *y, const float *x, int n, int shift)
{
	KC_GRID_LOOP(i, n)
		y[i] = x[i + shift];
}

KC_KERNEL void copy_packs(void *y, const void *x, int n)
{
	KC_GRID_LOOP(i, n)
		((kc_pack16<float> *)y)[i] = ((const kc_pack16<float> *)x)[i];
}

KC_KERNEL void KC_BOUNDS(32) much_shared(int fill)
{
	KC_SHARED_BYTES(bytes);

	bytes[threadIdx.x] = (unsigned char)fill;
}

KC_KERNEL void KC_BOUNDS(64) count(int *counts, const int *x, int n)
{
	KC_SHARED_BYTES(bytes);
	int *mine = (int *)bytes;

	if (threadIdx.x < 8)
		mine[threadIdx.x] = 0;
	__syncthreads();
	KC_GRID_LOOP(i, n)
		atomicAdd(&mine[x[i]], 1);
	__syncthreads();
	if (threadIdx.x < 8)
		atomicAdd(&counts[threadIdx.x], mine[threadIdx.x]);
}

extern "C" int planted_sums(float *y, const float *x, int n, int fault, cudaStream_t stream)
{
	switch (fault) {
	case PLANTED_NO_BARRIER:
		KC_LAUNCH_BLOCK((sums<PLANTED_NO_BARRIER>), n / 64, 64, 0, stream, y, x);
		break;
	case PLANTED_DIVERGENT:
		KC_LAUNCH_BLOCK((sums<PLANTED_DIVERGENT>), n / 64, 64, 0, stream, y, x);
		break;
	case PLANTED_SHARED:
		KC_LAUNCH_BLOCK((sums<PLANTED_SHARED>), n / 64, 64, 0, stream, y, x);
		break;
	case PLANTED_SHUFFLE:
		KC_LAUNCH_BLOCK((sums<PLANTED_SHUFFLE>), n / 64, 64, 0, stream, y, x);
		break;
	case PLANTED_PLAIN:
		KC_LAUNCH((sums<PLANTED_NOTHING>), n / 64, 64, 0, stream, y, x);
		break;
	default:
		KC_LAUNCH_BLOCK((sums<PLANTED_NOTHING>), n / 64, 64, 0, stream, y, x);
	}
	return kc_cu_status();
}

extern "C" int planted_shift(float *y, const float *x, int n, int shift, cudaStream_t stream)
{
	KC_LAUNCH(shift_by, kc_cu_blocks(n), KC_CU_THREADS, 0, stream, y, x, n, shift);
	return kc_cu_status();
}

extern "C" int planted_packs(float *y, const float *x, int n, cudaStream_t stream)
{
	KC_LAUNCH(copy_packs, kc_cu_blocks(n), KC_CU_THREADS, 0, stream, y, x, n);
	return kc_cu_status();
}

extern "C" int planted_shared(int bytes, int ask, cudaStream_t stream)
{
	if (ask && cudaFuncSetAttribute(much_shared, cudaFuncAttributeMaxDynamicSharedMemorySize,
					bytes))
		return kc_cu_status();
	KC_LAUNCH_BLOCK(much_shared, 1, 32, bytes, stream, 0);
	return kc_cu_status();
}

extern "C" int planted_count(int *counts, const int *x, int n, cudaStream_t stream)
{
	KC_LAUNCH_BLOCK(count, 3, 64, 8 * sizeof(int), stream, counts, x, n);
	return kc_cu_status();
}
