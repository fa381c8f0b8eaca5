/* The training step, timed: of bin/gpu_check. */
#ifndef KC_TESTS_GPU_BENCH_H
#define KC_TESTS_GPU_BENCH_H

#include "core/base.h"

#include <stdio.h>

struct bench_args {
	const char *device;             /* "cuda:0" */
	bool tf32;
	const char *const *set;         /* of tests/step_run.h */
	int steps;                      /* that are timed, behind some that warm up */
	FILE *profile;                  /* gets what every kernel took; or NULL */
};

/*
 * Writes members of a JSON object, each with a comma behind it.  Of a step: milliseconds as the
 * host sees them (median, least, most) and of its plan by the device's clock (median), launches in
 * its recording, frames a second, TFLOP and TFLOP/s, the measured peak of matrix products and the
 * share of it, the share of time that the device had nothing to do for want of data, which are fed
 * ahead as in training; bytes as planned and as the device lost them, in MB; steps of the plan.
 * Milliseconds of what came before: build_ms, plans with their choice of kernels; first_ms;
 * recording_ms, a step that was recorded, too.  And the last loss, all terms in sum, which must
 * be about the same in every precision.  An error when that step was not finite.
 */
int bench_step(const struct bench_args *, char *figures, size_t size);

#endif
