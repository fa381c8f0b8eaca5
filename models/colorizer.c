#include "models/colorizer_private.h"

#include <math.h>
#include <stdlib.h>

enum { LONGEST_INTERVAL = 1000, LARGEST_SIZE = 4096 };

/* ---- opening ---- */

static int resolve(struct kc_colorizer_args *a)
{
	if (!a->n_intervals)
		a->n_intervals = 1;
	if (!a->intervals[0])
		a->intervals[0] = KC_COLORIZER_INTERVAL;
	if (!a->size)
		a->size = KC_COLORIZER_SIZE;
	if (a->n_intervals < 1 || a->n_intervals > KC_COLORIZER_INTERVALS)
		return KC_FAIL(KC_ECONFIG, "%d intervals, expected 1 to %d", a->n_intervals,
			       KC_COLORIZER_INTERVALS);
	for (int i = 0; i < a->n_intervals; i++)
		if (a->intervals[i] < 1 || a->intervals[i] > LONGEST_INTERVAL)
			return KC_FAIL(KC_ECONFIG, "an interval of %d frames, expected 1 to %d",
				       a->intervals[i], LONGEST_INTERVAL);
	if (a->size < 2 * KC_SIGGRAPH17_SIDE || a->size > LARGEST_SIZE ||
	    a->size % KC_SIGGRAPH17_SIDE)
		return KC_FAIL(KC_ECONFIG,
			       "size %d of the network's input, expected a multiple of %d "
			       "from %d to %d",
			       a->size, KC_SIGGRAPH17_SIDE, 2 * KC_SIGGRAPH17_SIDE, LARGEST_SIZE);
	if (a->network != KC_COLORIZE_TCVC) {
		a->n_intervals = 1;
		a->flownet = false;
	}
	if (a->alternatives < 0 || a->alternatives > KC_ALTERNATIVES_MOST)
		return KC_FAIL(KC_ECONFIG, "%d alternatives, expected 0 to %d", a->alternatives,
			       KC_ALTERNATIVES_MOST);
	if (a->n_intervals > 1 && (a->alternatives || a->confidence))
		return KC_FAIL(KC_ECONFIG, "alternatives and confidence go with one interval");
	if (a->flownet && a->size % 64)
		return KC_FAIL(KC_ECONFIG,
			       "size %d of the network's input, FlowNet 2.0 needs a multiple of 64",
			       a->size);
	return 0;
}

int kc_colorizer_open(struct kc_colorizer **out, const struct kc_colorizer_args *args,
		      struct kc_device *device, struct kc_params *params)
{
	struct kc_colorizer *c = kc_calloc(1, sizeof *c);
	int rc;

	if (!c)
		return KC_ENOMEM;
	c->args = *args;
	c->device = device;
	c->own_params = !params;
	c->params = params ? params : kc_params_new(KC_F32);
	rc = resolve(&c->args);
	if (!rc)
		rc = c->params ? kc_colorizer_build(c) : KC_ENOMEM;
	if (rc < 0)
		kc_colorizer_close(c);
	else
		*out = c;
	return rc;
}

void kc_colorizer_close(struct kc_colorizer *c)
{
	if (!c)
		return;
	kc_colorizer_free_plans(c);
	if (c->own_params)
		kc_params_free(c->params);
	free(c->hint);
	free(c->mask);
	free(c);
}

struct kc_params *kc_colorizer_params(struct kc_colorizer *c)
{
	return c->params;
}

static int longest_step(const struct kc_colorizer *c)
{
	int step = 1;

	if (c->args.network == KC_COLORIZE_TCVC)
		for (int i = 0; i < c->args.n_intervals; i++)
			step = KC_MAX(step, c->args.intervals[i] + 1);
	return step;
}

int kc_colorizer_prepare(struct kc_colorizer *c, int64_t frames, int width, int height,
			 struct kc_plan_stats *sum)
{
	int longest = (int)KC_MIN(frames, (int64_t)longest_step(c) + 1);
	struct kc_plan_stats s;
	struct kc_anchor_plan *anchor;
	struct kc_window_plan *window;
	struct kc_colour_plan *colour;

