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

/* What exists only while reading. */
struct kc_pickle_reader {
	struct kc_pickle *p;
	const struct kc_pickle_hooks *hooks;
	const unsigned char *at, *end;
	struct kc_pickle_value **stack;
	size_t n, room;
	size_t *marks;          /* heights of the stack; values below the last are out of reach */
	size_t n_marks, marks_room;
	struct kc_pickle_value **memo;
	size_t n_memo, memo_room, puts;
	bool stop;
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

/* ---- core/pickle.c ---- */

/* v NULL: KC_ENOMEM, its maker's message. */
int kc_pickle_push(struct kc_pickle_reader *, struct kc_pickle_value *v);
int kc_pickle_pop(struct kc_pickle_reader *, struct kc_pickle_value **);
/* The value `below` places under the top, which must be above the last mark. */
int kc_pickle_peek(struct kc_pickle_reader *, size_t below, struct kc_pickle_value **);
/* Pushes a copy as TEXT, BYTES, LONG or GLOBAL. */
int kc_pickle_push_text(struct kc_pickle_reader *, enum kc_pickle_type, const void *bytes,
			size_t n);
/* The bytes up to the next line feed, which is skipped. */
int kc_pickle_read_line(struct kc_pickle_reader *, const char **line, size_t *n);

/* ---- core/pickle_call.c ---- */

/* Opcodes that import, call or build, which are the hooks' business; any other is refused. */
int kc_pickle_read_call(struct kc_pickle_reader *, unsigned char op);

#endif
