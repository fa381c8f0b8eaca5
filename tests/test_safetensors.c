#include "core/json.h"
#include "tests/test.h"
#include "weights/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Header and data as a file's bytes in memory; `header` may claim another length. */
static int open_text(const char *header, uint64_t length, const void *data, size_t size,
		     struct kc_st *f, unsigned char **bytes)
{
	size_t n = strlen(header);

	*bytes = kc_calloc(8 + n + size, 1);
	memcpy(*bytes, &length, 8);
	memcpy(*bytes + 8, header, n);
	if (size)
		memcpy(*bytes + 8 + n, data, size);
	return kc_st_open_memory("memory", *bytes, 8 + n + size, f);
}

static void check_refused(const char *header, size_t size, const char *text)
{
	static const unsigned char zeros[64];
	unsigned char *bytes;
	struct kc_st f;

	KC_CHECK_ERR(open_text(header, strlen(header), zeros, size, &f, &bytes), KC_EFORMAT, text);
	KC_CHECK(!f.tensors && !f.path);
	free(bytes);
}

static void test_hostile_files(void)
{
	static const char *const names[][2] = {
		{"bad_dtype", "unknown dtype \"F33\""}, {"deep_json", "header"},
		{"duplicate_key", "w"}, {"header_huge", "header claims"},
		{"header_past_end", "header claims"}, {"hole", "bytes before it belong"},
		{"negative", "no whole number"}, {"not_json", "header"},
		{"offsets_past_end", "past the end"}, {"overflow", "overflows"},
		{"overlap", "overlaps"}, {"reversed", "past the end"},
		{"shape_mismatch", "do not fit"}, {"short", "too few"}};
	struct kc_st f;

	for (size_t i = 0; i < KC_COUNT(names); i++) {
		char *name = kc_format("golden/hostile/st_%s.safetensors", names[i][0]);

		KC_CHECK_ERR(kc_st_open(kc_test_fixture(name), &f), KC_EFORMAT, names[i][1]);
		KC_CHECK(strstr(kc_errmsg(), name));
		free(name);
	}
}

static void test_good_file(void)
{
	const struct kc_st_tensor *t;
	struct kc_st f;
	float x[12];

	if (!KC_CHECK_OK(kc_st_open(kc_test_fixture("golden/hostile/st_good.safetensors"), &f)))
		return;
	t = kc_st_find(&f, "w");
	KC_CHECK(f.n == 1 && t && !kc_st_find(&f, "v"));
	KC_CHECK(t->dtype == KC_ST_F32 && t->ndim == 2 && t->dim[0] == 3 && t->dim[1] == 4);
	KC_CHECK(t->count == 12 && t->bytes == 48);
	KC_CHECK_OK(kc_st_read_f32(t, x, 12));
	KC_CHECK(x[0] == 0 && x[11] == 11);
	KC_CHECK_ERR(kc_st_read_f32(t, x, 11), KC_ESHAPE, "\"w\" has 12 elements, expected 11");
	KC_CHECK(!kc_st_meta(&f, "a"));
	kc_st_close(&f);
}

static void test_refusals(void)
{
	struct kc_st f;
	unsigned char *bytes;

	check_refused("[]", 0, "no JSON object");
	check_refused(" {}", 0, "no JSON object");
	check_refused("{}", 1, "1 bytes at the end");
	check_refused("{\"a\":1}", 0, "no object");
	check_refused("{\"__metadata__\":{\"a\":1}}", 0, "\"a\" is no text");
	check_refused("{\"__metadata__\":[]}", 0, "__metadata__ is no object");
	check_refused("{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, "no dtype");
	check_refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape");
	check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, "two whole numbers");
	check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4,
		      "no whole number");
	check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],"
		      "\"data_offsets\":[0,4]}}", 4, "more than 8");
	check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,8]}}", 4,
		      "two whole numbers");
	check_refused("{\"a\":{\"dtype\":\"F64\",\"shape\":[1152921504606846976,2],"
		      "\"data_offsets\":[0,0]}}", 0, "overflows");
	KC_CHECK_ERR(open_text("", 0, NULL, 0, &f, &bytes), KC_EFORMAT, "no JSON object");
	free(bytes);
	KC_CHECK_ERR(kc_st_open(kc_test_path("none"), &f), KC_ENOENT, "none");
}

