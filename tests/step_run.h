/*
 * Training steps of a configuration on made-up film, without files: for one device against
 * another, for recording against none, for resumption, for timing.  With augment_on: device the
 * step crops and mirrors that film, else it gets what it would have made of it.
 */
#ifndef KC_TESTS_STEP_RUN_H
#define KC_TESTS_STEP_RUN_H

#include "train/training.h"

/* Painting takes longer than a step on a GPU: so many batches come again and again. */
enum { STEP_FILMS = 4 };

struct step_run {
	struct kc_config config;
	struct kc_device device;
	struct kc_training training;
	struct kc_batch batch[STEP_FILMS];      /* made when they are first shown */
	int64_t steps;                  /* made so far */
	int64_t taken;                  /* batches: one more where a step feeds the next ahead */
};

/* set: "key=value", ended by NULL, over the defaults; all weights by the formula.  To be closed
 * in any case. */
int step_open(struct step_run *, int (*device)(struct kc_device *, void *own), void *own,
	      const char *const *set);
void step_close(struct step_run *);
/* That many steps, each on another batch than the one before. */
int step_take(struct step_run *, int n);

/* Masters and moments as one array of floats, which the caller frees; step_restore takes it, right
 * behind step_open. */
int step_state(struct step_run *, float **state, size_t *n);
int step_restore(struct step_run *, const float *state, int64_t steps);

#endif
