/*
 * Fused pointwise chains: one interpreter for all of them.  A thread runs the chain on eight
 * neighbouring elements; what an instruction is, is decided once for these and is the same for
 * the whole block.  Counted in instructions, a chain of two that reads three bf16 tensors takes
 * about 0.7 issue slots per element, on an H200 less than half of the time that its 8 bytes of
 * memory traffic take; a chain of ten, about as long as these.
 *
 * The last result stays in registers.  Other values are 32 bytes of the thread's own in shared
 * memory; inputs are copied there without passing registers, so that all are on their way at
 * once, and 80 registers leave room for 24 warps.
 */
#include "layers/cuda/kernel.h"
#include "layers/cuda/pointwise.h"
#include "layers/cuda/formulas.h"

struct alignas(16) quad { float v[4]; };

KC_DEVICE int64_t offset_of(const kc_cu_chain &c, const kc_cu_operand &x, int64_t i)
{
	int64_t at = 0;

	if (c.n >> 31) {
#pragma unroll 1
		for (int d = c.nd - 1; d > 0; d--) {
			at += i % c.dim[d] * x.stride[d];
			i /= c.dim[d];
		}
		return at + i * x.stride[0];
	}
	uint32_t k = (uint32_t)i;

#pragma unroll 1
	for (int d = c.nd - 1; d > 0; d--) {
		uint32_t rest = kc_divide(k, &c.by[d]);

		at += (int64_t)(k - rest * c.by[d].by) * x.stride[d];
		k = rest;
	}
	return at + (int64_t)k * x.stride[0];
}

/* Elements i .. i + 7, wherever each of them is. */
template <class F>
KC_DEVICE void walk(const kc_cu_chain &c, const kc_cu_operand &x, int64_t i, int count, F each)
{
	int last = c.nd - 1;
	int64_t row = c.dim[last], step = x.stride[last], in_row = i % row,
		at = offset_of(c, x, i);

#pragma unroll 1
	for (int k = 0; k < count; k++) {
		each(k, at);
		at += step;
		if (++in_row == row && k + 1 < count) {
			at = offset_of(c, x, i + k + 1);
			in_row = 0;
		}
	}
}

KC_DEVICE void widen(uint32_t two, float *y)
{
	y[0] = __uint_as_float(two << 16);
	y[1] = __uint_as_float(two & 0xffff0000u);
}

KC_DEVICE uint32_t narrow(const float *x)
{
	return kc_cu_bf16_bits(x[0]) | (uint32_t)kc_cu_bf16_bits(x[1]) << 16;
}

KC_DEVICE void put_slot(quad *slots, int slot, const float *x)
{
	slots[(2 * slot) * blockDim.x] = {{x[0], x[1], x[2], x[3]}};
	slots[(2 * slot + 1) * blockDim.x] = {{x[4], x[5], x[6], x[7]}};
}

KC_DEVICE float *element(quad *slots, int slot, int k)
{
	return &slots[(2 * slot + k / 4) * blockDim.x].v[k % 4];
}

KC_DEVICE void get_slot(const quad *slots, int slot, float *x)
{
	quad a = slots[(2 * slot) * blockDim.x], b = slots[(2 * slot + 1) * blockDim.x];

#pragma unroll
	for (int k = 0; k < 4; k++) {
		x[k] = a.v[k];
		x[k + 4] = b.v[k];
	}
}

/* Zeros over those of the elements i .. i + 7, which are at `at`, that are pads: f(0) need not be
 * 0. */
KC_DEVICE void clear_pads(const kc_cu_chain &c, const kc_cu_operand &y, int64_t i, int64_t at)
{
	int64_t channel = c.n >> 31 ? i % c.pitch : (uint32_t)i % (uint32_t)c.pitch;
	int64_t first = max(c.channels - channel, (int64_t)0);

#pragma unroll 1
	for (int64_t k = first; k < KC_CU_PACK; k++)
		((kc_bf16 *)y.data)[at + k].bits = 0;
}

KC_DEVICE void write_pack(const kc_cu_chain &c, const kc_cu_operand &y, int64_t i, int count,
			  const float *x, quad *slots)
{
	int64_t at;

	if (y.place == KC_CU_WALK || count < KC_CU_PACK) {
		int spare = c.slots - 1;

		put_slot(slots, spare, x);
		walk(c, y, i, count, [&](int k, int64_t to) {
			kc_cu_write(y.data, y.dtype, to, *element(slots, spare, k));
		});
		return;
	}
	at = y.place == KC_CU_DENSE ? i : offset_of(c, y, i);
	if (y.dtype == KC_VIEW_F32) {
		((quad *)((float *)y.data + at))[0] = {{x[0], x[1], x[2], x[3]}};
		((quad *)((float *)y.data + at))[1] = {{x[4], x[5], x[6], x[7]}};
	} else {
		*(uint4 *)((kc_bf16 *)y.data + at) =
			make_uint4(narrow(x), narrow(x + 2), narrow(x + 4), narrow(x + 6));
		if (c.pitch)
			clear_pads(c, y, i, at);
	}
}