/* Dtypes of odd size before wide ones leave data unaligned; readers must not care. */
static void test_unaligned(void)
{
	const char *header = "{\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[1,9]},"
			     "\"a\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]},"
			     "\"e\":{\"dtype\":\"I32\",\"shape\":[0,7],\"data_offsets\":[9,9]},"
			     "\"c\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[9,13]}}";
	unsigned char data[13] = {1}, *bytes;
	double x = -2.5, y[2];
	int64_t i[2];
	struct kc_st f;

	memcpy(data + 1, &x, 8);
	memcpy(data + 9, (int16_t[]){-3, 400}, 4);
	if (KC_CHECK_OK(open_text(header, strlen(header), data, sizeof data, &f, &bytes))) {
		KC_CHECK(f.n == 4 && !strcmp(f.tensors[1].name, "b"));
		KC_CHECK_OK(kc_st_read_f64(kc_st_find(&f, "a"), y, 1));
		KC_CHECK(y[0] == 1);
		KC_CHECK_OK(kc_st_read_f64(kc_st_find(&f, "b"), y, 1));
		KC_CHECK(y[0] == -2.5);
		KC_CHECK_OK(kc_st_read_i64(kc_st_find(&f, "c"), i, 2));
		KC_CHECK(i[0] == -3 && i[1] == 400);
		KC_CHECK_ERR(kc_st_read_i64(kc_st_find(&f, "b"), i, 1), KC_EFORMAT, "integers");
		KC_CHECK_OK(kc_st_read_f64(kc_st_find(&f, "e"), y, 0));
	}
	kc_st_close(&f);
	free(bytes);
}

static void test_half_types(void)
{
	static const uint16_t f16[] = {0x3C00, 0xC000, 0x7BFF, 0x0001, 0x0400, 0x8000, 0x7C00,
				       0x7E00, 0x3555};
	static const uint16_t bf16[] = {0x3F80, 0xC040, 0x0001, 0x7F80};
	const struct kc_st_item items[] = {{"h", KC_ST_F16, 1, {9}, f16},
					   {"b", KC_ST_BF16, 1, {4}, bf16}};
	struct kc_st f;
	float x[9];

	KC_CHECK_OK(kc_st_save(kc_test_path("a"), items, 2, NULL, 0));
	if (!KC_CHECK_OK(kc_st_open(kc_test_path("a"), &f)))
		return;
	KC_CHECK_OK(kc_st_read_f32(kc_st_find(&f, "h"), x, 9));
	KC_CHECK(x[0] == 1 && x[1] == -2 && x[2] == 65504 && x[3] == 0x1p-24f && x[4] == 0x1p-14f);
	KC_CHECK(x[5] == 0 && signbit(x[5]) && isinf(x[6]) && isnan(x[7]) && x[8] == 0x1.554p-2f);
	KC_CHECK_OK(kc_st_read_f32(kc_st_find(&f, "b"), x, 4));
	KC_CHECK(x[0] == 1 && x[1] == -3 && x[2] == 0x1p-133f && isinf(x[3]));
	kc_st_close(&f);
}

static const float floats[] = {1.5f, -2, 3, 4, 5, 6};
static const int64_t steps[] = {1234567890123};
static const uint8_t bytes3[] = {1, 2, 3};
static const struct kc_st_item three[] = {{"z.weight", KC_ST_F32, 2, {2, 3}, floats},
					  {"steps", KC_ST_I64, 0, {0}, steps},
					  {"a \"quoted\" \xC3\xA9", KC_ST_U8, 1, {3}, bytes3}};
static const struct kc_st_pair meta[] = {{"k2", "line\nbreak"}, {"k1", "\xE2\x82\xAC"}};

static void test_round_trip(void)
{
	const char *path = kc_test_path("a");
	uint64_t size;
	struct kc_st f;
	float x[6];
	int64_t s;

	KC_CHECK_OK(kc_st_save(path, three, 3, meta, 2));
	if (!KC_CHECK_OK(kc_st_open(path, &f)))
		return;
	KC_CHECK_OK(kc_st_measure(three, 3, meta, 2, &size));
	KC_CHECK(size == f.map.size && f.n == 3 && f.meta->n == 2);
	KC_CHECK(!strcmp(kc_st_meta(&f, "k2"), "line\nbreak"));
	KC_CHECK(!strcmp(kc_st_meta(&f, "k1"), "\xE2\x82\xAC"));
	KC_CHECK_OK(kc_st_read_f32(kc_st_find(&f, "z.weight"), x, 6));
	KC_CHECK(!memcmp(x, floats, sizeof x));
	KC_CHECK_OK(kc_st_read_i64(kc_st_find(&f, "steps"), &s, 1));
	KC_CHECK(s == steps[0] && kc_st_find(&f, "steps")->ndim == 0);
	KC_CHECK(kc_st_find(&f, "a \"quoted\" \xC3\xA9"));
	for (size_t i = 0; i < f.n; i++)
		KC_CHECK((uintptr_t)f.tensors[i].data % kc_st_dtype_size(f.tensors[i].dtype) == 0);
	kc_st_close(&f);
}

static void test_deterministic(void)
{
	const struct kc_st_item turned[] = {three[2], three[0], three[1]};
	const struct kc_st_pair turned_meta[] = {meta[1], meta[0]};
	char *a = NULL, *b = NULL;
	size_t n = 0, m = 1;

	KC_CHECK_OK(kc_st_save(kc_test_path("a"), three, 3, meta, 2));
	KC_CHECK_OK(kc_st_save(kc_test_path("b"), turned, 3, turned_meta, 2));
	KC_CHECK_OK(kc_file_read(kc_test_path("a"), 1 << 20, &a, &n));
	KC_CHECK_OK(kc_file_read(kc_test_path("b"), 1 << 20, &b, &m));
	KC_CHECK(n == m && !memcmp(a, b, n));
	free(a);
	free(b);
}

