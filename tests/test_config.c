/* Configurations: the authors' file, our own, overrides, and what must be refused. */
#include "tests/test.h"
#include "train/config.h"
#include "train/yaml.h"

#include <stdlib.h>
#include <string.h>

static int parse(struct kc_config *c, const char *text)
{
	return kc_config_parse(c, "x.yml", text, strlen(text));
}

static struct kc_config fresh(void)
{
	struct kc_config c;

	KC_CHECK_OK(kc_config_init(&c));
	return c;
}

static void test_authors(void)
{
	struct kc_config c = fresh();

	if (!KC_CHECK_OK(kc_config_load(&c, kc_test_fixture("data/authors_tcvc.yml"))))
		return;
	KC_CHECK_OK(kc_config_resolve(&c));
	KC_CHECK(strcmp(c.name, "Test_TCVC_release") == 0 && c.recipe == KC_RECIPE_TCVC);
	KC_CHECK(c.data.intervals.n == 1 && c.data.intervals.v[0] == 1 && !c.data.reverse);
	KC_CHECK(c.data.batch_size == 4 && c.data.size == 256 && c.data.workers == 3);
	KC_CHECK(strcmp(c.data.keys, "./lists/DAVIS_videvo_train.pkl") == 0);
	KC_CHECK(c.network.kind == KC_NETWORK_TCVC && c.network.key_net == KC_TCVC_SIGGRAPH17);
	KC_CHECK(!c.path.pretrain_model && !c.path.resume_state && c.path.strict_load);
	KC_CHECK(c.schedule.lr == 5e-5 && c.schedule.kind == KC_SCHEDULE_MULTISTEP);
	KC_CHECK(c.schedule.steps.n == 3 && c.schedule.steps.v[2] == 30000);
	KC_CHECK(c.schedule.eta_min == 1e-7 && c.schedule.warmup == -1);
	KC_CHECK(c.optimizer.beta1 == 0.9 && c.optimizer.beta2 == 0.99 && c.niter == 100000);
	KC_CHECK(c.loss.criterion == KC_CRITERION_SMOOTH_L1 && c.loss.pixel_weight == 0);
	KC_CHECK(c.val_freq == 2000 && c.logger.save_freq == 2000 && c.logger.print_freq == 100);
	KC_CHECK(c.ignored && strcmp(c.ignored, "distortion, gpu_ids, datasets.train.mode, "
		"datasets.train.N_frames, datasets.train.color, network_G.nf, network_G.N_RBs, "
		"network_G.dataset, network_G.channel_reduction") == 0);
	KC_CHECK_OK(kc_config_set(&c, "published=true"));
	KC_CHECK_OK(kc_config_resolve(&c));
	KC_CHECK(c.loss.criterion == KC_CRITERION_MSE && c.schedule.published);
	kc_config_release(&c);
}

static void test_ours(void)
{
	static const char *const paths[] = {"configs/train_tcvc_idc.yml", "configs/train_idc.yml",
					    "configs/train_tcvc_gan.yml"};

	for (size_t i = 0; i < KC_COUNT(paths); i++) {
		struct kc_config c = fresh();

		KC_CHECK_OK(kc_config_load(&c, paths[i]));
		KC_CHECK_OK(kc_config_resolve(&c));
		KC_CHECK(!c.ignored);
		kc_config_release(&c);
	}
}

static void test_dialect(void)
{
	struct kc_config c = fresh();

	KC_CHECK_OK(parse(&c,
		"%YAML 1.1\n---\nname: 'x y'   # comment\ntrain.niter: 2e3\nlogger:\n"
		"path: {strict_load: False, root: \"a: b\"}\n"
		"train:\n  lr_steps:\n  - 10\n  - !!float 2e1\n  restarts: []\n"
		"  lr_G: !!float 5e-4\n"
		"  T_period: ~\n...\n"));
	KC_CHECK(strcmp(c.name, "x y") == 0 && c.niter == 2000 && !c.path.strict_load);
	KC_CHECK(strcmp(c.path.root, "a: b") == 0 && c.schedule.lr == 5e-4);
	KC_CHECK(c.schedule.steps.n == 2 && c.schedule.steps.v[1] == 20);
	KC_CHECK_OK(kc_config_set(&c, "train.lr_steps=[1,2,3]"));
	KC_CHECK_OK(kc_config_set(&c, "manual_seed=7"));
	KC_CHECK_OK(kc_config_set(&c, "name=a=b"));
	KC_CHECK(c.schedule.steps.n == 3 && c.seed == 7 && strcmp(c.name, "a=b") == 0);
	KC_CHECK_OK(parse(&c, ""));
	KC_CHECK_OK(parse(&c, "# nothing but a comment\n"));
	kc_config_release(&c);
}

