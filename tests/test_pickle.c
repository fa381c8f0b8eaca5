#include "core/file.h"
#include "core/pickle.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads a fixture; the pickle must be freed. */
static int read_fixture(const char *name, struct kc_pickle **p)
{
	char *data;
	size_t size;
	int rc = kc_file_read(kc_test_fixture(name), 1 << 20, &data, &size);

	if (rc < 0)
		return rc;
	rc = kc_pickle_read(data, size, NULL, p);
	free(data);
	return rc;
}

#define READ(bytes, p) kc_pickle_read(bytes, sizeof(bytes) - 1, NULL, p)

static void check_keys(const char *name)
{
	struct kc_pickle *p;
	struct kc_pickle_value *keys;

	if (!KC_CHECK_OK(read_fixture(name, &p)))
		return;
	keys = kc_pickle_get(kc_pickle_root(p), "keys");
	KC_CHECK(keys && keys->type == KC_PICKLE_LIST && keys->n == 9);
	KC_CHECK(keys && !strcmp(keys->item[0]->text, "bear_00000_81"));
	KC_CHECK(keys && !strcmp(keys->item[8]->text, "Tr\xc3\xa4um_00006_40"));
	KC_CHECK(keys && keys->item[8]->n == strlen(keys->item[8]->text));
	kc_pickle_free(p);
}

static void test_keys(void)
{
	check_keys("golden/files/keys_protocol2.pkl");
	check_keys("golden/files/keys_protocol3.pkl");
	check_keys("golden/files/keys_protocol4.pkl");
	check_keys("golden/hostile/whole_keys2.pkl");
	check_keys("golden/hostile/whole_keys4.pkl");
}

static void test_hostile(void)
{
	static const struct { const char *name, *says; } files[] = {
		{"call_os_system", "refuses to call os.system"},
		{"call_posix_system", "refuses to call posix.system"},
		{"call_builtins_eval", "refuses to call builtins.eval"},
		{"call_old_builtin_eval", "refuses to call __builtin__.eval"},
		{"call_builtins_exec", "refuses to call builtins.exec"},
		{"call_subprocess", "refuses to call subprocess.getoutput"},
		{"call_getattr", "refuses to call builtins.str"},
		{"call_unknown_class", "refuses to call my.module.Thing"},
		{"call_stack_global", "refuses to call os.system"},
		{"call_inst", "refuses to call"}, {"call_obj", "refuses to call"},
		{"call_newobj", "refuses to call collections.OrderedDict"},
		{"call_build_setstate", "refuses to"}, {"extension_registry", "extension"},
		{"persistent_id", "persistent id"}, {"long_binunicode8", "bytes expected"},
		{"long_binbytes8", "bytes expected"}, {"long_binunicode", "bytes expected"},
		{"long_binstring", "bytes expected"}, {"long_long4", "bytes expected"},
		{"long_long4_negative", "bytes expected"}, {"long_frame", "a frame of"},
		{"long_bytearray8", "bytearray"}, {"long_int_text", "5000 characters"},
		{"memo_missing", "never stored"}, {"memo_huge_index", "memo entry 4294967295"},
		{"stack_underflow", "operand is missing"}, {"stop_empty", "operand is missing"},
		{"mark_missing", "mark is missing"}, {"no_stop", "without STOP"},
		{"bad_opcode", "is no opcode"}, {"protocol_255", "protocol 255"},
		{"memo_bomb", "would unfold"}, {"dup_bomb", "contains itself"},
		{"self_reference", "contains itself"}, {"self_dict", "contains itself"},
		{"unhashable_key", "a list as a key"}, {"empty", "without STOP"},
		{"text", "pickle, byte"},
	};

	for (size_t i = 0; i < KC_COUNT(files); i++) {
		struct kc_pickle *p = NULL;
		char name[64];

		snprintf(name, sizeof name, "golden/hostile/%s.pkl", files[i].name);
		if (!KC_CHECK_ERR(read_fixture(name, &p), KC_EFORMAT, files[i].says))
			printf("  %s\n", name);
		kc_pickle_free(p);
	}
}

static void test_truncated(void)
{
	static const char *const names[] = {
		"golden/hostile/whole_keys2.pkl", "golden/hostile/whole_keys4.pkl"};

	for (int k = 0; k < 2; k++) {
		struct kc_pickle *p;
		char *data;
		size_t size;

		if (!KC_CHECK_OK(kc_file_read(kc_test_fixture(names[k]), 1 << 20, &data, &size)))
			return;
		for (size_t n = 0; n < size; n++) {
			char *cut = kc_alloc(n);

			KC_ASSERT(cut);
			memcpy(cut, data, n);
			KC_CHECK_ERR(kc_pickle_read(cut, n, NULL, &p), KC_EFORMAT, "pickle");
			free(cut);
		}
		free(data);
	}
}

/* n times the one opcode, n times the other, STOP. */
static void check_repeated(char first, char second, size_t n, const char *says)
{
	char *data = kc_alloc(2 * n + 1);
	struct kc_pickle *p;

	KC_ASSERT(data);
	memset(data, first, n);
	memset(data + n, second, n);
	data[2 * n] = '.';
	KC_CHECK_ERR(kc_pickle_read(data, 2 * n + 1, NULL, &p), KC_EFORMAT, says);
	free(data);
}

