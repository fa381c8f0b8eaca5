#include "weights/onnx.h"

#include "core/file.h"
#include "core/onnx.h"

#include <stdio.h>

enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_META = 14 };
enum { OPSET_VERSION = 2 };
enum { META_KEY = 1, META_VALUE = 2 };
enum { GRAPH_NAME = 2, GRAPH_CONST = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { CONST_DIM = 1, CONST_TYPE = 2, CONST_NAME = 8, CONST_RAW = 9 };
enum { VALUE_NAME = 1, VALUE_TYPE = 2 };
enum { TYPE_TENSOR = 1, TENSOR_ELEM = 1, TENSOR_SHAPE = 2, SHAPE_DIM = 1 };
enum { DIM_VALUE = 1, DIM_PARAM = 2 };

static const uint64_t size_limit = INT32_MAX;   /* of a protobuf message */

/* ---- inputs and outputs ---- */

/* A free side by name: "height", "height / 4", "height * 2"; else its size. */
static void put_dim(struct kc_proto *shape, const struct kc_onnx *x, const struct kc_type *t, int i)
{
	bool is_free = kc_onnx_is_free(x, t) && (i == 2 || i == 3);
	int64_t in = is_free ? x->input->type.dim[i] : 1, out = t->dim[i];
	const char *side = i == 2 ? "height" : "width";
	struct kc_proto dim = {0};
	char text[48];

	if (!is_free) {
		kc_proto_int(&dim, DIM_VALUE, out);
	} else {
		if (in == out)
			snprintf(text, sizeof text, "%s", side);
		else if (in % out == 0)
			snprintf(text, sizeof text, "%s / %lld", side, (long long)(in / out));
		else
			snprintf(text, sizeof text, "%s * %lld / %lld", side, (long long)out,
				 (long long)in);
		kc_proto_text(&dim, DIM_PARAM, text);
	}
	kc_proto_message(shape, SHAPE_DIM, &dim);
	kc_proto_release(&dim);
}

static void put_value(struct kc_proto *graph, int field, const struct kc_onnx *x, const char *name,
		      const struct kc_type *t)
{
	struct kc_proto shape = {0}, tensor = {0}, type = {0}, value = {0};

	for (int i = 0; i < t->ndim; i++)
		put_dim(&shape, x, t, i);
	kc_proto_int(&tensor, TENSOR_ELEM, KC_ONNX_FLOAT);
	kc_proto_message(&tensor, TENSOR_SHAPE, &shape);
	kc_proto_message(&type, TYPE_TENSOR, &tensor);
	kc_proto_text(&value, VALUE_NAME, name);
	kc_proto_message(&value, VALUE_TYPE, &type);
	kc_proto_message(graph, field, &value);
	kc_proto_release(&shape);
	kc_proto_release(&tensor);
	kc_proto_release(&type);
	kc_proto_release(&value);
}

static int check_sides(const struct kc_onnx_args *a)
{
	const struct kc_type *first = a->n_inputs ? &a->inputs[0].value->type : NULL;

	for (int i = 0; a->free_sides && i < a->n_inputs; i++) {
		const struct kc_type *t = &a->inputs[i].value->type;

		if (t->ndim != 4 || t->dim[2] != first->dim[2] || t->dim[3] != first->dim[3])
			return KC_FAIL(KC_EINVAL, "onnx: free sides, but \"%s\" has others than "
				       "the first input", kc_input_name(a->inputs[i].value));
	}
	return a->free_sides && !first ? KC_FAIL(KC_EINVAL, "onnx: free sides of no input") : 0;
}

static int check_inputs(const struct kc_onnx *x, const struct kc_onnx_args *a)
{
	for (int i = 0; i < kc_graph_size(x->graph); i++) {
		struct kc_tensor *t = &kc_graph_node(x->graph, i)->out[0];
		bool listed = !kc_input_name(t) || !x->name[x->at[i]];

		for (int k = 0; k < a->n_inputs; k++)
			listed |= a->inputs[k].value == t;
		if (!listed)
			return KC_FAIL(KC_EINVAL, "onnx: \"%s\" is read, but is no input",
				       kc_input_name(t));
	}
	return 0;
}

/* Everything of the graph but the data of constants. */
static int build(struct kc_onnx *x, const struct kc_onnx_args *a, struct kc_proto *graph)
{
	for (int i = 0; i < a->n_outputs; i++)
		kc_onnx_output(x, a->outputs[i].name, a->outputs[i].value);
	KC_TRY(kc_onnx_status(x));
	KC_TRY(check_inputs(x, a));
	kc_proto_text(graph, GRAPH_NAME, a->name);
	for (int i = 0; i < a->n_inputs; i++)
		put_value(graph, GRAPH_INPUT, x, kc_input_name(a->inputs[i].value),
			  &a->inputs[i].value->type);
	for (int i = 0; i < a->n_outputs; i++)
		put_value(graph, GRAPH_OUTPUT, x, a->outputs[i].name, &a->outputs[i].value->type);
	return graph->err;
}

/* ---- the file ---- */

/* A constant up to its data, with the head of the field that holds it. */
static void put_const(struct kc_proto *out, const struct kc_onnx_const *c)
{
	struct kc_proto p = {0};

	for (int i = 0; i < c->ndim; i++)
		kc_proto_int(&p, CONST_DIM, c->dim[i]);
	kc_proto_int(&p, CONST_TYPE, c->dtype);
	kc_proto_text(&p, CONST_NAME, c->name);
	kc_proto_head(&p, CONST_RAW, c->bytes);
	kc_proto_head(out, GRAPH_CONST, p.size + c->bytes);
	kc_proto_append(out, &p);
	kc_proto_release(&p);
}

/* Heads and data of the constants; w NULL: only their size. */
static int write_consts(const struct kc_onnx *x, struct kc_writer *w, uint64_t *size)
{
	for (const struct kc_onnx_const *c = x->first; c; c = c->next) {
		struct kc_proto head = {0};
		int rc;

		put_const(&head, c);
		*size += head.size + c->bytes;
		rc = head.err;
		if (!rc && w)
			rc = kc_writer_write(w, head.data, head.size);
		if (!rc && w && c->bytes)
			rc = kc_writer_write(w, c->data, c->bytes);
		kc_proto_release(&head);
		KC_TRY(rc);
	}
	return 0;
}

static void put_model(struct kc_proto *p, const struct kc_onnx_args *a, uint64_t graph_size)
{
	struct kc_proto inner = {0};

	kc_proto_int(p, MODEL_IR, KC_ONNX_IR);
	kc_proto_text(p, MODEL_PRODUCER, "kinemacolor");
	kc_proto_int(&inner, OPSET_VERSION, KC_ONNX_OPSET);
	kc_proto_message(p, MODEL_OPSET, &inner);
	kc_proto_release(&inner);
	for (int i = 0; i < a->n_meta; i++) {
		kc_proto_text(&inner, META_KEY, a->meta[i].key);
		kc_proto_text(&inner, META_VALUE, a->meta[i].value);
		kc_proto_message(p, MODEL_META, &inner);
		kc_proto_release(&inner);
	}
	kc_proto_head(p, MODEL_GRAPH, graph_size);
}

static int write_file(const char *path, const struct kc_onnx *x, const struct kc_onnx_args *a,
		      const struct kc_proto *graph)
{
	uint64_t size = x->nodes.size + graph->size, total = 0;
	struct kc_proto head = {0};
	struct kc_writer w;
	int rc;

	KC_TRY(write_consts(x, NULL, &size));
	put_model(&head, a, size);
	total = head.size + size;
	rc = head.err;
	if (!rc && total > size_limit)
		rc = KC_FAIL(KC_ENOSUP, "%s: an ONNX file holds at most 2 GB, this model needs "
			     "%llu bytes", path, (unsigned long long)total);
	if (!rc)
		rc = kc_writer_begin(&w, path, total);
	if (rc < 0) {
		kc_proto_release(&head);
		return rc;
	}
	kc_writer_write(&w, head.data, head.size);
	kc_writer_write(&w, x->nodes.data, x->nodes.size);
	kc_writer_write(&w, graph->data, graph->size);
	rc = write_consts(x, &w, &total);
	kc_proto_release(&head);
	if (rc < 0) {
		kc_writer_abort(&w);
		return rc;
	}
	return kc_writer_commit(&w);
}

int kc_onnx_save(const char *path, struct kc_graph *g, const struct kc_onnx_args *a)
{
	struct kc_proto graph = {0};
	struct kc_onnx x;
	int rc;

	KC_TRY(check_sides(a));
	rc = kc_onnx_open(&x, g, a->n_inputs ? a->inputs[0].value : NULL, a->free_sides);

	if (!rc)
		rc = build(&x, a, &graph);
	if (!rc)
		rc = write_file(path, &x, a, &graph);
	kc_proto_release(&graph);
	kc_onnx_close(&x);
	return rc < 0 ? kc_cause(rc, "%s", path) : 0;
}
