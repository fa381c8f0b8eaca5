/*
 * From a file of weights into named destinations.
 *
 * Read are .safetensors files, ours (their checksums are verified) and foreign ones.  What
 * is no such file is named for what it is: a web page saved as weights, a Git LFS pointer,
 * a PyTorch file, an HDF5 file, an empty or shortened file.
 */
#ifndef KC_WEIGHTS_LOAD_H
#define KC_WEIGHTS_LOAD_H

#include "weights/safetensors.h"

struct kc_load_dest {
	const char *name;           /* as in the file */
	int ndim;
	const int64_t *dim;
	float *data;                /* product of dim elements */
};

/*
 * Opens a file of weights.  KC_ENOENT with the place where a published file can be had,
 * KC_ENOSUP for another kind of file, KC_EFORMAT for a damaged one.  Ended by kc_st_close.
 */
int kc_load_open(const char *path, struct kc_st *f);

/*
 * Copies tensors, converted to float32, into the n destinations.
 * - A name in the file may carry the prefix "module." of PyTorch's DataParallel.
 * - strict: every destination must be in the file and every tensor of the file must have a
 *   destination, else KC_EFORMAT with both lists.  Only counters named num_batches_tracked
 *   may be missing: older PyTorch versions did not write them.  A missing one is left as is.
 * - not strict: *remarks receives the lists as a text that the caller prints and frees, or
 *   NULL when there is nothing to say.  remarks may be NULL when strict.
 * - A tensor of another shape is KC_ESHAPE, a non-finite value KC_ENUMERIC, either way.
 * All names and shapes are checked before the first destination changes.
 */
int kc_load_tensors(const struct kc_st *f, const struct kc_load_dest *dests, size_t n, bool strict,
		    char **remarks);

/* kc_load_open, kc_load_tensors and kc_st_close in one. */
int kc_load_file(const char *path, const struct kc_load_dest *dests, size_t n, bool strict,
		 char **remarks);

#endif
