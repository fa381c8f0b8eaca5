/* Option rows: types, bounds, messages, nearest key, dump, hash. */
#include "core/option.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct thing {
	bool flag;
	int64_t count, kind;
	double rate;
	char *path;
	struct kc_ints steps;
	struct kc_reals weights;
};

#define AT(member) offsetof(struct thing, member)

static const struct kc_opt rows[] = {
	{"name", KC_OPT_TEXT, AT(path), "~", 0, 0, 0, NULL, NULL, "where it lies"},
	{"train.rate", KC_OPT_REAL, AT(rate), "1e-4", 0, 1, KC_OPT_RESULT, NULL, NULL, "rate"},
	{"train.count", KC_OPT_INT, AT(count), "10", 1, INFINITY, KC_OPT_RESULT, NULL,
	 "iterations", "how many"},
	{"train.total", KC_OPT_INT, AT(count), "10", 1, INFINITY, KC_OPT_ALIAS, NULL, NULL,
	 "the same as count"},
	{"train.inner.kind", KC_OPT_ENUM, AT(kind), "l1", 0, 0, KC_OPT_RESULT, "l1|l2=mse|cb",
	 NULL, "criterion"},
	{"train.inner.steps", KC_OPT_INTS, AT(steps), "[1, 2]", 0, 100, KC_OPT_RESULT, NULL,
	 NULL, "steps"},
	{"train.weights", KC_OPT_REALS, AT(weights), "~", 0, 0, 0, NULL, NULL, "weights"},
	{"flag", KC_OPT_BOOL, AT(flag), "no", 0, 0, 0, NULL, NULL, "a switch"},
	{"unused", KC_OPT_INT, 0, "0", 0, 0, KC_OPT_NOEFFECT, NULL, NULL, "nothing"},
};

static struct thing fresh(void)
{
	struct thing t = {0};

	KC_CHECK_OK(kc_opt_defaults(rows, KC_COUNT(rows), &t));
	return t;
}

static int set(struct thing *t, const char *key, const char *text)
{
	const struct kc_opt *row = kc_opt_find(rows, KC_COUNT(rows), key);

	return row ? kc_opt_set(row, t, text, "x.yml:3") : KC_ECONFIG;
}

static void test_set(void)
{
	struct thing t = fresh();

	KC_CHECK(t.count == 10 && t.rate == 1e-4 && t.kind == 0 && !t.path && !t.flag);
	KC_CHECK(t.steps.n == 2 && t.steps.v[1] == 2 && t.weights.n == 0);
	KC_CHECK_OK(set(&t, "train.rate", "!!float 5e-5"));
	KC_CHECK(t.rate == 5e-5);
	KC_CHECK_OK(set(&t, "train.count", "2e3"));
	KC_CHECK(t.count == 2000);
	KC_CHECK_OK(set(&t, "train.total", " 9007199254740993 "));
	KC_CHECK(t.count == 9007199254740993);
	KC_CHECK_OK(set(&t, "train.inner.kind", "MSE"));
	KC_CHECK(t.kind == 1);
	KC_CHECK_OK(set(&t, "train.inner.kind", "cb"));
	KC_CHECK(t.kind == 2);
	KC_CHECK_OK(set(&t, "train.inner.steps", "3,4, 5"));
	KC_CHECK(t.steps.n == 3 && t.steps.v[2] == 5);
	KC_CHECK_OK(set(&t, "train.inner.steps", "[ ]"));
	KC_CHECK(t.steps.n == 0);
	KC_CHECK_OK(set(&t, "train.weights", "[1, .5, !!float 1e-3 ]"));
	KC_CHECK(t.weights.n == 3 && t.weights.v[1] == 0.5 && t.weights.v[2] == 1e-3);
	KC_CHECK_OK(set(&t, "name", "a b: c"));
	KC_CHECK(t.path && strcmp(t.path, "a b: c") == 0);
	KC_CHECK_OK(set(&t, "name", "~"));
	KC_CHECK(!t.path);
	KC_CHECK_OK(set(&t, "flag", "True"));
	KC_CHECK(t.flag);
	KC_CHECK_OK(set(&t, "unused", "7"));
	KC_CHECK(t.flag);
	kc_opt_release(rows, KC_COUNT(rows), &t);
	KC_CHECK(!t.steps.v && !t.weights.v);
}

