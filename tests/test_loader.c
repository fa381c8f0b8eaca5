#include "core/file.h"
#include "core/hash.h"
#include "data/loader.h"
#include "data/pack_build.h"
#include "data/sampler.h"
#include "tests/clips.h"
#include "tests/loader_set.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t hash_batch(const struct kc_batch *b)
{
	size_t pixels = (size_t)b->height * (size_t)b->width * (size_t)b->batch;
	uint64_t h = kc_hash64(b->frames, pixels * (size_t)b->window * 3, 0);

	for (int i = 0; i < b->batch; i++) {
		const struct kc_sample *s = &b->samples[i];
		const int64_t facts[] = {s->start,    s->interval, s->reversed, s->x,	 s->y,
					 s->symmetry, s->redraws,  b->epoch,	b->index};

		h = kc_hash64(s->clip, strlen(s->clip), kc_hash64(facts, sizeof facts, h));
	}
	return b->flows ? kc_hash64(b->flows, pixels * (size_t)b->n_pairs * 2 * sizeof *b->flows, h)
			: h;
}

/* Hashes of batches first .. first + n - 1. */
static void read_batches(const struct kc_dataset *d, const struct kc_loader_opts *o, int64_t first,
			 int n, uint64_t *hash)
{
	const struct kc_batch *b;
	struct kc_loader *l;

	memset(hash, 0, (size_t)n * sizeof *hash);
	if (!KC_CHECK_OK(kc_loader_open(d, o, first, &l)))
		return;
	for (int i = 0; i < n && KC_CHECK_OK(kc_loader_get(l, &b)); i++) {
		KC_CHECK(b->index == first + i);
		hash[i] = hash_batch(b);
		kc_loader_release(l, b);
	}
	kc_loader_close(l);
}

enum { RUN = 24 };

static void test_workers(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	uint64_t alone[RUN], other[RUN];

	read_batches(d, &o, 0, RUN, alone);
	for (o.workers = 1; o.workers < 6; o.workers += 2) {
		o.depth = o.workers;
		read_batches(d, &o, 0, RUN, other);
		KC_CHECK(!memcmp(alone, other, sizeof alone));
	}
	for (int i = 1; i < RUN; i++)
		KC_CHECK(alone[i] != alone[i - 1]);
	o.seed++;
	read_batches(d, &o, 0, RUN, other);
	KC_CHECK(memcmp(alone, other, sizeof alone));
	kc_dataset_close(d);
}

static void test_resume(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	uint64_t all[RUN], rest[RUN];

	o.workers = 2;
	read_batches(d, &o, 0, RUN, all);
	for (int k = 1; k < RUN; k += 7) {
		read_batches(d, &o, k, RUN - k, rest);
		KC_CHECK(!memcmp(all + k, rest, (size_t)(RUN - k) * sizeof *all));
	}
	kc_dataset_close(d);
}

/* Two ranks see together what one rank of twice the batch sees. */
static void test_ranks(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_loader *l[3];
	const struct kc_batch *b[3];

	o.batch = 4;
	KC_CHECK_OK(kc_loader_open(d, &o, 3, &l[0]));
	o.batch = o.ranks = 2;
	for (o.rank = 0; o.rank < 2; o.rank++)
		KC_CHECK_OK(kc_loader_open(d, &o, 3, &l[1 + o.rank]));
	for (int k = 0; k < 5; k++) {
		size_t frame = 24 * 24 * 3;

		for (int i = 0; i < 3; i++)
			KC_CHECK_OK(kc_loader_get(l[i], &b[i]));
		for (size_t f = 0; f < 3; f++)
			for (size_t s = 0; s < 4; s++)
				KC_CHECK(!memcmp(b[0]->frames + (4 * f + s) * frame,
						 b[1 + s / 2]->frames + (2 * f + s % 2) * frame,
						 frame));
		for (int i = 0; i < 3; i++)
			kc_loader_release(l[i], b[i]);
	}
	for (int i = 0; i < 3; i++)
		kc_loader_close(l[i]);
	kc_dataset_close(d);
}

