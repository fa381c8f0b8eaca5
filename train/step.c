/*
 * One step of training.  On a device with memory of its own its last run goes on while the batch
 * of the next one is taken and fed; on the processor nothing is fed ahead.
 */
#include "train/adversary.h"

#include <math.h>

static int set_hyper(const struct kc_training *t, const struct kc_stage *s,
		     const struct kc_step_args *a)
{
	for (int k = 0; k < KC_TRAINEES; k++) {
		double values[KC_HYPER_COUNT] = {
			[KC_HYPER_LR] = a->lr[k],
			[KC_HYPER_STEP] = (double)(a->updates[k] + t->applied[k] + 1)};
		struct kc_buf b;

		if (!s->loss[k])
			continue;
		b = kc_buf_of(values, &s->hyper[k]->type, KC_PLAIN);
		KC_TRY(kc_plan_feed(s->update ? s->update : s->plan, s->hyper[k], &b));
	}
	return 0;
}

/* Copies the running statistics aside, or back from there; wherever they are, and they alone. */
static int copy_statistics(struct kc_training *t, bool back)
{
	struct kc_device *d = t->device;
	char *aside = t->statistics;

	for (int k = 0; aside && k < t->n_trainees; k++) {
		const struct kc_model *m = t->trainee[k].model;

		KC_TRY(kc_params_to_device(t->trainee[k].params, d));
		for (int i = 0; i < m->n_updates; i++) {
			const struct kc_param *p = m->updates[i].param;
			void *master = kc_param_on(p, d, KC_ARRAY_MASTER);

			KC_TRY(back ? kc_device_put(d, master, aside, kc_param_bytes(p))
				    : kc_device_get(d, aside, master, kc_param_bytes(p)));
			aside += kc_param_bytes(p);
		}
	}
	return 0;
}

/* ---- batches ---- */

static int feed(struct kc_training *t, const struct kc_stage *s, const struct kc_batch *b)
{
	KC_TRY(t->recipe->feed(t, s->plan, b));
	return s->loss[KC_DISCRIMINATOR] ? kc_adversary_feed(t, s->plan, b->index) : 0;
}

/* The batch that the stage is going to run is in its slots. */
static int take_batch(struct kc_training *t, const struct kc_stage *s, const struct kc_step_args *a)
{
	const struct kc_batch *batch = t->ahead.batch;
	bool fed = batch && t->ahead.stage == s;
	double start = kc_now();

	if (!batch)
		KC_TRY(a->next(a->own, &batch));
	t->ahead.batch = batch;
	t->ahead.stage = NULL;
	if (!fed) {
		KC_TRY(feed(t, s, batch));
		t->starved += kc_now() - start;
	}
	if (a->use)
		a->use(a->own, batch);
	t->ahead.batch = NULL;
	return 0;
}

/* Whether a batch can be had before the run is over. */
static bool comes_in_time(const struct kc_training *t, const struct kc_step_args *a,
			  const struct kc_plan *running)
{
	while (a->ready && !a->ready(a->own)) {
		if (kc_plan_ended(running))
			return false;
		if (t->ranks && kc_ranks_poll(t->ranks) < 0)    /* waiting for the run tells */
			return false;
	}
	return true;
}

/*
 * Feeds what stage `next` will run while the other plan runs.  What fails is not this step's: it
 * is tried again, and told, by the step that needs it.
 */
static void feed_ahead(struct kc_training *t, const struct kc_stage *next,
		       const struct kc_step_args *a, const struct kc_plan *running)
{
	const struct kc_batch *batch;

	if (!t->device->memory || !next || !comes_in_time(t, a, running) ||
	    a->next(a->own, &batch) < 0)
		return;
	t->ahead.batch = batch;
	if (feed(t, next, batch) >= 0 && kc_plan_send(next->plan) >= 0)
		t->ahead.stage = next;
}

/* ---- runs ---- */

/*
 * On a device with memory of its own a run goes on behind the call, and what is lost in it, a rank
 * of a mean, is found out by waiting for it; by then the update may have been made.
 */
static int launch(struct kc_training *t, struct kc_plan *p, bool updates)
{
	t->torn |= t->device->memory && updates;
	return kc_plan_run(p);
}

/* Waits for the run, beside which the next stage is fed. */
static int finish(struct kc_training *t, struct kc_plan *p, const struct kc_stage *next,
		  const struct kc_step_args *a, double launched)
{
	double fed, ran;

	feed_ahead(t, next, a, p);
	fed = kc_now() - launched;
	KC_TRY(kc_plan_wait(p));
	if (!t->ahead.batch)
		return 0;
	KC_TRY(kc_plan_seconds(p, &ran));
	t->starved += KC_MAX(fed - ran, 0);
	return 0;
}

