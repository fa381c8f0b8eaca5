/*
 * A row of tests/op_cases.c as a graph with data, its derivatives of first and second order, and
 * a plan that computes them.
 */
#ifndef KC_TESTS_OP_TRIAL_H
#define KC_TESTS_OP_TRIAL_H

#include "tests/golden_run.h"
#include "tests/op_cases.h"

enum { VALUES = 3 * OP_INPUTS + 3 * OP_OUTPUTS, FEEDS = 4 * OP_INPUTS + 4 * OP_OUTPUTS };

/*
 * With random g and h: first = d sum <out, g>, second = d sum <first, h>.  Values are outputs,
 * first derivatives by every input, second ones by every input and g.
 */
struct trial {
	struct op_build b;
	struct kc_tensor *value[VALUES];
	double *v[VALUES];
	int n_value, n_out, n_first;    /* outputs, then first derivatives, then second ones */
	int n_own;                      /* first derivatives by inputs of the case, not by g */
	struct kc_tensor *sum1, *sum2;
	struct test_feed feed[FEEDS];
	int n_feed;
	struct kc_plan *plan;
};

/* Inputs in that form, parameters of that type; to be released in any case. */
int trial_build(struct trial *, const struct op_row *, enum op_form, enum kc_dtype real);
void trial_release(struct trial *);
/* Plans, runs once and reads every value. */
int trial_run(struct trial *, struct kc_device *, const struct kc_plan_opts *);
/* After a change of inputs' data: runs again for the two sums. */
int trial_sums(struct trial *, double *sum1, double *sum2);

/* Elements. */
size_t trial_count(const struct kc_tensor *);

#endif
