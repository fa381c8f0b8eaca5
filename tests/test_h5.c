/* HDF5 files of weights: equal bits back, and refusal of everything that is not such a file. */
#include "core/file.h"
#include "tests/test.h"
#include "weights/h5_private.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 600 };

static unsigned char bytes_of[KC_ST_N_DTYPES][8 * COUNT];

/* Any bits, NaNs and denormals among them; bools are 0 or 1. */
static void invent(void)
{
	uint64_t z = 1;

	for (int t = 0; t < KC_ST_N_DTYPES; t++)
		for (int i = 0; i < 8 * COUNT; i++) {
			z = z * 6364136223846793005u + 1442695040888963407u;
			bytes_of[t][i] = (unsigned char)(t == KC_ST_BOOL ? z >> 63 : z >> 56);
		}
}

/* Every dtype as 3x200x1x1 and as a scalar, and one without elements. */
static size_t all_items(struct kc_st_item *items, char (*names)[24])
{
	size_t n = 0;

	invent();
	for (int t = 0; t < KC_ST_N_DTYPES; t++) {
		snprintf(names[n], 24, "many.%s", kc_st_dtype_name((enum kc_st_dtype)t));
		items[n] = (struct kc_st_item){names[n], (enum kc_st_dtype)t, 4, {3, 200, 1, 1},
					       bytes_of[t]};
		n++;
		snprintf(names[n], 24, "one.%s", kc_st_dtype_name((enum kc_st_dtype)t));
		items[n] = (struct kc_st_item){names[n], (enum kc_st_dtype)t, 0, {0}, bytes_of[t]};
		n++;
	}
	items[n++] = (struct kc_st_item){"none", KC_ST_F32, 2, {4, 0}, NULL};
	return n;
}

static const struct kc_st_tensor *find(const struct kc_h5 *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->tensors[i].name, name))
			return &f->tensors[i];
	return NULL;
}

static void compare(const struct kc_h5 *f, const struct kc_st_item *items, size_t n)
{
	KC_CHECK(f->n == n);
	for (size_t i = 0; i < n; i++) {
		const struct kc_st_tensor *t = find(f, items[i].name);
		size_t bytes;

		if (!t || !KC_CHECK_OK(kc_st_item_bytes(&items[i], &bytes))) {
			kc_test_fail(__FILE__, __LINE__, "%s is missing", items[i].name);
			continue;
		}
		KC_CHECK(t->dtype == items[i].dtype && t->ndim == items[i].ndim);
		KC_CHECK(!memcmp(t->dim, items[i].dim, (size_t)t->ndim * sizeof *t->dim));
		KC_CHECK(t->bytes == bytes && kc_st_is_dense(t));
		KC_CHECK(!bytes || !memcmp(t->data, items[i].data, bytes));
	}
}

static void round_trip(int level)
{
	struct kc_st_item items[2 * KC_ST_N_DTYPES + 1];
	char names[2 * KC_ST_N_DTYPES][24], *long_text = kc_calloc(200001, 1);
	struct kc_st_pair notes[] = {{"model", "siggraph17"}, {"empty", ""}, {"long", long_text}};
	size_t n = all_items(items, names);
	const char *path = kc_test_path("all.h5");
	struct kc_h5 f;

	memset(long_text, 'x', 200000);
	KC_CHECK_OK(kc_h5_save(path, items, n, notes, 3, level));
	if (KC_CHECK_OK(kc_h5_open(path, &f))) {
		compare(&f, items, n);
		KC_CHECK(f.n_notes == 3);
		for (size_t i = 0; i < f.n_notes; i++)
			for (size_t k = 0; k < 3; k++)
				if (!strcmp(f.notes[i].key, notes[k].key))
					KC_CHECK(!strcmp(f.notes[i].value, notes[k].value));
		kc_h5_close(&f);
	}
	free(long_text);
}

static void test_round_trip(void)
{
	round_trip(0);
	round_trip(6);
}