/* The last result is in u. */
KC_DEVICE void get_argument(const quad *slots, int arg, const float *u, float *x)
{
	if (arg != KC_CU_LAST) {
		get_slot(slots, arg, x);
		return;
	}
#pragma unroll
	for (int k = 0; k < KC_CU_PACK; k++)
		x[k] = u[k];
}

KC_DEVICE void store(const kc_cu_chain &c, unsigned outputs, int64_t i, int count, const float *x,
		     quad *slots)
{
#pragma unroll 1
	for (int k = 0; outputs; k++, outputs >>= 1)
		if (outputs & 1)
			write_pack(c, c.out[k], i, count, x, slots);
}

/* One by one, into the thread's slot. */
KC_DEVICE void read_walking(const kc_cu_chain &c, int input, int64_t i, int count, quad *slots)
{
	const kc_cu_operand &x = c.in[input];

	walk(c, x, i, count, [&](int k, int64_t at) {
		*element(slots, input, k) = kc_cu_read(x.data, x.dtype, at);
	});
}

/* Sixteen or 32 bytes on their way to the thread's slot; bf16 is widened when it is there. */
KC_DEVICE void fetch_pack(const kc_cu_chain &c, int input, int64_t i, quad *slots)
{
	const kc_cu_operand &x = c.in[input];
	int64_t at = x.place == KC_CU_DENSE ? i : offset_of(c, x, i);
	quad *to = &slots[2 * input * blockDim.x];

	if (x.dtype == KC_VIEW_F32) {
		kc_cu_copy_async(to, (const float *)x.data + at);
		kc_cu_copy_async(to + blockDim.x, (const float *)x.data + at + 4);
	} else {
		kc_cu_copy_async(to, (const kc_bf16 *)x.data + at);
	}
}

KC_DEVICE void widen_pack(int input, quad *slots)
{
	quad half = slots[2 * input * blockDim.x];
	float y[KC_CU_PACK];

#pragma unroll
	for (int k = 0; k < 4; k++)
		widen(__float_as_uint(half.v[k]), y + 2 * k);
	put_slot(slots, input, y);
}

KC_DEVICE void repeat(const kc_cu_chain &c, int input, int64_t i, quad *slots)
{
	const kc_cu_operand &x = c.in[input];
	float one = kc_cu_read(x.data, x.dtype, x.place == KC_CU_ONE ? 0 : offset_of(c, x, i));
	float y[KC_CU_PACK];

#pragma unroll
	for (int k = 0; k < KC_CU_PACK; k++)
		y[k] = one;
	put_slot(slots, input, y);
}

KC_DEVICE void read_inputs(const kc_cu_chain &c, int64_t i, int count, quad *slots)
{
	bool whole = count == KC_CU_PACK;

#pragma unroll 1
	for (int k = 0; k < c.n_in; k++)
		if (whole && c.in[k].place <= KC_CU_ROW)
			fetch_pack(c, k, i, slots);
#pragma unroll 1
	for (int k = 0; k < c.n_in; k++)
		if (c.in[k].place == KC_CU_SAME || c.in[k].place == KC_CU_ONE)
			repeat(c, k, i, slots);
		else if (!whole || c.in[k].place == KC_CU_WALK)
			read_walking(c, k, i, count, slots);
	kc_cu_copy_wait();
#pragma unroll 1
	for (int k = 0; k < c.n_in; k++)
		if (whole && c.in[k].place <= KC_CU_ROW && c.in[k].dtype == KC_VIEW_BF16)
			widen_pack(k, slots);
}

/* What the output holds of x is added to the thread's slot for sums, behind the others: a slot, not
 * registers, because the chain has none to spare. */
KC_DEVICE void add_stored(const kc_cu_chain &c, const kc_cu_code &code, int count, const float *x,
			  quad *slots)
{
	bool low = c.out[code.sums - 1].dtype == KC_VIEW_BF16;
	quad *sum = &slots[2 * c.slots * blockDim.x];

#pragma unroll 1
	for (int half = 0; half < 2; half++, sum += blockDim.x) {
		quad s = *sum;

#pragma unroll
		for (int k = 0; k < 4; k++) {
			float v = half ? x[k + 4] : x[k];

			v = low ? __uint_as_float((uint32_t)kc_cu_bf16_bits(v) << 16) : v;
			s.v[k] += 4 * half + k < count ? v : 0;
		}
		*sum = s;
	}
}

