/*
 * Pass 9: results of cheap steps that wait long for their second use (a concatenation that the
 * backward pass needs) are computed again there instead of kept, when that keeps fewer bytes
 * alive than the result has.  Not in bf16 on devices that have the room to keep them; in float32
 * convolutions take so long that the time would not be seen, and results twice the room.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

enum {
	GAP = 32,	/* steps between two uses that make it worth while */
	SMALL = 1 << 18 /* bytes that are not worth while */
};

struct again {
	struct kc_plan *p;
	int *last;    /* per value: last step that uses its memory */
	int *sharing; /* per value: candidates that would keep it alive */
	int *second;  /* per step: first use behind the gap, or -1 */
};

/* The first use of the step's result that comes long after the one before it; -1: none. */
static int use_behind_gap(const struct kc_plan *p, int i)
{
	int before = -1, v = p->steps[i].out[0];

	for (int j = i + 1; j < p->n_steps; j++)
		for (int k = 0; k < p->steps[j].n_in; k++) {
			if (kc_ir_root(p, p->steps[j].in[k]) != v)
				continue;
			if (before >= 0 && j - before > GAP)
				return j;
			before = j;
		}
	return -1;
}

static bool is_candidate(const struct kc_plan *p, const struct kc_step *s)
{
	const struct kc_value *y = s->n_out == 1 ? &p->values[s->out[0]] : NULL;

	return (s->op->flags & KC_OP_CHEAP) && y && y->home == KC_HOME_ARENA && !y->fetched &&
	       y->bytes >= SMALL;
}

static int find_candidates(struct again *a)
{
	struct kc_plan *p = a->p;

	for (int i = 0; i < p->n_steps; i++)
		for (int k = 0; k < p->steps[i].n_in; k++)
			a->last[kc_ir_root(p, p->steps[i].in[k])] = i;
	for (int i = 0; i < p->n_steps; i++) {
		const struct kc_step *s = &p->steps[i];

		a->second[i] = is_candidate(p, s) ? use_behind_gap(p, i) : -1;
		for (int k = 0; a->second[i] >= 0 && k < s->n_in; k++)
			a->sharing[kc_ir_root(p, s->in[k])]++;
	}
	return 0;
}

/* Inputs that would have to live longer cost their share of bytes. */
static bool is_worth_while(const struct again *a, int i)
{
	const struct kc_plan *p = a->p;
	const struct kc_step *s = &p->steps[i];
	double cost = 0;

	for (int k = 0; k < s->n_in; k++) {
		int root = kc_ir_root(p, s->in[k]);

		if (p->values[root].home == KC_HOME_ARENA && a->last[root] < a->second[i])
			cost += (double)p->values[root].bytes / KC_MAX(a->sharing[root], 1);
	}
	return 1.25 * cost < (double)p->values[s->out[0]].bytes;
}

/* A copy of step i in front of its late users, which then read its result. */
static int run_again(struct again *a, int i)
{
	struct kc_plan *p = a->p;
	int late = a->second[i], old = p->steps[i].out[0], n = p->n_steps, s, v;
	struct kc_value copy = p->values[old];

	s = kc_ir_step(p, p->steps[i].op, p->steps[i].node, p->steps[i].attr, p->steps[i].n_in, 1);
	KC_TRY(s);
	copy.tensor = NULL;
	v = kc_ir_value(p, &copy);
	KC_TRY(v);
	memcpy(p->steps[s].in, p->steps[i].in, (size_t)p->steps[i].n_in * sizeof(int));
	p->steps[s].out[0] = v;
	p->steps[s].order = p->steps[late].order - 1;
	for (int j = late; j < n; j++)
		for (int k = 0; k < p->steps[j].n_in; k++)
			if (p->steps[j].in[k] == old)
				p->steps[j].in[k] = v;
	return 0;
}

/* Late users must read the result itself: views into it would have to be made anew. */
static bool has_views(const struct kc_plan *p, int v)
{
	for (int u = 0; u < p->n_values; u++)
		if (p->values[u].home == KC_HOME_ALIAS && p->values[u].alias_of == v)
			return true;
	return false;
}

int kc_pass_again(struct kc_plan *p)
{
	struct again a = {.p = p};
	int n = p->n_steps, rc = 0, done = 0;

	if (p->device->roomy && p->opts.low)
		return 0;
	a.last = kc_calloc((size_t)p->n_values, sizeof(int));
	a.sharing = kc_calloc((size_t)p->n_values, sizeof(int));
	a.second = kc_calloc((size_t)n, sizeof(int));
	rc = a.last && a.sharing && a.second ? find_candidates(&a) : KC_ENOMEM;
	for (int i = 0; !rc && i < n; i++) {
		const struct kc_step *s = &p->steps[i];

		if (a.second[i] < 0 || has_views(p, s->out[0]) || !is_worth_while(&a, i))
			continue;
		rc = run_again(&a, i);
		done++;
	}
	free(a.last);
	free(a.sharing);
	free(a.second);
	kc_ir_trace(p, "again: %d results computed twice instead of kept", done);
	return rc < 0 ? rc : kc_ir_sort(p);
}
