/* Pass 1: takes from the graph what the fetched values need, and nothing else. */
#include "core/plan_ir.h"

#include <stdlib.h>

static void mark(const struct kc_plan *p, bool *need)
{
	for (int id = kc_graph_size(p->graph) - 1; id >= 0; id--) {
		const struct kc_node *n = kc_graph_node(p->graph, id);

		for (int k = 0; need[id] && k < n->n_in; k++)
			need[n->in[k]->node->id] = true;
	}
}

static int import_leaf(struct kc_plan *p, const struct kc_node *n)
{
	struct kc_value v = {.tensor = &n->out[0], .producer = -1, .home = KC_HOME_SLOT};

	v.buf.type = n->out[0].type;
	v.real = v.buf.type.dtype == KC_REAL;
	if (n->op == &kc_op_param) {
		v.param = ((const struct kc_param_attr *)n->attr)->param;
		v.home = KC_HOME_MASTER;
		v.real = false;
		v.buf.type.dtype = (int)v.param->store->dtype;
	} else if (n->op == &kc_op_fill) {
		v.constant = ((const struct kc_fill_attr *)n->attr)->value;
		v.home = KC_HOME_CONSTANT;
	}
	return kc_ir_value(p, &v);
}

static int import_node(struct kc_plan *p, const struct kc_node *n)
{
	int s = kc_ir_step(p, n->op, n, n->attr, n->n_in, n->n_out);

	if (s < 0)
		return s;
	for (int k = 0; k < n->n_in; k++)
		p->steps[s].in[k] = kc_ir_find(p, n->in[k]);
	for (int k = 0; k < n->n_out; k++) {
		struct kc_value v = {.tensor = &n->out[k], .producer = s, .home = KC_HOME_ARENA};
		int at;

		v.buf.type = n->out[k].type;
		v.real = v.buf.type.dtype == KC_REAL;
		at = kc_ir_value(p, &v);
		KC_TRY(at);
		p->steps[s].out[k] = at;
		p->value_of[p->first_out[n->id] + k] = at;
	}
	p->steps[s].order = 2 * (int64_t)n->id;
	return 0;
}

static int import(struct kc_plan *p, const bool *need)
{
	for (int id = 0; id < kc_graph_size(p->graph); id++) {
		const struct kc_node *n = kc_graph_node(p->graph, id);
		int v;

		if (!need[id])
			continue;
		if (!(n->op->flags & KC_OP_LEAF)) {
			KC_TRY(import_node(p, n));
			continue;
		}
		v = import_leaf(p, n);
		KC_TRY(v);
		p->value_of[p->first_out[id]] = v;
	}
	return 0;
}

static int number_outputs(struct kc_plan *p)
{
	int nodes = kc_graph_size(p->graph), outs = 0;

	p->first_out = kc_arena_alloc(&p->memory, (size_t)nodes * sizeof *p->first_out);
	if (!p->first_out)
		return KC_ENOMEM;
	for (int id = 0; id < nodes; id++) {
		p->first_out[id] = outs;
		outs += kc_graph_node(p->graph, id)->n_out;
	}
	p->value_of = kc_arena_alloc(&p->memory, (size_t)outs * sizeof *p->value_of);
	if (!p->value_of)
		return KC_ENOMEM;
	for (int i = 0; i < outs; i++)
		p->value_of[i] = -1;
	return 0;
}

int kc_pass_import(struct kc_plan *p, struct kc_tensor *const *fetch, int n)
{
	int nodes = kc_graph_size(p->graph), rc;
	bool *need = kc_calloc((size_t)nodes, 1);

	if (!need)
		return KC_ENOMEM;
	for (int i = 0; i < n; i++)
		need[fetch[i]->node->id] = true;
	mark(p, need);
	rc = number_outputs(p);
	if (!rc)
		rc = import(p, need);
	free(need);
	for (int i = 0; !rc && i < n; i++)
		p->values[kc_ir_find(p, fetch[i])].fetched = true;
	kc_ir_trace(p, "prune: %d of %d nodes, %d steps", p->n_values, nodes, p->n_steps);
	return rc;
}
