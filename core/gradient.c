/*
 * Reverse-mode differentiation that writes graph, so gradients of gradients work.
 *
 * A node that is defined by `expand` is differentiated through its definition: the walk is
 * seeded with the gradients that arrive at its outputs and stops at its inputs, which are
 * kept apart from each other even when one was computed from another.
 */
#include "core/graph_private.h"
#include "core/op.h"

#include <stdlib.h>

struct walk {
	struct kc_graph *g;
	int n;		/* nodes that existed when the walk began */
	int *first_out; /* index of a node's output 0 in grads */
	struct kc_tensor **grads;
	bool *need; /* the node leads to a wrt */
	bool *stop; /* the node is a wrt of a partial walk */
};

static int vjp(struct kc_graph *, struct kc_tensor *const *y, struct kc_tensor *const *gy, int ny,
	       struct kc_tensor *const *wrt, int n, bool partial, struct kc_tensor **out);

static struct kc_tensor **grad_of(struct walk *w, const struct kc_tensor *t)
{
	return &w->grads[w->first_out[t->node->id] + t->out];
}

static void accumulate(struct walk *w, const struct kc_tensor *t, struct kc_tensor *g)
{
	struct kc_tensor **slot = grad_of(w, t);

	*slot = *slot ? kc_graph_ops(w->g)->add(w->g, *slot, g) : g;
}

static int walk_begin(struct walk *w, struct kc_graph *g, struct kc_tensor *const *wrt, int n,
		      bool partial)
{
	int outs = 0;

	*w = (struct walk){.g = g, .n = kc_graph_size(g)};
	w->first_out = kc_calloc((size_t)w->n, sizeof *w->first_out);
	w->need = kc_calloc((size_t)w->n, 1);
	w->stop = kc_calloc((size_t)w->n, 1);
	if (!w->first_out || !w->need || !w->stop)
		return KC_ENOMEM;
	for (int i = 0; i < n; i++) {
		w->need[wrt[i]->node->id] = true;
		w->stop[wrt[i]->node->id] = partial;
	}
	for (int i = 0; i < w->n; i++) {
		const struct kc_node *node = kc_graph_node(g, i);

		w->first_out[i] = outs;
		outs += node->n_out;
		for (int k = 0; k < node->n_in; k++)
			w->need[i] |= w->need[node->in[k]->node->id];
		if (node->op->flags & KC_OP_NONDIFF)
			w->need[i] = w->stop[i];
	}
	w->grads = kc_calloc((size_t)outs, sizeof(struct kc_tensor *));
	return w->grads ? 0 : KC_ENOMEM;
}

static void walk_end(struct walk *w)
{
	free(w->first_out);
	free(w->grads);
	free(w->need);
	free(w->stop);
}

/* Gradients of the node's inputs, through its rule or its definition. */
static int node_vjp(struct walk *w, const struct kc_node *node, struct kc_tensor **gx,
		    const bool *need)
{
	struct kc_tensor *const *gy = &w->grads[w->first_out[node->id]];
	struct kc_grad_ctx c = {
		.g = w->g, .node = node, .in = node->in, .gy = gy, .gx = gx, .need = need};
	struct kc_tensor *y[KC_MAX_OUT] = {0}, *seed[KC_MAX_OUT], *at[KC_MAX_OUT];
	int ny = 0;

	if (node->op->grad) {
		node->op->grad(&c);
		return 0;
	}
	if (!node->op->expand) {
		kc_graph_fail(w->g, "%s has no gradient", node->op->name);
		return KC_ESHAPE;
	}
	node->op->expand(w->g, node, node->in, y);
	for (int k = 0; k < node->n_out; k++)
		if (gy[k]) {
			at[ny] = y[k];
			seed[ny++] = gy[k];
		}
	return vjp(w->g, at, seed, ny, node->in, node->n_in, true, gx);
}

static int walk_node(struct walk *w, const struct kc_node *node)
{
	struct kc_tensor **gx = kc_calloc((size_t)node->n_in, sizeof(struct kc_tensor *));
	bool *need = kc_calloc((size_t)node->n_in, 1);
	int rc = gx && need ? 0 : KC_ENOMEM;

	for (int k = 0; !rc && k < node->n_in; k++)
		need[k] = w->need[node->in[k]->node->id];
	if (!rc) {
		kc_graph_backward(w->g, true, node->path);
		rc = node_vjp(w, node, gx, need);
	}
	for (int k = 0; !rc && k < node->n_in; k++) {
		if (!gx[k] || !need[k])
			continue;
		if (!kc_is_poison(gx[k]) && !kc_same_dims(&gx[k]->type, &node->in[k]->type))
			kc_graph_fail(w->g, "gradient of %s has another shape than input %d",
				      node->op->name, k);
		else
			accumulate(w, node->in[k], gx[k]);
	}
	free(gx);
	free(need);
	return rc;
}

static bool has_gradient(const struct walk *w, const struct kc_node *node)
{
	for (int k = 0; k < node->n_out; k++)
		if (w->grads[w->first_out[node->id] + k])
			return true;
	return false;
}

/* An operator may get the same value twice: its gradient must then arrive once. */
static bool seen_before(struct kc_tensor *const *wrt, int i)
{
	for (int k = 0; k < i; k++)
		if (wrt[k] == wrt[i])
			return true;
	return false;
}

static int vjp(struct kc_graph *g, struct kc_tensor *const *y, struct kc_tensor *const *gy, int ny,
	       struct kc_tensor *const *wrt, int n, bool partial, struct kc_tensor **out)
{
	struct walk w;
	int rc = walk_begin(&w, g, wrt, n, partial);

	for (int i = 0; !rc && i < ny; i++)
		accumulate(&w, y[i], gy[i]);
	for (int i = w.n - 1; !rc && i >= 0; i--) {
		const struct kc_node *node = kc_graph_node(g, i);

		if (!w.need[i] || w.stop[i] || (node->op->flags & (KC_OP_NONDIFF | KC_OP_LEAF)) ||
		    !has_gradient(&w, node))
			continue;
		rc = walk_node(&w, node);
		if (!rc)
			rc = kc_graph_status(g);
	}
	for (int i = 0; !rc && i < n; i++)
		out[i] = partial && seen_before(wrt, i) ? NULL : *grad_of(&w, wrt[i]);
	walk_end(&w);
	return rc;
}

int kc_grad_many(struct kc_graph *g, struct kc_tensor *const *y, struct kc_tensor *const *gy,
		 int ny, struct kc_tensor *const *wrt, int n, struct kc_tensor **out)
{
	struct kc_tensor **seed;
	bool old;
	int rc = kc_graph_status(g);

	if (rc < 0)
		return rc;
	seed = kc_calloc((size_t)ny, sizeof(struct kc_tensor *));
	if (!seed)
		return KC_ENOMEM;
	old = kc_graph_backward(g, true, "");
	for (int i = 0; i < ny; i++)
		seed[i] = gy && gy[i] ? gy[i] : kc_fill(g, 1, y[i]->type);
	rc = kc_graph_status(g);
	if (!rc)
		rc = vjp(g, y, seed, ny, wrt, n, false, out);
	for (int i = 0; !rc && i < n; i++)
		if (!out[i])
			out[i] = kc_fill(g, 0, wrt[i]->type);
	kc_graph_backward(g, old, "");
	free(seed);
	return rc;
}

int kc_grad(struct kc_graph *g, struct kc_tensor *y, struct kc_tensor *gy,
	    struct kc_tensor *const *wrt, int n, struct kc_tensor **out)
{
	return kc_grad_many(g, &y, gy ? &gy : NULL, 1, wrt, n, out);
}
