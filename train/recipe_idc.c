/*
 * The keyframe network: siggraph17 on single frames, regression and classification, with
 * simulated hints, also global ones.  Source: models/siggraph17.h, hints.h, global.h,
 * losses/classes.h.
 *
 * The public code takes grey images out of the batch.  Here they stay, without loss
 * (train.drop_grey), so that the batch keeps its size; only the norms' statistics see them.
 */
#include "layers/devices.h"
#include "layers/ranks.h"
#include "losses/classes.h"
#include "losses/pixel.h"
#include "models/global.h"
#include "models/hints.h"
#include "models/siggraph17.h"
#include "train/perceptual.h"
#include "train/recipes.h"

#include <math.h>
#include <stdlib.h>

static int idc_samples(struct kc_training *t, struct kc_loader_opts *o)
{
	t->window = o->window = 1;
	return 0;
}

/* A mean over the batch as a mean over the images that are kept; 0 when none is. */
static struct kc_tensor *over_kept(struct kc_training *t, struct kc_tensor *mean)
{
	struct kc_graph *g = t->graph;

	return t->keep ? kc_div(g, kc_scale(g, mean, (double)t->batch), t->n_kept) : mean;
}

/* Which images are kept, and how many there are on average on a rank. */
static void make_keep(struct kc_training *t)
{
	struct kc_graph *g = t->graph;
	double one = 1.0 / (t->ranks ? t->ranks->size : 1);

	t->keep = kc_input(g, "keep", KC_TYPE(KC_REAL, t->batch, 1, 1, 1));
	t->n_kept = kc_sum(g, t->keep);
	kc_mean_over_ranks(g, t->ranks, &t->n_kept, 1);
	t->n_kept = kc_pw1(g, KC_PW_clamp, one, INFINITY, t->n_kept);
}

/* x, or 0 in images that are not kept. */
static struct kc_tensor *kept(struct kc_training *t, struct kc_tensor *x)
{
	return t->keep ? kc_mul(t->graph, x, t->keep) : x;
}

static void regression(struct kc_training *t, struct kc_tensor *ab)
{
	const struct kc_config_idc *c = &t->config->idc;
	struct kc_pixel_args args = {.kind = KC_PIXEL_L1, .reduction = KC_REDUCE_PIXELS};
	struct kc_tensor *loss;

	if (c->reg_loss == KC_REG_HUBER)
		args = (struct kc_pixel_args){KC_PIXEL_SMOOTH_L1, KC_REDUCE_PIXELS, 1.0 / 110};
	loss = kc_loss_pixel(t->graph, kept(t, ab), kept(t, t->ab), &args);
	kc_training_term(t, "l_reg", over_kept(t, loss), c->reg_weight);
}

/* The nearest class of every fourth pixel. */
static struct kc_tensor *hard_classes(struct kc_training *t, struct kc_tensor *logits)
{
	struct kc_graph *g = t->graph;
	struct kc_tensor *index = kc_hard_encode(g, kc_subsample(g, t->ab, 4));

	if (!t->keep)
		return kc_loss_hard_ce(g, logits, index);
	return over_kept(t, kc_mean(g, kept(t, kc_hard_cross_entropy(g, logits, index))));
}

/* The soft encoding of every fourth pixel, rebalanced. */
static int soft_classes(struct kc_training *t, struct kc_tensor *logits, struct kc_tensor **loss)
{
	struct kc_graph *g = t->graph;
	struct kc_tensor *ab = kc_scale(g, kc_subsample(g, t->ab, 4), 110), *factors, *entropy;
	struct kc_rebalanced r;

	KC_TRY(kc_training_factors(t, &factors));
	r = kc_loss_rebalanced(g, logits, ab, factors);
	entropy = kc_cross_entropy(g, logits, r.target);
	*loss = over_kept(t, kc_mean(g, kept(t, kc_mul(g, r.weight, entropy))));
	return 0;
}

static int classification(struct kc_training *t, const struct kc_siggraph17 *out)
{
	const struct kc_config *c = t->config;
	struct kc_tensor *loss;

	if (c->network.class_bins == KC_CLASS_SOFT_313)
		KC_TRY(soft_classes(t, out->logits, &loss));
	else
		loss = hard_classes(t, out->logits);
	kc_training_term(t, "l_class", loss, c->idc.class_weight);
	if (!out->distribution)
		return 0;
	KC_TRY(soft_classes(t, out->distribution, &loss));
	kc_training_term(t, "l_dist", loss, c->idc.dist_weight);
	return 0;
}

