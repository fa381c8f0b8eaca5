#include "train/adversary.h"
#include "train/run.h"

#include "layers/devices.h"
#include "train/crops.h"
#include "train/ranks.h"

#include <malloc.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the data set ---- */

static int use_list(struct kc_run *r)
{
	const char *keys = r->config->data.keys;

	if (!keys)
		return 0;
	if (!kc_file_exists(keys)) {
		kc_run_say(r,
			   "datasets.train.cache_keys: %s does not exist, all clips of %s are used",
			   keys, r->config->data.root);
		return 0;
	}
	return kc_dataset_use_list(r->data, keys);
}

/* Once; kc_run_close closes it. */
static int open_dataset(struct kc_run *r)
{
	const struct kc_config_train_data *d = &r->config->data;
	int rc;

	if (r->data)
		return 0;
	if (!d->root)
		return KC_FAIL(KC_ECONFIG,
			       "datasets.train.dataroot_GT: no data; expected a folder of clips or "
			       "a pack file");
	rc = kc_dataset_open(d->root, &r->data);
	if (rc < 0)
		return kc_cause(rc, "datasets.train.dataroot_GT");
	rc = use_list(r);
	return rc < 0 ? kc_cause(rc, "datasets.train.cache_keys") : 0;
}

/* Without data there are no batches either: one process can look at the plan all the same. */
static int choose_crops(struct kc_run *r)
{
	const struct kc_config *c = r->config;
	const char *why, *root = c->data.root;
	bool there = root && (kc_file_exists(root) || kc_dir_exists(root));

	if ((there || (root && r->ranks->size > 1)) && kc_crops_need_data(c, &r->device))
		KC_TRY(open_dataset(r));        /* ranks must decide alike */
	KC_TRY(kc_crops_choose(c, &r->device, r->data, &r->whole_width, &r->whole_height, &why));
	if (r->whole_width && !r->ranks->rank)
		kc_run_say(r, "crops and mirrors on %s", r->device.name);
	if (why && !r->ranks->rank)
		kc_run_say(r, "crops and mirrors on the host: %s", why);
	return 0;
}

/* ---- device and plan ---- */

static void fill_save_args(struct kc_run *r)
{
	const struct kc_config *c = r->config;

	r->save = (struct kc_save_args){
		.dir = r->experiment.dir,
		.network = r->training.recipe->network,
		.width = c->network.width,
		.mask_cent = c->network.mask_cent,
		.temperature = kc_config_uses_eccv16(c) ? c->network.temperature : 0,
		.key_net = c->recipe != KC_RECIPE_TCVC ? NULL
			   : kc_config_uses_eccv16(c)  ? "eccv16"
						       : "siggraph17",
		.config_hash = kc_config_hash(c),
		.seed = c->seed,
		.rival = r->training.trainee[KC_DISCRIMINATOR].params,
		.retention = {.keep = c->logger.keep ? c->logger.keep : INT64_MAX,
			      .milestone = c->logger.milestone_freq},
	};
}

int kc_run_prepare(struct kc_run *r)
{
	struct kc_loader_opts o = {0};

	r->training.config = r->config;
	r->training.recipe = kc_recipe_of(r->config);
	r->training.profile = r->args.profile;
	r->training.trace = r->args.verbose && !r->ranks->rank ? stderr : NULL;
	r->training.ranks = r->ranks;
	r->training.fed.width = r->whole_width;
	r->training.fed.height = r->whole_height;
	return r->training.recipe->samples(&r->training, &o);
}

/* Blocks from this size on go back to the system when they are freed. */
enum { LARGE_BLOCK = 4 << 20 };

/*
 * Ranks of one machine share its cores, unless the launcher has given each its own: then it may
 * not use all of them.
 */
static int threads_of(const struct kc_run *r)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t usable;

	if (r->config->threads || r->ranks->local_size == 1 ||
	    sched_getaffinity(0, sizeof usable, &usable) < 0 || CPU_COUNT(&usable) < online)
		return (int)r->config->threads;
	return (int)KC_MAX(online / r->ranks->local_size, 1);
}

/* Without a number each rank takes the GPU of its own number on the machine. */
static char *device_name(const struct kc_run *r)
{
	const char *name = r->config->device;

	return r->ranks->size > 1 && !strcmp(name, "cuda")
		       ? kc_format("cuda:%d", r->ranks->local_rank)
		       : kc_strdup(name);
}

