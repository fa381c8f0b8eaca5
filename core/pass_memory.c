/*
 * Pass 11: who lies where.  Values of the arena live from the step that writes them to the last
 * that reads them; a step may write over an input that dies there; the rest is placed largest
 * first at the lowest free offset.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

enum { ALIGN = 256 };

static void find_lives(struct kc_plan *p)
{
	for (int v = 0; v < p->n_values; v++)
		p->values[v].first = p->values[v].last = -1;
	for (int i = 0; i < p->n_steps; i++) {
		const struct kc_step *s = &p->steps[i];

		for (int k = 0; k < s->n_in; k++)
			p->values[kc_ir_root(p, s->in[k])].last = i;
		for (int k = 0; k < s->n_out; k++) {
			struct kc_value *y = &p->values[kc_ir_root(p, s->out[k])];

			y->first = y->first < 0 ? i : y->first;
			y->last = i;
		}
		if (s->workspace >= 0)
			p->values[s->workspace].first = p->values[s->workspace].last = i;
	}
	for (int v = 0; v < p->n_values; v++)
		if (p->values[v].fetched)
			p->values[kc_ir_root(p, v)].last = p->n_steps;
}

/* Value v of step i may be written over input u: the same bytes in the same order. */
static bool may_overwrite(const struct kc_plan *p, int i, int u, int v)
{
	const struct kc_value *x = &p->values[u], *y = &p->values[v];
	const struct kc_value *root = &p->values[kc_ir_root(p, u)];

	if (root->home != KC_HOME_ARENA || root->last != i || root->bytes != y->bytes ||
	    x->buf.type.dtype != y->buf.type.dtype || !kc_same_dims(&x->buf.type, &y->buf.type))
		return false;
	return x->buf.pads == y->buf.pads &&
	       !memcmp(x->buf.stride, y->buf.stride, sizeof x->buf.stride);
}

/* No other input of the step may lie in the memory of u. */
static bool only_reader(const struct kc_plan *p, const struct kc_step *s, int u)
{
	int n = 0;

	for (int k = 0; k < s->n_in; k++)
		n += kc_ir_root(p, s->in[k]) == kc_ir_root(p, u);
	return n == 1;
}

/* Is an earlier output of the step written over u?  It may be one that nobody reads. */
static bool is_taken(const struct kc_plan *p, const struct kc_step *s, int o, int u)
{
	for (int k = 0; k < o; k++)
		if (kc_ir_root(p, s->out[k]) == kc_ir_root(p, u))
			return true;
	return false;
}

static int overwrite(struct kc_plan *p)
{
	int done = 0;

	for (int i = 0; i < p->n_steps; i++) {
		const struct kc_step *s = &p->steps[i];

		if (s->op != p->ops->fused && !(s->op->flags & KC_OP_INPLACE))
			continue;
		for (int o = 0; o < s->n_out; o++)
			for (int k = 0; k < s->n_in; k++) {
				int u = s->in[k], v = s->out[o], root = kc_ir_root(p, u);

				if (p->values[v].home != KC_HOME_ARENA ||
				    !may_overwrite(p, i, u, v) || !only_reader(p, s, u) ||
				    is_taken(p, s, o, u))
					continue;
				p->values[v].home = KC_HOME_ALIAS;
				p->values[v].alias_of = root;
				p->values[v].alias_at = 0;
				p->values[root].last = p->values[v].last;
				done++;
				break;
			}
	}
	return done;
}

/* ---- fetched numbers ---- */

enum { NUMBER_ALIGN = 16, NUMBERS_MOST = 4096 };        /* bytes */

static bool is_number(const struct kc_plan *p, int v)
{
	const struct kc_value *x = &p->values[v], *root = &p->values[kc_ir_root(p, v)];

	return x->fetched && kc_numel(&x->buf.type) == 1 && root->home == KC_HOME_ARENA &&
	       root->bytes <= NUMBERS_MOST;
}

/*
 * They lie one behind the other, each with what it is a part of, so that one copy brings them all
 * from a device with memory of its own.  Those inside something large stay there.
 */
