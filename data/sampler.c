#include "data/sampler.h"

#include <stdlib.h>
#include <string.h>

static const int64_t every_frame[1] = {1};

/* Frames from a window's first to its last. */
static int64_t span_of(const struct kc_sampler *s, int64_t interval)
{
	return (s->opts.window - 1) * interval;
}

static int64_t shortest_interval(const struct kc_loader_opts *o)
{
	int64_t least = o->intervals[0];

	for (size_t i = 1; i < o->n_intervals; i++)
		least = KC_MIN(least, o->intervals[i]);
	return least;
}

static int check_ranges(const struct kc_loader_opts *o)
{
	if (o->window < 1 || o->window > 10000)
		return KC_FAIL(KC_ECONFIG, "a window of %d frames, 1 to 10000 expected", o->window);
	if (o->batch < 1 || o->rank < 0 || o->rank >= o->ranks || o->workers < 0 || o->depth < 1)
		return KC_FAIL(KC_ECONFIG, "batch %d, rank %d of %d, %d workers, depth %d",
			       o->batch, o->rank, o->ranks, o->workers, o->depth);
	if (o->crop < 0 || o->resize < 0 || o->crop > 1 << 14 || o->resize > 1 << 14)
		return KC_FAIL(KC_ECONFIG, "crop %d, resize %d", o->crop, o->resize);
	for (size_t i = 0; i < o->n_intervals; i++)
		if (o->intervals[i] < 1 || o->intervals[i] > 100000)
			return KC_FAIL(KC_ECONFIG, "an interval of %lld frames",
				       (long long)o->intervals[i]);
	for (int i = 0; o->flow && i < o->n_pairs; i++)
		if (o->pairs[i].from < 0 || o->pairs[i].from >= o->window ||
		    o->pairs[i].to < 0 || o->pairs[i].to >= o->window)
			return KC_FAIL(KC_ECONFIG, "flow from frame %d to %d in a window of %d",
				       o->pairs[i].from, o->pairs[i].to, o->window);
	return 0;
}

/* ---- windows ---- */

static int too_short(const struct kc_sampler *s)
{
	const struct kc_clip *longest = s->dataset->clip;
	int64_t interval = shortest_interval(&s->opts);

	for (size_t i = 1; i < s->dataset->n; i++)
		if (s->dataset->clip[i].n > longest->n)
			longest = &s->dataset->clip[i];
	return KC_FAIL(KC_ECONFIG, "%s: no clip holds a window of %d frames at interval %lld (%lld "
		       "frames); the longest, %s, has %lld", s->dataset->path, s->opts.window,
		       (long long)interval, (long long)span_of(s, interval) + 1, longest->name,
		       (long long)longest->n);
}

/* Every start of every clip. */
static int list_starts(struct kc_sampler *s)
{
	const struct kc_dataset *d = s->dataset;
	int64_t span = span_of(s, shortest_interval(&s->opts));

	s->window = kc_calloc(d->n, sizeof *s->window);
	s->first = kc_calloc(d->n, sizeof *s->first);
	if (!s->window || !s->first)
		return KC_ENOMEM;
	for (size_t i = 0; i < d->n; i++) {
		if (d->clip[i].n <= span) {
			s->skipped++;
			continue;
		}
		s->window[s->n] = (struct kc_window){i, 0, d->clip[i].n - 1};
		s->first[s->n++] = s->windows;
		s->windows += (uint64_t)(d->clip[i].n - span);
	}
	return s->windows ? 0 : too_short(s);
}

/* The windows of the list that their clips can hold. */
static int list_keys(struct kc_sampler *s)
{
	const struct kc_dataset *d = s->dataset;
	int64_t span = span_of(s, shortest_interval(&s->opts));
	bool *skipped = kc_calloc(d->n, sizeof *skipped);

	s->window = kc_calloc(d->n_windows, sizeof *s->window);
	if (!s->window || !skipped) {
		free(skipped);
		return KC_ENOMEM;
	}
	for (size_t i = 0; i < d->n_windows; i++) {
		const struct kc_window *w = &d->window[i];

		if (w->last >= span)
			s->window[s->n++] = *w;
		else if (!skipped[w->clip])
			s->skipped += skipped[w->clip] = true;
	}
	free(skipped);
	s->windows = s->n;
	return s->n ? 0 : too_short(s);
}

