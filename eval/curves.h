/*
 * The curves of a training run, from the metrics.jsonl that it writes (train/log.h): one object
 * per line with "iter" and numbers.  What tells about the machine or the schedule is left out.
 */
#ifndef KC_EVAL_CURVES_H
#define KC_EVAL_CURVES_H

#include "core/base.h"

struct kc_curve {
	char *name;                     /* "l_pix", "warp_loss", ... */
	double *x, *y;                  /* iterations rising, and finite values */
	size_t n, room;
};

struct kc_curves {
	char *run;                      /* name of the folder that holds the file */
	struct kc_curve *v;
	size_t n;
};

/* A last line without its end, as a killed run leaves it, is no error; KC_EFORMAT otherwise. */
int kc_curves_read(const char *path, struct kc_curves *);
void kc_curves_release(struct kc_curves *);

#endif
