/* Tiny training runs in the folder of the running test: three clips, flow by DIS, width 1/8. */
#ifndef KC_TESTS_RUNS_H
#define KC_TESTS_RUNS_H

#include "train/run.h"

/*
 * Settings "key=value" up to NULL, over those of a run named "run" on the clips below
 * kc_test_path("clips").  0 or an error of kc_config_*; release it either way.
 */
int kc_test_config(struct kc_config *, const char *const *set);

/* Writes the clips: names "a", "b" and "c" of 6, 5 and 4 frames, 40 x 36. */
void kc_test_clips(void);

/*
 * Trains as the program does and closes.  *said (unless NULL) is what stood on stderr: borrowed
 * until the next call.
 */
int kc_test_train(const char *const *set, const char **said);

/* Whether the run "run" has a training state of that iteration. */
bool kc_test_has_state(int iter);

/* Two files in the folder of the running test must have the same bytes. */
void kc_test_same_file(const char *a, const char *b);
/* metrics.jsonl of the run of that name, up to the fields that tell about time; to be freed. */
char *kc_test_metrics(const char *name);

/* Opens a run up to its first step; data, weights, no folder. */
int kc_test_open(struct kc_run *, struct kc_config *, const char *const *set);
void kc_test_close(struct kc_run *, struct kc_config *);

/* Until kc_test_close the batch of that index gives NaN; call it after kc_test_open. */
void kc_test_poison(struct kc_run *, int64_t index);
/* The same for the runs of kc_test_train; up to and with the batch `last`. */
void kc_test_poison_runs(int64_t first, int64_t last);

/*
 * Whether runs of kc_test_train fail to feed every batch but the first of a process for the first
 * time: then nothing is ready before its step.  How often that was is counted.
 */
void kc_test_refuse(bool);
int kc_test_refused(void);

/* One step; false when it failed. */
bool kc_test_step(struct kc_run *);

#endif
