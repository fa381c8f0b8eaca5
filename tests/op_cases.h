/*
 * The one table of operator cases.  A row builds a small graph with random data; what is
 * checked of it (derivatives, devices, precisions, layouts) follows from the row alone
 * (tests/test_ops.c).  An operator without a row fails the tests.
 */
#ifndef KC_TESTS_OP_CASES_H
#define KC_TESTS_OP_CASES_H

#include "core/random.h"
#include "layers/layers.h"

enum { OP_INPUTS = 12, OP_OUTPUTS = 8, OP_NUMBERS = 12 };

/* How inputs lie in memory before the operator reads them. */
enum op_form {
	OP_DENSE,
	OP_SLICED,              /* part of something larger, whose rest is NaN */
	OP_TURNED,              /* axes in reverse order */
	OP_FORMS
};

/* A case while it is built, and its data. */
struct op_build {
	const struct op_row *row;
	struct kc_graph *g;
	struct kc_params *params;
	enum op_form form;
	struct kc_random random;
	struct op_input {
		struct kc_tensor *leaf, *value; /* fed, and as the operator sees it */
		struct kc_param *param;         /* instead of being fed */
		bool differentiable;
		double *data;                   /* row-major, of value's type; owned */
	} in[OP_INPUTS];
	int n_in;
	struct kc_tensor *out[OP_OUTPUTS];
	int n_out;
};

struct op_row {
	const char *op;                 /* an operator that the case shows */
	const char *name;               /* of the variant; "" for the only one */
	void (*build)(struct op_build *);
	int n[OP_NUMBERS];              /* whatever build makes of them */
	double noise;                   /* float32 may be off that many times more; 0 means 1 */
};

/* Ended by a row without op; pointwise operators are the second table (tests/op_pointwise.c). */
extern const struct op_row op_rows[], op_pointwise_rows[];

/* ---- for builders: inputs with random values ---- */

/* Uniform in [low, high], differentiable. */
struct kc_tensor *op_real(struct op_build *, double low, double high, struct kc_type);
/* The same with either sign: away from a kink at 0. */
struct kc_tensor *op_signed(struct op_build *, double low, double high, struct kc_type);
/* All different by 0.05 and more: away from the kinks of a maximum. */
struct kc_tensor *op_distinct(struct op_build *, struct kc_type);
/* A parameter, uniform in [-1, 1] / sqrt(elements per first dimension). */
struct kc_tensor *op_param(struct op_build *, struct kc_type);
/* Integers 0 .. below - 1 in the type's dtype; not differentiable. */
struct kc_tensor *op_integers(struct op_build *, int below, struct kc_type);
void op_give(struct op_build *, struct kc_tensor *);
/* The gradient of <y, random> with respect to x: how adjoint operators come about. */
void op_give_gradient(struct op_build *, struct kc_tensor *y, struct kc_tensor *x);

#endif
