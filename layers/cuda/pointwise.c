/* Fused pointwise chains: registers become slots, inputs and outputs places (pointwise.h). */
#include "layers/cuda/pointwise.h"

#include "layers/cuda/cuda.h"
#include "layers/pointwise.h"
#include "layers/ref.h"

#include <stdlib.h>

enum {
	REGISTERS = KC_FUSED_IN + KC_FUSED_MAX,
	MOST_BLOCKS = 132 * 16,
	SUM_BLOCKS = 132 * 3            /* fill an H200, and leave few rows to be added */
};

_Static_assert((int)KC_CU_CHAIN_IN == (int)KC_FUSED_IN, "inputs of a chain");
_Static_assert((int)KC_CU_CHAIN_OUT == (int)KC_FUSED_OUT, "outputs of a chain");
_Static_assert((int)KC_CU_CHAIN_CODE == (int)KC_FUSED_MAX, "instructions of a chain");

/* ---- registers ---- */

struct registers {
	int last[REGISTERS];            /* instruction that reads it last, -1: none */
	bool late[REGISTERS];           /* one that reads it is not the next */
	int slot[REGISTERS];            /* -1: none */
	bool used[REGISTERS];           /* by slot */
};

static void find_uses(struct registers *r, const struct kc_fused_attr *a)
{
	for (int i = 0; i < REGISTERS; i++)
		r->last[i] = r->slot[i] = -1;
	for (int k = 0; k < a->n_code; k++)
		for (int j = 0; j < kc_pw_ops[a->code[k].op].n_in_min; j++) {
			int64_t reg = a->code[k].arg[j];

			r->last[reg] = k;
			r->late[reg] |= k != reg - a->n_in + 1;
		}
}

static int take_slot(struct registers *r, int reg)
{
	int slot = 0;

	while (r->used[slot])
		slot++;
	r->used[slot] = true;
	return r->slot[reg] = slot;
}

/* A slot is free again for the result of the instruction that reads it last. */
static void give_back(struct registers *r, int n, int k)
{
	for (int reg = 0; reg < n; reg++)
		if (r->last[reg] == k && r->slot[reg] >= 0)
			r->used[r->slot[reg]] = false;
}

static uint8_t outputs_of(const struct kc_fused_attr *a, int reg)
{
	uint8_t mask = 0;

	for (int k = 0; k < a->n_out; k++)
		if (a->out[k] == reg)
			mask |= (uint8_t)(1 << k);
	return mask;
}

static void translate(struct kc_cu_chain *c, const struct kc_fused_attr *a)
{
	struct registers r = {.slot = {0}};
	int slots = (int)a->n_in;

	find_uses(&r, a);
	for (int i = 0; i < a->n_in; i++) {
		take_slot(&r, i);
		c->stores[i] = outputs_of(a, i);
	}
	for (int k = 0; k < a->n_code; k++) {
		const struct kc_fused_code *s = &a->code[k];
		struct kc_cu_code *to = &c->code[k];
		int reg = (int)a->n_in + k;

		*to = (struct kc_cu_code){.op = (uint8_t)s->op, .p = (float)s->p, .q = (float)s->q,
					  .n = (uint8_t)kc_pw_ops[s->op].n_in_min,
					  .to = KC_CU_NOWHERE, .stores = outputs_of(a, reg)};
		if (a->summed && a->out[a->summed - 1] == reg)
			to->sums = (uint8_t)a->summed;
		for (int j = 0; j < to->n; j++)
			to->arg[j] = s->arg[j] == reg - 1 && k ? KC_CU_LAST
							       : (uint8_t)r.slot[s->arg[j]];
		give_back(&r, reg, k);
		if (r.late[reg])
			to->to = (uint8_t)take_slot(&r, reg);
		slots = KC_MAX(slots, r.slot[reg] + 1);
	}
	c->n_in = (int32_t)a->n_in;
	c->n_out = (int32_t)a->n_out;
	c->n_code = (int32_t)a->n_code;
	c->slots = slots + 1;           /* one to spare, for outputs that are walked through */
}

/* ---- places ---- */

static struct kc_view repeated(const struct kc_buf *b, const struct kc_type *t)
{
	struct kc_buf x = {.type = *t};

	x.type.dtype = b->type.dtype;
	kc_repeat_strides(b, t, x.stride);
	return kc_view_of(&x);
}

/* Dimensions that all operands share, in the order of the first output: pads are channels. */
static void describe(struct kc_cu_chain *c, const struct kc_step_info *info)
{
	struct kc_view v[KC_CU_CHAIN_OUT + KC_CU_CHAIN_IN];
	const struct kc_buf *y = &info->out[0];
	struct kc_type t = kc_with_pads(y).type;
	int n = 0;

	for (int i = 0; i < c->n_out; i++)
		v[n++] = repeated(&info->out[i], &t);
	for (int i = 0; i < info->n_in; i++)
		v[n++] = repeated(&info->in[i], &t);
	kc_view_join(v, n);
	c->n = kc_numel(&t);
	c->channels = y->type.dim[1];
	c->pitch = y->pads ? t.dim[1] : 0;
	c->row = ((const struct kc_fused_attr *)info->attr)->summed ? t.dim[1] : 0;
	c->nd = KC_MAX(v[0].nd, 1);
	for (int d = 0; d < c->nd; d++)
		c->dim[d] = v[0].nd ? v[0].dim[d] : 1;
	for (int d = 0; d < c->nd && c->n <= INT32_MAX; d++)
		c->by[d] = kc_divisor_of((uint32_t)c->dim[d]);
	for (int i = 0; i < n; i++) {
		struct kc_cu_operand *x = i < c->n_out ? &c->out[i] : &c->in[i - c->n_out];

		x->dtype = v[i].dtype;
		for (int d = 0; d < v[0].nd; d++)
			x->stride[d] = v[i].stride[d];
	}
}

