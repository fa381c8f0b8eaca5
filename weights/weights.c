#include "weights/weights.h"

#include "core/json.h"
#include "weights/h5.h"
#include "weights/pth.h"
#include "weights/seal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- what is no file of weights ------------------------------------------------------- */

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

	return KC_FAIL(KC_ENOENT, "%s: no such file%s%s", path, where ? "; it is " : "",
		       where ? where : "");
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

static int refuse_other(const char *path, const struct kc_map *m)
{
	const char *where = find_published(path);

	if (!m->size)
		return KC_FAIL(KC_EFORMAT, "%s: an empty file", path);
	if (starts(m, "version https://git-lfs", 23))
		return KC_FAIL(KC_ENOSUP, "%s: a Git LFS pointer, not the weights: fetch the file "
			       "itself with git lfs pull", path);
	if (is_page(m))
		return KC_FAIL(KC_ENOSUP, "%s: a web page, not weights: the download went wrong"
			       "%s%s", path, where ? "; the file is " : "", where ? where : "");
	return 0;
}

/* --- the formats ---------------------------------------------------------------------- */

struct st_file {
	struct kc_st st;
	struct kc_st_pair *notes;
};

static void close_st(void *file)
{
	struct st_file *f = file;

	kc_st_close(&f->st);
	free(f->notes);
	free(f);
}

static int read_st(const char *path, struct st_file *f, struct kc_weights *w)
{
	KC_TRY(kc_st_open(path, &f->st));
	KC_TRY(kc_seal_check(&f->st, NULL));
	f->notes = kc_calloc(f->st.meta ? f->st.meta->n : 0, sizeof *f->notes);
	if (!f->notes)
		return KC_ENOMEM;
	for (const struct kc_json *v = f->st.meta ? f->st.meta->first : NULL; v; v = v->next)
		f->notes[w->n_notes++] = (struct kc_st_pair){v->key, v->text};
	w->notes = f->notes;
	w->tensors = f->st.tensors;
	w->n = f->st.n;
	w->map = &f->st.map;
	return 0;
}

static int open_st(const char *path, struct kc_weights *w)
{
	struct st_file *f = kc_calloc(1, sizeof *f);

	if (!f)
		return KC_ENOMEM;
	w->file = f;
	w->close = close_st;
	return read_st(path, f, w);
}

struct pth_file {
	struct kc_pth pth;
	struct kc_st_tensor *tensors;
};

static void close_pth(void *file)
{
	struct pth_file *f = file;

	kc_pth_close(&f->pth);
	free(f->tensors);
	free(f);
}

/* The tensors of the state dict, without its own name in front. */
static int read_pth(const char *path, struct pth_file *f, struct kc_weights *w)
{
	size_t prefix;

	KC_TRY(kc_pth_open(path, &f->pth));
	f->tensors = kc_calloc(f->pth.n, sizeof *f->tensors);
	if (!f->tensors)
		return KC_ENOMEM;
	prefix = strlen(f->pth.root);
	for (size_t i = 0; i < f->pth.n; i++)
		if (!strncmp(f->pth.tensors[i].name, f->pth.root, prefix)) {
			f->tensors[w->n] = f->pth.tensors[i];
			f->tensors[w->n++].name += prefix;
		}
	w->tensors = f->tensors;
	w->notes = f->pth.leaves;
	w->n_notes = f->pth.n_leaves;
	w->map = &f->pth.map;
	w->format = f->pth.form;
	return 0;
}

static int open_pth(const char *path, struct kc_weights *w)
{
	struct pth_file *f = kc_calloc(1, sizeof *f);

	if (!f)
		return KC_ENOMEM;
	w->file = f;
	w->close = close_pth;
	return read_pth(path, f, w);
}

static bool is_pth(const struct kc_map *m)
{
	return kc_pth_is(m->data, m->size);
}

static void close_h5(void *file)
{
	kc_h5_close(file);
	free(file);
}

static int open_h5(const char *path, struct kc_weights *w)
{
	struct kc_h5 *f = kc_calloc(1, sizeof *f);

	if (!f)
		return KC_ENOMEM;
	w->file = f;
	w->close = close_h5;
	KC_TRY(kc_h5_open(path, f));
	w->tensors = f->tensors;
	w->n = f->n;
	w->notes = f->notes;
	w->n_notes = f->n_notes;
	w->map = &f->map;
	return 0;
}

static bool is_h5(const struct kc_map *m)
{
	return kc_h5_is(m->data, m->size);
}

