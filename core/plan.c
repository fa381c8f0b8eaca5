#include "core/plan_ir.h"

#include "core/graph_private.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---- the intermediate form ---- */

int kc_ir_value(struct kc_plan *p, const struct kc_value *v)
{
	if (p->n_values == p->room_values) {
		int room = p->room_values ? 2 * p->room_values : 1024;
		struct kc_value *values = kc_realloc(p->values, (size_t)room, sizeof *values);

		if (!values)
			return KC_ENOMEM;
		p->values = values;
		p->room_values = room;
	}
	p->values[p->n_values] = *v;
	return p->n_values++;
}

int kc_ir_step(struct kc_plan *p, const struct kc_op *op, const struct kc_node *node,
	       const void *attr, int n_in, int n_out)
{
	struct kc_step s = {.op = op,
			    .node = node,
			    .attr = attr,
			    .n_in = n_in,
			    .n_out = n_out,
			    .workspace = -1,
			    .n_fused = 1};

	if (p->n_steps == p->room_steps) {
		int room = p->room_steps ? 2 * p->room_steps : 1024;
		struct kc_step *steps = kc_realloc(p->steps, (size_t)room, sizeof *steps);

		if (!steps)
			return KC_ENOMEM;
		p->steps = steps;
		p->room_steps = room;
	}
	s.in = kc_arena_alloc(&p->memory, (size_t)(n_in + n_out) * sizeof *s.in);
	if (!s.in)
		return KC_ENOMEM;
	s.out = s.in + n_in;
	p->steps[p->n_steps] = s;
	return p->n_steps++;
}

int kc_ir_find(const struct kc_plan *p, const struct kc_tensor *t)
{
	if (kc_is_poison(t) || t->node->id >= kc_graph_size(p->graph))
		return -1;
	return p->value_of[p->first_out[t->node->id] + t->out];
}

int kc_ir_root(const struct kc_plan *p, int v)
{
	while (p->values[v].home == KC_HOME_ALIAS)
		v = p->values[v].alias_of;
	return v;
}

static int by_order(const void *a, const void *b)
{
	const struct kc_step *x = a, *y = b;

	return (x->order > y->order) - (x->order < y->order);
}

/* Stable insertion of few moved steps would do; merging keeps equal orders in place. */
static void merge_sort(struct kc_step *v, struct kc_step *tmp, int n)
{
	int half = n / 2, a = 0, b = half, i = 0;

	if (n < 2)
		return;
	merge_sort(v, tmp, half);
	merge_sort(v + half, tmp, n - half);
	while (a < half || b < n)
		tmp[i++] = b == n || (a < half && by_order(&v[a], &v[b]) <= 0) ? v[a++] : v[b++];
	memcpy(v, tmp, (size_t)n * sizeof *v);
}

int kc_ir_sort(struct kc_plan *p)
{
	struct kc_step *tmp = kc_calloc((size_t)p->n_steps, sizeof *tmp);
	int n = 0;

	if (!tmp)
		return KC_ENOMEM;
	for (int i = 0; i < p->n_steps; i++)
		if (!p->steps[i].dead)
			p->steps[n++] = p->steps[i];
	p->n_steps = n;
	merge_sort(p->steps, tmp, n);
	for (int i = 0; i < n; i++)
		for (int k = 0; k < p->steps[i].n_out; k++)
			p->values[p->steps[i].out[k]].producer = i;
	free(tmp);
	return 0;
}

void kc_ir_trace(const struct kc_plan *p, const char *fmt, ...)
{
	va_list args;

	if (!p->opts.trace)
		return;
	va_start(args, fmt);
	vfprintf(p->opts.trace, fmt, args);
	va_end(args);
	fputc('\n', p->opts.trace);
}

static void run_copy(const struct kc_call *c)
{
	kc_copy(&c->out[0], &c->in[0]);
}

const struct kc_op kc_op_copy = {
	.name = "copy",
	.n_in_min = 1,
	.n_in_max = 1,
	.flags = KC_OP_NONDIFF | KC_OP_CHEAP,
	.ref = run_copy,
};

/* ---- building ---- */

static int build(struct kc_plan *p, struct kc_tensor *const *fetch, int n)
{
	KC_TRY(kc_graph_status(p->graph));
	KC_TRY(kc_pass_import(p, fetch, n));
	KC_TRY(kc_pass_precision(p));
	KC_TRY(kc_pass_layout(p));
	KC_TRY(kc_pass_fuse(p));
	KC_TRY(kc_pass_sums(p));
	KC_TRY(kc_pass_join(p));
	KC_TRY(kc_pass_pitch(p));
	KC_TRY(kc_pass_schedule(p));
	KC_TRY(kc_pass_again(p));
	KC_TRY(kc_pass_kernels(p));
	KC_TRY(kc_pass_memory(p));
	return kc_plan_alloc(p);
}

int kc_plan_build(struct kc_plan **out, struct kc_graph *g, struct kc_device *d,
		  struct kc_tensor *const *fetch, int n, const struct kc_plan_opts *opts)
{
	struct kc_plan *p = kc_calloc(1, sizeof *p);
	int rc;

	if (!p)
		return KC_ENOMEM;
	KC_ASSERT(!opts->low || opts->real == KC_F32);
	p->graph = g;
	p->device = d;
	p->opts = *opts;
	p->ops = kc_graph_ops(g);
	p->result = -1;
	rc = build(p, fetch, n);
	if (rc < 0)
		kc_plan_free(p);
	else
		*out = p;
	return rc;
}

void kc_plan_free(struct kc_plan *p)
{
	if (!p)
		return;
	kc_plan_dealloc(p);             /* waits for what still runs */
	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i];

		if (s->prepared && s->kernel && s->kernel->release)
			s->kernel->release(s->prepared);
		if (s->pack && s->pack->release)
			s->pack->release(s->pack);
	}
	kc_arena_release(&p->memory);
	free(p->steps);
	free(p->values);
	free(p);
}
