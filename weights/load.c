#include "weights/load.h"

#include "weights/seal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_IN_MESSAGE = 8 };

#define SUPPORTED "weights are read from .safetensors files"

/* --- what kind of file -------------------------------------------------------------- */

/* Where published weights are found, by a part of the usual file name. */
static const struct {
	const char *part, *where;
} published[] = {
	{"siggraph17", "published as siggraph17-df00044c.pth on "
		       "colorizers.s3.us-east-2.amazonaws.com, linked from github.com/richzhang/"
		       "colorization"},
	{"colorization_release_v2", "published as colorization_release_v2-9b330a0b.pth on "
				    "colorizers.s3.us-east-2.amazonaws.com, linked from "
				    "github.com/richzhang/colorization"},
	{"FlowNet2", "published as FlowNet2_checkpoint.pth.tar, linked in the README of "
		     "github.com/NVIDIA/flownet2-pytorch"},
	{"80000_G", "published as 80000_G.pth, linked in the README of TCVC, "
		    "github.com/lyh-18/TCVC-Temporally-Consistent-Video-Colorization"},
};

static const char *find_published(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < KC_COUNT(published); i++)
		if (strstr(name, published[i].part))
			return published[i].where;
	return NULL;
}

static int fail_missing(const char *path)
{
	const char *where = find_published(path);

	if (!where)
		return KC_FAIL(KC_ENOENT, "%s: no such file", path);
	return KC_FAIL(KC_ENOENT, "%s: no such file; it is %s; " SUPPORTED, path, where);
}

static bool starts(const struct kc_map *m, const char *text, size_t n)
{
	return m->size >= n && !memcmp(m->data, text, n);
}

/* A page or an XML error message that a download saved in place of the file. */
static bool is_page(const struct kc_map *m)
{
	size_t i = 0;

	while (i < m->size && isspace(m->data[i]))
		i++;
	return i < m->size && m->data[i] == '<';
}