static void test_empty_file(void)
{
	struct kc_st f;

	KC_CHECK_OK(kc_st_save(kc_test_path("a"), NULL, 0, NULL, 0));
	KC_CHECK_OK(kc_st_open(kc_test_path("a"), &f));
	KC_CHECK(f.n == 0 && !kc_st_find(&f, "w"));
	kc_st_close(&f);
	KC_CHECK_OK(kc_st_save(kc_test_path("a"), NULL, 0, meta, 1));
	KC_CHECK_OK(kc_st_open(kc_test_path("a"), &f));
	KC_CHECK(f.n == 0 && kc_st_meta(&f, "k2"));
	kc_st_close(&f);
}

static void test_bad_items(void)
{
	const char *path = kc_test_path("a");
	struct kc_st_item two[] = {three[0], three[0]};
	const struct kc_st_pair bad[] = {{"k", "\xFF\xFE"}};

	KC_CHECK_ERR(kc_st_save(path, two, 2, NULL, 0), KC_EFORMAT, "z.weight");
	two[1].name = "__metadata__";
	KC_CHECK_ERR(kc_st_save(path, two, 2, NULL, 0), KC_EINVAL, "__metadata__");
	two[1].name = "b";
	two[1].dim[0] = -1;
	KC_CHECK_ERR(kc_st_save(path, two, 2, NULL, 0), KC_EINVAL, "impossible shape");
	two[1].ndim = 9;
	KC_CHECK_ERR(kc_st_save(path, two, 2, NULL, 0), KC_EINVAL, "impossible shape");
	KC_CHECK_ERR(kc_st_save(path, three, 3, bad, 1), KC_EFORMAT, path);
	KC_CHECK(!kc_file_exists(path));
	two[1] = three[0];
	two[1].name = "b";
	two[1].dim[0] = (int64_t)1 << 61;
	KC_CHECK_ERR(kc_st_save(path, two, 2, NULL, 0), KC_EINVAL, "impossible shape");
	two[1].dim[0] = (int64_t)1 << 58;
	KC_CHECK_ERR(kc_st_save(path, two, 2, NULL, 0), KC_EIO, "bytes needed");
}

/* Every truncation and every damaged header byte: refused or read, never a crash. */
static void test_damage(void)
{
	const char *path = kc_test_path("a");
	size_t n = 0, header = 0;
	struct kc_st f;
	char *a;

	KC_CHECK_OK(kc_st_save(path, three, 3, meta, 2));
	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &a, &n)))
		return;
	for (size_t i = 0; i < n; i++) {
		char *cut = kc_alloc(i);

		memcpy(cut, a, i);
		KC_CHECK(kc_st_open_memory("cut", cut, i, &f) == KC_EFORMAT);
		free(cut);
	}
	memcpy(&header, a, 8);
	for (size_t i = 0; i < 8 + header; i++)
		for (int bit = 0; bit < 8; bit++) {
			a[i] ^= (char)(1 << bit);
			if (kc_st_open_memory("bit", a, n, &f) == 0)
				kc_st_close(&f);
			a[i] ^= (char)(1 << bit);
		}
	free(a);
}

static void test_failures(void)
{
	const char *path = kc_test_path("a");
	struct kc_st f;
	int n = 0, rc;

	KC_CHECK_OK(kc_st_save(path, three, 3, NULL, 0));
	do {
		kc_file_fail_after(++n, EIO);
		rc = kc_st_save(path, three, 3, meta, 2);
		kc_file_fail_after(0, 0);
		KC_CHECK_OK(kc_st_open(path, &f));
		kc_st_close(&f);
	} while (rc < 0 && n < 100);
	KC_CHECK(rc == 0 && n == 5 + 5 + 1);
	n = 0;
	do {
		kc_alloc_fail_after(++n);
		rc = kc_st_open(path, &f);
		if (!rc) {
			kc_st_close(&f);
			rc = kc_st_save(path, three, 3, meta, 2);
		}
		kc_alloc_fail_after(0);
		KC_CHECK(rc == 0 || rc == KC_ENOMEM);
	} while (rc < 0 && n < 100);
	KC_CHECK(rc == 0);
}

const struct kc_test kc_tests_safetensors[] = {
	{"hostile files are refused", test_hostile_files},
	{"a good file is read", test_good_file},
	{"each rule of the format", test_refusals},
	{"unaligned and empty tensors", test_unaligned},
	{"half precision", test_half_types},
	{"round trip", test_round_trip},
	{"equal contents give equal bytes", test_deterministic},
	{"files without tensors", test_empty_file},
	{"items that cannot be written", test_bad_items},
	{"every truncation and every flipped header bit", test_damage},
	{"failing disk and memory", test_failures},
	{0}};
