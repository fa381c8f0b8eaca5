#include "core/onnx.h"

#include "core/param.h"
#include "core/plan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What a node depends on. */
enum { FIXED = 1, LEARNED = 2, FED = 4 };

enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTR = 5 };
enum { GRAPH_NODE = 1 };
enum { ATTR_NAME = 1, ATTR_F = 2, ATTR_I = 3, ATTR_S = 4, ATTR_INTS = 8, ATTR_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_STRING = 3, TYPE_INTS = 7 };

static unsigned char depends_on(const struct kc_onnx *x, const struct kc_node *n)
{
	unsigned char all = 0;

	if (n->op == &kc_op_param)
		return LEARNED;
	if (n->op == &kc_op_input || n->op->flags & (KC_OP_RANDOM | KC_OP_STATE))
		return FED;
	for (int i = 0; i < n->n_in; i++)
		all |= x->constant[n->in[i]->node->id];
	return all ? all : FIXED;
}

int kc_onnx_open(struct kc_onnx *x, struct kc_graph *g, struct kc_tensor *input, bool free_sides)
{
	int n = kc_graph_size(g), outputs = 0;

	*x = (struct kc_onnx){.graph = g, .input = input, .free_sides = free_sides};
	x->end = &x->first;
	KC_TRY(kc_graph_status(g));
	x->at = kc_calloc((size_t)n, sizeof *x->at);
	x->constant = kc_calloc((size_t)n, 1);
	if (!x->at || !x->constant)
		return KC_ENOMEM;
	for (int i = 0; i < n; i++) {
		x->at[i] = outputs;
		outputs += kc_graph_node(g, i)->n_out;
		x->constant[i] = depends_on(x, kc_graph_node(g, i));
	}
	x->name = kc_calloc((size_t)outputs, sizeof *x->name);
	if (!x->name)
		return KC_ENOMEM;
	kc_device_reference(&x->device);
	return 0;
}

void kc_onnx_close(struct kc_onnx *x)
{
	kc_proto_release(&x->nodes);
	kc_arena_release(&x->arena);
	kc_device_release(&x->device);
	free(x->name);
	free(x->at);
	free(x->constant);
	*x = (struct kc_onnx){0};
}

int kc_onnx_status(const struct kc_onnx *x)
{
	return x->err ? x->err : x->nodes.err;
}

static const char *fail(struct kc_onnx *x, int err)
{
	if (!x->err)
		x->err = err;
	return "";
}

const char *kc_onnx_refuse(struct kc_onnx *x, const struct kc_node *n, const char *why)
{
	if (x->err)
		return "";
	return fail(x, KC_FAIL(KC_ENOSUP, "%s: %s cannot be written as ONNX: %s",
			       n->path && n->path[0] ? n->path : "graph", n->op->name, why));
}

void *kc_onnx_alloc(struct kc_onnx *x, size_t size)
{
	void *p = kc_arena_alloc(&x->arena, size);

	if (!p)
		fail(x, KC_ENOMEM);
	return p;
}

