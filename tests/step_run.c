#include "tests/step_run.h"

#include "data/pack.h"
#include "data/symmetry.h"
#include "train/start.h"

#include <math.h>
#include <stdlib.h>

/* ---- film: coloured waves that move by whole pixels ---- */

enum { SPEED_X = 2, SPEED_Y = -1, MARGIN = 44 };

static uint8_t wave(int64_t x, int64_t y, int channel)
{
	double phase = 0.31 * (double)x + 0.17 * (double)y + 2.1 * channel;

	return (uint8_t)(128 + 90 * sin(phase) + 30 * cos(0.07 * (double)(x - 2 * y)));
}

/* What the loader would have read: whole frames, flows between them, and its draws. */
struct whole {
	int side;                       /* of the frames */
	uint8_t *frames;
	int16_t *flows;
	int32_t (*cuts)[3];
};

static void paint(const struct whole *w, const struct kc_batch *b)
{
	uint8_t *p = w->frames;

	for (int t = 0; t < b->window; t++)
		for (int s = 0; s < b->batch; s++)
			for (int y = 0; y < w->side; y++)
				for (int x = 0; x < w->side; x++)
					for (int c = 0; c < 3; c++)
						*p++ = wave(x - SPEED_X * t + 7 * s + b->index,
							    y - SPEED_Y * t + 3 * b->index, c);
}

/* Warping frame `to` by the flow gives frame `from`. */
static void move(const struct whole *w, const struct kc_batch *b,
		 const struct kc_loader_pair *pairs)
{
	size_t pixels = (size_t)b->batch * (size_t)w->side * (size_t)w->side;
	const int one = (int)(1 / KC_PACK_FLOW_UNIT);
	int16_t *f = w->flows;

	for (int p = 0; p < b->n_pairs; p++)
		for (size_t i = 0; i < pixels; i++) {
			*f++ = (int16_t)(one * SPEED_X * (pairs[p].to - pairs[p].from));
			*f++ = (int16_t)(one * SPEED_Y * (pairs[p].to - pairs[p].from));
		}
}

static void draw(const struct whole *w, const struct kc_batch *b)
{
	for (int s = 0; s < b->batch; s++) {
		w->cuts[s][0] = (5 * s + 11 * (int)b->index) % (MARGIN + 1);
		w->cuts[s][1] = (3 * s + 17 * (int)b->index) % (MARGIN + 1);
		w->cuts[s][2] = (s + b->batch * (int)b->index) % 8;
	}
}

static int film(struct whole *w, const struct kc_batch *b, const struct kc_loader_pair *pairs,
		int side)
{
	size_t batch = (size_t)b->batch, pixels;

	w->side = side + MARGIN;
	pixels = batch * (size_t)w->side * (size_t)w->side;
	w->frames = kc_alloc(3 * pixels * (size_t)b->window);
	w->flows = kc_alloc(2 * pixels * (size_t)b->n_pairs * sizeof *w->flows);
	w->cuts = kc_alloc(batch * sizeof *w->cuts);
	if (!w->frames || !w->flows || !w->cuts)
		return KC_ENOMEM;
	paint(w, b);
	move(w, b, pairs);
	draw(w, b);
	return 0;
}

/* What the loader hands over when it cuts. */
static int cut(const struct whole *w, struct kc_batch *b, int side)
{
	size_t pixels = (size_t)side * (size_t)side, all = (size_t)w->side * (size_t)w->side;
	size_t frames = (size_t)(b->window * b->batch), flows = (size_t)(b->n_pairs * b->batch);

	b->frames = kc_alloc(3 * frames * pixels);
	b->flows = kc_alloc(2 * flows * pixels * sizeof *b->flows);
	if (!b->frames || !b->flows)
		return KC_ENOMEM;
	for (size_t i = 0; i < KC_MAX(frames, flows); i++) {
		const int32_t *c = w->cuts[i % (size_t)b->batch];
		const struct kc_crop crop = {w->side, c[0], c[1], side, side};

		if (i < frames)
			kc_crop_pixels(w->frames + 3 * i * all, &crop, (unsigned)c[2], 3,
				       b->frames + 3 * i * pixels);
		if (i < flows)
			kc_crop_flow16(w->flows + 2 * i * all, &crop, (unsigned)c[2],
				       KC_PACK_FLOW_UNIT, b->flows + 2 * i * pixels);
	}
	return 0;
}

