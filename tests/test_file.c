#include "core/file.h"
#include "core/hash.h"
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool holds(const char *path, const char *text)
{
	char *data;
	size_t size;
	bool same;

	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &data, &size)))
		return false;
	same = size == strlen(text) && !memcmp(data, text, size);
	free(data);
	return same;
}

static size_t count_entries(const char *dir)
{
	struct kc_names names;
	size_t n;

	KC_CHECK_OK(kc_dir_list(dir, NULL, KC_ORDER_BYTES, &names));
	n = names.n;
	kc_names_free(&names);
	return n;
}

static void test_checksums(void)
{
	const char *text = "Nobody inspects the spammish repetition";

	KC_CHECK(kc_hash64("", 0, 0) == 0xEF46DB3751D8E999u);
	KC_CHECK(kc_hash64(NULL, 0, 0) == 0xEF46DB3751D8E999u);
	KC_CHECK(kc_hash64("abc", 3, 0) == 0x44BC2CF5AD770999u);
	KC_CHECK(kc_hash64(text, strlen(text), 0) == 0xFBCEA83C8A378BF1u);
	KC_CHECK(kc_hash64("abc", 3, 1) != kc_hash64("abc", 3, 0));
	KC_CHECK(kc_crc32c(0, "123456789", 9) == 0xE3069283u);
	KC_CHECK(kc_crc32c(kc_crc32c(0, "1234", 4), "56789", 5) == 0xE3069283u);
}

static void test_read_limit(void)
{
	const char *path = kc_test_path("a");
	char *data;
	size_t size;

	KC_CHECK_OK(kc_file_write(path, "12345", 5));
	KC_CHECK(holds(path, "12345"));
	KC_CHECK_OK(kc_file_read(path, 5, &data, &size));
	KC_CHECK(size == 5 && data[5] == 0);
	free(data);
	KC_CHECK_ERR(kc_file_read(path, 4, &data, &size), KC_EFORMAT, "larger than 4 bytes");
	KC_CHECK(!data && !size);
	KC_CHECK_ERR(kc_file_read(kc_test_path("b"), 4, &data, &size), KC_ENOENT, "cannot open");
	KC_CHECK_ERR(kc_file_read(kc_test_dir(), 4, &data, &size), KC_EIO, "cannot read");
}

static void test_large_read(void)
{
	const char *path = kc_test_path("large");
	size_t n = 300000, size;
	char *bytes = kc_alloc(n), *data;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	KC_CHECK_OK(kc_file_write(path, bytes, n));
	if (KC_CHECK_OK(kc_file_read(path, n, &data, &size)))
		KC_CHECK(size == n && !memcmp(bytes, data, n));
	free(data);
	free(bytes);
}

static void test_map(void)
{
	struct kc_map m;

	KC_CHECK_OK(kc_file_write(kc_test_path("a"), "xyz", 3));
	KC_CHECK_OK(kc_file_write(kc_test_path("empty"), "", 0));
	KC_CHECK_OK(kc_map_open(kc_test_path("a"), &m));
	KC_CHECK(m.size == 3 && !memcmp(m.data, "xyz", 3));
	kc_map_close(&m);
	KC_CHECK_OK(kc_map_open(kc_test_path("empty"), &m));
	KC_CHECK(!m.size && !m.data);
	kc_map_close(&m);
	KC_CHECK_ERR(kc_map_open(kc_test_dir(), &m), KC_EIO, "not a regular file");
	KC_CHECK_ERR(kc_map_open("/dev/zero", &m), KC_EIO, "not a regular file");
	KC_CHECK_ERR(kc_map_open(kc_test_path("none"), &m), KC_ENOENT, "none");
}

static void test_disk_full(void)
{
	struct kc_writer w;
	const char *path = kc_test_path("a");

	KC_CHECK_ERR(kc_writer_begin(&w, path, UINT64_MAX / 2), KC_EIO, "bytes needed");
	KC_CHECK(count_entries(kc_test_dir()) == 0);
	KC_CHECK_ERR(kc_file_check_space(kc_test_path("no/such/file"), 1), KC_ENOENT, "no/such");
}

static void test_abort(void)
{
	struct kc_writer w;
	const char *path = kc_test_path("a");

	KC_CHECK_OK(kc_file_write(path, "old", 3));
	KC_CHECK_OK(kc_writer_begin(&w, path, 3));
	KC_CHECK_OK(kc_writer_write(&w, "new", 3));
	kc_writer_abort(&w);
	KC_CHECK(holds(path, "old") && count_entries(kc_test_dir()) == 1);
	KC_CHECK_ERR(kc_file_write(kc_test_path("no/a"), "x", 1), KC_ENOENT, "no");
}

/* Lets each operation of a save fail in turn until the save succeeds. */
static void test_write_faults(void)
{
	const char *path = kc_test_path("a");
	int rounds = 0, rc;

	do {
		KC_CHECK_OK(kc_file_write(path, "old", 3));
		kc_file_fail_after(++rounds, ENOSPC);
		rc = kc_file_write(path, "newer", 5);
		kc_file_fail_after(0, 0);
		if (rc < 0)
			KC_CHECK(rc == KC_EIO && strstr(kc_errmsg(), strerror(ENOSPC)) &&
				 strstr(kc_errmsg(), kc_test_dir()));
		KC_CHECK(holds(path, "old") || holds(path, "newer"));
		KC_CHECK(count_entries(kc_test_dir()) == 1);
	} while (rc < 0 && rounds < 100);
	/* open, write, fsync, rename, open the folder, fsync it: six that can fail */
	KC_CHECK(rounds == 7 && holds(path, "newer"));
}

