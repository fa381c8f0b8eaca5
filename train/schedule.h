/*
 * Learning rates as a pure function of the settings and the iteration, so a resumed run
 * needs no state.  Iterations count from 1; iteration k is the k-th optimizer step.
 *
 * MultiStepLR: the rate falls by gamma behind each milestone, and a restart sets it to
 * weight * lr (the authors' code calls it MultiStepLR_Restart).  CosineAnnealingLR_Restart:
 * Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5.  LinearLR: constant, then falling
 * linearly to 0 (colorization-pytorch, where it falls once per epoch: decay_every).  OneCycleLR:
 * Smith and Topin, "Super-convergence", 2018, with cosine flanks.
 *
 * published reproduces the public code of TCVC: the first iteration of a warm-up runs at the
 * full rate, the rate is carried along multiplicatively, so that it stays where the warm-up
 * left it until a restart, and restarts act one iteration late.  Otherwise iteration k of a
 * warm-up of w runs at k/w of the scheduled rate, and restarts act like milestones.
 */
#ifndef KC_TRAIN_SCHEDULE_H
#define KC_TRAIN_SCHEDULE_H

#include "core/option.h"

enum kc_schedule_kind {
	KC_SCHEDULE_MULTISTEP,
	KC_SCHEDULE_COSINE,
	KC_SCHEDULE_LINEAR,
	KC_SCHEDULE_ONECYCLE
};

struct kc_schedule {
	int64_t kind;                   /* enum kc_schedule_kind */
	double lr;                      /* initial rate; of ONECYCLE the greatest */
	int64_t warmup;                 /* iterations; below 1: none */
	struct kc_ints steps;           /* MULTISTEP: milestones, ascending, may repeat */
	double gamma;
	struct kc_ints restarts;        /* MULTISTEP, COSINE: ascending */
	struct kc_reals restart_weights; /* as many */
	struct kc_ints periods;         /* COSINE: one more than restarts; ONECYCLE: the total */
	double eta_min;                 /* COSINE */
	int64_t decay_start, decay_iter; /* LINEAR: where the fall starts, how long it takes */
	int64_t decay_every;            /* LINEAR: iterations between changes; 0 counts as 1 */
	double peak_at;                 /* ONECYCLE: share of the iterations before the peak */
	double div_start, div_end;      /* ONECYCLE: lr / div_start / div_end is where it ends */
	bool published;
};

/* The rate that iteration k >= 1 uses. */
double kc_schedule_lr(const struct kc_schedule *, int64_t k);

/* The rate that the log line of iteration k shows: the next one's if published. */
double kc_schedule_logged(const struct kc_schedule *, int64_t k);

/* True when a restart takes effect in iteration k: the moment of train.clear_state. */
bool kc_schedule_restarts(const struct kc_schedule *, int64_t k);

/* Whether the lists fit together; KC_ECONFIG names the key. */
int kc_schedule_check(const struct kc_schedule *);

#endif
