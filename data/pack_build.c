#include "data/pack_build.h"

#include "data/resize.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16, LARGEST = 1 << 14 };

struct hand;

/* A frame of the block, ready to be stored. */
struct cell {
	uint8_t *bytes;
	size_t size;
};

struct build {
	const struct kc_pack_job *job;
	struct kc_pack_writer *writer;
	const struct kc_clip *clip;
	int64_t start;          /* first frame of the block */
	int n;                  /* frames of the block */
	struct cell cell[BLOCK];
	int reach;              /* largest offset */
	uint8_t *grey;          /* frames start - reach .. start + n - 1 */
	int16_t *flow;          /* [BLOCK][n_offsets][2]: from and to the earlier frame */
	int64_t done, frames;

	/* The parallel part. */
	int (*task)(struct build *, struct hand *, int i);
	atomic_int next, tasks;
	struct hand *hand;
};

/* What one thread needs. */
struct hand {
	struct build *build;
	pthread_t thread;
	struct kc_image image, resized;
	struct kc_dis *dis;
	float *flow;
	int rc;
	char *message;
};

/* ---- parallel tasks ---- */

static void *work(void *arg)
{
	struct hand *h = arg;
	struct build *b = h->build;
	int i;

	while (!h->rc && (i = atomic_fetch_add(&b->next, 1)) < atomic_load(&b->tasks)) {
		h->rc = KC_MIN(b->task(b, h, i), 0);
		if (h->rc) {
			h->message = kc_strdup(kc_errmsg());
			atomic_store(&b->tasks, 0);
		}
	}
	return NULL;
}

/* Runs task 0..n-1 on all hands; signals stay with the caller's thread. */
static int run_tasks(struct build *b, int n, int (*task)(struct build *, struct hand *, int i))
{
	int started = 0, rc = 0;
	sigset_t all, old;

	b->task = task;
	atomic_store(&b->next, 0);
	atomic_store(&b->tasks, n);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (started < b->job->workers &&
	       !pthread_create(&b->hand[started].thread, NULL, work, &b->hand[started]))
		started++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!started)
		return KC_FAIL(KC_ENOMEM, "cannot start a thread");
	for (int i = 0; i < started; i++)
		pthread_join(b->hand[i].thread, NULL);
	for (int i = 0; i < started && !rc; i++)
		if (b->hand[i].rc)
			rc = KC_FAIL(b->hand[i].rc, "%s", b->hand[i].message ? b->hand[i].message
									      : "out of memory");
	return rc;
}

static size_t pixels_of(const struct build *b)
{
	return (size_t)b->job->width * (size_t)b->job->height;
}

static uint8_t *grey_of(const struct build *b, int64_t frame)
{
	return b->grey + (size_t)(frame - b->start + b->reach) * pixels_of(b);
}

static int16_t *flow_of(const struct build *b, int i, int offset, int way)
{
	int place = (i * b->job->n_offsets + offset) * 2 + way;

	return b->flow + (size_t)place * pixels_of(b) * 2;
}

/* Reads, resizes and encodes frame i of the block. */
static int make_frame(struct build *b, struct hand *h, int i)
{
	const struct kc_pack_job *job = b->job;
	const struct kc_image *image = &h->image;
	struct cell *cell = &b->cell[i];

	KC_TRY(kc_clip_read(b->clip, b->start + i, &h->image));
	if (image->width != job->width || image->height != job->height) {
		KC_TRY(kc_image_resize(&h->image, job->width, job->height, KC_FILTER_BICUBIC,
				       &h->resized));
		image = &h->resized;
	}
	if (job->n_offsets)
		kc_grey_from_rgb(image->rgb, pixels_of(b), grey_of(b, b->start + i));
	if (job->jpeg)
		return kc_image_encode(image, KC_IMAGE_JPEG, job->quality, &cell->bytes,
				       &cell->size);
	cell->size = 3 * pixels_of(b);
	cell->bytes = kc_alloc(cell->size);
	if (!cell->bytes)
		return KC_ENOMEM;
	memcpy(cell->bytes, image->rgb, cell->size);
	return 0;
}

/* Task i is one frame of the block, one offset, one way. */
static int make_flow(struct build *b, struct hand *h, int i)
{
	const struct kc_pack_job *job = b->job;
	int way = i % 2, offset = i / 2 % job->n_offsets, cell = i / 2 / job->n_offsets;
	int64_t late = b->start + cell, early = late - job->offsets[offset];
	int16_t *out = flow_of(b, cell, offset, way);

	if (early < 0)
		return 0;
	KC_TRY(kc_dis_run(h->dis, grey_of(b, way ? late : early), grey_of(b, way ? early : late),
			  job->width, job->height, h->flow));
	for (size_t k = 0; k < 2 * pixels_of(b); k++)
		out[k] = kc_pack_flow_value(h->flow[k]);
	return 0;
}

/* ---- blocks and clips ---- */

static int store_block(struct build *b)
{
	for (int i = 0; i < b->n; i++) {
		int64_t late = b->start + i;

		KC_TRY(kc_pack_add_frame(b->writer, late, b->cell[i].bytes, b->cell[i].size));
		for (int k = 0; k < b->job->n_offsets; k++) {
			int64_t early = late - b->job->offsets[k];

			if (early < 0)
				continue;
			KC_TRY(kc_pack_add_flow(b->writer, early, late, flow_of(b, i, k, 0)));
			KC_TRY(kc_pack_add_flow(b->writer, late, early, flow_of(b, i, k, 1)));
		}
	}
	return 0;
}

static void free_cells(struct build *b)
{
	for (int i = 0; i < BLOCK; i++)
		free(b->cell[i].bytes);
	memset(b->cell, 0, sizeof b->cell);
}

