/* The parent's side: starts the reader, takes its records, and checks every one of them. */
#include "weights/h5_private.h"

#include "core/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

bool kc_h5_is(const void *data, size_t size)
{
	return size >= sizeof signature && !memcmp(data, signature, sizeof signature);
}

/* ---- records ---- */

static int take(FILE *in, void *to, size_t n)
{
	return fread(to, 1, n, in) == n ? 0 : KC_FAIL(KC_EFORMAT, "the HDF5 library gave up on it");
}

/* A text of n bytes, to be freed; NULL on failure. */
static int take_text(FILE *in, uint64_t n, uint64_t limit, char **text)
{
	*text = NULL;
	if (n > limit)
		return KC_FAIL(KC_EFORMAT, "a text of %llu bytes", (unsigned long long)n);
	*text = kc_calloc((size_t)n + 1, 1);
	if (!*text)
		return KC_ENOMEM;
	if (take(in, *text, (size_t)n) < 0) {
		free(*text);
		*text = NULL;
		return KC_EFORMAT;
	}
	return 0;
}

/* Room for one more; lists grow by doubling. */
static int grow(void **list, size_t n, size_t size)
{
	void *grown;

	if (n >= KC_H5_MOST)
		return KC_FAIL(KC_EFORMAT, "more than %d entries", KC_H5_MOST);
	if (n & (n - 1))
		return 0;
	grown = kc_realloc(*list, n ? 2 * n : 1, size);
	if (!grown)
		return KC_ENOMEM;
	*list = grown;
	return 0;
}

/* *room: what may still come out of the file's chunks, of all tensors together. */
static int check_record(const struct kc_h5_record *r, const struct kc_map *map, uint64_t *room,
			struct kc_st_tensor *t)
{
	if (r->dtype >= KC_ST_N_DTYPES || r->ndim > KC_ST_DIMS)
		return KC_FAIL(KC_EFORMAT, "its type or shape is none");
	t->dtype = (enum kc_st_dtype)r->dtype;
	t->ndim = (int)r->ndim;
	memcpy(t->dim, r->dim, sizeof t->dim);
	if (!kc_st_measure_tensor(t))
		return KC_FAIL(KC_EFORMAT, "its shape is too large");
	if (r->own ? r->own != t->bytes || t->bytes / KC_H5_INFLATION > *room
		   : t->bytes && (r->at > map->size || t->bytes > map->size - r->at))
		return KC_FAIL(KC_EFORMAT, "its %zu bytes are not in the file", t->bytes);
	*room -= r->own / KC_H5_INFLATION;
	return 0;
}

static int check_sum(const struct kc_st_tensor *t, const char *said)
{
	char sum[17];

	if (!t->bytes || !said[0])
		return 0;
	snprintf(sum, sizeof sum, "%016llx",
		 (unsigned long long)kc_hash64(t->data, t->bytes, 0));
	return strcmp(said, sum) ? KC_FAIL(KC_EFORMAT, "damaged: its checksum differs") : 0;
}

static int take_data(FILE *in, const struct kc_h5_record *r, const struct kc_map *map,
		     uint64_t *room, struct kc_st_tensor *t, void **own)
{
	KC_TRY(check_record(r, map, room, t));
	if (!r->own) {
		t->data = t->bytes ? map->data + r->at : NULL;
		return 0;
	}
	*own = kc_alloc(t->bytes);
	if (!*own)
		return KC_ENOMEM;
	t->data = *own;
	return take(in, *own, t->bytes);
}

static int take_tensor(FILE *in, const struct kc_h5_record *r, uint64_t *room, struct kc_h5 *f)
{
	void *tensors = f->tensors, *own = f->own;
	char *name, *sum = NULL;
	int rc;

	KC_TRY(grow(&tensors, f->n, sizeof *f->tensors));
	f->tensors = tensors;
	KC_TRY(grow(&own, f->n, sizeof *f->own));
	f->own = own;
	rc = take_text(in, r->text[0], KC_H5_NAME, &name);
	f->tensors[f->n] = (struct kc_st_tensor){.name = name};
	f->own[f->n++] = NULL;
	if (rc >= 0)
		rc = take_text(in, r->text[1], KC_H5_NAME, &sum);
	if (rc >= 0)
		rc = take_data(in, r, &f->map, room, &f->tensors[f->n - 1], &f->own[f->n - 1]);
	if (rc >= 0)
		rc = check_sum(&f->tensors[f->n - 1], sum);
	free(sum);
	return rc < 0 && name ? kc_cause(rc, "\"%s\"", name) : rc;
}

