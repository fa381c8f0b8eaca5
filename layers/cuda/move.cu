/* Moving elements: copies of boxes, transpositions, and what neither of them can do. */
#include "layers/cuda/kernel.h"
#include "layers/cuda/move.h"

/* ---- boxes ---- */

struct place { int64_t to, from; };

KC_DEVICE place box_place(const kc_cu_box &b, uint32_t i)
{
	place p = {0, 0};

	for (int d = 0; d < b.nd - 1; d++) {
		uint32_t rest = kc_divide(i, &b.dim[d]), k = i - rest * b.dim[d].by;

		p.to += k * b.to_step[d];
		p.from += k * b.from_step[d];
		i = rest;
	}
	p.to += i * b.to_step[b.nd - 1];
	p.from += i * b.from_step[b.nd - 1];
	return p;
}

/* Where the units of block k begin. */
KC_DEVICE uint32_t share_of(const kc_cu_box &b, unsigned k)
{
	return (uint32_t)((uint64_t)b.n * k / gridDim.y);
}

/*
 * N units of a thread are on their way before the first of them is written.  The compiler could
 * not read ahead, as it cannot know that no write changes what is read next.
 */
template <class X, int N, class Read, class Write>
KC_DEVICE void move_all(const kc_cu_box &b, Read read, Write write)
{
	enum { STEP = KC_CU_THREADS };
	uint32_t end = share_of(b, blockIdx.y + 1);

	for (uint32_t i = share_of(b, blockIdx.y) + threadIdx.x; i < end; i += N * STEP) {
		int64_t to[N] = {};
		X x[N] = {};

#pragma unroll
		for (int k = 0; k < N; k++)
			if (i + k * STEP < end) {
				place p = box_place(b, i + k * STEP);

				to[k] = p.to;
				x[k] = read(p.from);
			}
#pragma unroll
		for (int k = 0; k < N; k++)
			if (i + k * STEP < end)
				write(to[k], x[k]);
	}
}

template <class U, int N>
KC_DEVICE void move_units(const kc_cu_box &b)
{
	const U *from = (const U *)b.from;

	move_all<U, N>(
		b, [=](int64_t at) { return from ? from[at] : U(); },
		[&](int64_t at, const U &x) { ((U *)b.to)[at] = x; });
}

/* V elements. */
template <class T, int V>
struct alignas(V * sizeof(T)) some { T v[V]; };

template <class To, class From, int V, int N>
KC_DEVICE void convert_units(const kc_cu_box &b)
{
	typedef some<From, V> unit;

	move_all<unit, N>(
		b, [&](int64_t at) { return ((const unit *)b.from)[at]; },
		[&](int64_t at, const unit &x) {
			some<To, V> y;

#pragma unroll
			for (int k = 0; k < V; k++)
				kc_cu_store(&y.v[k], kc_cu_load(&x.v[k]));
			((some<To, V> *)b.to)[at] = y;
		});
}

KC_DEVICE void move_any(const kc_cu_box &b)
{
	move_all<float, 4>(
		b, [&](int64_t at) { return kc_cu_read(b.from, b.from_type, at); },
		[&](int64_t at, float x) {
			kc_cu_write(b.to, b.to_type, at, (float)(b.scale * x));
		});
}

/*
 * Blocks (box, share).  Shares of the same number run at the same time: where boxes lie between
 * each other, as the channels of a concatenation do, they fill the same lines of memory while
 * these are in the cache.
 */
KC_KERNEL void KC_BOUNDS_FOR(KC_CU_THREADS, 4) move_boxes(KC_CONSTANT kc_cu_boxes all)
{
	const kc_cu_box &b = all.box[blockIdx.x];

	switch (b.kind) {
	case KC_BOX_1: move_units<uint8_t, 8>(b); break;
	case KC_BOX_2: move_units<uint16_t, 8>(b); break;
	case KC_BOX_4: move_units<uint32_t, 8>(b); break;
	case KC_BOX_8: move_units<uint64_t, 4>(b); break;
	case KC_BOX_16: move_units<kc_pack16<uint32_t>, 4>(b); break;
	case KC_BOX_NARROW: convert_units<kc_bf16, float, 1, 8>(b); break;
	case KC_BOX_WIDEN: convert_units<float, kc_bf16, 1, 8>(b); break;
	case KC_BOX_NARROW_4: convert_units<kc_bf16, float, 4, 4>(b); break;
	case KC_BOX_WIDEN_4: convert_units<float, kc_bf16, 4, 4>(b); break;
	default: move_any(b);
	}
}

/* As many as fill the device, though threads then have less to do at once. */
static int64_t blocks_of(const kc_cu_box *b)
{
	enum { FEW = 132 * 2 };
	bool large = b->kind == KC_BOX_8 || b->kind == KC_BOX_16 || b->kind >= KC_BOX_NARROW_4;
	int64_t one = (b->n + KC_CU_THREADS - 1) / KC_CU_THREADS, all = one / (large ? 4 : 8);

	return all >= FEW ? all : one < FEW ? one : (int64_t)FEW;
}

