/* From a file of weights (weights/weights.h), whatever its format, into named destinations. */
#ifndef KC_WEIGHTS_LOAD_H
#define KC_WEIGHTS_LOAD_H

#include "weights/weights.h"

struct kc_load_dest {
	const char *name;           /* as in the file */
	int ndim;
	const int64_t *dim;
	float *data;                /* product of dim elements */
};

enum kc_load_mode {
	KC_LOAD_LOOSE,          /* what matches */
	KC_LOAD_STRICT,         /* all destinations, all tensors of the file */
	KC_LOAD_COMPLETE        /* all destinations; other tensors of the file are ignored */
};

/*
 * Copies tensors, converted to float32, into the n destinations.
 * - A name in the file may carry a wrapper's prefix: see kc_weights_bare.
 * - A file of TCVC also serves where its keyframe network or its FlowNet 2.0 alone is wanted:
 *   when no destination is there by name, those under "fea_key." or "flow." are taken and the
 *   file's other tensors ignored.
 * - strict and complete: what is missing or unexpected is KC_EFORMAT with both lists.  Only
 *   counters named num_batches_tracked may be missing: older PyTorch versions did not write
 *   them.  A missing one is left as is.
 * - loose: *remarks receives the lists as a text that the caller prints and frees, or NULL
 *   when there is nothing to say.  remarks may be NULL otherwise.
 * - A tensor of another shape is KC_ESHAPE, a non-finite value KC_ENUMERIC, either way.
 * All names and shapes are checked before the first destination changes.
 */
int kc_load_tensors(const struct kc_weights *f, const struct kc_load_dest *dests, size_t n,
		    enum kc_load_mode, char **remarks);

/* kc_weights_open, kc_load_tensors and kc_weights_close in one. */
int kc_load_file(const char *path, const struct kc_load_dest *dests, size_t n,
		 enum kc_load_mode, char **remarks);

#endif
