/*
 * TCVC: windows of frames, the pixel loss and the class loss (both off in the published training)
 * and the self-regularization loss of every step.  Source: models/tcvc.h, losses/warp.h.
 */
#include "losses/pixel.h"
#include "losses/warp.h"
#include "models/tcvc.h"
#include "train/perceptual.h"
#include "train/recipes.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MAX_STEPS = 11,
	/*
	 * Pixels of FlowNet 2.0's batch.  On the CPU more pairs at once only take memory; a GPU
	 * needs more to be busy with the small layers.  Flows come first, into memory that the
	 * backward pass needs later anyway: 60 MB for the 124 pairs of a batch of 4 at 256x256.
	 */
	FLOW_PIXELS = 4 * 256 * 256, FLOW_PIXELS_GPU = 32 * FLOW_PIXELS
};

/* Whole groups of the batch's windows. */
static int pairs_per_call(const struct kc_training *t)
{
	int64_t pixels = t->device->memory ? FLOW_PIXELS_GPU : FLOW_PIXELS;
	int64_t side = t->config->data.size;

	return (int)(KC_MAX(pixels / (t->batch * side * side), INT64_C(1)) * t->batch);
}

static const char *const term_names[MAX_STEPS] = {
	"warp_loss",  "warp_loss2", "warp_loss3", "warp_loss4",	 "warp_loss5",	"warp_loss6",
	"warp_loss7", "warp_loss8", "warp_loss9", "warp_loss10", "warp_loss11",
};

static int read_steps(const struct kc_config *c, int steps[MAX_STEPS])
{
	if (c->loss.srl_steps.n > MAX_STEPS)
		return KC_FAIL(KC_ECONFIG, "train.srl_steps: at most %d steps", MAX_STEPS);
	for (size_t i = 0; i < c->loss.srl_steps.n; i++)
		steps[i] = (int)c->loss.srl_steps.v[i];
	return (int)c->loss.srl_steps.n;
}

static int tcvc_samples(struct kc_training *t, struct kc_loader_opts *o)
{
	int steps[MAX_STEPS], n = read_steps(t->config, steps);
	struct kc_pair *pairs;

	KC_TRY(n);
	t->window = (int)t->config->data.keyframe_interval + 2;
	t->n_pairs = kc_tcvc_pairs(t->window, steps, n, NULL);
	pairs = kc_calloc((size_t)t->n_pairs, sizeof *pairs);
	t->pairs = kc_calloc((size_t)t->n_pairs, sizeof *t->pairs);
	if (!pairs || !t->pairs) {
		free(pairs);
		return KC_ENOMEM;
	}
	kc_tcvc_pairs(t->window, steps, n, pairs);
	for (int i = 0; i < t->n_pairs; i++)
		t->pairs[i] = (struct kc_loader_pair){pairs[i].from, pairs[i].to};
	free(pairs);
	o->window = t->window;
	return 0;
}

static void pixel_loss(struct kc_training *t, struct kc_tensor *ab, struct kc_tensor *truth)
{
	static const enum kc_pixel_kind kinds[] = {
		[KC_CRITERION_L1] = KC_PIXEL_L1,
		[KC_CRITERION_MSE] = KC_PIXEL_MSE,
		[KC_CRITERION_SMOOTH_L1] = KC_PIXEL_SMOOTH_L1,
		[KC_CRITERION_CHARBONNIER] = KC_PIXEL_CHARBONNIER,
	};
	const struct kc_config_loss *c = &t->config->loss;
	const struct kc_pixel_args args = {.kind = kinds[c->criterion],
					   .reduction = (enum kc_reduction)c->reduction};

	/* What all ranks sum up is their number times the mean of their sums. */
	double parts = args.reduction == KC_REDUCE_SUM && t->ranks ? t->ranks->size : 1;

	kc_training_term(t, "l_pix", kc_loss_pixel(t->graph, ab, truth, &args),
			 parts * c->pixel_weight);
}

/*
 * Frozen anchors are left out: their colours would tell a discriminator all it needs, and the
 * trained network could do nothing about them.
 */
static void hand_over(struct kc_training *t, struct kc_tensor *l, struct kc_tensor *ab,
		      struct kc_tensor *truth)
{
	int64_t batch = t->batch, n = t->window - 2;
	struct kc_graph *g = t->graph;

	if (t->config->network.train_key_net)
		kc_training_output(t, l, ab, truth, t->window);
	else
		kc_training_output(t, kc_slice(g, l, 0, batch, n * batch, 1),
				   kc_slice(g, ab, 0, batch, n * batch, 1),
				   kc_slice(g, truth, 0, batch, n * batch, 1), (int)n);
}

static int tcvc_build(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	int steps[MAX_STEPS], n = read_steps(c, steps);
	struct kc_tcvc_args args = {.frames = t->window,
				    .steps = steps,
				    .n_steps = n,
				    .pairs_per_call = pairs_per_call(t),
				    .width = c->network.width,
				    .mask_cent = c->network.mask_cent,
				    .train_anchors = c->network.train_key_net,
				    .key = (enum kc_tcvc_key)c->network.key_net,
				    .temperature = c->network.temperature,
				    .class_head = c->classes.weight > 0};
	struct kc_tensor *l, *truth;
	struct kc_tcvc out;

	KC_TRY(n);
	kc_training_frames(t);
	if (c->flow != KC_FLOW_FLOWNET2)
		kc_training_flows(t);
	args.flows = t->flows;
	kc_training_lab(t, &l, &truth);
	out = kc_tcvc(&t->model, l, &args);
	hand_over(t, l, out.ab, truth);
	pixel_loss(t, out.ab, truth);
	for (int i = 0; i < n; i++) {
		struct kc_tensor *flows = kc_tcvc_step_flows(t->graph, out.flows, steps[i], &args);

		if (!flows)
			return KC_FAIL(KC_ECONFIG,
				       "train.srl_steps: step %d is longer than a window of %d "
				       "frames",
				       steps[i], t->window);
		kc_training_term(
			t, term_names[i],
			kc_self_regularize(t->graph, l, out.ab, flows, c->loss.srl_alpha).loss,
			c->loss.srl_weight);
	}
	if (c->classes.weight > 0)
		KC_TRY(kc_training_classes(t, out.logits, truth, c->classes.weight));
	if (!t->loss && !kc_perceptual_wanted(c))
		return KC_FAIL(KC_ECONFIG, "train: pixel_weight, srl_weight and class_weight are "
			       "all 0, nothing is learnt");
	return 0;
}

const struct kc_recipe kc_recipe_tcvc = {
	.name = "video_colorization_warp2",
	.network = "TCVC_IDC",
	.samples = tcvc_samples,
	.build = tcvc_build,
	.feed = kc_training_feed,
};
