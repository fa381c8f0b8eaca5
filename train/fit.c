/* Memory of a step: what it needs, what there is, and what is given up to make it fit. */
#include "train/run.h"

#include <stdio.h>
#include <stdlib.h>

size_t kc_process_bytes(const char *field)
{
	FILE *f = fopen("/proc/self/status", "r");
	size_t n = strlen(field), kilobytes = 0;
	char line[256];

	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, field, n) && line[n] == ':')
			kilobytes = strtoul(line + n + 1, NULL, 10);
	if (f)
		fclose(f);
	return kilobytes * 1024;
}

/* ---- what it needs ---- */

/*
 * What a run adds to the process.  Gradients are stored only where batches are accumulated;
 * elsewhere nothing touches that array.  A discriminator has its initial values from the start.
 */
static size_t params_bytes(const struct kc_training *t)
{
	bool stored = t->config->optimizer.accumulate > 1;
	size_t bytes = 0;

	for (int k = 0; k < t->n_trainees; k++) {
		const struct kc_params *s = t->trainee[k].params;

		bytes += s->bytes - (stored ? 0 : s->trainable * kc_dtype_size(s->dtype));
		if (k == KC_DISCRIMINATOR)
			bytes -= s->count * kc_dtype_size(s->dtype);
	}
	return bytes;
}

/* On a device with memory of its own: every array has a copy there, and the arena is rounded. */
static size_t device_bytes(const struct kc_run *r, const struct kc_plan_stats *s)
{
	enum { PAGE = 2 << 20 };
	size_t bytes = (s->arena + PAGE - 1) & ~(size_t)(PAGE - 1);

	for (int k = 0; k < r->training.n_trainees; k++)
		bytes += r->training.trainee[k].params->bytes;
	return bytes + s->slots + s->packed + r->device.library_bytes;
}

size_t kc_run_step_bytes(const struct kc_run *r)
{
	struct kc_plan_stats s;

	kc_training_stats(&r->training, &s);
	if (r->device.memory)
		return device_bytes(r, &s);
	return s.arena + s.slots + s.packed + params_bytes(&r->training);
}

static size_t batch_bytes(const struct kc_training *t)
{
	size_t bytes = (size_t)kc_numel(&t->fed.frames->type);

	if (t->fed.flows)
		bytes += (size_t)kc_numel(&t->fed.flows->type) * sizeof(float);
	return bytes;
}

size_t kc_run_planned_bytes(const struct kc_run *r)
{
	/*
	 * Measured: code of the libraries that is read into memory when it first runs, kernels that
	 * oneDNN writes, the measurement of the peak, rounding to large pages.
	 */
	enum { LIBRARIES = 13 << 20 };

	if (r->device.memory)
		return kc_run_step_bytes(r);
	return r->bytes_at_open + LIBRARIES + kc_run_step_bytes(r) + r->device.scratch_bytes +
	       KC_BATCHES_AHEAD * batch_bytes(&r->training);
}

/* ---- what there is ---- */

/* Bytes that it may take; 0: nobody knows. */
static size_t memory_limit(struct kc_run *r)
{
	size_t used, all;

	if (r->config->memory_cap > 0)
		return (size_t)(r->config->memory_cap * 1e6);
	if (!r->device.memory || r->device.memory->usage(&r->device, &used, &all) < 0)
		return 0;
	return all - KC_MIN(used, all);
}

/* On every rank: one whose memory is too small is reason enough for all. */
static int check_fit(struct kc_run *r, size_t limit, bool *fits)
{
	double over = limit && kc_run_step_bytes(r) > limit;

	KC_TRY(kc_ranks_max(r->ranks, &over, 1));
	*fits = over == 0;
	return 0;
}

static int too_large(const struct kc_run *r, size_t limit)
{
	if (!limit || kc_run_step_bytes(r) <= limit)
		return 0;
	return KC_FAIL(KC_ENOMEM,
		       "a step needs %.0f MB on %s, there are %.0f MB%s; expected a smaller "
		       "datasets.train.batch_size, GT_size or keyframe_interval%s",
		       (double)kc_run_step_bytes(r) / 1e6, r->device.name, (double)limit / 1e6,
		       r->config->memory_cap > 0 ? " (memory_cap)" : "",
		       r->config->memory_cap > 0 ? "" : ", or a memory_cap");
}