/*
 * A row of sums by channel from those of a block's threads.  The block's elements follow each
 * other, thread by thread, and so do their channels.
 */
KC_DEVICE void add_threads(const kc_cu_chain &c, quad *all)
{
	int64_t elements = (int64_t)blockDim.x * KC_CU_PACK;
	int64_t first = blockIdx.x * elements % c.row;

	__syncthreads();
	for (int64_t k = threadIdx.x; k < c.row; k += blockDim.x) {
		float x = 0;

		for (int64_t e = k < first ? k - first + c.row : k - first; e < elements;
		     e += c.row)
			x += *element(all + e / KC_CU_PACK, c.slots, e % KC_CU_PACK);
		c.part[blockIdx.x * c.row + k] = x;
	}
}

enum { COLUMNS = 32, ROWS = KC_CU_THREADS / COLUMNS };

/* Down the rows of the blocks. */
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	add_blocks(const float *part, int64_t blocks, int64_t row, int64_t channels, float *sum)
{
	KC_SHARED(float, rows, [ROWS][COLUMNS]);
	int x = threadIdx.x % COLUMNS, y = threadIdx.x / COLUMNS;
	int64_t k = (int64_t)blockIdx.x * COLUMNS + x;
	float s = 0;

	for (int64_t b = y; b < blocks && k < channels; b += ROWS)
		s += part[b * row + k];
	rows[y][x] = s;
	__syncthreads();
	if (y == 0 && k < channels) {
		for (int r = 1; r < ROWS; r++)
			s += rows[r][x];
		sum[k] = s;
	}
}

template <bool sums>
KC_KERNEL void KC_BOUNDS_FOR(KC_CU_CHAIN_THREADS, 3) run_chain(KC_CONSTANT kc_cu_chain c)
{
	KC_SHARED_BYTES(bytes);
	quad *slots = (quad *)bytes + threadIdx.x;
	int64_t packs = (c.n + KC_CU_PACK - 1) / KC_CU_PACK;

	if (sums) {
		const float zeros[KC_CU_PACK] = {};

		put_slot(slots, c.slots, zeros);
	}
	KC_GRID_LOOP(pack, packs) {
		int64_t i = pack * KC_CU_PACK;
		int count = c.n - i < KC_CU_PACK ? (int)(c.n - i) : (int)KC_CU_PACK;
		float u[KC_CU_PACK], v[KC_CU_PACK], w[KC_CU_PACK];

		read_inputs(c, i, count, slots);
#pragma unroll 1
		for (int k = 0; k < c.n_in; k++)
			if (c.stores[k]) {
				get_slot(slots, k, u);
				store(c, c.stores[k], i, count, u, slots);
			}
#pragma unroll 1
		for (int k = 0; k < c.n_code; k++) {
			const kc_cu_code &code = c.code[k];

			if (code.n > 2)
				get_argument(slots, code.arg[2], u, w);
			if (code.n > 1)
				get_argument(slots, code.arg[1], u, v);
			if (code.arg[0] != KC_CU_LAST)
				get_slot(slots, code.arg[0], u);
			kc_cu_formula(code.op, code.p, code.q, u, v, w);
			if (code.to != KC_CU_NOWHERE)
				put_slot(slots, code.to, u);
			if (code.stores)
				store(c, code.stores, i, count, u, slots);
			if (sums && code.sums)
				add_stored(c, code, count, u, slots);
		}
	}
	if (sums)
		add_threads(c, (quad *)bytes);
}

template <bool sums>
static void launch(const struct kc_cu_chain &c, cudaStream_t stream)
{
	enum { PLENTY = 48 << 10 };
	int shared = (int)((c.slots + sums) * KC_CU_PACK * sizeof(float) * c.threads);

	if (shared > PLENTY)
		cudaFuncSetAttribute(run_chain<sums>, cudaFuncAttributeMaxDynamicSharedMemorySize,
				     shared);
	KC_LAUNCH_BLOCK(run_chain<sums>, (unsigned)c.blocks, c.threads, shared, stream, c);
}

extern "C" int kc_cu_run_chain(const struct kc_cu_chain *c, cudaStream_t stream)
{
	if (!c->row) {
		launch<false>(*c, stream);
		return kc_cu_status();
	}
	launch<true>(*c, stream);
	KC_LAUNCH_BLOCK(add_blocks, (unsigned)((c->channels + COLUMNS - 1) / COLUMNS),
			KC_CU_THREADS, 0, stream, c->part, c->blocks, c->row, c->channels,
			c->sum);
	return kc_cu_status();
}