/* One batch of the stage; `next` is the stage that takes the batch behind it, or NULL. */
static int run_batch(struct kc_training *t, const struct kc_stage *s, const struct kc_stage *next,
		     const struct kc_step_args *a, bool first)
{
	double share = 1.0 / (double)t->config->optimizer.accumulate, launched;

	KC_TRY(take_batch(t, s, a));
	launched = kc_now();
	KC_TRY(launch(t, s->plan, !s->update));
	KC_TRY(finish(t, s->plan, next, a, launched));
	for (int i = 0; i < s->n_terms; i++) {
		double x = share * kc_plan_scalar(s->plan, s->term[i]);

		t->terms[i].last = first ? x : t->terms[i].last + x;
	}
	return 0;
}

static void read_step(struct kc_training *t, const struct kc_stage *s, struct kc_plan *last)
{
	if (s->loss[KC_GENERATOR])
		t->grad_norm = kc_plan_scalar(last, s->norm[KC_GENERATOR]);
	t->finite = kc_plan_scalar(last, s->all_finite) != 0;
	t->torn = false;
	for (int k = 0; k < KC_TRAINEES; k++) {
		t->applied[k] += t->finite && s->loss[k];
		t->torn |= t->applied[k] > 0;
	}
}

/* Batches add up their gradients; t->finite tells whether the losses of all of them were finite. */
static int accumulate(struct kc_training *t, const struct kc_stage *s, const struct kc_stage *next,
		      const struct kc_step_args *a)
{
	int64_t n = t->config->optimizer.accumulate;

	for (int k = 0; k < KC_TRAINEES; k++)
		if (s->loss[k])
			KC_TRY(kc_params_zero(t->trainee[k].params, KC_ARRAY_GRAD));
	t->finite = true;
	for (int64_t i = 0; i < n; i++) {
		KC_TRY(run_batch(t, s, i + 1 < n ? s : next, a, i == 0));
		t->finite &= kc_plan_scalar(s->plan, s->batch_finite) != 0;
	}
	return 0;
}

static int split_step(struct kc_training *t, const struct kc_stage *s, const struct kc_stage *next,
		      const struct kc_step_args *a)
{
	int rc;

	KC_TRY(copy_statistics(t, false));
	rc = accumulate(t, s, next, a);
	if (!rc && t->finite) {
		rc = launch(t, s->update, true);
		if (!rc)
			rc = kc_plan_wait(s->update);
		if (!rc)
			read_step(t, s, s->update);
	}
	if (rc < 0 || !t->finite) {
		int back = copy_statistics(t, true);

		rc = rc < 0 ? rc : back;
	}
	return rc;
}

static int run_stage(struct kc_training *t, const struct kc_stage *s, const struct kc_stage *next,
		     const struct kc_step_args *a)
{
	t->n_logged = s->n_terms;
	KC_TRY(set_hyper(t, s, a));
	if (s->update)
		return split_step(t, s, next, a);
	KC_TRY(run_batch(t, s, next, a, true));
	read_step(t, s, s->plan);
	return 0;
}

/* The stage that takes the first batch of the step of that number. */
static const struct kc_stage *first_stage(const struct kc_training *t, int64_t iter)
{
	if (kc_training_is_alone(t, iter))
		return &t->stage[KC_STAGE_ALONE];
	return &t->stage[t->config->gan.d_steps > 1 ? KC_STAGE_DISCRIMINATOR : KC_STAGE_BOTH];
}

static int run_stages(struct kc_training *t, const struct kc_step_args *a)
{
	const struct kc_stage *both = &t->stage[KC_STAGE_BOTH];
	const struct kc_stage *rival = &t->stage[KC_STAGE_DISCRIMINATOR];
	const struct kc_stage *next = a->last ? NULL : first_stage(t, a->iter + 1);
	int64_t n = t->config->gan.d_steps;

	if (kc_training_is_alone(t, a->iter))
		return run_stage(t, &t->stage[KC_STAGE_ALONE], next, a);
	for (int64_t i = 1; i < n; i++) {
		KC_TRY(run_stage(t, rival, i + 1 < n ? rival : both, a));
		if (!t->finite)
			return 0;
	}
	return run_stage(t, both, next, a);
}

int kc_training_step(struct kc_training *t, const struct kc_step_args *a)
{
	memset(t->applied, 0, sizeof t->applied);
	t->torn = false;
	t->starved = 0;
	t->grad_norm = NAN;             /* a step may end before its generator is run */
	KC_TRY(run_stages(t, a));
	t->torn = false;
	return 0;
}

int kc_training_forget(struct kc_training *t)
{
	for (int k = 0; k < t->n_trainees; k++) {
		struct kc_params *s = t->trainee[k].params;

		KC_TRY(kc_params_zero(s, KC_ARRAY_MOMENT1));
		KC_TRY(kc_params_zero(s, KC_ARRAY_MOMENT2));
	}
	return 0;
}

