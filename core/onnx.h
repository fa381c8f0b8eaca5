/*
 * A graph as a list of ONNX nodes (opset 16), being written.  Operators say how through the
 * field `onnx` of their descriptors: a function that adds nodes for one output of a node and
 * returns the name of the value.  weights/onnx.h makes a file of the result.
 *
 * Values are made when they are first asked for, so only what leads to the outputs is written.
 * What depends on parameters alone (scale and shift of a batch norm) is computed now and becomes
 * an initializer; repetitions are left to ONNX's own broadcasting where the user allows it.
 *
 * With free sides, height and width of the image-shaped values (4 dimensions) belong to the
 * caller of the model: exporters then take them from the input's shape at run time.
 *
 * Names are texts that live as long as the writer.  Errors stick: after the first one every
 * function returns "" and kc_onnx_status tells it.
 */
#ifndef KC_CORE_ONNX_H
#define KC_CORE_ONNX_H

#include "core/arena.h"
#include "core/device.h"
#include "core/proto.h"

enum { KC_ONNX_OPSET = 16, KC_ONNX_IR = 8 };

/* Element types of ONNX. */
enum kc_onnx_dtype { KC_ONNX_FLOAT = 1, KC_ONNX_INT64 = 7 };

/* A constant tensor of the model. */
struct kc_onnx_const {
	const char *name;
	enum kc_onnx_dtype dtype;
	int ndim;
	int64_t dim[KC_MAX_DIM];
	const void *data;               /* row-major */
	size_t bytes;
	struct kc_onnx_const *next;     /* in order of appearance */
};

struct kc_onnx {
	struct kc_graph *graph;
	bool free_sides;
	struct kc_tensor *input;        /* whose height and width the free sides are */
	struct kc_arena arena;
	struct kc_proto nodes;          /* GraphProto fields 1 */
	int n_nodes, n_values;
	struct kc_onnx_const *first, **end;
	int n_consts;
	const char **name;              /* by node and output, NULL where not made yet */
	int *at;                        /* first entry of a node in name */
	unsigned char *constant;        /* by node: enum in onnx.c */
	struct kc_device device;        /* computes constants */
	int err;
};

/* input: whose height and width are meant.  To be closed even when it fails. */
int kc_onnx_open(struct kc_onnx *, struct kc_graph *, struct kc_tensor *input, bool free_sides);
void kc_onnx_close(struct kc_onnx *);
/* 0, or the first error, whose message becomes the calling thread's. */
int kc_onnx_status(const struct kc_onnx *);

/* Makes a value under a name of its own: an output of the model. */
void kc_onnx_output(struct kc_onnx *, const char *name, const struct kc_tensor *);

/* ---- for exporters ---- */

enum kc_onnx_kind { KC_ONNX_END, KC_ONNX_I, KC_ONNX_F, KC_ONNX_S, KC_ONNX_IS };
struct kc_onnx_attr {
	const char *name;
	enum kc_onnx_kind kind;
	int64_t i;
	double f;
	const char *s;
	const int64_t *is;
	int n;
};
#define KC_ONNX_ATTRS(...) (const struct kc_onnx_attr[]){__VA_ARGS__, {.kind = KC_ONNX_END}}
#define KC_ONNX_INT(key, value) {.name = key, .kind = KC_ONNX_I, .i = (value)}
#define KC_ONNX_REAL(key, value) {.name = key, .kind = KC_ONNX_F, .f = (value)}
#define KC_ONNX_TEXT(key, value) {.name = key, .kind = KC_ONNX_S, .s = (value)}
#define KC_ONNX_LIST(key, count, value) \
	{.name = key, .kind = KC_ONNX_IS, .is = (value), .n = (count)}

/* Adds a node with one output; attrs may be NULL; an input "" is left out. */
const char *kc_onnx_add(struct kc_onnx *, const char *op, const struct kc_onnx_attr *attrs,
			const char *const *in, int n_in);
#define KC_ONNX(x, op, attrs, ...) \
	kc_onnx_add((x), (op), (attrs), (const char *const[]){__VA_ARGS__}, \
		    (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)))

/* The name of a value, made now if it is new. */
const char *kc_onnx_value(struct kc_onnx *, const struct kc_tensor *);
/* The inputs of a node that broadcasts: repetitions are looked through, one has the full shape. */
void kc_onnx_operands(struct kc_onnx *, const struct kc_node *, const char **names);
/* Constants; equal ones are shared. */
const char *kc_onnx_number(struct kc_onnx *, double);                   /* float, a scalar */
const char *kc_onnx_int(struct kc_onnx *, int64_t);                     /* int64, a scalar */
const char *kc_onnx_ints(struct kc_onnx *, int n, const int64_t *);     /* int64, a list */
/* A constant of its own; data is borrowed. */
const char *kc_onnx_const(struct kc_onnx *, const char *name, enum kc_onnx_dtype,
			  const struct kc_type *, const void *data, size_t bytes);
/* Whether height and width of that type are the caller's. */
bool kc_onnx_is_free(const struct kc_onnx *, const struct kc_type *);
/* The dimensions as an int64 list, at run time where they are free. */
const char *kc_onnx_dims(struct kc_onnx *, const struct kc_type *);
/* Records "... cannot be written as ONNX" with the node's path; returns "". */
const char *kc_onnx_refuse(struct kc_onnx *, const struct kc_node *, const char *why);
/* Memory that lives as long as the writer; NULL, with the error recorded. */
void *kc_onnx_alloc(struct kc_onnx *, size_t);

/* Exporters of the engine's own operators. */
const char *kc_onnx_param(struct kc_onnx *, const struct kc_tensor *);
const char *kc_onnx_fill(struct kc_onnx *, const struct kc_tensor *);
const char *kc_onnx_input(struct kc_onnx *, const struct kc_tensor *);

#endif
