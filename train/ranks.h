/*
 * A run over several processes (core/ranks.h): what must be equal is compared, and what one rank
 * reads is given to all.  Alone, nothing of this does anything.  All ranks call each of them.
 */
#ifndef KC_TRAIN_RANKS_H
#define KC_TRAIN_RANKS_H

#include "train/run.h"

/* KC_ECONFIG on every rank where settings or programs differ. */
int kc_run_compare_settings(struct kc_run *);
/* The same of machines (instruction sets, threads) and plans. */
int kc_run_compare_plans(struct kc_run *);

/*
 * Parameters, averages, and where the run stands, from rank 0 to all; moments as well when it
 * was resumed, which all know then.
 */
int kc_run_share(struct kc_run *, bool *resumed);

/* KC_EBACKEND on every rank when parameters, moments or averages are not the same bits. */
int kc_run_compare_params(struct kc_run *);

/* Lines that other ranks had to say go into the log of rank 0. */
int kc_run_gather_lines(struct kc_run *);

#endif
