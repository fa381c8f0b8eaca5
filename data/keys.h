/*
 * Lists of clips and of training windows.
 *
 * A text list holds one clip name per line; empty lines and lines that start with # are
 * skipped.  A `.pkl` list is the published format: a pickled dict whose entry "keys" is a
 * list of texts CLIP_START_LAST, one per training window, where CLIP may hold underscores
 * itself, START is the window's first frame and LAST the clip's last frame, both decimal
 * (specification of TCVC, section 8).  Names that leave the folder ("..", "/") are refused.
 */
#ifndef KC_DATA_KEYS_H
#define KC_DATA_KEYS_H

#include "core/base.h"

struct kc_key {
	char *clip;
	int64_t start, last;    /* both -1 in a text list: the whole clip */
};

struct kc_keys {
	struct kc_key *v;
	size_t n;
};

/* Errors start with the path; KC_EFORMAT also if the list is empty. */
int kc_keys_read(const char *path, struct kc_keys *);
void kc_keys_free(struct kc_keys *);

#endif
