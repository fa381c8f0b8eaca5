#include "tests/test.h"
#include "weights/load.h"
#include "weights/seal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t weight_dim[] = {2, 3}, bias_dim[] = {2};

/* Two destinations, a weight and a bias, in x[0..5] and x[6..7]. */
static void make_dests(struct kc_load_dest *d, float *x)
{
	d[0] = (struct kc_load_dest){"conv.weight", 2, weight_dim, x};
	d[1] = (struct kc_load_dest){"conv.bias", 1, bias_dim, x + 6};
	for (int i = 0; i < 8; i++)
		x[i] = -1;
}

static const float w[6] = {1, 2, 3, 4, 5, 6};
static const double b[2] = {0.1, 1e-3};

static const char *write_weights(const char *name, const char *prefix, size_t n, int64_t outputs)
{
	char *names[] = {kc_format("%sconv.weight", prefix), kc_format("%sconv.bias", prefix),
			 kc_format("%sextra", prefix)};
	const struct kc_st_item items[] = {{names[0], KC_ST_F32, 2, {outputs, 6 / outputs}, w},
					   {names[1], KC_ST_F64, 1, {2}, b},
					   {names[2], KC_ST_F32, 1, {6}, w}};
	const char *path = kc_test_path(name);

	KC_CHECK_OK(kc_st_save(path, items, n, NULL, 0));
	for (int i = 0; i < 3; i++)
		free(names[i]);
	return path;
}

static void test_strict(void)
{
	struct kc_load_dest d[2];
	float x[8];

	make_dests(d, x);
	KC_CHECK_OK(kc_load_file(write_weights("a", "", 2, 2), d, 2, KC_LOAD_STRICT, NULL));
	KC_CHECK(!memcmp(x, w, sizeof w) && x[6] == 0.1f && x[7] == 1e-3f);
	make_dests(d, x);
	KC_CHECK_OK(kc_load_file(write_weights("b", "module.", 2, 2), d, 2, KC_LOAD_STRICT, NULL));
	KC_CHECK(x[0] == 1 && x[7] == 1e-3f);
	make_dests(d, x);
	KC_CHECK_ERR(kc_load_file(write_weights("c", "", 3, 2), d, 2, KC_LOAD_STRICT, NULL),
		     KC_EFORMAT, "unexpected: extra");
	KC_CHECK_ERR(kc_load_file(write_weights("d", "", 1, 2), d, 2, KC_LOAD_STRICT, NULL),
		     KC_EFORMAT, "missing: conv.bias");
	KC_CHECK(x[0] == -1 && x[7] == -1);
}

static void test_not_strict(void)
{
	struct kc_load_dest d[2];
	char *remarks;
	float x[8];

	make_dests(d, x);
	KC_CHECK_OK(kc_load_file(write_weights("a", "", 2, 2), d, 2, KC_LOAD_LOOSE, &remarks));
	KC_CHECK(!remarks);
	d[1].name = "other.bias";
	KC_CHECK_OK(kc_load_file(write_weights("b", "", 3, 2), d, 2, KC_LOAD_LOOSE, &remarks));
	KC_CHECK(remarks && !strcmp(remarks, "missing: other.bias; unexpected: conv.bias, extra"));
	free(remarks);
	KC_CHECK_ERR(kc_load_file(write_weights("c", "", 3, 3), d, 2, KC_LOAD_LOOSE, &remarks),
		     KC_ESHAPE, "c: \"conv.weight\" is 3x2, the network needs 2x3");
	KC_CHECK(!remarks);
}

static void test_long_lists(void)
{
	struct kc_load_dest d[30];
	char names[30][8], *remarks;
	float x[2];

	for (int i = 0; i < 30; i++) {
		snprintf(names[i], sizeof names[i], "p%d", i);
		d[i] = (struct kc_load_dest){names[i], 1, bias_dim, x};
	}
	KC_CHECK_OK(kc_load_file(write_weights("a", "", 1, 2), d, 30, KC_LOAD_LOOSE, &remarks));
	KC_CHECK(remarks && strstr(remarks, "p0, p1, "));
	KC_CHECK(remarks && strstr(remarks, "p7 and 22 more; unexpected"));
	free(remarks);
}

