#include "core/graph.h"

#include "core/arena.h"
#include "core/graph_private.h"
#include "core/onnx.h"
#include "core/op.h"
#include "core/param.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MESSAGE = 1024, PATH = 512 };

struct kc_graph {
	struct kc_arena arena;
	const struct kc_op_set *ops;
	struct kc_node **nodes; /* by id */
	int n, room;
	struct kc_node **hash;
	size_t hash_size;
	char path[PATH];
	const char *interned; /* copy of path in the arena, or NULL */
	int status;
	char message[MESSAGE];
	bool backward;
	struct kc_node poison_node;
	struct kc_tensor poison;
};

struct kc_graph *kc_graph_new(const struct kc_op_set *ops)
{
	struct kc_graph *g = kc_calloc(1, sizeof *g);

	if (!g)
		return NULL;
	g->ops = ops;
	g->hash_size = 1 << 14;
	g->hash = kc_calloc(g->hash_size, sizeof(struct kc_node *));
	g->poison_node.out = &g->poison;
	g->poison_node.id = -1;
	g->poison_node.n_out = 1;
	g->poison.node = &g->poison_node;
	if (!g->hash) {
		kc_graph_free(g);
		return NULL;
	}
	return g;
}

void kc_graph_free(struct kc_graph *g)
{
	if (!g)
		return;
	kc_arena_release(&g->arena);
	free(g->nodes);
	free(g->hash);
	free(g);
}

int kc_graph_status(const struct kc_graph *g)
{
	return g->status ? KC_FAIL(g->status, "%s", g->message) : 0;
}

int kc_graph_size(const struct kc_graph *g)
{
	return g->n;
}

struct kc_node *kc_graph_node(const struct kc_graph *g, int id)
{
	return g->nodes[id];
}

bool kc_is_poison(const struct kc_tensor *t)
{
	return t->node->id < 0;
}

static struct kc_tensor *fail_with(struct kc_graph *g, int err)
{
	if (!g->status) {
		g->status = err;
		snprintf(g->message, sizeof g->message, "%s%s%s", g->path, g->path[0] ? ": " : "",
			 kc_errmsg());
	}
	return &g->poison;
}

struct kc_tensor *kc_graph_fail(struct kc_graph *g, const char *fmt, ...)
{
	char text[MESSAGE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return fail_with(g, KC_FAIL(KC_ESHAPE, "%s", text));
}

void *kc_graph_keep(struct kc_graph *g, const void *bytes, size_t n)
{
	void *copy = kc_arena_alloc(&g->arena, n);

	if (!copy) {
		fail_with(g, KC_ENOMEM);
		return NULL;
	}
	return memcpy(copy, bytes, n);
}

/* ---- scopes ---- */

size_t kc_scope_push(struct kc_graph *g, const char *name)
{
	size_t old = strlen(g->path);

	snprintf(g->path + old, sizeof g->path - old, "%s%s", old && name[0] ? "." : "", name);
	g->interned = NULL;
	return old;
}

void kc_scope_pop(struct kc_graph *g, size_t old)
{
	g->path[old] = '\0';
	g->interned = NULL;
}

const char *kc_scope_path(struct kc_graph *g, const char *name)
{
	size_t old = kc_scope_push(g, name);
	const char *path = kc_arena_strdup(&g->arena, g->path);

	kc_scope_pop(g, old);
	if (!path)
		fail_with(g, KC_ENOMEM);
	return path ? path : "";
}

static const char *current_path(struct kc_graph *g)
{
	if (!g->interned)
		g->interned = kc_arena_strdup(&g->arena, g->path);
	return g->interned;
}

/* ---- nodes ---- */

static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001B3u;
	return h;
}

static uint64_t hash_node(const struct kc_op *op, const void *attr, struct kc_tensor *const *in,
			  int n_in)
{
	uint64_t h = mix(0xCBF29CE484222325u, &op, sizeof op);

	h = mix(h, attr, attr ? op->attr_size : 0);
	return mix(h, in, (size_t)n_in * sizeof *in);
}

static bool same_node(const struct kc_node *n, const struct kc_op *op, const void *attr,
		      struct kc_tensor *const *in, int n_in)
{
	return n->op == op && n->n_in == n_in &&
	       (!n_in || !memcmp(n->in, in, (size_t)n_in * sizeof *in)) &&
	       (!attr || !memcmp(n->attr, attr, op->attr_size));
}

static int grow(struct kc_graph *g)
{
	if (g->n == g->room) {
		int room = g->room ? 2 * g->room : 1024;
		struct kc_node **nodes =
			kc_realloc(g->nodes, (size_t)room, sizeof(struct kc_node *));

		if (!nodes)
			return KC_ENOMEM;
		g->nodes = nodes;
		g->room = room;
	}
	return 0;
}

static struct kc_node *new_node(struct kc_graph *g, const struct kc_op *op, const void *attr,
				const struct kc_infer *f)
{
	struct kc_node *n = kc_arena_alloc(&g->arena, sizeof *n);
	void *copy = kc_arena_alloc(&g->arena, op->attr_size);
	struct kc_tensor **in =
		kc_arena_alloc(&g->arena, (size_t)f->n_in * sizeof(struct kc_tensor *));
	struct kc_tensor *out = kc_arena_alloc(&g->arena, (size_t)f->n_out * sizeof *out);

	if (!n || !copy || !in || !out || grow(g) < 0)
		return NULL;
	if (attr)
		memcpy(copy, attr, op->attr_size);
	if (f->n_in)
		memcpy(in, f->in, (size_t)f->n_in * sizeof(struct kc_tensor *));
	*n = (struct kc_node){.op = op,
			      .attr = copy,
			      .path = current_path(g),
			      .in = in,
			      .out = out,
			      .n_in = f->n_in,
			      .n_out = f->n_out,
			      .id = g->n,
			      .backward = g->backward};
	for (int i = 0; i < f->n_out; i++)
		out[i] = (struct kc_tensor){.node = n, .type = f->out[i], .out = i};
	g->nodes[g->n++] = n;
	return n;
}

