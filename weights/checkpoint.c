#include "weights/checkpoint.h"

#include "core/json.h"
#include "weights/seal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUFFIX_LENGTH = 16, SUFFIXES = 8 };

static const char *const folders[] = {"models", "training_state"};

static char *state_path(const char *dir, int64_t iter)
{
	return kc_format("%s/training_state/%lld.state", dir, (long long)iter);
}

static char *model_path(const char *dir, int64_t iter, const char *suffix)
{
	return kc_format("%s/models/%lld_%s.safetensors", dir, (long long)iter, suffix);
}

static bool is_suffix(const char *s, size_t n)
{
	if (!n || n > SUFFIX_LENGTH)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]))
			return false;
	return true;
}

/* --- saving ------------------------------------------------------------------------- */

/* Metadata under construction; owns its texts. */
struct meta {
	struct kc_st_pair *v;
	size_t n, room;
};

static int meta_add(struct meta *m, char *key, char *value)
{
	if (key && value && m->n == m->room) {
		struct kc_st_pair *more = kc_realloc(m->v, 2 * m->room + 16, sizeof *more);

		if (more) {
			m->v = more;
			m->room = 2 * m->room + 16;
		}
	}
	if (!key || !value || m->n == m->room) {
		free(key);
		free(value);
		return KC_ENOMEM;
	}
	m->v[m->n++] = (struct kc_st_pair){key, value};
	return 0;
}

static void meta_release(struct meta *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free((void *)(uintptr_t)m->v[i].key);
		free((void *)(uintptr_t)m->v[i].value);
	}
	free(m->v);
	*m = (struct meta){0};
}

static int add_common(struct meta *m, const struct kc_checkpoint *c)
{
	KC_TRY(meta_add(m, kc_strdup("iter"), kc_format("%lld", (long long)c->iter)));
	return meta_add(m, kc_strdup("run"), kc_strdup(c->run));
}

static int model_meta(struct meta *m, const struct kc_checkpoint *c)
{
	KC_TRY(add_common(m, c));
	for (size_t i = 0; i < c->n_about; i++)
		KC_TRY(meta_add(m, kc_strdup(c->about[i].key), kc_strdup(c->about[i].value)));
	return 0;
}

static char *note_text(const struct kc_note *note)
{
	switch (note->kind) {
	case KC_NOTE_INT:
		return kc_format("i %lld", (long long)note->integer);
	case KC_NOTE_REAL:
		return kc_format("r %a", note->real);
	case KC_NOTE_TEXT:
		return kc_format("t %s", note->text);
	}
	return NULL;
}

static int state_meta(struct meta *m, const struct kc_checkpoint *c, const uint64_t *digests)
{
	KC_TRY(add_common(m, c));
	for (size_t i = 0; i < c->n_models; i++)
		KC_TRY(meta_add(m, kc_format("model.%s", c->models[i].suffix),
				kc_format("%016llx", (unsigned long long)digests[i])));
	for (size_t i = 0; i < c->n_notes; i++)
		KC_TRY(meta_add(m, kc_format("note.%s", c->notes[i].name),
				note_text(&c->notes[i])));
	return 0;
}

static int check_finite(const struct kc_st_item *t)
{
	size_t bytes, n;

	KC_TRY(kc_st_item_bytes(t, &bytes));
	n = bytes / kc_st_dtype_size(t->dtype);
	for (size_t i = 0; i < n; i++) {
		bool bad = false;

		if (t->dtype == KC_ST_F32)
			bad = !isfinite(((const float *)t->data)[i]);
		else if (t->dtype == KC_ST_F64)
			bad = !isfinite(((const double *)t->data)[i]);
		else
			break;
		if (bad)
			return KC_FAIL(KC_ENUMERIC, "not saved: %s[%zu] is not finite", t->name, i);
	}
	return 0;
}

static int check_part(const struct kc_checkpoint_part *part)
{
	for (size_t i = 0; i < part->n; i++)
		KC_TRY(check_finite(&part->items[i]));
	return 0;
}

static int check_contents(const struct kc_checkpoint *c)
{
	if (c->iter < 0 || c->n_models > SUFFIXES)
		return KC_FAIL(KC_EINVAL, "checkpoint with iteration %lld and %zu models",
			       (long long)c->iter, c->n_models);
	for (size_t i = 0; i < c->n_models; i++) {
		const char *s = c->models[i].suffix;

		if (!is_suffix(s, strlen(s)))
			return KC_FAIL(KC_EINVAL, "model suffix \"%s\": letters and digits only",
				       s);
		KC_TRY(check_part(&c->models[i]));
	}
	return check_part(&c->state);
}

