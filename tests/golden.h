/*
 * Checks numbers of this program against fixtures: files of numbers from an independent
 * implementation.  What a file is follows from its metadata, and weights from the formula of
 * weights/formula.h, so files with other seeds, sizes and case names are checked as well.
 *
 * A checker computes named values; these are compared with those of the file (float32 and
 * float64), or, for bfloat16, which no file knows, with the same computed in float32.
 */
#ifndef KC_TESTS_GOLDEN_H
#define KC_TESTS_GOLDEN_H

#include "core/json.h"
#include "core/param.h"
#include "core/plan.h"
#include "tests/golden_run.h"
#include "weights/safetensors.h"

enum golden_mode { GOLDEN_F32, GOLDEN_F64, GOLDEN_BF16 };

struct golden {
	enum golden_mode mode;
	struct kc_device *device;
	bool trace;                     /* statistics of every layer,
		to find the first that differs */
	enum { GOLDEN_PRINT_ALL, GOLDEN_PRINT_FAILURES, GOLDEN_PRINT_NOTHING } print;
	const char *only;               /* cases whose name contains it, or NULL */
	const char *weights;            /* file of the networks' parameters; NULL: the formula */
	int passed, failed;
};

/* Checks one file; every case is counted in g and printed.  Failures are no error codes. */
void golden_file(struct golden *, const char *path);

/* ---- what a checker computes ---- */

struct golden_value {
	char *name;
	double *v;
	size_t n;
};

struct golden_values {
	struct golden_value *v;
	size_t n, room;
};

/* A new value, uninitialised; NULL when memory is short. */
double *golden_add(struct golden_values *, const char *name, size_t n);
const struct golden_value *golden_get(const struct golden_values *, const char *name);
void golden_release(struct golden_values *);

/* Options of a plan in that mode (BF16: float32 with low precision where it is allowed). */
struct kc_plan_opts golden_plan_opts(enum golden_mode);
/* float64 or float32 parameters. */
enum kc_dtype golden_real(enum golden_mode);

/* ---- comparing ---- */

/* |difference| <= abs + rel |expected| + of_max max|expected|, and at least 1e-12 where reals are
 * computed: what is zero in exact arithmetic. */
struct golden_tol {
	double abs, rel, of_max;
	bool ties;                      /* 0.1 % of the elements may be farther off */
};

/* How many times the spread that a file states of float32 a value may be off in it: 10, but on a
 * GPU, whose convolutions add one by one, as many as given. */
double golden_spreads(const struct golden *, double gpu);

/* One case: collects the worst of its comparisons. */
struct golden_case {
	struct golden *g;
	char name[96];
	double error, allowed;          /* at the place where error / allowed is worst */
	char what[96];
	int checks, failures;
	char message[512];              /* of the first failure that is no number */
};

/* False when the case is not wanted. */
bool golden_begin(struct golden *, struct golden_case *, const char *name);
void golden_fail(struct golden_case *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The call's error, with its message. */
void golden_error(struct golden_case *, int rc);
void golden_compare(struct golden_case *, const char *what, const double *got,
		    const double *expected,
		    size_t n, struct golden_tol);
/* One number and what it may be off. */
void golden_number(struct golden_case *, const char *what, double got, double expected,
		   double allowed);
/* What bf16 may be off: a value, gradients of parameters, an input's gradient. */
struct golden_room { double value, grad, dx; };

static inline struct golden_room golden_room(double allowed)
{
	return (struct golden_room){allowed, allowed, 3 * allowed};
}

/*
 * Every value of `low` against that of `full`: relative L2 distance; gradients "grad*.name" as
 * one vector; "dx" is an input's gradient.
 */
void golden_distances(struct golden_case *, const struct golden_values *low,
		      const struct golden_values *full, struct golden_room);
void golden_end(struct golden_case *);

/* ---- reading fixtures ---- */

/* The metadata entry as JSON; KC_EFORMAT when it is absent or malformed.  The caller frees. */
int golden_meta(const struct kc_st *, const char *key, struct kc_json **);
/* The same as text or number; the default when it is absent. */
uint64_t golden_seed(const struct kc_st *);
/* The member's number; NAN when absent. */
double golden_json_number(const struct kc_json *, const char *key);
/* A tensor as doubles; *n elements.  The caller frees; NULL with a message. */
double *golden_tensor(const struct kc_st *, const char *name, size_t *n);
/* Its type with dimensions of the file and dtype KC_REAL (KC_I32 of integers, KC_U8 of bytes). */
int golden_type(const struct kc_st *, const char *name, struct kc_type *);

/* ---- networks ---- */

/*
 * Lays out the store's arrays and gives every parameter the values of the formula, or of the file
 * that the options name, which may hold more than this network.
 */
int golden_fill(const struct golden *, struct kc_params *, const char *net, uint64_t seed,
		bool with_moments);
/* [L2 norm, sum, dot product with the formula's vector "proj:NAME"] of a gradient. */
void golden_summary(const char *name, const double *v, size_t n, double out[3]);
/*
 * Summaries {"parameter": [norm, sum, projection]} against the gradients of that name behind the
 * prefix.  norms and sums (projections likewise) are what these may be off, relative to the norm;
 * errors of single elements cancel in a norm, and do not in a sum.  Every parameter of the list
 * must be there.
 */
void golden_summaries(struct golden_case *, const struct kc_json *expected,
		      const struct golden_values *, const char *prefix, double norms, double sums);
/* Tensors to fetch, and the values they go to. */
struct golden_fetch {
	struct kc_tensor **t;
	double **out;
	int n, room;
};
int golden_want(struct golden_fetch *, struct golden_values *, const char *name,
		struct kc_tensor *);
void golden_fetch_release(struct golden_fetch *);

/* Prints mean and deviation of every layer with a weight beside those of the file. */
int golden_trace(struct golden *, const struct kc_st *, struct kc_graph *,
		 const struct kc_plan_opts *,
		 const struct test_feed *, int n_feed);

/* ---- the checkers, one file each ---- */
void golden_ops(struct golden *, const struct kc_st *);
void golden_net(struct golden *, const struct kc_st *);
void golden_tcvc_forward(struct golden *, const struct kc_st *);
void golden_tcvc_grad(struct golden *, const struct kc_st *);
void golden_tcvc_train(struct golden *, const struct kc_st *);
void golden_colour(struct golden *, const struct kc_st *);

#endif