struct kc_tensor *kc_apply(struct kc_graph *g, const struct kc_op *op, const void *attr,
			   struct kc_tensor *const *in, int n_in)
{
	struct kc_type out[KC_MAX_OUT];
	struct kc_infer f = {
		.g = g, .op = op, .attr = attr, .in = in, .n_in = n_in, .out = out, .n_out = 1};
	struct kc_node **slot, *n;

	if (g->status)
		return &g->poison;
	KC_ASSERT(n_in >= op->n_in_min && (op->n_in_max < 0 || n_in <= op->n_in_max));
	for (int i = 0; i < n_in; i++)
		KC_ASSERT(in[i] && !kc_is_poison(in[i]));
	slot = &g->hash[hash_node(op, attr, in, n_in) % g->hash_size];
	if (!(op->flags & (KC_OP_RANDOM | KC_OP_STATE)))
		for (n = *slot; n; n = n->next)
			if (same_node(n, op, attr, in, n_in))
				return &n->out[0];
	memset(out, 0, sizeof out);
	if (op->infer(&f) < 0) {
		kc_cause(KC_ESHAPE, "%s", op->name);
		return fail_with(g, KC_ESHAPE);
	}
	n = new_node(g, op, attr, &f);
	if (!n)
		return fail_with(g, KC_ENOMEM);
	n->next = *slot;
	*slot = n;
	return &n->out[0];
}

struct kc_tensor *kc_output(struct kc_tensor *t, int out)
{
	if (kc_is_poison(t))
		return t;
	KC_ASSERT(out < t->node->n_out);
	return &t->node->out[out];
}

/* ---- leaves ---- */

static int infer_input(struct kc_infer *f)
{
	const struct kc_input_attr *a = f->attr;

	f->out[0] = kc_type_of((int)a->dtype, (int)a->ndim, a->dim);
	return 0;
}

static int infer_param(struct kc_infer *f)
{
	const struct kc_param_attr *a = f->attr;

	f->out[0] = a->param->type;
	return 0;
}

static int infer_fill(struct kc_infer *f)
{
	const struct kc_fill_attr *a = f->attr;

	f->out[0] = kc_type_of((int)a->dtype, (int)a->ndim, a->dim);
	return 0;
}

const struct kc_op kc_op_input = {
	.name = "input",
	.flags = KC_OP_LEAF | KC_OP_RANDOM,
	.attr_size = sizeof(struct kc_input_attr),
	.infer = infer_input,
	.onnx = kc_onnx_input,
};
const struct kc_op kc_op_param = {
	.name = "param",
	.flags = KC_OP_LEAF,
	.attr_size = sizeof(struct kc_param_attr),
	.infer = infer_param,
	.onnx = kc_onnx_param,
};
const struct kc_op kc_op_fill = {
	.name = "fill",
	.flags = KC_OP_LEAF,
	.attr_size = sizeof(struct kc_fill_attr),
	.infer = infer_fill,
	.onnx = kc_onnx_fill,
};

struct kc_tensor *kc_input(struct kc_graph *g, const char *name, struct kc_type t)
{
	struct kc_input_attr a = {.ndim = t.ndim, .dtype = t.dtype};

	memcpy(a.dim, t.dim, sizeof a.dim);
	a.name = kc_arena_strdup(&g->arena, name);
	return a.name ? kc_apply(g, &kc_op_input, &a, NULL, 0) : fail_with(g, KC_ENOMEM);
}

struct kc_tensor *kc_fill(struct kc_graph *g, double value, struct kc_type t)
{
	struct kc_fill_attr a = {.value = value, .ndim = t.ndim, .dtype = t.dtype};

	memcpy(a.dim, t.dim, sizeof a.dim);
	return kc_apply(g, &kc_op_fill, &a, NULL, 0);
}

struct kc_tensor *kc_param_value(struct kc_graph *g, struct kc_param *p)
{
	return kc_apply(g, &kc_op_param, &(struct kc_param_attr){p}, NULL, 0);
}

const char *kc_input_name(const struct kc_tensor *t)
{
	if (t->node->op != &kc_op_input)
		return NULL;
	return ((const struct kc_input_attr *)t->node->attr)->name;
}

struct kc_param *kc_tensor_param(const struct kc_tensor *t)
{
	if (t->node->op != &kc_op_param)
		return NULL;
	return ((const struct kc_param_attr *)t->node->attr)->param;
}

/* ---- what gradient.c needs of the graph ---- */

const struct kc_op_set *kc_graph_ops(const struct kc_graph *g)
{
	return g->ops;
}

void kc_graph_forget(struct kc_graph *g, int id)
{
	for (size_t i = 0; i < g->hash_size; i++)
		for (struct kc_node **n = &g->hash[i]; *n;) {
			if ((*n)->id >= id)
				*n = (*n)->next;
			else
				n = &(*n)->next;
		}
}

/* Nodes made from now on belong to the backward pass, under the path of the node they
 * differentiate. */
bool kc_graph_backward(struct kc_graph *g, bool on, const char *path)
{
	bool old = g->backward;

	g->backward = on;
	snprintf(g->path, sizeof g->path, "%s", path);
	g->interned = path;
	return old;
}