static int check(const struct kc_config *c)
{
	if (c->data.size % KC_SIGGRAPH17_SIDE)
		return KC_FAIL(KC_ECONFIG, "datasets.train.GT_size: %lld is not a multiple of %d",
			       (long long)c->data.size, KC_SIGGRAPH17_SIDE);
	/* The norms of the global branch see one value per image. */
	if (c->network.global_hints && c->data.batch_size < 2)
		return KC_FAIL(KC_ECONFIG, "network_G.global_hints: expected a "
			       "datasets.train.batch_size of 2 or more, got %lld",
			       (long long)c->data.batch_size);
	return 0;
}

static struct kc_siggraph17_args network_args(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	int64_t batch = t->batch, side = c->data.size;

	t->hint = kc_input(t->graph, "hint", KC_TYPE(KC_REAL, batch, 2, side, side));
	t->mask = kc_input(t->graph, "mask", KC_TYPE(KC_REAL, batch, 1, side, side));
	if (c->network.global_hints) {
		t->histogram = kc_input(t->graph, "histogram",
					KC_TYPE(KC_REAL, batch, KC_GLOBAL_HISTOGRAM, 1, 1));
		t->saturation = kc_input(t->graph, "saturation",
					 KC_TYPE(KC_REAL, batch, KC_GLOBAL_SATURATION, 1, 1));
	}
	return (struct kc_siggraph17_args){
		.hint = t->hint,
		.mask = t->mask,
		.mask_cent = c->network.mask_cent,
		.route = c->idc.classification ? KC_ROUTE_CLASSES : KC_ROUTE_COLOUR,
		.width = c->network.width,
		.global_hints = c->network.global_hints,
		.histogram = t->histogram,
		.saturation = t->saturation,
		.distribution = c->network.distribution,
		.classes = c->network.class_bins == KC_CLASS_SOFT_313 ? KC_BINS : 0,
	};
}

static int idc_build(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	struct kc_siggraph17_args args;
	struct kc_siggraph17 out;
	struct kc_tensor *l;

	KC_TRY(check(c));
	kc_training_frames(t);
	args = network_args(t);
	if (c->idc.drop_grey > 0)
		make_keep(t);
	kc_training_lab(t, &l, &t->ab);
	out = kc_siggraph17(&t->model, l, &args);
	kc_training_output(t, l, out.ab, t->ab, 1);
	regression(t, out.ab);
	KC_TRY(classification(t, &out));
	if (!t->loss && !kc_perceptual_wanted(c))
		return KC_FAIL(KC_ECONFIG,
			       "train: both weights of the losses are 0, nothing is learnt");
	return 0;
}

/* The mean saturation is that of the crops, which are not in the batch when the step cuts them. */
static bool reads_crops(const struct kc_training *t)
{
	return t->saturation && t->fed.cuts;
}

/*
 * Hints are drawn from the true colour, which a plan of its own computes: on the processor, so that
 * a device with memory of its own is not waited for while it runs the batch before.
 */
static int idc_open(struct kc_training *t)
{
	const struct kc_device_choice choice = {.threads = t->device->threads};
	const struct kc_plan_opts opts = {.real = KC_F32};
	struct kc_tensor *values[] = {t->ab, t->frames};
	struct kc_device *d = t->device->memory ? &t->host : t->device;

	if (d == &t->host)
		KC_TRY(kc_device_open(d, &choice));
	return kc_plan_build(&t->prepare, t->graph, d, values, reads_crops(t) ? 2 : 1, &opts);
}

/* The plan's slots of what is drawn; data NULL: the recipe has no such input. */
struct slots {
	struct kc_buf hint, mask, histogram, saturation;
};

static int find_slots(struct kc_training *t, struct kc_plan *p, struct slots *s)
{
	*s = (struct slots){0};
	KC_TRY(kc_plan_slot(p, t->hint, &s->hint));
	KC_TRY(kc_plan_slot(p, t->mask, &s->mask));
	if (t->histogram) {
		KC_TRY(kc_plan_slot(p, t->histogram, &s->histogram));
		KC_TRY(kc_plan_slot(p, t->saturation, &s->saturation));
	}
	return 0;
}