static int make_batch(const struct step_run *r, int64_t index, struct kc_batch *b)
{
	const struct kc_training *t = &r->training;
	int side = (int)r->config.data.size, rc;
	struct whole w = {0};

	*b = (struct kc_batch){.index = index, .window = t->window, .height = side, .width = side,
			       .batch = (int)r->config.data.batch_size,
			       .n_pairs = t->flows ? t->n_pairs : 0};
	rc = film(&w, b, t->pairs, side);
	if (!rc && t->fed.cuts) {
		b->height = b->width = w.side;
		b->frames = w.frames;
		b->stored_flows = w.flows;
		b->cuts = w.cuts;
		return 0;
	}
	if (!rc)
		rc = cut(&w, b, side);
	free(w.frames);
	free(w.flows);
	free(w.cuts);
	return rc;
}

static int next(void *own, const struct kc_batch **out)
{
	struct step_run *r = own;
	int64_t index = r->taken++ % STEP_FILMS;
	struct kc_batch *b = &r->batch[index];

	if (!b->frames)
		KC_TRY(make_batch(r, index, b));
	*out = b;
	return 0;
}

/* ---- the run ---- */

static void hear(void *own, const char *text)
{
	(void)own;
	(void)text;
}

static int configure(struct kc_config *c, const char *const *set)
{
	KC_TRY(kc_config_init(c));
	KC_TRY(kc_config_set(c, "name=step"));
	KC_TRY(kc_config_set(c, "network_G.init=formula"));
	for (; *set; set++)
		KC_TRY(kc_config_set(c, *set));
	return kc_config_resolve(c);
}

int step_open(struct step_run *r, int (*device)(struct kc_device *, void *own), void *own,
	      const char *const *set)
{
	struct kc_loader_opts unused = {0};

	*r = (struct step_run){0};
	KC_TRY(configure(&r->config, set));
	KC_TRY(device(&r->device, own));
	r->training.config = &r->config;
	r->training.recipe = kc_recipe_of(&r->config);
	if (r->config.data.augment == KC_AUGMENT_DEVICE)
		r->training.fed.width = r->training.fed.height =
			(int)r->config.data.size + MARGIN;
	KC_TRY(r->training.recipe->samples(&r->training, &unused));
	KC_TRY(kc_training_open(&r->training, &r->config, &r->device));
	return kc_start(&r->config, r->training.params, hear, NULL);
}

void step_close(struct step_run *r)
{
	kc_training_close(&r->training);
	kc_device_release(&r->device);
	kc_config_release(&r->config);
	for (int i = 0; i < STEP_FILMS; i++) {
		free(r->batch[i].frames);
		free(r->batch[i].flows);
		free(r->batch[i].stored_flows);
		free(r->batch[i].cuts);
	}
}

int step_take(struct step_run *r, int n)
{
	for (int i = 0; i < n; i++) {
		struct kc_step_args a = {.iter = r->steps + 1, .next = next, .own = r};

		for (int k = 0; k < KC_TRAINEES; k++) {
			a.lr[k] = kc_schedule_lr(&r->config.schedule, r->steps + 1);
			a.updates[k] = r->steps;
		}
		KC_TRY(kc_training_step(&r->training, &a));
		r->steps++;
	}
	return 0;
}

/* ---- state ---- */

static const enum kc_param_array kept[] = {KC_ARRAY_MASTER, KC_ARRAY_MOMENT1, KC_ARRAY_MOMENT2};

static size_t kept_length(const struct kc_params *s, enum kc_param_array which)
{
	return kc_params_array(s, which) ? kc_params_length(s, which) : 0;
}

int step_state(struct step_run *r, float **state, size_t *n)
{
	struct kc_params *s = r->training.params;
	float *at;

	*n = 0;
	KC_TRY(kc_params_to_host(s));
	for (size_t i = 0; i < KC_COUNT(kept); i++)
		*n += kept_length(s, kept[i]);
	at = *state = kc_calloc(*n, sizeof *at);
	if (!at)
		return KC_ENOMEM;
	for (size_t i = 0; i < KC_COUNT(kept); i++) {
		size_t length = kept_length(s, kept[i]);

		if (length)
			memcpy(at, kc_params_array(s, kept[i]), length * sizeof *at);
		at += length;
	}
	return 0;
}

int step_restore(struct step_run *r, const float *state, int64_t steps)
{
	struct kc_params *s = r->training.params;

	KC_TRY(kc_params_to_host(s));
	for (size_t i = 0; i < KC_COUNT(kept); i++) {
		size_t length = kept_length(s, kept[i]);

		if (length)
			memcpy(kc_params_array(s, kept[i]), state, length * sizeof *state);
		state += length;
	}
	for (size_t i = 0; i < s->n; i++)
		kc_param_changed(s->v[i]);
	r->steps = r->taken = steps;
	return 0;
}
