#include "train/start.h"

#include "train/perceptual.h"

#include "models/eccv16.h"
#include "weights/formula.h"
#include "weights/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct start {
	const struct kc_config *c;
	struct kc_params *params;
	const struct kc_weights *model;         /* path.pretrain_model_G; or NULL */
	void (*say)(void *, const char *);
	void *own;
};

static int say(const struct start *s, char *text)
{
	if (!text)
		return KC_ENOMEM;
	s->say(s->own, text);
	free(text);
	return 0;
}

static bool begins_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* Whether a file of the keyframe network or of TCVC has that parameter of the former. */
static bool has_key(const struct kc_weights *w, const char *name)
{
	char inside[64];

	snprintf(inside, sizeof inside, "fea_key.%s", name);
	return kc_weights_has(w, name) || kc_weights_has(w, inside);
}

/* The name in a file of the network alone: without the prefix it has inside TCVC. */
static const char *bare_name(const struct kc_param *p, const char *prefix)
{
	return p->name + strlen(prefix);
}

static bool uses(const struct start *s, const char *prefix)
{
	for (size_t i = 0; i < s->params->n; i++)
		if (begins_with(s->params->v[i]->name, prefix))
			return true;
	return false;
}

/* FlowNet 2.0's are in the authors' files alone, the class head in those trained with it, VGG's in
 * none. */
static bool is_in(const struct kc_weights *w, const struct kc_param *p)
{
	static const char *const parts[] = {"flow.", "class_head.", KC_VGG_PREFIX};

	for (size_t i = 0; i < KC_COUNT(parts); i++)
		if (begins_with(p->name, parts[i]))
			return kc_weights_has(w, parts[i]);
	return true;
}

/* Parameters whose names begin with prefix, as destinations. */
static int destinations(const struct start *s, const struct kc_weights *w, const char *prefix,
			struct kc_load_dest **out, size_t *n)
{
	struct kc_load_dest *d = kc_calloc(s->params->n, sizeof *d);

	*n = 0;
	if (!d)
		return KC_ENOMEM;
	for (size_t i = 0; i < s->params->n; i++) {
		const struct kc_param *p = s->params->v[i];

		if (!begins_with(p->name, prefix) || (!prefix[0] && !is_in(w, p)))
			continue;
		d[(*n)++] = (struct kc_load_dest){bare_name(p, prefix), p->type.ndim, p->type.dim,
						  kc_param_master(p).data};
	}
	*out = d;
	return 0;
}

/* The other network's weights are named here, before dozens of missing tensors are. */
static int check_key_net(const struct start *s, const struct kc_weights *w)
{
	static const char *const signs[][2] = {
		[KC_TCVC_SIGGRAPH17] = {"siggraph17", "model10.1.weight"},
		[KC_TCVC_ECCV16] = {"eccv16", "model8.6.weight"},
	};
	int64_t wanted = s->c->network.key_net, other = KC_TCVC_ECCV16 - wanted;

	if (s->c->recipe != KC_RECIPE_TCVC || !has_key(w, signs[other][1]) ||
	    has_key(w, signs[wanted][1]))
		return 0;
	return KC_FAIL(KC_ECONFIG, "%s: the keyframe network is %s, network_G.key_net says %s",
		       w->path, signs[other][0], signs[wanted][0]);
}

/* The published eccv16 contains its temperature, and has no note of it. */
static int check_temperature(const struct start *s, const struct kc_weights *w)
{
	const char *note = kc_weights_note(w, "temperature");
	double given = s->c->network.temperature;

	if (!kc_config_uses_eccv16(s->c) || strtod(note ? note : "1", NULL) == given)
		return 0;
	return say(s, kc_format("%s: its temperature is %s, network_G.temperature takes %g instead",
				w->path, note ? note : "not told, so it should be 1", given));
}

static int load_from(const struct start *s, const struct kc_weights *w, const char *prefix,
		     const char *what)
{
	bool flow = kc_weights_has(w, "flow.");
	enum kc_load_mode mode = KC_LOAD_LOOSE;
	struct kc_load_dest *d;
	char *remarks = NULL;
	size_t n;
	int rc;

	if (strcmp(prefix, "flow.") && strcmp(prefix, KC_VGG_PREFIX)) {
		KC_TRY(check_key_net(s, w));
		KC_TRY(check_temperature(s, w));
	}
	/* Optical flow from elsewhere leaves the FlowNet 2.0 of a file of TCVC unused. */
	if (!strcmp(prefix, KC_VGG_PREFIX))     /* its file has the classifier, too */
		mode = KC_LOAD_COMPLETE;
	else if (s->c->path.strict_load)
		mode = !prefix[0] && flow && !uses(s, "flow.") ? KC_LOAD_COMPLETE : KC_LOAD_STRICT;
	KC_TRY(destinations(s, w, prefix, &d, &n));
	rc = kc_load_tensors(w, d, n, mode, &remarks);
	free(d);
	if (rc < 0)
		return kc_cause(rc, "%s", what);
	if (remarks)
		KC_TRY(say(s, remarks));
	return say(s, kc_format("%s: %s", what, w->path));
}

/* A frozen siggraph17 that sees another mask than in its training gives other colours. */
static int check_mask(const struct start *s, const struct kc_weights *w)
{
	const char *told = kc_weights_note(w, "mask_cent");

	if (s->c->network.key_net != KC_TCVC_SIGGRAPH17 || !told ||
	    strtod(told, NULL) == s->c->network.mask_cent)
		return 0;
	return KC_FAIL(KC_ECONFIG, "%s was trained with mask_cent %s, and network_G.mask_cent is "
		       "%g: make it the same", w->path, told, s->c->network.mask_cent);
}

