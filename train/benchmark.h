/* What train --dry-run and --benchmark print. */
#ifndef KC_TRAIN_BENCHMARK_H
#define KC_TRAIN_BENCHMARK_H

#include "train/run.h"

/* Bytes by kind, FLOPs, and with -v the plan's steps. */
int kc_dry_run(const struct kc_run *, FILE *);

/*
 * Times n steps behind two that are not counted, from random or formula weights as configured, and
 * prints one JSON object: seconds per step (median, min, max), GFLOP/s, share of the measured peak,
 * peak memory, share of time waiting for data.  Writes no files.
 */
int kc_benchmark(struct kc_run *, int n, FILE *);

#endif
