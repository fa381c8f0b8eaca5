/*
 * How common the 313 bins of the ab plane (layers/layers.h) are in a data set, from which the
 * rebalanced class loss takes its factors.
 *
 * The file is JSON, made by `pack --prior`:
 *
 *	{"format": "kinemacolor-prior", "bins": 313, "smoothing": 5,
 *	 "frames": 2395, "grey_frames": 0, "pixels": 13471875, "prior": [p_0, ... p_312]}
 *
 * prior[q] is the share of bin q, the bins in the order of kc_bins_a, kc_bins_b.  The other
 * members tell people where it came from; only format and prior are read.
 *
 * Source: Zhang et al., "Colorful image colorization", ECCV 2016, section 2.2: every pixel
 * counts for its nearest bin, and the counts are smoothed by a Gaussian of sigma 5 in ab.  As
 * in the training, every fourth row and column is looked at, and frames that are grey (|a| and
 * |b| at most 5 in all of these pixels) are left out, because they do not train.
 */
#ifndef KC_TRAIN_PRIOR_H
#define KC_TRAIN_PRIOR_H

#include "core/device.h"
#include "data/clip.h"
#include "layers/layers.h"

struct kc_prior {
	int64_t frames, grey_frames;    /* looked at; left out of it */
	int64_t pixels;                 /* that were counted */
	double p[KC_BINS];              /* shares, sum 1 */
};

/*
 * From all frames of a data set; the result does not depend on the threads.  KC_EFORMAT: a
 * damaged frame, or all are grey; KC_ESTOP when progress, called for every frame, is not 0.
 */
int kc_prior_count(struct kc_prior *, const struct kc_dataset *, struct kc_device *,
		   int (*progress)(void *own, int64_t done, int64_t frames), void *own);

/* Gaussian smoothing of counts: p[q] ~ sum_r count[r] G(q, r) / sum_s G(s, r), scaled to sum 1. */
void kc_prior_smooth(const double *count, double *p);

int kc_prior_save(const struct kc_prior *, const char *path);

/*
 * Reads the shares.  KC_EFORMAT: no such file's format, another number of bins, a share that is
 * no number or negative, a sum that is off 1 by more than 1e-6.
 */
int kc_prior_load(const char *path, double p[KC_BINS]);

#endif
