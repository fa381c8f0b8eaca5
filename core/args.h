/*
 * Arguments of a program: a table row per option, from which they are read and the help is
 * printed.  Options are written "-o FILE", "-oFILE", "--size N", "--size=N" or, as long as no
 * other begins so, "--si N"; a program takes nothing but options.
 */
#ifndef KC_CORE_ARGS_H
#define KC_CORE_ARGS_H

#include "core/base.h"

#include <stdio.h>

enum kc_arg_type {
	KC_ARG_FLAG,            /* bool: becomes true; takes no value */
	KC_ARG_INT,             /* int, from min to max */
	KC_ARG_TEXT,            /* const char *: a part of argv; one of choices if there are any */
	KC_ARG_OTHER            /* what take makes of it */
};

struct kc_arg {
	char letter;            /* 'o' of "-o"; 0: none */
	const char *name;       /* "output" of "--output"; NULL: none */
	const char *value;      /* what stands for the value in the help: "FILE"; of a flag NULL */
	enum kc_arg_type type;
	size_t offset;          /* of the member in the struct; not of OTHER */
	const char *help;       /* lines without indentation, joined by '\n' */
	void (*more)(FILE *);   /* prints what the help ends with, or NULL */
	int min, max;
	const char *choices;    /* joined by '|' */
	/* Into the struct; a negative enum kc_err with a message like "expected WxH". */
	int (*take)(void *obj, const char *text);
};

struct kc_args {
	const char *usage;      /* of the program: lines behind "usage: " */
	const struct kc_arg *rows;
	size_t n;
	const char *end;        /* of the help: lines, or NULL */
};

/*
 * Reads the options of argv[1...] into *obj, in their order.  KC_EINVAL with a message that
 * names the option and what was expected of it.
 */
int kc_args_read(const struct kc_args *, int argc, char **argv, void *obj);

/* Usage, a paragraph per row, and the end: to stderr behind what could not be read. */
void kc_args_help(const struct kc_args *, FILE *);

#endif
