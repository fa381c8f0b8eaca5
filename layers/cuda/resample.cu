/*
 * Resizing, average pooling and their transposes.  Either direction gathers, so no order of
 * threads changes a sum.  Neighbouring outputs read the same few inputs, which the caches hold.
 */
#include "layers/cuda/image_kernel.h"
#include "layers/cuda/resample.h"

KC_DEVICE float tap_weight(const kc_cu_taps &t, int k)
{
	return t.count == 2 && k ? t.weight[1] : t.weight[0];
}

/* Sums of rows, then their sum: windows may be whole images. */
template <class A>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) resample(KC_CONSTANT kc_cu_resample a)
{
	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<A>(a.y, row);
		float sum[A::width] = {};

		if (s.j >= a.y.w)
			break;
		kc_cu_taps ty = a.rows[s.i], tx = a.columns[s.j];
		for (int p = 0; p < ty.count; p++) {
			int64_t at = kc_cu_pixel(a.x, s.n, ty.first + p, tx.first) + s.c * a.x.sc;
			float line[A::width] = {}, v[A::width], w = tap_weight(ty, p);

#pragma unroll 2
			for (int q = 0; q < tx.count; q++, at += a.x.sw) {
				float u = tap_weight(tx, q);

				A::load(a.x, at, v);
#pragma unroll
				for (int k = 0; k < A::width; k++)
					line[k] += u * v[k];
			}
#pragma unroll
			for (int k = 0; k < A::width; k++)
				sum[k] += w * line[k];
		}
		A::store(a.y, kc_cu_pixel(a.y, s.n, s.i, s.j) + s.c * a.y.sc, sum);
	}
}

template <class A>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) resample_back(KC_CONSTANT kc_cu_resample a)
{
	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<A>(a.y, row);
		float sum[A::width] = {};

		if (s.j >= a.y.w)
			break;
		kc_cu_readers ry = a.row_readers[s.i], rx = a.column_readers[s.j];
		for (int p = ry.first; p < ry.end; p++) {
			int64_t at = kc_cu_pixel(a.x, s.n, p, rx.first) + s.c * a.x.sc;
			float w = tap_weight(a.rows[p], (int)s.i - a.rows[p].first), v[A::width];
			float line[A::width] = {};

			for (int q = rx.first; q < rx.end; q++, at += a.x.sw) {
				float u = tap_weight(a.columns[q], s.j - a.columns[q].first);

				A::load(a.x, at, v);
#pragma unroll
				for (int k = 0; k < A::width; k++)
					line[k] += u * v[k];
			}
#pragma unroll
			for (int k = 0; k < A::width; k++)
				sum[k] += w * line[k];
		}
		A::store(a.y, kc_cu_pixel(a.y, s.n, s.i, s.j) + s.c * a.y.sc, sum);
	}
}

extern "C" int kc_cu_resample_run(const struct kc_cu_resample *a, enum kc_cu_access access,
				  cudaStream_t stream)
{
	KC_CU_LAUNCH_IMAGE(resample, access, &a->y, stream, *a);
	return kc_cu_status();
}

extern "C" int kc_cu_resample_back_run(const struct kc_cu_resample *a, enum kc_cu_access access,
				       cudaStream_t stream)
{
	KC_CU_LAUNCH_IMAGE(resample_back, access, &a->y, stream, *a);
	return kc_cu_status();
}
