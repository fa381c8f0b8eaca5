/* A training run from start or resumption to its end: data, steps, log, checkpoints. */
#ifndef KC_TRAIN_RUN_H
#define KC_TRAIN_RUN_H

#include "train/experiment.h"
#include "train/log.h"
#include "train/saved.h"
#include "train/training.h"

struct kc_run_args {
	bool profile;
	bool verbose;                   /* print the plan's passes */
	struct kc_ranks *ranks;         /* borrowed until close; NULL: alone */
};

struct kc_run {
	struct kc_config *config;
	struct kc_run_args args;
	struct kc_ranks *ranks, alone;
	struct kc_device device;
	struct kc_training training;
	struct kc_dataset *data;
	int whole_width, whole_height;  /* of frames that the step crops; 0: the loader does */
	struct kc_loader *loader;
	const struct kc_batch *held;    /* of the last run */
	const struct kc_batch *ahead;   /* taken for the next one; or NULL */
	struct kc_experiment experiment;
	struct kc_log log;
	bool logging;                   /* it is open */
	struct kc_names said;           /* lines from before it was, or for rank 0's */
	struct kc_save_args save;
	struct kc_progress progress;
	int64_t saved_iter;             /* of the newest checkpoint; -1: none */
	bool save_failed;               /* the last attempt to write one */
	size_t bytes_at_open;           /* of the process, before anything of a step was touched */
	double peak;                    /* FLOP/s of the device; 0: not measured; -1: cannot be */
	double started;
	int stop;                       /* exit status when any rank was asked to end */
};

/*
 * The device and the compiled step, the same on every rank.  No folder is touched, and of the data,
 * where the step is to crop them, only the sizes of frames.
 */
int kc_run_open(struct kc_run *, struct kc_config *, const struct kc_run_args *);
void kc_run_close(struct kc_run *);

/* A line for the log, kept until it is open; of other ranks, until it is gathered. */
void kc_run_say(struct kc_run *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens the data at the progress's cursor. */
int kc_run_open_data(struct kc_run *);
/*
 * One step; *seconds is its time, *waited that of it spent waiting for data: by this process, or
 * by a device with memory of its own, which had nothing to do meanwhile.
 */
int kc_run_step(struct kc_run *, double *seconds, double *waited);

/* Trains to the end.  Returns 0, KC_ESTOP when a signal asked for it, or an error. */
int kc_run_train(struct kc_run *);

/* ---- memory (train/fit.c) ---- */

/* Chooses what is trained on what; kc_run_fit does so, too. */
int kc_run_prepare(struct kc_run *);
/*
 * Opens the training so that a step fits into what there is, or into memory_cap: on all ranks in
 * the same way.  What is given up for it is told.  KC_ENOMEM when it cannot be made to fit.
 */
int kc_run_fit(struct kc_run *);

enum { KC_BATCHES_AHEAD = 3 };

/* What a step needs on the device, data aside, and on the processor libraries. */
size_t kc_run_step_bytes(const struct kc_run *);
/*
 * On a device with memory of its own what is needed there; else what the process needs at its
 * peak: what it had when the plan was built and what a run adds.
 * Frames of the data set are not known then, of which every worker holds one as it is on disk.
 */
size_t kc_run_planned_bytes(const struct kc_run *);
/* From /proc: "VmRSS" or "VmHWM", in bytes; 0 where it is not to be had. */
size_t kc_process_bytes(const char *field);

#endif