/* ---- what is given up ---- */

static void say(struct kc_run *r, const char *text)
{
	if (!r->ranks->rank)
		kc_run_say(r, "%s", text);
}

static int open_again(struct kc_run *r)
{
	kc_training_close(&r->training);
	kc_device_unpack(&r->device);
	KC_TRY(kc_run_prepare(r));
	return kc_training_open(&r->training, r->config, &r->device);
}

/* The same bits in less memory and more time. */
static int keep_less(struct kc_run *r)
{
	r->device.roomy = false;
	say(r, "memory: concatenations and the like are computed again, not kept");
	return open_again(r);
}

/* The norms of the branch of global hints see one value per image: of one image they are none. */
static bool may_halve(const struct kc_run *r)
{
	const struct kc_config *c = r->config;
	int64_t least = c->network.global_hints ? 2 : 1;

	return c->memory_cap > 0 && c->data.batch_size % (2 * r->ranks->size) == 0 &&
	       c->data.batch_size / 2 >= least;
}

/*
 * Twice as many batches of half the size, whose gradients are added up: the same step, but for the
 * order of sums and what depends on the others of a batch, in about half the memory.
 */
static int halve_batch(struct kc_run *r)
{
	struct kc_config *c = r->config;

	c->data.batch_size /= 2;
	c->optimizer.accumulate *= 2;
	if (c->loss.reduction == KC_REDUCE_SUM)         /* a step takes the mean of its batches */
		c->loss.pixel_weight *= 2;
	return open_again(r);
}

static bool has_batch_norm(const struct kc_training *t)
{
	for (int k = 0; k < t->n_trainees; k++) {
		const struct kc_model *m = t->trainee[k].model;

		for (int i = 0; i < m->n_updates; i++)
			if (m->updates[i].param->kind == KC_PARAM_NORM_MEAN)
				return true;
	}
	return false;
}

/* What sees the others of a batch sees only those of its part. */
static void say_parts(struct kc_run *r)
{
	const struct kc_config *c = r->config;
	const struct { bool used; const char *what; } parts[] = {
		{has_batch_norm(&r->training), "batch norm takes its moments"},
		{c->idc.drop_grey > 0 && c->recipe == KC_RECIPE_IDC,
		 "train.drop_grey counts the images that it keeps"},
		{c->gan.kind == KC_GAN_BY_RALSGAN, "ralsgan takes its mean scores"},
		{c->gan.kind == KC_GAN_WGANGP, "wgangp draws its interpolations"},
	};

	if (!r->ranks->rank)
		kc_run_say(r, "memory_cap: a step takes %lld batches of %lld",
			   (long long)c->optimizer.accumulate, (long long)c->data.batch_size);
	for (size_t i = 0; i < KC_COUNT(parts); i++)
		if (parts[i].used && !r->ranks->rank)
			kc_run_say(r, "memory_cap: not the step of a whole batch: %s over each "
				   "part alone", parts[i].what);
}

int kc_run_fit(struct kc_run *r)
{
	size_t limit = memory_limit(r);
	bool fits, split = false;

	KC_TRY(kc_ranks_agree(r->ranks, open_again(r)));
	KC_TRY(check_fit(r, limit, &fits));
	if (!fits && r->device.roomy && r->training.low) {
		KC_TRY(kc_ranks_agree(r->ranks, keep_less(r)));
		KC_TRY(check_fit(r, limit, &fits));
	}
	for (; !fits; split = true) {
		if (!may_halve(r))
			return kc_ranks_agree(r->ranks, too_large(r, limit));
		KC_TRY(kc_ranks_agree(r->ranks, halve_batch(r)));
		KC_TRY(check_fit(r, limit, &fits));
	}
	if (split)
		say_parts(r);
	return 0;
}
