#include "core/args.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, LONG = 256, WIDEST = 18 };    /* LONG + row: what getopt gives for a long one */

/* --- reading -------------------------------------------------------------------------- */

/* "--size", or "-o" of a row without a name. */
static int fail(const struct kc_arg *row, const char *what)
{
	if (row->name)
		return KC_FAIL(KC_EINVAL, "--%s: %s", row->name, what);
	return KC_FAIL(KC_EINVAL, "-%c: %s", row->letter, what);
}

static int take_int(const struct kc_arg *row, int *to, const char *text)
{
	char *end, what[160];
	long x = strtol(text, &end, 10);

	if (end != text && !*end && x >= row->min && x <= row->max) {
		*to = (int)x;
		return 0;
	}
	snprintf(what, sizeof what, "expected a number from %d to %d, got %.64s", row->min,
		 row->max, text);
	return fail(row, what);
}

static bool is_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);

	if (strchr(text, '|'))
		return false;
	for (const char *at = choices; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (!strncmp(at, text, n) && (!at[n] || at[n] == '|'))
			return true;
	}
	return false;
}

static int take_text(const struct kc_arg *row, const char **to, const char *text)
{
	char what[160];

	if (!row->choices || is_choice(row->choices, text)) {
		*to = text;
		return 0;
	}
	snprintf(what, sizeof what, "expected one of %s, got %.64s", row->choices, text);
	return fail(row, what);
}

static int take(const struct kc_arg *row, void *obj, const char *text)
{
	void *to = (char *)obj + row->offset;
	char what[200];
	int rc;

	switch (row->type) {
	case KC_ARG_FLAG: *(bool *)to = true; return 0;
	case KC_ARG_INT: return take_int(row, to, text);
	case KC_ARG_TEXT: return take_text(row, to, text);
	default: break;
	}
	rc = row->take(obj, text);
	if (rc >= 0)
		return 0;
	snprintf(what, sizeof what, "%.120s, got %.64s", kc_errmsg(), text);
	return fail(row, what);
}

static const struct kc_arg *find(const struct kc_args *a, int option)
{
	for (size_t i = 0; i < a->n; i++)
		if (option == LONG + (int)i || (option && option == a->rows[i].letter))
			return &a->rows[i];
	return NULL;
}

/* The tables that getopt wants. */
static void describe(const struct kc_args *a, struct option longs[ROWS + 1],
		     char letters[2 * ROWS + 2])
{
	*letters++ = ':';               /* a value that is missing is told apart */
	for (size_t i = 0; i < a->n; i++) {
		const struct kc_arg *row = &a->rows[i];
		int has = row->type == KC_ARG_FLAG ? no_argument : required_argument;

		if (row->name)
			*longs++ = (struct option){row->name, has, NULL, LONG + (int)i};
		if (row->letter)
			*letters++ = row->letter;
		if (row->letter && has == required_argument)
			*letters++ = ':';
	}
	*longs = (struct option){0};
	*letters = 0;
}

/* What getopt did not understand. */
static int refuse(const struct kc_args *a, const char *argument)
{
	const struct kc_arg *row = find(a, optopt);

	if (row)
		return fail(row, "takes no value");
	if (optopt)
		return KC_FAIL(KC_EINVAL, "unknown option -%c", optopt);
	return KC_FAIL(KC_EINVAL, "unknown option %s", argument);
}

int kc_args_read(const struct kc_args *a, int argc, char **argv, void *obj)
{
	struct option longs[ROWS + 1];
	char letters[2 * ROWS + 2];
	int c;

	KC_ASSERT(a->n <= ROWS);
	describe(a, longs, letters);
	opterr = 0;
	optind = 0;                     /* anew, for whoever reads twice */
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (c == '?')
			return refuse(a, argv[optind - 1]);
		if (c == ':')
			return fail(find(a, optopt), "a value is missing");
		KC_TRY(take(find(a, c), obj, optarg));
	}
	if (optind < argc)
		return KC_FAIL(KC_EINVAL, "unexpected argument %s", argv[optind]);
	return 0;
}

/* --- help ----------------------------------------------------------------------------- */

/* "-o FILE", "--size N", "-h, --help" */
static int put_name(const struct kc_arg *row, char *text, size_t room)
{
	char letter[4] = {'-', row->letter, 0};

	return snprintf(text, room, "%s%s%s%s%s%s", row->letter ? letter : "",
			row->letter && row->name ? ", " : "", row->name ? "--" : "",
			row->name ? row->name : "", row->value ? " " : "",
			row->value ? row->value : "");
}

/* Lines, all but the first behind so many blanks. */
static void put_lines(const char *text, int blanks, FILE *out)
{
	for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
		fprintf(out, "%.*s\n%*s", (int)(end - text), text, blanks, "");
	fputs(text, out);
}

void kc_args_help(const struct kc_args *a, FILE *out)
{
	int width = 0;
	char name[80];

	for (size_t i = 0; i < a->n; i++) {
		int n = put_name(&a->rows[i], name, sizeof name);

		width = n <= WIDEST ? KC_MAX(width, n) : width;
	}
	fputs("usage: ", out);
	put_lines(a->usage, 7, out);
	fputs("\n\n", out);
	for (size_t i = 0; i < a->n; i++) {
		fprintf(out, "  %-*s  ", width,
			put_name(&a->rows[i], name, sizeof name) >= 0 ? name : "");
		put_lines(a->rows[i].help, width + 4, out);
		if (a->rows[i].more)
			a->rows[i].more(out);
		fputc('\n', out);
	}
	if (a->end)
		fprintf(out, "\n%s\n", a->end);
}
