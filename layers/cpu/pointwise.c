/*
 * Fused pointwise chains: an interpreter over blocks that stay in the first-level cache.  Each
 * register is a block of floats; bf16 is converted where it is read and written; inputs that
 * are dense float32 are read where they lie.
 */
#include "layers/cpu/rows.h"
#include "layers/cpu/vec.h"

#include <omp.h>
#include <stdlib.h>

enum { BLOCK = 512, PIECE = 1 << 14, REGISTERS = KC_FUSED_IN + KC_FUSED_MAX };

enum kind {
	DENSE,                  /* element i of the input for element i of the output */
	CONSTANT,
	PERIODIC,               /* the same in every block: per-channel numbers */
	STRIDED
};

struct input {
	enum kind kind;
	bool low;               /* bf16 */
	int nd;
	int64_t dim[KC_MAX_DIM], stride[KC_MAX_DIM];    /* slowest first, merged where possible */
	int slot;               /* of the register's block, -1: read in place */
};

struct chain {
	const struct kc_vec_pointwise *vec;
	int threads, slots;
	int64_t n, block;
	struct input in[KC_FUSED_IN];
	int slot[KC_FUSED_MAX];         /* of instruction results */
	bool out_low[KC_FUSED_OUT];
	int direct; /* output that the last instruction writes in place, or -1 */
};

/* Axes of the output in memory order, slowest first, without those of size 1. */
static int memory_order(const struct kc_buf *out, int axis[KC_MAX_DIM])
{
	int n = 0;

	for (int i = 0; i < out->type.ndim; i++) {
		int at = n;

		if (out->type.dim[i] == 1)
			continue;
		for (; at > 0 && out->stride[axis[at - 1]] < out->stride[i]; at--)
			axis[at] = axis[at - 1];
		axis[at] = i;
		n++;
	}
	return n;
}

static bool same_memory(const struct kc_buf *a, const struct kc_buf *b)
{
	if (!kc_same_dims(&a->type, &b->type))
		return false;
	for (int i = 0; i < a->type.ndim; i++)
		if (a->type.dim[i] > 1 && a->stride[i] != b->stride[i])
			return false;
	return true;
}

static bool fits(const struct kc_step_info *info)
{
	const struct kc_buf *out = &info->out[0];

	if (!kc_numel(&out->type) ||
	    (!kc_is_dense(out, KC_PLAIN) && !kc_is_dense(out, KC_CLAST)))
		return false;
	for (int i = 0; i < info->n_out; i++)
		if (!same_memory(&info->out[i], out) || !kc_cpu_is_float(&info->out[i]))
			return false;
	for (int i = 0; i < info->n_in; i++)
		if (!kc_same_dims(&info->in[i].type, &out->type) || !kc_cpu_is_float(&info->in[i]))
			return false;
	return true;
}

/* Merges axes that are one run of the input as well as of the output. */
static void describe(struct input *in, const struct kc_buf *b, const int *axis, int n)
{
	in->low = b->type.dtype == KC_BF16;
	in->nd = 0;
	for (int i = 0; i < n; i++) {
		int64_t dim = b->type.dim[axis[i]], stride = b->stride[axis[i]];
		int last = in->nd - 1;

		if (in->nd && in->stride[last] == stride * dim) {
			in->dim[last] *= dim;
			in->stride[last] = stride;
			continue;
		}
		in->dim[in->nd] = dim;
		in->stride[in->nd++] = stride;
	}
	in->kind = STRIDED;
	if (in->nd == 1 && in->stride[0] == 0)
		in->nd = 0;     /* read in blocks longer than the dimension */
	if (in->nd == 0)
		in->kind = CONSTANT;
	else if (in->nd == 1 && in->stride[0] == 1)
		in->kind = DENSE;
}

static bool is_periodic(const struct input *in)
{
	return in->kind == STRIDED && in->nd == 2 && in->stride[0] == 0 && in->dim[1] <= BLOCK;
}

/* Blocks hold whole periods of the per-channel inputs, so these are read once per thread. */
static void choose_block(struct chain *c, int n_in)
{
	int64_t period = 0;

	for (int i = 0; i < n_in; i++) {
		if (!is_periodic(&c->in[i]))
			continue;
		if (!period)
			period = c->in[i].dim[1];
		if (c->in[i].dim[1] == period)
			c->in[i].kind = PERIODIC;
	}
	c->block = period ? BLOCK / period * period : BLOCK;
}

