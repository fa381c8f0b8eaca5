/*
 * Files: whole reads with a limit, read-only maps, atomic writes, folders.
 *
 * Every error message starts with the path and ends with the system's words.  A path
 * that does not exist gives KC_ENOENT, everything else the system refuses KC_EIO.
 */
#ifndef KC_CORE_FILE_H
#define KC_CORE_FILE_H

#include "core/base.h"

/*
 * Reads a whole file of at most `limit` bytes (a larger one is refused with KC_EFORMAT).
 * (*data)[*size] is a zero byte that does not count.  The caller frees *data.
 */
int kc_file_read(const char *path, size_t limit, char **data, size_t *size);

/*
 * A read-only map of a regular file; data is NULL when the file is empty.  Another process
 * that shortens the file meanwhile makes reads fault, so map only files that are replaced
 * by rename, as all of ours are.
 */
struct kc_map {
	const unsigned char *data;
	size_t size;
};

int kc_map_open(const char *path, struct kc_map *);
void kc_map_close(struct kc_map *);

/*
 * Takes the pages that lie within [data, data + size) out of the process's memory; they are
 * read again when they are touched again.  For large files that are read once, in order.
 * Does nothing when map is NULL or not a map.
 */
void kc_map_forget(const struct kc_map *, const void *data, size_t size);

/*
 * Atomic write: bytes go to "<path>.tmp"; commit makes them durable, renames the file over
 * path and makes the folder durable.  Until the rename any earlier file at path stays as it
 * was; a failure or an abort removes the .tmp, and only a killed process leaves it (the next
 * write of the same path reuses it).  One writer per path at a time.
 *
 * begin refuses when the disk has fewer than `size` bytes free (0: unknown, no check).
 * Errors stick: after a failed write, further writes and the commit fail likewise.
 * Both commit and abort end the writer, whatever they return.
 */
struct kc_writer {
	int fd, err;
	char *path, *temp;
};

int kc_writer_begin(struct kc_writer *, const char *path, uint64_t size);
int kc_writer_write(struct kc_writer *, const void *data, size_t size);
int kc_writer_commit(struct kc_writer *);
void kc_writer_abort(struct kc_writer *);

/* The three calls above for bytes that are already in memory. */
int kc_file_write(const char *path, const void *data, size_t size);

/* Fails when the disk of the folder that holds path has fewer than `size` bytes free. */
int kc_file_check_space(const char *path, uint64_t size);

bool kc_file_exists(const char *path);           /* anything but a folder */
bool kc_dir_exists(const char *path);
int kc_file_remove(const char *path);            /* a missing file is no error */
int kc_dir_make(const char *path);               /* with its parents; existing is no error */

enum kc_order {
	KC_ORDER_BYTES,     /* as strcmp: f10 before f9 */
	KC_ORDER_NATURAL    /* runs of digits by their value: f9 before f10 */
};

/* Names (not paths) of a folder's entries. */
struct kc_names {
	char **v;
	size_t n;
};

/* All entries but "." and "..", or those that end in suffix when it is not NULL. */
int kc_dir_list(const char *path, const char *suffix, enum kc_order, struct kc_names *);
void kc_names_free(struct kc_names *);
int kc_name_compare(const char *a, const char *b);    /* KC_ORDER_NATURAL, <0, 0 or >0 */

/*
 * Fault injection for tests: the n-th open, write, fsync or rename of this file from now
 * (1 = the next) fails with that errno, a write after half its bytes.  errno 0: the process
 * is killed there instead.  n = 0 turns it off.  Returns the operations still to come before
 * the fault, so 0 after a fault has struck.
 */
long kc_file_fail_after(long n, int error);

#endif
