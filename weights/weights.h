/*
 * A file of weights in any format that is read: what is common to all of them.
 *
 * The format follows from the first bytes, never from the name.  What is no file of weights
 * is named for what it is: a web page saved as weights, a Git LFS pointer, an empty or
 * shortened file.
 */
#ifndef KC_WEIGHTS_WEIGHTS_H
#define KC_WEIGHTS_WEIGHTS_H

#include "weights/names.h"
#include "weights/safetensors.h"

struct kc_weights {
	const char *format;             /* "safetensors", "PyTorch", ... */
	char *path;
	const struct kc_st_tensor *tensors;     /* n of them, sorted by name (strcmp) */
	size_t n;
	const struct kc_st_tensor **by_bare;    /* the same, sorted by bare name */
	const struct kc_st_pair *notes; /* metadata and other values that are no tensors */
	size_t n_notes;
	struct kc_renamed renamed;      /* what the tensors are when names are another project's */
	struct kc_st_pair *told;        /* the notes with those of kc_weights_tell; or NULL */
	const struct kc_map *map;       /* where the tensors lie, or NULL */
	void *file;                     /* the format's own */
	void (*close)(void *file);
};

/*
 * Opens and checks a file of weights, checksums included.  KC_ENOENT with the place where a
 * published file can be had, KC_ENOSUP for another kind of file, KC_EFORMAT for a damaged
 * one.  On failure *w is zeroed and needs no close.
 */
int kc_weights_open(const char *path, struct kc_weights *w);
void kc_weights_close(struct kc_weights *w);

/*
 * *t becomes the tensor of that bare name, NULL if there is none.  KC_EFORMAT when the file
 * holds it more than once, with and without a wrapper's prefix.
 */
int kc_weights_find(const struct kc_weights *w, const char *name, const struct kc_st_tensor **t);

/* Whether a bare name begins with prefix. */
bool kc_weights_has(const struct kc_weights *w, const char *prefix);
const char *kc_weights_note(const struct kc_weights *w, const char *key);       /* or NULL */

/*
 * From now on the file's metadata say so, whatever they said: what other projects' files do not
 * tell of themselves.  key and value are borrowed until the file is closed.  KC_ENOMEM.
 */
int kc_weights_tell(struct kc_weights *w, const char *key, const char *value);

#endif
