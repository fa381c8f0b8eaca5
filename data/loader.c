#include "data/loader.h"

#include "data/resize.h"
#include "data/sampler.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What one thread needs to make a sample. */
struct scratch {
	struct kc_image image, resized;
	struct kc_dis *dis;
	uint8_t *grey;          /* [window][height][width] */
	int16_t *flow;          /* a whole frame of a pack file's flow */
};

/* A frame that could not be used. */
struct damage {
	const struct kc_clip *clip;
	int64_t frame;
	char *message;          /* until it is reported */
};

struct kc_loader {
	struct kc_sampler sampler;
	int64_t first;          /* batch */
	struct kc_batch *ring;  /* [depth] */
	int *left;              /* samples that each still lacks */

	pthread_mutex_t lock;   /* guards all below */
	pthread_cond_t room, ready;
	bool lock_made, stop;
	int64_t next;           /* sample to be made, counted from batch `first` */
	int64_t taken, released;        /* batches */
	int failed;
	char *failure;
	struct damage *damage;
	size_t n_damage, damage_room, reported;
	int64_t redraws;
	double waited;

	struct scratch own;     /* of kc_loader_get without workers */
	struct worker *worker;
	int n_workers;
};

struct worker {
	struct kc_loader *loader;
	struct scratch scratch;
	pthread_t thread;
};

/* ---- one sample ---- */

static size_t sample_pixels(const struct kc_loader *l)
{
	return (size_t)l->sampler.batch_height * (size_t)l->sampler.batch_width;
}

static uint8_t *frame_of(const struct kc_loader *l, const struct kc_batch *b, int f, int slot)
{
	return b->frames + ((size_t)f * (size_t)b->batch + (size_t)slot) * sample_pixels(l) * 3;
}

static float *flow_of(const struct kc_loader *l, const struct kc_batch *b, int pair, int slot)
{
	return b->flows + ((size_t)pair * (size_t)b->batch + (size_t)slot) * sample_pixels(l) * 2;
}

static int16_t *stored_flow_of(const struct kc_loader *l, const struct kc_batch *b, int pair,
			       int slot)
{
	return b->stored_flows +
	       ((size_t)pair * (size_t)b->batch + (size_t)slot) * sample_pixels(l) * 2;
}

/* The frame as the crop is taken from it. */
static int load_frame(const struct kc_loader *l, struct scratch *s, const struct kc_clip *clip,
		      int64_t frame, const struct kc_image **out)
{
	const struct kc_loader_opts *o = &l->sampler.opts;

	*out = &s->image;
	KC_TRY(o->window > 1 ? kc_clip_read(clip, frame, &s->image)
			     : kc_clip_load(clip, frame, &s->image));
	if (!o->resize)
		return 0;
	*out = &s->resized;
	return kc_image_resize(&s->image, o->resize, o->resize, KC_FILTER_BICUBIC, &s->resized);
}

static int whole_frame(const struct kc_loader *l, const struct kc_image *image, uint8_t *frame)
{
	const struct kc_sampler *s = &l->sampler;

	if (image->width != s->batch_width || image->height != s->batch_height)
		return KC_FAIL(KC_ESHAPE, "a frame of %d x %d, %d x %d expected", image->width,
			       image->height, s->batch_width, s->batch_height);
	memcpy(frame, image->rgb, 3 * sample_pixels(l));
	return 0;
}

/* *bad is the frame that a failure is about. */
static int make_frames(const struct kc_loader *l, struct scratch *s, struct kc_draw *d,
		       const struct kc_batch *b, int slot, struct kc_crop *crop, int64_t *bad)
{
	for (int f = 0; f < b->window; f++) {
		const struct kc_image *image;

		*bad = kc_draw_frame(&l->sampler, d, f);
		KC_TRY(load_frame(l, s, d->clip, *bad, &image));
		if (f == 0)
			KC_TRY(kc_draw_crop(&l->sampler, d, image->width, image->height, crop));
		if (l->sampler.opts.whole)
			KC_TRY(whole_frame(l, image, frame_of(l, b, f, slot)));
		else
			kc_crop_pixels(image->rgb, crop, d->symmetry, 3, frame_of(l, b, f, slot));
	}
	return 0;
}

