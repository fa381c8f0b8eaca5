/*
 * What a run tells: a log file and stderr for people, metrics.jsonl and TensorBoard for
 * machines.
 *
 * A line of the log, as trainers of this field know it:
 *	[epoch:  12, iter:  34,000, lr:(5.000e-05,)] [eta: 1 day, 2:03:04, time (data): 0.310
 *	(0.004)] l_pix: 1.2000e-02 ... grad_norm: 3.1e-01 frames/s: 155 mem: 2.1 GB peak: 41 %
 *
 * metrics.jsonl holds one object per line: "iter", "epoch", "lr", the values, and at the end
 * those that tell about the machine and differ from run to run: "time", "data_time", "eta",
 * "frames_per_s", "memory", "peak".  Everything else is the same in an undisturbed and in a
 * resumed run.  Lines of a validation have "iter" and the values alone.
 *
 * A zeroed struct kc_log is silent: every function does nothing on it (ranks above 0).
 */
#ifndef KC_TRAIN_LOG_H
#define KC_TRAIN_LOG_H

#include "train/tensorboard.h"

struct kc_log {
	FILE *screen;                   /* stderr */
	bool terminal;                  /* screen is one: progress is drawn */
	FILE *file, *metrics;
	struct kc_tensorboard tensorboard;
	double last_progress;
	bool drawn;                     /* a progress line stands on the screen */
};

/* One training iteration, or the mean over those since the last line. */
struct kc_log_step {
	int64_t epoch, iter, niter;
	double lr;
	double time, data_time;         /* seconds per iteration; of these, waiting for data */
	double frames_per_s;
	double memory;                  /* bytes on the device; 0: not told */
	double peak;                    /* share of the device's peak FLOP/s; 0: not told */
	const struct kc_metric *values; /* losses, grad_norm, ... */
	size_t n;
};

/* "261120-184758": local time, for names of files. */
void kc_time_stamp(char out[16]);

/*
 * Opens dir/train_<name>_<time>.log, and dir/metrics.jsonl to append.  tb_dir NULL: no
 * TensorBoard.  start_iter: iterations done before (0: a new run); what metrics.jsonl tells
 * about later ones is cut off.
 */
int kc_log_open(struct kc_log *, const char *dir, const char *name, const char *tb_dir,
		int64_t start_iter);

/* A line of text on the screen and, with the time, in the file. */
void kc_log_say(struct kc_log *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line of every kind.  KC_EIO when one could not be written. */
int kc_log_step(struct kc_log *, const struct kc_log_step *);

/* The same for values that belong to no step, like those of a validation. */
int kc_log_values(struct kc_log *, int64_t iter, const struct kc_metric *, size_t n);

/* Redraws one line at most 6 times a second, on a terminal only. */
void kc_log_progress(struct kc_log *, const struct kc_log_step *);

/* Makes metrics.jsonl durable; to be called before a checkpoint is written. */
int kc_log_sync(struct kc_log *);

int kc_log_close(struct kc_log *);

/*
 * Keeps the lines of a metrics file that are whole objects with "iter" <= iter.  Returns
 * the number of lines dropped; a missing file has none.  Replaced atomically.
 */
int kc_log_cut(const char *path, int64_t iter);

/* Whether a metrics file has a line of that iteration with that value. */
bool kc_log_has(const char *path, int64_t iter, const char *name);

#endif