static int open_device(struct kc_run *r)
{
	const struct kc_config *c = r->config;
	char *name = device_name(r);
	const struct kc_device_choice choice = {.name = name,
						.threads = threads_of(r),
						.tf32 = c->tf32,
						.no_record = !c->cuda_graph,
						.no_autotune = !c->autotune};
	int rc = name ? kc_device_open(&r->device, &choice) : KC_ENOMEM;

	free(name);
	return rc;
}

static int open_step(struct kc_run *r)
{
	struct kc_config *c = r->config;

	if (c->data.batch_size % r->ranks->size)
		return KC_FAIL(KC_ECONFIG,
			       "datasets.train.batch_size: it counts over all processes; expected "
			       "a multiple of %d, got %lld",
			       r->ranks->size, (long long)c->data.batch_size);
	KC_TRY(kc_ranks_agree(r->ranks, open_device(r)));
	r->ranks->by_device = r->device.memory != NULL;
	KC_TRY(choose_crops(r));
	KC_TRY(kc_run_fit(r));
	r->bytes_at_open = kc_process_bytes("VmRSS");
	KC_TRY(kc_experiment_init(&r->experiment, c));
	fill_save_args(r);
	return 0;
}

int kc_run_open(struct kc_run *r, struct kc_config *c, const struct kc_run_args *args)
{
	*r = (struct kc_run){.config = c, .args = *args, .saved_iter = -1, .started = kc_now()};
	kc_ranks_alone(&r->alone);
	r->ranks = args->ranks ? args->ranks : &r->alone;
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	KC_TRY(kc_run_compare_settings(r));
	KC_TRY(kc_ranks_agree(r->ranks, open_step(r)));
	return kc_run_compare_plans(r);
}

static void give_back(struct kc_run *r, const struct kc_batch **b)
{
	if (*b)
		kc_loader_release(r->loader, *b);
	*b = NULL;
}

void kc_run_close(struct kc_run *r)
{
	give_back(r, &r->held);
	give_back(r, &r->ahead);
	kc_loader_close(r->loader);
	kc_dataset_close(r->data);
	kc_log_close(&r->log);
	kc_names_free(&r->said);
	kc_experiment_release(&r->experiment);
	kc_training_close(&r->training);
	kc_device_release(&r->device);
}

/* ---- telling ---- */

/* Without memory for it, a line is lost. */
static void remember(struct kc_run *r, char *line)
{
	char **v = line ? kc_realloc(r->said.v, r->said.n + 1, sizeof *v) : NULL;

	if (!v) {
		free(line);
		return;
	}
	r->said.v = v;
	v[r->said.n++] = line;
}

void kc_run_say(struct kc_run *r, const char *fmt, ...)
{
	char *line = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&line, fmt, args) < 0)
		line = NULL;
	va_end(args);
	if (!r->logging) {
		remember(r, line);
		return;
	}
	if (line)
		kc_log_say(&r->log, "%s", line);
	free(line);
}

/* ---- data ---- */

static void report_damage(void *own, const char *message)
{
	struct kc_run *r = own;

	kc_run_say(r, "put aside: %s", message);
}

static enum kc_loader_flow flow_source(const struct kc_training *t)
{
	if (!t->flows)
		return KC_LOADER_NO_FLOW;
	return t->config->flow == KC_FLOW_PACK ? KC_LOADER_PACK : KC_LOADER_DIS;
}

/* The public code reads the first window of a clip whatever it drew, in these sets alone. */
static bool is_300_set(const char *name)
{
	return name && strstr(name, "_300");
}

static struct kc_loader_opts loader_opts(struct kc_run *r)
{
	const struct kc_config_train_data *d = &r->config->data;
	const struct kc_training *t = &r->training;

