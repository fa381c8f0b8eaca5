/*
 * Pass 6: a concatenation that only puts its inputs one behind the other in memory.  Inputs that
 * can be written there in the first place become views into the output, the others are copied
 * into it, and the step disappears.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

/* May the k-th input of the step lie inside its output? */
static bool may_move(const struct kc_plan *p, const struct kc_step *s, int k, const int *uses)
{
	const struct kc_value *x = &p->values[s->in[k]], *y = &p->values[s->out[0]];

	return x->home == KC_HOME_ARENA && x->producer >= 0 && uses[s->in[k]] == 1 &&
	       x->buf.type.dtype == y->buf.type.dtype && kc_is_dense(&x->buf, y->layout);
}

static bool offsets(const struct kc_plan *p, const struct kc_step *s, int64_t *at)
{
	const struct kc_value *y = &p->values[s->out[0]];
	struct kc_buf in[KC_MAX_JOIN];

	for (int k = 0; k < s->n_in; k++)
		in[k] = p->values[s->in[k]].buf;
	for (int k = 0; k < s->n_in; k++) {
		at[k] = s->op->join(s->attr, &y->buf, in, k);
		if (at[k] < 0)
			return false;
		at[k] *= (int64_t)kc_dtype_size((enum kc_dtype)y->buf.type.dtype);
	}
	return true;
}

static void make_view(struct kc_plan *p, int v, int of, int64_t at)
{
	p->values[v].home = KC_HOME_ALIAS;
	p->values[v].alias_of = of;
	p->values[v].alias_at = at;
}

/* A step that copies value v to its place inside the output of step i. */
static int copy_into(struct kc_plan *p, int i, int v, int64_t at)
{
	struct kc_value part = p->values[v];
	const struct kc_value *y = &p->values[p->steps[i].out[0]];
	int s = kc_ir_step(p, &kc_op_copy, p->steps[i].node, NULL, 1, 1), made;

	KC_TRY(s);
	part.tensor = NULL;
	part.fetched = false;
	part.buf.type.dtype = y->buf.type.dtype;
	part.layout = y->layout;
	kc_strides(&part.buf.type, part.layout, part.buf.stride);
	made = kc_ir_value(p, &part);
	KC_TRY(made);
	make_view(p, made, p->steps[i].out[0], at);
	p->steps[s].in[0] = v;
	p->steps[s].out[0] = made;
	p->steps[s].order = p->steps[i].order;
	return 0;
}

static bool can_join(const struct kc_plan *p, const struct kc_step *s, int64_t *at)
{
	return s->op->join && s->n_in <= KC_MAX_JOIN &&
	       p->values[s->out[0]].home == KC_HOME_ARENA && offsets(p, s, at);
}

/* How often each value is an input of a step that can be joined: it can only lie in one. */
static int *count_uses(const struct kc_plan *p)
{
	int *uses = kc_calloc((size_t)p->n_values, sizeof *uses);
	int64_t at[KC_MAX_JOIN];

	for (int i = 0; uses && i < p->n_steps; i++)
		for (int k = 0; can_join(p, &p->steps[i], at) && k < p->steps[i].n_in; k++)
			uses[p->steps[i].in[k]]++;
	return uses;
}

static int join(struct kc_plan *p, int i, const int *uses)
{
	int64_t at[KC_MAX_JOIN];
	int movable = 0, n_in = p->steps[i].n_in, out = p->steps[i].out[0];

	if (!can_join(p, &p->steps[i], at))
		return 0;
	for (int k = 0; k < n_in; k++)
		movable += may_move(p, &p->steps[i], k, uses);
	if (!movable)
		return 0;
	for (int k = 0; k < n_in; k++) {
		if (may_move(p, &p->steps[i], k, uses))
			make_view(p, p->steps[i].in[k], out, at[k]);
		else
			KC_TRY(copy_into(p, i, p->steps[i].in[k], at[k]));
	}
	p->steps[i].dead = true;
	return 1;
}

int kc_pass_join(struct kc_plan *p)
{
	int *uses = count_uses(p), n = p->n_steps, joined = 0;

	if (!uses)
		return KC_ENOMEM;
	for (int i = 0; i < n; i++) {
		int rc = join(p, i, uses);

		if (rc < 0) {
			free(uses);
			return rc;
		}
		joined += rc;
	}
	free(uses);
	kc_ir_trace(p, "join: %d concatenations written in place", joined);
	return kc_ir_sort(p);
}