static void test_refused(void)
{
	static const struct { const char *key, *text, *message; } bad[] = {
		{"train.rate", "abc", "x.yml:3: train.rate: expected a number in 0..1, got 'abc'"},
		{"train.rate", "1.5", "expected a number in 0..1, got '1.5'"},
		{"train.rate", "nan", "got 'nan'"},
		{"train.rate", "0x1", "got '0x1'"},
		{"train.rate", "", "got ''"},
		{"train.rate", "1e-5 1e-5", "expected a number"},
		{"train.rate", "-", "expected a number"},
		{"train.count", "0", "expected an integer of at least 1, got '0'"},
		{"train.count", "1.5", "expected an integer"},
		{"train.count", "99999999999999999999", "expected an integer"},
		{"train.inner.kind", "huber", "expected one of l1, l2 or mse, cb, got 'huber'"},
		{"train.inner.kind", "", "expected one of"},
		{"train.inner.kind", "l", "expected one of"},
		{"train.inner.steps", "[1, 2", "expected a list of integers in 0..100"},
		{"train.inner.steps", "1, 2]", "expected a list"},
		{"train.inner.steps", "[1,,2]", "expected a list"},
		{"train.inner.steps", "[1,]", "expected a list"},
		{"train.inner.steps", "[1] 2", "expected a list"},
		{"train.inner.steps", "[101]", "expected a list"},
		{"train.weights", "[a]", "expected a list of numbers, got '[a]'"},
		{"flag", "2", "expected true or false, got '2'"},
		{"name", "a\nb", "expected a text, got 'a?b'"},
		{"name", "\xff", "expected a text"},
		{"unused", "x", "unused: expected an integer"},
	};
	struct thing t = fresh();

	for (size_t i = 0; i < KC_COUNT(bad); i++)
		KC_CHECK_ERR(set(&t, bad[i].key, bad[i].text), KC_ECONFIG, bad[i].message);
	KC_CHECK(t.count == 10 && t.rate == 1e-4 && t.kind == 0 && t.steps.n == 2);
	kc_opt_release(rows, KC_COUNT(rows), &t);
}

static void test_nearest(void)
{
	static const struct { const char *key, *nearest; } pairs[] = {
		{"train.ratte", "train.rate"},
		{"train.COUNT", "train.count"},
		{"steps", "train.inner.steps"},
		{"train.kind", "train.inner.kind"},
		{"nmae", "name"},
		{"", "name"},
	};

	for (size_t i = 0; i < KC_COUNT(pairs); i++) {
		char *message = kc_format("unknown key '%s', the nearest is '%s'", pairs[i].key,
					  pairs[i].nearest);

		KC_CHECK(!kc_opt_find(rows, KC_COUNT(rows), pairs[i].key));
		KC_CHECK(strcmp(kc_errmsg(), message) == 0);
		free(message);
	}
}

static char *dump(const struct thing *t)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	KC_ASSERT(out);
	KC_CHECK_OK(kc_opt_dump(rows, KC_COUNT(rows), t, out));
	kc_opt_help(rows, KC_COUNT(rows), out);
	fclose(out);
	return text;
}

static void test_dump(void)
{
	static const char expected[] =
		"name: \"a: b\"\n\ntrain:\n  rate: 5e-05\n  count: 10\n  inner:\n    kind: l2\n"
		"    steps: [1, 2]\n  weights: [0.5, 0.1]\nflag: false\n";
	struct thing t = fresh();
	char *text;

	KC_CHECK_OK(set(&t, "name", "a: b"));
	KC_CHECK_OK(set(&t, "train.rate", "5e-5"));
	KC_CHECK_OK(set(&t, "train.inner.kind", "l2"));
	KC_CHECK_OK(set(&t, "train.weights", ".5, .1"));
	text = dump(&t);
	KC_CHECK(strncmp(text, expected, sizeof expected - 1) == 0);
	KC_CHECK(strstr(text, "train.count: an integer of at least 1 [iterations], default 10\n"));
	KC_CHECK(strstr(text, "(no effect) nothing"));
	free(text);
	kc_opt_release(rows, KC_COUNT(rows), &t);
}

