/* Where the frames of results go: folders and names that follow those of the input. */
#ifndef KC_EVAL_RESULTS_H
#define KC_EVAL_RESULTS_H

#include "data/clip.h"
#include "models/colorizer.h"

/* All borrowed. */
struct kc_results {
	const char *output;             /* -o */
	const struct kc_dataset *data;
	const struct kc_clip *clip;     /* of data, the one being written */
};

/*
 * output, its suffix ("-confidence", or ""), and the clip's name; a single folder of frames
 * gives a single folder of results.  The caller frees; NULL without memory.
 */
char *kc_results_folder(const struct kc_results *, const char *suffix);

/* Makes it; KC_ECONFIG when the frames of the clip are there. */
int kc_results_make(const struct kc_results *, const char *folder);

/* As PNG in that folder, under the frame's own name. */
int kc_results_write(const struct kc_results *, const char *folder, int64_t frame,
		     const struct kc_picture *);

#endif
