/*
 * HDF5 files of weights: a dataset "/model/NAME" per tensor, row-major little endian, and the
 * metadata as texts, attributes of the group /model.  A dataset's attribute "dtype" is the name
 * that safetensors has for the type and "xxh64" the checksum of its bytes.  h5py reads all of
 * it (tests/h5py.sh): F16 as float16, BOOL as bool, BF16, which HDF5 does not know, as uint16, and
 * the texts, which are UTF-8 of fixed length, as bytes.
 *
 * The reader takes such files and those of h5py that are laid out so.  It follows no links,
 * loads no filters from outside, and refuses external and virtual storage; sizes and numbers of
 * chunks are compared with the file's before memory is asked for.  The HDF5 library, which
 * malicious files can break, reads in a process of its own with limits of time and memory and, on
 * Linux, without the right to change or start anything; what it sends is checked.  Tensors that
 * are not compressed stay in a map of the file.  The library takes one caller at a time: not
 * while pack files are in use.
 */
#ifndef KC_WEIGHTS_H5_H
#define KC_WEIGHTS_H5_H

#include "weights/safetensors.h"

struct kc_h5 {
	struct kc_st_tensor *tensors;   /* n of them, sorted by name (strcmp) */
	size_t n;
	struct kc_st_pair *notes;
	size_t n_notes;
	void **own;                     /* of compressed tensors: their bytes, else NULL */
	struct kc_map map;
	char *path;
};

/* Whether the bytes begin as an HDF5 file does. */
bool kc_h5_is(const void *data, size_t size);

/*
 * KC_ENOENT, KC_EIO, KC_ENOMEM, or KC_EFORMAT with a message that names file and tensor.  On
 * failure *f is zeroed and needs no close.
 */
int kc_h5_open(const char *path, struct kc_h5 *f);
void kc_h5_close(struct kc_h5 *f);

/* Writes a file atomically; level 0: as it is, 1 to 9: compressed (deflate). */
int kc_h5_save(const char *path, const struct kc_st_item *items, size_t n,
	       const struct kc_st_pair *notes, size_t n_notes, int level);

#endif