	return (struct kc_loader_opts){
		.window = t->window,
		.intervals = d->intervals.v,
		.n_intervals = d->intervals.n,
		.random_reverse = d->reverse,
		.crop = (int)d->size,
		.whole = t->fed.width > 0,
		.flip = d->flip,
		.rotate = d->rotate,
		.published_window = r->config->published && is_300_set(d->name),
		.published_symmetry = r->config->published,
		.shuffle = d->shuffle,
		.seed = (uint64_t)r->config->seed,
		.batch = (int)t->batch,
		.rank = r->ranks->rank,
		.ranks = r->ranks->size,
		.workers = (int)d->workers,
		.depth = KC_BATCHES_AHEAD + (r->device.memory != NULL),    /* one is fed ahead */
		.flow = flow_source(t),
		.dis = KC_DIS_MEDIUM,
		.pairs = t->pairs,
		.n_pairs = flow_source(t) ? t->n_pairs : 0,
		.report = report_damage,
		.own = r,
	};
}

int kc_run_open_data(struct kc_run *r)
{
	const struct kc_loader_opts o = loader_opts(r);
	struct kc_loader_stats s;
	int rc;

	KC_TRY(open_dataset(r));
	rc = kc_loader_open(r->data, &o, r->progress.cursor, &r->loader);
	if (rc < 0)
		return kc_cause(rc, "datasets.train");
	kc_loader_stats(r->loader, &s);
	if (s.skipped_clips)
		kc_run_say(r, "%lld clips are too short for a window of %d frames and are skipped",
			   (long long)s.skipped_clips, r->training.window);
	return 0;
}

static int next_batch(void *own, const struct kc_batch **out)
{
	struct kc_run *r = own;

	if (!r->device.memory)          /* nothing is taken ahead: it is done with */
		give_back(r, &r->held);
	/* Data may be long in coming: the failure of another rank is seen meanwhile. */
	while (r->ranks->size > 1 && !kc_loader_wait(r->loader, 0.2))
		KC_TRY(kc_ranks_poll(r->ranks));
	KC_TRY(kc_loader_get(r->loader, &r->ahead));
	*out = r->ahead;
	return 0;
}

/* What was taken and not used is taken again by a run that is resumed. */
static void use_batch(void *own, const struct kc_batch *b)
{
	struct kc_run *r = own;

	give_back(r, &r->held);
	r->held = b;
	r->ahead = NULL;
	r->progress.cursor = b->index + 1;
	r->progress.epoch = b->epoch;
}

static bool is_ready(void *own)
{
	const struct kc_run *r = own;

	return kc_loader_wait(r->loader, 1e-3);
}

/*
 * Behind a rollback finite steps are repeated before the run comes to where it failed, so there
 * the row ends with the next checkpoint.
 */
static void count_finite(struct kc_run *r)
{
	struct kc_progress *g = &r->progress;

	g->updates += r->training.applied[KC_GENERATOR];
	g->updates_d += r->training.applied[KC_DISCRIMINATOR];
	if (!r->training.finite) {
		g->nan_total++;
		g->nan_row++;
		return;
	}
	if (r->config->nan_policy != KC_NAN_ROLLBACK)
		g->nan_row = 0;
}

static struct kc_step_args step_args(struct kc_run *r)
{
	int64_t iter = r->progress.iter + 1;

	return (struct kc_step_args){
		.iter = iter,
		.lr = {kc_schedule_lr(&r->config->schedule, iter),
		       kc_adversary_rate(r->config, iter)},
		.updates = {r->progress.updates, r->progress.updates_d},
		.last = iter == r->config->niter,
		.next = next_batch,
		.use = use_batch,
		.ready = is_ready,
		.own = r,
	};
}

int kc_run_step(struct kc_run *r, double *seconds, double *waited)
{
	const struct kc_progress start_of_step = r->progress;
	struct kc_step_args args;
	double start = kc_now();
	struct kc_loader_stats before, after;
	int rc;

	if (r->config->optimizer.clear_state &&
	    kc_schedule_restarts(&r->config->schedule, r->progress.iter + 1)) {
		KC_TRY(kc_training_forget(&r->training));
		r->progress.updates = r->progress.updates_d = 0;
	}
	args = step_args(r);
	kc_loader_stats(r->loader, &before);
	rc = kc_training_step(&r->training, &args);
	if (rc < 0) {
		r->progress = start_of_step;
		return rc;
	}
	kc_loader_stats(r->loader, &after);
	r->progress.iter++;
	count_finite(r);
	*seconds = kc_now() - start;
	*waited = r->device.memory ? r->training.starved : after.waited - before.waited;
	return 0;
}
