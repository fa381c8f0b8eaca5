/* Training against a discriminator: whose gradient is whose, stages, policies, bad settings. */
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PATCH "network_D.which_model_D=patchgan", "network_D.width=0.125"
#define TEMPORAL "network_D.which_model_D=temporal", "network_D.width=0.125"
#define IDC "model=idc", "network_G.which_model_G=siggraph17", "datasets.train.batch_size=2"

static const struct kc_params *generator(const struct kc_run *r)
{
	return r->training.trainee[KC_GENERATOR].params;
}

static const struct kc_params *discriminator(const struct kc_run *r)
{
	return r->training.trainee[KC_DISCRIMINATOR].params;
}

/* All that a step may write of a store; the caller frees. */
static char *everything(const struct kc_params *s, size_t *bytes)
{
	size_t part = s->trainable * sizeof(float), all = s->count * sizeof(float);
	char *v = kc_alloc(all + 2 * part);

	KC_ASSERT(v);
	memcpy(v, s->master, all);
	memcpy(v + all, s->moment1, part);
	memcpy(v + all + part, s->moment2, part);
	*bytes = all + 2 * part;
	return v;
}

static bool is_same(const struct kc_params *s, const char *before)
{
	size_t bytes;
	char *now = everything(s, &bytes);
	bool same = !memcmp(before, now, bytes);

	free(now);
	return same;
}

static double last_of(const struct kc_run *r, const char *name)
{
	for (int i = 0; i < r->training.n_logged; i++)
		if (!strcmp(r->training.terms[i].name, name))
			return r->training.terms[i].last;
	return NAN;
}

/* The store of the chosen network after so many steps; NULL when they failed. */
static char *after(const char *const *set, int steps, bool rival, size_t *bytes)
{
	struct kc_config c = {0};
	struct kc_run r;
	char *all = NULL;

	*bytes = 0;
	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		for (int i = 0; i < steps; i++)
			KC_CHECK(kc_test_step(&r) && r.training.finite);
		all = everything(rival ? discriminator(&r) : generator(&r), bytes);
	}
	kc_test_close(&r, &c);
	return all;
}

static bool equal_after(const char *const *a, const char *const *b, int steps, bool rival)
{
	size_t n, m;
	char *x = after(a, steps, rival, &n), *y = after(b, steps, rival, &m);
	bool same = x && y && n == m && !memcmp(x, y, n);

	free(x);
	free(y);
	return same;
}

/* ---- gradients ---- */

/*
 * The generator's adversarial loss goes through the discriminator and must leave no gradient
 * there: with weight 1 the fake term of L_D = E D(fake) - E D(real) would cancel.  The first
 * moment of one step is the gradient times 1 - beta1.
 */
static void test_own_gradients(void)
{
	kc_test_clips();
	KC_CHECK(equal_after(SET("gan.type=wgangp", "gan.weight=0", PATCH),
			     SET("gan.type=wgangp", "gan.weight=1", PATCH), 1, true));
	KC_CHECK(equal_after(SET("gan.type=hinge", "gan.weight=0", TEMPORAL),
			     SET("gan.type=hinge", "gan.weight=100", "gan.feature_matching=10",
				 TEMPORAL),
			     1, true));
	KC_CHECK(!equal_after(SET("gan.type=wgangp", "gan.weight=0", PATCH),
			      SET("gan.type=wgangp", "gan.weight=1", PATCH), 1, false));
	/* With weight 0 the generator is trained as without an adversary. */
	KC_CHECK(equal_after(SET("train.niter=9"), SET("gan.type=hinge", "gan.weight=0", PATCH), 3,
			     false));
}

/* The wait for start_iter is the training without an adversary, in both networks. */
static void test_start(void)
{
	struct kc_config c = {0};
	struct kc_run r;
	char *before;
	size_t bytes;

	kc_test_clips();
	KC_CHECK(equal_after(SET("train.niter=9"),
			     SET("gan.type=lsgan", "gan.start_iter=3", PATCH), 3, false));
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET("gan.type=lsgan", "gan.start_iter=1", PATCH)))) {
		before = everything(discriminator(&r), &bytes);
		KC_CHECK(kc_test_step(&r) && is_same(discriminator(&r), before));
		KC_CHECK(r.training.n_logged == 3 && isnan(last_of(&r, "l_d")));
		KC_CHECK(r.progress.updates_d == 0);
		KC_CHECK(kc_training_flops(&r.training, 1) < kc_training_flops(&r.training, 2));
		KC_CHECK(kc_test_step(&r) && !is_same(discriminator(&r), before));
		KC_CHECK(r.training.n_logged == 5 && last_of(&r, "l_d") > 0);
		KC_CHECK(r.progress.updates == 2 && r.progress.updates_d == 1);
		free(before);
	}
	kc_test_close(&r, &c);
}

