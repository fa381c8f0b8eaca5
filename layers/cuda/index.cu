#include "layers/cuda/index.h"
#include "layers/cuda/kernel.h"

/* ---- whole entries: blocks (.., y) have an entry of the output each ---- */

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) gather(KC_CONSTANT kc_cu_entries a)
{
	for (int64_t i = blockIdx.y; i < a.y_count; i += gridDim.y) {
		int64_t k = a.index[i * a.index_stride];

		KC_GRID_LOOP(e, a.n) {
			int64_t to = i * a.y_stride + kc_cu_at(a.y, e);

			if (k >= 0 && k < a.x_count)
				kc_cu_copy(a.y, to, a.x, k * a.x_stride + kc_cu_at(a.x, e));
			else
				kc_cu_write(a.y.data, a.y.dtype, to, 0);
		}
	}
}

/* Every element of an entry goes through the indices in their order: few, and cached. */
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) scatter(KC_CONSTANT kc_cu_entries a)
{
	for (int64_t k = blockIdx.y; k < a.y_count; k += gridDim.y)
		KC_GRID_LOOP(e, a.n) {
			int64_t from = kc_cu_at(a.x, e);
			float sum = 0;

			for (int64_t i = 0; i < a.x_count; i++)
				if (a.index[i * a.index_stride] == k)
					sum += kc_cu_get(a.x, i * a.x_stride + from);
			kc_cu_write(a.y.data, a.y.dtype, k * a.y_stride + kc_cu_at(a.y, e), sum);
		}
}

static dim3 entries_grid(const struct kc_cu_entries *a)
{
	return dim3(kc_cu_blocks(a->n), (unsigned)(a->y_count < 65535 ? a->y_count : 65535));
}

extern "C" int kc_cu_gather(const struct kc_cu_entries *a, cudaStream_t stream)
{
	KC_LAUNCH(gather, entries_grid(a), dim3(KC_CU_THREADS), 0, stream, *a);
	return kc_cu_status();
}

extern "C" int kc_cu_scatter(const struct kc_cu_entries *a, cudaStream_t stream)
{
	KC_LAUNCH(scatter, entries_grid(a), dim3(KC_CU_THREADS), 0, stream, *a);
	return kc_cu_status();
}

/* ---- elements of an axis ---- */

KC_DEVICE int64_t index_at(const kc_view &index, int64_t i)
{
	return ((const int32_t *)index.data)[kc_cu_at(index, i)];
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) take(KC_CONSTANT kc_cu_places a)
{
	KC_GRID_LOOP(i, a.n) {
		int64_t k = index_at(a.index, i), to = kc_cu_at(a.y, i);

		if (k >= 0 && k < a.size)
			kc_cu_copy(a.y, to, a.x, kc_cu_at(a.x, i) + k * a.stride);
		else
			kc_cu_write(a.y.data, a.y.dtype, to, 0);
	}
}

/* The axis is the faster counter where it lies so. */
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) put(KC_CONSTANT kc_cu_places a)
{
	KC_GRID_LOOP(e, a.n * a.size) {
		int64_t i = a.stride == 1 ? e / a.size : e % a.n;
		int64_t j = a.stride == 1 ? e % a.size : e / a.n;

		kc_cu_write(a.y.data, a.y.dtype, kc_cu_at(a.y, i) + j * a.stride,
			    index_at(a.index, i) == j ? kc_cu_get(a.x, kc_cu_at(a.x, i)) : 0);
	}
}

extern "C" int kc_cu_take(const struct kc_cu_places *a, cudaStream_t stream)
{
	KC_LAUNCH(take, dim3(kc_cu_blocks(a->n)), dim3(KC_CU_THREADS), 0, stream, *a);
	return kc_cu_status();
}

extern "C" int kc_cu_put(const struct kc_cu_places *a, cudaStream_t stream)
{
	KC_LAUNCH(put, dim3(kc_cu_blocks(a->n * a->size)), dim3(KC_CU_THREADS), 0, stream, *a);
	return kc_cu_status();
}