/* ---- contents ---- */

static const struct kc_clip *clip_named(const struct kc_dataset *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->clip[i].name, name))
			return &d->clip[i];
	return NULL;
}

/* The batch's frames are the crops that its samples describe. */
static void check_frames(const struct kc_dataset *d, const struct kc_batch *b)
{
	size_t size = (size_t)b->height * (size_t)b->width * 3;
	uint8_t *expected = kc_alloc(size);
	struct kc_image image = {0};

	KC_ASSERT(expected);
	for (int i = 0; i < b->batch; i++) {
		const struct kc_sample *s = &b->samples[i];
		const struct kc_crop crop = {40, s->x, s->y, b->width, b->height};

		for (int f = 0; f < b->window; f++) {
			int64_t at = s->start + s->interval * (s->reversed ? b->window - 1 - f : f);

			KC_CHECK_OK(kc_clip_read(clip_named(d, s->clip), at, &image));
			kc_crop_pixels(image.rgb, &crop, s->symmetry, 3, expected);
			KC_CHECK(!memcmp(expected, b->frames + (size_t)(f * b->batch + i) * size,
					 size));
		}
	}
	kc_image_release(&image);
	free(expected);
}

static void check_dis(const struct kc_batch *b, const struct kc_loader_opts *o)
{
	size_t pixels = (size_t)b->height * (size_t)b->width;
	uint8_t *grey = kc_alloc(2 * pixels);
	float *flow = kc_alloc(pixels * 2 * sizeof *flow);
	struct kc_dis *dis;

	KC_ASSERT(grey && flow);
	KC_CHECK_OK(kc_dis_open(o->dis, &dis));
	for (int p = 0; p < b->n_pairs; p++)
		for (int i = 0; i < b->batch; i++) {
			size_t from = (size_t)(o->pairs[p].from * b->batch + i);
			size_t to = (size_t)(o->pairs[p].to * b->batch + i);

			kc_grey_from_rgb(b->frames + from * pixels * 3, pixels, grey);
			kc_grey_from_rgb(b->frames + to * pixels * 3, pixels, grey + pixels);
			KC_CHECK_OK(
				kc_dis_run(dis, grey, grey + pixels, b->width, b->height, flow));
			KC_CHECK(!memcmp(flow, b->flows + (size_t)(p * b->batch + i) * pixels * 2,
					 pixels * 2 * sizeof *flow));
		}
	kc_dis_close(dis);
	free(grey);
	free(flow);
}

static void test_contents(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	const struct kc_batch *b;
	struct kc_loader *l;
	int seen[8] = {0}, reversed = 0, slow = 0;

	o.workers = 2;
	KC_CHECK_OK(kc_loader_open(d, &o, 0, &l));
	for (int k = 0; k < 60 && KC_CHECK_OK(kc_loader_get(l, &b)); k++) {
		check_frames(d, b);
		if (k % 10 == 0)
			check_dis(b, &o);
		for (int i = 0; i < b->batch; i++) {
			seen[b->samples[i].symmetry]++;
			reversed += b->samples[i].reversed;
			slow += b->samples[i].interval == 2;
			KC_CHECK(b->samples[i].interval == 1 || strcmp(b->samples[i].clip, "c"));
		}
		kc_loader_release(l, b);
	}
	for (int i = 0; i < 8; i++)
		KC_CHECK(seen[i] > 3);
	KC_CHECK(reversed > 30 && reversed < 90 && slow > 30 && slow < 90);
	kc_loader_close(l);
	kc_dataset_close(d);
}

/* ---- the sampler ---- */

