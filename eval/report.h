/*
 * One self-contained HTML page about a comparison: figures in short, strips of frames, the whole
 * table, the curves of the training runs.  No scripts, nothing from elsewhere; it follows the
 * reader's choice of a light or dark page.
 */
#ifndef KC_EVAL_REPORT_H
#define KC_EVAL_REPORT_H

#include "eval/compare.h"

struct kc_report {
	const char *title;
	const char *notes;              /* lines of plain text about the data, or NULL */
	const char *const *metrics;     /* paths of metrics.jsonl files */
	size_t n_metrics;
	int strips;                     /* of frames, spread over the clips */
};

/* Written atomically.  Errors of kc_compare_frame, kc_curves_read and kc_file_write. */
int kc_report_write(const char *path, const struct kc_report *, struct kc_compare *);

#endif
