/* Shared by the files of the pickle reader; nobody else includes it. */
#ifndef KC_CORE_PICKLE_PRIVATE_H
#define KC_CORE_PICKLE_PRIVATE_H

#include "core/pickle.h"

struct kc_pickle_block;

struct kc_pickle {
	struct kc_pickle_block *blocks;
	size_t memory;
	struct kc_pickle_value *root;
	size_t size, end;
};

/* Uninitialised bytes that are freed with the pickle; NULL: out of memory. */
void *kc_pickle_take(struct kc_pickle *, size_t size);

/* True for the types that kc_pickle_append fills. */
bool kc_pickle_holds_items(const struct kc_pickle_value *);

/*
 * Text of protocol 0.  out has room for 2n + 1 bytes; *out_n is what was used.
 * unicode: Latin-1 with \uXXXX and \UXXXXXXXX; quoted: a Python literal in quotes.
 */
int kc_pickle_decode_unicode(const char *s, size_t n, char *out, size_t *out_n);
int kc_pickle_decode_quoted(const char *s, size_t n, char *out, size_t *out_n);

#endif
