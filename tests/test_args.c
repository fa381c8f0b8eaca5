/* Arguments of programs: what is taken, what is refused in which words, and the help. */
#include "core/args.h"
#include "tests/test.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct options {
	const char *input, *kind;
	int size, taken;
	bool loose, verbose;
};

static int take_even(void *obj, const char *text)
{
	struct options *o = obj;

	o->taken += atol(text) % 2 ? 0 : 1;
	return atol(text) % 2 ? KC_FAIL(KC_EINVAL, "expected an even number") : 0;
}

static void put_more(FILE *out)
{
	fputs("one|two", out);
}

#define AT(member) .offset = offsetof(struct options, member)
static const struct kc_arg rows[] = {
	{'i', NULL, "FILE", KC_ARG_TEXT, AT(input), .help = "what comes in"},
	{'s', "size", "N", KC_ARG_INT, AT(size), .min = -4, .max = 99, .help = "two\nlines"},
	{0, "kind", "NAME", KC_ARG_TEXT, AT(kind), .choices = "one|other|two",
	 .help = "of ", .more = put_more},
	{0, "even", "N", KC_ARG_OTHER, .take = take_even, .help = "repeatable"},
	{0, "loose", NULL, KC_ARG_FLAG, AT(loose), .help = "not so strict"},
	{'v', NULL, NULL, KC_ARG_FLAG, AT(verbose), .help = "more words"},
};
static const struct kc_args args = {"trial -i FILE\ntrial -v", rows, KC_COUNT(rows), "The end."};

/* The arguments, cut at blanks. */
static int read_line(const char *line, struct options *o)
{
	static char text[128];
	char *argv[16] = {"trial"}, *rest = text, *word;
	int argc = 1;

	snprintf(text, sizeof text, "%s", line);
	*o = (struct options){0};
	while ((word = strtok_r(rest, " ", &rest)) != NULL)
		argv[argc++] = word;
	return kc_args_read(&args, argc, argv, o);
}

static void test_taken(void)
{
	struct options o;

	KC_CHECK_OK(read_line("", &o));
	KC_CHECK(!o.input && !o.size && !o.loose);
	KC_CHECK_OK(read_line("-v --size 7 -i a.pth --loose --kind two --even 2 --even=4", &o));
	KC_CHECK(o.verbose && o.loose && o.size == 7 && o.taken == 2);
	KC_CHECK(!strcmp(o.input, "a.pth") && !strcmp(o.kind, "two"));
	KC_CHECK_OK(read_line("-vs-4 -ib --lo", &o));
	KC_CHECK(o.verbose && o.loose && o.size == -4 && !strcmp(o.input, "b"));
}

static void test_refused(void)
{
	static const struct { const char *line, *message; } cases[] = {
		{"--size 100", "--size: expected a number from -4 to 99, got 100"},
		{"-s 7x", "--size: expected a number from -4 to 99, got 7x"},
		{"-s99999999999", "got 99999999999"},
		{"--kind on", "--kind: expected one of one|other|two, got on"},
		{"--kind one|other", "got one|other"},
		{"--even 2 --even 3", "--even: expected an even number, got 3"},
		{"-i", "-i: a value is missing"},
		{"--kind", "--kind: a value is missing"},
		{"--loose=1", "--loose: takes no value"},
		{"--sise 1", "unknown option --sise"},
		{"-vx", "unknown option -x"},
		{"-v more", "unexpected argument more"},
	};
	struct options o;

	for (size_t i = 0; i < KC_COUNT(cases); i++)
		KC_CHECK_ERR(read_line(cases[i].line, &o), KC_EINVAL, cases[i].message);
}

static void test_help(void)
{
	static const char expected[] = "usage: trial -i FILE\n"
				       "       trial -v\n"
				       "\n"
				       "  -i FILE       what comes in\n"
				       "  -s, --size N  two\n"
				       "                lines\n"
				       "  --kind NAME   of one|two\n"
				       "  --even N      repeatable\n"
				       "  --loose       not so strict\n"
				       "  -v            more words\n"
				       "\n"
				       "The end.\n";
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	kc_args_help(&args, f);
	fclose(f);
	KC_CHECK(!strcmp(text, expected));
	free(text);
}

const struct kc_test kc_tests_args[] = {
	{"options in every form", test_taken},
	{"what is refused", test_refused},
	{"the help", test_help},
	{0}};