	KC_TRY(kc_colorizer_anchor(c, &anchor));
	kc_plan_stats(anchor->plan, sum);
	KC_TRY(kc_colorizer_colour(c, width, height, &colour));
	kc_plan_stats(colour->join, &s);
	sum->arena = KC_MAX(sum->arena, s.arena);
	if (c->args.network != KC_COLORIZE_TCVC || longest < 3)
		return 0;
	KC_TRY(kc_colorizer_window(c, longest, &window));
	kc_plan_stats(window->plan, &s);
	sum->arena = KC_MAX(sum->arena, s.arena);
	sum->slots += s.slots;
	sum->params += s.params;
	sum->packed += s.packed;
	sum->flops += s.flops;
	return 0;
}

/* ---- one clip ---- */

/* What the networks see of a frame, kept while a window may need it. */
struct seen {
	float *l;
	uint8_t *grey;
	int64_t picture;                /* the frame that stands for it: another one if damaged */
};

/* The windows of one interval: chroma of frames first .. end - 1 is known. */
struct stream {
	int step;
	int64_t first, end;
	float *ab;
	float *feature, *next_feature;  /* of anchor end - 1, and room for the next anchor's */
	float *bins;                    /* logits, like ab; NULL: not wanted */
};

struct run {
	struct kc_colorizer *c;
	const struct kc_colorizer_clip *clip;
	struct kc_colorizer_count count;
	size_t pixels;                  /* of the networks' input */
	struct seen *seen;              /* frame i at i % room */
	int room;
	int64_t loaded;                 /* frames before it have been seen */
	struct stream stream[KC_COLORIZER_INTERVALS];
	float *luma, *flow;             /* of a window */
	uint8_t *grey;
	uint8_t *rgb;                   /* the newest result; its alternatives; its confidence */
	struct kc_picture result;
	size_t bins;                    /* elements of a frame's logits; 0: not wanted */
	float *leaning;                 /* chroma of an alternative */
};

static bool wants_extras(const struct run *r)
{
	return r->c->args.alternatives || r->c->args.confidence;
}

static int allocate_streams(struct run *r, size_t feature)
{
	for (int i = 0; i < r->c->args.n_intervals; i++) {
		struct stream *s = &r->stream[i];

		s->step = r->c->args.network == KC_COLORIZE_TCVC ? r->c->args.intervals[i] + 1 : 1;
		s->ab = kc_calloc((size_t)s->step, 2 * r->pixels * sizeof *s->ab);
		s->feature = kc_calloc(feature, sizeof *s->feature);
		s->next_feature = kc_calloc(feature, sizeof *s->next_feature);
		if (r->bins)
			s->bins = kc_calloc((size_t)s->step, r->bins * sizeof *s->bins);
		if (!s->ab || !s->feature || !s->next_feature || (r->bins && !s->bins))
			return KC_ENOMEM;
	}
	return 0;
}

static int allocate_seen(struct run *r)
{
	r->seen = kc_calloc((size_t)r->room, sizeof *r->seen);
	for (int i = 0; r->seen && i < r->room; i++) {
		r->seen[i].l = kc_calloc(r->pixels, sizeof *r->seen[i].l);
		r->seen[i].grey = kc_alloc(r->pixels);
		if (!r->seen[i].l || !r->seen[i].grey)
			return KC_ENOMEM;
	}
	return r->seen ? 0 : KC_ENOMEM;
}