static void test_counters(void)
{
	struct kc_load_dest d[3];
	float x[8], count = 7;

	make_dests(d, x);
	d[2] = (struct kc_load_dest){"bn.num_batches_tracked", 0, NULL, &count};
	KC_CHECK_OK(kc_load_file(write_weights("a", "", 2, 2), d, 3, KC_LOAD_STRICT, NULL));
	KC_CHECK(count == 7 && x[0] == 1);
}

/* TCVC's file where only its keyframe network is wanted. */
static void test_part(void)
{
	const struct kc_st_item items[] = {{"fea_key.conv.bias", KC_ST_F64, 1, {2}, b},
					   {"module.fea_key.conv.weight", KC_ST_F32, 2, {2, 3}, w},
					   {"weigting.conv.bias", KC_ST_F64, 1, {2}, b},
					   {"fea_key.extra", KC_ST_F64, 1, {2}, b}};
	struct kc_load_dest d[2];
	float x[8];

	make_dests(d, x);
	KC_CHECK_OK(kc_st_save(kc_test_path("a"), items, 3, NULL, 0));
	KC_CHECK_OK(kc_load_file(kc_test_path("a"), d, 2, KC_LOAD_STRICT, NULL));
	KC_CHECK(!memcmp(x, w, sizeof w) && x[6] == 0.1f && x[7] == 1e-3f);
	KC_CHECK_OK(kc_st_save(kc_test_path("a"), items, 4, NULL, 0));
	KC_CHECK_OK(kc_load_file(kc_test_path("a"), d, 2, KC_LOAD_COMPLETE, NULL));
	KC_CHECK_ERR(kc_load_file(kc_test_path("a"), d, 2, KC_LOAD_STRICT, NULL),
		     KC_EFORMAT, "network: unexpected: fea_key.extra");
}

static void test_both_prefixes(void)
{
	const struct kc_st_item items[] = {{"conv.bias", KC_ST_F64, 1, {2}, b},
					   {"module.conv.bias", KC_ST_F64, 1, {2}, b}};
	struct kc_load_dest d[2];
	float x[8];

	make_dests(d, x);
	KC_CHECK_OK(kc_st_save(kc_test_path("a"), items, 2, NULL, 0));
	KC_CHECK_ERR(kc_load_file(kc_test_path("a"), d + 1, 1, KC_LOAD_STRICT, NULL),
		     KC_EFORMAT, "with and without the prefix");
}

static void test_not_finite(void)
{
	static const double large[2] = {1, 1e300};
	static const float nan_first[2] = {NAN, 0};
	struct kc_st_item item = {"conv.bias", KC_ST_F64, 1, {2}, large};
	struct kc_load_dest d[2];
	float x[8];

	make_dests(d, x);
	KC_CHECK_OK(kc_st_save(kc_test_path("a"), &item, 1, NULL, 0));
	KC_CHECK_ERR(kc_load_file(kc_test_path("a"), d + 1, 1, KC_LOAD_STRICT, NULL), KC_ENUMERIC,
		     "\"conv.bias\"[1] is not finite");
	item.dtype = KC_ST_F32;
	item.data = nan_first;
	KC_CHECK_OK(kc_st_save(kc_test_path("a"), &item, 1, NULL, 0));
	KC_CHECK_ERR(kc_load_file(kc_test_path("a"), d + 1, 1, KC_LOAD_STRICT, NULL),
		     KC_ENUMERIC, "[0]");
}

static void check_kind(const char *name, const char *bytes, size_t n, int err, const char *text)
{
	const char *path = kc_test_path(name);
	struct kc_weights f;

	KC_CHECK_OK(kc_file_write(path, bytes, n));
	KC_CHECK_ERR(kc_weights_open(path, &f), err, text);
	KC_CHECK(strstr(kc_errmsg(), name) && !strchr(kc_errmsg(), '\n'));
}