/* The bytes of all files together. */
static int measure(const struct kc_checkpoint *c, const struct meta *model,
		   const struct meta *state, uint64_t *total)
{
	KC_TRY(kc_seal_measure(c->state.items, c->state.n, state->v, state->n, total));
	for (size_t i = 0; i < c->n_models; i++) {
		const struct kc_checkpoint_part *m = &c->models[i];
		uint64_t bytes;

		KC_TRY(kc_seal_measure(m->items, m->n, model->v, model->n, &bytes));
		*total += bytes;
	}
	return 0;
}

static int check_space(const char *dir, const struct kc_checkpoint *c, const struct meta *model)
{
	uint64_t nothing[SUFFIXES] = {0}, total;
	struct meta state = {0};
	char *path = state_path(dir, c->iter);
	int rc = path ? state_meta(&state, c, nothing) : KC_ENOMEM;

	if (rc >= 0)
		rc = measure(c, model, &state, &total);
	if (rc >= 0)
		rc = kc_file_check_space(path, total);
	meta_release(&state);
	free(path);
	return rc;
}

static int make_dirs(const char *dir)
{
	for (size_t i = 0; i < KC_COUNT(folders); i++) {
		char *path = kc_format("%s/%s", dir, folders[i]);
		int rc = path ? kc_dir_make(path) : KC_ENOMEM;

		free(path);
		KC_TRY(rc);
	}
	return 0;
}

static int save_models(const char *dir, const struct kc_checkpoint *c, const struct meta *meta,
		       uint64_t *digests)
{
	for (size_t i = 0; i < c->n_models; i++) {
		const struct kc_checkpoint_part *m = &c->models[i];
		char *path = model_path(dir, c->iter, m->suffix);
		int rc = KC_ENOMEM;

		if (path)
			rc = kc_seal_save(path, m->items, m->n, meta->v, meta->n, &digests[i]);
		free(path);
		KC_TRY(rc);
	}
	return 0;
}

static int save_state(const char *dir, const struct kc_checkpoint *c, const uint64_t *digests)
{
	struct meta meta = {0};
	char *path = state_path(dir, c->iter);
	int rc = path ? state_meta(&meta, c, digests) : KC_ENOMEM;

	if (rc >= 0)
		rc = kc_seal_save(path, c->state.items, c->state.n, meta.v, meta.n, NULL);
	meta_release(&meta);
	free(path);
	return rc;
}

/* --- deleting ----------------------------------------------------------------------- */

/* The number that a file name starts with, if `tail` or more characters follow it. */
static bool parse_iter(const char *name, const char *tail, int64_t *iter)
{
	char *end;

	if (!isdigit((unsigned char)name[0]))
		return false;
	errno = 0;
	*iter = strtoll(name, &end, 10);
	return !errno && !strncmp(end, tail, strlen(tail));
}

/* Deletes the files of <dir>/<folder> that start with iter and tail. */
static int remove_files(const char *dir, const char *folder, int64_t iter, const char *tail)
{
	char *path = kc_format("%s/%s", dir, folder);
	struct kc_names names = {0};
	int rc = path ? kc_dir_list(path, NULL, KC_ORDER_BYTES, &names) : KC_ENOMEM;

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		int64_t found;

		if (parse_iter(names.v[i], tail, &found) && found == iter) {
			char *file = kc_format("%s/%s", path, names.v[i]);

			rc = file ? kc_file_remove(file) : KC_ENOMEM;
			free(file);
		}
	}
	kc_names_free(&names);
	free(path);
	return rc;
}

/* Iterations that have a state file, ascending. */
static int list_iters(const char *dir, int64_t **iters, size_t *n)
{
	char *path = kc_format("%s/training_state", dir);
	struct kc_names names = {0};
	int rc = path ? kc_dir_list(path, ".state", KC_ORDER_NATURAL, &names) : KC_ENOMEM;

	*n = 0;
	*iters = NULL;
	if (rc >= 0) {
		*iters = kc_calloc(names.n, sizeof **iters);
		rc = *iters ? 0 : KC_ENOMEM;
	}
	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		*n += parse_iter(names.v[i], ".state", &(*iters)[*n]);
	kc_names_free(&names);
	free(path);
	return rc;
}

/*
 * Models go before their state: if the deletion is cut short, the state stays listed and
 * the next save finishes it.
 */