extern "C" int kc_cu_move(const struct kc_cu_boxes *boxes, int n, cudaStream_t stream)
{
	int64_t most = 0;

	for (int i = 0; i < n; i++)
		most = max(most, blocks_of(&boxes->box[i]));
	KC_LAUNCH(move_boxes, dim3((unsigned)n, (unsigned)min(most, (int64_t)KC_CU_BLOCKS)),
		  dim3(KC_CU_THREADS), 0, stream, *boxes);
	return kc_cu_status();
}

/* ---- transpositions: tiles through shared memory, so that both sides move whole lines ---- */

enum { TILE = 32, ROWS = 8 };

template <class U>
KC_KERNEL void KC_BOUNDS(TILE * ROWS) turn(KC_CONSTANT kc_cu_turn t)
{
	KC_SHARED(U, tile, [TILE][TILE + 1]);
	int64_t i0 = (int64_t)blockIdx.x * TILE, k0 = (int64_t)blockIdx.y * TILE;
	int x = threadIdx.x % TILE, y = threadIdx.x / TILE;

	for (int64_t plane = blockIdx.z; plane < t.planes; plane += gridDim.z) {
		uint32_t rest = (uint32_t)plane;
		U *to = (U *)t.to;
		const U *from = (const U *)t.from;

		for (int d = 0; d < t.nd; d++) {
			uint32_t k = rest % t.dim[d];

			rest /= t.dim[d];
			to += k * t.to_step[d];
			from += k * t.from_step[d];
		}
		for (int r = y; r < TILE; r += ROWS)
			if (i0 + r < t.n && k0 + x < t.m)
				tile[r][x] = from[(i0 + r) * t.from_row + k0 + x];
		__syncthreads();
		for (int r = y; r < TILE; r += ROWS)
			if (i0 + x < t.n && k0 + r < t.m)
				to[(k0 + r) * t.to_row + i0 + x] = tile[x][r];
		__syncthreads();
	}
}

extern "C" int kc_cu_transpose(const struct kc_cu_turn *t, cudaStream_t stream)
{
	unsigned planes = t->planes < 65535 ? (unsigned)t->planes : 65535;
	dim3 grid((unsigned)((t->n + TILE - 1) / TILE), (unsigned)((t->m + TILE - 1) / TILE),
		  planes);

	if (t->size == 2)
		KC_LAUNCH_BLOCK(turn<uint16_t>, grid, dim3(TILE * ROWS), 0, stream, *t);
	else
		KC_LAUNCH_BLOCK(turn<uint32_t>, grid, dim3(TILE * ROWS), 0, stream, *t);
	return kc_cu_status();
}

/* ---- the rest, element by element ---- */

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	reshape(KC_CONSTANT kc_view to, KC_CONSTANT kc_view from, int64_t n)
{
	KC_GRID_LOOP(i, n)
		kc_cu_copy(to, kc_cu_at(to, i), from, kc_cu_at(from, i));
}

extern "C" int kc_cu_reshape(const struct kc_view *to, const struct kc_view *from, int64_t n,
			     cudaStream_t stream)
{
	KC_LAUNCH(reshape, dim3(kc_cu_blocks(n)), dim3(KC_CU_THREADS), 0, stream, *to, *from, n);
	return kc_cu_status();
}

/* Which plain place stands at place i of the wide axis. */
KC_DEVICE int64_t source(int64_t mirror, int64_t n, int64_t before, int64_t i)
{
	int64_t at = i - before;

	if (at < 0)
		return mirror ? -at : 0;
	return at < n ? at : mirror ? 2 * (n - 1) - at : n - 1;
}

/* Candidate k for a reader of place s: itself, then every place of the margins; -1: it is none. */
KC_DEVICE int64_t reader(const kc_cu_unpad &a, int axis, int64_t s, int64_t k)
{
	int64_t n = a.plain.dim[a.plain.nd - 2 + axis], before = a.before[axis], i = s + before;

	if (k > 0)
		i = k <= before ? k - 1 : n + k - 1;
	return k == 0 || source(a.mirror, n, before, i) == s ? i : -1;
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) unpad(KC_CONSTANT kc_cu_unpad a)
{
	int d = a.plain.nd - 2;

	KC_GRID_LOOP(e, a.n) {
		int64_t x = e % a.plain.dim[d + 1], y = e / a.plain.dim[d + 1] % a.plain.dim[d];
		int64_t rest = e / (a.plain.dim[d + 1] * a.plain.dim[d]), from = 0;
		float sum = 0;

		for (int k = d - 1; k >= 0; k--) {
			from += rest % a.plain.dim[k] * a.wide.stride[k];
			rest /= a.plain.dim[k];
		}
		for (int64_t p = 0; p <= a.before[0] + a.after[0]; p++) {
			int64_t i = reader(a, 0, y, p);

			for (int64_t q = 0; i >= 0 && q <= a.before[1] + a.after[1]; q++) {
				int64_t j = reader(a, 1, x, q);

				if (j >= 0)
					sum += kc_cu_get(a.wide, from + i * a.wide.stride[d] +
							 j * a.wide.stride[d + 1]);
			}
		}
		kc_cu_write(a.plain.data, a.plain.dtype, kc_cu_at(a.plain, e), sum);
	}
}

extern "C" int kc_cu_sum_readers(const struct kc_cu_unpad *a, cudaStream_t stream)
{
	KC_LAUNCH(unpad, dim3(kc_cu_blocks(a->n)), dim3(KC_CU_THREADS), 0, stream, *a);
	return kc_cu_status();
}
