/*
 * A reader of Python pickles (protocols 0 to 5) that builds values and runs nothing.
 *
 * It understands the opcodes for None, bools, integers, floats, text, bytes, lists,
 * tuples and dicts.  Whatever would import, call or build an object is passed to the
 * caller's hooks, which know a fixed list of names; without a hook it is refused by
 * name ("refuses to call posix.system").  Sets, extension codes, bytearrays and
 * out-of-band buffers are refused always.
 *
 * Safe on any input: no recursion, every length is checked against the bytes that are
 * left, memory stays below about 100 bytes per byte read (KC_PICKLE_MEMORY in all),
 * nesting below KC_PICKLE_DEPTH.  A container that is already part of another one may
 * not change any more, so values are trees with shared parts, never cycles; and the
 * tree with all shared parts written out has at most KC_PICKLE_SPREAD nodes per byte,
 * so walking it recursively is safe as well.
 *
 * Source of the opcodes: the comments of CPython's Lib/pickletools.py and PEPs 307,
 * 3154 and 574.
 */
#ifndef KC_CORE_PICKLE_H
#define KC_CORE_PICKLE_H

#include "core/base.h"

enum {
	KC_PICKLE_MEMORY = 512 << 20,   /* bytes that one pickle may occupy */
	KC_PICKLE_DEPTH = 100,
	KC_PICKLE_SPREAD = 16
};

enum kc_pickle_type {
	KC_PICKLE_NONE,
	KC_PICKLE_BOOL,         /* i is 0 or 1 */
	KC_PICKLE_INT,          /* i */
	KC_PICKLE_LONG,         /* text: two's complement, little-endian, more than 8 bytes */
	KC_PICKLE_REAL,         /* real */
	KC_PICKLE_TEXT,         /* text: UTF-8 as found, n bytes, then a NUL */
	KC_PICKLE_BYTES,        /* text: n bytes, then a NUL */
	KC_PICKLE_LIST,         /* item[0..n-1] */
	KC_PICKLE_TUPLE,        /* item[0..n-1] */
	KC_PICKLE_DICT,         /* item[2i] is a key, item[2i + 1] its value; n counts both */
	KC_PICKLE_GLOBAL,       /* made by the hook `global`: code and text (module.name) */
	KC_PICKLE_OBJECT        /* made by hooks: code and object, or items of its own */
};

struct kc_pickle_value {
	enum kc_pickle_type type;
	bool frozen;            /* part of another value: may not change any more */
	uint8_t depth;          /* levels of nesting below */
	int code;               /* the hooks' own, for GLOBAL and OBJECT */
	uint64_t spread;        /* nodes, shared parts counted as often as they occur */
	size_t n, room;
	union {
		int64_t i;
		double real;
		const char *text;
		void *object;   /* the hooks' own, for OBJECT; not freed by the reader */
		struct kc_pickle_value **item;
	};
};

struct kc_pickle;

/*
 * What to do with names and calls.  A hook returns 0 and sets *out (a value of this
 * pickle: kc_pickle_new or one it was given), or a negative error with a message.
 * A hook left NULL refuses.  `user` is passed on.
 */
struct kc_pickle_hooks {
	void *user;
	/* GLOBAL, STACK_GLOBAL: *code becomes that of a KC_PICKLE_GLOBAL. */
	int (*global)(void *user, const char *module, const char *name, int *code);
	/* REDUCE and NEWOBJ: callee is a GLOBAL, args a tuple. */
	int (*reduce)(void *user, struct kc_pickle *, const struct kc_pickle_value *callee,
		      struct kc_pickle_value *args, struct kc_pickle_value **out);
	/* BUILD: gives the object its state; *out stays on the stack in its place. */
	int (*build)(void *user, struct kc_pickle *, struct kc_pickle_value *object,
		     struct kc_pickle_value *state, struct kc_pickle_value **out);
	/* PERSID, BINPERSID. */
	int (*persistent)(void *user, struct kc_pickle *, struct kc_pickle_value *id,
			  struct kc_pickle_value **out);
};

/*
 * Reads one pickle from the start of bytes (not kept).  hooks may be NULL.  *out owns
 * every value and is freed with kc_pickle_free.
 * KC_EFORMAT: malformed or refused; KC_ENOMEM; or what a hook returned.
 */
int kc_pickle_read(const void *bytes, size_t size, const struct kc_pickle_hooks *hooks,
		   struct kc_pickle **out);
void kc_pickle_free(struct kc_pickle *);

/* The value that the pickle is. */
struct kc_pickle_value *kc_pickle_root(const struct kc_pickle *);

/* Bytes up to and including STOP: where a following pickle begins. */
size_t kc_pickle_size(const struct kc_pickle *);

/* For hooks: a new zeroed value of the type, owned by the pickle; NULL: out of memory. */
struct kc_pickle_value *kc_pickle_new(struct kc_pickle *, enum kc_pickle_type);

/* For hooks: appends to a LIST, TUPLE, DICT (key, then value) or OBJECT with items. */
int kc_pickle_append(struct kc_pickle *, struct kc_pickle_value *container,
		     struct kc_pickle_value *item);

/* The value of a text key in a dict, the last one if repeated; NULL if absent or no dict. */
struct kc_pickle_value *kc_pickle_get(const struct kc_pickle_value *dict, const char *key);

/* "a dict", "an integer", ... for messages. */
const char *kc_pickle_type_name(enum kc_pickle_type);

#endif
