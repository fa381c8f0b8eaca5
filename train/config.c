#include "train/config.h"

#include "train/adversary.h"
#include "train/perceptual.h"
#include "train/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int kc_config_init(struct kc_config *c)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);
	int rc;

	*c = (struct kc_config){0};
	rc = kc_opt_defaults(rows, n, c);
	if (rc < 0)
		kc_config_release(c);
	return rc;
}

void kc_config_release(struct kc_config *c)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);

	kc_opt_release(rows, n, c);
	free(c->ignored);
	c->ignored = NULL;
}

/* "train:" with nothing below it is a section, not a key. */
static bool is_empty_section(const struct kc_yaml_entry *e)
{
	size_t n, length = strlen(e->key);
	const struct kc_opt *rows = kc_config_rows(&n);

	for (size_t i = 0; i < n; i++)
		if (strncmp(rows[i].key, e->key, length) == 0 && rows[i].key[length] == '.')
			return strcmp(e->text, "~") == 0;
	return false;
}

static int note_ignored(struct kc_config *c, const char *key)
{
	char *list = c->ignored ? kc_format("%s, %s", c->ignored, key) : kc_strdup(key);

	if (!list)
		return KC_ENOMEM;
	free(c->ignored);
	c->ignored = list;
	return 0;
}

/* A key and its alias in one file would leave open which one counts. */
static int check_alias(const struct kc_yaml *yaml, size_t i, const struct kc_opt *row,
		       const char *where)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);

	for (size_t j = 0; j < n; j++) {
		if (&rows[j] == row || rows[j].flags & KC_OPT_NOEFFECT
		    || rows[j].offset != row->offset)
			continue;
		for (size_t k = 0; k < i; k++)
			if (strcmp(yaml->v[k].key, rows[j].key) == 0)
				return KC_FAIL(KC_ECONFIG, "%s: %s: is the same as %s in line %zu",
					       where, row->key, rows[j].key, yaml->v[k].line);
	}
	return 0;
}

static int take_entry(struct kc_config *c, const struct kc_yaml *yaml, size_t i, const char *where)
{
	const struct kc_yaml_entry *e = &yaml->v[i];
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n), *row;

	if (is_empty_section(e))
		return 0;
	row = kc_opt_find(rows, n, e->key);
	if (!row)
		return kc_cause(KC_ECONFIG, "%s", where);
	if (row->flags & KC_OPT_NOEFFECT)
		KC_TRY(note_ignored(c, row->key));
	else
		KC_TRY(check_alias(yaml, i, row, where));
	return kc_opt_set(row, c, e->text, where);
}

static int take_entries(struct kc_config *c, const char *name, const struct kc_yaml *yaml)
{
	for (size_t i = 0; i < yaml->n; i++) {
		char *where = kc_format("%s:%zu", name, yaml->v[i].line);
		int rc = where ? take_entry(c, yaml, i, where) : KC_ENOMEM;

		free(where);
		KC_TRY(rc);
	}
	return 0;
}

int kc_config_load(struct kc_config *c, const char *path)
{
	struct kc_yaml yaml;
	int rc;

	KC_TRY(kc_yaml_load(path, &yaml));
	rc = take_entries(c, path, &yaml);
	kc_yaml_release(&yaml);
	return rc;
}

int kc_config_parse(struct kc_config *c, const char *name, const char *text, size_t len)
{
	struct kc_yaml yaml;
	int rc;

	KC_TRY(kc_yaml_parse(name, text, len, &yaml));
	rc = take_entries(c, name, &yaml);
	kc_yaml_release(&yaml);
	return rc;
}

static int set_key(struct kc_config *c, const char *key, const char *text)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n), *row = kc_opt_find(rows, n, key);

	return row ? kc_opt_set(row, c, text, "--set") : kc_cause(KC_ECONFIG, "--set");
}

int kc_config_set(struct kc_config *c, const char *assignment)
{
	const char *equals = strchr(assignment, '=');
	char *key;
	int rc;

	if (!equals)
		return KC_FAIL(KC_ECONFIG, "--set: expected key=value, got '%s'", assignment);
	key = kc_format("%.*s", (int)(equals - assignment), assignment);
	rc = key ? set_key(c, key, equals + 1) : KC_ENOMEM;
	free(key);
	return rc;
}

/* It becomes the name of a folder. */
static int check_name(const char *name)
{
	if (!name)
		return KC_FAIL(KC_ECONFIG, "name: expected the name of the run");
	if (strchr(name, '/') || name[0] == '.' || name[0] == '-' || strlen(name) > 100)
		return KC_FAIL(KC_ECONFIG, "name: expected at most 100 characters without '/', "
			       "not starting with '.' or '-', got '%.120s'", name);
	return 0;
}