static int remove_old(const char *dir, int64_t newest, const struct kc_retention *retention)
{
	int64_t *iters, kept = 0;
	size_t n;
	int rc;

	if (retention->keep <= 0)
		return 0;
	rc = list_iters(dir, &iters, &n);
	while (rc >= 0 && n--) {
		int64_t iter = iters[n];

		if (iter > newest || kept++ < retention->keep ||
		    (iter && iter == retention->best) ||
		    (retention->milestone > 0 && iter % retention->milestone == 0))
			continue;
		rc = remove_files(dir, "models", iter, "_");
		if (rc >= 0)
			rc = remove_files(dir, "training_state", iter, ".state");
	}
	free(iters);
	return rc;
}

/* What killed saves left behind. */
static int remove_temporary(const char *dir)
{
	int rc = 0;

	for (size_t f = 0; rc >= 0 && f < KC_COUNT(folders); f++) {
		char *path = kc_format("%s/%s", dir, folders[f]);
		struct kc_names names = {0};

		rc = path ? kc_dir_list(path, ".tmp", KC_ORDER_BYTES, &names) : KC_ENOMEM;
		for (size_t i = 0; rc >= 0 && i < names.n; i++) {
			char *file = kc_format("%s/%s", path, names.v[i]);

			rc = file ? kc_file_remove(file) : KC_ENOMEM;
			free(file);
		}
		kc_names_free(&names);
		free(path);
	}
	return rc;
}

/* Models without a state are no checkpoint: removes what a failed save wrote. */
static void remove_torn(const char *dir, int64_t iter)
{
	char *path = state_path(dir, iter);

	if (path && !kc_file_exists(path))
		remove_files(dir, "models", iter, "_");
	free(path);
}

static int save_files(const char *dir, const struct kc_checkpoint *c, const struct meta *meta)
{
	uint64_t digests[SUFFIXES] = {0};
	int rc = save_models(dir, c, meta, digests);

	if (rc >= 0)
		rc = save_state(dir, c, digests);
	if (rc < 0)
		remove_torn(dir, c->iter);
	return rc;
}

int kc_checkpoint_save(const char *dir, const struct kc_checkpoint *c,
		       const struct kc_retention *retention)
{
	struct meta meta = {0};
	int rc;

	KC_TRY(check_contents(c));
	KC_TRY(make_dirs(dir));
	rc = model_meta(&meta, c);
	if (rc >= 0)
		rc = check_space(dir, c, &meta);
	if (rc >= 0)
		rc = save_files(dir, c, &meta);
	meta_release(&meta);
	KC_TRY(rc);
	KC_TRY(remove_old(dir, c->iter, retention));
	return remove_temporary(dir);
}

/* --- reading ------------------------------------------------------------------------ */

/* Opens a sealed file and compares iteration and, if given, run. */
static int open_sealed(const char *path, int64_t iter, const char *run, struct kc_st *f,
		       uint64_t *digest)
{
	const char *text;
	int64_t found;
	int rc;

	KC_TRY(kc_st_open(path, f));
	rc = kc_seal_check(f, digest);
	if (rc == 0)
		rc = KC_FAIL(KC_EFORMAT, "%s: carries no checksums, so it is no checkpoint", path);
	if (rc < 0)
		return rc;
	text = kc_st_meta(f, "iter");
	if (!text || !parse_iter(text, "", &found) || found != iter)
		return KC_FAIL(KC_EFORMAT, "%s: holds iteration %.20s", path, text ? text : "none");
	text = kc_st_meta(f, "run");
	if (!text || (run && strcmp(run, text)))
		return KC_FAIL(KC_EFORMAT, "%s: belongs to run \"%.64s\", its state to \"%.64s\"",
			       path, text ? text : "", run ? run : "");
	return 0;
}

static int open_model(struct kc_saved *s, const char *dir, const char *suffix, const char *digest)
{
	struct kc_saved_model *m = &s->models[s->n_models];
	char expected[17], *path;
	uint64_t found = 0;
	int rc;

	m->suffix = kc_strdup(suffix);
	path = model_path(dir, s->iter, suffix);
	rc = m->suffix && path ? open_sealed(path, s->iter, kc_saved_run(s), &m->file, &found)
			       : KC_ENOMEM;
	s->n_models++;
	snprintf(expected, sizeof expected, "%016llx", (unsigned long long)found);
	if (rc >= 0 && strcmp(expected, digest))
		rc = KC_FAIL(KC_EFORMAT, "%s: belongs to another save than its state", path);
	free(path);
	return rc;
}