/* A text that lives as long as the writer. */
static const char *text(struct kc_onnx *x, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static const char *text(struct kc_onnx *x, const char *format, ...)
{
	char buffer[512], *copy;
	va_list args;

	va_start(args, format);
	vsnprintf(buffer, sizeof buffer, format, args);
	va_end(args);
	copy = kc_arena_strdup(&x->arena, buffer);
	return copy ? copy : fail(x, KC_ENOMEM);
}

/* ---- nodes ---- */

static void put_attr(struct kc_proto *node, const struct kc_onnx_attr *a)
{
	struct kc_proto p = {0};

	kc_proto_text(&p, ATTR_NAME, a->name);
	switch (a->kind) {
	case KC_ONNX_I:
		kc_proto_int(&p, ATTR_I, a->i);
		kc_proto_int(&p, ATTR_TYPE, TYPE_INT);
		break;
	case KC_ONNX_F:
		kc_proto_float(&p, ATTR_F, (float)a->f);
		kc_proto_int(&p, ATTR_TYPE, TYPE_FLOAT);
		break;
	case KC_ONNX_S:
		kc_proto_text(&p, ATTR_S, a->s);
		kc_proto_int(&p, ATTR_TYPE, TYPE_STRING);
		break;
	default:
		for (int k = 0; k < a->n; k++)
			kc_proto_int(&p, ATTR_INTS, a->is[k]);
		kc_proto_int(&p, ATTR_TYPE, TYPE_INTS);
	}
	kc_proto_message(node, NODE_ATTR, &p);
	kc_proto_release(&p);
}

static const char *add(struct kc_onnx *x, const char *op, const struct kc_onnx_attr *attrs,
		       const char *const *in, int n_in, const char *out)
{
	struct kc_proto node = {0};

	if (x->err)
		return "";
	for (int i = 0; i < n_in; i++)
		kc_proto_text(&node, NODE_INPUT, in[i]);
	kc_proto_text(&node, NODE_OUTPUT, out);
	kc_proto_text(&node, NODE_NAME, text(x, "%s_%d", op, x->n_nodes++));
	kc_proto_text(&node, NODE_OP, op);
	for (; attrs && attrs->kind != KC_ONNX_END; attrs++)
		put_attr(&node, attrs);
	kc_proto_message(&x->nodes, GRAPH_NODE, &node);
	kc_proto_release(&node);
	return out;
}

const char *kc_onnx_add(struct kc_onnx *x, const char *op, const struct kc_onnx_attr *attrs,
			const char *const *in, int n_in)
{
	return add(x, op, attrs, in, n_in, text(x, "v%d", x->n_values++));
}

void kc_onnx_output(struct kc_onnx *x, const char *name, const struct kc_tensor *t)
{
	const char *value = kc_onnx_value(x, t);

	add(x, "Identity", NULL, &value, 1, name);
}

/* ---- constants ---- */

const char *kc_onnx_const(struct kc_onnx *x, const char *name, enum kc_onnx_dtype dtype,
			  const struct kc_type *t, const void *data, size_t bytes)
{
	struct kc_onnx_const *c = kc_onnx_alloc(x, sizeof *c);

	if (!c)
		return "";
	*c = (struct kc_onnx_const){.name = name, .dtype = dtype, .ndim = t->ndim, .data = data,
				    .bytes = bytes};
	memcpy(c->dim, t->dim, sizeof c->dim);
	*x->end = c;
	x->end = &c->next;
	x->n_consts++;
	return name;
}

/* A small constant whose name says its value. */
static const char *shared(struct kc_onnx *x, const char *name, enum kc_onnx_dtype dtype,
			  const struct kc_type *t, const void *data, size_t bytes)
{
	void *copy;

	for (const struct kc_onnx_const *c = x->first; c; c = c->next)
		if (!strcmp(c->name, name))
			return c->name;
	copy = kc_onnx_alloc(x, bytes);
	if (!copy)
		return "";
	memcpy(copy, data, bytes);
	return kc_onnx_const(x, name, dtype, t, copy, bytes);
}

const char *kc_onnx_number(struct kc_onnx *x, double value)
{
	struct kc_type scalar = {.ndim = 0};
	float v = (float)value;

	return shared(x, text(x, "number_%.9g", (double)v), KC_ONNX_FLOAT, &scalar, &v, sizeof v);
}

const char *kc_onnx_int(struct kc_onnx *x, int64_t v)
{
	struct kc_type scalar = {.ndim = 0};

	return shared(x, text(x, "int_%lld", (long long)v), KC_ONNX_INT64, &scalar, &v, sizeof v);
}

const char *kc_onnx_ints(struct kc_onnx *x, int n, const int64_t *v)
{
	struct kc_type list = KC_TYPE(KC_I64, n);
	const char *name = "ints";

	for (int i = 0; i < n; i++)
		name = text(x, "%s_%lld", name, (long long)v[i]);
	return shared(x, name, KC_ONNX_INT64, &list, v, (size_t)n * sizeof *v);
}

/* Runs what leads to t, which depends on no input. */
static int compute(struct kc_onnx *x, const struct kc_tensor *t, float *out)
{
	struct kc_tensor *fetch = (struct kc_tensor *)(uintptr_t)t;
	struct kc_plan_opts opts = {.no_fuse = true};
	struct kc_type type = t->type;
	struct kc_plan *plan = NULL;
	struct kc_buf b;
	int rc = kc_plan_build(&plan, x->graph, &x->device, &fetch, 1, &opts);

	type.dtype = KC_F32;
	b = kc_buf_of(out, &type, KC_PLAIN);
	if (!rc)
		rc = kc_plan_run(plan);
	if (!rc)
		rc = kc_plan_read(plan, fetch, &b);
	kc_plan_free(plan);
	return rc;
}

static const char *fold(struct kc_onnx *x, const struct kc_tensor *t)
{
	size_t bytes = (size_t)kc_numel(&t->type) * sizeof(float);
	float *data = kc_onnx_alloc(x, bytes);
	int rc;

	if (!data)
		return "";
	rc = compute(x, t, data);
	if (rc < 0)
		return fail(x, rc);
	return kc_onnx_const(x, text(x, "%s.folded_%d", t->node->path, x->n_consts), KC_ONNX_FLOAT,
			     &t->type, data, bytes);
}

/* ---- values ---- */

static const char *make(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_node *n = t->node;

	/* Of parameters alone, and no larger than they are. */
	if (n->op != &kc_op_param && (x->constant[n->id] & LEARNED) &&
	    !(x->constant[n->id] & FED) && !(n->op->flags & KC_OP_BROADCAST) &&
	    !kc_onnx_is_free(x, &t->type))
		return fold(x, t);
	if (!n->op->onnx)
		return kc_onnx_refuse(x, n, "the operator has no counterpart there");
	return n->op->onnx(x, t);
}

const char *kc_onnx_value(struct kc_onnx *x, const struct kc_tensor *t)
{
	const char **name = &x->name[x->at[t->node->id] + t->out];

	if (x->err)
		return "";
	if (!*name)
		*name = make(x, t);
	return *name;
}

/* The value that is repeated, where t is a repetition. */
static const struct kc_tensor *unrepeated(const struct kc_tensor *t)
{
	while (t->node->op->flags & KC_OP_BROADCAST)
		t = t->node->in[0];
	return t;
}

static bool is_full(const struct kc_tensor *t, const struct kc_type *shape)
{
	return t->node->op != &kc_op_fill && kc_same_dims(&t->type, shape);
}

void kc_onnx_operands(struct kc_onnx *x, const struct kc_node *n, const char **names)
{
	bool full = false;

	for (int i = 0; i < n->n_in; i++)
		full |= is_full(unrepeated(n->in[i]), &n->out[0].type);
	for (int i = 0; i < n->n_in; i++) {
		const struct kc_tensor *t = unrepeated(n->in[i]);

		if (!full && i == 0)
			names[i] = kc_onnx_value(x, n->in[i]);
		else if (t->node->op == &kc_op_fill)
			names[i] = kc_onnx_number(x, ((const struct kc_fill_attr *)
						      t->node->attr)->value);
		else
			names[i] = kc_onnx_value(x, t);
	}
}

/* ---- free sides ---- */

bool kc_onnx_is_free(const struct kc_onnx *x, const struct kc_type *t)
{
	return x->free_sides && t->ndim == 4 && (t->dim[2] > 1 || t->dim[3] > 1);
}

static int64_t divisor(int64_t a, int64_t b)
{
	return b ? divisor(b, a % b) : a;
}

/* Height and width at run time, as the same multiple of the input's. */
static const char *sides(struct kc_onnx *x, const struct kc_type *t)
{
	const int64_t *in = x->input->type.dim, *d = t->dim;
	int64_t common = divisor(d[2], in[2]), times = d[2] / common, over = in[2] / common;
	const char *v = KC_ONNX(x, "Shape", NULL, kc_onnx_value(x, x->input));

	if (d[3] * over != in[3] * times) {
		if (!x->err)
			fail(x, KC_FAIL(KC_ENOSUP, "free sides: height and width of a value are "
					"not the same multiple of the input's"));
		return "";
	}
	v = KC_ONNX(x, "Slice", NULL, v, kc_onnx_ints(x, 1, (int64_t[]){2}),
		    kc_onnx_ints(x, 1, (int64_t[]){4}));
	if (times != 1)
		v = KC_ONNX(x, "Mul", NULL, v, kc_onnx_ints(x, 1, &times));
	if (over != 1)
		v = KC_ONNX(x, "Div", NULL, v, kc_onnx_ints(x, 1, &over));
	return v;
}

const char *kc_onnx_dims(struct kc_onnx *x, const struct kc_type *t)
{
	if (!kc_onnx_is_free(x, t))
		return kc_onnx_ints(x, t->ndim, t->dim);
	return KC_ONNX(x, "Concat", KC_ONNX_ATTRS(KC_ONNX_INT("axis", 0)),
		       kc_onnx_ints(x, 2, t->dim), sides(x, t));
}

/* ---- the engine's own operators ---- */

const char *kc_onnx_input(struct kc_onnx *x, const struct kc_tensor *t)
{
	(void)x;
	return kc_input_name(t);
}

const char *kc_onnx_param(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_param *p = kc_tensor_param(t);
	struct kc_buf b = kc_param_master(p);

	if (b.type.dtype != KC_F32)
		return kc_onnx_refuse(x, t->node, "parameters must be float32");
	return kc_onnx_const(x, p->name, KC_ONNX_FLOAT, &b.type, b.data,
			     (size_t)kc_numel(&b.type) * sizeof(float));
}

const char *kc_onnx_fill(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_fill_attr *a = t->node->attr;

	if (a->dtype != KC_REAL)
		return kc_onnx_refuse(x, t->node, "only real constants are");
	return KC_ONNX(x, "Expand", NULL, kc_onnx_number(x, a->value), kc_onnx_dims(x, &t->type));
}
