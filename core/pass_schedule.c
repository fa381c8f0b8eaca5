/*
 * Pass 8: the order of the steps.  The graph's own order is kept (models and gradients are
 * written in an order that frees values soon), with three changes: steps that write state run
 * last, when every reader of the old parameters has run; cheap steps whose result is first
 * read much later move down to their first reader when that does not keep their inputs longer;
 * and steps flagged EARLY move up to where their inputs are there.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

static int *last_uses(const struct kc_plan *p)
{
	int *last = kc_calloc((size_t)p->n_values, sizeof *last);

	for (int i = 0; last && i < p->n_steps; i++)
		for (int k = 0; k < p->steps[i].n_in; k++)
			last[kc_ir_root(p, p->steps[i].in[k])] = i;
	return last;
}

static bool reads(const struct kc_plan *p, int j, int i)
{
	for (int k = 0; k < p->steps[j].n_in; k++)
		for (int o = 0; o < p->steps[i].n_out; o++)
			if (kc_ir_root(p, p->steps[j].in[k]) == p->steps[i].out[o])
				return true;
	return false;
}

/* By the new order: readers that were moved down already may stand behind others. */
static int first_reader(const struct kc_plan *p, int i)
{
	int first = -1;

	for (int j = i + 1; j < p->n_steps; j++)
		if ((first < 0 || p->steps[j].order < p->steps[first].order) && reads(p, j, i))
			first = j;
	return first;
}

static bool stay_alive(const struct kc_plan *p, const struct kc_step *s, int until, const int *last)
{
	for (int k = 0; k < s->n_in; k++) {
		int v = kc_ir_root(p, s->in[k]);

		if (p->values[v].home == KC_HOME_ARENA && last[v] < until)
			return false;
	}
	return true;
}

/* The last step before i that writes into memory which step i reads; -1: none. */
static int last_writer(const struct kc_plan *p, int i)
{
	const struct kc_step *s = &p->steps[i];

	for (int j = i - 1; j >= 0; j--)
		for (int o = 0; o < p->steps[j].n_out; o++)
			for (int k = 0; k < s->n_in; k++)
				if (kc_ir_root(p, p->steps[j].out[o]) == kc_ir_root(p, s->in[k]))
					return j;
	return -1;
}

static int move_up(struct kc_plan *p)
{
	int moved = 0;

	for (int i = 0; i < p->n_steps; i++) {
		int writer;

		if (!(p->steps[i].op->flags & KC_OP_EARLY))
			continue;
		writer = last_writer(p, i);
		p->steps[i].order = writer < 0 ? 0 : p->steps[writer].order;
		moved++;
	}
	return moved;
}

int kc_pass_schedule(struct kc_plan *p)
{
	int *last = last_uses(p), moved = 0, early;

	if (!last)
		return KC_ENOMEM;
	for (int i = p->n_steps - 1; i >= 0; i--) {
		struct kc_step *s = &p->steps[i];
		int reader;

		if (!(s->op->flags & KC_OP_CHEAP))
			continue;
		reader = first_reader(p, i);
		if (reader > i && (p->steps[reader].op->flags & KC_OP_EARLY))
			continue;
		if (reader > i + 1 && stay_alive(p, s, reader, last)) {
			s->order = p->steps[reader].order - 1;
			moved++;
		}
	}
	free(last);
	KC_TRY(kc_ir_sort(p));
	early = move_up(p);
	for (int i = 0; i < p->n_steps; i++)
		if (p->steps[i].op->flags & KC_OP_STATE)
			p->steps[i].order += INT64_C(1) << 40;
	kc_ir_trace(p, "schedule: %d cheap steps moved to their first reader, %d run early", moved,
		    early);
	return kc_ir_sort(p);
}
