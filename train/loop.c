/* The loop over iterations: what happens between two steps. */
#include "layers/devices.h"
#include "train/best.h"
#include "train/ranks.h"
#include "train/run.h"
#include "train/start.h"
#include "train/stop.h"
#include "train/validate.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- start ---- */

/* A state file of another run would be read from this run's folder, or not at all. */
static int check_own_state(const struct kc_run *r, const char *path, const char *base)
{
	char *own = kc_format("%s/%s", r->experiment.states, base);
	struct stat given, there;
	int rc = 0;

	if (!own)
		return KC_ENOMEM;
	if (stat(path, &given) < 0)
		rc = KC_FAIL(KC_ENOENT, "path.resume_state: %s: %s", path, strerror(errno));
	else if (stat(own, &there) < 0 || there.st_ino != given.st_ino ||
		 there.st_dev != given.st_dev)
		rc = KC_FAIL(KC_ECONFIG,
			     "path.resume_state: %s is no state of this run, expected one in %s; "
			     "path.pretrain_model_G takes weights of another run",
			     path, r->experiment.states);
	free(own);
	return rc;
}

/* Iteration of path.resume_state: -1 for auto. */
static int find_state(const struct kc_run *r, int64_t *iter)
{
	const char *path = r->config->path.resume_state, *base = strrchr(path, '/');
	char *end;

	*iter = -1;
	if (!strcmp(path, "auto"))
		return 0;
	base = base ? base + 1 : path;
	*iter = strtoll(base, &end, 10);
	if (end == base || strcmp(end, ".state") || *iter < 0)
		return KC_FAIL(
			KC_ECONFIG,
			"path.resume_state: expected auto or a file <iteration>.state, got %s",
			path);
	return base == path ? 0 : check_own_state(r, path, base);
}

static void say_start(void *own, const char *text)
{
	kc_run_say(own, "%s", text);
}

/* Fills the store from a checkpoint; *resumed says whether there was one. */
static int resume(struct kc_run *r, bool *resumed)
{
	struct kc_names refused = {0};
	int64_t iter;
	int rc;

	*resumed = false;
	if (!r->config->path.resume_state)
		return 0;
	KC_TRY(find_state(r, &iter));
	rc = kc_progress_load(&r->save, iter, r->training.params, &r->progress, &refused);
	for (size_t i = 0; i < refused.n; i++)
		kc_run_say(r, "passed over: %s", refused.v[i]);
	kc_names_free(&refused);
	if (rc == KC_ENOENT && iter == -1)
		return 0;
	*resumed = rc >= 0;
	r->saved_iter = rc >= 0 ? r->progress.iter : -1;
	return rc;
}

static void say_beginning(struct kc_run *r, bool resumed, const char *archived)
{
	const struct kc_training *t = &r->training;
	struct kc_plan_stats s;

	kc_training_stats(t, &s);
	if (archived)
		kc_log_say(&r->log, "an older run of this name was moved to %s", archived);
	if (r->config->ignored)
		kc_log_say(&r->log, "keys without effect here: %s", r->config->ignored);
	kc_log_say(&r->log, "%s on %s, %s", t->recipe->name, kc_device_describe(t->device),
		   t->low ? "bf16" : "float32");
	if (r->ranks->size > 1)
		kc_log_say(&r->log, "%d processes, %lld of %lld windows each", r->ranks->size,
			   (long long)t->batch, (long long)r->config->data.batch_size);
	if (t->low && !r->device.fast_bf16)
		kc_log_say(&r->log,
			   "bf16 is slow on this machine; precision: auto takes float32 here");
	kc_log_say(&r->log,
		   "%zu parameters trained, %.2f GFLOP a step, %d plan steps, %.0f MB planned",
		   t->params->trainable, s.flops / 1e9, s.steps,
		   (double)kc_run_planned_bytes(r) / 1e6);
	for (int i = 0; i < t->n_remarks; i++)
		kc_log_say(&r->log, "%s", t->remark[i]);
	if (resumed)
		kc_log_say(&r->log, "resumed behind iteration %lld", (long long)r->progress.iter);
}