static int dis_flows(const struct kc_loader *l, struct scratch *s, const struct kc_batch *b,
		     int slot)
{
	const size_t pixels = sample_pixels(l);

	for (int f = 0; f < b->window; f++)
		kc_grey_from_rgb(frame_of(l, b, f, slot), pixels, s->grey + (size_t)f * pixels);
	for (int i = 0; i < b->n_pairs; i++) {
		const struct kc_loader_pair *p = &l->sampler.opts.pairs[i];

		KC_TRY(kc_dis_run(s->dis, s->grey + (size_t)p->from * pixels,
				  s->grey + (size_t)p->to * pixels, b->width, b->height,
				  flow_of(l, b, i, slot)));
	}
	return 0;
}

/* A stored flow that cannot be read is no reason to avoid its frames: it ends the run. */
static int pack_flows(const struct kc_loader *l, struct scratch *s, const struct kc_draw *d,
		      const struct kc_batch *b, int slot, const struct kc_crop *crop)
{
	for (int i = 0; i < b->n_pairs; i++) {
		const struct kc_loader_pair *p = &l->sampler.opts.pairs[i];
		int16_t *stored = b->cuts ? stored_flow_of(l, b, i, slot) : s->flow;

		if (kc_pack_flow(d->clip->pack, d->clip->in_pack,
				 kc_draw_frame(&l->sampler, d, p->from),
				 kc_draw_frame(&l->sampler, d, p->to), stored) < 0)
			return KC_EBACKEND;
		if (!b->cuts)
			kc_crop_flow16(stored, crop, d->symmetry, KC_PACK_FLOW_UNIT,
				       flow_of(l, b, i, slot));
	}
	return 0;
}

static int make_attempt(const struct kc_loader *l, struct scratch *s, struct kc_draw *d,
			const struct kc_batch *b, int slot, int64_t *bad)
{
	struct kc_crop crop;

	KC_TRY(make_frames(l, s, d, b, slot, &crop, bad));
	if (l->sampler.opts.flow == KC_LOADER_DIS)
		KC_TRY(dis_flows(l, s, b, slot));
	if (l->sampler.opts.flow == KC_LOADER_PACK)
		KC_TRY(pack_flows(l, s, d, b, slot, &crop));
	b->samples[slot] =
		(struct kc_sample){d->clip->name, d->start, (int)d->interval, d->reversed,
				   crop.x,	  crop.y,   d->symmetry,      0};
	if (b->cuts)
		memcpy(b->cuts[slot], (int32_t[]){crop.x, crop.y, (int32_t)d->symmetry},
		       sizeof b->cuts[slot]);
	return 0;
}

/* What lies in the data, not in the machine. */
static bool is_damage(int rc)
{
	return rc == KC_EFORMAT || rc == KC_EIO || rc == KC_ENOENT || rc == KC_ENOSUP ||
	       rc == KC_ESHAPE;
}

/* The entry of a frame that was put aside, or NULL.  Called with the lock. */
static const struct damage *find_damage(const struct kc_loader *l, const struct kc_clip *clip,
					int64_t frame)
{
	for (size_t i = 0; i < l->n_damage; i++)
		if (l->damage[i].clip == clip && l->damage[i].frame == frame)
			return &l->damage[i];
	return NULL;
}

/* A window with a frame that was put aside need not be tried: it would fail again. */
static bool is_put_aside(struct kc_loader *l, const struct kc_draw *d)
{
	bool found = false;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->n_damage && !found; i++)
		for (int f = 0; f < l->sampler.opts.window && !found; f++)
			found = l->damage[i].clip == d->clip &&
				l->damage[i].frame == kc_draw_frame(&l->sampler, d, f);
	pthread_mutex_unlock(&l->lock);
	return found;
}

/* Puts the frame aside with the thread's message.  Called with the lock. */
static int add_damage(struct kc_loader *l, const struct kc_clip *clip, int64_t frame)
{
	char *message;

	if (find_damage(l, clip, frame))
		return 0;
	if (l->n_damage == l->damage_room) {
		size_t room = 2 * l->damage_room + 8;
		struct damage *grown = kc_realloc(l->damage, room, sizeof *grown);

		if (!grown)
			return KC_ENOMEM;
		l->damage = grown;
		l->damage_room = room;
	}
	message = kc_strdup(kc_errmsg());
	if (!message)
		return KC_ENOMEM;
	l->damage[l->n_damage++] = (struct damage){clip, frame, message};
	return 0;
}

