/*
 * ONNX files, decoded again: bytes, order of nodes, names, shapes, and that a free side is baked
 * into nothing.  What they compute is checked in ONNX Runtime by tests/onnx.sh.
 */
#include "core/file.h"
#include "core/onnx.h"
#include "core/proto.h"
#include "eval/onnx_model.h"
#include "models/siggraph17.h"
#include "tests/test.h"
#include "weights/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a decoder ---- */

struct reader { const unsigned char *at, *end; bool bad; };

struct field {
	int number, wire;
	uint64_t value;                 /* varint, or the bits of a float */
	struct reader bytes;            /* length-delimited */
};

static uint64_t varint(struct reader *r)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 70; shift += 7) {
		if (r->at == r->end)
			break;
		v |= shift < 64 ? (uint64_t)(*r->at & 0x7f) << shift : 0;
		if (!(*r->at++ & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static bool next(struct reader *r, struct field *f)
{
	uint64_t tag;

	if (r->at == r->end || r->bad)
		return false;
	tag = varint(r);
	f->number = (int)(tag >> 3);
	f->wire = (int)(tag & 7);
	f->value = 0;
	if (f->wire == 0) {
		f->value = varint(r);
	} else if (f->wire == 5 && r->end - r->at >= 4) {
		for (int i = 0; i < 4; i++)
			f->value |= (uint64_t)*r->at++ << 8 * i;
	} else if (f->wire == 2) {
		f->value = varint(r);
		if (r->bad || f->value > (uint64_t)(r->end - r->at)) {
			r->bad = true;
			return false;
		}
		f->bytes = (struct reader){r->at, r->at + f->value, false};
		r->at += f->value;
	} else {
		r->bad = true;
	}
	return !r->bad;
}

static bool is_text(const struct reader *r, const char *text)
{
	size_t n = (size_t)(r->end - r->at);

	return strlen(text) == n && !memcmp(r->at, text, n);
}

/* ---- a file as lists ---- */

enum { LIST = 4096, TEXT = 96 };
enum { MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { GRAPH_NODE = 1, GRAPH_CONST = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };

struct names { char v[LIST][TEXT]; int n; };

struct decoded {
	struct names values;            /* inputs, constants and results of nodes, each once */
	struct names ops;               /* of nodes */
	struct names outputs, params;   /* params: dim_param of inputs */
	int64_t *ints;                  /* of all int64 constants */
	int n_ints, consts, opset;
	size_t floats;                  /* elements of float constants */
	bool good;
};

static void add(struct names *list, const struct reader *text)
{
	if (list->n < LIST)
		snprintf(list->v[list->n++], TEXT, "%.*s", (int)(text->end - text->at),
			 (const char *)text->at);
}

static int count(const struct names *list, const char *name)
{
	int n = 0;

	for (int i = 0; i < list->n; i++)
		n += !strcmp(list->v[i], name);
	return n;
}

static void define(struct decoded *d, const struct reader *name)
{
	add(&d->values, name);
	if (count(&d->values, d->values.v[d->values.n - 1]) != 1) {
		kc_test_fail(__FILE__, __LINE__, "%s twice", d->values.v[d->values.n - 1]);
		d->good = false;
	}
}

static void decode_node(struct decoded *d, struct reader r)
{
	struct reader out = {0};
	struct field f;
	char name[TEXT];

	while (next(&r, &f)) {
		snprintf(name, sizeof name, "%.*s",
			 f.wire == 2 ? (int)(f.bytes.end - f.bytes.at) : 0,
			 f.wire == 2 ? (const char *)f.bytes.at : "");
		if (f.number == 1 && name[0] && !count(&d->values, name)) {
			kc_test_fail(__FILE__, __LINE__, "%s is used before it is made", name);
			d->good = false;
		} else if (f.number == 2) {
			out = f.bytes;
		} else if (f.number == 4) {
			add(&d->ops, &f.bytes);
		}
	}
	define(d, &out);
	d->good &= !r.bad;
}

static void decode_const(struct decoded *d, struct reader r)
{
	struct reader data = {0};
	uint64_t count_of = 1, type = 0;
	struct field f;

	while (next(&r, &f))
		switch (f.number) {
		case 1: count_of *= f.value; break;
		case 2: type = f.value; break;
		case 8: define(d, &f.bytes); break;
		case 9: data = f.bytes; break;
		default: d->good = false;
		}
	d->consts++;
	d->good &= !r.bad && (type == KC_ONNX_FLOAT || type == KC_ONNX_INT64);
	d->good &= (uint64_t)(data.end - data.at) == count_of * (type == KC_ONNX_INT64 ? 8 : 4);
	if (type == KC_ONNX_FLOAT)
		d->floats += count_of;
	for (uint64_t i = 0; type == KC_ONNX_INT64 && d->good && i < count_of; i++)
		if (d->n_ints < LIST)
			memcpy(&d->ints[d->n_ints++], data.at + 8 * i, 8);
}

/* The member of that number of a message; empty when it is absent. */
static struct reader member(struct reader r, int number)
{
	struct reader none = {0};
	struct field f;

	while (next(&r, &f))
		if (f.number == number && f.wire == 2)
			return f.bytes;
	return none;
}

static void decode_input(struct decoded *d, struct reader r)
{
	struct reader name = member(r, 1), shape = member(member(member(r, 2), 1), 2), param;
	struct field f;

	define(d, &name);
	while (next(&shape, &f)) {
		param = member(f.bytes, 2);
		if (param.at)
			add(&d->params, &param);
	}
}

/* Constants and inputs are defined before nodes, wherever they stand. */
static void decode_graph(struct decoded *d, struct reader graph)
{
	for (int pass = 0; pass < 2; pass++) {
		struct reader r = graph, name;
		struct field f;

		while (next(&r, &f)) {
			if (pass == 0 && f.number == GRAPH_CONST)
				decode_const(d, f.bytes);
			else if (pass == 0 && f.number == GRAPH_INPUT)
				decode_input(d, f.bytes);
			else if (pass == 1 && f.number == GRAPH_NODE)
				decode_node(d, f.bytes);
			else if (pass == 1 && f.number == GRAPH_OUTPUT) {
				name = member(f.bytes, 1);
				add(&d->outputs, &name);
			}
		}
		d->good &= !r.bad;
	}
	for (int i = 0; i < d->outputs.n; i++)
		d->good &= count(&d->values, d->outputs.v[i]) == 1;
}

static void decode(const char *path, struct decoded *d)
{
	struct reader r;
	struct field f;
	char *data;
	size_t n;

	if (!KC_CHECK_OK(kc_file_read(path, 1 << 30, &data, &n)))
		return;
	d->ints = kc_calloc(LIST, sizeof *d->ints);
	d->good = true;
	r = (struct reader){(unsigned char *)data, (unsigned char *)data + n, false};
	while (next(&r, &f)) {
		if (f.number == MODEL_GRAPH)
			decode_graph(d, f.bytes);
		if (f.number == MODEL_OPSET) {
			struct field version = {0};

			next(&f.bytes, &version);
			d->opset = version.number == 2 ? (int)version.value : 0;
		}
	}
	d->good &= !r.bad;
	free(data);
}

/* ---- tests ---- */

static void test_wire(void)
{
	static const int64_t values[] = {0, 1, 127, 128, 300, -1, INT64_MAX, INT64_MIN};
	struct kc_proto p = {0}, inner = {0};
	struct reader r;
	struct field f;
	float x;

	for (size_t i = 0; i < KC_COUNT(values); i++)
		kc_proto_int(&p, (int)i + 1, values[i]);
	kc_proto_float(&p, 100, -0.1f);
	kc_proto_text(&inner, 3, "abc");
	kc_proto_message(&p, 2000, &inner);
	KC_CHECK(!p.err);
	/* 150 in field 1 is 08 96 01 in the documentation. */
	kc_proto_release(&inner);
	kc_proto_int(&inner, 1, 150);
	KC_CHECK(inner.size == 3 && !memcmp(inner.data, "\x08\x96\x01", 3));
	r = (struct reader){p.data, p.data + p.size, false};
	for (size_t i = 0; i < KC_COUNT(values); i++)
		KC_CHECK(next(&r, &f) && f.number == (int)i + 1 && (int64_t)f.value == values[i]);
	KC_CHECK(next(&r, &f) && f.number == 100 && f.wire == 5);
	memcpy(&x, &(uint32_t){(uint32_t)f.value}, sizeof x);
	KC_CHECK(x == -0.1f);
	KC_CHECK(next(&r, &f) && f.number == 2000);
	r = f.bytes;
	KC_CHECK(next(&r, &f) && f.number == 3);
	KC_CHECK(is_text(&f.bytes, "abc") && !next(&r, &f) && !r.bad);
	kc_proto_release(&p);
	kc_proto_release(&inner);
}

/* Opens, fills with small numbers, saves and decodes; the caller frees d. */
static struct decoded *export_network(const char *network, double factor, int64_t h, int64_t w)
{
	const struct kc_onnx_model_args args = {.network = network, .height = h, .width = w,
						.factor = factor, .mask_cent = 0.5};
	struct decoded *d = kc_calloc(1, sizeof *d);
	const char *path = kc_test_path("model.onnx");
	struct kc_onnx_model m;

	if (KC_CHECK_OK(kc_onnx_model_open(&m, &args))) {
		for (size_t i = 0; i < m.params->count; i++)
			kc_params_put(m.params, m.params->master, i, 0.5);
		if (KC_CHECK_OK(kc_onnx_model_save(&m, path)))
			decode(path, d);
	}
	kc_onnx_model_close(&m);
	KC_CHECK(d->good && d->opset == KC_ONNX_OPSET);
	return d;
}

static void release(struct decoded *d)
{
	free(d->ints);
	free(d);
}

static void test_siggraph17(void)
{
	/* Sides that no other number of the network is. */
	static const int64_t sides[] = {136, 104, 68, 52, 34, 26, 17, 13};
	struct decoded *d = export_network("siggraph17", 0.125, 136, 104);

	KC_CHECK(count(&d->values, "model1.0.weight") == 1);
	KC_CHECK(count(&d->values, "model8up.0.bias") == 1);
	KC_CHECK(!count(&d->values, "model1.4.num_batches_tracked"));
	KC_CHECK(d->outputs.n == 3 && count(&d->outputs, "ab") == 1);
	KC_CHECK(d->params.n == 2 && count(&d->params, "height") == 1 &&
		 count(&d->params, "width") == 1);
	KC_CHECK(count(&d->ops, "Conv") == 28 && count(&d->ops, "ConvTranspose") == 3);
	/* Batch norms are a product and a sum: their scale and shift are constants. */
	KC_CHECK(!count(&d->ops, "Sqrt") && !count(&d->ops, "Reciprocal"));
	KC_CHECK(!count(&d->values, "model1.4.running_var"));
	for (int i = 0; i < d->n_ints; i++)
		for (size_t k = 0; k < KC_COUNT(sides); k++)
			if (d->ints[i] == sides[k])
				kc_test_fail(__FILE__, __LINE__, "%lld is baked in",
					     (long long)sides[k]);
	release(d);
}

static void test_eccv16(void)
{
	struct decoded *d = export_network("eccv16", 0, 136, 104);

	KC_CHECK(count(&d->ops, "Softmax") == 1 && count(&d->ops, "Resize") == 1);
	KC_CHECK(count(&d->values, "model_out.weight") == 1);
	/* All that is learned but the statistics, which scale and shift replace. */
	KC_CHECK(d->floats > 32236011 - 64 && d->floats < 32236011 + 64);
	release(d);
}

static void test_step(void)
{
	struct decoded *d = export_network("tcvc", 0.125, 136, 104);

	KC_CHECK(count(&d->ops, "GridSample") == 2 && d->params.n == 14);
	KC_CHECK(d->outputs.n == 3 && count(&d->outputs, "feature_back") == 1);
	KC_CHECK(count(&d->values, "weigting.conv3.weight") == 1);
	KC_CHECK(count(&d->values, "fea_key.model_out.0.weight") == 1);
	KC_CHECK(!count(&d->values, "fea_key.model1.0.weight"));
	release(d);
}

/* Correlation as windows of a padded image. */
static void test_correlation(void)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *a = kc_input(g, "a", KC_TYPE(KC_REAL, 1, 3, 16, 16));
	struct kc_tensor *b = kc_input(g, "b", KC_TYPE(KC_REAL, 1, 3, 16, 16));
	const struct kc_onnx_port in[] = {{"a", a}, {"b", b}};
	const struct kc_onnx_port out[] = {{"y", kc_correlation(g, a, b, 20, 2)}};
	const struct kc_onnx_args args = {.name = "c", .inputs = in, .n_inputs = 2, .outputs = out,
					  .n_outputs = 1, .free_sides = true};
	struct decoded *d = kc_calloc(1, sizeof *d);

	if (KC_CHECK_OK(kc_onnx_save(kc_test_path("c.onnx"), g, &args))) {
		decode(kc_test_path("c.onnx"), d);
		KC_CHECK(d->good && count(&d->ops, "Slice") == 441);
		KC_CHECK(count(&d->ops, "ReduceMean") == 441 && count(&d->ops, "Pad") == 1);
	}
	release(d);
	kc_graph_free(g);
}

static void refuse(bool free_sides, struct kc_tensor *(*build)(struct kc_graph *,
							       struct kc_tensor *), int err,
		   const char *message)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", KC_TYPE(KC_REAL, 1, 2, 16, 16)), *y = build(g, x);
	const struct kc_onnx_port in = {"x", x}, out = {"y", y};
	const struct kc_onnx_args args = {.name = "r", .inputs = &in, .n_inputs = 1,
					  .outputs = &out, .n_outputs = 1,
					  .free_sides = free_sides};

	KC_CHECK_ERR(kc_onnx_save(kc_test_path("r.onnx"), g, &args), err, message);
	KC_CHECK(!kc_file_exists(kc_test_path("r.onnx")));
	kc_graph_free(g);
}

static struct kc_tensor *no_counterpart(struct kc_graph *g, struct kc_tensor *x)
{
	struct kc_tensor *y = x;

	KC_SCOPE(g, "head")
		y = kc_max_pool(g, x, .k = 2);
	return y;
}

static struct kc_tensor *crop(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_slice(g, x, 2, 0, 8, 1);
}

static struct kc_tensor *flatten(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_reshape(g, x, 2, (int64_t[]){2, 256});
}

static struct kc_tensor *other_input(struct kc_graph *g, struct kc_tensor *x)
{
	return kc_add(g, x, kc_input(g, "z", x->type));
}

static void test_refused(void)
{
	refuse(false, no_counterpart, KC_ENOSUP, "head: max_pool cannot be written as ONNX");
	refuse(true, crop, KC_ENOSUP, "height and width are free");
	refuse(true, flatten, KC_ENOSUP, "height and width are free");
	refuse(false, other_input, KC_EINVAL, "\"z\" is read, but is no input");
}

static void test_sides(void)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *a = kc_input(g, "a", KC_TYPE(KC_REAL, 1, 3, 16, 16));
	struct kc_tensor *b = kc_input(g, "b", KC_TYPE(KC_REAL, 1, 3, 8, 16));
	const struct kc_onnx_port in[] = {{"a", a}, {"b", b}}, out = {"y", a};
	const struct kc_onnx_args args = {.name = "s", .inputs = in, .n_inputs = 2,
					  .outputs = &out, .n_outputs = 1, .free_sides = true};

	KC_CHECK_ERR(kc_onnx_save(kc_test_path("s.onnx"), g, &args), KC_EINVAL, "\"b\" has others");
	kc_graph_free(g);
}

static void test_unknown(void)
{
	const struct kc_onnx_model_args args = {.network = "vgg", .height = 64, .width = 64};
	struct kc_onnx_model m;

	KC_CHECK_ERR(kc_onnx_model_open(&m, &args), KC_ENOENT, "vgg has no ONNX form");
	kc_onnx_model_close(&m);
}

/* Any allocation may fail. */
static void test_memory(void)
{
	const struct kc_onnx_model_args args = {.network = "tcvc", .height = 16, .width = 16,
						.factor = 0.0625};
	const char *path = kc_test_path("m.onnx");
	struct kc_onnx_model m;
	int rc = KC_ENOMEM;

	if (!KC_CHECK_OK(kc_onnx_model_open(&m, &args)))
		return;
	for (long n = 1; rc < 0 && n < 5000; n += 1 + n / 20) {
		kc_alloc_fail_after(n);
		rc = kc_onnx_model_save(&m, path);
		kc_alloc_fail_after(0);
		KC_CHECK(rc == 0 || rc == KC_ENOMEM);
		KC_CHECK(rc == 0 || !kc_file_exists(path));
	}
	KC_CHECK_OK(rc);
	kc_onnx_model_close(&m);
}

const struct kc_test kc_tests_onnx[] = {
	{"protobuf fields", test_wire},
	{"siggraph17: nodes, constants, free sides", test_siggraph17},
	{"eccv16", test_eccv16},
	{"TCVC's propagation step", test_step},
	{"correlation as 441 windows", test_correlation},
	{"what cannot be written is named", test_refused},
	{"inputs with different free sides", test_sides},
	{"a network without an ONNX form", test_unknown},
	{"every allocation may fail", test_memory},
	{0}};