static int gather_numbers(struct kc_plan *p)
{
	struct kc_value all = {.home = KC_HOME_ARENA, .producer = -1, .first = p->n_steps,
			       .last = p->n_steps};
	int at = kc_ir_value(p, &all);

	KC_TRY(at);
	for (int v = 0; v < at; v++) {
		struct kc_value *root;

		if (kc_ir_root(p, v) == at || !is_number(p, v))         /* a part of one before */
			continue;
		root = &p->values[kc_ir_root(p, v)];
		all.first = KC_MIN(all.first, root->first);
		root->home = KC_HOME_ALIAS;
		root->alias_of = at;
		root->alias_at = (int64_t)all.bytes;
		all.bytes += (root->bytes + NUMBER_ALIGN - 1) & ~(size_t)(NUMBER_ALIGN - 1);
	}
	p->values[at].bytes = all.bytes;
	p->values[at].first = all.bytes ? all.first : -1;
	p->values[at].last = p->n_steps;
	p->result = all.bytes ? at : -1;
	return 0;
}

/* ---- placing ---- */

static int larger_first(const void *a, const void *b, void *values)
{
	const struct kc_value *x = (struct kc_value *)values + *(const int *)a;
	const struct kc_value *y = (struct kc_value *)values + *(const int *)b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return *(const int *)a < *(const int *)b ? -1 : 1;
}

static bool overlap_in_time(const struct kc_value *a, const struct kc_value *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset at which v collides with none of the placed values, which are sorted by it. */
static size_t lowest_offset(const struct kc_plan *p, const int *placed, int n,
			    const struct kc_value *v)
{
	size_t at = 0;

	for (int i = 0; i < n; i++) {
		const struct kc_value *x = &p->values[placed[i]];

		if (!overlap_in_time(x, v))
			continue;
		if (at + v->bytes <= x->offset)
			break;
		at = KC_MAX(at, x->offset + x->bytes);
	}
	return at;
}

static void place(struct kc_plan *p, int *order, int n, int *placed)
{
	for (int i = 0; i < n; i++) {
		struct kc_value *v = &p->values[order[i]];
		int at = i;

		v->offset = lowest_offset(p, placed, i, v);
		p->arena_bytes = KC_MAX(p->arena_bytes, v->offset + v->bytes);
		for (; at > 0 && p->values[placed[at - 1]].offset > v->offset; at--)
			placed[at] = placed[at - 1];
		placed[at] = order[i];
	}
}

int kc_pass_memory(struct kc_plan *p)
{
	int *order, n = 0, over;

	find_lives(p);
	over = overwrite(p);
	if (p->device->memory)
		KC_TRY(gather_numbers(p));
	order = kc_calloc(2 * (size_t)p->n_values, sizeof *order);
	if (!order)
		return KC_ENOMEM;
	for (int v = 0; v < p->n_values; v++) {
		struct kc_value *x = &p->values[v];

		if (x->home != KC_HOME_ARENA || x->first < 0)
			continue;
		x->bytes = (x->bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
		order[n++] = v;
	}
	qsort_r(order, (size_t)n, sizeof *order, larger_first, p->values);
	place(p, order, n, order + p->n_values);
	free(order);
	kc_ir_trace(p, "memory: %.1f MB for %d values, %d written over an input",
		    p->arena_bytes / 1e6, n, over);
	return 0;
}

static void *locate(struct kc_plan *p, int v)
{
	struct kc_value *x = &p->values[v];

	switch (x->home) {
	case KC_HOME_ARENA: return (char *)p->device->arena + x->offset;
	case KC_HOME_MASTER: return kc_param_on(x->param, p->device, KC_ARRAY_MASTER);
	case KC_HOME_PACKED: return x->packed->data;
	case KC_HOME_ALIAS: return (char *)locate(p, x->alias_of) + x->alias_at;
	case KC_HOME_SLOT: return x->slot[p->fed].data;
	default: return x->buf.data;
	}
}

int kc_pass_resolve(struct kc_plan *p)
{
	for (int v = 0; v < p->n_values; v++)
		p->values[v].buf.data = locate(p, v);
	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i];

		for (int k = 0; k < s->n_in; k++)
			s->bufs[k] = p->values[s->in[k]].buf;
		for (int k = 0; k < s->n_out; k++)
			s->bufs[s->n_in + k] = p->values[s->out[k]].buf;
	}
	p->resolved_arena = p->device->arena;
	p->resolved_place = p->fed;
	return 0;
}
