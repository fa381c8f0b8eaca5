/*
 * What every file of the tree may use: error codes and the per-thread error
 * message with its cause chain, assertions, checked allocation.
 *
 * A function that can fail returns int: 0 or more on success, a negative
 * enum kc_err on failure, with a message stored for the calling thread.
 * Messages are lower case, name the file, the key or the frame, and say what
 * was expected.  Only programs print them.
 */
#ifndef KC_CORE_BASE_H
#define KC_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KC_ERRORS(X) \
	X(KC_ENOMEM,   -1, "out of memory") \
	X(KC_EINVAL,   -2, "invalid argument") \
	X(KC_ESHAPE,   -3, "shapes do not fit") \
	X(KC_EIO,      -4, "input/output error") \
	X(KC_EFORMAT,  -5, "malformed data") \
	X(KC_EBACKEND, -6, "backend failure") \
	X(KC_ENOSUP,   -7, "not supported here") \
	X(KC_ECONFIG,  -8, "bad configuration") \
	X(KC_ENUMERIC, -9, "non-finite value") \
	X(KC_ENOENT,   -10, "not found") \
	X(KC_ESTOP,    -11, "stopped")

enum kc_err {
	KC_OK = 0,
#define X(name, value, text) name = value,
	KC_ERRORS(X)
#undef X
};

/* Stores the message (replacing the last one) and returns err. */
int kc_fail_at(int err, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
#define KC_FAIL(err, ...) kc_negative(kc_fail_at((err), __FILE__, __LINE__, __VA_ARGS__))

/* Puts "fmt: " in front of the stored message: the cause chain.  Returns err. */
int kc_cause(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The calling thread's message; never NULL. */
const char *kc_errmsg(void);
const char *kc_err_name(int err);

#define KC_TRY(call) \
	do { \
		int kc_try_ = (call); \
		if (kc_try_ < 0) \
			return kc_try_; \
	} while (0)

/* For our own bugs only; never for what a user or a file can cause. */
void kc_bug(const char *file, int line, const char *what) __attribute__((noreturn));
#define KC_ASSERT(cond) ((cond) ? (void)0 : kc_bug(__FILE__, __LINE__, #cond))

/* Lets the compiler see that a failure is negative: what KC_TRY lets through is set. */
static inline int kc_negative(int err)
{
	KC_ASSERT(err < 0);
	return err;
}

#define KC_MIN(a, b) ((a) < (b) ? (a) : (b))
#define KC_MAX(a, b) ((a) > (b) ? (a) : (b))
#define KC_COUNT(array) (sizeof(array) / sizeof *(array))

/*
 * Checked allocation.  NULL on failure with the message stored.  Everything the
 * product allocates on the heap goes through here, so that tests can make the
 * n-th allocation fail.  Free with free().
 */
void *kc_alloc(size_t size);                      /* uninitialised; size 0 gives 1 byte */
void *kc_calloc(size_t count, size_t size);       /* zeroed; overflow-checked */
void *kc_realloc(void *p, size_t count, size_t size);
/* Makes room for element n of *array, a pointer that grows by doubling; *room counts elements. */
int kc_make_room(void *array, size_t n, size_t *room, size_t element);
char *kc_strdup(const char *s);
char *kc_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Fault injection for tests: the n-th kc_alloc from now (1 = the next) fails; 0 turns it off. */
void kc_alloc_fail_after(long n);

/* Seconds of a monotonic clock. */
double kc_now(void);

#endif