static void test_deep(void)
{
	check_repeated(']', 'a', 100000, "nested more than");
	check_repeated(')', '\x85', 200000, "nested more than");
	check_repeated('(', 't', 200000, "nested more than");
	check_repeated('(', '(', 250000, "operand is missing");
}

static void test_nesting(void)
{
	char data[302];
	struct kc_pickle *p;

	data[0] = ']';
	for (int n = 98; n <= 300; n++) {
		memset(data + 1, '\x85', (size_t)n);
		data[n + 1] = '.';
		if (n <= KC_PICKLE_DEPTH) {
			if (KC_CHECK_OK(kc_pickle_read(data, (size_t)n + 2, NULL, &p)))
				kc_pickle_free(p);
		} else {
			KC_CHECK_ERR(kc_pickle_read(data, (size_t)n + 2, NULL, &p), KC_EFORMAT,
				     "nested more than");
		}
	}
}

static int64_t read_int(const char *bytes, size_t n)
{
	struct kc_pickle *p;
	int64_t i = INT64_MIN;

	if (!KC_CHECK_OK(kc_pickle_read(bytes, n, NULL, &p)))
		return 0;
	if (kc_pickle_root(p)->type == KC_PICKLE_INT)
		i = kc_pickle_root(p)->i;
	kc_pickle_free(p);
	return i;
}

#define INT(bytes) read_int(bytes, sizeof(bytes) - 1)

static void test_scalars(void)
{
	struct kc_pickle *p;

	KC_CHECK(INT("K\xff.") == 255);
	KC_CHECK(INT("M\x01\x02.") == 513);
	KC_CHECK(INT("J\xfe\xff\xff\xff.") == -2);
	KC_CHECK(INT("I-17\n.") == -17);
	KC_CHECK(INT("L123456789012L\n.") == 123456789012);
	KC_CHECK(INT("\x8a\x00.") == 0);
	KC_CHECK(INT("\x8a\x01\x80.") == -128);
	KC_CHECK(INT("\x8a\x02\x80\x00.") == 128);
	KC_CHECK(INT("\x8b\x08\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f.") == INT64_MAX);
	if (KC_CHECK_OK(READ("\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09.", &p))) {
		KC_CHECK(kc_pickle_root(p)->type == KC_PICKLE_LONG && kc_pickle_root(p)->n == 9);
		kc_pickle_free(p);
	}
	if (KC_CHECK_OK(READ("(I01\n\x89NG?\xf8\0\0\0\0\0\0F-2.5e1\nt.", &p))) {
		struct kc_pickle_value **v = kc_pickle_root(p)->item;

		KC_CHECK(kc_pickle_root(p)->type == KC_PICKLE_TUPLE && kc_pickle_root(p)->n == 5);
		KC_CHECK(v[0]->type == KC_PICKLE_BOOL && v[0]->i == 1);
		KC_CHECK(v[1]->type == KC_PICKLE_BOOL && v[1]->i == 0);
		KC_CHECK(v[2]->type == KC_PICKLE_NONE);
		KC_CHECK(v[3]->real == 1.5 && v[4]->real == -25);
		kc_pickle_free(p);
	}
	KC_CHECK_ERR(READ("I99999999999999999999\n.", &p), KC_EFORMAT, "64 bits");
	KC_CHECK_ERR(READ("I1x\n.", &p), KC_EFORMAT, "64 bits");
	KC_CHECK_ERR(READ("Fx\n.", &p), KC_EFORMAT, "a float expected");
}

static void check_text(const char *bytes, size_t n, const char *expected)
{
	struct kc_pickle *p;

	if (!KC_CHECK_OK(kc_pickle_read(bytes, n, NULL, &p)))
		return;
	KC_CHECK(kc_pickle_root(p)->type == KC_PICKLE_TEXT);
	KC_CHECK(!strcmp(kc_pickle_root(p)->text, expected));
	kc_pickle_free(p);
}

static void test_text(void)
{
	struct kc_pickle *p;

	check_text("S'a\\'b\\x41\\n'\n.", 15, "a'bA\n");
	check_text("S\"\"\n.", 5, "");
	check_text("Va\\u00e4\xe4\\u20ac\n.", 17, "a\xc3\xa4\xc3\xa4\xe2\x82\xac");
	check_text("V\\U0001f600\n.", 13, "\xf0\x9f\x98\x80");
	check_text("U\x03" "abc.", 6, "abc");
	check_text("\x8d\x02\0\0\0\0\0\0\0hi.", 12, "hi");
	KC_CHECK_ERR(READ("S'a\n.", &p), KC_EFORMAT, "quotes");
	KC_CHECK_ERR(READ("S'\\'\n.", &p), KC_EFORMAT, "escape");
	KC_CHECK_ERR(READ("S'\\q'\n.", &p), KC_EFORMAT, "escape");
	KC_CHECK_ERR(READ("V\\u12\n.", &p), KC_EFORMAT, "escape");
}

