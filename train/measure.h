/*
 * What validation measures of a clip, frame by frame: closeness to the truth, colour, steadiness.
 * Sources of the numbers: losses/metrics.h, losses/consistency.h.
 */
#ifndef KC_TRAIN_MEASURE_H
#define KC_TRAIN_MEASURE_H

#include "data/dis.h"
#include "data/image.h"
#include "losses/metrics.h"

enum kc_measured {
	KC_MEASURED_PSNR,               /* dB, mean over frames */
	KC_MEASURED_CDC,
	KC_MEASURED_COLOUR,             /* colourfulness, mean over frames */
	KC_MEASURED_COLOUR_GAP,         /* its distance from that of the truth */
	KC_MEASURED_WARP,               /* warp error along the truth's flow, mean over pairs */
	KC_MEASURED
};

/* "val_psnr", ...: names in logs. */
extern const char *const kc_measured_names[KC_MEASURED];

struct kc_measure {
	struct kc_dis *dis;             /* borrowed */
	struct kc_cdc cdc;
	struct kc_mean psnr, colour, truth_colour, warp;
	/* The frame before: its result and the truth's luma. */
	uint8_t *result, *grey;
	int width, height;              /* 0: there is none */
};

/* Zeroed but for dis at first.  The next frame of the clip; truth NULL: it could not be read. */
int kc_measure_add(struct kc_measure *, const uint8_t *result, const struct kc_image *truth,
		   int width, int height);
/* NAN where nothing was measured. */
void kc_measure_get(const struct kc_measure *, double values[KC_MEASURED]);
void kc_measure_release(struct kc_measure *);

#endif