static void say_remembered(struct kc_run *r)
{
	for (size_t i = 0; i < r->said.n; i++)
		kc_log_say(&r->log, "%s", r->said.v[i]);
	kc_names_free(&r->said);
	r->said = (struct kc_names){0};
}

/* A validation that cannot be is told now, not after hours. */
static int check_validation(const struct kc_run *r)
{
	struct kc_dataset *data;
	int rc;

	if (!r->config->val.root || !r->config->val_freq)
		return 0;
	rc = kc_dataset_open(r->config->val.root, &data);
	if (rc < 0)
		return kc_cause(rc, "datasets.val.dataroot_GT");
	kc_dataset_close(data);
	return 0;
}

/* The weights, on rank 0. */
static int fill(struct kc_run *r, bool *resumed)
{
	*resumed = false;
	if (r->ranks->rank)
		return 0;
	KC_TRY(kc_start(r->config, r->training.params, say_start, r));
	return resume(r, resumed);
}

static int open_data(struct kc_run *r)
{
	KC_TRY(kc_run_open_data(r));
	return check_validation(r);
}

/* Folder and log, on rank 0. */
static int open_log(struct kc_run *r, bool resumed)
{
	const char *events = r->config->tensorboard ? r->experiment.tensorboard : NULL;
	char *archived = NULL;
	int rc;

	if (r->ranks->rank)
		return 0;
	KC_TRY(kc_experiment_make(&r->experiment, r->config, resumed, &archived));
	rc = kc_log_open(&r->log, r->experiment.dir, r->config->name, events, r->progress.iter);
	if (!rc) {
		r->logging = true;
		say_beginning(r, resumed, archived);
		say_remembered(r);
	}
	free(archived);
	return rc;
}

/* The folder of the run is touched only when nothing else can refuse to start. */
static int begin(struct kc_run *r)
{
	bool resumed;

	KC_TRY(kc_ranks_agree(r->ranks, fill(r, &resumed)));
	KC_TRY(kc_run_share(r, &resumed));
	KC_TRY(kc_ranks_agree(r->ranks, open_data(r)));
	return kc_ranks_agree(r->ranks, open_log(r, resumed));
}

/* ---- between steps ---- */

/* 0: none. */
static int64_t best_so_far(const struct kc_run *r)
{
	char *path = kc_format("%s/metrics.jsonl", r->experiment.dir);
	int64_t best = path ? kc_best_iter(r->config, path) : -1;

	free(path);
	return KC_MAX(best, INT64_C(0));
}

static int write_checkpoint(struct kc_run *r)
{
	if (r->ranks->rank)
		return 0;
	KC_TRY(kc_log_sync(&r->log));
	r->save.retention.best = best_so_far(r);
	return kc_progress_save(&r->save, r->training.params, &r->progress);
}

/* When another rank has failed, rank 0 writes what it has: the step that all have done. */
static int save(struct kc_run *r)
{
	int rc = 0;

	if (r->saved_iter == r->progress.iter)
		return 0;
	if (r->config->nan_policy == KC_NAN_ROLLBACK)
		r->progress.nan_row = 0;
	if (!r->ranks->failed)
		rc = kc_run_compare_params(r);
	if (!rc)
		rc = write_checkpoint(r);
	if (!r->ranks->failed)
		rc = kc_ranks_agree(r->ranks, rc);
	/* A rank that went meanwhile is no reason not to try again at the end. */
	r->save_failed = rc < 0 && !r->ranks->failed;
	if (rc < 0)
		return kc_cause(rc, "checkpoint of iteration %lld", (long long)r->progress.iter);
	r->saved_iter = r->progress.iter;
	kc_log_say(&r->log, "saved iteration %lld", (long long)r->progress.iter);
	return 0;
}