static void test_equal_bytes(void)
{
	const float x[4] = {1, 2, 3, 4};
	const struct kc_st_item item = {"w", KC_ST_F32, 2, {2, 2}, x};
	char *first, *second;
	size_t n, m;

	KC_CHECK_OK(kc_h5_save(kc_test_path("a.h5"), &item, 1, NULL, 0, 0));
	KC_CHECK_OK(kc_h5_save(kc_test_path("b.h5"), &item, 1, NULL, 0, 0));
	if (KC_CHECK_OK(kc_file_read(kc_test_path("a.h5"), 1 << 20, &first, &n)) &&
	    KC_CHECK_OK(kc_file_read(kc_test_path("b.h5"), 1 << 20, &second, &m))) {
		KC_CHECK(n == m && !memcmp(first, second, n));
		free(first);
		free(second);
	}
}

static void test_compression(void)
{
	enum { LARGE = 1 << 20 };
	float *zeros = kc_calloc(LARGE, sizeof *zeros);
	const struct kc_st_item item = {"w", KC_ST_F32, 3, {4, 1 << 17, 2}, zeros};
	const char *path = kc_test_path("zeros.h5");
	struct kc_map map;
	struct kc_h5 f;

	KC_CHECK_OK(kc_h5_save(path, &item, 1, NULL, 0, 4));
	if (KC_CHECK_OK(kc_map_open(path, &map))) {
		KC_CHECK(map.size < LARGE / 20);
		kc_map_close(&map);
	}
	if (KC_CHECK_OK(kc_h5_open(path, &f))) {
		compare(&f, &item, 1);
		kc_h5_close(&f);
	}
	KC_CHECK_ERR(kc_h5_save(path, &item, 1, NULL, 0, 10), KC_EINVAL, "level 10");
	free(zeros);
}

static void test_names(void)
{
	static const char *const bad[] = {"", ".", "a/b", "/"};
	const float x = 1;
	const char *path = kc_test_path("names.h5");

	for (size_t i = 0; i < KC_COUNT(bad); i++) {
		const struct kc_st_item item = {bad[i], KC_ST_F32, 0, {0}, &x};

		KC_CHECK_ERR(kc_h5_save(path, &item, 1, NULL, 0, 0), KC_EINVAL, "dataset");
		KC_CHECK(!kc_file_exists(path));
	}
	KC_CHECK_ERR(kc_h5_save(path, (const struct kc_st_item[]){
		{"w", KC_ST_F32, 0, {0}, &x}, {"w", KC_ST_F32, 0, {0}, &x}}, 2, NULL, 0, 0),
		KC_EIO, "\"w\"");
}

/* A shortened file is refused, and damage of a tensor is found. */
static void test_damage(void)
{
	const float x[8] = {1, 2, 3, 4, 5, 6, 7, 1234567};
	const struct kc_st_item item = {"w", KC_ST_F32, 1, {8}, x};
	const char *path = kc_test_path("damage.h5");
	char *data, *found;
	struct kc_h5 f;
	size_t n;

	KC_CHECK_OK(kc_h5_save(path, &item, 1, NULL, 0, 0));
	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &data, &n)))
		return;
	for (size_t i = n - 1; i > 0; i -= i > 200 ? 13 : 1) {
		KC_CHECK(!truncate(path, (off_t)i));
		KC_CHECK(kc_h5_open(path, &f) < 0);
	}
	found = memmem(data, n, x, sizeof x);
	if (found) {
		found[5] ^= 1;
		KC_CHECK_OK(kc_file_write(path, data, n));
		KC_CHECK_ERR(kc_h5_open(path, &f), KC_EFORMAT, "checksum differs");
	}
	KC_CHECK(found != NULL);
	free(data);
}