static int pack_block(struct build *b)
{
	const struct kc_pack_job *job = b->job;
	int rc = run_tasks(b, b->n, make_frame);

	if (rc >= 0 && job->n_offsets)
		rc = run_tasks(b, b->n * job->n_offsets * 2, make_flow);
	if (rc >= 0)
		rc = store_block(b);
	free_cells(b);
	if (rc < 0)
		return rc;
	b->done += b->n;
	if (job->progress && job->progress(job->own, b->done, b->frames))
		return KC_FAIL(KC_ESTOP, "%s: stopped, nothing was written", job->output);
	return 0;
}

static int pack_clip(struct build *b)
{
	KC_TRY(kc_pack_add_clip(b->writer, b->clip->name, b->clip->n));
	for (b->start = 0; b->start < b->clip->n; b->start += BLOCK) {
		b->n = (int)KC_MIN(b->clip->n - b->start, (int64_t)BLOCK);
		KC_TRY(pack_block(b));
		/* The next block's first frames flow from and to this one's last. */
		if (b->grey && b->n == BLOCK)
			memmove(b->grey, b->grey + BLOCK * pixels_of(b),
				(size_t)b->reach * pixels_of(b));
	}
	return 0;
}

static int check_job(const struct kc_pack_job *job)
{
	if (job->width < 1 || job->height < 1 || job->width > LARGEST || job->height > LARGEST)
		return KC_FAIL(KC_EINVAL, "a size of %d x %d pixels, 1 to %d expected", job->width,
			       job->height, LARGEST);
	if (job->workers < 1 || job->workers > 1024)
		return KC_FAIL(KC_EINVAL, "%d threads, 1 to 1024 expected", job->workers);
	if (job->jpeg && (job->quality < 1 || job->quality > 100))
		return KC_FAIL(KC_EINVAL, "JPEG quality %d, 1 to 100 expected", job->quality);
	for (int i = 0; i < job->n_offsets; i++) {
		if (job->offsets[i] < 1 || job->offsets[i] > 1000)
			return KC_FAIL(KC_EINVAL, "a flow over %d frames, 1 to 1000 expected",
				       job->offsets[i]);
		for (int k = 0; k < i; k++)
			if (job->offsets[k] == job->offsets[i])
				return KC_FAIL(KC_EINVAL, "offset %d is given twice",
					       job->offsets[i]);
	}
	if (job->n_offsets && KC_MIN(job->width, job->height) < KC_DIS_LEAST)
		return KC_FAIL(KC_EINVAL, "flow needs frames of %d x %d pixels or more",
			       KC_DIS_LEAST, KC_DIS_LEAST);
	return 0;
}

static int prepare(struct build *b)
{
	const struct kc_pack_job *job = b->job;

	for (size_t i = 0; i < job->dataset->n; i++)
		b->frames += job->dataset->clip[i].n;
	for (int i = 0; i < job->n_offsets; i++)
		b->reach = KC_MAX(b->reach, job->offsets[i]);
	b->hand = kc_calloc((size_t)job->workers, sizeof *b->hand);
	if (!b->hand)
		return KC_ENOMEM;
	for (int i = 0; i < job->workers; i++)
		b->hand[i].build = b;
	if (!job->n_offsets)
		return 0;
	b->grey = kc_calloc((size_t)b->reach + BLOCK, pixels_of(b));
	b->flow = kc_calloc((size_t)job->n_offsets * 2 * BLOCK, pixels_of(b) * 2 * sizeof *b->flow);
	if (!b->grey || !b->flow)
		return KC_ENOMEM;
	for (int i = 0; i < job->workers; i++) {
		b->hand[i].flow = kc_calloc(pixels_of(b), 2 * sizeof *b->hand[i].flow);
		if (!b->hand[i].flow)
			return KC_ENOMEM;
		KC_TRY(kc_dis_open(job->dis, &b->hand[i].dis));
	}
	return 0;
}

/* What the file will take; JPEG frames are not known before. */
static uint64_t expected_bytes(const struct build *b)
{
	uint64_t per_frame = (b->job->jpeg ? 0 : 3) + 8 * (uint64_t)b->job->n_offsets;

	return (uint64_t)b->frames * pixels_of(b) * per_frame;
}

static int write_clips(struct build *b)
{
	const struct kc_pack_job *job = b->job;
	struct kc_pack_layout layout = {
		.width = job->width, .height = job->height, .jpeg = job->jpeg,
		.quality = job->quality, .source = job->dataset->path, .n_offsets = job->n_offsets,
	};
	int rc = 0;

	memcpy(layout.offsets, job->offsets, sizeof layout.offsets);
	KC_TRY(kc_file_check_space(job->output, expected_bytes(b)));
	KC_TRY(kc_pack_create(job->output, &layout, &b->writer));
	for (size_t i = 0; rc >= 0 && i < job->dataset->n; i++) {
		b->clip = &job->dataset->clip[i];
		rc = pack_clip(b);
	}
	if (rc >= 0)
		return kc_pack_commit(b->writer);
	kc_pack_abort(b->writer);
	return rc;
}

int kc_pack_build(const struct kc_pack_job *job)
{
	struct build b = {.job = job};
	int rc;

	KC_TRY(check_job(job));
	rc = prepare(&b);
	if (rc >= 0)
		rc = write_clips(&b);
	for (int i = 0; b.hand && i < job->workers; i++) {
		kc_image_release(&b.hand[i].image);
		kc_image_release(&b.hand[i].resized);
		kc_dis_close(b.hand[i].dis);
		free(b.hand[i].flow);
		free(b.hand[i].message);
	}
	free(b.hand);
	free(b.grey);
	free(b.flow);
	return rc;
}