static void test_more_updates(void)
{
	struct kc_config c = {0};
	struct kc_run r;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET("gan.type=hinge", "gan.d_steps=3", PATCH)))) {
		KC_CHECK(kc_test_step(&r) && kc_test_step(&r));
		KC_CHECK(r.progress.updates == 2 && r.progress.updates_d == 6);
		KC_CHECK(r.progress.cursor == 6 && r.progress.iter == 2);
	}
	kc_test_close(&r, &c);
}

/* Its rate follows the schedule of the generator from a base of its own; at 0 it stands still. */
static void test_rate(void)
{
	struct kc_config c = {0};
	struct kc_run r;
	char *before;
	size_t bytes;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET("gan.type=hinge", "gan.lr_D=0", PATCH,
						 "network_D.norm=instance")))) {
		before = everything(discriminator(&r), &bytes);
		KC_CHECK(kc_test_step(&r));
		KC_CHECK(!memcmp(discriminator(&r)->master, before,
				 discriminator(&r)->count * sizeof(float)));
		free(before);
	}
	kc_test_close(&r, &c);
}

/* ---- every choice ---- */

static void check_runs(const char *const *set, const char *const *terms)
{
	struct kc_config c = {0};
	struct kc_run r;

	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		KC_CHECK(kc_test_step(&r) && kc_test_step(&r) && r.training.finite);
		for (int i = 0; terms[i]; i++)
			if (!isfinite(last_of(&r, terms[i])))
				kc_test_fail(__FILE__, __LINE__, "%s %s: no %s", set[0], set[1],
					     terms[i]);
	}
	kc_test_close(&r, &c);
}

static void test_choices(void)
{
	kc_test_clips();
	check_runs(SET("gan.type=vanilla", PATCH, "network_D.spectral=true"),
		   SET("l_pix", "warp_loss", "l_g_gan", "l_d", "d_acc"));
	check_runs(SET("gan.type=lsgan", "gan.space=Lab", "gan.condition=false", PATCH,
		       "network_D.which_model_D=pixel"),
		   SET("l_g_gan", "l_d"));
	check_runs(SET("gan.type=hinge", "gan.r1_weight=1", "gan.feature_matching=1",
		       "network_D.attention=true", PATCH, "network_D.which_model_D=sn_patch"),
		   SET("l_g_gan", "l_fm", "l_d", "d_acc", "l_r1"));
	check_runs(SET("gan.type=wgangp", "train.accumulate=2", "gan.d_steps=2",
		       "network_D.attention=true", TEMPORAL),
		   SET("l_g_gan", "l_d", "l_gp"));
	check_runs(SET("gan.type=ralsgan", "precision=bf16", PATCH), SET("l_g_gan", "l_d"));
	check_runs(SET("gan.type=hinge", IDC, PATCH, "gan.d_steps=2"),
		   SET("l_reg", "l_class", "l_g_gan", "d_acc"));
	check_runs(SET("gan.type=lsgan", "model=cic", "network_G.which_model_G=eccv16",
		       "network_G.init=random", "train.rebalance=false", PATCH),
		   SET("l_class", "l_g_gan", "l_d"));
}

/* ---- non-finite steps ---- */

static void check_skip(const char *const *set, int64_t poisoned, int kept)
{
	struct kc_config c = {0};
	struct kc_run r;
	char *g, *d;
	size_t n;

	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		kc_test_poison(&r, poisoned);
		KC_CHECK(kc_test_step(&r) && r.training.finite);
		g = everything(generator(&r), &n);
		d = everything(discriminator(&r), &n);
		KC_CHECK(kc_test_step(&r) && !r.training.finite && r.progress.nan_row == 1);
		KC_CHECK(is_same(generator(&r), g));
		KC_CHECK(is_same(discriminator(&r), d) == !kept);
		KC_CHECK(r.training.applied[KC_GENERATOR] == 0);
		KC_CHECK(r.training.applied[KC_DISCRIMINATOR] == kept);
		KC_CHECK(kc_test_step(&r) && r.training.finite && !is_same(generator(&r), g));
		free(g);
		free(d);
	}
	kc_test_close(&r, &c);
}

