#include "train/start.h"

#include "models/init.h"
#include "weights/formula.h"
#include "weights/load.h"

#include <inttypes.h>
#include <stdlib.h>

struct start {
	const struct kc_config *c;
	struct kc_params *params;
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

/* The name in a file of the network alone: without the prefix it has inside TCVC. */
static const char *bare_name(const struct kc_param *p, const char *prefix)
{
	return p->name + strlen(prefix);
}

/* Parameters whose names begin with prefix, as destinations; FlowNet 2.0's are not in model files.
 */
static int destinations(const struct start *s, const char *prefix, struct kc_load_dest **out,
			size_t *n)
{
	struct kc_load_dest *d = kc_calloc(s->params->n, sizeof *d);

	*n = 0;
	if (!d)
		return KC_ENOMEM;
	for (size_t i = 0; i < s->params->n; i++) {
		const struct kc_param *p = s->params->v[i];

		if (!begins_with(p->name, prefix) || (!prefix[0] && begins_with(p->name, "flow.")))
			continue;
		d[(*n)++] = (struct kc_load_dest){bare_name(p, prefix), p->type.ndim, p->type.dim,
						  kc_param_master(p).data};
	}
	*out = d;
	return 0;
}

static int load(const struct start *s, const char *path, const char *prefix, bool strict,
		const char *what)
{
	struct kc_load_dest *d;
	char *remarks = NULL;
	size_t n;
	int rc = destinations(s, prefix, &d, &n);

	if (rc < 0)
		return rc;
	rc = kc_load_file(path, d, n, strict ? KC_LOAD_STRICT : KC_LOAD_LOOSE, &remarks);
	free(d);
	if (rc < 0)
		return kc_cause(rc, "%s", what);
	if (remarks)
		KC_TRY(say(s, remarks));
	return say(s, kc_format("%s: %s", what, path));
}

static int fill_by_formula(const struct start *s, const char *prefix)
{
	const char *net = s->c->recipe == KC_RECIPE_TCVC ? "tcvc" : "siggraph17";

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

/* A network that TCVC does not train: from its file, or filled without one. */
static int start_frozen(const struct start *s, const char *prefix, const char *path,
			const char *key, const char *what)
{
	bool used = false;

	for (size_t i = 0; i < s->params->n && !used; i++)
		used = begins_with(s->params->v[i]->name, prefix);
	if (!used)
		return 0;
	if (s->c->network.initial == KC_INITIAL_RANDOM)
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
	return load(s, path, prefix, s->c->path.strict_load, what);
}

/* Of a network that a file or the formula fills anyway. */
static bool is_filled_later(const struct start *s, const struct kc_param *p)
{
	return s->c->recipe == KC_RECIPE_TCVC && s->c->network.initial != KC_INITIAL_RANDOM &&
	       (begins_with(p->name, "flow.") || begins_with(p->name, "fea_key."));
}

static int start_random(const struct start *s)
{
	const struct kc_init init = {
		.write = s->c->recipe == KC_RECIPE_IDC ? kc_init_normal : kc_init_default,
		.seed = (uint64_t)s->c->seed,
	};

	for (size_t i = 0; i < s->params->n; i++)
		if (!is_filled_later(s, s->params->v[i]))
			KC_TRY(init.write(s->params->v[i], &init));
	return 0;
}

int kc_start(const struct kc_config *c, struct kc_params *params,
	     void (*line)(void *, const char *), void *own)
{
	const struct start s = {c, params, line, own};

	KC_TRY(start_random(&s));
	if (c->recipe == KC_RECIPE_IDC && c->network.initial == KC_INITIAL_FORMULA) {
		KC_TRY(fill_by_formula(&s, ""));
		KC_TRY(say(
			&s,
			kc_format("siggraph17: weights filled by formula, good for tests only")));
	}
	if (c->recipe == KC_RECIPE_TCVC) {
		KC_TRY(start_frozen(&s, "fea_key.", c->path.pretrain_key_net,
				    "path.pretrain_key_net", "keyframe network"));
		KC_TRY(start_frozen(&s, "flow.", c->path.pretrain_flow, "path.pretrain_flow",
				    "FlowNet2"));
	}
	if (c->path.pretrain_model)
		KC_TRY(load(&s, c->path.pretrain_model, "", c->path.strict_load, "start weights"));
	if (params->ema)
		memcpy(params->ema, params->master,
		       params->trainable * kc_dtype_size(params->dtype));
	for (size_t i = 0; i < params->n; i++)
		kc_param_changed(params->v[i]);
	return 0;
}
