/*
 * The colorizer that classifies: eccv16 on single frames, cross entropy against the soft
 * encoding of the true colour, rebalanced so that rare colours count.  Source: models/eccv16.h,
 * losses/classes.h.
 */
#include "models/eccv16.h"
#include "train/recipes.h"

static int cic_samples(struct kc_training *t, struct kc_loader_opts *o)
{
	t->window = o->window = 1;
	return 0;
}

static int cic_build(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	const struct kc_eccv16_args args = {.temperature = c->network.temperature,
					    .width = c->network.width};
	struct kc_tensor *l, *ab;
	struct kc_eccv16 out;

	if (c->classes.rebalance && !c->classes.prior)
		return KC_FAIL(KC_ECONFIG,
			       "train.prior: no file; expected what pack --prior writes, or "
			       "train.rebalance: false");
	kc_training_frames(t);
	kc_training_lab(t, &l, &ab);
	out = kc_eccv16(&t->model, l, &args);
	kc_training_output(t, l, out.ab, ab, 1);
	return kc_training_classes(t, out.logits, ab, 1);
}

const struct kc_recipe kc_recipe_cic = {
	.name = "cic",
	.network = "eccv16",
	.samples = cic_samples,
	.build = cic_build,
	.feed = kc_training_feed,
};
