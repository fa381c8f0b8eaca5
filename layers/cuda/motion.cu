/*
 * Correlation.  Columns of an image that are a multiple of the step apart are numbered u; what
 * they share with other columns is a band: u meets u + k.  So a step of 2 is two problems with a
 * step of 1, with nothing computed in vain.
 */
#include "layers/cuda/image_kernel.h"
#include "layers/cuda/motion.h"

struct alignas(16) quad { float v[4]; };

/*
 * ---- correlation: a block has UT columns of a row, and all or many of the displacements.
 * Eight channels at a time, as float32, are in shared memory: the row of a, and the rows of b at
 * the block's vertical displacements.  A thread multiplies 4 columns with KT displacements, so
 * 4 + KT + 3 reads of 16 bytes make 16 KT multiplications. ----
 */

enum { CHANNELS = 8, PITCH = CHANNELS + 4 };    /* of a pixel in shared memory; in floats */

/* Channels c0.. of the pixels of both tiles. */
template <class A, int UT>
KC_DEVICE void load_tiles(const kc_cu_correlation &p, float *tile, int columns, int64_t n, int i,
			  int u0, int k0, int line0, int residue, int c0)
{
	int packs = CHANNELS / A::width, count = (UT + p.lines * columns) * packs;

	for (int t = threadIdx.x; t < count; t += blockDim.x) {
		int at = t / packs, c = c0 + t % packs * A::width, line = (at - UT) / columns;
		bool first = at < UT;
		const kc_image_view &x = first ? p.a : p.b;
		int row = first ? i : i + (line0 + line) * p.step;
		int u = first ? u0 + at : u0 + k0 + (at - UT) % columns;
		int column = u * p.step + residue;
		float v[A::width] = {};

		if (row >= 0 && row < x.h && column >= 0 && column < x.w && c < x.c)
			A::load(x, kc_cu_pixel(x, n, row, column) + c * x.sc, v);
#pragma unroll
		for (int k = 0; k < A::width; k++)
			tile[at * PITCH + c - c0 + k] = v[k];
	}
}

template <int KT>
KC_DEVICE void multiply(const float *a, const float *b, float (&sum)[4][KT])
{
#pragma unroll
	for (int c = 0; c < CHANNELS; c += 4) {
		quad x[4];

#pragma unroll
		for (int m = 0; m < 4; m++)
			x[m] = *(const quad *)(a + m * PITCH + c);
#pragma unroll
		for (int v = 0; v < KT + 3; v++) {
			quad y = *(const quad *)(b + v * PITCH + c);

#pragma unroll
			for (int m = 0; m < 4; m++)
				if (v - m >= 0 && v - m < KT)
#pragma unroll
					for (int q = 0; q < 4; q++)
						sum[m][v - m] += x[m].v[q] * y.v[q];
		}
	}
}

/* The finished tile, [column][line][displacement], in the order of y's channels. */
template <int UT>
KC_DEVICE void store_tile(const kc_cu_correlation &p, const float *tile, int wide, int64_t n, int i,
			  int u0, int k0, int line0, int residue)
{
	float scale = 1 / (float)p.a.c;

	for (int t = threadIdx.x; t < UT * p.lines * wide; t += blockDim.x) {
		int k = t % wide + k0 + p.half, line = t / wide % p.lines + line0 + p.half;
		int column = (u0 + t / (wide * p.lines)) * p.step + residue;

		if (k < p.side && line < p.side && column < p.y.w)
			kc_cu_write(p.y.data, p.y.dtype, kc_cu_pixel(p.y, n, i, column) +
				    (line * p.side + k) * p.y.sc, scale * tile[t]);
	}
}

template <class A, int KT, int UG>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) correlate(KC_CONSTANT kc_cu_correlation p)
{
	enum { UT = 4 * UG };
	KC_SHARED_BYTES(bytes);
	float *tile = (float *)bytes;
	int wide = p.groups * KT, columns = UT + wide - 1, k_tiles = (p.side + wide - 1) / wide;
	int u = threadIdx.x % UG * 4, group = threadIdx.x / UG % p.groups;
	int line = threadIdx.x / (UG * p.groups), which = blockIdx.x;
	int k0 = which % k_tiles * wide - p.half, residue = which / k_tiles % p.step;
	int u0 = which / (k_tiles * p.step) * UT, line0 = blockIdx.z * p.lines - p.half;

	KC_CU_ROWS(row, p.a) {
		int64_t n = row / p.a.h;
		int i = (int)(row % p.a.h);
		float sum[4][KT] = {};

		for (int c = 0; c < p.a.c; c += CHANNELS) {
			__syncthreads();
			load_tiles<A, UT>(p, tile, columns, n, i, u0, k0, line0, residue, c);
			__syncthreads();
			multiply<KT>(tile + u * PITCH,
				     tile + (UT + line * columns + u + group * KT) * PITCH, sum);
		}
		__syncthreads();
#pragma unroll
		for (int m = 0; m < 4; m++)
#pragma unroll
			for (int k = 0; k < KT; k++)
				tile[((u + m) * p.lines + line) * wide + group * KT + k] =
					sum[m][k];
		__syncthreads();
		store_tile<UT>(p, tile, wide, n, i, u0, k0, line0, residue);
	}
}