static int load(const struct start *s, const char *path, const char *prefix, const char *what)
{
	struct kc_weights w;
	int rc = kc_weights_open(path, &w);

	if (rc < 0)
		return kc_cause(rc, "%s", what);
	if (!strcmp(prefix, "fea_key."))
		rc = check_mask(s, &w);
	if (rc >= 0)
		rc = load_from(s, &w, prefix, what);
	kc_weights_close(&w);
	return rc;
}

static const char *const formula_names[] = {
	[KC_RECIPE_TCVC] = "tcvc", [KC_RECIPE_IDC] = "siggraph17", [KC_RECIPE_CIC] = "eccv16",
};

static int fill_by_formula(const struct start *s, const char *prefix)
{
	const char *net = formula_names[s->c->recipe];

	for (size_t i = 0; i < s->params->n; i++) {
		struct kc_param *p = s->params->v[i];
		const struct kc_formula f = {.net = net,
					     .name = p->name,
					     .kind = p->kind,
					     .ndim = p->type.ndim,
					     .dim = p->type.dim,
					     .stride = p->stride};

		if (begins_with(p->name, prefix))
			KC_TRY(kc_formula_fill_f32(&f, kc_param_master(p).data));
	}
	return 0;
}

/*
 * A network that is not trained: from its file, or filled without one.  The start weights,
 * which follow, may hold it as well.
 */
static int start_frozen(const struct start *s, const char *prefix, const char *path,
			const char *key, const char *what)
{
	if (!uses(s, prefix) || (s->model && kc_weights_has(s->model, prefix)))
		return 0;
	if (s->c->network.initial == KC_INITIAL_RANDOM && strcmp(prefix, KC_VGG_PREFIX))
		return say(s, kc_format("%s: random weights, as network_G.init says", what));
	if (s->c->network.initial == KC_INITIAL_FORMULA) {
		KC_TRY(fill_by_formula(s, prefix));
		return say(
			s,
			kc_format("%s: weights filled by formula, good for tests and timings only",
				  what));
	}
	if (!path)
		return KC_FAIL(KC_ECONFIG, "%s: no weights; %s names no file", what, key);
	return load(s, path, prefix, what);
}

/* Of a network that a file or the formula fills anyway. */
static bool is_filled_later(const struct start *s, const struct kc_param *p)
{
	return s->c->recipe == KC_RECIPE_TCVC && s->c->network.initial != KC_INITIAL_RANDOM &&
	       (begins_with(p->name, "flow.") || begins_with(p->name, "fea_key."));
}

static int start_random(const struct start *s)
{
	static int (*const writers[])(struct kc_param *, const struct kc_init *) = {
		[KC_RECIPE_TCVC] = kc_init_default,
		[KC_RECIPE_IDC] = kc_init_normal,
		[KC_RECIPE_CIC] = kc_eccv16_init,
	};
	const struct kc_init init = {
		.write = writers[s->c->recipe],
		.seed = (uint64_t)s->c->seed,
	};

	for (size_t i = 0; i < s->params->n; i++) {
		struct kc_param *p = s->params->v[i];
		bool bins = kc_config_uses_eccv16(s->c) && begins_with(p->name, "fea_key.");

		if (!is_filled_later(s, p))
			KC_TRY(bins ? kc_eccv16_init(p, &init) : init.write(p, &init));
	}
	return 0;
}

static int fill_all(const struct start *s)
{
	const struct kc_config *c = s->c;

	KC_TRY(start_random(s));
	if (c->recipe != KC_RECIPE_TCVC && c->network.initial == KC_INITIAL_FORMULA) {
		KC_TRY(fill_by_formula(s, ""));
		KC_TRY(say(s, kc_format("%s: weights filled by formula, good for tests only",
					formula_names[c->recipe])));
	}
	if (c->recipe == KC_RECIPE_TCVC) {
		KC_TRY(start_frozen(s, "fea_key.", c->path.pretrain_key_net,
				    "path.pretrain_key_net", "keyframe network"));
		KC_TRY(start_frozen(s, "flow.", c->path.pretrain_flow, "path.pretrain_flow",
				    "FlowNet2"));
	}
	KC_TRY(start_frozen(s, KC_VGG_PREFIX, c->path.pretrain_vgg, "path.pretrain_vgg", "VGG"));
	return s->model ? load_from(s, s->model, "", "start weights") : 0;
}

int kc_start(const struct kc_config *c, struct kc_params *params,
	     void (*line)(void *, const char *), void *own)
{
	struct start s = {c, params, NULL, line, own};
	struct kc_weights model = {0};
	int rc = c->path.pretrain_model ? kc_weights_open(c->path.pretrain_model, &model) : 0;

	if (rc < 0)
		return kc_cause(rc, "start weights");
	if (c->path.pretrain_model)
		s.model = &model;
	rc = fill_all(&s);
	kc_weights_close(&model);
	if (rc < 0)
		return rc;
	if (params->ema)
		memcpy(params->ema, params->master,
		       params->trainable * kc_dtype_size(params->dtype));
	for (size_t i = 0; i < params->n; i++)
		kc_param_changed(params->v[i]);
	return 0;
}