static void test_refused(void)
{
	static const struct { const char *text, *message; int err; } bad[] = {
		{"name: x\ntrain:\n  lr_g2: 1\n",
		 "x.yml:3: unknown key 'train.lr_g2', the nearest is 'train.lr_G'", KC_ECONFIG},
		{"lr_G: 1\n", "x.yml:1: unknown key 'lr_G', the nearest is 'train.lr_G'",
		 KC_ECONFIG},
		{"trian:\n  lr_G: 1\n", "the nearest is 'train.lr_G'", KC_ECONFIG},
		{"train:\n\n  lr_G: abc\n",
		 "x.yml:3: train.lr_G: expected a number in 0..1000, got 'abc'", KC_ECONFIG},
		{"train: {beta1: 2}", "x.yml:1: train.beta1: expected a number in 0..1",
		 KC_ECONFIG},
		{"train: {niter: 1.5}", "expected an integer", KC_ECONFIG},
		{"train: {niter: [1]}", "expected an integer in 1..1000000000000, got '[1]'",
		 KC_ECONFIG},
		{"train: 5", "x.yml:1: unknown key 'train'", KC_ECONFIG},
		{"datasets: {train: {color: RGB}}", "expected one of LAB, got 'RGB'", KC_ECONFIG},
		{"train: {niter: 5, total_iter: 6}", "train.total_iter: is the same as train.niter",
		 KC_ECONFIG},
		{"name: x\nname: y\n", "x.yml:2: duplicate key 'name', first in line 1",
		 KC_EFORMAT},
		{"a: {b: 1}\na.b: 2\n", "x.yml:2: duplicate key 'a.b'", KC_EFORMAT},
		{"name: &a x\n", "x.yml:1: anchors", KC_EFORMAT},
		{"name: x\ntrain: *a\n", "x.yml:2: aliases", KC_EFORMAT},
		{"name: !!python/object:os.system x\n", "x.yml:1: unknown tag", KC_EFORMAT},
		{"name: !x y\n", "unknown tag", KC_EFORMAT},
		{"a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}", "nested too deeply", KC_EFORMAT},
		{"a: [[1]]", "a list may hold only plain values", KC_EFORMAT},
		{"a: [{b: 1}]", "a list may hold only plain values", KC_EFORMAT},
		{"? [a]\n: 1\n", "a key must be a plain name", KC_EFORMAT},
		{"- a\n- b\n", "expected sections and keys", KC_EFORMAT},
		{"just text", "expected sections and keys", KC_EFORMAT},
		{"name: x\n---\nname: y\n", "x.yml:2: a second document", KC_EFORMAT},
		{"name: \"x\\0y\"\n", "NUL character", KC_EFORMAT},
		{"name: [1, 2\n", "x.yml:2: ", KC_EFORMAT},
		{"name: \"x\n", "x.yml:", KC_EFORMAT},
		{"name:\tx: y\n", "x.yml:1: ", KC_EFORMAT},
	};

	for (size_t i = 0; i < KC_COUNT(bad); i++) {
		struct kc_config c = fresh();

		KC_CHECK_ERR(parse(&c, bad[i].text), bad[i].err, bad[i].message);
		kc_config_release(&c);
	}
}

static void test_overrides_refused(void)
{
	struct kc_config c = fresh();

	KC_CHECK_ERR(kc_config_set(&c, "train.lr_G"), KC_ECONFIG, "--set: expected key=value");
	KC_CHECK_ERR(kc_config_set(&c, "train.lr=1"), KC_ECONFIG,
		     "--set: unknown key 'train.lr', the nearest is 'train.lr_G'");
	KC_CHECK_ERR(kc_config_set(&c, "train.lr_G=x"), KC_ECONFIG, "--set: train.lr_G: expected");
	kc_config_release(&c);
}

static void test_resolve(void)
{
	static const struct { const char *sets[3], *message; } bad[] = {
		{{"name=~"}, "name: expected"},
		{{"name=../x"}, "name: expected"},
		{{"model=idc"}, "network_G.which_model_G"},
		{{"train.srl_steps=[12]"}, "train.srl_steps"},
		{{"datasets.train.interval_list=[]"}, "interval_list"},
		{{"train.beta2=1"}, "less than 1"},
		{{"train.restarts=[5]"}, "train.restart_weights"},
		{{"train.lr_scheme=CosineAnnealingLR_Restart"}, "train.T_period"},
	};

	for (size_t i = 0; i < KC_COUNT(bad); i++) {
		struct kc_config c = fresh();

		KC_CHECK_OK(kc_config_set(&c, "name=x"));
		KC_CHECK_OK(kc_config_resolve(&c));
		for (size_t j = 0; bad[i].sets[j]; j++)
			KC_CHECK_OK(kc_config_set(&c, bad[i].sets[j]));
		KC_CHECK_ERR(kc_config_resolve(&c), KC_ECONFIG, bad[i].message);
		kc_config_release(&c);
	}
}

