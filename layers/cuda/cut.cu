/*
 * Squares cut out of frames and stored flows.  A tile of the result is read into shared memory in
 * the order in which it lies in the frame, sixteen aligned bytes at a time whatever the crop's
 * column, and written in rows of the result: both sides move whole lines in all eight symmetries.
 */
#include "layers/cuda/cut.h"
#include "layers/cuda/image_kernel.h"

/* ---- where a pixel comes from ---- */

struct square { int32_t x, y, symmetry; };

KC_DEVICE square square_of(const kc_cu_cut &a, int64_t image)
{
	const int32_t *t = a.table + image % a.samples * a.per_row;

	return {max(min(t[0], (int32_t)a.x.w - a.side), 0),
		max(min(t[a.per_column], (int32_t)a.x.h - a.side), 0), t[2 * a.per_column]};
}

/* Offset of what pixel (i, j) of the result shows. */
KC_DEVICE int64_t source(const kc_cu_cut &a, int64_t image, int32_t i, int32_t j)
{
	square s = square_of(a, image);
	int32_t row = s.symmetry & KC_CU_TRANSPOSE ? j : i;
	int32_t column = s.symmetry & KC_CU_TRANSPOSE ? i : j;

	row = s.symmetry & KC_CU_MIRROR_Y ? a.side - 1 - row : row;
	column = s.symmetry & KC_CU_MIRROR_X ? a.side - 1 - column : column;
	return kc_cu_pixel(a.x, image, s.y + row, s.x + column);
}

/* Component k of the vector as it is in the turned picture. */
KC_DEVICE float turned(int32_t both, int32_t symmetry, float unit, int k)
{
	int of = symmetry & KC_CU_TRANSPOSE ? !k : k;
	int32_t v = of ? both >> 16 : (int16_t)(both & 0xffff);

	return (symmetry & (of ? KC_CU_MIRROR_Y : KC_CU_MIRROR_X) ? -unit : unit) * (float)v;
}

/* ---- any strides: an element per thread ---- */

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) frames_any(KC_CONSTANT kc_cu_cut a)
{
	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<kc_single>(a.y, row);

		if (s.j >= a.y.w)
			break;
		((uint8_t *)a.y.data)[kc_cu_pixel(a.y, s.n, s.i, s.j) + s.c * a.y.sc] =
			((const uint8_t *)
				 a.x.data)[source(a, s.n, (int32_t)s.i, s.j) + s.c * a.x.sc];
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) flows_any(KC_CONSTANT kc_cu_cut a)
{
	KC_CU_ROWS(row, a.y) {
		kc_cu_spot s = kc_cu_spot_of<kc_single>(a.y, row);

		if (s.j >= a.y.w)
			break;
		int32_t both = ((const int32_t *)a.x.data)[source(a, s.n, (int32_t)s.i, s.j)];

		kc_cu_write(a.y.data, a.y.dtype,
			    kc_cu_pixel(a.y, s.n, s.i, s.j) + s.c * a.y.sc,
			    turned(both, square_of(a, s.n).symmetry, a.unit, s.c));
	}
}

/* ---- packed: a tile per block ---- */

enum { TILE = 64 };

/* Bytes of a pixel as it is stored, elements of one of the result, these in sixteen bytes. */
struct frames {
	typedef uint8_t element;
	enum { bytes = 3, elements = 3, width = 16, units = (TILE * bytes + 30) / 16 };
};

struct flows {
	typedef float element;
	enum { bytes = 4, elements = 2, width = 4, units = (TILE * bytes + 30) / 16 };
};

/* The part of a frame that a tile shows, i0, j0 its first pixel in the result. */
struct part {
	int64_t first;                  /* its first byte, counted from the first frame's */
	int32_t rows, columns, symmetry;
	int32_t tall, wide;             /* the tile */
	uint32_t lead, step;            /* low bits of the address of its row r: lead + r step */
};

template <class P>
KC_DEVICE part part_of(const kc_cu_cut &a, int64_t image, int32_t i0, int32_t j0)
{
	square s = square_of(a, image);
	bool turn = s.symmetry & KC_CU_TRANSPOSE;
	int32_t tall = min(a.side - i0, (int32_t)TILE), wide = min(a.side - j0, (int32_t)TILE);
	int32_t rows = turn ? wide : tall, columns = turn ? tall : wide;
	int32_t row = turn ? j0 : i0, column = turn ? i0 : j0;

	row = s.y + (s.symmetry & KC_CU_MIRROR_Y ? a.side - row - rows : row);
	column = s.x + (s.symmetry & KC_CU_MIRROR_X ? a.side - column - columns : column);
	int64_t first = ((image * a.x.h + row) * a.x.w + column) * P::bytes;

	return {first, rows, columns, s.symmetry, tall, wide,
		(uint32_t)((uintptr_t)a.x.data + (uint64_t)first),
		(uint32_t)(a.x.w * P::bytes)};
}

/* Row r of shared memory has the sixteen-byte units of memory that row r of the part lies in. */
template <class P>
KC_DEVICE void read_part(const kc_cu_cut &a, const part &p, uint4 *shared)
{
	uintptr_t begin = (uintptr_t)a.x.data;
	uintptr_t end = begin + (uintptr_t)(a.x.n * a.x.h * a.x.w * P::bytes);

	for (int k = threadIdx.x; k < p.rows * P::units; k += blockDim.x) {
		int r = k / P::units;
		uintptr_t line = begin + (uintptr_t)(p.first + r * a.x.w * P::bytes);
		uintptr_t unit = (line & ~(uintptr_t)15) + 16 * (k - r * P::units);

		if (unit >= line + p.columns * P::bytes)
			continue;
		if (unit >= begin && unit + 16 <= end)
			shared[k] = *(const uint4 *)unit;
		else
#pragma unroll 1
			for (int b = 0; b < 16; b++)
				if (unit + b >= begin && unit + b < end)
					((uint8_t *)&shared[k])[b] = ((const uint8_t *)unit)[b];
	}
}

