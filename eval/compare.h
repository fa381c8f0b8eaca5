/*
 * Folders of results against folders of ground truth: figures per clip and row.
 *
 * Rows: "grey" (the ground truth's luma alone), one per folder of results, "truth".  A table
 * without the first and the last cannot be judged: CDC includes luma and is not zero for the
 * ground truth, and a grey picture has a PSNR, too.
 */
#ifndef KC_EVAL_COMPARE_H
#define KC_EVAL_COMPARE_H

#include "data/clip.h"
#include "eval/grey.h"
#include "losses/metrics.h"

enum { KC_COMPARE_RESULTS = 16 };

struct kc_figures {
	/* dB, means of the frames; NAN where there are none (internal ones of a short clip, truth).
	 */
	double psnr, anchors, internal;
	double cdc, colourfulness;
};

struct kc_compare_row {
	const char *name;
	struct kc_dataset *results;     /* NULL: grey or truth */
	struct kc_figures *clip;        /* by clip of the ground truth */
	struct kc_figures mean;         /* over clips */
	double margin; /* half width of the 95 % interval of mean.psnr over clips */
};

struct kc_compare {
	struct kc_grey grey;
	struct kc_dataset *truth;
	int64_t interval;               /* frames between anchors; 0: not told */
	struct kc_compare_row row[KC_COMPARE_RESULTS + 2];
	size_t n_rows;
};

/* What is compared, as given on the command line. */
struct kc_compare_args {
	const char *truth;
	struct kc_compare_result { const char *name, *folder; } result[KC_COMPARE_RESULTS];
	size_t n_results;
	int64_t interval;
	/* Called before each clip; may be NULL. */
	void (*progress)(void *own, size_t clip, const struct kc_dataset *truth);
	void *own;
};

/*
 * Errors name clip and frame: KC_ENOENT (results lack a clip or a frame), KC_ESHAPE (another
 * size), KC_EFORMAT (damaged): figures over part of the frames would not be comparable.
 */
int kc_compare_open(struct kc_compare *, const struct kc_compare_args *, struct kc_device *);
void kc_compare_close(struct kc_compare *);

/* The picture of a row: results are found by clip name and by frame name without its ending. */
int kc_compare_frame(struct kc_compare *, size_t row, size_t clip, int64_t frame,
		     struct kc_image *);

/* Aligned text, a block per clip and one of means; JSON with the same figures. */
void kc_compare_print(const struct kc_compare *, FILE *);
void kc_compare_json(const struct kc_compare *, FILE *);

/* A figure as people read it, with that many decimals; "-" for NAN. text holds 32 bytes. */
const char *kc_figure_text(double x, int decimals, char *text);

#endif