static int run_begin(struct run *r)
{
	int longest = longest_step(r->c) + 1;
	struct kc_tensor *feature = r->c->anchor.feature;
	size_t pairs = (size_t)kc_tcvc_pairs(longest, NULL, 0, NULL);

	/* The other interval's window may begin one frame before the oldest unfinished one. */
	r->room = longest + 1;
	r->pixels = (size_t)r->c->args.size * (size_t)r->c->args.size;
	if (wants_extras(r))
		r->bins = (size_t)kc_numel(&r->c->anchor.bins->type);
	r->leaning = kc_calloc(2 * r->pixels, sizeof *r->leaning);
	KC_TRY(allocate_seen(r));
	KC_TRY(allocate_streams(r, feature ? (size_t)kc_numel(&feature->type) : 0));
	r->luma = kc_calloc((size_t)longest, r->pixels * sizeof *r->luma);
	r->grey = kc_calloc((size_t)longest, r->pixels);
	r->flow = kc_calloc(pairs, 2 * r->pixels * sizeof *r->flow);
	return r->leaning && r->luma && r->grey && r->flow ? 0 : KC_ENOMEM;
}

static void run_end(struct run *r)
{
	for (int i = 0; r->seen && i < r->room; i++) {
		free(r->seen[i].l);
		free(r->seen[i].grey);
	}
	for (int i = 0; i < KC_COLORIZER_INTERVALS; i++) {
		free(r->stream[i].ab);
		free(r->stream[i].feature);
		free(r->stream[i].next_feature);
		free(r->stream[i].bins);
	}
	free(r->seen);
	free(r->luma);
	free(r->grey);
	free(r->flow);
	free(r->rgb);
	free(r->leaning);
}

/* ---- frames in ---- */

static struct kc_buf real_buf(float *data, const struct kc_tensor *t)
{
	return kc_buf_of(data, &t->type, KC_CLAST);
}

static int feed_frame(struct kc_colour_plan *p, struct kc_plan *plan, const struct kc_picture *from)
{
	struct kc_buf b = kc_buf_of((void *)from->rgb, &p->frame->type, KC_CLAST);

	return kc_plan_feed(plan, p->frame, &b);
}

static int see(struct run *r, const struct kc_picture *from, struct seen *s)
{
	struct kc_colour_plan *p;
	struct kc_buf l;

	KC_TRY(kc_colorizer_colour(r->c, from->width, from->height, &p));
	KC_TRY(feed_frame(p, p->split, from));
	KC_TRY(kc_plan_run(p->split));
	l = real_buf(s->l, p->l);
	KC_TRY(kc_plan_read(p->split, p->l, &l));
	for (size_t i = 0; i < r->pixels; i++)
		s->grey[i] = (uint8_t)lrintf(255 * fminf(fmaxf(s->l[i] + 0.5f, 0), 1));
	return 0;
}

static struct seen *seen_at(struct run *r, int64_t frame)
{
	return &r->seen[frame % r->room];
}

/* The first frames are damaged: the next good one stands for them. */
static int see_next_good(struct run *r, struct seen *s)
{
	struct kc_picture from;

	for (int64_t i = 1; i < r->clip->frames; i++) {
		int rc = r->clip->source(r->clip->own, i, &from);

		KC_TRY(rc);
		if (rc == KC_DAMAGED)
			continue;
		s->picture = i;
		return see(r, &from, s);
	}
	return KC_FAIL(KC_EFORMAT, "none of the %lld frames can be read",
		       (long long)r->clip->frames);
}

static int load(struct run *r, int64_t frame)
{
	struct seen *s = seen_at(r, frame), *before;
	struct kc_picture from;
	int rc = r->clip->source(r->clip->own, frame, &from);

	KC_TRY(rc);
	s->picture = frame;
	if (rc != KC_DAMAGED)
		return see(r, &from, s);
	r->count.damaged++;
	if (!frame)
		return see_next_good(r, s);
	before = seen_at(r, frame - 1);
	memcpy(s->l, before->l, r->pixels * sizeof *s->l);
	memcpy(s->grey, before->grey, r->pixels);
	s->picture = before->picture;
	return 0;
}

static int need(struct run *r, int64_t last)
{
	for (; r->loaded <= last; r->loaded++)
		KC_TRY(load(r, r->loaded));
	return 0;
}

/* ---- networks ---- */

