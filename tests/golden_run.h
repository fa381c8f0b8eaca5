/*
 * Runs a graph for a test: values in and out are dense row-major doubles, whatever the plan
 * computes in.
 */
#ifndef KC_TESTS_GOLDEN_RUN_H
#define KC_TESTS_GOLDEN_RUN_H

#include "core/plan.h"

struct test_feed {
	struct kc_tensor *input;
	double *data;                   /* kc_numel of its type, row-major */
};

/*
 * Builds a plan for the n fetched values, feeds, runs once and reads out[i], which the caller
 * allocates (kc_numel of fetch[i]).
 */
int test_run(struct kc_graph *, struct kc_device *, const struct kc_plan_opts *,
	     const struct test_feed *, int n_feed, struct kc_tensor *const *fetch, int n,
		     double **out);

/* The two halves of it, for plans that run more than once. */
int test_feed_all(struct kc_plan *, const struct test_feed *, int n_feed);
int test_read(struct kc_plan *, const struct kc_tensor *, double *out);

/* The device of that name with its arena: "reference", "cpu"; KC_ENOENT. */
int test_device(const char *name, struct kc_device *);

#endif