static struct kc_window find_window(const struct kc_sampler *s, uint64_t index)
{
	size_t low = 0, high = s->n;
	struct kc_window w;

	if (!s->first)
		return s->window[index];
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (s->first[middle] <= index)
			low = middle;
		else
			high = middle;
	}
	w = s->window[low];
	w.start = (int64_t)(index - s->first[low]);
	return w;
}

/* ---- sizes ---- */

/* The clips that windows come from must all do. */
static int check_frames(struct kc_sampler *s)
{
	const struct kc_loader_opts *o = &s->opts;
	const struct kc_clip *clips = s->dataset->clip, *first = &clips[s->window[0].clip];

	s->width = o->crop ? o->crop : o->resize ? o->resize : first->width;
	s->height = o->crop ? o->crop : o->resize ? o->resize : first->height;
	if (o->resize && o->crop > o->resize)
		return KC_FAIL(KC_ECONFIG, "a crop of %d from frames resized to %d", o->crop,
			       o->resize);
	for (size_t i = 0; i < s->n && o->window > 1 && !o->resize; i++) {
		const struct kc_clip *c = &clips[s->window[i].clip];

		if (o->crop && (c->width < o->crop || c->height < o->crop))
			return KC_FAIL(KC_ECONFIG,
				       "a crop of %d x %d is larger than the frames of "
				       "clip %s, %d x %d",
				       o->crop, o->crop, c->name, c->width, c->height);
		if (!o->crop && (c->width != s->width || c->height != s->height))
			return KC_FAIL(KC_ECONFIG,
				       "clips %s (%d x %d) and %s (%d x %d) differ in size: "
				       "crop or resize",
				       first->name, s->width, s->height, c->name, c->width,
				       c->height);
	}
	if (o->rotate && s->width != s->height)
		return KC_FAIL(KC_ECONFIG, "frames of %d x %d cannot be turned: crop a square",
			       s->width, s->height);
	return 0;
}

static int check_whole(struct kc_sampler *s)
{
	const struct kc_loader_opts *o = &s->opts;

	s->batch_width = s->width;
	s->batch_height = s->height;
	if (!o->whole)
		return 0;
	if (!o->crop || o->resize || o->flow == KC_LOADER_DIS)
		return KC_FAIL(KC_ECONFIG, "whole frames: expected a crop, no resizing and no DIS");
	if (!kc_dataset_one_size(s->dataset, o->window, &s->batch_width, &s->batch_height))
		return KC_FAIL(KC_ECONFIG, "%s: whole frames: expected all of one size%s",
			       s->dataset->path,
			       o->window == 1 ? ", in a pack file for single images" : "");
	return 0;
}

static int check_clip_flows(const struct kc_sampler *s, const struct kc_window *w)
{
	const struct kc_loader_opts *o = &s->opts;
	const struct kc_clip *c = &s->dataset->clip[w->clip];

	for (size_t k = 0; k < o->n_intervals; k++)
		for (int i = 0; i < o->n_pairs && span_of(s, o->intervals[k]) <= w->last; i++) {
			int64_t offset = o->intervals[k] * (o->pairs[i].to - o->pairs[i].from);

			KC_TRY(kc_pack_need_offset(c->pack, c->in_pack, offset));
			if (o->random_reverse)
				KC_TRY(kc_pack_need_offset(c->pack, c->in_pack, -offset));
		}
	return 0;
}

static int check_flows(const struct kc_sampler *s)
{
	const struct kc_loader_opts *o = &s->opts;

	if (o->flow == KC_LOADER_DIS && KC_MIN(s->width, s->height) < KC_DIS_LEAST)
		return KC_FAIL(KC_ECONFIG, "DIS flow on %d x %d pixels, at least %d x %d expected",
			       s->width, s->height, KC_DIS_LEAST, KC_DIS_LEAST);
	if (o->flow != KC_LOADER_PACK)
		return 0;
	if (!s->dataset->pack)
		return KC_FAIL(KC_ECONFIG, "%s is no pack file, so it has no stored flows",
			       s->dataset->path);
	if (o->resize)
		return KC_FAIL(KC_ECONFIG, "stored flows do not fit resized frames");
	for (size_t i = 0; i < s->n; i++)
		KC_TRY(check_clip_flows(s, &s->window[i]));
	return 0;
}