/* As the i-th of the frames whose chroma is known next. */
static int colorize_anchor(struct run *r, struct stream *s, int64_t frame, size_t i)
{
	struct kc_anchor_plan *a;
	struct kc_buf b;

	KC_TRY(need(r, frame));
	KC_TRY(kc_colorizer_anchor(r->c, &a));
	KC_TRY(kc_colorizer_feed_anchor(r->c, a->plan, r->clip, frame, seen_at(r, frame)->l));
	KC_TRY(kc_plan_run(a->plan));
	r->count.anchors++;
	b = real_buf(s->ab + i * 2 * r->pixels, a->ab);
	KC_TRY(kc_plan_read(a->plan, a->ab, &b));
	if (s->bins) {
		b = real_buf(s->bins + i * r->bins, a->bins);
		KC_TRY(kc_plan_read(a->plan, a->bins, &b));
	}
	if (!a->feature)
		return 0;
	b = real_buf(s->next_feature, a->feature);
	return kc_plan_read(a->plan, a->feature, &b);
}

static int feed_flows(struct run *r, struct kc_window_plan *w, int64_t first)
{
	struct kc_buf b;

	if (!w->flows)
		return 0;
	for (int i = 0; i < w->frames; i++)
		memcpy(r->grey + (size_t)i * r->pixels, seen_at(r, first + i)->grey, r->pixels);
	KC_TRY(r->clip->flows(r->clip->own, r->grey, r->c->args.size, w->pairs, w->n_pairs,
			      r->flow));
	b = real_buf(r->flow, w->flows);
	return kc_plan_feed(w->plan, w->flows, &b);
}

/* Frames first + 1 .. first + frames - 2 of a window whose anchors' features are known. */
static int colorize_between(struct run *r, struct stream *s, int64_t first, int frames)
{
	struct kc_window_plan *w;
	struct kc_buf b;

	KC_TRY(kc_colorizer_window(r->c, frames, &w));
	for (int i = 0; i < frames; i++)
		memcpy(r->luma + (size_t)i * r->pixels, seen_at(r, first + i)->l,
		       r->pixels * sizeof *r->luma);
	b = real_buf(r->luma, w->l);
	KC_TRY(kc_plan_feed(w->plan, w->l, &b));
	b = real_buf(s->feature, w->first);
	KC_TRY(kc_plan_feed(w->plan, w->first, &b));
	b = real_buf(s->next_feature, w->last);
	KC_TRY(kc_plan_feed(w->plan, w->last, &b));
	KC_TRY(feed_flows(r, w, first));
	KC_TRY(kc_plan_run(w->plan));
	r->count.windows++;
	b = real_buf(s->ab, w->ab);
	KC_TRY(kc_plan_read(w->plan, w->ab, &b));
	if (!s->bins)
		return 0;
	b = real_buf(s->bins, w->bins);
	return kc_plan_read(w->plan, w->bins, &b);
}

/* The chroma of the next frames. */
static int advance(struct run *r, struct stream *s)
{
	int64_t start = s->end - 1, last = KC_MIN(start + s->step, r->clip->frames - 1);
	float *swap = s->feature;
	size_t between;

	if (!s->end)
		last = 0;
	between = s->end ? (size_t)(last - start - 1) : 0;
	KC_TRY(colorize_anchor(r, s, last, between));
	if (between)
		KC_TRY(colorize_between(r, s, start, (int)between + 2));
	s->feature = s->next_feature;
	s->next_feature = swap;
	s->first = s->end;
	s->end = last + 1;
	return 0;
}

/* ---- frames out ---- */

/* Room for the result, the alternatives and the confidence, one after the other. */
static int fit_result(struct run *r, const struct kc_picture *like)
{
	size_t pictures = (size_t)r->c->args.alternatives + 2;
	uint8_t *rgb;

	if (r->rgb && r->result.width == like->width && r->result.height == like->height)
		return 0;
	rgb = kc_realloc(r->rgb, (size_t)like->width * (size_t)like->height, 3 * pictures);
	if (!rgb)
		return KC_ENOMEM;
	r->rgb = rgb;
	r->result = (struct kc_picture){like->width, like->height, rgb};
	return 0;
}

