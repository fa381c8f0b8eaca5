#include "train/saved.h"

#include "train/perceptual.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The arrays of the store that are saved, by the prefix of their tensors' names. */
struct array {
	const char *prefix; /* "" for parameters */
	void *data;
	bool trainable_only;
};

static bool is_saved(const struct kc_param *p)
{
	return strncmp(p->name, "flow.", 5) &&
	       strncmp(p->name, KC_VGG_PREFIX, strlen(KC_VGG_PREFIX));
}

static int describe(const struct kc_params *s, const struct array *a, struct kc_st_item *items,
		    size_t *n)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct kc_param *p = s->v[i];
		struct kc_st_item *item = &items[*n];

		if (!is_saved(p) || (a->trainable_only && !p->trainable))
			continue;
		item->name = kc_format("%s%s", a->prefix, p->name);
		if (!item->name)
			return KC_ENOMEM;
		item->dtype = s->dtype == KC_F64 ? KC_ST_F64 : KC_ST_F32;
		item->ndim = p->type.ndim;
		memcpy(item->dim, p->type.dim, (size_t)p->type.ndim * sizeof *item->dim);
		item->data = kc_param_array(p, a->data).data;
		++*n;
	}
	return 0;
}

static void free_names(struct kc_st_item *items, size_t n)
{
	for (size_t i = 0; items && i < n; i++)
		free((char *)items[i].name);
	free(items);
}

static size_t state_arrays(const struct kc_params *s, bool rival, struct array a[3])
{
	size_t n = 0;

	if (s->moment1)
		a[n++] = (struct array){rival ? "D.moment1." : "moment1.", s->moment1, true};
	if (s->moment2)
		a[n++] = (struct array){rival ? "D.moment2." : "moment2.", s->moment2, true};
	if (s->ema)
		a[n++] = (struct array){rival ? "D.ema." : "ema.", s->ema, true};
	return n;
}

/* The model with the averaged weights in place of the trained ones. */
static int describe_ema(const struct kc_params *s, struct kc_st_item *items, size_t *n)
{
	const struct array master = {"", s->master, false};

	KC_TRY(describe(s, &master, items, n));
	for (size_t i = 0; i < *n; i++) {
		const struct kc_param *p = kc_params_find(s, items[i].name);

		if (p->trainable)
			items[i].data = kc_param_array(p, s->ema).data;
	}
	return 0;
}

struct contents {
	struct kc_st_item *model, *ema, *rival, *state;
	size_t n_model, n_ema, n_rival, n_state;
};

static int gather_state(const struct kc_params *s, bool rival, struct contents *c)
{
	struct array arrays[3];
	size_t n = state_arrays(s, rival, arrays);

	for (size_t i = 0; i < n; i++)
		KC_TRY(describe(s, &arrays[i], c->state, &c->n_state));
	return 0;
}

static int gather_rival(const struct kc_params *s, struct contents *c)
{
	const struct array master = {"", s->master, false};

	c->rival = kc_calloc(s->n, sizeof *c->rival);
	if (!c->rival)
		return KC_ENOMEM;
	KC_TRY(describe(s, &master, c->rival, &c->n_rival));
	return gather_state(s, true, c);
}

static int gather(const struct kc_params *s, const struct kc_params *rival, struct contents *c)
{
	const struct array master = {"", s->master, false};

	c->model = kc_calloc(s->n, sizeof *c->model);
	c->ema = kc_calloc(s->n, sizeof *c->ema);
	c->state = kc_calloc(3 * (s->n + (rival ? rival->n : 0)), sizeof *c->state);
	if (!c->model || !c->ema || !c->state)
		return KC_ENOMEM;
	KC_TRY(describe(s, &master, c->model, &c->n_model));
	if (s->ema)
		KC_TRY(describe_ema(s, c->ema, &c->n_ema));
	KC_TRY(gather_state(s, false, c));
	return rival ? gather_rival(rival, c) : 0;
}

static int write_checkpoint(const struct kc_save_args *a, const struct contents *c,
			    const struct kc_progress *g)
{
	char width[32], mask_cent[32], temperature[32], hash[32];
	struct kc_checkpoint_part models[3] = {{"G", c->model, c->n_model}};
	const struct kc_note notes[] = {
		{"cursor", KC_NOTE_INT, g->cursor, 0, NULL},
		{"epoch", KC_NOTE_INT, g->epoch, 0, NULL},
		{"updates", KC_NOTE_INT, g->updates, 0, NULL},
		{"nan_total", KC_NOTE_INT, g->nan_total, 0, NULL},
		{"nan_row", KC_NOTE_INT, g->nan_row, 0, NULL},
		{"seed", KC_NOTE_INT, a->seed, 0, NULL},
		{"config", KC_NOTE_TEXT, 0, 0, hash},
		{"updates_D", KC_NOTE_INT, g->updates_d, 0, NULL},
	};
	struct kc_st_pair about[8] = {
		{"model", a->network},
		{"width", width},
		{"mask_cent", mask_cent},
		{"config", hash},
		{"license", "the trainer's; trained with Kinemacolor"},
	};
	size_t n_about = 5;
	struct kc_checkpoint k;

	if (a->temperature > 0)
		about[n_about++] = (struct kc_st_pair){"temperature", temperature};
	if (a->key_net)
		about[n_about++] = (struct kc_st_pair){"key_net", a->key_net};
	k = (struct kc_checkpoint){
		.iter = g->iter,
		.run = hash,
		.models = models,
		.n_models = 1,
		.state = {NULL, c->state, c->n_state},
		.notes = notes,
		.n_notes = KC_COUNT(notes) - (c->n_rival ? 0 : 1),
		.about = about,
		.n_about = n_about,
	};

	if (c->n_ema)
		models[k.n_models++] = (struct kc_checkpoint_part){"Gema", c->ema, c->n_ema};
	if (c->n_rival)
		models[k.n_models++] = (struct kc_checkpoint_part){"D", c->rival, c->n_rival};
	snprintf(width, sizeof width, "%.17g", a->width);
	snprintf(mask_cent, sizeof mask_cent, "%.17g", a->mask_cent);
	snprintf(temperature, sizeof temperature, "%.17g", a->temperature);
	snprintf(hash, sizeof hash, "%016" PRIx64, a->config_hash);
	return kc_checkpoint_save(a->dir, &k, &a->retention);
}