static bool is_dense(const struct kc_cu_chain *c, const struct kc_cu_operand *x)
{
	int64_t n = 1;

	for (int d = c->nd - 1; d >= 0; n *= c->dim[d--])
		if (x->stride[d] != n && c->dim[d] > 1)
			return false;
	return true;
}

static enum kc_cu_place place_of(const struct kc_cu_chain *c, const struct kc_cu_operand *x)
{
	int last = c->nd - 1;
	int64_t others = 0, any = 0;
	bool packs = c->dim[last] % KC_CU_PACK == 0;

	for (int d = 0; d < c->nd; d++) {
		any |= x->stride[d];
		others |= d < last ? x->stride[d] % KC_CU_PACK : 0;
	}
	if (!any)
		return KC_CU_ONE;
	if (packs && x->stride[last] == 0)
		return KC_CU_SAME;
	if ((uintptr_t)x->data % 16 || (x->dtype != KC_VIEW_F32 && x->dtype != KC_VIEW_BF16))
		return KC_CU_WALK;
	if (is_dense(c, x))
		return KC_CU_DENSE;
	return packs && x->stride[last] == 1 && !others ? KC_CU_ROW : KC_CU_WALK;
}

/* A result is written once per element, wherever it goes. */
static void place_output(const struct kc_cu_chain *c, struct kc_cu_operand *y, void *data)
{
	y->data = data;
	y->place = place_of(c, y);
	if (y->place == KC_CU_ONE || y->place == KC_CU_SAME)
		y->place = KC_CU_WALK;
}

/* ---- threads and blocks ---- */

static int64_t common_divisor(int64_t a, int64_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

void kc_cu_divide_chain(struct kc_cu_chain *c)
{
	enum { PLENTY = 48 << 10, LEAST = 64 };
	size_t one = (size_t)(c->slots + (c->row > 0)) * KC_CU_PACK * sizeof(float);
	int64_t most = c->row ? SUM_BLOCKS : MOST_BLOCKS, whole;

	c->threads = KC_CU_CHAIN_THREADS;
	while (one * (size_t)c->threads > PLENTY && c->threads > LEAST)
		c->threads /= 2;
	whole = (c->n + c->threads * KC_CU_PACK - 1) / (c->threads * KC_CU_PACK);
	c->blocks = (int32_t)KC_MIN(whole, most);
	if (c->row) {
		/* A thread's elements are then of the same channels in every round. */
		int64_t unit = c->row / common_divisor(c->row, c->threads * KC_CU_PACK);

		c->blocks = (int32_t)((c->blocks + unit - 1) / unit * unit);
	}
}

/* ---- the row ---- */

/* With pads like those of y, or one number for all channels. */
static bool goes_with(const struct kc_buf *x, const struct kc_buf *y)
{
	int channels = 1 - (y->type.ndim - x->type.ndim);

	return (x->pads == y->pads && x->type.ndim == y->type.ndim) || channels < 0 ||
	       x->type.dim[channels] == 1 || x->stride[channels] == 0;
}

static bool fits(const struct kc_step_info *info)
{
	const struct kc_fused_attr *a = info->attr;
	const struct kc_buf *y = &info->out[0];
	struct kc_buf all = kc_with_pads(y);

	for (int i = 0; i < a->n_out; i++)
		if (!kc_same_dims(&info->out[i].type, &y->type) || info->out[i].pads != y->pads)
			return false;
	if (y->pads && (y->type.dtype != KC_BF16 || (y->type.dim[1] + y->pads) % KC_CU_PACK))
		return false;
	for (int i = 0; i < info->n_in && y->pads; i++)
		if (!goes_with(&info->in[i], y))
			return false;
	return !a->summed || kc_is_dense(&all, KC_CLAST);
}

static int prepare(struct kc_step_info *info)
{
	struct kc_cu_chain *c = kc_calloc(1, sizeof *c);

	if (!c)
		return KC_ENOMEM;
	translate(c, info->attr);
	describe(c, info);
	kc_cu_divide_chain(c);
	info->workspace = (size_t)(c->blocks * c->row) * sizeof(float);
	info->prepared = c;
	return 0;
}

static int run(const struct kc_call *call)
{
	struct kc_cu_chain c = *(const struct kc_cu_chain *)call->prepared;

	if (!c.n)
		return 0;
	for (int i = 0; i < c.n_in; i++) {
		c.in[i].data = call->in[i].data;
		c.in[i].place = place_of(&c, &c.in[i]);
	}
	for (int i = 0; i < c.n_out; i++) {
		place_output(&c, &c.out[i], call->out[i].data);
		KC_ASSERT(!c.pitch || c.out[i].place == KC_CU_DENSE);
	}
	if (c.row) {
		c.part = call->workspace;
		c.sum = call->out[c.n_out].data;
	}
	return kc_cuda_launched(kc_cu_run_chain(&c, kc_cuda_stream(call)), "chain");
}

const struct kc_kernel kc_cuda_fused = {
	.op = &kc_op_fused, .name = "chain", .fits = fits, .prepare = prepare, .run = run,
	.release = free, .pads = KC_PADS_READ | KC_PADS_WRITE};