/* Gives registers blocks of memory; a block is free again after the register's last use. */
static void assign_slots(struct chain *c, const struct kc_fused_attr *a)
{
	int last[REGISTERS] = {0}, unused[REGISTERS], n_unused = 0;

	for (int k = 0; k < a->n_code; k++)
		for (int j = 0; j < 3; j++)
			last[a->code[k].arg[j]] = k;
	for (int k = 0; k < a->n_out; k++)
		last[a->out[k]] = KC_FUSED_MAX;
	for (int i = 0; i < a->n_in; i++) {
		c->in[i].slot = c->in[i].kind == DENSE && !c->in[i].low ? -1 : c->slots++;
		if (c->in[i].kind == CONSTANT || c->in[i].kind == PERIODIC)
			last[i] = KC_FUSED_MAX;
	}
	for (int k = 0; k < a->n_code; k++) {
		/* Writing over an argument is safe: element i depends on element i alone. */
		for (int r = 0; r < a->n_in + k; r++) {
			int slot = r < a->n_in ? c->in[r].slot : c->slot[r - a->n_in];

			if (last[r] != k || slot < 0)
				continue;
			unused[n_unused++] = slot;
			last[r] = -1;
		}
		c->slot[k] = n_unused ? unused[--n_unused] : c->slots++;
	}
}

static void find_direct(struct chain *c, const struct kc_fused_attr *a)
{
	c->direct = -1;
	for (int k = 0; k < a->n_out; k++)
		if (a->out[k] == a->n_in + a->n_code - 1 && !c->out_low[k])
			c->direct = k;
}

static int prepare(struct kc_step_info *info)
{
	const struct kc_fused_attr *a = info->attr;
	struct chain *c = kc_calloc(1, sizeof *c);
	int axis[KC_MAX_DIM], n = memory_order(&info->out[0], axis);

	if (!c)
		return KC_ENOMEM;
	c->vec = KC_VEC_PICK(kc_vec_pointwise);
	c->threads = info->device->threads;
	c->n = kc_numel(&info->out[0].type);
	for (int i = 0; i < info->n_in; i++)
		describe(&c->in[i], &info->in[i], axis, n);
	for (int i = 0; i < info->n_out; i++)
		c->out_low[i] = info->out[i].type.dtype == KC_BF16;
	choose_block(c, info->n_in);
	assign_slots(c, a);
	find_direct(c, a);
	info->workspace = (size_t)c->threads * (size_t)c->slots * BLOCK * sizeof(float);
	info->prepared = c;
	return 0;
}

