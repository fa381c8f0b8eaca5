/* The runner: `build/test [-l] [NAME...]` runs all tests or those whose name contains a NAME. */
#include "layers/cpu/cpu.h"
#include "tests/test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUITE(name) extern const struct kc_test kc_tests_##name[];
#include "tests/list.def"
#undef SUITE

static const struct suite {
	const char *name;
	const struct kc_test *tests;
} suites[] = {
#define SUITE(name) {#name, kc_tests_##name},
#include "tests/list.def"
#undef SUITE
};

static struct {
	int failures;
	bool skipped;
	char dir[64];
	char *paths[256];
	size_t n_paths;
} now;

void kc_test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	now.failures++;
	if (now.failures > 10)
		return;
	printf("  %s:%d: ", file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

void kc_test_skip(const char *why)
{
	now.skipped = true;
	printf("  skipped: %s\n", why);
}

bool kc_test_ok(int rc, const char *file, int line, const char *call)
{
	if (rc < 0)
		kc_test_fail(file, line, "%s: %s", call, kc_errmsg());
	return rc >= 0;
}

bool kc_test_err(int rc, int err, const char *text, const char *file, int line, const char *call)
{
	bool good = rc == err && strstr(kc_errmsg(), text);

	if (!good)
		kc_test_fail(file, line, "%s gave %d (%s), expected %d with \"%s\"", call, rc,
			     rc < 0 ? kc_errmsg() : "no error", err, text);
	return good;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *where)
{
	(void)s, (void)type, (void)where;
	return remove(path);
}

const char *kc_test_dir(void)
{
	if (!now.dir[0]) {
		snprintf(now.dir, sizeof now.dir, "/tmp/kc-test-XXXXXX");
		if (!mkdtemp(now.dir)) {
			perror("mkdtemp");
			exit(1);
		}
	}
	return now.dir;
}

static const char *keep_path(const char *dir, const char *name)
{
	char *path = kc_format("%s/%s", dir, name);

	KC_ASSERT(path && now.n_paths < KC_COUNT(now.paths));
	return now.paths[now.n_paths++] = path;
}

const char *kc_test_path(const char *name)
{
	return keep_path(kc_test_dir(), name);
}

const char *kc_test_fixture(const char *name)
{
	return keep_path("tests", name);
}

static void end_test(void)
{
	if (now.dir[0])
		nftw(now.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < now.n_paths; i++)
		free(now.paths[i]);
	memset(&now, 0, sizeof now);
}

static bool chosen(const char *suite, const char *test, int n, char **names)
{
	if (!n)
		return true;
	for (int i = 0; i < n; i++)
		if (strstr(suite, names[i]) || strstr(test, names[i]))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	bool list = argc > 1 && !strcmp(argv[1], "-l");
	int passed = 0, failed = 0, skipped = 0, first = list ? 2 : 1;

	kc_cpu_share_cores(argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t s = 0; s < KC_COUNT(suites); s++)
		for (const struct kc_test *t = suites[s].tests; t->name; t++) {
			double start = kc_now();

			if (!chosen(suites[s].name, t->name, argc - first, argv + first))
				continue;
			if (list) {
				printf("%s: %s\n", suites[s].name, t->name);
				continue;
			}
			t->run();
			skipped += now.skipped && !now.failures;
			passed += !now.skipped && !now.failures;
			failed += now.failures > 0;
			if (now.failures || kc_now() - start > 5)
				printf("%s %s: %s (%.1f s)\n", now.failures ? "FAIL" : "ok  ",
				       suites[s].name, t->name, kc_now() - start);
			end_test();
		}
	if (!list && skipped)
		printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	else if (!list)
		printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