int kc_progress_save(const struct kc_save_args *a, struct kc_params *s,
		     const struct kc_progress *g)
{
	struct contents c = {0};
	int rc = kc_params_to_host(s);

	if (!rc && a->rival)
		rc = kc_params_to_host(a->rival);
	if (!rc)
		rc = gather(s, a->rival, &c);
	if (!rc)
		rc = write_checkpoint(a, &c, g);
	free_names(c.model, c.n_model);
	free_names(c.ema, c.n_ema);
	free_names(c.rival, c.n_rival);
	free_names(c.state, c.n_state);
	return rc;
}

/* ---- back ---- */

static int read_array(const struct kc_params *s, const struct array *a, const struct kc_st *f)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct kc_param *p = s->v[i];
		const struct kc_st_tensor *t;
		struct kc_buf b;
		char name[512];
		size_t count = (size_t)kc_numel(&p->type);

		if (!is_saved(p) || (a->trainable_only && !p->trainable))
			continue;
		snprintf(name, sizeof name, "%s%s", a->prefix, p->name);
		t = kc_st_find(f, name);
		if (!t)
			return KC_FAIL(KC_EFORMAT, "%s: tensor %s is missing", f->path, name);
		b = kc_param_array(p, a->data);
		KC_TRY(s->dtype == KC_F64 ? kc_st_read_f64(t, b.data, count)
					  : kc_st_read_f32(t, b.data, count));
	}
	return 0;
}

static int check_config(const struct kc_save_args *a, const struct kc_saved *k)
{
	const char *saved = kc_saved_text(k, "config");
	char hash[32];

	snprintf(hash, sizeof hash, "%016" PRIx64, a->config_hash);
	if (saved && !strcmp(saved, hash))
		return 0;
	return KC_FAIL(KC_ECONFIG,
		       "%s: iteration %lld was trained under another configuration; give the "
		       "run another name, or take back the changes that affect results",
		       a->dir, (long long)k->iter);
}

/* Parameters from the model of that suffix, and their state. */
static int read_store(const struct kc_save_args *a, struct kc_params *s, bool rival,
		      const struct kc_saved *k)
{
	const struct array master = {"", s->master, false};
	const char *suffix = rival ? "D" : "G";
	const struct kc_st *model = kc_saved_model(k, suffix);
	struct array arrays[3];
	size_t n = state_arrays(s, rival, arrays);

	if (!model)
		return KC_FAIL(KC_EFORMAT, "%s: iteration %lld has no model %s", a->dir,
			       (long long)k->iter, suffix);
	KC_TRY(read_array(s, &master, model));
	for (size_t i = 0; i < n; i++)
		KC_TRY(read_array(s, &arrays[i], &k->state));
	for (size_t i = 0; i < s->n; i++)
		kc_param_changed(s->v[i]);
	return 0;
}

static int read_checkpoint(const struct kc_save_args *a, struct kc_params *s, struct kc_progress *g,
			   const struct kc_saved *k)
{
	KC_TRY(check_config(a, k));
	KC_TRY(read_store(a, s, false, k));
	if (a->rival) {
		KC_TRY(read_store(a, a->rival, true, k));
		KC_TRY(kc_saved_int(k, "updates_D", &g->updates_d));
	}
	g->iter = k->iter;
	KC_TRY(kc_saved_int(k, "cursor", &g->cursor));
	KC_TRY(kc_saved_int(k, "epoch", &g->epoch));
	KC_TRY(kc_saved_int(k, "updates", &g->updates));
	KC_TRY(kc_saved_int(k, "nan_total", &g->nan_total));
	return kc_saved_int(k, "nan_row", &g->nan_row);
}

int kc_progress_load(const struct kc_save_args *a, int64_t iter, struct kc_params *s,
		     struct kc_progress *g, struct kc_names *refused)
{
	struct kc_saved k;
	int rc = iter < 0 ? kc_checkpoint_latest(a->dir, &k, refused)
			  : kc_checkpoint_open(a->dir, iter, &k);

	if (rc < 0)
		return rc;
	rc = read_checkpoint(a, s, g, &k);
	kc_saved_close(&k);
	return rc;
}