static bool is_anything(const struct kc_map *m)
{
	return m->size;
}

/* Tried in order; open fills in what it has and leaves the rest to kc_weights_close. */
static const struct {
	const char *name;
	bool (*is)(const struct kc_map *);
	int (*open)(const char *path, struct kc_weights *);
} formats[] = {
	{"PyTorch", is_pth, open_pth},
	{"HDF5", is_h5, open_h5},
	{"safetensors", is_anything, open_st},
};

/* --- any of them ---------------------------------------------------------------------- */

static int compare_bare(const void *a, const void *b)
{
	const struct kc_st_tensor *const *x = a, *const *y = b;

	return strcmp(kc_weights_bare((*x)->name), kc_weights_bare((*y)->name));
}

static int sort_bare(struct kc_weights *w)
{
	w->by_bare = kc_calloc(w->n, sizeof *w->by_bare);
	if (!w->by_bare)
		return KC_ENOMEM;
	for (size_t i = 0; i < w->n; i++)
		w->by_bare[i] = &w->tensors[i];
	qsort(w->by_bare, w->n, sizeof *w->by_bare, compare_bare);
	return 0;
}

static int open_known(const char *path, const struct kc_map *m, struct kc_weights *w)
{
	size_t i = 0;

	KC_TRY(refuse_other(path, m));
	while (!formats[i].is(m))
		i++;
	w->format = formats[i].name;
	w->path = kc_strdup(path);
	KC_TRY(w->path ? formats[i].open(path, w) : KC_ENOMEM);
	KC_TRY(kc_names_adapt(w->tensors, w->n, &w->renamed));
	if (w->renamed.tensors)
		w->tensors = w->renamed.tensors;
	return sort_bare(w);
}

int kc_weights_open(const char *path, struct kc_weights *w)
{
	struct kc_map map;
	int rc = kc_map_open(path, &map);

	*w = (struct kc_weights){0};
	if (rc == KC_ENOENT)
		return fail_missing(path);
	KC_TRY(rc);
	rc = open_known(path, &map, w);
	kc_map_close(&map);
	if (rc < 0)
		kc_weights_close(w);
	return KC_MIN(rc, 0);
}

void kc_weights_close(struct kc_weights *w)
{
	if (w->close)
		w->close(w->file);
	kc_renamed_release(&w->renamed);
	free(w->told);
	free(w->by_bare);
	free(w->path);
	*w = (struct kc_weights){0};
}

/* The place in by_bare of the first bare name that is not below name. */
static size_t lower_bound(const struct kc_weights *w, const char *name)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(kc_weights_bare(w->by_bare[middle]->name), name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct kc_weights *w, size_t i, const char *name)
{
	return i < w->n && !strcmp(kc_weights_bare(w->by_bare[i]->name), name);
}

int kc_weights_find(const struct kc_weights *w, const char *name, const struct kc_st_tensor **t)
{
	size_t i = lower_bound(w, name);

	*t = is_at(w, i, name) ? w->by_bare[i] : NULL;
	if (*t && is_at(w, i + 1, name))
		return KC_FAIL(KC_EFORMAT, "%s: holds \"%s\" as \"%s\" and as \"%s\", with and "
			       "without the prefix of a wrapper", w->path, name, (*t)->name,
			       w->by_bare[i + 1]->name);
	return 0;
}

bool kc_weights_has(const struct kc_weights *w, const char *prefix)
{
	size_t i = lower_bound(w, prefix);

	return i < w->n &&
	       !strncmp(kc_weights_bare(w->by_bare[i]->name), prefix, strlen(prefix));
}

const char *kc_weights_note(const struct kc_weights *w, const char *key)
{
	for (size_t i = 0; i < w->n_notes; i++)
		if (!strcmp(w->notes[i].key, key))
			return w->notes[i].value;
	return NULL;
}

int kc_weights_tell(struct kc_weights *w, const char *key, const char *value)
{
	struct kc_st_pair *notes = kc_calloc(w->n_notes + 1, sizeof *notes);
	size_t n = 0;

	if (!notes)
		return KC_ENOMEM;
	for (size_t i = 0; i < w->n_notes; i++)
		if (strcmp(w->notes[i].key, key))
			notes[n++] = w->notes[i];
	notes[n++] = (struct kc_st_pair){key, value};
	free(w->told);
	w->notes = w->told = notes;
	w->n_notes = n;
	return 0;
}
