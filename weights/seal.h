/*
 * Sealed safetensors: files of our own carry checksums in their metadata, so damage of a
 * single bit is found before a number of the file is used.
 *
 * `xxh64.<tensor>` is the XXH64 of the tensor's bytes (16 hexadecimal digits).  `xxh64`
 * is the file's digest: the sum modulo 2^64, so in any order, of one hash per metadata
 * entry but itself (its value, seeded with the hash of its key) and one per tensor (dtype
 * and shape, seeded with the hash of its name).  Through the entries it covers the data.
 */
#ifndef KC_WEIGHTS_SEAL_H
#define KC_WEIGHTS_SEAL_H

#include "weights/safetensors.h"

/* kc_st_save with the checksums added; *digest may be NULL. */
int kc_seal_save(const char *path, const struct kc_st_item *items, size_t n,
		 const struct kc_st_pair *meta, size_t n_meta, uint64_t *digest);

/* The number of bytes kc_seal_save would write; reads no data. */
int kc_seal_measure(const struct kc_st_item *items, size_t n, const struct kc_st_pair *meta,
		    size_t n_meta, uint64_t *bytes);

/*
 * 1 when the file is sealed and whole, 0 when it carries no seal; KC_EFORMAT with the name
 * of the damaged tensor otherwise.  Reads every byte.  *digest may be NULL.
 */
int kc_seal_check(const struct kc_st *, uint64_t *digest);

#endif