/* The result is number 0, alternative k is k + 1. */
static uint8_t *picture_at(const struct run *r, int number)
{
	return r->rgb + (size_t)number * 3 * (size_t)r->result.width * (size_t)r->result.height;
}

/* The frame's L with the chroma of each interval, or with that of an alternative. */
static int join(struct run *r, const struct kc_picture *from, float *const *ab, uint8_t *rgb)
{
	struct kc_colour_plan *p;
	struct kc_buf b;

	KC_TRY(kc_colorizer_colour(r->c, from->width, from->height, &p));
	KC_TRY(feed_frame(p, p->join, from));
	for (int i = 0; i < r->c->args.n_intervals; i++) {
		b = real_buf(ab[i], p->ab[i]);
		KC_TRY(kc_plan_feed(p->join, p->ab[i], &b));
	}
	KC_TRY(kc_plan_run(p->join));
	b = kc_buf_of(rgb, &p->frame->type, KC_CLAST);
	return kc_plan_read(p->join, p->rgb, &b);
}

static int join_extras(struct run *r, int64_t frame, const struct kc_picture *from)
{
	const struct stream *s = &r->stream[0];
	const float *logits = s->bins + (size_t)(frame - s->first) * r->bins;
	int n = r->c->args.alternatives;

	if (!frame && n)
		KC_TRY(kc_colorizer_choose(r->c, logits));
	for (int k = 0; k < n; k++) {
		KC_TRY(kc_colorizer_lean(r->c, logits, k, r->leaning));
		KC_TRY(join(r, from, &r->leaning, picture_at(r, k + 1)));
	}
	if (!r->c->args.confidence)
		return 0;
	return kc_colorizer_sure(r->c, logits, from->width, from->height, picture_at(r, n + 1));
}

static int make_result(struct run *r, int64_t frame, const struct kc_picture *from)
{
	float *ab[KC_COLORIZER_INTERVALS];

	for (int i = 0; i < r->c->args.n_intervals; i++)
		ab[i] = r->stream[i].ab +
			(size_t)(frame - r->stream[i].first) * 2 * r->pixels;
	KC_TRY(fit_result(r, from));
	KC_TRY(join(r, from, ab, r->rgb));
	return wants_extras(r) ? join_extras(r, frame, from) : 0;
}

static int give(struct run *r, int64_t frame)
{
	struct kc_picture extra = r->result;
	int n = r->c->args.alternatives;

	KC_TRY(r->clip->sink(r->clip->own, frame, &r->result));
	for (int k = 0; k < n + (r->c->args.confidence ? 1 : 0); k++) {
		extra.rgb = picture_at(r, k + 1);
		KC_TRY(r->clip->extra(r->clip->own, frame, k < n ? k : KC_CONFIDENCE, &extra));
	}
	return 0;
}

static int finish(struct run *r, int64_t frame)
{
	int64_t picture = seen_at(r, frame)->picture;
	struct kc_picture from;
	int rc;

	if (picture == frame || frame == 0) {
		rc = r->clip->source(r->clip->own, picture, &from);
		KC_TRY(rc);
		if (rc == KC_DAMAGED)
			return KC_FAIL(KC_EIO, "frame %lld could be read before and cannot now",
				       (long long)picture);
		KC_TRY(make_result(r, frame, &from));
	}
	return give(r, frame);
}

static int run_all(struct run *r)
{
	KC_TRY(run_begin(r));
	for (int64_t frame = 0; frame < r->clip->frames; frame++) {
		for (int i = 0; i < r->c->args.n_intervals; i++)
			while (r->stream[i].end <= frame)
				KC_TRY(advance(r, &r->stream[i]));
		KC_TRY(finish(r, frame));
	}
	return 0;
}

int kc_colorizer_run(struct kc_colorizer *c, const struct kc_colorizer_clip *clip,
		     struct kc_colorizer_count *count)
{
	struct run r = {.c = c, .clip = clip};
	int rc = run_all(&r);

	run_end(&r);
	if (count)
		*count = r.count;
	return rc;
}