/* Where image i begins. */
static float *row(const struct kc_buf *b, int64_t i)
{
	return (float *)b->data + i * b->stride[0];
}

static int draw_global(const struct slots *s, int64_t i, uint64_t seed, uint64_t sample,
		       const float *ab, const uint8_t *rgb, int side)
{
	float *histogram = row(&s->histogram, i), *saturation = row(&s->saturation, i);

	KC_TRY(kc_global_histogram(ab, side, side, histogram));
	kc_global_saturation(rgb, (size_t)side * (size_t)side, saturation);
	kc_global_forget(seed, sample, histogram, saturation);
	return 0;
}

static struct kc_hint_args hint_args(const struct kc_config_idc *c)
{
	struct kc_hint_args args = kc_hints_published;

	args.stop = c->hint_p;
	args.count = (int)c->hint_count;
	args.uniform = c->hint_place == KC_HINT_UNIFORM;
	args.reveal = c->hint_reveal;
	return args;
}

/* Everything that is drawn for a batch, by the number of each of its samples in the stream. */
static int draw(struct kc_training *t, const struct slots *s, int64_t first, const uint8_t *rgb,
		const float *ab)
{
	const struct kc_config *c = t->config;
	const struct kc_hint_args args = hint_args(&c->idc);
	int side = (int)c->data.size;
	size_t pixels = (size_t)side * (size_t)side;
	uint64_t seed = (uint64_t)c->seed;

	for (int64_t i = 0; i < t->batch; i++, ab += 2 * pixels, rgb += 3 * pixels) {
		uint64_t sample = (uint64_t)(first + i);

		KC_TRY(kc_hints_draw(&args, seed, sample, ab, side, side, row(&s->hint, i),
				     row(&s->mask, i)));
		if (s->histogram.data)
			KC_TRY(draw_global(s, i, seed, sample, ab, rgb, side));
	}
	return 0;
}

/* Fed, not written to its slot: a plan without the losses has none. */
static int feed_keep(struct kc_training *t, struct kc_plan *p, const float *ab)
{
	const struct kc_config *c = t->config;
	int64_t n = t->batch;
	size_t pixels = (size_t)c->data.size * (size_t)c->data.size;
	float *keep = kc_calloc((size_t)n, sizeof *keep);
	struct kc_buf b = kc_buf_of(keep, &t->keep->type, KC_CLAST);
	int rc;

	if (!keep)
		return KC_ENOMEM;
	for (int64_t i = 0; i < n; i++, ab += 2 * pixels)
		keep[i] = !kc_hints_grey(ab, pixels, c->idc.drop_grey / 110);
	rc = kc_plan_feed(p, t->keep, &b);
	free(keep);
	return rc;
}

/* The value in memory of its own, to be freed in any case. */
static int read_value(struct kc_plan *p, const struct kc_tensor *x, void **out)
{
	size_t size = kc_dtype_size((enum kc_dtype)x->type.dtype);
	void *data = kc_alloc((size_t)kc_numel(&x->type) * size);
	struct kc_buf b = kc_buf_of(data, &x->type, KC_CLAST);

	*out = data;
	return data ? kc_plan_read(p, x, &b) : KC_ENOMEM;
}

static int idc_feed(struct kc_training *t, struct kc_plan *p, const struct kc_batch *b)
{
	void *ab = NULL, *crops = NULL;
	struct slots slots;
	int rc;

	KC_TRY(kc_training_feed(t, p, b));
	KC_TRY(kc_training_feed(t, t->prepare, b));
	KC_TRY(kc_plan_run(t->prepare));
	KC_TRY(find_slots(t, p, &slots));
	rc = read_value(t->prepare, t->ab, &ab);
	if (!rc && reads_crops(t))
		rc = read_value(t->prepare, t->frames, &crops);
	if (!rc)
		rc = draw(t, &slots, b->first, crops ? crops : b->frames, ab);
	if (!rc && t->keep)
		rc = feed_keep(t, p, ab);
	free(ab);
	free(crops);
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
