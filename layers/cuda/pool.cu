#include "layers/cuda/pool.h"
#include "layers/cuda/sums_kernel.h"

KC_DEVICE int64_t spot_at(const kc_image_view &x, const kc_cu_spot &s)
{
	return kc_cu_pixel(x, s.n, s.i, s.j) + s.c * x.sc;
}

/* The first of the largest; NaN counts as the largest, so that it is seen. */
template <class A>
KC_DEVICE void keep_max(float *best, int32_t *place, const float *v, int32_t at, bool first)
{
#pragma unroll
	for (int k = 0; k < A::width; k++)
		if (first || v[k] > best[k] || (v[k] != v[k] && best[k] == best[k])) {
			best[k] = v[k];
			place[k] = at;
		}
}

template <class A>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) max_pool(KC_CONSTANT kc_cu_pool a)
{
	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<A>(a.y, row);
		int32_t top = (int32_t)s.i * a.stride - a.pad, left = s.j * a.stride - a.pad;
		int32_t bottom = min(top + a.k, (int32_t)a.x.h);
		int32_t right = min(left + a.k, (int32_t)a.x.w), place[A::width] = {};
		float best[A::width] = {}, v[A::width];
		bool first = true;

		if (s.j >= a.y.w)
			break;
		for (int32_t i = max(top, 0); i < bottom; i++)
			for (int32_t j = max(left, 0); j < right; j++) {
				A::load(a.x, kc_cu_pixel(a.x, s.n, i, j) + s.c * a.x.sc, v);
				keep_max<A>(best, place, v, i * (int32_t)a.x.w + j, first);
				first = false;
			}
		A::store(a.y, spot_at(a.y, s), best);
#pragma unroll
		for (int k = 0; k < A::width; k++)
			((int32_t *)a.place.data)[spot_at(a.place, s) + k * a.place.sc] = place[k];
	}
}

extern "C" int kc_cu_max_pool(const struct kc_cu_pool *a, enum kc_cu_access access,
			      cudaStream_t stream)
{
	KC_CU_LAUNCH_IMAGE(max_pool, access, &a->y, stream, *a);
	return kc_cu_status();
}

/* ---- moves within planes ---- */

KC_DEVICE int32_t place_of(const kc_image_view &place, const kc_cu_spot &s)
{
	return ((const int32_t *)place.data)[spot_at(place, s)];
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	plane_take(KC_CONSTANT kc_image_view x, KC_CONSTANT kc_image_view place,
		   KC_CONSTANT kc_image_view y)
{
	KC_CU_ROWS(row, y) {
		kc_cu_spot s = kc_cu_spot_of<kc_single>(y, row);
		int32_t p, w = (int32_t)x.w;
		float v;

		if (s.j >= y.w)
			break;
		p = place_of(place, s);
		kc_single::load(x, kc_cu_pixel(x, s.n, p / w, p % w) + s.c * x.sc, &v);
		kc_single::store(y, spot_at(y, s), &v);
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	plane_put(KC_CONSTANT kc_image_view x, KC_CONSTANT kc_image_view place,
		  KC_CONSTANT kc_image_view y, KC_CONSTANT kc_cu_sums sums)
{
	double scale = kc_cu_sums_scale(sums);

	KC_CU_ROWS(row, x) {
		kc_cu_spot s = kc_cu_spot_of<kc_single>(x, row);
		float v;

		if (s.j >= x.w)
			break;
		kc_single::load(x, spot_at(x, s), &v);
		kc_cu_sums_add(sums, scale, (s.n * y.h * y.w + place_of(place, s)) * y.c + s.c, v);
	}
}

extern "C" int kc_cu_plane_take(const struct kc_image_view *x, const struct kc_image_view *place,
				const struct kc_image_view *y, cudaStream_t stream)
{
	KC_LAUNCH(plane_take, kc_cu_image_grid(y, KC_CU_ANY), kc_cu_image_threads(y, KC_CU_ANY), 0,
		  stream, *x, *place, *y);
	return kc_cu_status();
}

extern "C" int kc_cu_plane_put(const struct kc_image_view *x, const struct kc_image_view *place,
			       const struct kc_image_view *y, const struct kc_cu_sums *sums,
			       cudaStream_t stream)
{
	KC_LAUNCH(plane_put, kc_cu_image_grid(x, KC_CU_ANY), kc_cu_image_threads(x, KC_CU_ANY), 0,
		  stream, *x, *place, *y, *sums);
	return kc_cu_status();
}
