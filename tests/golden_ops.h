/*
 * Cases of operators: a builder writes the graph of a case, the rest (data, gradients,
 * comparison) follows from the names in the file.
 */
#ifndef KC_TESTS_GOLDEN_OPS_H
#define KC_TESTS_GOLDEN_OPS_H

#include "layers/layers.h"
#include "tests/golden.h"

enum { OP_VALUES = 48 };

struct op_case {
	const struct kc_st *st;
	const char *name;               /* of the case */
	const struct kc_json *attrs;
	struct kc_graph *g;
	struct kc_model model;          /* for layers that own parameters */
	struct op_named {
		char name[64];
		struct kc_tensor *t;
	} in[OP_VALUES], out[OP_VALUES];
	int n_in, n_out;
	struct {                        /* parameters, to be filled from in.NAME */
		struct kc_param *param;
		char name[64];
	} fill[OP_VALUES];
	int n_fill;
	struct test_feed feed[OP_VALUES];
	int n_feed;
	struct kc_tensor *y[OP_VALUES], *gy[OP_VALUES]; /* what d.* is the gradient of */
	int n_y;
};

/* in.NAME as an input; poison when the file has none. */
struct kc_tensor *op_in(struct op_case *, const char *name);
/* in.NAME as a parameter: what weights are in a model. */
struct kc_tensor *op_weight(struct op_case *, const char *name);
/* in.NAME becomes the value of an existing parameter of c->model. */
void op_bind(struct op_case *, const char *name, const char *param);
/* Whether the file has CASE/NAME ("in.b"). */
bool op_has(const struct op_case *, const char *name);
/* Names of all in.NAME of the case, sorted; how many. */
int op_inputs(const struct op_case *, const char *names[OP_VALUES]);
/* A constant of the test's own; data is copied. */
struct kc_tensor *op_constant(struct op_case *, const char *name, struct kc_type,
			      const double *data);
/* CASE/NAME of the file; the caller frees; NULL with a message. */
double *op_data(const struct op_case *, const char *name);
/* Dimensions of CASE/NAME in the file. */
struct kc_type op_type(struct op_case *, const char *name);
void op_out(struct op_case *, const char *name, struct kc_tensor *);
/* A value that stands for in.NAME where gradients are asked for (d.NAME). */
void op_wrt(struct op_case *, const char *name, struct kc_tensor *);
/* Gradients are those of the sum of <y, gy>; without any, of the outputs and their g.NAME. */
void op_seed(struct op_case *, struct kc_tensor *y, struct kc_tensor *gy);

/* Attribute as a number, the i-th where it is a list; the default when it is absent. */
double op_attr(const struct op_case *, const char *key, int i, double otherwise);
/* Attribute as text; "" when it is absent. */
const char *op_text(const struct op_case *, const char *key);
/* The number behind a keyword in a text: "2.4", "1e-5", or "1_3" for 1/3 (whole numbers only). */
bool op_number_after(const char *text, const char *keyword, double *number);

struct kc_tensor *op_reshape(struct op_case *, struct kc_tensor *, struct kc_type);
#define OP_RESHAPE(c, t, ...) op_reshape((c), (t), KC_TYPE(KC_REAL, __VA_ARGS__))
struct kc_tensor *op_transpose(struct op_case *, struct kc_tensor *);   /* of the last two axes */
/* A builder makes a graph, or it is a procedure that computes CASE/out.* by itself. */
struct op_builder {
	const char *op;
	void (*build)(struct op_case *);
	/* Instead of build. */
	int (*procedure)(struct op_case *, struct golden *, enum golden_mode,
			 struct golden_values *);
};

/* Tables, ended by a row without op. */
extern const struct op_builder op_builders_layers[], op_builders_losses[];

#endif