/* Where pixel (i, j) of the tile begins in shared memory. */
template <class P>
KC_DEVICE int32_t place(const part &p, int32_t i, int32_t j)
{
	int32_t r = p.symmetry & KC_CU_TRANSPOSE ? j : i, c = p.symmetry & KC_CU_TRANSPOSE ? i : j;

	r = p.symmetry & KC_CU_MIRROR_Y ? p.rows - 1 - r : r;
	c = p.symmetry & KC_CU_MIRROR_X ? p.columns - 1 - c : c;
	return r * 16 * P::units + (int32_t)((p.lead + r * p.step) & 15) + c * P::bytes;
}

/* Elements e and on of row i of the tile; behind its end any of it. */
KC_DEVICE void collect(const kc_cu_cut &, const part &p, const uint8_t *shared, int32_t i,
		       int32_t e, uint32_t (&v)[frames::width])
{
#pragma unroll
	for (int n = 0; n < frames::width; n++) {
		int32_t j = (e + n) / 3;

		v[n] = shared[place<frames>(p, i, min(j, p.wide - 1)) + e + n - 3 * j];
	}
}

KC_DEVICE void collect(const kc_cu_cut &a, const part &p, const uint8_t *shared, int32_t i,
		       int32_t e, float (&v)[flows::width])
{
#pragma unroll
	for (int n = 0; n < flows::width; n++) {
		int32_t at = place<flows>(p, i, min(e / 2 + n / 2, p.wide - 1));

		v[n] = turned(*(const int32_t *)(shared + at), p.symmetry, a.unit, n % 2);
	}
}

KC_DEVICE void store(uint8_t *to, const uint32_t (&v)[frames::width])
{
	uint32_t w[4] = {};

#pragma unroll
	for (int n = 0; n < frames::width; n++)
		w[n / 4] |= v[n] << n % 4 * 8;
	*(uint4 *)to = make_uint4(w[0], w[1], w[2], w[3]);
}

KC_DEVICE void store(float *to, const float (&v)[flows::width])
{
	*(float4 *)to = make_float4(v[0], v[1], v[2], v[3]);
}

template <class P, class V>
KC_DEVICE void write_tile(const kc_cu_cut &a, const part &p, const uint4 *shared, int64_t first)
{
	enum { per_row = TILE * P::elements / P::width };
	int32_t size = p.wide * P::elements;

	for (int k = threadIdx.x; k < p.tall * per_row; k += blockDim.x) {
		int32_t i = k / per_row, e = (k - i * per_row) * P::width;
		int64_t pixel = first + (int64_t)i * a.side;
		typename P::element *to =
			(typename P::element *)a.y.data + (pixel * P::elements + e);
		V v[P::width];

		if (e >= size)
			continue;
		collect(a, p, (const uint8_t *)shared, i, e, v);
		if (a.aligned) {
			store(to, v);
			continue;
		}
#pragma unroll
		for (int n = 0; n < P::width; n++)
			if (e + n < size)
				to[n] = (typename P::element)v[n];
	}
}

template <class P, class V>
KC_KERNEL void KC_BOUNDS_FOR(KC_CU_THREADS, 4) tiles(KC_CONSTANT kc_cu_cut a)
{
	KC_SHARED(uint4, shared, [TILE * P::units]);
	int32_t across = (a.side + TILE - 1) / TILE;
	int32_t i0 = (int32_t)blockIdx.x / across * TILE, j0 = (int32_t)blockIdx.x % across * TILE;

	for (int64_t image = blockIdx.y; image < a.y.n; image += gridDim.y) {
		part p = part_of<P>(a, image, i0, j0);

		read_part<P>(a, p, shared);
		__syncthreads();
		write_tile<P, V>(a, p, shared, (image * a.side + i0) * a.side + j0);
		__syncthreads();
	}
}

static dim3 tiles_grid(const struct kc_cu_cut *a)
{
	unsigned across = (unsigned)(a->side + TILE - 1) / TILE;

	return dim3(across * across, (unsigned)(a->y.n < 65535 ? a->y.n : 65535));
}

extern "C" int kc_cu_cut_frames(const struct kc_cu_cut *a, cudaStream_t stream)
{
	if (a->packed)
		KC_LAUNCH_BLOCK((tiles<frames, uint32_t>), tiles_grid(a), dim3(KC_CU_THREADS), 0,
				stream, *a);
	else
		KC_LAUNCH(frames_any, kc_cu_image_grid(&a->y, KC_CU_ANY),
			  kc_cu_image_threads(&a->y, KC_CU_ANY), 0, stream, *a);
	return kc_cu_status();
}

extern "C" int kc_cu_cut_flows(const struct kc_cu_cut *a, cudaStream_t stream)
{
	if (a->packed)
		KC_LAUNCH_BLOCK((tiles<flows, float>), tiles_grid(a), dim3(KC_CU_THREADS), 0,
				stream, *a);
	else
		KC_LAUNCH(flows_any, kc_cu_image_grid(&a->y, KC_CU_ANY),
			  kc_cu_image_threads(&a->y, KC_CU_ANY), 0, stream, *a);
	return kc_cu_status();
}