/* Parts of siggraph17 that TCVC's own has not, as the published weights. */
static int check_parts(const struct kc_config *c)
{
	const struct { const char *key; bool set; } parts[] = {
		{"global_hints", c->network.global_hints},
		{"distribution", c->network.distribution},
		{"cls_bins", c->network.class_bins != KC_CLASS_HARD_529},
	};

	for (size_t i = 0; i < KC_COUNT(parts) && c->recipe != KC_RECIPE_IDC; i++)
		if (parts[i].set)
			return KC_FAIL(KC_ECONFIG, "network_G.%s: only model: idc has it",
				       parts[i].key);
	return 0;
}

static int check_network(const struct kc_config *c)
{
	static const struct { int64_t kind; const char *name; } networks[] = {
		[KC_RECIPE_TCVC] = {KC_NETWORK_TCVC, "TCVC_IDC"},
		[KC_RECIPE_IDC] = {KC_NETWORK_SIGGRAPH17, "siggraph17"},
		[KC_RECIPE_CIC] = {KC_NETWORK_ECCV16, "eccv16"},
	};

	if (c->network.kind != networks[c->recipe].kind)
		return KC_FAIL(KC_ECONFIG, "network_G.which_model_G: expected %s for this model",
			       networks[c->recipe].name);
	return check_parts(c);
}

/* What the networks take, told before a run rather than at its first validation. */
static int check_sizes(const struct kc_config *c)
{
	bool flownet = c->recipe == KC_RECIPE_TCVC && c->flow == KC_FLOW_FLOWNET2;
	int64_t multiple = flownet ? 64 : 8;

	if (c->data.size % 8)
		return KC_FAIL(KC_ECONFIG, "datasets.train.GT_size: %lld is not a multiple of 8",
			       (long long)c->data.size);
	if (c->val.root && c->val_freq && c->val.size % multiple)
		return KC_FAIL(KC_ECONFIG, "datasets.val.GT_size: %lld is not a multiple of %lld",
			       (long long)c->val.size, (long long)multiple);
	return 0;
}

/* The default of path.pretrain_key_net names the file of siggraph17. */
static int name_key_net(struct kc_config *c)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);
	const struct kc_opt *row = kc_opt_find(rows, n, "path.pretrain_key_net");
	const char *path = c->path.pretrain_key_net;

	if (c->network.key_net != KC_TCVC_ECCV16 || !path || strcmp(path, row->def))
		return 0;
	return kc_opt_set(row, c,
			  "experiments/pretrained_models/colorization_release_v2-9b330a0b.pth",
			  NULL);
}

static int check_srl_steps(const struct kc_config *c)
{
	for (size_t i = 0; i < c->loss.srl_steps.n; i++)
		if (c->loss.srl_steps.v[i] > c->data.keyframe_interval + 1)
			return KC_FAIL(KC_ECONFIG, "train.srl_steps: expected at most "
				       "keyframe_interval + 1, got %lld",
				       (long long)c->loss.srl_steps.v[i]);
	return 0;
}

int kc_config_resolve(struct kc_config *c)
{
	KC_TRY(check_name(c->name));
	KC_TRY(check_network(c));
	KC_TRY(check_srl_steps(c));
	KC_TRY(check_sizes(c));
	KC_TRY(name_key_net(c));
	KC_TRY(kc_adversary_check(c));
	KC_TRY(kc_perceptual_check(c));
	if (!c->data.intervals.n)
		return KC_FAIL(KC_ECONFIG, "datasets.train.interval_list: expected an interval");
	if (c->optimizer.beta1 >= 1 || c->optimizer.beta2 >= 1 || c->optimizer.ema_decay >= 1)
		return KC_FAIL(KC_ECONFIG, "train.beta1, beta2, ema_decay: expected less than 1");
	c->schedule.published = c->published;
	if (c->published) {
		c->loss.criterion = KC_CRITERION_MSE;
		c->loss.reduction = KC_REDUCE_MEAN;
	}
	return kc_schedule_check(&c->schedule);
}

bool kc_config_uses_eccv16(const struct kc_config *c)
{
	return c->recipe == KC_RECIPE_CIC ||
	       (c->recipe == KC_RECIPE_TCVC && c->network.key_net == KC_TCVC_ECCV16);
}

int kc_config_dump(const struct kc_config *c, FILE *out)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);

	return kc_opt_dump(rows, n, c, out);
}

uint64_t kc_config_hash(const struct kc_config *c)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);

	return kc_opt_hash(rows, n, c);
}