int kc_sampler_init(struct kc_sampler *s, const struct kc_dataset *d,
		    const struct kc_loader_opts *o)
{
	int rc;

	memset(s, 0, sizeof *s);
	s->dataset = d;
	s->opts = *o;
	if (!o->n_intervals) {
		s->opts.intervals = every_frame;
		s->opts.n_intervals = 1;
	}
	s->opts.ranks = KC_MAX(o->ranks, 1);
	s->opts.depth = o->depth ? o->depth : 3;
	rc = check_ranges(&s->opts);
	if (rc >= 0)
		rc = d->window ? list_keys(s) : list_starts(s);
	if (rc >= 0)
		rc = check_frames(s);
	if (rc >= 0)
		rc = check_whole(s);
	if (rc >= 0)
		rc = check_flows(s);
	if (rc < 0)
		kc_sampler_release(s);
	return rc;
}

void kc_sampler_release(struct kc_sampler *s)
{
	free(s->window);
	free(s->first);
	memset(s, 0, sizeof *s);
}

/* ---- draws ---- */

static bool coin(struct kc_random *r)
{
	return kc_random_below(r, 2);
}

/* One of the intervals at which the clip holds a window. */
static int64_t draw_interval(const struct kc_sampler *s, struct kc_random *r, int64_t last)
{
	uint64_t fit = 0, choice;

	for (size_t i = 0; i < s->opts.n_intervals; i++)
		fit += span_of(s, s->opts.intervals[i]) <= last;
	choice = kc_random_below(r, fit);
	for (size_t i = 0;; i++)
		if (span_of(s, s->opts.intervals[i]) <= last && choice-- == 0)
			return s->opts.intervals[i];
}

static unsigned draw_symmetry(const struct kc_loader_opts *o, struct kc_random *r)
{
	bool x = coin(r), y = coin(r), turn = coin(r);

	if (o->published_symmetry)
		y = turn;
	return (o->flip && x ? KC_MIRROR_X : 0) | (o->rotate && y ? KC_MIRROR_Y : 0) |
	       (o->rotate && turn ? KC_TRANSPOSE : 0);
}

void kc_sampler_draw(const struct kc_sampler *s, uint64_t i, uint32_t attempt, struct kc_draw *d)
{
	const struct kc_loader_opts *o = &s->opts;
	struct kc_random *r = &d->random;
	uint64_t index = i % s->windows;
	struct kc_window w;

	kc_random_init(r, o->seed, KC_STREAM_SAMPLE, i, attempt);
	if (attempt)
		index = kc_random_below(r, s->windows);
	else if (o->shuffle)
		index = kc_random_permute(o->seed, i / s->windows, s->windows, index);
	w = find_window(s, index);
	d->clip = &s->dataset->clip[w.clip];
	d->interval = draw_interval(s, r, w.last);
	d->start = w.start;
	if (w.start + span_of(s, d->interval) > w.last)
		d->start = (int64_t)kc_random_below(
			r, (uint64_t)(w.last - span_of(s, d->interval) + 1));
	if (o->published_window)
		d->start = 0;
	d->reversed = o->random_reverse && coin(r);
	d->symmetry = draw_symmetry(o, r);
}

int64_t kc_draw_frame(const struct kc_sampler *s, const struct kc_draw *d, int f)
{
	return d->start + d->interval * (d->reversed ? s->opts.window - 1 - f : f);
}

int kc_draw_crop(const struct kc_sampler *s, struct kc_draw *d, int width, int height,
		 struct kc_crop *crop)
{
	if (width < s->width || height < s->height || (!s->opts.crop && width != s->width) ||
	    (!s->opts.crop && height != s->height))
		return KC_FAIL(KC_ESHAPE, "a frame of %d x %d, %s%d x %d expected", width, height,
			       s->opts.crop ? "at least " : "", s->width, s->height);
	crop->src_width = width;
	crop->x = (int)kc_random_below(&d->random, (uint64_t)(width - s->width) + 1);
	crop->y = (int)kc_random_below(&d->random, (uint64_t)(height - s->height) + 1);
	crop->width = s->width;
	crop->height = s->height;
	return 0;
}

uint64_t kc_sampler_index(const struct kc_sampler *s, int64_t batch, int slot)
{
	uint64_t whole = (uint64_t)batch * (uint64_t)s->opts.ranks + (uint64_t)s->opts.rank;

	return whole * (uint64_t)s->opts.batch + (uint64_t)slot;
}
