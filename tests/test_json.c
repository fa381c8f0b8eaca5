/* The JSON reader and writer: values, order, exact integers, and texts that must be refused. */
#include "core/json.h"
#include "tests/test.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *text, struct kc_json **root)
{
	return kc_json_parse(text, strlen(text), root);
}

static void test_values(void)
{
	struct kc_json *root;
	const struct kc_json *v;

	if (!KC_CHECK_OK(parse(" {\"b\": [1, -2.5e3, true, null], \"a\": \"x\\u00e9\\n\","
			       " \"\": {}, \"big\": 9223372036854775807} ", &root)))
		return;
	KC_CHECK(root->kind == KC_JSON_OBJECT && root->n == 4);
	KC_CHECK(strcmp(root->first->key, "b") == 0 && strcmp(root->first->next->key, "a") == 0);
	v = kc_json_get(root, "b");
	KC_CHECK(v && v->kind == KC_JSON_ARRAY && v->n == 4);
	v = v->first;
	KC_CHECK(v->is_int && v->integer == 1 && v->number == 1);
	v = v->next;
	KC_CHECK(!v->is_int && v->number == -2500);
	v = v->next;
	KC_CHECK(v->kind == KC_JSON_BOOL && v->truth);
	KC_CHECK(v->next->kind == KC_JSON_NULL && !v->next->next);
	v = kc_json_get(root, "a");
	KC_CHECK(v && v->len == 4 && strcmp(v->text, "x\xc3\xa9\n") == 0);
	v = kc_json_get(root, "big");
	KC_CHECK(v && v->is_int && v->integer == INT64_MAX);
	KC_CHECK(kc_json_get(root, "")->kind == KC_JSON_OBJECT);
	KC_CHECK(!kc_json_get(root, "c") && !kc_json_get(v, "c") && !kc_json_get(NULL, "c"));
	kc_json_free(root);
}

static void test_numbers(void)
{
	struct kc_json *root;

	KC_CHECK_OK(parse("9223372036854775808", &root));
	KC_CHECK(!root->is_int && root->number == 9223372036854775808.0);
	kc_json_free(root);
	KC_CHECK_OK(parse("1.0", &root));
	KC_CHECK(!root->is_int && root->number == 1);
	kc_json_free(root);
	KC_CHECK_OK(parse("\"\\ud83d\\ude00\"", &root));
	KC_CHECK(strcmp(root->text, "\xf0\x9f\x98\x80") == 0);
	kc_json_free(root);
}

static void test_refused(void)
{
	static const struct { const char *text, *message; } bad[] = {
		{"", "expected a value, not the end"},
		{"nul", "expected a value"},
		{"[1, 2", "expected ',' or ']'"},
		{"[1,]", "expected a value"},
		{"{\"a\" 1}", "expected ':'"},
		{"{\"a\": 1,\n  \"b\": x}", "line 2, column 8: expected a value"},
		{"{\"a\": 1, \"b\": 2, \"a\": 3}", "duplicate key \"a\""},
		{"{a: 1}", "expected a quoted text"},
		{"01", "expected the end"},
		{"1.", "expected a digit"},
		{"+1", "expected a value"},
		{"1e", "exponent"},
		{"NaN", "expected a value"},
		{"1e999", "out of range"},
		{"\"abc", "without closing quote"},
		{"\"abc\\", "unknown escape"},
		{"\"a\\q\"", "unknown escape"},
		{"\"\\u12g4\"", "hexadecimal"},
		{"\"\\u0000\"", "NUL"},
		{"\"\\ud800\"", "surrogate"},
		{"\"\\udc00\\ud800\"", "surrogate"},
		{"\"\x01\"", "control character"},
		{"\"\xc0\xaf\"", "UTF-8"},
		{"\"\xed\xa0\x80\"", "UTF-8"},
		{"\"\xf0\x9f\x98\"", "UTF-8"},
		{"[] []", "expected the end"},
	};
	struct kc_json *root;

	for (size_t i = 0; i < KC_COUNT(bad); i++) {
		KC_CHECK_ERR(parse(bad[i].text, &root), KC_EFORMAT, bad[i].message);
		KC_CHECK(root == NULL);
	}
}

static void test_bounds(void)
{
	enum { N = 200000 };
	char *text = kc_alloc(N);
	struct kc_json *root;

	KC_ASSERT(text);
	memset(text, '[', N);
	KC_CHECK_ERR(kc_json_parse(text, N, &root), KC_EFORMAT, "nested too deeply");
	memset(text + KC_JSON_DEPTH, ']', KC_JSON_DEPTH);
	if (KC_CHECK_OK(kc_json_parse(text, 2 * KC_JSON_DEPTH, &root)))
		kc_json_free(root);
	free(text);
}

/* Every prefix of a good text is refused, and every allocation that fails is reported. */
static void test_torn(void)
{
	static const char text[] = "{\"a\": [1.5e3, \"\\u00e9\\ud83d\\ude00\", {\"b\": false}]}";
	struct kc_json *root;

	for (size_t n = 0; n < sizeof text - 1; n++)
		KC_CHECK(kc_json_parse(text, n, &root) == KC_EFORMAT && !root);
	for (long n = 1; n < 3; n++) {
		kc_alloc_fail_after(n);
		KC_CHECK(parse(text, &root) == KC_ENOMEM && !root);
	}
	kc_alloc_fail_after(0);
}

static void test_written(void)
{
	static const double numbers[] = {0, 1, -1.5, 5e-5, 0.1, 1.0 / 3, 1e300, 123456789};
	const char *path = kc_test_path("x.json");
	FILE *out = fopen(path, "w");
	struct kc_json *root;
	const struct kc_json *v;

	KC_ASSERT(out);
	fputc('[', out);
	for (size_t i = 0; i < KC_COUNT(numbers); i++) {
		kc_json_put_number(out, numbers[i]);
		fputs(", ", out);
	}
	kc_json_put_number(out, -1.0 / 0.0);
	fputs(", ", out);
	kc_json_put_text(out, "a\"b\\c\n\xc3\xa9");
	fputc(']', out);
	fclose(out);
	if (!KC_CHECK_OK(kc_json_load(path, &root)))
		return;
	v = root->first;
	for (size_t i = 0; i < KC_COUNT(numbers); i++, v = v->next)
		KC_CHECK(v->number == numbers[i]);
	KC_CHECK(v->kind == KC_JSON_NULL);
	KC_CHECK(strcmp(v->next->text, "a\"b\\c\n\xc3\xa9") == 0);
	kc_json_free(root);
	KC_CHECK_ERR(kc_json_load(kc_test_path("none.json"), &root), KC_ENOENT, "none.json");
}

const struct kc_test kc_tests_json[] = {
	{"values, their order and look-up", test_values},
	{"exact integers and characters", test_numbers},
	{"malformed texts are refused with place and reason", test_refused},
	{"depth is bounded", test_bounds},
	{"torn texts and failing allocations", test_torn},
	{"what is written reads back", test_written},
	{0}
};
