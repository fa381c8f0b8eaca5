/*
 * Pass 2: decides in which dtype every real value is held.  Kernels read any dtype, so only
 * inputs of convolutions and matrix products are converted, and parameters never are: their
 * kernels pack them from the float32 masters.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

/* Small values (per-channel numbers, scalars) and constants do not decide the precision of a
 * chain: they stay float32 without making the chain so. */
enum { SMALL = 1 << 13 };

/* What the value is repeated from, if it is. */
static int before_broadcast(const struct kc_plan *p, int v)
{
	const struct kc_value *x = &p->values[v];

	while (x->producer >= 0 && (p->steps[x->producer].op->flags & KC_OP_BROADCAST)) {
		v = p->steps[x->producer].in[0];
		x = &p->values[v];
	}
	return v;
}

/*
 * bf16 where at least three quarters of the elements are: neither the two channels of a flow in
 * a wide concatenation nor a mask that is repeated over channels make the result float32, but a
 * float32 operand of a sum does.
 */
static int follow(const struct kc_plan *p, const struct kc_step *s)
{
	int64_t low = 0, all = 0;

	for (int k = 0; k < s->n_in; k++) {
		const struct kc_value *x = &p->values[before_broadcast(p, s->in[k])];
		int64_t n = kc_numel(&x->buf.type);

		if (!x->real || x->home == KC_HOME_CONSTANT || n <= SMALL)
			continue;
		all += n;
		low += x->buf.type.dtype == KC_BF16 ? n : 0;
	}
	return low > 0 && 4 * low >= 3 * all ? KC_BF16 : KC_F32;
}

/* Chroma, flow and masks: few channels that are worth their precision. */
static bool is_narrow(const struct kc_type *t)
{
	enum { NARROW = 4 };

	return t->ndim >= 4 && t->dim[1] <= NARROW;
}

static int output_dtype(const struct kc_plan *p, const struct kc_step *s, const struct kc_type *y)
{
	const struct kc_value *first = s->n_in ? &p->values[s->in[0]] : NULL;

	switch (s->op->precision) {
	case KC_PREC_LOW:
		return (s->op->flags & KC_OP_OUT_FULL) || is_narrow(y) ? KC_F32 : KC_BF16;
	case KC_PREC_FIRST: return first && first->real ? first->buf.type.dtype : KC_F32;
	case KC_PREC_FOLLOW:
		if (s->op->flags & (KC_OP_BROADCAST | KC_OP_VIEW))
			return first->real ? first->buf.type.dtype : KC_F32;
		return follow(p, s);
	default: return KC_F32;
	}
}

/* A bf16 copy of the value, made once. */
static int low_copy(struct kc_plan *p, int v, const struct kc_step *user, int *made)
{
	struct kc_value copy = p->values[v];
	const struct kc_node *node = user->node;
	int64_t order = user->order - 1;
	int s, at;

	if (made[v] >= 0)
		return made[v];
	s = kc_ir_step(p, &kc_op_copy, node, NULL, 1, 1);
	KC_TRY(s);
	copy.buf.type.dtype = KC_BF16;
	copy.tensor = NULL;
	copy.home = KC_HOME_ARENA;
	copy.fetched = false;
	copy.producer = s;
	at = kc_ir_value(p, &copy);
	KC_TRY(at);
	p->steps[s].in[0] = v;
	p->steps[s].out[0] = at;
	p->steps[s].order = order;
	return made[v] = at;
}

/* Is the bf16 copy all that anybody reads of the value, whose operator would as well write it? */
static bool is_only_copied(const struct kc_plan *p, const int *readers, int v)
{
	const struct kc_value *x = &p->values[v];
	const struct kc_op *op = x->producer < 0 ? NULL : p->steps[x->producer].op;

	return op && op->precision == KC_PREC_FOLLOW && op != &kc_op_copy && !x->fetched &&
	       !(op->flags & (KC_OP_BROADCAST | KC_OP_VIEW)) && readers[v] == 1;
}

/* What is only read as bf16 is written so: the same bits without the conversion. */
static int write_low(struct kc_plan *p, const int *made, int n)
{
	int *readers = kc_calloc((size_t)p->n_values, sizeof *readers), done = 0;

	if (!readers)
		return KC_ENOMEM;
	for (int i = 0; i < p->n_steps; i++)
		for (int k = 0; k < p->steps[i].n_in; k++)
			readers[p->steps[i].in[k]]++;
	for (int v = 0; v < n; v++) {
		struct kc_step *copy;

		if (made[v] < 0 || !is_only_copied(p, readers, v))
			continue;
		copy = &p->steps[p->values[made[v]].producer];
		for (int i = 0; i < p->n_steps; i++)
			for (int k = 0; k < p->steps[i].n_in; k++)
				if (p->steps[i].in[k] == made[v])
					p->steps[i].in[k] = v;
		p->values[v].buf.type.dtype = KC_BF16;
		copy->dead = true;
		done++;
	}
	free(readers);
	return done;
}

static int lower(struct kc_plan *p)
{
	int n = p->n_steps, room = p->n_values, direct;
	int *made = kc_arena_alloc(&p->memory, (size_t)room * sizeof *made);

	if (!made)
		return KC_ENOMEM;
	for (int v = 0; v < room; v++)
		made[v] = -1;
	for (int i = 0; i < n; i++) {
		for (int k = 0; p->steps[i].op->precision == KC_PREC_LOW && k < p->steps[i].n_in;
		     k++) {
			const struct kc_value *x = &p->values[p->steps[i].in[k]];
			int v;

			if (!x->real || x->buf.type.dtype == KC_BF16 || x->buf.type.ndim < 2)
				continue;
			v = low_copy(p, p->steps[i].in[k], &p->steps[i], made);
			KC_TRY(v);
			p->steps[i].in[k] = v;
		}
		for (int k = 0; k < p->steps[i].n_out; k++) {
			struct kc_value *y = &p->values[p->steps[i].out[k]];

			if (y->real)
				y->buf.type.dtype = output_dtype(p, &p->steps[i], &y->buf.type);
		}
	}
	direct = write_low(p, made, room);
	KC_TRY(direct);
	KC_TRY(kc_ir_sort(p));
	kc_ir_trace(p, "precision: bf16 where it may be, %d conversions, %d results written so",
		    p->n_steps - n, direct);
	return 0;
}

int kc_pass_precision(struct kc_plan *p)
{
	if (p->opts.low)
		return lower(p);
	for (int v = 0; v < p->n_values; v++)
		if (p->values[v].real)
			p->values[v].buf.type.dtype = (int)p->opts.real;
	kc_ir_trace(p, "precision: %s", kc_dtype_name(p->opts.real));
	return 0;
}
