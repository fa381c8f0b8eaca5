/*
 * Option rows: one table row per setting of a typed struct.  The rows are the only
 * source of YAML keys, `--set a.b=c`, `--help`, the resolved configuration, the
 * configuration hash, and of how operators' attributes are compared and printed.
 */
#ifndef KC_CORE_OPTION_H
#define KC_CORE_OPTION_H

#include "core/base.h"

#include <stdio.h>

enum kc_opt_type {
	KC_OPT_BOOL,    /* bool:     true/false/yes/no/on/off */
	KC_OPT_INT,     /* int64_t:  12, also 2e3 */
	KC_OPT_REAL,    /* double:   5e-5, !!float 5e-5 */
	KC_OPT_TEXT,    /* char *:   owned by the struct; NULL for ~; UTF-8 without controls */
	KC_OPT_ENUM,    /* int64_t:  index into choices "a|b=also b|c" */
	KC_OPT_INTS,    /* struct kc_ints: [1, 2] */
	KC_OPT_REALS    /* struct kc_reals */
};

struct kc_ints { int64_t *v; size_t n; };
struct kc_reals { double *v; size_t n; };

enum {
	KC_OPT_RESULT = 1,      /* changing it changes the bits of the result: enters the hash */
	KC_OPT_NOEFFECT = 2,    /* checked but not stored (no offset): the authors' files have it */
	KC_OPT_ALIAS = 4,       /* another key of the same offset; not dumped */
	KC_OPT_LATER = 8        /* with RESULT: a row that came later and whose default means as
				 * before; enters the hash only where it has another value, so
				 * that older runs keep theirs */
};

struct kc_opt {
	const char *key;        /* "train.lr_G": sections are joined by dots */
	enum kc_opt_type type;
	size_t offset;          /* of the member in the struct */
	const char *def;        /* default, written as on the command line: "5e-5", "[1, 2]", "~" */
	double min, max;        /* bounds of INT and REAL (also in lists), either may be infinite;
				   both 0: unbounded */
	unsigned flags;
	const char *choices;    /* of ENUM, joined by '|'; '=' joins names of the same choice */
	const char *unit;       /* "pixels", "iterations"; may be NULL */
	const char *help;
};

/* Sets every member of *obj to its default.  obj must be zeroed before. */
int kc_opt_defaults(const struct kc_opt *rows, size_t n, void *obj);

/* Frees the texts and lists that the rows own and zeroes those members. */
void kc_opt_release(const struct kc_opt *rows, size_t n, void *obj);

/* The row of that key, or NULL with a message that names the nearest key by edit distance. */
const struct kc_opt *kc_opt_find(const struct kc_opt *rows, size_t n, const char *key);

/*
 * Sets one member from text and frees what it held.  Lists are "[1, 2]" or "1,2";
 * "~" and "[]" are the empty list.  Type and bounds are checked; on failure
 * (KC_ECONFIG, KC_ENOMEM) the member keeps its value and the message starts with `where`
 * (file:line, or "--set"; may be NULL) and the key.
 */
int kc_opt_set(const struct kc_opt *row, void *obj, const char *text, const char *where);

/* The current value as text that kc_opt_set reads back; the caller frees. */
char *kc_opt_text(const struct kc_opt *row, const void *obj);

/* A paragraph per row: key, what it expects, default, unit, help. */
void kc_opt_help(const struct kc_opt *rows, size_t n, FILE *);

/*
 * "key: value" lines of all rows but aliases and no-effect ones, nested by section as YAML.
 * Rows of one section must stand together.
 */
int kc_opt_dump(const struct kc_opt *rows, size_t n, const void *obj, FILE *);

/* Hash of key and value of the rows flagged KC_OPT_RESULT (see KC_OPT_LATER), in any order. */
uint64_t kc_opt_hash(const struct kc_opt *rows, size_t n, const void *obj);

#endif