/* The iteration at which the run will end: the last one, or the one when its time is up. */
static int64_t expected_end(const struct kc_run *r, double seconds)
{
	double left = r->config->max_seconds - (kc_now() - r->started);

	if (r->config->max_seconds <= 0 || seconds <= 0)
		return r->config->niter;
	return KC_MIN(r->config->niter, r->progress.iter + (int64_t)(KC_MAX(left, 0) / seconds));
}

static int log_step(struct kc_run *r, double seconds, double waited, bool line)
{
	const struct kc_training *t = &r->training;
	struct kc_metric values[KC_MAX_TERMS + 1];
	struct kc_log_step s = {
		.epoch = r->progress.epoch,
		.iter = r->progress.iter,
		.niter = expected_end(r, seconds),
		.lr = kc_schedule_logged(&r->config->schedule, r->progress.iter),
		.time = seconds,
		.data_time = waited,
		.memory = (double)kc_process_bytes("VmRSS"),
		.values = values,
		.frames_per_s = (double)(t->window * r->config->data.batch_size *
					 r->config->optimizer.accumulate) /
				seconds,
	};

	if (r->peak > 0)
		s.peak = kc_training_flops(t, r->progress.iter) / seconds / r->peak;

	for (int i = 0; i < t->n_logged; i++)
		values[s.n++] = (struct kc_metric){t->terms[i].name, t->terms[i].last};
	values[s.n++] = (struct kc_metric){"grad_norm", t->grad_norm};
	if (line)
		return kc_log_step(&r->log, &s);
	kc_log_progress(&r->log, &s);
	return 0;
}

/* Which samples gave the non-finite step. */
static int say_samples(struct kc_run *r)
{
	for (int i = 0; r->held && i < r->held->batch; i++)
		kc_run_say(r, "iteration %lld is not finite: clip %s from frame %lld",
			   (long long)r->progress.iter, r->held->samples[i].clip,
			   (long long)r->held->samples[i].start);
	return kc_run_gather_lines(r);
}

static int load_saved(struct kc_run *r)
{
	struct kc_names refused = {0};  /* one iteration is asked for: none is passed over */

	return r->ranks->rank ? 0
			      : kc_progress_load(&r->save, r->saved_iter, r->training.params,
						 &r->progress, &refused);
}

/* Back to the last checkpoint, but on with the data that come now. */
static int roll_back(struct kc_run *r)
{
	struct kc_progress now = r->progress;
	bool resumed = true;

	KC_TRY(kc_ranks_agree(r->ranks, load_saved(r)));
	KC_TRY(kc_run_share(r, &resumed));
	r->progress.cursor = now.cursor;
	r->progress.epoch = now.epoch;
	r->progress.nan_total = now.nan_total;
	r->progress.nan_row = now.nan_row;
	kc_log_say(&r->log, "rolled back to iteration %lld", (long long)r->progress.iter);
	return 0;
}

/* The step changed nothing; what else follows from it is the policy. */
static int on_non_finite(struct kc_run *r)
{
	int64_t policy = r->config->nan_policy;

	KC_TRY(say_samples(r));
	if (policy == KC_NAN_STOP || r->progress.nan_row >= r->config->nan_limit)
		return kc_ranks_agree(
			r->ranks,
			KC_FAIL(KC_ENUMERIC,
				"loss or gradient is not finite in iteration %lld (%lld in a row); "
				"the weights are those of the last finite step",
				(long long)r->progress.iter, (long long)r->progress.nan_row));
	if (policy == KC_NAN_ROLLBACK && r->saved_iter >= 0)
		return roll_back(r);
	return 0;
}

static bool divides(int64_t every, int64_t iter)
{
	return every > 0 && iter % every == 0;
}

static bool validates(const struct kc_run *r)
{
	return r->config->val.root && divides(r->config->val_freq, r->progress.iter);
}

/* The best iteration is saved, whatever logger.save_checkpoint_freq says. */
static int validate(struct kc_run *r)
{
	double best;

	KC_TRY(kc_validate(r));
	KC_TRY(kc_log_sync(&r->log));
	best = r->ranks->rank ? 0 : (double)(best_so_far(r) == r->progress.iter);
	KC_TRY(kc_ranks_max(r->ranks, &best, 1));
	if (best == 0)
		return 0;
	kc_log_say(&r->log, "the best so far");
	return save(r);
}

