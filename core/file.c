#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHUNK = 1 << 24, PATH_LIMIT = 4096 };

static atomic_long fault_countdown;
static atomic_int fault_errno;

long kc_file_fail_after(long n, int error)
{
	long left = atomic_exchange(&fault_countdown, n);

	atomic_store(&fault_errno, error);
	return KC_MAX(left, 0);
}

static bool fault_is_due(void)
{
	if (atomic_load_explicit(&fault_countdown, memory_order_relaxed) <= 0)
		return false;
	return atomic_fetch_sub(&fault_countdown, 1) == 1;
}

static int strike(void)
{
	if (!atomic_load(&fault_errno))
		raise(SIGKILL);
	errno = atomic_load(&fault_errno);
	return -1;
}

static int open_file(const char *path, int flags)
{
	return fault_is_due() ? strike() : open(path, flags | O_CLOEXEC, 0666);
}

static ssize_t write_some(int fd, const void *data, size_t size)
{
	if (!fault_is_due())
		return write(fd, data, size);
	if (write(fd, data, size / 2) < 0)
		return -1;
	return strike();
}

static int sync_file(int fd)
{
	return fault_is_due() ? strike() : fsync(fd);
}

static int rename_file(const char *from, const char *to)
{
	return fault_is_due() ? strike() : rename(from, to);
}

static int fail_path(const char *path, const char *verb)
{
	int e = errno;

	return KC_FAIL(e == ENOENT || e == ENOTDIR ? KC_ENOENT : KC_EIO, "%s: cannot %s: %s", path,
		       verb, strerror(e));
}

/* Grows *data as the file yields bytes, for the size a file claims may be wrong. */
static int read_all(int fd, const char *path, size_t limit, char **data, size_t *size)
{
	size_t room = 0;

	for (;;) {
		ssize_t got;

		if (*size == room) {
			char *more;

			room = KC_MIN(room ? room * 2 : 65536, limit + 1);
			more = kc_realloc(*data, room + 1, 1);
			if (!more)
				return KC_ENOMEM;
			*data = more;
		}
		got = read(fd, *data + *size, KC_MIN(room - *size, (size_t)CHUNK));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_path(path, "read");
		*size += (size_t)got;
		if (!got)
			break;
		if (*size > limit)
			return KC_FAIL(KC_EFORMAT, "%s: larger than %zu bytes", path, limit);
	}
	(*data)[*size] = 0;
	return 0;
}

int kc_file_read(const char *path, size_t limit, char **data, size_t *size)
{
	int fd, rc;

	KC_ASSERT(limit < SIZE_MAX / 4);
	*data = NULL;
	*size = 0;
	fd = open_file(path, O_RDONLY);
	if (fd < 0)
		return fail_path(path, "open");
	rc = read_all(fd, path, limit, data, size);
	close(fd);
	if (rc < 0) {
		free(*data);
		*data = NULL;
		*size = 0;
	}
	return rc;
}

