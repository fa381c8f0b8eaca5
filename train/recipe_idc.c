/*
 * The keyframe network: siggraph17 on single frames, regression and classification, with
 * simulated hints.  Source: models/siggraph17.h, models/hints.h, losses/classes.h.
 */
#include "losses/classes.h"
#include "losses/pixel.h"
#include "models/hints.h"
#include "models/siggraph17.h"
#include "train/recipes.h"

#include <stdlib.h>

static int idc_samples(struct kc_training *t, struct kc_loader_opts *o)
{
	t->window = o->window = 1;
	return 0;
}

static void regression(struct kc_training *t, struct kc_tensor *ab, struct kc_tensor *truth)
{
	const struct kc_config_idc *c = &t->config->idc;
	struct kc_pixel_args args = {.kind = KC_PIXEL_L1, .reduction = KC_REDUCE_PIXELS};

	if (c->reg_loss == KC_REG_HUBER)
		args = (struct kc_pixel_args){KC_PIXEL_SMOOTH_L1, KC_REDUCE_PIXELS, 1.0 / 110};
	kc_training_term(t, "l_reg", kc_loss_pixel(t->graph, ab, truth, &args), c->reg_weight);
}

/* The hard class of every fourth pixel. */
static void classification(struct kc_training *t, struct kc_tensor *logits, struct kc_tensor *truth)
{
	struct kc_tensor *index = kc_hard_encode(t->graph, kc_subsample(t->graph, truth, 4));

	kc_training_term(t, "l_class", kc_loss_hard_ce(t->graph, logits, index),
			 t->config->idc.class_weight);
}

static int idc_build(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	int64_t batch = c->data.batch_size, side = c->data.size;
	struct kc_siggraph17_args args = {.width = c->network.width,
					  .mask_cent = c->network.mask_cent};
	struct kc_siggraph17 out;
	struct kc_tensor *l;

	if (side % KC_SIGGRAPH17_SIDE)
		return KC_FAIL(KC_ECONFIG, "datasets.train.GT_size: %lld is not a multiple of %d",
			       (long long)side, KC_SIGGRAPH17_SIDE);
	t->frames = kc_input(t->graph, "frames", KC_TYPE(KC_U8, batch, 3, side, side));
	t->hint = args.hint = kc_input(t->graph, "hint", KC_TYPE(KC_REAL, batch, 2, side, side));
	t->mask = args.mask = kc_input(t->graph, "mask", KC_TYPE(KC_REAL, batch, 1, side, side));
	args.route = c->idc.classification ? KC_ROUTE_CLASSES : KC_ROUTE_COLOUR;
	kc_training_lab(t, &l, &t->ab);
	out = kc_siggraph17(&t->model, l, &args);
	regression(t, out.ab, t->ab);
	classification(t, out.logits, t->ab);
	if (!t->loss)
		return KC_FAIL(KC_ECONFIG,
			       "train: both weights of the losses are 0, nothing is learnt");
	return 0;
}

/* Hints are drawn from the true colour, which a plan of its own computes. */
static int idc_open(struct kc_training *t)
{
	const struct kc_plan_opts opts = {.real = KC_F32};

	return kc_plan_build(&t->prepare, t->graph, t->device, &t->ab, 1, &opts);
}

static int draw_hints(struct kc_training *t, int64_t index, const float *ab, float *hint,
		      float *mask)
{
	const struct kc_config *c = t->config;
	int side = (int)c->data.size;
	size_t pixels = (size_t)side * (size_t)side;
	struct kc_hint_args args = kc_hints_published;

	args.stop = c->idc.hint_p;
	for (int64_t i = 0; i < c->data.batch_size;
	     i++, ab += 2 * pixels, hint += 2 * pixels, mask += pixels)
		KC_TRY(kc_hints_draw(&args, (uint64_t)c->seed,
				     (uint64_t)(index * c->data.batch_size + i), ab, side, side,
				     hint, mask));
	return 0;
}

static int idc_feed(struct kc_training *t, struct kc_plan *p, const struct kc_batch *b)
{
	struct kc_buf frames = kc_buf_of(b->frames, &t->frames->type, KC_CLAST), hint, mask, ab;
	int rc;

	KC_TRY(kc_plan_feed(p, t->frames, &frames));
	KC_TRY(kc_plan_feed(t->prepare, t->frames, &frames));
	KC_TRY(kc_plan_run(t->prepare));
	KC_TRY(kc_plan_slot(p, t->hint, &hint));
	KC_TRY(kc_plan_slot(p, t->mask, &mask));
	ab = kc_buf_of(kc_alloc((size_t)kc_numel(&t->ab->type) * sizeof(float)), &t->ab->type,
		       KC_CLAST);
	if (!ab.data)
		return KC_ENOMEM;
	rc = kc_plan_read(t->prepare, t->ab, &ab);
	if (!rc)
		rc = draw_hints(t, b->index, ab.data, hint.data, mask.data);
	free(ab.data);
	return rc;
}

const struct kc_recipe kc_recipe_idc = {
	.name = "idc",
	.network = "siggraph17",
	.samples = idc_samples,
	.build = idc_build,
	.open = idc_open,
	.feed = idc_feed,
};