static int put_aside(struct kc_loader *l, const struct kc_clip *clip, int64_t frame)
{
	int rc;

	pthread_mutex_lock(&l->lock);
	rc = add_damage(l, clip, frame);
	l->redraws++;
	pthread_mutex_unlock(&l->lock);
	return rc;
}

static int make_sample(struct kc_loader *l, struct scratch *s, const struct kc_batch *b, int slot)
{
	const uint64_t i = kc_sampler_index(&l->sampler, b->index, slot);

	for (uint32_t attempt = 0; attempt < KC_LOADER_REDRAWS; attempt++) {
		struct kc_draw d;
		int64_t bad = 0;
		int rc;

		kc_sampler_draw(&l->sampler, i, attempt, &d);
		if (is_put_aside(l, &d)) {
			pthread_mutex_lock(&l->lock);
			l->redraws++;
			pthread_mutex_unlock(&l->lock);
			continue;
		}
		rc = make_attempt(l, s, &d, b, slot, &bad);
		if (rc >= 0)
			b->samples[slot].redraws = (int)attempt;
		if (rc >= 0 || !is_damage(rc))
			return rc;
		KC_TRY(put_aside(l, d.clip, bad));
	}
	return KC_FAIL(KC_EFORMAT, "%s: sample %llu hit damaged frames %d times in a row",
		       l->sampler.dataset->path, (unsigned long long)i, KC_LOADER_REDRAWS);
}

/* ---- threads ---- */

/* The place in the ring of sample number n; the first one gives the batch its index. */
static struct kc_batch *batch_of(struct kc_loader *l, int64_t n, int *place)
{
	const struct kc_loader_opts *o = &l->sampler.opts;
	int64_t b = n / o->batch;

	*place = (int)(b % o->depth);
	if (n % o->batch == 0)
		l->ring[*place].index = l->first + b;
	return &l->ring[*place];
}

