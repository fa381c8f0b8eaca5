/*
 * Zip archives of stored entries, as torch.save writes them, read in place.
 *
 * Read: the central directory, with zip64 fields.  Refused: compressed, encrypted and split
 * archives, entries that overlap or leave the file, names twice.  Names are only compared,
 * nothing is ever written where an entry's name says.
 *
 * Source of the layout: PKWARE, APPNOTE.TXT 6.3.
 */
#ifndef KC_WEIGHTS_ZIP_H
#define KC_WEIGHTS_ZIP_H

#include "core/base.h"

struct kc_zip_entry {
	const char *name;               /* name_size bytes, no NUL at the end */
	size_t name_size;
	const unsigned char *data;
	size_t size;
	uint32_t crc;
	bool checked;                   /* the checksum was found right */
	size_t begin, whole;            /* local header and data: where, how many bytes */
};

struct kc_zip {
	struct kc_zip_entry *entries;   /* sorted by name */
	size_t n;
	const struct kc_zip_entry *first;       /* in the archive's own order */
};

/*
 * Reads the directory of an archive in memory, which must outlive *z.  KC_EFORMAT with a
 * message without the file's name; KC_ENOMEM.  On failure *z is zeroed.
 */
int kc_zip_open(const void *bytes, size_t size, struct kc_zip *z);
void kc_zip_close(struct kc_zip *z);

struct kc_zip_entry *kc_zip_find(const struct kc_zip *z, const char *name);     /* or NULL */

/* Compares the data with its checksum, the first time.  KC_EFORMAT. */
int kc_zip_check(struct kc_zip_entry *e);

/* The CRC-32 of zip (polynomial 0xEDB88320, reflected); crc of nothing is 0. */
uint32_t kc_zip_crc(uint32_t crc, const void *data, size_t size);

#endif