/* Each epoch has every (clip, start) once; orders differ; without shuffle they are in order. */
static void test_epochs(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_sampler s;
	int64_t order[3][13];

	o.n_intervals = 0;
	for (int pass = 0; pass < 3; pass++) {
		int seen[3][10] = {{0}};

		o.shuffle = pass < 2;
		if (!KC_CHECK_OK(kc_sampler_init(&s, d, &o)))
			break;
		KC_CHECK(s.windows == 8 + 4 + 1);
		for (int i = 0; i < 13; i++) {
			struct kc_draw draw;

			kc_sampler_draw(&s, (uint64_t)(13 * pass + i), 0, &draw);
			KC_CHECK(seen[draw.clip - d->clip][draw.start]++ == 0);
			order[pass][i] = 100 * (draw.clip - d->clip) + draw.start;
		}
		kc_sampler_release(&s);
	}
	KC_CHECK(memcmp(order[0], order[1], sizeof order[0]));
	for (int i = 1; i < 13; i++)
		KC_CHECK(order[2][i] > order[2][i - 1]);
	kc_dataset_close(d);
}

/* Every draw fits its clip, whatever the interval; starts that had to be redrawn spread. */
static void test_draws(void)
{
	static const int64_t intervals[] = {1, 2, 4};
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_sampler s;
	int at[3] = {0};

	o.intervals = intervals;
	o.n_intervals = 3;
	KC_CHECK_OK(kc_sampler_init(&s, d, &o));
	for (uint64_t i = 0; i < 2000; i++) {
		struct kc_draw draw;

		kc_sampler_draw(&s, i, i % 3 == 0, &draw);
		KC_CHECK(draw.start >= 0 && draw.start + 2 * draw.interval < draw.clip->n);
		if (draw.clip == &d->clip[0] && draw.interval == 4)
			at[draw.start]++;
	}
	KC_CHECK(at[0] > 80 && at[1] > 80 && at[2] == 0);
	kc_sampler_release(&s);
	kc_dataset_close(d);
}

static void test_key_windows(void)
{
	static const char list[] = "}U\4keys](U\005a_2_9U\005a_9_9U\005b_0_5U\005c_0_1es.";
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_sampler s;
	struct kc_draw draw;

	KC_CHECK_OK(kc_file_write(kc_test_path("keys.pkl"), list, sizeof list - 1));
	KC_CHECK_OK(kc_dataset_use_list(d, kc_test_path("keys.pkl")));
	o.n_intervals = 0;
	o.shuffle = false;
	if (!KC_CHECK_OK(kc_sampler_init(&s, d, &o)))
		return;
	KC_CHECK(s.windows == 3 && s.skipped == 1);
	kc_sampler_draw(&s, 0, 0, &draw);
	KC_CHECK(draw.clip == &d->clip[0] && draw.start == 2);
	kc_sampler_draw(&s, 1, 0, &draw);
	KC_CHECK(draw.clip == &d->clip[0] && draw.start <= 7);
	kc_sampler_draw(&s, 5, 0, &draw);
	KC_CHECK(draw.clip == &d->clip[1] && draw.start == 0);
	kc_sampler_release(&s);
	kc_dataset_close(d);
}

static void test_published(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_sampler s;
	int seen[8] = {0};

	o.published_window = o.published_symmetry = true;
	KC_CHECK_OK(kc_sampler_init(&s, d, &o));
	for (uint64_t i = 0; i < 400; i++) {
		struct kc_draw draw;

		kc_sampler_draw(&s, i, 0, &draw);
		KC_CHECK(draw.start == 0);
		seen[draw.symmetry]++;
	}
	KC_CHECK(seen[0] > 60 && seen[1] > 60 && seen[6] > 60 && seen[7] > 60);
	KC_CHECK(seen[0] + seen[1] + seen[6] + seen[7] == 400);
	kc_sampler_release(&s);
	o.flip = false;
	o.published_symmetry = false;
	KC_CHECK_OK(kc_sampler_init(&s, d, &o));
	for (uint64_t i = 0; i < 50; i++) {
		struct kc_draw draw;

		kc_sampler_draw(&s, i, 0, &draw);
		KC_CHECK(!(draw.symmetry & KC_MIRROR_X));
	}
	kc_sampler_release(&s);
	kc_dataset_close(d);
}

