/* Rows of tests/op_cases.c on devices, in precisions and layouts, against the float64 reference. */
#ifndef KC_TESTS_OP_CHECK_H
#define KC_TESTS_OP_CHECK_H

#include "tests/op_trial.h"

struct op_config {
	const char *name;
	int (*open)(struct kc_device *);
	enum kc_dtype real;
	bool low, no_fuse, deterministic;
	enum op_form form;
	double allowed;                 /* relative to the largest element; low: L2 */
};

void op_fail(const struct op_row *, const char *fmt, double a, double b);
/*
 * The case on the reference device in float64: what the others are compared with.  The device is
 * the caller's, to be released behind the trial.
 */
int op_check_want(struct trial *want, struct kc_device *, const struct op_row *);
/*
 * The case once more as configured, value by value; the kernels that the plan used are added to
 * the file, if there is one.
 */
void op_check(const struct trial *want, const struct op_config *, FILE *used);
/* The same on an open device, which stays open. */
void op_check_on(struct kc_device *, const struct trial *want, const struct op_config *,
		 FILE *used);
/*
 * Every kernel row of the device must be in that text of op_check; but for those of state, which
 * no case has, and of broadcasts, which are views.
 */
void op_check_used(const struct kc_device *, const char *used);

#endif