/* One policy for both networks, their moments, running statistics and power iterations. */
static void test_skip(void)
{
	kc_test_clips();
	check_skip(SET("gan.type=hinge", PATCH), 1, 0);
	check_skip(SET("gan.type=hinge", IDC, PATCH, "train.accumulate=2"), 3, 0);
	check_skip(SET("gan.type=hinge", "network_D.which_model_D=sn_patch", "gan.d_steps=2"), 2,
		   0);
	check_skip(SET("gan.type=hinge", "network_D.which_model_D=sn_patch", "gan.d_steps=2"), 3,
		   1);
}

/* ---- settings ---- */

static void refuse(const char *const *set, const char *text)
{
	struct kc_config c = {0};

	KC_CHECK_ERR(kc_test_config(&c, set), KC_ECONFIG, text);
	kc_config_release(&c);
}

static void test_refused(void)
{
	refuse(SET("gan.type=hinge"), "network_D.which_model_D: expected patchgan, pixel");
	refuse(SET("network_D.which_model_D=pixel"), "gan.type: expected vanilla");
	refuse(SET("gan.type=gan"), "gan.type: expected one of none, vanilla, lsgan, hinge");
	refuse(SET("gan.type=hinge", "network_D.which_model_D=unet"),
	       "network_D.which_model_D: expected one of");
	refuse(SET("gan.type=hinge", PATCH, "network_D.n_layers=4"),
	       "network_D.n_layers: 4 layers need crops of at least 48 pixels, "
	       "datasets.train.GT_size is 32");
	refuse(SET("gan.type=hinge", TEMPORAL, IDC), "temporal needs windows");
	refuse(SET("gan.type=hinge", TEMPORAL, "network_D.norm=batch"), "network_D.norm: temporal");
	refuse(SET("gan.type=hinge", PATCH, "network_D.which_model_D=pixel",
		   "network_D.attention=true"),
	       "network_D.attention");
	refuse(SET("gan.type=wgangp", PATCH, "network_D.norm=batch"), "network_D.norm: a penalty");
	refuse(SET("gan.type=hinge", PATCH, "gan.beta2_D=1"), "gan.beta1_D, beta2_D");
}

/* The recipe, whose third batch does not come. */
static int feed_two(struct kc_training *t, struct kc_plan *p, const struct kc_batch *b)
{
	return b->index == 2 ? KC_FAIL(KC_EIO, "no third batch")
			     : kc_recipe_of(t->config)->feed(t, p, b);
}

static void check_end(const char *const *set, int iter, bool saved)
{
	struct kc_run_args args = {0};
	struct kc_config c = {0};
	struct kc_run r = {0};
	struct kc_recipe recipe;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_config(&c, set)) && KC_CHECK_OK(kc_run_open(&r, &c, &args))) {
		recipe = *r.training.recipe;
		recipe.feed = feed_two;
		r.training.recipe = &recipe;
		KC_CHECK_ERR(kc_run_train(&r), KC_EIO, "no third batch");
		KC_CHECK(r.training.torn == !saved && kc_test_has_state(iter) == saved);
	}
	kc_run_close(&r);
	kc_config_release(&c);
}

/* What is saved at the end belongs to a whole step: a resumed run could not be the same else. */
static void test_torn(void)
{
	check_end(SET("gan.type=hinge", PATCH, "train.niter=9", "logger.save_checkpoint_freq=9"), 2,
		  true);
	check_end(SET("gan.type=hinge", PATCH, "train.niter=9", "logger.save_checkpoint_freq=9",
		      "gan.d_steps=2", "gan.start_iter=1"), 1, false);
}

/* Runs from before these keys existed keep their hash. */
static void test_hash(void)
{
	struct kc_config c = {0};

	KC_CHECK_OK(kc_config_init(&c));
	KC_CHECK_OK(kc_config_set(&c, "name=x"));
	KC_CHECK_OK(kc_config_resolve(&c));
	KC_CHECK(kc_config_hash(&c) == UINT64_C(0x9cdba7d1d2bb549d));
	KC_CHECK_OK(kc_config_set(&c, "gan.type=hinge"));
	KC_CHECK(kc_config_hash(&c) != UINT64_C(0x9cdba7d1d2bb549d));
	kc_config_release(&c);
}

const struct kc_test kc_tests_adversary[] = {
	{"each network follows its own loss alone", test_own_gradients},
	{"before start_iter there is no adversary", test_start},
	{"the discriminator may take several steps", test_more_updates},
	{"the discriminator has a rate of its own", test_rate},
	{"losses and discriminators run with every recipe", test_choices},
	{"a non-finite step changes neither network", test_skip},
	{"a step that fails behind an update is not saved", test_torn},
	{"settings that do not fit are refused", test_refused},
	{"settings without an adversary keep their hash", test_hash},
	{0}
};