static int map_fd(int fd, const char *path, struct kc_map *m)
{
	struct stat s;
	void *p;

	if (fstat(fd, &s) < 0)
		return fail_path(path, "read");
	if (!S_ISREG(s.st_mode))
		return KC_FAIL(KC_EIO, "%s: not a regular file", path);
	m->size = (size_t)s.st_size;
	if (!m->size)
		return 0;
	p = mmap(NULL, m->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return fail_path(path, "map");
	m->data = p;
	return 0;
}

int kc_map_open(const char *path, struct kc_map *m)
{
	int fd, rc;

	*m = (struct kc_map){0};
	fd = open_file(path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fail_path(path, "open");
	rc = map_fd(fd, path, m);
	close(fd);
	return rc;
}

void kc_map_close(struct kc_map *m)
{
	if (m->data)
		munmap((void *)(uintptr_t)m->data, m->size);
	*m = (struct kc_map){0};
}

void kc_map_forget(const struct kc_map *m, const void *data, size_t size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
	uintptr_t end = ((uintptr_t)data + size) / page * page;

	if (m && m->data && begin < end)
		madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* The folder part of path, "." if there is none, in a buffer of PATH_LIMIT bytes. */
static int parent_dir(const char *path, char *dir)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (n >= PATH_LIMIT)
		return KC_FAIL(KC_EINVAL, "%.60s...: path longer than %d bytes", path, PATH_LIMIT);
	if (!slash)
		memcpy(dir, ".", 2);
	else if (!n)
		memcpy(dir, "/", 2);
	else {
		memcpy(dir, path, n);
		dir[n] = 0;
	}
	return 0;
}

int kc_file_check_space(const char *path, uint64_t size)
{
	char dir[PATH_LIMIT];
	struct statvfs s;
	uint64_t free_bytes;

	KC_TRY(parent_dir(path, dir));
	if (statvfs(dir, &s) < 0)
		return fail_path(dir, "ask for free space");
	if (__builtin_mul_overflow((uint64_t)s.f_bavail, (uint64_t)s.f_frsize, &free_bytes))
		return 0;
	if (free_bytes < size)
		return KC_FAIL(KC_EIO, "%s: the disk is too full: %llu bytes needed, %llu free",
			       path, (unsigned long long)size, (unsigned long long)free_bytes);
	return 0;
}

static int sync_dir_of(const char *path)
{
	char dir[PATH_LIMIT];
	int fd, rc;

	KC_TRY(parent_dir(path, dir));
	fd = open_file(dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fail_path(dir, "open");
	rc = sync_file(fd);
	/* Some network file systems cannot sync a folder and say EINVAL. */
	if (rc < 0 && errno == EINVAL)
		rc = 0;
	if (rc < 0)
		rc = fail_path(dir, "make durable");
	close(fd);
	return rc;
}

int kc_writer_begin(struct kc_writer *w, const char *path, uint64_t size)
{
	*w = (struct kc_writer){.fd = -1};
	if (size)
		KC_TRY(kc_file_check_space(path, size));
	w->path = kc_strdup(path);
	w->temp = kc_format("%s.tmp", path);
	if (!w->path || !w->temp) {
		w->err = KC_ENOMEM;
	} else {
		w->fd = open_file(w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
		if (w->fd < 0)
			w->err = fail_path(w->temp, "create");
	}
	if (w->err) {
		int err = w->err;

		kc_writer_abort(w);
		return err;
	}
	return 0;
}

int kc_writer_write(struct kc_writer *w, const void *data, size_t size)
{
	const char *p = data;

	while (!w->err && size) {
		ssize_t done = write_some(w->fd, p, KC_MIN(size, (size_t)CHUNK));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			w->err = fail_path(w->path, "write");
		} else {
			p += done;
			size -= (size_t)done;
		}
	}
	return w->err;
}

static void release(struct kc_writer *w)
{
	free(w->path);
	free(w->temp);
	*w = (struct kc_writer){.fd = -1};
}

void kc_writer_abort(struct kc_writer *w)
{
	if (w->fd >= 0) {
		close(w->fd);
		unlink(w->temp);
	}
	release(w);
}

int kc_writer_commit(struct kc_writer *w)
{
	int fd = w->fd, rc = w->err;

	if (!rc && sync_file(fd) < 0)
		rc = fail_path(w->path, "make durable");
	w->fd = -1;
	if (close(fd) < 0 && !rc)
		rc = fail_path(w->path, "close");
	if (!rc && rename_file(w->temp, w->path) < 0)
		rc = fail_path(w->path, "rename into place");
	if (rc)
		unlink(w->temp);
	else
		rc = sync_dir_of(w->path);
	release(w);
	return rc;
}

int kc_file_write(const char *path, const void *data, size_t size)
{
	struct kc_writer w;

	KC_TRY(kc_writer_begin(&w, path, size));
	kc_writer_write(&w, data, size);
	return kc_writer_commit(&w);
}

bool kc_file_exists(const char *path)
{
	struct stat s;

	return !stat(path, &s) && !S_ISDIR(s.st_mode);
}

bool kc_dir_exists(const char *path)
{
	struct stat s;

	return !stat(path, &s) && S_ISDIR(s.st_mode);
}

int kc_file_remove(const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return fail_path(path, "remove");
	return 0;
}

static int make_one(const char *path)
{
	if (mkdir(path, 0777) == 0 || (errno == EEXIST && kc_dir_exists(path)))
		return 0;
	return fail_path(path, "make folder");
}

int kc_dir_make(const char *path)
{
	char *copy = kc_strdup(path);
	int rc = copy ? 0 : KC_ENOMEM;

	for (char *p = copy; !rc && p && *p; p++)
		if (*p == '/' && p > copy) {
			*p = 0;
			rc = make_one(copy);
			*p = '/';
		}
	if (!rc)
		rc = make_one(path);
	free(copy);
	return rc;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Compares the runs of digits at *a and *b by value and moves behind them. */
static int compare_runs(const char **a, const char **b)
{
	size_t n = 0, m = 0;
	int d;

	while (**a == '0')
		++*a;
	while (**b == '0')
		++*b;
	while (is_digit((*a)[n]))
		n++;
	while (is_digit((*b)[m]))
		m++;
	d = n != m ? (n < m ? -1 : 1) : memcmp(*a, *b, n);
	*a += n;
	*b += m;
	return d;
}

int kc_name_compare(const char *a, const char *b)
{
	const char *p = a, *q = b;

	while (*p && *q) {
		if (is_digit(*p) && is_digit(*q)) {
			int d = compare_runs(&p, &q);

			if (d)
				return d;
		} else if (*p != *q) {
			break;
		} else {
			p++;
			q++;
		}
	}
	if (*p != *q)
		return (unsigned char)*p < (unsigned char)*q ? -1 : 1;
	/* "f1" and "f01" are equal by value; the order must not depend on the folder. */
	return strcmp(a, b);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_value(const void *a, const void *b)
{
	return kc_name_compare(*(char *const *)a, *(char *const *)b);
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = suffix ? strlen(suffix) : 0;

	return n >= m && !memcmp(name + n - m, suffix ? suffix : "", m);
}

static int append_name(struct kc_names *names, const char *name)
{
	if (!(names->n & (names->n + 1))) {
		char **more = kc_realloc(names->v, 2 * (names->n + 1), sizeof *more);

		if (!more)
			return KC_ENOMEM;
		names->v = more;
	}
	names->v[names->n] = kc_strdup(name);
	return names->v[names->n++] ? 0 : KC_ENOMEM;
}

int kc_dir_list(const char *path, const char *suffix, enum kc_order order, struct kc_names *names)
{
	struct dirent *e;
	int rc = 0;
	DIR *d;

	*names = (struct kc_names){0};
	d = opendir(path);
	if (!d)
		return fail_path(path, "list");
	for (errno = 0; !rc && (e = readdir(d)); errno = 0)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && ends_in(e->d_name, suffix))
			rc = append_name(names, e->d_name);
	if (!rc && errno)
		rc = fail_path(path, "list");
	closedir(d);
	if (rc)
		kc_names_free(names);
	else if (names->n)
		qsort(names->v, names->n, sizeof *names->v,
		      order == KC_ORDER_BYTES ? by_bytes : by_value);
	return rc;
}

void kc_names_free(struct kc_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i]);
	free(names->v);
	*names = (struct kc_names){0};
}