/* A file with a group /model that `fill` fills. */
static const char *make(void (*fill)(hid_t file, hid_t group))
{
	const char *path = kc_test_path("foreign.h5");
	hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	hid_t group = H5Gcreate2(file, "model", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

	fill(file, group);
	H5Gclose(group);
	H5Fclose(file);
	return path;
}

static hid_t dataset(hid_t group, hid_t type, hsize_t n, hid_t list)
{
	hid_t space = H5Screate_simple(1, &n, NULL), d;

	d = H5Dcreate2(group, "w", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
	H5Sclose(space);
	return d;
}

static void soft_link(hid_t file, hid_t group)
{
	(void)file;
	H5Lcreate_soft("/other", group, "w", H5P_DEFAULT, H5P_DEFAULT);
}

static void other_file(hid_t file, hid_t group)
{
	(void)file;
	H5Lcreate_external("/etc/passwd", "/w", group, "w", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_data(hid_t file, hid_t group)
{
	hid_t list = H5Pcreate(H5P_DATASET_CREATE);

	(void)file;
	H5Pset_external(list, "/etc/passwd", 0, 64);
	H5Dclose(dataset(group, H5T_IEEE_F32LE, 16, list));
	H5Pclose(list);
}

static void subgroup(hid_t file, hid_t group)
{
	(void)file;
	H5Gclose(H5Gcreate2(group, "w", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void big_endian(hid_t file, hid_t group)
{
	const float x[2] = {1, 2};
	hid_t d = dataset(group, H5T_IEEE_F32BE, 2, H5P_DEFAULT);

	(void)file;
	H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
	H5Dclose(d);
}

static void no_data(hid_t file, hid_t group)
{
	(void)file;
	H5Dclose(dataset(group, H5T_IEEE_F32LE, (hsize_t)1 << 40, H5P_DEFAULT));
}

/* Chunks that were never written claim a terabyte. */
static void no_chunks(hid_t file, hid_t group)
{
	hid_t list = H5Pcreate(H5P_DATASET_CREATE);
	hsize_t chunk = 1 << 16;

	(void)file;
	H5Pset_chunk(list, 1, &chunk);
	H5Dclose(dataset(group, H5T_IEEE_F32LE, (hsize_t)1 << 38, list));
	H5Pclose(list);
}

/* A few chunks, and room for more of them than the file has bytes. */
static void many_chunks(hid_t file, hid_t group)
{
	const hsize_t some = 256, all = 1 << 16, most = H5S_UNLIMITED, chunk = 4;
	hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &some, &most), d;
	const float x[256] = {1};

	(void)file;
	H5Pset_chunk(list, 1, &chunk);
	d = H5Dcreate2(group, "w", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
	H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
	H5Dset_extent(d, &all);
	H5Dclose(d);
	H5Sclose(space);
	H5Pclose(list);
}

/* A well compressed dataset under many names, which would take more memory with each. */
static void many_names(hid_t file, hid_t group)
{
	const hsize_t n = 1 << 18;
	hid_t list = H5Pcreate(H5P_DATASET_CREATE), d;
	float *x = kc_calloc(n, sizeof *x);
	char name[8];

	(void)file;
	H5Pset_chunk(list, 1, &n);
	H5Pset_deflate(list, 9);
	d = dataset(group, H5T_IEEE_F32LE, n, list);
	H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
	H5Dclose(d);
	H5Pclose(list);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "w%d", i);
		H5Lcreate_hard(group, "w", group, name, H5P_DEFAULT, H5P_DEFAULT);
	}
	free(x);
}

static void test_foreign(void)
{
	static const struct { void (*fill)(hid_t, hid_t); const char *message; } cases[] = {
		{soft_link, "a link to elsewhere"}, {other_file, "a link to elsewhere"},
		{external_data, "another file"}, {subgroup, "no dataset"},
		{big_endian, "a big-endian float of 4 bytes"}, {no_data, "not in the file"},
		{no_chunks, "cannot come from its chunks"},
		{many_chunks, "cannot come from its chunks"},
		{many_names, "bytes are not in the file"},
	};
	struct kc_h5 f;

	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	for (size_t i = 0; i < KC_COUNT(cases); i++)
		KC_CHECK_ERR(kc_h5_open(make(cases[i].fill), &f), KC_EFORMAT, cases[i].message);
	H5Fclose(H5Fcreate(kc_test_path("empty.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
	KC_CHECK_ERR(kc_h5_open(kc_test_path("empty.h5"), &f), KC_EFORMAT, "without the group");
	KC_CHECK_ERR(kc_h5_open(kc_test_path("missing.h5"), &f), KC_ENOENT, "missing.h5");
	KC_CHECK_OK(kc_file_write(kc_test_path("page.h5"), "<html>", 6));
	KC_CHECK_ERR(kc_h5_open(kc_test_path("page.h5"), &f), KC_EFORMAT, "no HDF5 file");
}

/* As h5py writes attributes. */
static void variable_text(hid_t file, hid_t group)
{
	hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR), a;
	const char *text = "of any length";

	(void)file;
	H5Tset_size(type, H5T_VARIABLE);
	a = H5Acreate2(group, "note", type, space, H5P_DEFAULT, H5P_DEFAULT);
	H5Awrite(a, type, &text);
	H5Aclose(a);
	H5Sclose(space);
	H5Tclose(type);
}

static void test_variable_text(void)
{
	struct kc_h5 f;

	if (!KC_CHECK_OK(kc_h5_open(make(variable_text), &f)))
		return;
	KC_CHECK(f.n == 0 && f.n_notes == 1);
	if (f.n_notes == 1)
		KC_CHECK(!strcmp(f.notes[0].value, "of any length"));
	kc_h5_close(&f);
}

/* The reading process, were it taken over: the first thing that it could do, or 0. */
static int try_everything(int fd, const char *path)
{
	char byte;
	int in = open(path, O_RDONLY);

	if (!kc_h5_confine(fd))
		return 100;
	if (read(in, &byte, 1) != 1 || open(path, O_RDONLY) < 0)
		return 1;
	if (open(path, O_WRONLY) >= 0 || open(path, O_RDONLY | O_CREAT, 0600) >= 0)
		return 2;
	if (!unlink(path) || !rename(path, "other") || !truncate(path, 0))
		return 3;
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || dup2(in, fd) >= 0 || !kill(getppid(), 0))
		return 4;
	if (write(in, "", 1) >= 0 || write(1, "", 0) >= 0 || write(fd, "", 1) != 1)
		return 5;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	    MAP_FAILED)
		return 6;
	execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
	return 0;
}

static void test_confined(void)
{
	const char *path = kc_test_path("seen");
	int ends[2], status = -1;
	pid_t child;

	KC_CHECK_OK(kc_file_write(path, "x", 1));
	if (pipe(ends)) {
		kc_test_fail(__FILE__, __LINE__, "no pipe");
		return;
	}
	fflush(NULL);
	child = fork();
	if (!child)
		_exit(try_everything(ends[1], path));
	KC_CHECK(child > 0 && waitpid(child, &status, 0) == child);
	close(ends[0]);
	close(ends[1]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 100)
		kc_test_skip("no filter of system calls");
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		kc_test_fail(__FILE__, __LINE__, "status %x", status);
	KC_CHECK(kc_file_exists(path));
}

/* What the reader sends, cut and changed anywhere: refused or taken, and nothing is lost. */
static void take_records(const char *bytes, size_t n)
{
	static const unsigned char file[4096];
	struct kc_h5 f = {.map = {.data = file, .size = sizeof file}};
	FILE *in = n ? fmemopen((void *)(uintptr_t)bytes, n, "rb") : NULL;

	if (!in)
		return;
	kc_h5_receive(in, &f);
	fclose(in);
	f.map = (struct kc_map){0};
	kc_h5_close(&f);
}

static void test_corpus(void)
{
	static const char *const dirs[] = {"fuzz/corpus/h5", "fuzz/corpus/h5_records"};

	for (int k = 0; k < 2; k++) {
		struct kc_names names;

		if (!KC_CHECK_OK(kc_dir_list(kc_test_fixture(dirs[k]), NULL, KC_ORDER_BYTES,
					     &names)))
			continue;
		KC_CHECK(names.n > 2);
		for (size_t i = 0; i < names.n; i++) {
			char *path = kc_format("%s/%s", kc_test_fixture(dirs[k]), names.v[i]);
			char *bytes = NULL;
			struct kc_h5 f;
			size_t n;

			if (k == 0 && kc_h5_open(path, &f) >= 0)
				kc_h5_close(&f);
			if (k == 1 && KC_CHECK_OK(kc_file_read(path, 1 << 20, &bytes, &n)))
				for (size_t m = 0; m <= n; m++)
					take_records(bytes, m);
			free(bytes);
			free(path);
		}
		kc_names_free(&names);
	}
}

const struct kc_test kc_tests_h5[] = {
	{"every dtype returns with equal bits, compressed or not", test_round_trip},
	{"equal tensors give equal files", test_equal_bytes},
	{"compression", test_compression},
	{"names that are no datasets", test_names},
	{"shortened and damaged files are refused", test_damage},
	{"links, foreign storage and types are refused", test_foreign},
	{"metadata of variable length", test_variable_text},
	{"a reader that was taken over can do nothing", test_confined},
	{"inputs that fuzzing found", test_corpus},
	{0}};