/* Called with the lock. */
static void note_failure(struct kc_loader *l, int rc)
{
	if (l->failed)
		return;
	l->failed = rc;
	l->failure = kc_strdup(kc_errmsg());
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct kc_loader *l = w->loader;
	const struct kc_loader_opts *o = &l->sampler.opts;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct kc_batch *b;
		int place, slot, rc;

		while (!l->stop && !l->failed && l->next / o->batch >= l->released + o->depth)
			pthread_cond_wait(&l->room, &l->lock);
		if (l->stop || l->failed)
			break;
		b = batch_of(l, l->next, &place);
		slot = (int)(l->next++ % o->batch);
		pthread_mutex_unlock(&l->lock);
		rc = make_sample(l, &w->scratch, b, slot);
		pthread_mutex_lock(&l->lock);
		/* A batch with a sample that failed is never complete. */
		if (rc < 0)
			note_failure(l, rc);
		else
			l->left[place]--;
		if (rc < 0 || l->left[place] == 0)
			pthread_cond_broadcast(&l->ready);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static int scratch_init(struct scratch *s, const struct kc_sampler *sampler)
{
	const struct kc_loader_opts *o = &sampler->opts;
	size_t pixels = (size_t)sampler->height * (size_t)sampler->width;

	if (o->flow == KC_LOADER_DIS) {
		s->grey = kc_alloc((size_t)o->window * pixels);
		if (!s->grey)
			return KC_ENOMEM;
		return kc_dis_open(o->dis, &s->dis);
	}
	if (o->flow == KC_LOADER_PACK && !o->whole) {
		const struct kc_pack *p = sampler->dataset->pack;

		s->flow = kc_alloc((size_t)kc_pack_width(p) * (size_t)kc_pack_height(p) * 2 *
				   sizeof *s->flow);
		return s->flow ? 0 : KC_ENOMEM;
	}
	return 0;
}

static void scratch_release(struct scratch *s)
{
	kc_image_release(&s->image);
	kc_image_release(&s->resized);
	kc_dis_close(s->dis);
	free(s->grey);
	free(s->flow);
}

/* Signals are for the program's own thread. */
static int start_workers(struct kc_loader *l)
{
	int n = l->sampler.opts.workers, rc = 0;
	sigset_t all, old;

	l->worker = kc_calloc((size_t)n, sizeof *l->worker);
	if (!l->worker)
		return KC_ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (rc >= 0 && l->n_workers < n) {
		struct worker *w = &l->worker[l->n_workers];

		w->loader = l;
		rc = scratch_init(&w->scratch, &l->sampler);
		if (rc >= 0 && pthread_create(&w->thread, NULL, work, w))
			rc = KC_FAIL(KC_ENOMEM, "cannot start loader thread %d", l->n_workers);
		if (rc >= 0)
			l->n_workers++;
		else
			scratch_release(&w->scratch);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

/* ---- the ring ---- */

static int batch_init(const struct kc_sampler *s, struct kc_batch *b)
{
	const struct kc_loader_opts *o = &s->opts;
	size_t pixels = (size_t)s->batch_height * (size_t)s->batch_width, fields;

	*b = (struct kc_batch){.window = o->window, .batch = o->batch, .height = s->batch_height,
			       .width = s->batch_width, .n_pairs = o->flow ? o->n_pairs : 0};
	b->frames = kc_calloc((size_t)o->window * (size_t)o->batch, pixels * 3);
	b->samples = kc_calloc((size_t)o->batch, sizeof *b->samples);
	b->cuts = o->whole ? kc_calloc((size_t)o->batch, sizeof *b->cuts) : NULL;
	if (!b->frames || !b->samples || (o->whole && !b->cuts))
		return KC_ENOMEM;
	fields = (size_t)b->n_pairs * (size_t)o->batch;
	if (fields && o->whole)
		b->stored_flows = kc_calloc(fields, pixels * 2 * sizeof *b->stored_flows);
	else if (fields)
		b->flows = kc_calloc(fields, pixels * 2 * sizeof *b->flows);
	return fields && !b->flows && !b->stored_flows ? KC_ENOMEM : 0;
}

static int make_ring(struct kc_loader *l)
{
	const struct kc_loader_opts *o = &l->sampler.opts;

	l->ring = kc_calloc((size_t)o->depth, sizeof *l->ring);
	l->left = kc_calloc((size_t)o->depth, sizeof *l->left);
	if (!l->ring || !l->left)
		return KC_ENOMEM;
	for (int i = 0; i < o->depth; i++) {
		KC_TRY(batch_init(&l->sampler, &l->ring[i]));
		l->left[i] = o->batch;
	}
	return 0;
}

int kc_loader_open(const struct kc_dataset *dataset, const struct kc_loader_opts *opts,
		   int64_t first, struct kc_loader **out)
{
	struct kc_loader *l = *out = kc_calloc(1, sizeof *l);
	int rc;

	if (!l)
		return KC_ENOMEM;
	l->first = first;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->room, NULL);
	pthread_cond_init(&l->ready, NULL);
	rc = kc_sampler_init(&l->sampler, dataset, opts);
	if (rc >= 0)
		rc = make_ring(l);
	if (rc >= 0)
		rc = opts->workers ? start_workers(l) : scratch_init(&l->own, &l->sampler);
	if (rc < 0) {
		kc_loader_close(l);
		*out = NULL;
	}
	return rc;
}

static void stop_workers(struct kc_loader *l)
{
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_broadcast(&l->room);
	pthread_mutex_unlock(&l->lock);
	for (int i = 0; i < l->n_workers; i++) {
		pthread_join(l->worker[i].thread, NULL);
		scratch_release(&l->worker[i].scratch);
	}
	free(l->worker);
}

void kc_loader_close(struct kc_loader *l)
{
	if (!l)
		return;
	stop_workers(l);
	scratch_release(&l->own);
	for (int i = 0; l->ring && i < l->sampler.opts.depth; i++) {
		free(l->ring[i].frames);
		free(l->ring[i].flows);
		free(l->ring[i].stored_flows);
		free(l->ring[i].cuts);
		free(l->ring[i].samples);
	}
	free(l->ring);
	free(l->left);
	for (size_t i = 0; i < l->n_damage; i++)
		free(l->damage[i].message);
	free(l->damage);
	free(l->failure);
	kc_sampler_release(&l->sampler);
	pthread_cond_destroy(&l->room);
	pthread_cond_destroy(&l->ready);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- taking batches ---- */

/* Tells of the files that were put aside since the last call. */
static void report_damage(struct kc_loader *l)
{
	for (;;) {
		char *message = NULL;

		pthread_mutex_lock(&l->lock);
		if (l->reported < l->n_damage) {
			message = l->damage[l->reported].message;
			l->damage[l->reported++].message = NULL;
		}
		pthread_mutex_unlock(&l->lock);
		if (!message)
			return;
		if (l->sampler.opts.report)
			l->sampler.opts.report(l->sampler.opts.own, message);
		free(message);
	}
}

/* Without workers. */
static void make_batch(struct kc_loader *l)
{
	const struct kc_loader_opts *o = &l->sampler.opts;
	int place;
	struct kc_batch *b = batch_of(l, l->taken * o->batch, &place);

	for (int slot = 0; slot < o->batch && !l->failed; slot++) {
		int rc = make_sample(l, &l->own, b, slot);

		if (rc < 0)
			note_failure(l, rc);
	}
	if (!l->failed)
		l->left[place] = 0;
}

/* A point in time that far ahead, for pthread_cond_timedwait. */
static struct timespec time_in(double seconds)
{
	struct timespec t;
	int64_t ns;

	clock_gettime(CLOCK_REALTIME, &t);
	ns = t.tv_nsec + (int64_t)(seconds * 1e9);
	t.tv_sec += (time_t)(ns / 1000000000);
	t.tv_nsec = ns % 1000000000;
	return t;
}

bool kc_loader_wait(struct kc_loader *l, double seconds)
{
	int place = (int)(l->taken % l->sampler.opts.depth), rc = 0;
	const struct timespec end = time_in(seconds);
	double start = kc_now();
	bool ready;

	pthread_mutex_lock(&l->lock);
	while (l->n_workers && l->left[place] > 0 && !l->failed && !rc)
		rc = pthread_cond_timedwait(&l->ready, &l->lock, &end);
	ready = !l->n_workers || l->left[place] == 0 || l->failed;
	l->waited += kc_now() - start;
	pthread_mutex_unlock(&l->lock);
	return ready;
}

int kc_loader_get(struct kc_loader *l, const struct kc_batch **out)
{
	int place = (int)(l->taken % l->sampler.opts.depth), rc = 0;
	double start = kc_now();

	KC_ASSERT(l->taken - l->released < l->sampler.opts.depth);
	if (!l->n_workers)
		make_batch(l);
	pthread_mutex_lock(&l->lock);
	while (l->left[place] > 0 && !l->failed)
		pthread_cond_wait(&l->ready, &l->lock);
	l->waited += kc_now() - start;
	if (l->left[place] > 0)
		rc = KC_FAIL(l->failed, "%s", l->failure ? l->failure : "a loader thread failed");
	pthread_mutex_unlock(&l->lock);
	report_damage(l);
	if (rc < 0)
		return rc;
	*out = &l->ring[place];
	l->ring[place].first = (int64_t)kc_sampler_index(&l->sampler, (*out)->index, 0);
	l->ring[place].epoch = l->ring[place].first / (int64_t)l->sampler.windows;
	l->taken++;
	return 0;
}

void kc_loader_release(struct kc_loader *l, const struct kc_batch *b)
{
	int place = (int)(l->released % l->sampler.opts.depth);

	KC_ASSERT(l->released < l->taken && b == &l->ring[place]);
	pthread_mutex_lock(&l->lock);
	l->left[place] = b->batch;
	l->released++;
	pthread_cond_broadcast(&l->room);
	pthread_mutex_unlock(&l->lock);
}

void kc_loader_stats(struct kc_loader *l, struct kc_loader_stats *s)
{
	pthread_mutex_lock(&l->lock);
	s->windows = (int64_t)l->sampler.windows;
	s->skipped_clips = l->sampler.skipped;
	s->damaged_files = (int64_t)l->n_damage;
	s->redraws = l->redraws;
	s->waited = l->waited;
	pthread_mutex_unlock(&l->lock);
}