/* ---- single images ---- */

static void test_single(void)
{
	struct kc_loader_opts o = {
		.window = 1, .crop = 24, .batch = 3, .shuffle = true, .workers = 2};
	struct kc_dataset *d = kc_test_set();
	struct kc_image image = {0};
	struct kc_loader_stats stats;
	const struct kc_batch *b;
	struct kc_loader *l;

	kc_test_picture(&image, 100, 30, 9, 0);
	KC_CHECK_OK(kc_image_write(kc_test_path("set/c/00001.png"), &image, 0));
	for (o.resize = 0; o.resize <= 28; o.resize += 28) {
		if (!KC_CHECK_OK(kc_loader_open(d, &o, 0, &l)))
			continue;
		for (int k = 0; k < 10; k++) {
			while (!kc_loader_wait(l, 0.01))
				;
			if (!KC_CHECK_OK(kc_loader_get(l, &b)))
				break;
			KC_CHECK(b->window == 1 && b->height == 24 && b->width == 24 && !b->flows);
			for (int i = 0; i < 3 && o.resize; i++)
				KC_CHECK(b->samples[i].x <= 4 && b->samples[i].y <= 4);
			kc_loader_release(l, b);
		}
		kc_loader_stats(l, &stats);
		KC_CHECK(stats.windows == 19 && stats.damaged_files == 0);
		kc_loader_close(l);
	}
	kc_image_release(&image);
	kc_dataset_close(d);
}

/* ---- flow from a pack file ---- */

/* Frames, and flows that warp one frame to the other, in every symmetry. */
static double warp_error(const struct kc_batch *b, const struct kc_loader_pair *p, int pair,
			 int slot)
{
	size_t pixels = (size_t)b->height * (size_t)b->width;
	const uint8_t *from = b->frames + (size_t)(p->from * b->batch + slot) * pixels * 3;
	const uint8_t *to = b->frames + (size_t)(p->to * b->batch + slot) * pixels * 3;
	const float *flow = b->flows + (size_t)(pair * b->batch + slot) * pixels * 2;
	double sum = 0;
	int n = 0;

	for (int y = 0; y < b->height; y++)
		for (int x = 0; x < b->width; x++) {
			const float *v = flow + 2 * (y * b->width + x);
			int tx = x + (int)lrintf(v[0]), ty = y + (int)lrintf(v[1]);

			if (tx < 0 || ty < 0 || tx >= b->width || ty >= b->height)
				continue;
			sum += abs(from[3 * (y * b->width + x)] - to[3 * (ty * b->width + tx)]);
			n++;
		}
	return n ? sum / n : 0;
}

static void test_pack_flow(void)
{
	struct kc_dataset *folder = kc_test_set(), *d;
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_pack_job job = {.dataset = folder, .output = kc_test_path("x.h5"), .width = 40,
				  .height = 32, .offsets = {1, 2, 4}, .n_offsets = 3,
				  .dis = KC_DIS_MEDIUM, .workers = 2};
	const struct kc_batch *b;
	struct kc_loader *l;
	double error = 0, still = 0;

	KC_CHECK_OK(kc_pack_build(&job));
	if (!KC_CHECK_OK(kc_dataset_open(job.output, &d)))
		return;
	o.flow = KC_LOADER_PACK;
	o.workers = 2;
	KC_CHECK_OK(kc_loader_open(d, &o, 0, &l));
	for (int k = 0; k < 20 && KC_CHECK_OK(kc_loader_get(l, &b)); k++) {
		check_frames(d, b);
		for (int p = 0; p < 3; p++)
			for (int i = 0; i < b->batch; i++) {
				error += warp_error(b, &o.pairs[p], p, i);
				memset(b->flows + (size_t)(p * b->batch + i) * 24 * 24 * 2, 0,
				       24 * 24 * 2 * sizeof *b->flows);
				still += warp_error(b, &o.pairs[p], p, i);
			}
		kc_loader_release(l, b);
	}
	KC_CHECK(error < 0.6 * still);
	kc_loader_close(l);
	o.intervals = (const int64_t[]){1, 3};
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ENOENT,
		     "x.h5: clip a has no flow over offset 3");
	kc_dataset_close(d);
	KC_CHECK_ERR(kc_loader_open(folder, &o, 0, &l), KC_ECONFIG, "no pack file");
	kc_dataset_close(folder);
}

