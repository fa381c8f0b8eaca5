/*
 * JSON (RFC 8259), read strictly into a tree and written piecewise.
 *
 * The reader is made for files that nobody vouches for: depth, number of values and
 * length are bounded, UTF-8 is checked, and refused are duplicate keys, NUL characters
 * (so every text is a C string), lone surrogates, NaN, numbers that overflow a double
 * and anything behind the value.
 */
#ifndef KC_CORE_JSON_H
#define KC_CORE_JSON_H

#include "core/base.h"

#include <stdio.h>

enum {
	KC_JSON_DEPTH = 64,             /* nested arrays and objects */
	KC_JSON_VALUES = 4 << 20,       /* values in one text */
	KC_JSON_BYTES = 128 << 20       /* length of one text */
};

enum kc_json_kind {
	KC_JSON_NULL,
	KC_JSON_BOOL,
	KC_JSON_NUMBER,
	KC_JSON_TEXT,
	KC_JSON_ARRAY,
	KC_JSON_OBJECT
};

/* One value.  Members and elements keep the order of the text: v->first, then ->next. */
struct kc_json {
	enum kc_json_kind kind;
	bool is_int;                    /* NUMBER without point or exponent that fits int64_t */
	const char *key;                /* as a member of an object, else NULL */
	size_t key_len;
	struct kc_json *next;           /* the next member or element, or NULL */
	union {
		bool truth;                     /* BOOL */
		struct {
			double number;          /* NUMBER */
			int64_t integer;        /* exact where is_int */
		};
		struct {
			const char *text;       /* TEXT, escapes decoded, NUL-terminated */
			size_t len;
		};
		struct {
			struct kc_json *first;  /* ARRAY, OBJECT */
			size_t n;
			struct kc_json **by_key; /* OBJECT: members sorted by key */
		};
	};
};

/*
 * Reads one value from text[0..len), which need not be NUL-terminated.  *root owns the
 * whole tree.  KC_EFORMAT with the line and column and what was expected, KC_ENOMEM.
 */
int kc_json_parse(const char *text, size_t len, struct kc_json **root);

/* The same from a file; the message names it. */
int kc_json_load(const char *path, struct kc_json **root);

void kc_json_free(struct kc_json *root);

/* The member of that name (logarithmic), or NULL when there is none or v is no object. */
const struct kc_json *kc_json_get(const struct kc_json *v, const char *key);

/* True when s[0..len) is UTF-8 (RFC 3629). */
bool kc_utf8_valid(const char *s, size_t len);

/* Writes a quoted, escaped text.  Bytes are passed through: s should be UTF-8. */
void kc_json_put_text(FILE *, const char *s);

/* Writes the shortest decimal that reads back as the same double; null if not finite. */
void kc_json_put_number(FILE *, double x);

#endif
