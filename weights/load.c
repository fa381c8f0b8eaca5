#include "weights/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_IN_MESSAGE = 8 };

/* --- names and shapes --------------------------------------------------------------- */

/* The tensor of each destination, which tensors are used, and what did not match. */
struct match {
	const char *part;       /* in front of the destinations' names in the file */
	const struct kc_st_tensor **tensor;
	bool *used;
	char *lists;
};

static void put_shape(char *text, size_t room, int ndim, const int64_t *dim)
{
	size_t at = 0;

	text[0] = 0;
	for (int i = 0; i < ndim && at < room; i++)
		at += (size_t)snprintf(text + at, room - at, "%s%lld", i ? "x" : "",
				       (long long)dim[i]);
	if (!ndim)
		snprintf(text, room, "scalar");
}

static int check_shape(const struct kc_weights *f, const struct kc_st_tensor *t,
		       const struct kc_load_dest *d)
{
	char is[8 * 24], needed[8 * 24];

	if (t->ndim == d->ndim &&
	    (!d->ndim || !memcmp(t->dim, d->dim, (size_t)d->ndim * sizeof *d->dim)))
		return 0;
	put_shape(is, sizeof is, t->ndim, t->dim);
	put_shape(needed, sizeof needed, d->ndim, d->dim);
	return KC_FAIL(KC_ESHAPE, "%s: \"%s\" is %s, the network needs %s", f->path, t->name, is,
		       needed);
}

/* The tensors of the destinations under one prefix; returns how many there are. */
static int match_part(const struct kc_weights *f, const struct kc_load_dest *dests, size_t n,
		      struct match *m)
{
	int found = 0;

	for (size_t i = 0; i < n; i++) {
		char *name = kc_format("%s%s", m->part, dests[i].name);
		int rc = name ? kc_weights_find(f, name, &m->tensor[i]) : KC_ENOMEM;

		free(name);
		KC_TRY(rc);
		found += m->tensor[i] != NULL;
	}
	return found;
}

static int match_names(const struct kc_weights *f, const struct kc_load_dest *dests, size_t n,
		       struct match *m)
{
	static const char *const parts[] = {"", "fea_key.", "flow."};
	int found = 0;

	m->tensor = kc_calloc(n, sizeof *m->tensor);
	m->used = kc_calloc(f->n, sizeof *m->used);
	if (!m->tensor || !m->used)
		return KC_ENOMEM;
	for (size_t i = 0; i < KC_COUNT(parts) && !found; i++) {
		m->part = parts[i];
		KC_TRY(found = match_part(f, dests, n, m));
	}
	if (!found)
		m->part = "";
	for (size_t i = 0; i < n; i++) {
		if (!m->tensor[i])
			continue;
		KC_TRY(check_shape(f, m->tensor[i], &dests[i]));
		m->used[m->tensor[i] - f->tensors] = true;
	}
	return 0;
}

/* A tensor that no destination takes, of the network that was asked for. */
static bool is_unexpected(const struct kc_weights *f, size_t i, const struct match *m)
{
	return !m->used[i] &&
	       !strncmp(kc_weights_bare(f->tensors[i].name), m->part, strlen(m->part));
}

static bool may_be_missing(const char *name)
{
	static const char counter[] = "num_batches_tracked";
	size_t n = strlen(name);

	return n >= sizeof counter - 1 && !strcmp(name + n - (sizeof counter - 1), counter);
}

/* Appends the count-th name of a list; only the first ones are spelled out. */
static void put_name(FILE *out, const char *title, size_t count, const char *name)
{
	if (count < NAMES_IN_MESSAGE)
		fprintf(out, "%s%s", count ? ", " : title, name);
}

static void put_rest(FILE *out, size_t count)
{
	if (count > NAMES_IN_MESSAGE)
		fprintf(out, " and %zu more", count - NAMES_IN_MESSAGE);
}

static void put_lists(FILE *out, const struct kc_weights *f, const struct kc_load_dest *dests,
		      size_t n, enum kc_load_mode mode, const struct match *m)
{
	size_t missing = 0, unexpected = 0;

	for (size_t i = 0; i < n; i++)
		if (!m->tensor[i] && !may_be_missing(dests[i].name))
			put_name(out, "missing: ", missing++, dests[i].name);
	put_rest(out, missing);
	for (size_t i = 0; i < f->n && mode != KC_LOAD_COMPLETE; i++)
		if (is_unexpected(f, i, m))
			put_name(out, missing ? "; unexpected: " : "unexpected: ", unexpected++,
				 f->tensors[i].name);
	put_rest(out, unexpected);
}

/* m->lists becomes the text of both lists, empty when all matched. */
static int make_lists(const struct kc_weights *f, const struct kc_load_dest *dests, size_t n,
		      enum kc_load_mode mode, struct match *m)
{
	size_t size;
	FILE *out = open_memstream(&m->lists, &size);

	if (out)
		put_lists(out, f, dests, n, mode, m);
	if (!out || fclose(out))
		return KC_FAIL(KC_ENOMEM, "out of memory for a list of names");
	return 0;
}

static int copy_values(const struct kc_weights *f, const struct kc_st_tensor *t, float *data)
{
	KC_TRY(kc_st_read_f32(t, data, t->count));
	kc_map_forget(f->map, t->data, t->bytes);
	for (size_t i = 0; i < t->count; i++)
		if (!isfinite(data[i]))
			return KC_FAIL(KC_ENUMERIC, "%s: \"%s\"[%zu] is not finite as float32",
				       f->path, t->name, i);
	return 0;
}

static int load_matched(const struct kc_weights *f, const struct kc_load_dest *dests, size_t n,
			enum kc_load_mode mode, struct match *m)
{
	KC_TRY(match_names(f, dests, n, m));
	KC_TRY(make_lists(f, dests, n, mode, m));
	if (mode != KC_LOAD_LOOSE && m->lists[0])
		return KC_FAIL(KC_EFORMAT, "%s: not the weights of this network: %s", f->path,
			       m->lists);
	for (size_t i = 0; i < n; i++)
		if (m->tensor[i])
			KC_TRY(copy_values(f, m->tensor[i], dests[i].data));
	return 0;
}

int kc_load_tensors(const struct kc_weights *f, const struct kc_load_dest *dests, size_t n,
		    enum kc_load_mode mode, char **remarks)
{
	struct match m = {0};
	int rc = load_matched(f, dests, n, mode, &m);

	KC_ASSERT(mode != KC_LOAD_LOOSE || remarks);
	if (remarks)
		*remarks = NULL;
	if (rc >= 0 && m.lists[0] && remarks) {
		*remarks = m.lists;
		m.lists = NULL;
	}
	free(m.tensor);
	free(m.used);
	free(m.lists);
	return rc;
}

int kc_load_file(const char *path, const struct kc_load_dest *dests, size_t n,
		 enum kc_load_mode mode, char **remarks)
{
	struct kc_weights f;
	int rc;

	if (remarks)
		*remarks = NULL;
	KC_TRY(kc_weights_open(path, &f));
	rc = kc_load_tensors(&f, dests, n, mode, remarks);
	kc_weights_close(&f);
	return rc;
}