/* ---- damage ---- */

static void count_report(void *own, const char *message)
{
	int *n = own;

	KC_CHECK(strstr(message, "a/00004.png") || strstr(message, "b/00002.png") ||
		 strstr(message, "b/00003.png"));
	++*n;
}

static void test_damaged(void)
{
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_dataset *d = kc_test_set();
	struct kc_image image = {0};
	struct kc_loader_stats stats;
	struct kc_loader *l;
	const struct kc_batch *b;
	uint64_t one[RUN], three[RUN];
	int reports = 0, redrawn = 0;

	kc_test_spoil(kc_test_path("set/a"), "00004.png");
	unlink(kc_test_path("set/b/00002.png"));
	kc_test_picture(&image, 20, 20, 0, 0);
	KC_CHECK_OK(kc_image_write(kc_test_path("set/b/00003.png"), &image, 0));
	kc_image_release(&image);
	o.report = count_report;
	o.own = &reports;
	KC_CHECK_OK(kc_loader_open(d, &o, 0, &l));
	for (int k = 0; k < RUN && KC_CHECK_OK(kc_loader_get(l, &b)); k++) {
		check_frames(d, b);
		one[k] = hash_batch(b);
		for (int i = 0; i < b->batch; i++)
			redrawn += b->samples[i].redraws > 0;
		kc_loader_release(l, b);
	}
	kc_loader_stats(l, &stats);
	KC_CHECK(stats.damaged_files == 3 && reports == 3 && redrawn > 0 &&
		 stats.redraws >= redrawn);
	kc_loader_close(l);
	o.workers = 3;
	read_batches(d, &o, 0, RUN, three);
	KC_CHECK(!memcmp(one, three, sizeof one));
	read_batches(d, &o, 9, RUN - 9, three);
	KC_CHECK(!memcmp(one + 9, three, (RUN - 9) * sizeof *one));
	kc_dataset_close(d);
}

/* When nothing can be read any more, the run ends; and stays ended. */
static void test_all_damaged(void)
{
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_dataset *d;
	struct kc_loader *l;
	const struct kc_batch *b;

	kc_test_clip(kc_test_path("set"), "a", 4, 40, 32, 1);
	KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d));
	kc_test_spoil(kc_test_path("set/a"), "00001.png");
	kc_test_spoil(kc_test_path("set/a"), "00002.png");
	o.n_intervals = 0;
	for (o.workers = 0; o.workers < 3; o.workers++) {
		KC_CHECK_OK(kc_loader_open(d, &o, 0, &l));
		usleep(20000);          /* every worker fails before the first batch is asked for */
		KC_CHECK_ERR(kc_loader_get(l, &b), KC_EFORMAT, "damaged frames 64 times");
		KC_CHECK_ERR(kc_loader_get(l, &b), KC_EFORMAT, "damaged frames 64 times");
		kc_loader_close(l);
	}
	kc_dataset_close(d);
}

/* ---- options ---- */