/* A protocol 0 dict, POP, POP_MARK, DUP; a second pickle may follow the first. */
static void test_structure(void)
{
	static const char old[] = "(dp0\nS'a'\np1\n(lp2\nI1\naI2\nasS'b'\nN0(N1g2\ns.rest";
	struct kc_pickle *p;

	if (!KC_CHECK_OK(kc_pickle_read(old, sizeof old - 1, NULL, &p)))
		return;
	KC_CHECK(kc_pickle_size(p) == sizeof old - 1 - 4);
	KC_CHECK(kc_pickle_root(p)->type == KC_PICKLE_DICT);
	KC_CHECK(kc_pickle_get(kc_pickle_root(p), "c") == NULL);
	if (kc_pickle_get(kc_pickle_root(p), "a")) {
		KC_CHECK(kc_pickle_get(kc_pickle_root(p), "a")->n == 2);
		KC_CHECK(kc_pickle_get(kc_pickle_get(kc_pickle_root(p), "a"), "x") == NULL);
	} else {
		KC_CHECK(!"entry a");
	}
	kc_pickle_free(p);
	KC_CHECK_ERR(READ("}(Nu.", &p), KC_EFORMAT, "a key without a value");
	KC_CHECK_ERR(READ("N(NNu.", &p), KC_EFORMAT, "a dict expected, found None");
	KC_CHECK_ERR(READ("\x8f.", &p), KC_EFORMAT, "a set");
}

/* ---- hooks ---- */

enum { MAKE_DICT = 7 };

static int know_one_name(void *user, const char *module, const char *name, int *code)
{
	(void)user;
	if (strcmp(module, "collections") || strcmp(name, "OrderedDict"))
		return KC_FAIL(KC_EFORMAT, "refuses to call %s.%s", module, name);
	*code = MAKE_DICT;
	return 0;
}

static int make_dict(void *user, struct kc_pickle *p, const struct kc_pickle_value *callee,
		     struct kc_pickle_value *args, struct kc_pickle_value **out)
{
	(void)user;
	KC_CHECK(callee->code == MAKE_DICT && !strcmp(callee->text, "collections.OrderedDict"));
	KC_CHECK(args->n == 0);
	*out = kc_pickle_new(p, KC_PICKLE_DICT);
	return *out ? 0 : KC_ENOMEM;
}

static int drop_state(void *user, struct kc_pickle *p, struct kc_pickle_value *object,
		      struct kc_pickle_value *state, struct kc_pickle_value **out)
{
	(void)user, (void)p;
	KC_CHECK(state->type == KC_PICKLE_DICT);
	*out = object;
	return 0;
}

static int name_storage(void *user, struct kc_pickle *p, struct kc_pickle_value *id,
			struct kc_pickle_value **out)
{
	(void)p;
	*(int64_t *)user = id->i;
	*out = id;
	return 0;
}

static void test_hooks(void)
{
	int64_t storage = 0;
	const struct kc_pickle_hooks hooks = {&storage, know_one_name, make_dict, drop_state,
					      name_storage};
	static const char good[] = "ccollections\nOrderedDict\n)R(U\x01wK\x05Qu}b.";
	static const char bad[] = "ccollections\nOrderedDict\n)Rcos\nsystem\n.";
	struct kc_pickle *p;

	if (KC_CHECK_OK(kc_pickle_read(good, sizeof good - 1, &hooks, &p))) {
		KC_CHECK(kc_pickle_root(p)->type == KC_PICKLE_DICT);
		KC_CHECK(kc_pickle_get(kc_pickle_root(p), "w")->i == 5 && storage == 5);
		kc_pickle_free(p);
	}
	KC_CHECK_ERR(kc_pickle_read(bad, sizeof bad - 1, &hooks, &p), KC_EFORMAT,
		     "refuses to call os.system");
}

/* Each allocation in turn fails: an error, and nothing leaks (under ASan). */
static void test_no_memory(void)
{
	static const char bytes[] = "(K\x01q\0U\x05" "aaaaa(]K\x02" "ath\0S'q'\nt.";
	struct kc_pickle *p;
	int rc = KC_ENOMEM;

	for (long n = 1; rc < 0 && n < 50; n++) {
		kc_alloc_fail_after(n);
		rc = READ(bytes, &p);
		KC_CHECK(rc >= 0 || rc == KC_ENOMEM);
	}
	kc_alloc_fail_after(0);
	if (KC_CHECK_OK(rc))
		kc_pickle_free(p);
}

const struct kc_test kc_tests_pickle[] = {
	{"key lists of protocols 2, 3 and 4 are read", test_keys},
	{"hostile pickles are refused with the reason", test_hostile},
	{"every prefix of a pickle is refused", test_truncated},
	{"deep stacks of lists, tuples and marks do no harm", test_deep},
	{"nesting is bounded", test_nesting},
	{"numbers of every protocol", test_scalars},
	{"text of every protocol", test_text},
	{"dicts, memo, pop, dup; the end of the pickle", test_structure},
	{"hooks make what they know and refuse the rest", test_hooks},
	{"failing allocations are reported", test_no_memory},
	{0}
};