static void test_kinds(void)
{
	static const char page[] = "\n<!DOCTYPE html><html>", legacy[] =
		"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
	static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\n";

	check_kind("a.safetensors", "", 0, KC_EFORMAT, "an empty file");
	check_kind("a.safetensors", page, sizeof page - 1, KC_ENOSUP, "a web page");
	check_kind("siggraph17-df00044c.pth", page, sizeof page - 1, KC_ENOSUP,
		   "the file is published as siggraph17-df00044c.pth on colorizers.s3");
	check_kind("a.safetensors", lfs, sizeof lfs - 1, KC_ENOSUP, "Git LFS pointer");
	check_kind("x.pth", "PK\3\4....", 8, KC_EFORMAT, "x.pth");
	check_kind("x.pth.tar", legacy, sizeof legacy - 1, KC_EFORMAT, "x.pth.tar");
	check_kind("x.h5", "\x89HDF\r\n\x1a\n....", 12, KC_EFORMAT, "HDF5");
	check_kind("x.bin", "any other bytes", 15, KC_EFORMAT, "no safetensors file");
}

static void test_shortened(void)
{
	const char *path = write_weights("a", "", 3, 2);
	struct kc_weights f;
	size_t size;
	char *bytes;

	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &bytes, &size)))
		return;
	check_kind("a", bytes, size - 8, KC_EFORMAT, "past the end of the file");
	check_kind("a", bytes, 40, KC_EFORMAT, "cut short");
	check_kind("a", bytes, 4, KC_EFORMAT, "too few");
	free(bytes);
	KC_CHECK_ERR(kc_weights_open(kc_test_dir(), &f), KC_EIO, "not a regular file");
}

static void test_missing(void)
{
	static const char *const names[][2] = {
		{"siggraph17-df00044c.pth", "colorizers.s3.us-east-2.amazonaws.com"},
		{"colorization_release_v2-9b330a0b.pth", "richzhang"},
		{"FlowNet2_checkpoint.pth.tar", "README of github.com/NVIDIA/flownet2-pytorch"},
		{"80000_G.pth", "README of TCVC"},
		{"mine.safetensors", "no such file"}};
	struct kc_weights f;

	for (size_t i = 0; i < KC_COUNT(names); i++)
		KC_CHECK_ERR(kc_weights_open(kc_test_path(names[i][0]), &f), KC_ENOENT,
			     names[i][1]);
	KC_CHECK(!strstr(kc_errmsg(), "published"));
}

/* A file of ours with one damaged value is refused; the same damage in a foreign file passes. */
static void test_seal(void)
{
	const struct kc_st_item item = {"conv.bias", KC_ST_F64, 1, {2}, b};
	const char *path = kc_test_path("a");
	struct kc_weights f;
	size_t size;
	char *bytes;

	KC_CHECK_OK(kc_seal_save(path, &item, 1, NULL, 0, NULL));
	KC_CHECK_OK(kc_weights_open(path, &f));
	kc_weights_close(&f);
	KC_CHECK_OK(kc_file_read(path, 1 << 20, &bytes, &size));
	bytes[size - 3] ^= 1;
	KC_CHECK_OK(kc_file_write(path, bytes, size));
	free(bytes);
	KC_CHECK_ERR(kc_weights_open(path, &f), KC_EFORMAT, "\"conv.bias\" is damaged");
}

static void test_memory_faults(void)
{
	const char *path = write_weights("a", "", 3, 2);
	struct kc_load_dest d[2];
	char *remarks;
	int n = 0, rc;
	float x[8];

	make_dests(d, x);
	do {
		kc_alloc_fail_after(++n);
		rc = kc_load_file(path, d, 2, KC_LOAD_LOOSE, &remarks);
		kc_alloc_fail_after(0);
		KC_CHECK(rc == 0 || rc == KC_ENOMEM);
	} while (rc < 0 && n < 100);
	KC_CHECK(rc == 0 && remarks);
	free(remarks);
}

const struct kc_test kc_tests_load[] = {
	{"strict", test_strict},
	{"not strict", test_not_strict},
	{"long lists are shortened", test_long_lists},
	{"counters may be missing", test_counters},
	{"a part of TCVC's file", test_part},
	{"a name with and without prefix", test_both_prefixes},
	{"values that are not finite", test_not_finite},
	{"other kinds of files", test_kinds},
	{"shortened files", test_shortened},
	{"missing files", test_missing},
	{"damage in a sealed file", test_seal},
	{"every failing allocation", test_memory_faults},
	{0}};