/* Refuses what is recognised as another kind of file. */
static int check_kind(const char *path, const struct kc_map *m)
{
	static const char legacy[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
	const char *where = find_published(path);

	if (!m->size)
		return KC_FAIL(KC_EFORMAT, "%s: an empty file", path);
	if (starts(m, "version https://git-lfs", 23))
		return KC_FAIL(KC_ENOSUP, "%s: a Git LFS pointer, not the weights: fetch the file "
			       "itself with git lfs pull", path);
	if (is_page(m))
		return KC_FAIL(KC_ENOSUP, "%s: a web page, not weights: the download went wrong"
			       "%s%s", path, where ? "; the file is " : "", where ? where : "");
	if (starts(m, "PK\3\4", 4) || starts(m, legacy, sizeof legacy - 1))
		return KC_FAIL(KC_ENOSUP, "%s: a PyTorch file; " SUPPORTED ", save its state_dict "
			       "as one%s%s", path, where ? "; this one is " : "",
			       where ? where : "");
	if (starts(m, "\x89HDF\r\n\x1a\n", 8))
		return KC_FAIL(KC_ENOSUP, "%s: an HDF5 file; " SUPPORTED, path);
	return 0;
}

int kc_load_open(const char *path, struct kc_st *f)
{
	struct kc_map map;
	int rc = kc_map_open(path, &map);

	*f = (struct kc_st){0};
	if (rc == KC_ENOENT)
		return fail_missing(path);
	KC_TRY(rc);
	rc = check_kind(path, &map);
	kc_map_close(&map);
	if (rc >= 0)
		rc = kc_st_open(path, f);
	if (rc >= 0)
		rc = kc_seal_check(f, NULL);
	if (rc < 0)
		kc_st_close(f);
	return KC_MIN(rc, 0);
}

/* --- names and shapes --------------------------------------------------------------- */

/* The tensor of each destination, which tensors are used, and what did not match. */
struct match {
	const struct kc_st_tensor **tensor;
	bool *used;
	char *lists;
};

static int find_tensor(const struct kc_st *f, const char *name, const struct kc_st_tensor **t)
{
	char *prefixed = kc_format("module.%s", name);
	const struct kc_st_tensor *other;

	if (!prefixed)
		return KC_ENOMEM;
	*t = kc_st_find(f, name);
	other = kc_st_find(f, prefixed);
	free(prefixed);
	if (*t && other)
		return KC_FAIL(KC_EFORMAT, "%s: holds \"%s\" with and without the prefix module.",
			       f->path, name);
	if (!*t)
		*t = other;
	return 0;
}

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

static int check_shape(const struct kc_st *f, const struct kc_st_tensor *t,
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

static int match_names(const struct kc_st *f, const struct kc_load_dest *dests, size_t n,
		       struct match *m)
{
	m->tensor = kc_calloc(n, sizeof *m->tensor);
	m->used = kc_calloc(f->n, sizeof *m->used);
	if (!m->tensor || !m->used)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		KC_TRY(find_tensor(f, dests[i].name, &m->tensor[i]));
		if (!m->tensor[i])
			continue;
		KC_TRY(check_shape(f, m->tensor[i], &dests[i]));
		m->used[m->tensor[i] - f->tensors] = true;
	}
	return 0;
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

static void put_lists(FILE *out, const struct kc_st *f, const struct kc_load_dest *dests, size_t n,
		      const struct match *m)
{
	size_t missing = 0, unexpected = 0;

	for (size_t i = 0; i < n; i++)
		if (!m->tensor[i] && !may_be_missing(dests[i].name))
			put_name(out, "missing: ", missing++, dests[i].name);
	put_rest(out, missing);
	for (size_t i = 0; i < f->n; i++)
		if (!m->used[i])
			put_name(out, missing ? "; unexpected: " : "unexpected: ", unexpected++,
				 f->tensors[i].name);
	put_rest(out, unexpected);
}

/* m->lists becomes the text of both lists, empty when all matched. */
static int make_lists(const struct kc_st *f, const struct kc_load_dest *dests, size_t n,
		      struct match *m)
{
	size_t size;
	FILE *out = open_memstream(&m->lists, &size);

	if (out)
		put_lists(out, f, dests, n, m);
	if (!out || fclose(out))
		return KC_FAIL(KC_ENOMEM, "out of memory for a list of names");
	return 0;
}

static int copy_values(const struct kc_st *f, const struct kc_st_tensor *t, float *data)
{
	KC_TRY(kc_st_read_f32(t, data, t->count));
	for (size_t i = 0; i < t->count; i++)
		if (!isfinite(data[i]))
			return KC_FAIL(KC_ENUMERIC, "%s: \"%s\"[%zu] is not finite as float32",
				       f->path, t->name, i);
	return 0;
}

static int load_matched(const struct kc_st *f, const struct kc_load_dest *dests, size_t n,
			bool strict, struct match *m)
{
	KC_TRY(match_names(f, dests, n, m));
	KC_TRY(make_lists(f, dests, n, m));
	if (strict && m->lists[0])
		return KC_FAIL(KC_EFORMAT, "%s: not the weights of this network: %s", f->path,
			       m->lists);
	for (size_t i = 0; i < n; i++)
		if (m->tensor[i])
			KC_TRY(copy_values(f, m->tensor[i], dests[i].data));
	return 0;
}

int kc_load_tensors(const struct kc_st *f, const struct kc_load_dest *dests, size_t n, bool strict,
		    char **remarks)
{
	struct match m = {0};
	int rc = load_matched(f, dests, n, strict, &m);

	KC_ASSERT(strict || remarks);
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

int kc_load_file(const char *path, const struct kc_load_dest *dests, size_t n, bool strict,
		 char **remarks)
{
	struct kc_st f;
	int rc;

	if (remarks)
		*remarks = NULL;
	KC_TRY(kc_load_open(path, &f));
	rc = kc_load_tensors(&f, dests, n, strict, remarks);
	kc_st_close(&f);
	return rc;
}