/* A run that was ended between a checkpoint and its validation owes this. */
static int validate_late(struct kc_run *r)
{
	double done;
	char *path;

	if (!r->progress.iter || !validates(r))
		return 0;
	path = kc_format("%s/metrics.jsonl", r->experiment.dir);
	if (!path)
		return KC_ENOMEM;
	done = !r->ranks->rank && kc_log_has(path, r->progress.iter, "val_psnr");
	free(path);
	KC_TRY(kc_ranks_max(r->ranks, &done, 1));
	return done > 0 ? 0 : validate(r);
}

static int after_step(struct kc_run *r, double seconds, double waited)
{
	int64_t iter = r->progress.iter;
	bool line = divides(r->config->logger.print_freq, iter);

	/* At once: the step is saved also when another rank fails now. */
	KC_TRY(log_step(r, seconds, waited, line));
	if (line)
		KC_TRY(kc_run_gather_lines(r));
	if (!r->training.finite)
		KC_TRY(on_non_finite(r));
	if (r->progress.iter != iter) /* rolled back */
		return 0;
	if (divides(r->config->logger.save_freq, iter))
		KC_TRY(save(r));
	return validates(r) ? validate(r) : 0;
}

static bool out_of_time(const struct kc_run *r)
{
	return r->config->max_seconds > 0 && kc_now() - r->started > r->config->max_seconds;
}

/* One rank that was asked to end, or whose time is up, ends all of them here. */
static int goes_on(struct kc_run *r, bool *more)
{
	double end[2] = {kc_stop_asked(), out_of_time(r)};

	KC_TRY(kc_ranks_max(r->ranks, end, KC_COUNT(end)));
	r->stop = (int)end[0];
	*more = r->progress.iter < r->config->niter && !r->stop && end[1] == 0;
	return 0;
}

/* Once, also where there is no memory left for it. */
static void measure_peak(struct kc_run *r)
{
	r->peak = kc_device_peak(&r->device, r->training.low);
	if (r->peak == 0)
		r->peak = -1;
}

/* Once, as they are not tried again. */
static void tell_unrecorded(struct kc_run *r)
{
	if (r->device.unrecorded)
		kc_log_say(&r->log, "steps are enqueued one by one, which is slower: %s",
			   r->device.unrecorded);
	free(r->device.unrecorded);
	r->device.unrecorded = NULL;
}

static int iterate(struct kc_run *r)
{
	bool more;

	KC_TRY(validate_late(r));
	for (;;) {
		double seconds, waited;

		KC_TRY(goes_on(r, &more));
		if (!more)
			return 0;
		KC_TRY(kc_run_step(r, &seconds, &waited));
		tell_unrecorded(r);
		KC_TRY(after_step(r, seconds, waited));
		if (r->peak == 0)
			measure_peak(r);
	}
}

/*
 * What was reached is kept however the run ends, unless the step that failed has changed some of
 * it; an earlier failure is told, not a later one.
 */
static int save_last(struct kc_run *r, int rc)
{
	char *why;
	int saved;

	if (r->save_failed || r->training.torn)
		return rc;
	why = rc < 0 ? kc_strdup(kc_errmsg()) : NULL;
	saved = save(r);
	if (rc < 0 && why)
		KC_FAIL(rc, "%s", why);
	free(why);
	return rc < 0 ? rc : saved;
}

int kc_run_train(struct kc_run *r)
{
	KC_TRY(begin(r));
	KC_TRY(save_last(r, kc_ranks_tell(r->ranks, iterate(r))));
	if (r->args.profile && !r->ranks->rank)
		kc_plan_profile(kc_training_plan(&r->training), stderr);
	if (r->stop)
		return KC_FAIL(KC_ESTOP, "stopped on request behind iteration %lld, which is saved",
			       (long long)r->progress.iter);
	return 0;
}