/* The text of every row, set again, changes nothing. */
static void test_text(void)
{
	struct thing t = fresh(), u = fresh();

	KC_CHECK_OK(set(&t, "name", "x \"y\""));
	KC_CHECK_OK(set(&t, "train.rate", "0.3333333333333333"));
	KC_CHECK_OK(set(&t, "train.count", "9007199254740993"));
	for (size_t i = 0; i < KC_COUNT(rows) - 1; i++) {
		char *text = kc_opt_text(&rows[i], &t);

		KC_CHECK(text && kc_opt_set(&rows[i], &u, text, NULL) == 0);
		free(text);
	}
	KC_CHECK(strcmp(u.path, t.path) == 0 && u.rate == t.rate && u.count == t.count);
	kc_opt_release(rows, KC_COUNT(rows), &t);
	kc_opt_release(rows, KC_COUNT(rows), &u);
}

static void test_hash(void)
{
	struct thing t = fresh();
	uint64_t h = kc_opt_hash(rows, KC_COUNT(rows), &t);

	KC_CHECK_OK(set(&t, "flag", "yes"));
	KC_CHECK_OK(set(&t, "name", "other"));
	KC_CHECK(kc_opt_hash(rows, KC_COUNT(rows), &t) == h);
	KC_CHECK_OK(set(&t, "train.inner.steps", "[1]"));
	KC_CHECK(kc_opt_hash(rows, KC_COUNT(rows), &t) != h);
	KC_CHECK_OK(set(&t, "train.inner.steps", "[1, 2]"));
	KC_CHECK(kc_opt_hash(rows, KC_COUNT(rows), &t) == h);
	KC_CHECK_OK(set(&t, "train.inner.kind", "cb"));
	KC_CHECK(kc_opt_hash(rows, KC_COUNT(rows), &t) != h);
	kc_opt_release(rows, KC_COUNT(rows), &t);
}

/* A row that comes later leaves the hash alone until it is set. */
static void test_hash_later(void)
{
	struct kc_opt more[KC_COUNT(rows)];
	struct thing t = fresh();
	uint64_t all, fewer;

	memcpy(more, rows, sizeof rows);
	for (size_t i = 0; i < KC_COUNT(rows); i++) {
		if (!(rows[i].flags & KC_OPT_RESULT))
			continue;
		more[i].flags &= ~(unsigned)KC_OPT_RESULT;
		fewer = kc_opt_hash(more, KC_COUNT(rows), &t);
		more[i].flags = rows[i].flags | KC_OPT_LATER;
		all = kc_opt_hash(more, KC_COUNT(rows), &t);
		KC_CHECK(all == fewer);
		more[i] = rows[i];
	}
	for (size_t i = 0; i < KC_COUNT(rows); i++)
		more[i].flags |= KC_OPT_LATER;
	all = kc_opt_hash(more, KC_COUNT(rows), &t);
	KC_CHECK_OK(set(&t, "train.inner.steps", "[1]"));
	KC_CHECK(kc_opt_hash(more, KC_COUNT(rows), &t) != all);
	KC_CHECK_OK(set(&t, "train.inner.steps", "[1, 2]"));
	KC_CHECK(kc_opt_hash(more, KC_COUNT(rows), &t) == all);
	kc_opt_release(rows, KC_COUNT(rows), &t);
}

static void test_memory(void)
{
	struct thing t = fresh();

	kc_alloc_fail_after(1);
	KC_CHECK(set(&t, "train.inner.steps", "[7]") == KC_ENOMEM);
	kc_alloc_fail_after(1);
	KC_CHECK(set(&t, "name", "abc") == KC_ENOMEM);
	kc_alloc_fail_after(0);
	KC_CHECK(t.steps.n == 2 && !t.path);
	kc_opt_release(rows, KC_COUNT(rows), &t);
}

const struct kc_test kc_tests_option[] = {
	{"every type is read from text", test_set},
	{"wrong types and bounds are refused in words", test_refused},
	{"unknown keys name the nearest", test_nearest},
	{"the dump is YAML, the help tells bounds", test_dump},
	{"text of a value reads back", test_text},
	{"the hash covers what changes results", test_hash},
	{"rows that came later leave the hash of older settings", test_hash_later},
	{"failing allocations keep the old value", test_memory},
	{0}
};