static void test_bad_options(void)
{
	static const struct kc_loader_pair outside = {0, 3};
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o;
	struct kc_loader *l;

	o = kc_test_loader_opts(), o.window = 11;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG,
		     "a window of 11 frames at interval 1 (11 frames); the longest, a, has 10");
	o = kc_test_loader_opts(), o.window = 0;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "a window of 0 frames");
	o = kc_test_loader_opts(), o.crop = 33;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG,
		     "larger than the frames of clip a, 40 x 32");
	o = kc_test_loader_opts(), o.crop = 0;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "cannot be turned");
	o = kc_test_loader_opts(), o.resize = 20;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG,
		     "a crop of 24 from frames resized to 20");
	o = kc_test_loader_opts(), o.crop = 8;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "DIS flow on 8 x 8");
	o = kc_test_loader_opts(), o.pairs = &outside, o.n_pairs = 1;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "flow from frame 0 to 3");
	o = kc_test_loader_opts(), o.batch = 0;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "batch 0");
	o = kc_test_loader_opts(), o.ranks = 2, o.rank = 2;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "rank 2 of 2");
	o = kc_test_loader_opts(), o.intervals = (const int64_t[]){0, 1};
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "an interval of 0");
	kc_dataset_close(d);
	kc_test_clip(kc_test_path("set"), "d", 4, 50, 50, 1);
	KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d));
	o = kc_test_loader_opts(), o.crop = 0, o.rotate = false;
	KC_CHECK_ERR(kc_loader_open(d, &o, 0, &l), KC_ECONFIG, "d (50 x 50) differ in size");
	kc_dataset_close(d);
}

static void test_skipped(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	struct kc_loader_stats stats;
	struct kc_loader *l;

	o.window = 5;
	o.n_pairs = 0;
	KC_CHECK_OK(kc_loader_open(d, &o, 0, &l));
	kc_loader_stats(l, &stats);
	KC_CHECK(stats.skipped_clips == 1 && stats.windows == 6 + 2);
	kc_loader_close(l);
	kc_dataset_close(d);
}

/* Closed at any moment, with batches held, nothing hangs or leaks. */
static void test_close(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	const struct kc_batch *b, *c;
	struct kc_loader *l;

	o.workers = 3;
	o.depth = 2;
	for (int i = 0; i < 12; i++) {
		KC_CHECK_OK(kc_loader_open(d, &o, i, &l));
		if (i % 3)
			KC_CHECK_OK(kc_loader_get(l, &b));
		if (i % 3 == 2)
			KC_CHECK_OK(kc_loader_get(l, &c));
		if (i % 2 && i % 3)
			kc_loader_release(l, b);
		kc_loader_close(l);
	}
	kc_loader_close(NULL);
	kc_dataset_close(d);
}

static void test_no_memory(void)
{
	struct kc_dataset *d = kc_test_set();
	struct kc_loader_opts o = kc_test_loader_opts();
	const struct kc_batch *b;
	struct kc_loader *l;
	int rc = KC_ENOMEM;

	for (long n = 1; rc < 0 && n < 400; n++) {
		kc_alloc_fail_after(n);
		rc = kc_loader_open(d, &o, 0, &l);
		if (rc >= 0) {
			rc = kc_loader_get(l, &b);
			kc_loader_close(l);
		}
		KC_CHECK(rc >= 0 || rc == KC_ENOMEM);
	}
	kc_alloc_fail_after(0);
	KC_CHECK(rc >= 0);
	kc_dataset_close(d);
}

const struct kc_test kc_tests_loader[] = {
	{"the number of workers changes no bit", test_workers},
	{"a resumed stream is the undisturbed one", test_resume},
	{"ranks share the batch", test_ranks},
	{"frames and flows are what the samples say", test_contents},
	{"an epoch is every window once", test_epochs},
	{"windows fit their clips at every interval", test_draws},
	{"windows of a key list", test_key_windows},
	{"the published draws", test_published},
	{"single images of any size", test_single},
	{"flows of a pack file turn with the frames", test_pack_flow},
	{"damaged frames are put aside, the stream stays the same", test_damaged},
	{"a run of damaged frames ends", test_all_damaged},
	{"options that cannot work", test_bad_options},
	{"clips too short are skipped and counted", test_skipped},
	{"closing early", test_close},
	{"failing allocations are reported", test_no_memory},
	{0}
};