/* The state names its models: an entry "model.<suffix>" holds the digest of each. */
static int open_models(struct kc_saved *s, const char *dir)
{
	s->models = kc_calloc(SUFFIXES, sizeof *s->models);
	if (!s->models)
		return KC_ENOMEM;
	for (const struct kc_json *v = s->state.meta->first; v; v = v->next) {
		if (strncmp(v->key, "model.", 6))
			continue;
		if (s->n_models == SUFFIXES || !is_suffix(v->key + 6, strlen(v->key + 6)))
			return KC_FAIL(KC_EFORMAT, "%s: impossible entry \"%.32s\"", s->state.path,
				       v->key);
		KC_TRY(open_model(s, dir, v->key + 6, v->text));
	}
	return 0;
}

int kc_checkpoint_open(const char *dir, int64_t iter, struct kc_saved *s)
{
	char *path = state_path(dir, iter);
	int rc = KC_ENOMEM;

	*s = (struct kc_saved){.iter = iter};
	if (path)
		rc = open_sealed(path, iter, NULL, &s->state, NULL);
	if (rc >= 0)
		rc = open_models(s, dir);
	free(path);
	if (rc < 0)
		kc_saved_close(s);
	return rc;
}

/* Keeps the current error message in the list. */
static int note_refusal(struct kc_names *refused)
{
	char **more = kc_realloc(refused->v, refused->n + 1, sizeof *more);

	if (!more)
		return KC_ENOMEM;
	refused->v = more;
	more[refused->n] = kc_strdup(kc_errmsg());
	if (!more[refused->n])
		return KC_ENOMEM;
	refused->n++;
	return 0;
}

int kc_checkpoint_latest(const char *dir, struct kc_saved *s, struct kc_names *refused)
{
	int64_t *iters;
	size_t n;
	int rc = list_iters(dir, &iters, &n);

	*s = (struct kc_saved){0};
	*refused = (struct kc_names){0};
	if (rc >= 0)
		rc = KC_FAIL(n ? KC_EFORMAT : KC_ENOENT, "%s: no valid checkpoint", dir);
	while (n-- && rc != KC_ENOMEM) {
		rc = kc_checkpoint_open(dir, iters[n], s);
		if (rc >= 0 || rc == KC_ENOMEM)
			break;
		rc = note_refusal(refused);
		if (rc >= 0)
			rc = KC_FAIL(KC_EFORMAT, "%s: no valid checkpoint among %zu", dir,
				     refused->n);
	}
	free(iters);
	return rc;
}

void kc_saved_close(struct kc_saved *s)
{
	for (size_t i = 0; i < s->n_models; i++) {
		kc_st_close(&s->models[i].file);
		free(s->models[i].suffix);
	}
	free(s->models);
	kc_st_close(&s->state);
	*s = (struct kc_saved){0};
}

const struct kc_st *kc_saved_model(const struct kc_saved *s, const char *suffix)
{
	for (size_t i = 0; i < s->n_models; i++)
		if (!strcmp(s->models[i].suffix, suffix))
			return &s->models[i].file;
	return NULL;
}

/* The text of a note of that kind ('i', 'r' or 't'). */
static int find_note(const struct kc_saved *s, const char *name, char kind, const char **text)
{
	char *key = kc_format("note.%s", name);

	if (!key)
		return KC_ENOMEM;
	*text = kc_st_meta(&s->state, key);
	free(key);
	if (!*text)
		return KC_FAIL(KC_ENOENT, "%s: holds no value \"%s\"", s->state.path, name);
	if ((*text)[0] != kind || (*text)[1] != ' ')
		return KC_FAIL(KC_EFORMAT, "%s: the value \"%s\" is of another kind", s->state.path,
			       name);
	*text += 2;
	return 0;
}

int kc_saved_int(const struct kc_saved *s, const char *name, int64_t *value)
{
	const char *text;

	KC_TRY(find_note(s, name, 'i', &text));
	*value = strtoll(text, NULL, 10);
	return 0;
}

int kc_saved_real(const struct kc_saved *s, const char *name, double *value)
{
	const char *text;

	KC_TRY(find_note(s, name, 'r', &text));
	*value = strtod(text, NULL);
	return 0;
}

const char *kc_saved_text(const struct kc_saved *s, const char *name)
{
	const char *text;

	return find_note(s, name, 't', &text) < 0 ? NULL : text;
}

const char *kc_saved_run(const struct kc_saved *s)
{
	return kc_st_meta(&s->state, "run");
}