static int up(int n, int by)
{
	return (n + by - 1) / by;
}

/* Blocks of about 256 threads within 48 KB. */
template <class A, int KT, int UG>
static int correlate_by(struct kc_cu_correlation p, cudaStream_t stream)
{
	enum { UT = 4 * UG, GROUPS = 3, ROOM = 48 << 10 };
	int columns, rows = (int)(p.a.n * p.a.h < 65535 ? p.a.n * p.a.h : 65535), tiles;

	p.groups = up(p.side, KT) < GROUPS ? up(p.side, KT) : GROUPS;
	columns = UT + p.groups * KT - 1;
	p.lines = KC_CU_THREADS / (UG * p.groups);
	if (p.lines > (ROOM / (PITCH * 4) - UT) / columns)
		p.lines = (ROOM / (PITCH * 4) - UT) / columns;
	if (p.lines > p.side)
		p.lines = p.side;
	tiles = up(up((int)p.a.w, p.step), UT) * p.step * up(p.side, p.groups * KT);
	KC_LAUNCH_BLOCK((correlate<A, KT, UG>),
			dim3((unsigned)tiles, (unsigned)rows, (unsigned)up(p.side, p.lines)),
			dim3((unsigned)(UG * p.groups * p.lines)),
			(size_t)(UT + p.lines * columns) * PITCH * sizeof(float), stream, p);
	return kc_cu_status();
}

/* 441 displacements are 3 x 7 by 21, 81 are 9 by 9. */
template <class A>
static int correlate_with(const struct kc_cu_correlation *p, cudaStream_t stream)
{
	if (p->side > 9)
		return correlate_by<A, 7, 4>(*p, stream);
	return correlate_by<A, 9, 8>(*p, stream);
}

extern "C" int kc_cu_correlation_run(const struct kc_cu_correlation *p, enum kc_cu_access access,
				     cudaStream_t stream)
{
	switch (access) {
	case KC_CU_F32: return correlate_with<kc_packs<float>>(p, stream);
	case KC_CU_BF16: return correlate_with<kc_packs<kc_bf16>>(p, stream);
	default: return correlate_with<kc_single>(p, stream);
	}
}

/*
 * ---- its parts: y(u, c) = sum over k of g(k, u) x(u + k, c).  A warp has 8 columns u and 4
 * channels per lane; it walks over the columns v of x, each of which is read once and
 * multiplied with the 8 weights g(v - u, u), which lie beside each other in shared memory. ----
 */

enum { COLUMNS = 8, MOST = 32, WARPS = 4, LANE_CHANNELS = 4 };

template <class T>
struct quad_dense {
	KC_DEVICE void load(const kc_image_view &x, int64_t at, int, float *v)
	{
		struct alignas(4 * sizeof(T)) four { T v[4]; };
		four q = *(const four *)((const T *)x.data + at);

#pragma unroll
		for (int k = 0; k < 4; k++)
			v[k] = kc_cu_load(&q.v[k]);
	}

	KC_DEVICE void store(const kc_image_view &x, int64_t at, int, const float *v)
	{
		struct alignas(4 * sizeof(T)) four { T v[4]; };
		four q;

#pragma unroll
		for (int k = 0; k < 4; k++)
			kc_cu_store(&q.v[k], v[k]);
		*(four *)((T *)x.data + at) = q;
	}
};

/* left: channels that there are, 4 at most. */
struct quad_single {
	KC_DEVICE void load(const kc_image_view &x, int64_t at, int left, float *v)
	{
#pragma unroll
		for (int k = 0; k < 4; k++)
			v[k] = k < left ? kc_cu_read(x.data, x.dtype, at + k * x.sc) : 0;
	}

	KC_DEVICE void store(const kc_image_view &x, int64_t at, int left, const float *v)
	{
#pragma unroll
		for (int k = 0; k < 4; k++)
			if (k < left)
				kc_cu_write(x.data, x.dtype, at + k * x.sc, v[k]);
	}
};

/* Where column v of a stretch of displacements k0 .. k0 + count - 1 is, among the u. */
KC_DEVICE int column_of(const kc_cu_correlation &p, int u0, int k0, int count, int v)
{
	return p.sign > 0 ? u0 + k0 - p.half + v : u0 - (k0 - p.half) - (count - 1) + v;
}

