/* What reading and writing share: the only place in this folder that knows HDF5. */
#ifndef KC_WEIGHTS_H5_PRIVATE_H
#define KC_WEIGHTS_H5_PRIVATE_H

#include "weights/h5.h"

#include <hdf5.h>
#include <stdio.h>

/*
 * The library is not safe against files that are meant to break it, so it reads in a process of
 * its own, which sends what it finds as records: each followed by its texts and its bytes.
 */
enum kc_h5_kind { KC_H5_TENSOR = 1, KC_H5_NOTE, KC_H5_END };
enum {
	KC_H5_NAME = 1024,              /* names and checksums are shorter */
	KC_H5_MOST = 1 << 20,           /* tensors, notes */
	KC_H5_NOTE_LIMIT = 16 << 20,    /* bytes of a note */
	KC_H5_INFLATION = 1100          /* what deflate can make of a byte, rounded up */
};
struct kc_h5_record {
	uint64_t kind;
	uint64_t text[2];               /* lengths: name and checksum; key and value; message */
	uint64_t dtype, ndim;
	int64_t dim[KC_ST_DIMS];
	uint64_t at;                    /* of a tensor in the file, when own is 0 */
	uint64_t own;                   /* bytes that follow */
	uint64_t err;                   /* of END: 0 or -enum kc_err */
};

/*
 * From now on this process can read, write to fd alone, and start or change nothing.  False where
 * the system has no such filter (Linux on x86-64 and ARM has).
 */
bool kc_h5_confine(int fd);

/* Sends everything of a file, ended by KC_H5_END. */
void kc_h5_send(const char *path, size_t file_size, int fd);

/* Takes records until KC_H5_END and trusts nothing of them; fills *f, whose map is given. */
int kc_h5_receive(FILE *in, struct kc_h5 *f);

/* The stored type of a dtype, to be closed. */
hid_t kc_h5_type(enum kc_st_dtype);

/* The library becomes silent and loads no filters from outside. */
void kc_h5_begin(void);

/* Fails with "what: the library's innermost words". */
int kc_h5_fail(int err, const char *what);

#endif
