#include "layers/cuda/sample.h"
#include "layers/cuda/sums_kernel.h"

/* Neighbours along an axis; -1: outside. */
struct pair { int32_t at[2]; float weight[2]; };

KC_DEVICE int32_t neighbour(float at, float last, bool border)
{
	if (border)
		return (int32_t)fminf(fmaxf(at, 0), last);
	return at >= 0 && at <= last ? (int32_t)at : -1;
}

/*
 * Of a position that counts from `own`: its whole part is added to an integer, so that the
 * fraction keeps all its bits however large the image is.
 */
KC_DEVICE pair neighbours(float position, int64_t own, int64_t size, bool border, bool derivative)
{
	float whole = floorf(position), part = position - whole, last = (float)(size - 1);
	float left = whole + (float)own;

	return {{neighbour(left, last, border), neighbour(left + 1, last, border)},
		{derivative ? -1 : 1 - part, derivative ? 1 : part}};
}

struct corners { pair x, y; };

KC_DEVICE corners corners_of(const kc_cu_sample &a, const kc_cu_spot &s)
{
	int64_t from = kc_cu_pixel(a.at, s.n, s.i, s.j);
	float x = kc_cu_read(a.at.data, a.at.dtype, from);
	float y = kc_cu_read(a.at.data, a.at.dtype, from + a.at.sc);

	return {neighbours(x, a.relative ? s.j : 0, a.image.w, a.border, a.dx),
		neighbours(y, a.relative ? s.i : 0, a.image.h, a.border, a.dy)};
}

template <class A>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) sample(KC_CONSTANT kc_cu_sample a)
{
	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<A>(a.y, row);
		float sum[A::width] = {}, v[A::width];

		if (s.j >= a.y.w)
			break;
		corners k = corners_of(a, s);
#pragma unroll
		for (int q = 0; q < 4; q++) {
			float weight = k.x.weight[q & 1] * k.y.weight[q >> 1];
			int32_t i = k.y.at[q >> 1], j = k.x.at[q & 1];

			if (i < 0 || j < 0)
				continue;
			A::load(a.image, kc_cu_pixel(a.image, s.n, i, j) + s.c * a.image.sc, v);
#pragma unroll
			for (int c = 0; c < A::width; c++)
				sum[c] += weight * v[c];
		}
		A::store(a.y, kc_cu_pixel(a.y, s.n, s.i, s.j) + s.c * a.y.sc, sum);
	}
}

extern "C" int kc_cu_sample_run(const struct kc_cu_sample *a, enum kc_cu_access access,
				cudaStream_t stream)
{
	KC_CU_LAUNCH_IMAGE(sample, access, &a->y, stream, *a);
	return kc_cu_status();
}

/* Neighbouring threads have neighbouring channels, so their additions meet in few lines. */
template <class A>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	sample_back(KC_CONSTANT kc_cu_sample a, KC_CONSTANT kc_cu_sums sums)
{
	double scale = kc_cu_sums_scale(sums);

	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<A>(a.y, row);
		float v[A::width];

		if (s.j >= a.y.w)
			break;
		corners k = corners_of(a, s);
		A::load(a.y, kc_cu_pixel(a.y, s.n, s.i, s.j) + s.c * a.y.sc, v);
#pragma unroll
		for (int q = 0; q < 4; q++) {
			float weight = k.x.weight[q & 1] * k.y.weight[q >> 1];
			int32_t i = k.y.at[q >> 1], j = k.x.at[q & 1];

			if (i >= 0 && j >= 0)
				kc_cu_sums_add<A::width>(
					sums, scale,
					((s.n * a.image.h + i) * a.image.w + j) * a.image.c + s.c,
					weight, v);
		}
	}
}

extern "C" int kc_cu_sample_back_run(const struct kc_cu_sample *a, const struct kc_cu_sums *sums,
				     enum kc_cu_access access, cudaStream_t stream)
{
	KC_CU_LAUNCH_IMAGE(sample_back, access, &a->y, stream, *a, *sums);
	return kc_cu_status();
}
