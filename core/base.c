#include "core/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MESSAGE = 2048 };

static _Thread_local char message[MESSAGE];
static atomic_long fail_countdown;

int kc_fail_at(int err, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	(void)file;
	(void)line;
	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	return err;
}

int kc_cause(int err, const char *fmt, ...)
{
	char old[MESSAGE];
	va_list args;
	int n;

	memcpy(old, message, sizeof old);
	va_start(args, fmt);
	n = vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof message)
		snprintf(message + n, sizeof message - (size_t)n, ": %s", old);
	return err;
}

const char *kc_errmsg(void)
{
	return message[0] ? message : "no error was recorded";
}

const char *kc_err_name(int err)
{
	switch (err) {
#define X(name, value, text) case name: return text;
	KC_ERRORS(X)
#undef X
	}
	return err >= 0 ? "ok" : "unknown error";
}

void kc_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "kinemacolor: bug: %s:%d: %s\n", file, line, what);
	abort();
}

/* True when the test asked this allocation to fail. */
static bool must_fail(void)
{
	if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) <= 0)
		return false;
	return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

void kc_alloc_fail_after(long n)
{
	atomic_store(&fail_countdown, n);
}

void *kc_alloc(size_t size)
{
	void *p = must_fail() ? NULL : malloc(size ? size : 1);

	if (!p)
		KC_FAIL(KC_ENOMEM, "out of memory: %zu bytes", size);
	return p;
}

void *kc_calloc(size_t count, size_t size)
{
	void *p = must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);

	if (!p)
		KC_FAIL(KC_ENOMEM, "out of memory: %zu x %zu bytes", count, size);
	return p;
}

void *kc_realloc(void *p, size_t count, size_t size)
{
	size_t bytes;
	void *q = NULL;

	if (!__builtin_mul_overflow(count, size, &bytes) && !must_fail())
		q = realloc(p, bytes ? bytes : 1);
	if (!q)
		KC_FAIL(KC_ENOMEM, "out of memory: %zu x %zu bytes", count, size);
	return q;
}

int kc_make_room(void *array, size_t n, size_t *room, size_t element)
{
	void *old, *grown;
	size_t more = *room ? 2 * *room : 64;

	if (n < *room)
		return 0;
	memcpy(&old, array, sizeof old);
	grown = kc_realloc(old, more, element);
	if (!grown)
		return KC_ENOMEM;
	memcpy(array, &grown, sizeof grown);
	*room = more;
	return 0;
}

char *kc_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = kc_alloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}

char *kc_format(const char *fmt, ...)
{
	va_list args, again;
	char *text;
	int n;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	text = n < 0 ? NULL : kc_alloc((size_t)n + 1);
	if (text)
		vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(args);
	return text;
}

double kc_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