static int take_note(FILE *in, const struct kc_h5_record *r, struct kc_h5 *f)
{
	void *notes = f->notes;
	char *key, *value = NULL;
	int rc;

	KC_TRY(grow(&notes, f->n_notes, sizeof *f->notes));
	f->notes = notes;
	rc = take_text(in, r->text[0], KC_H5_NAME, &key);
	if (rc >= 0)
		rc = take_text(in, r->text[1], KC_MIN((size_t)KC_H5_NOTE_LIMIT, f->map.size),
			       &value);
	f->notes[f->n_notes++] = (struct kc_st_pair){key, value};
	return rc;
}

/* What went wrong, in the reader's words. */
static int take_end(FILE *in, const struct kc_h5_record *r)
{
	char *message;
	int rc;

	if (!r->err)
		return 0;
	KC_TRY(take_text(in, r->text[0], 4 * KC_H5_NAME, &message));
	rc = KC_FAIL(r->err <= -KC_ESTOP ? -(int)r->err : KC_EFORMAT, "%s", message);
	free(message);
	return rc;
}

int kc_h5_receive(FILE *in, struct kc_h5 *f)
{
	uint64_t room = f->map.size;
	struct kc_h5_record r;

	for (;;) {
		KC_TRY(take(in, &r, sizeof r));
		switch (r.kind) {
		case KC_H5_TENSOR: KC_TRY(take_tensor(in, &r, &room, f)); break;
		case KC_H5_NOTE: KC_TRY(take_note(in, &r, f)); break;
		case KC_H5_END: return take_end(in, &r);
		default: return KC_FAIL(KC_EFORMAT, "the HDF5 library gave up on it");
		}
	}
}

/* ---- the reader's process ---- */

/* Bytes of address space in use; 0 when the system does not tell. */
static uint64_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	char text[32] = "";

	if (!f)
		return 0;
	if (!fgets(text, sizeof text, f))
		text[0] = '\0';
	fclose(f);
	return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void limit(int resource, uint64_t most)
{
	const struct rlimit l = {most, most};

	setrlimit(resource, &l);
}

/* The reader ends in time, takes no more memory than the file can ask for, and dumps no core. */
static void limit_reader(size_t file_size)
{
	uint64_t now = address_space();

	limit(RLIMIT_CPU, 1 + file_size / (10 << 20));
	alarm((unsigned)KC_MIN(30 + file_size / (1 << 20), (size_t)3600));
	limit(RLIMIT_CORE, 0);
	if (now)
		limit(RLIMIT_AS, now + (256 << 20) + 64 * (uint64_t)file_size);
}

static int start(const char *path, size_t file_size, pid_t *child, FILE **in)
{
	int ends[2];

	if (pipe(ends))
		return KC_FAIL(KC_EIO, "cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	*child = fork();
	if (*child == 0) {
		close(ends[0]);
		limit_reader(file_size);
		kc_h5_confine(ends[1]);
		kc_h5_send(path, file_size, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	*in = *child > 0 ? fdopen(ends[0], "rb") : NULL;
	if (*in)
		return 0;
	close(ends[0]);
	return KC_FAIL(KC_EIO, "cannot start a reader: %s", strerror(errno));
}

static int read_records(struct kc_h5 *f)
{
	pid_t child = 0;
	FILE *in;
	int rc = start(f->path, f->map.size, &child, &in);

	if (rc >= 0) {
		rc = kc_h5_receive(in, f);
		fclose(in);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return rc;
}

static int compare_names(const void *a, const void *b)
{
	const struct kc_st_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* From here on own and tensors do not belong together by index. */
static int sort(struct kc_h5 *f)
{
	if (f->n)
		qsort(f->tensors, f->n, sizeof *f->tensors, compare_names);
	for (size_t i = 1; i < f->n; i++)
		if (!compare_names(&f->tensors[i - 1], &f->tensors[i]))
			return KC_FAIL(KC_EFORMAT, "\"%s\" twice", f->tensors[i].name);
	return 0;
}

int kc_h5_open(const char *path, struct kc_h5 *f)
{
	int rc;

	*f = (struct kc_h5){0};
	KC_TRY(kc_map_open(path, &f->map));
	f->path = kc_strdup(path);
	rc = f->path ? 0 : KC_ENOMEM;
	if (!rc && !kc_h5_is(f->map.data, f->map.size))
		rc = KC_FAIL(KC_EFORMAT, "no HDF5 file");
	if (!rc)
		rc = read_records(f);
	if (rc >= 0)
		rc = sort(f);
	if (rc < 0) {
		kc_cause(rc, "%s", path);
		kc_h5_close(f);
		return rc;
	}
	return 0;
}

void kc_h5_close(struct kc_h5 *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free((void *)(uintptr_t)f->tensors[i].name);
		free(f->own[i]);
	}
	for (size_t i = 0; i < f->n_notes; i++) {
		free((void *)(uintptr_t)f->notes[i].key);
		free((void *)(uintptr_t)f->notes[i].value);
	}
	free(f->tensors);
	free(f->own);
	free(f->notes);
	free(f->path);
	kc_map_close(&f->map);
	*f = (struct kc_h5){0};
}