static char *dump(const struct kc_config *c)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	KC_ASSERT(out);
	KC_CHECK_OK(kc_config_dump(c, out));
	fclose(out);
	return text;
}

static void test_dump(void)
{
	struct kc_config c = fresh(), d = fresh();
	char *text, *again;

	KC_CHECK_OK(kc_config_load(&c, kc_test_fixture("data/authors_tcvc.yml")));
	KC_CHECK_OK(kc_config_set(&c, "datasets.train.dataroot_GT=a \"b\": #c"));
	text = dump(&c);
	KC_CHECK_OK(parse(&d, text));
	again = dump(&d);
	KC_CHECK(strcmp(text, again) == 0 && kc_config_hash(&c) == kc_config_hash(&d));
	KC_CHECK_OK(kc_config_set(&d, "datasets.train.n_workers=9"));
	KC_CHECK_OK(kc_config_set(&d, "logger.print_freq=1"));
	KC_CHECK_OK(kc_config_set(&d, "path.resume_state=auto"));
	KC_CHECK(kc_config_hash(&c) == kc_config_hash(&d));
	KC_CHECK_OK(kc_config_set(&d, "train.lr_G=1e-3"));
	KC_CHECK(kc_config_hash(&c) != kc_config_hash(&d));
	free(text);
	free(again);
	kc_config_release(&c);
	kc_config_release(&d);
}

/* Each row tells something, and an alias has the type and bounds of what it stands for. */
static void test_table(void)
{
	size_t n;
	const struct kc_opt *rows = kc_config_rows(&n);

	for (size_t i = 0; i < n; i++) {
		KC_CHECK(rows[i].help && rows[i].help[0]);
		for (size_t j = 0; j < i; j++) {
			KC_CHECK(strcmp(rows[i].key, rows[j].key) != 0);
			if (((rows[i].flags | rows[j].flags) & KC_OPT_NOEFFECT) ||
			    rows[i].offset != rows[j].offset)
				continue;
			KC_CHECK((rows[i].flags | rows[j].flags) & KC_OPT_ALIAS);
			KC_CHECK(rows[i].type == rows[j].type && rows[i].min == rows[j].min &&
				 rows[i].max == rows[j].max);
		}
	}
}

/* Damage at every byte of the authors' file is read or refused, never more. */
static void test_garbage(void)
{
	static const char nasty[] = "\0\xff[{*&!\t\n\"-:?%";
	struct kc_config c = fresh();
	struct kc_yaml yaml;
	char *text, *deep = kc_alloc(100000);
	size_t n;

	KC_CHECK_OK(kc_config_load(&c, kc_test_fixture("data/authors_tcvc.yml")));
	text = dump(&c);
	n = strlen(text);
	for (size_t i = 0; i < n; i++) {
		char old = text[i];

		text[i] = nasty[i % (sizeof nasty - 1)];
		if (kc_config_parse(&c, "x.yml", text, i % 2 ? n : i) < 0)
			KC_CHECK(strncmp(kc_errmsg(), "x.yml:", 6) == 0);
		text[i] = old;
	}
	KC_ASSERT(deep);
	memset(deep, '[', 100000);
	KC_CHECK(kc_yaml_parse("x.yml", deep, 100000, &yaml) == KC_EFORMAT);
	memset(deep, '{', 100000);
	KC_CHECK(kc_yaml_parse("x.yml", deep, 100000, &yaml) == KC_EFORMAT);
	for (size_t i = 0; i < 100000; i++)
		deep[i] = (char)(i * 2654435761u >> 24);
	KC_CHECK(kc_yaml_parse("x.yml", deep, 100000, &yaml) == KC_EFORMAT);
	free(deep);
	free(text);
	kc_config_release(&c);
}

static void test_bounds(void)
{
	struct kc_yaml yaml;
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	KC_ASSERT(out);
	for (int i = 0; i <= KC_YAML_ENTRIES; i++)
		fprintf(out, "k%d: 1\n", i);
	fclose(out);
	KC_CHECK_ERR(kc_yaml_parse("x.yml", text, n, &yaml), KC_EFORMAT,
		     "x.yml:1001: too many keys");
	free(text);
	KC_CHECK_ERR(kc_yaml_load("no/such.yml", &yaml), KC_ENOENT, "no/such.yml");
}

const struct kc_test kc_tests_config[] = {
	{"the authors' file loads as it is", test_authors},
	{"our own files load", test_ours},
	{"the dialect: lists, ~, !!float, sections", test_dialect},
	{"misspelt, mistyped, doubled and foreign things are refused", test_refused},
	{"overrides are checked", test_overrides_refused},
	{"keys that do not fit together are refused", test_resolve},
	{"the resolved dump loads again; the hash ignores what changes no bits", test_dump},
	{"the table is consistent", test_table},
	{"garbage is refused", test_garbage},
	{"size and depth are bounded", test_bounds},
	{0}
};
