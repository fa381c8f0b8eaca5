#include "tests/step_run.h"

#include "train/start.h"

#include <math.h>
#include <stdlib.h>

/* ---- film: coloured waves that move by whole pixels ---- */

enum { SPEED_X = 2, SPEED_Y = -1 };

static uint8_t wave(int64_t x, int64_t y, int channel)
{
	double phase = 0.31 * (double)x + 0.17 * (double)y + 2.1 * channel;

	return (uint8_t)(128 + 90 * sin(phase) + 30 * cos(0.07 * (double)(x - 2 * y)));
}

static size_t frame_bytes(const struct kc_batch *b)
{
	return 3 * (size_t)b->batch * (size_t)b->height * (size_t)b->width * (size_t)b->window;
}

static void paint(uint8_t *p, const struct kc_batch *b)
{
	for (int t = 0; t < b->window; t++)
		for (int s = 0; s < b->batch; s++)
			for (int y = 0; y < b->height; y++)
				for (int x = 0; x < b->width; x++)
					for (int c = 0; c < 3; c++)
						*p++ = wave(x - SPEED_X * t + 7 * s + b->index,
							    y - SPEED_Y * t + 3 * b->index, c);
}

/* Warping frame `to` by the flow gives frame `from`. */
static void move(struct kc_batch *b, const struct kc_loader_pair *pairs)
{
	size_t pixels = (size_t)b->batch * (size_t)b->height * (size_t)b->width;
	float *f = b->flows;

	for (int p = 0; p < b->n_pairs; p++)
		for (size_t i = 0; i < pixels; i++) {
			*f++ = (float)(SPEED_X * (pairs[p].to - pairs[p].from));
			*f++ = (float)(SPEED_Y * (pairs[p].to - pairs[p].from));
		}
}

static int film(struct step_run *r)
{
	const struct kc_training *t = &r->training;
	struct kc_batch *b = &r->batch;
	size_t pixels;

	*b = (struct kc_batch){.window = t->window,
			       .batch = (int)r->config.data.batch_size,
			       .height = (int)r->config.data.size,
			       .width = (int)r->config.data.size,
			       .n_pairs = t->flows ? t->n_pairs : 0};
	pixels = (size_t)b->batch * (size_t)b->height * (size_t)b->width;
	if (!t->flows)
		return 0;
	b->flows = kc_calloc(2 * pixels * (size_t)b->n_pairs, sizeof *b->flows);
	if (!b->flows)
		return KC_ENOMEM;
	move(b, t->pairs);
	return 0;
}

static int next(void *own, const struct kc_batch **out)
{
	struct step_run *r = own;

	struct kc_batch *b = &r->batch;
	uint8_t **film = &r->films[r->steps % STEP_FILMS];

	b->index = r->steps % STEP_FILMS;
	if (!*film) {
		*film = kc_alloc(frame_bytes(b));
		if (!*film)
			return KC_ENOMEM;
		paint(*film, b);
	}
	b->frames = *film;
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
	KC_TRY(r->training.recipe->samples(&r->training, &unused));
	KC_TRY(kc_training_open(&r->training, &r->config, &r->device));
	KC_TRY(kc_start(&r->config, r->training.params, hear, NULL));
	return film(r);
}

void step_close(struct step_run *r)
{
	kc_training_close(&r->training);
	kc_device_release(&r->device);
	kc_config_release(&r->config);
	for (int i = 0; i < STEP_FILMS; i++)
		free(r->films[i]);
	free(r->batch.flows);
}

int step_take(struct step_run *r, int n)
{
	for (int i = 0; i < n; i++) {
		struct kc_step_args a = {.next = next, .own = r};

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
	r->steps = steps;
	return 0;
}