static float one(const struct input *in, const void *data, int64_t at)
{
	return in->low ? kc_from_bf16(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

/* A run of n elements with one stride. */
static void read_run(const struct chain *c, const struct input *in, const void *data, int64_t at,
		     int64_t stride, int64_t n, float *to)
{
	if (stride == 0) {
		float x = one(in, data, at);

		for (int64_t i = 0; i < n; i++)
			to[i] = x;
	} else if (stride == 1 && in->low) {
		c->vec->widen(to, (const uint16_t *)data + at, n);
	} else if (stride == 1) {
		memcpy(to, (const float *)data + at, (size_t)n * sizeof *to);
	} else {
		for (int64_t i = 0; i < n; i++)
			to[i] = one(in, data, at + i * stride);
	}
}

/* Elements first .. first + n - 1 in the order of the output. */
static void read_input(const struct chain *c, const struct input *in, const void *data,
		       int64_t first, int64_t n, float *to)
{
	int64_t index[KC_MAX_DIM], at = 0;
	int last = in->nd - 1;

	if (in->nd == 0) {
		read_run(c, in, data, 0, 0, n, to);
		return;
	}
	for (int d = last; d >= 0; d--) {
		index[d] = first % in->dim[d];
		first /= in->dim[d];
		at += index[d] * in->stride[d];
	}
	while (n > 0) {
		int64_t run = KC_MIN(in->dim[last] - index[last], n);

		read_run(c, in, data, at, in->stride[last], run, to);
		to += run;
		n -= run;
		index[last] += run;
		at += run * in->stride[last];
		for (int d = last; d > 0 && index[d] == in->dim[d]; d--) {
			at += in->stride[d - 1] - in->dim[d] * in->stride[d];
			index[d] = 0;
			index[d - 1]++;
		}
	}
}

static void load(const struct chain *c, const struct kc_call *call, int64_t at, int64_t n,
		 float *slots, float **reg)
{
	for (int i = 0; i < call->n_in; i++) {
		const struct input *in = &c->in[i];

		if (in->kind == DENSE && !in->low)
			reg[i] = (float *)call->in[i].data + at;
		else if (in->kind == DENSE || in->kind == STRIDED)
			read_input(c, in, call->in[i].data, at, n, slots + in->slot * BLOCK);
	}
}

static void store(const struct chain *c, const struct kc_call *call, int64_t at, int64_t n,
		  float **reg)
{
	const struct kc_fused_attr *a = call->attr;

	for (int k = 0; k < call->n_out; k++) {
		const float *x = reg[a->out[k]];

		if (c->out_low[k])
			c->vec->narrow((uint16_t *)call->out[k].data + at, x, n);
		else if (k != c->direct)
			memcpy((float *)call->out[k].data + at, x, (size_t)n * sizeof *x);
	}
}

static void run_blocks(const struct chain *c, const struct kc_call *call, float *slots,
		       int64_t from, int64_t to)
{
	const struct kc_fused_attr *a = call->attr;
	float *reg[REGISTERS] = {0};

	for (int i = 0; i < call->n_in; i++) {
		if (c->in[i].slot >= 0)
			reg[i] = slots + c->in[i].slot * BLOCK;
		if (c->in[i].kind == CONSTANT || c->in[i].kind == PERIODIC)
			read_input(c, &c->in[i], call->in[i].data, 0, KC_MIN(c->block, c->n),
				   reg[i]);
	}
	for (int k = 0; k < a->n_code; k++)
		reg[a->n_in + k] = slots + c->slot[k] * BLOCK;
	for (int64_t b = from; b < to; b++) {
		int64_t at = b * c->block, n = KC_MIN(c->block, c->n - at);

		load(c, call, at, n, slots, reg);
		if (c->direct >= 0)
			reg[a->out[c->direct]] = (float *)call->out[c->direct].data + at;
		for (int k = 0; k < a->n_code; k++) {
			const struct kc_fused_code *s = &a->code[k];

			c->vec->op[s->op](reg[a->n_in + k], reg[s->arg[0]], reg[s->arg[1]],
					  reg[s->arg[2]], (float)s->p, (float)s->q, n);
		}
		store(c, call, at, n, reg);
	}
}

static int run(const struct kc_call *call)
{
	const struct chain *c = call->prepared;
	int64_t blocks = (c->n + c->block - 1) / c->block;

	#pragma omp parallel num_threads(c->threads) if (c->n >= KC_CPU_PARALLEL)
	{
		int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
		float *slots = (float *)call->workspace + me * c->slots * BLOCK;

		run_blocks(c, call, slots, blocks * me / all, blocks * (me + 1) / all);
	}
	return 0;
}

/* ---- bytes as real numbers ---- */

static bool fits_bytes(const struct kc_step_info *info)
{
	const struct kc_buf *x = &info->in[0], *y = &info->out[0];
	bool clast = kc_is_dense(x, KC_CLAST) && kc_is_dense(y, KC_CLAST);

	return x->type.dtype == KC_U8 && y->type.dtype == KC_F32 &&
	       (clast || (kc_is_dense(x, KC_PLAIN) && kc_is_dense(y, KC_PLAIN)));
}

static int run_bytes(const struct kc_call *call)
{
	const struct kc_vec_pointwise *vec = KC_VEC_PICK(kc_vec_pointwise);
	const struct kc_pw_attr *a = call->attr;
	int64_t n = kc_numel(&call->in[0].type), pieces = (n + PIECE - 1) / PIECE;

	#pragma omp parallel for schedule(static) if (n >= KC_CPU_PARALLEL)
	for (int64_t i = 0; i < pieces; i++)
		vec->bytes((float *)call->out[0].data + i * PIECE,
			   (const uint8_t *)call->in[0].data + i * PIECE, (float)a->p,
			   KC_MIN(n - i * PIECE, PIECE));
	return 0;
}

static const struct kc_kernel bytes_row = {
	.op = &kc_op_to_real, .name = "vector bytes", .fits = fits_bytes, .run = run_bytes};
static const struct kc_kernel fused_row = {
	.op = &kc_op_fused, .name = "vector chain", .fits = fits, .prepare = prepare, .run = run,
	.release = free};

const struct kc_kernel *const kc_cpu_pointwise_rows[] = {&fused_row, &bytes_row, NULL};