/* Weight of column v for column u; 0 where the band or the image ends. */
KC_DEVICE float weight_of(const kc_cu_correlation &p, int64_t n, int i, int u0, int residue,
			  int line, int k0, int count, int v, int u)
{
	int k = p.sign > 0 ? v - u : u + count - 1 - v;
	int row = p.sign > 0 ? i : i - (line - p.half) * p.step;
	int column = (p.sign > 0 ? u0 + u : column_of(p, u0, k0, count, v)) * p.step + residue;

	if (k < 0 || k >= count || column < 0 || column >= p.a.w)
		return 0;
	return kc_cu_read(p.a.data, p.a.dtype, kc_cu_pixel(p.a, n, row, column) +
			  (line * p.side + k0 + k) * p.a.sc);
}

template <class Q>
KC_DEVICE void add_stretch(const kc_cu_correlation &p, float *weight, int64_t n, int i, int u0,
			   int residue, int line, int k0, int c, float (&sum)[COLUMNS][4])
{
	int count = min(p.side - k0, (int)MOST), lane = threadIdx.x % 32;
	int row = i + p.sign * (line - p.half) * p.step, left = min((int)p.b.c - c, 4);

	if (row < 0 || row >= p.b.h)
		return;
	__syncwarp(0xffffffffu);
	for (int t = lane; t < (COLUMNS + count - 1) * COLUMNS; t += 32)
		weight[t] = weight_of(p, n, i, u0, residue, line, k0, count, t / COLUMNS,
				      t % COLUMNS);
	__syncwarp(0xffffffffu);
	for (int v = 0; v < COLUMNS + count - 1; v++) {
		int column = column_of(p, u0, k0, count, v) * p.step + residue;
		float x[4];

		if (column < 0 || column >= p.b.w || left <= 0)
			continue;
		Q::load(p.b, kc_cu_pixel(p.b, n, row, column) + c * p.b.sc, left, x);
#pragma unroll
		for (int u = 0; u < COLUMNS; u++)
#pragma unroll
			for (int q = 0; q < 4; q++)
				sum[u][q] += weight[v * COLUMNS + u] * x[q];
	}
}

template <class Q>
KC_KERNEL void KC_BOUNDS(WARPS * 32) correlation_part(KC_CONSTANT kc_cu_correlation p)
{
	KC_SHARED(float, weights, [WARPS][(COLUMNS + MOST) * COLUMNS]);
	int warp = threadIdx.x / 32, which = (int)(blockIdx.x * WARPS) + warp;
	int residue = which % p.step, u0 = which / p.step * COLUMNS;
	int c = ((int)blockIdx.z * 32 + (int)threadIdx.x % 32) * LANE_CHANNELS;
	float scale = 1 / (float)p.y.c;

	KC_CU_ROWS(row, p.y) {
		int64_t n = row / p.y.h;
		int i = (int)(row % p.y.h);
		float sum[COLUMNS][4] = {};

		for (int line = 0; line < p.side; line++)
			for (int k0 = 0; k0 < p.side; k0 += MOST)
				add_stretch<Q>(p, weights[warp], n, i, u0, residue, line, k0, c,
					       sum);
#pragma unroll
		for (int u = 0; u < COLUMNS; u++) {
			int column = (u0 + u) * p.step + residue;

#pragma unroll
			for (int q = 0; q < 4; q++)
				sum[u][q] *= scale;
			if (column < p.y.w && c < p.y.c)
				Q::store(p.y, kc_cu_pixel(p.y, n, i, column) + c * p.y.sc,
					 min((int)p.y.c - c, 4), sum[u]);
		}
	}
}

extern "C" int kc_cu_correlation_part(const struct kc_cu_correlation *p, enum kc_cu_access access,
				      cudaStream_t stream)
{
	int tiles = up(up((int)p->y.w, p->step), COLUMNS) * p->step;
	int64_t rows = p->y.n * p->y.h;
	dim3 grid((unsigned)up(tiles, WARPS), (unsigned)(rows < 65535 ? rows : 65535),
		  (unsigned)up((int)p->y.c, 32 * LANE_CHANNELS));

	if (access == KC_CU_F32)
		KC_LAUNCH_BLOCK(correlation_part<quad_dense<float>>, grid, dim3(WARPS * 32), 0,
				stream, *p);
	else if (access == KC_CU_BF16)
		KC_LAUNCH_BLOCK(correlation_part<quad_dense<kc_bf16>>, grid, dim3(WARPS * 32), 0,
				stream, *p);
	else
		KC_LAUNCH_BLOCK(correlation_part<quad_single>, grid, dim3(WARPS * 32), 0, stream,
				*p);
	return kc_cu_status();
}
