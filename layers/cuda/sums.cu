#include "layers/cuda/sums_kernel.h"

enum { INFINITE = 0x7f800000 };

/* The bits of magnitudes are ordered as they are, NaN above all: no order of threads matters. */
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) find_most(KC_CONSTANT kc_image_view x, uint32_t *most)
{
	uint32_t mine = 0;

	KC_CU_ROWS(row, x) {
		kc_cu_spot s = kc_cu_spot_of<kc_single>(x, row);
		float v;

		if (s.j >= x.w)
			break;
		kc_single::load(x, kc_cu_pixel(x, s.n, s.i, s.j) + s.c * x.sc, &v);
		mine = max(mine, __float_as_uint(v) & 0x7fffffffu);
	}
	for (int by = 16; by; by /= 2)
		mine = max(mine, __shfl_xor_sync(0xffffffffu, mine, by));
	if (threadIdx.x % 32 == 0)
		atomicMax(most, mine);
}

extern "C" int kc_cu_sums_most(const struct kc_image_view *x, uint32_t *most, cudaStream_t stream)
{
	dim3 grid = kc_cu_image_grid(x, KC_CU_ANY);

	/* Few blocks: every warp of them ends with an addition to one and the same word. */
	grid.y = min(grid.y, max(1u, KC_CU_BLOCKS / grid.x));
	KC_LAUNCH_BLOCK(find_most, grid, kc_cu_image_threads(x, KC_CU_ANY), 0, stream, *x, most);
	return kc_cu_status();
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) store(KC_CONSTANT kc_cu_sums a, KC_CONSTANT kc_image_view y)
{
	double step = 1 / kc_cu_sums_scale(a);

	KC_CU_ROWS(row, y) {
		kc_cu_spot s = kc_cu_spot_of<kc_single>(y, row);
		int64_t from = (row * y.w + s.j) * y.c + s.c;
		float v;

		if (s.j >= y.w)
			break;
		if (!a.most)
			v = ((const float *)a.sum)[from];
		else if (*a.most >= INFINITE)
			v = __uint_as_float(0x7fc00000u);
		else
			v = (float)((double)((const long long *)a.sum)[from] * step);
		kc_single::store(y, kc_cu_pixel(y, s.n, s.i, s.j) + s.c * y.sc, &v);
	}
}

extern "C" int kc_cu_sums_store(const struct kc_cu_sums *a, const struct kc_image_view *y,
				cudaStream_t stream)
{
	KC_LAUNCH(store, kc_cu_image_grid(y, KC_CU_ANY), kc_cu_image_threads(y, KC_CU_ANY), 0,
		  stream, *a, *y);
	return kc_cu_status();
}
