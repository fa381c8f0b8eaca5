/*
 * The test runner's side of a test file: checks that count, and a table of tests.
 *
 * tests/test_NAME.c ends with
 *	const struct kc_test kc_tests_NAME[] = {{"what it shows", function}, {0}};
 * and one line in tests/list.def registers it.  A test that fails goes on; its
 * failures are printed with file and line.  Tests may use kc_test_dir() for files.
 */
#ifndef KC_TESTS_TEST_H
#define KC_TESTS_TEST_H

#include "core/base.h"

struct kc_test {
	const char *name;
	void (*run)(void);
};

/* Counts a failure of the running test and prints file, line and message. */
void kc_test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Ends the running test as skipped, once, with its reason. */
void kc_test_skip(const char *why);

#define KC_CHECK(cond) \
	((cond) ? (void)0 : kc_test_fail(__FILE__, __LINE__, "%s", #cond))
/* The call must succeed; prints the error message otherwise.  True when it did. */
#define KC_CHECK_OK(call) kc_test_ok((call), __FILE__, __LINE__, #call)
/* The call must fail with that error, and the message must contain the text. */
#define KC_CHECK_ERR(call, err, text) kc_test_err((call), (err), (text), __FILE__, __LINE__, #call)

bool kc_test_ok(int rc, const char *file, int line, const char *call);
bool kc_test_err(int rc, int err, const char *text, const char *file, int line, const char *call);

/* The larger error; NaN is worse than everything, and stays. */
static inline double kc_test_worse(double worst, double error)
{
	return worst >= error || worst != worst ? worst : error;
}

/* A fresh empty folder of the running test, removed when it ends. */
const char *kc_test_dir(void);
/* dir of the test joined with name; valid until the test ends. */
const char *kc_test_path(const char *name);
/* Path of a file below tests/ (fixtures); valid until the test ends. */
const char *kc_test_fixture(const char *name);

#endif