static void test_allocation_faults(void)
{
	const char *path = kc_test_path("a"), *dir = kc_test_dir();
	struct kc_names names;
	int n = 0, rc;

	KC_CHECK_OK(kc_file_write(path, "old", 3));
	do {
		kc_alloc_fail_after(++n);
		rc = kc_file_write(path, "newer", 5);
		if (!rc)
			rc = kc_dir_list(dir, NULL, KC_ORDER_BYTES, &names);
		kc_alloc_fail_after(0);
		KC_CHECK(rc == 0 || rc == KC_ENOMEM);
		KC_CHECK(count_entries(dir) == 1);
	} while (rc < 0 && n < 100);
	kc_names_free(&names);
	KC_CHECK(rc == 0 && holds(path, "newer"));
}

/* Kills a child at each operation of a save: the file is the old or the new one, whole. */
static void test_kill(void)
{
	const char *path = kc_test_path("a");
	int status = 1;

	for (int n = 1; status && n < 20; n++) {
		pid_t child;

		KC_CHECK_OK(kc_file_write(path, "old", 3));
		child = fork();
		if (child == 0) {
			kc_file_fail_after(n, 0);
			_exit(kc_file_write(path, "newer", 5) < 0);
		}
		KC_CHECK(waitpid(child, &status, 0) == child);
		KC_CHECK(holds(path, "old") || holds(path, "newer"));
	}
	KC_CHECK(status == 0 && holds(path, "newer"));
	KC_CHECK_OK(kc_file_write(path, "again", 5));
	KC_CHECK(count_entries(kc_test_dir()) == 1);
}

static void test_folders(void)
{
	const char *deep = kc_test_path("x/y/z");

	KC_CHECK(!kc_dir_exists(deep));
	KC_CHECK_OK(kc_dir_make(deep));
	KC_CHECK_OK(kc_dir_make(deep));
	KC_CHECK_OK(kc_dir_make(kc_test_path("x/y/z/")));
	KC_CHECK(kc_dir_exists(deep) && !kc_file_exists(deep));
	KC_CHECK_OK(kc_file_write(kc_test_path("x/f"), "", 0));
	KC_CHECK(kc_file_exists(kc_test_path("x/f")) && !kc_dir_exists(kc_test_path("x/f")));
	KC_CHECK_ERR(kc_dir_make(kc_test_path("x/f/g")), KC_EIO, "x/f");
	KC_CHECK_OK(kc_file_remove(kc_test_path("x/f")));
	KC_CHECK_OK(kc_file_remove(kc_test_path("x/f")));
	KC_CHECK_ERR(kc_file_remove(kc_test_path("x/y")), KC_EIO, "cannot remove");
}

static void check_names(const struct kc_names *names, size_t n, const char *const *expected)
{
	KC_CHECK(names->n == n);
	for (size_t i = 0; i < KC_MIN(n, names->n); i++)
		if (strcmp(names->v[i], expected[i]))
			kc_test_fail(__FILE__, __LINE__, "entry %zu is %s, not %s", i, names->v[i],
				     expected[i]);
}

static void test_listing(void)
{
	static const char *const bytes[] = {"f001.png", "f1.png", "f10.png", "f9.png", "g.png"},
		*const natural[] = {"f001.png", "f1.png", "f9.png", "f10.png", "g.png"};
	struct kc_names names;

	for (size_t i = 0; i < KC_COUNT(bytes); i++)
		KC_CHECK_OK(kc_file_write(kc_test_path(bytes[i]), "", 0));
	KC_CHECK_OK(kc_file_write(kc_test_path("g.txt"), "", 0));
	KC_CHECK_OK(kc_dir_list(kc_test_dir(), ".png", KC_ORDER_BYTES, &names));
	check_names(&names, KC_COUNT(bytes), bytes);
	kc_names_free(&names);
	KC_CHECK_OK(kc_dir_list(kc_test_dir(), ".png", KC_ORDER_NATURAL, &names));
	check_names(&names, KC_COUNT(natural), natural);
	kc_names_free(&names);
	KC_CHECK(count_entries(kc_test_dir()) == 6);
	KC_CHECK_ERR(kc_dir_list(kc_test_path("none"), NULL, KC_ORDER_BYTES, &names), KC_ENOENT,
		     "cannot list");
	KC_CHECK(kc_name_compare("a2b10", "a2b9") > 0 && kc_name_compare("a", "a1") < 0);
	KC_CHECK(kc_name_compare("x007", "x7") < 0 && kc_name_compare("x7", "x7") == 0);
}

const struct kc_test kc_tests_file[] = {
	{"checksums agree with published values", test_checksums},
	{"reading respects the limit", test_read_limit},
	{"a large file is read whole", test_large_read},
	{"maps", test_map},
	{"a full disk is noticed before writing", test_disk_full},
	{"an abort leaves the old file", test_abort},
	{"every failing operation leaves a valid file and no litter", test_write_faults},
	{"every failing allocation leaves a valid file", test_allocation_faults},
	{"a kill at every operation leaves a valid file", test_kill},
	{"folders", test_folders},
	{"listing order", test_listing},
	{0}};
