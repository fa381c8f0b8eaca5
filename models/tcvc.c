#include "models/tcvc.h"

#include "models/flownet2.h"
#include "models/width.h"

#include <stdlib.h>

/* ---- the flows of a window ---- */

static bool has_step(const int *steps, int n, int t)
{
	for (int k = 0; k < n; k++)
		if (steps[k] == t)
			return true;
	return false;
}

/* The flows i+t -> i for i = first .. last. */
static int add_run(struct kc_pair *pairs, int n, int t, int first, int last)
{
	for (int i = first; i <= last; i++, n++)
		if (pairs)
			pairs[n] = (struct kc_pair){i + t, i};
	return n;
}

/* The list up to the flows i+t -> i; the whole list for t = 0. */
static int list_pairs(int frames, const int *steps, int n_steps, int t, struct kc_pair *pairs)
{
	int n = 0;

	for (int i = 1; i <= frames - 2; i++, n++)
		if (pairs)
			pairs[n] = (struct kc_pair){i, i + 1};
	if (t == 1)
		return n;
	/* The recurrence stops one frame before the window's end, self-regularization does not. */
	n = add_run(pairs, n, 1, 0, has_step(steps, n_steps, 1) ? frames - 2 : frames - 3);
	for (int k = 0; k < n_steps && steps[k] != t; k++)
		if (steps[k] > 1 && !has_step(steps, k, steps[k]))
			n = add_run(pairs, n, steps[k], 0, frames - 1 - steps[k]);
	return n;
}

int kc_tcvc_pairs(int frames, const int *steps, int n_steps, struct kc_pair *pairs)
{
	return list_pairs(frames, steps, n_steps, 0, pairs);
}

static int count_pairs(const struct kc_tcvc_args *a)
{
	return list_pairs(a->frames, a->steps, a->n_steps, 0, NULL);
}

static int run_start(const struct kc_tcvc_args *a, int t)
{
	return list_pairs(a->frames, a->steps, a->n_steps, t, NULL);
}

/* Frames (or pairs) first .. first + count - 1 of x, which holds n windows. */
static struct kc_tensor *rows(struct kc_graph *g, struct kc_tensor *x, int first, int count,
			      int64_t n)
{
	return kc_slice(g, x, 0, first * n, count * n, 1);
}

static int64_t windows(const struct kc_tensor *l, const struct kc_tcvc_args *a)
{
	return l->type.dim[0] / a->frames;
}

struct kc_tensor *kc_tcvc_step_flows(struct kc_graph *g, struct kc_tensor *flows, int t,
				     const struct kc_tcvc_args *a)
{
	if (t >= a->frames || !has_step(a->steps, a->n_steps, t))
		return NULL;
	return rows(g, flows, run_start(a, t), a->frames - t, flows->type.dim[0] / count_pairs(a));
}

/* Grey as RGB in [0,1] of one end of every pair. */
static struct kc_tensor *grey_frames(struct kc_graph *g, struct kc_tensor *l, bool to,
				     const struct kc_pair *pairs, int n_pairs, int64_t n)
{
	struct kc_tensor **frame = kc_calloc((size_t)n_pairs, sizeof(struct kc_tensor *)), *x;

	if (!frame)
		return kc_graph_fail(g, "out of memory");
	for (int p = 0; p < n_pairs; p++)
		frame[p] = rows(g, l, to ? pairs[p].to : pairs[p].from, 1, n);
	x = kc_shift(g, kc_concat(g, 0, frame, n_pairs), 0.5);
	free(frame);
	return KC_CONCAT(g, 1, x, x, x);
}

struct kc_tensor *kc_tcvc_flows(struct kc_model *m, struct kc_tensor *l,
				const struct kc_tcvc_args *a)
{
	int n_pairs = count_pairs(a);
	struct kc_pair *pairs = kc_calloc((size_t)n_pairs, sizeof *pairs);
	struct kc_tensor *from, *to, *flows = NULL;
	bool frozen = m->frozen;

	if (!pairs)
		return kc_graph_fail(m->g, "out of memory");
	kc_tcvc_pairs(a->frames, a->steps, a->n_steps, pairs);
	from = grey_frames(m->g, l, false, pairs, n_pairs, windows(l, a));
	to = grey_frames(m->g, l, true, pairs, n_pairs, windows(l, a));
	free(pairs);
	m->frozen = true;
	KC_SCOPE(m->g, "flow")
		flows = kc_flownet2(m, from, to, 1, a->pairs_per_call);
	m->frozen = frozen;
	return flows;
}

/* ---- anchors ---- */

static struct kc_tensor *class_head(struct kc_model *m, struct kc_tensor *feature,
				    const struct kc_tcvc_args *a)
{
	if (!a->class_head || a->key == KC_TCVC_ECCV16)
		return NULL;
	return kc_conv(m, "class_head", kc_subsample(m->g, feature, 4), .out = KC_BINS, .k = 1);
}

static struct kc_tcvc_colour from_siggraph17(struct kc_siggraph17 s)
{
	return (struct kc_tcvc_colour){.ab = s.ab, .feature = s.feature,
				       .own_logits = s.logits};
}

static struct kc_tcvc_colour from_eccv16(struct kc_eccv16 e)
{
	return (struct kc_tcvc_colour){e.ab, e.feature, e.logits, e.logits};
}

/* It is frozen, and keeps its running statistics even where it is trained. */
struct kc_tcvc_colour kc_tcvc_anchors(struct kc_model *m, struct kc_tensor *l,
				      const struct kc_tcvc_args *a)
{
	const struct kc_siggraph17_args sig17 = {.hint = a->hint, .mask = a->mask,
						 .mask_cent = a->mask_cent,
						 .width = a->width};
	const struct kc_eccv16_args bins = {.temperature = a->temperature, .width = a->width};
	struct kc_tcvc_colour anchors = {0};
	bool frozen = m->frozen, train = m->train;

	m->frozen = frozen || !a->train_anchors;
	m->train = false;
	KC_SCOPE(m->g, "fea_key") {
		if (a->key == KC_TCVC_ECCV16)
			anchors = from_eccv16(kc_eccv16(m, l, &bins));
		else
			anchors = from_siggraph17(kc_siggraph17(m, l, &sig17));
	}
	m->frozen = frozen;
	m->train = train;
	if (!anchors.logits)
		anchors.logits = class_head(m, anchors.feature, a);
	return anchors;
}

/* By the last layers of the image network. */
static struct kc_tcvc_colour colour(struct kc_model *m, struct kc_tensor *feature,
				    const struct kc_tcvc_args *a)
{
	struct kc_tcvc_colour out = {.feature = feature};
	bool frozen = m->frozen;

	m->frozen = frozen || !a->train_anchors;
	KC_SCOPE(m->g, "fea_key") {
		if (a->key == KC_TCVC_ECCV16)
			out = from_eccv16(kc_eccv16_out(m, feature, a->temperature));
		else
			out.ab = kc_siggraph17_out(m, feature);
	}
	m->frozen = frozen;
	if (!out.logits)
		out.logits = class_head(m, feature, a);
	return out;
}

/* ---- sizes ---- */

static int features(const struct kc_tcvc_args *a)
{
	return kc_width(a->width, a->key == KC_TCVC_ECCV16 ? 256 : 128);
}

/* Of the size of features. */
static struct kc_tensor *shrink(struct kc_graph *g, struct kc_tensor *x,
				const struct kc_tcvc_args *a)
{
	return a->key == KC_TCVC_ECCV16 ? kc_avg_pool(g, x, .k = 4) : x;
}

static struct kc_tensor *shrink_flows(struct kc_graph *g, struct kc_tensor *flows,
				      const struct kc_tcvc_args *a)
{
	return a->key == KC_TCVC_ECCV16 ? kc_scale(g, shrink(g, flows, a), 0.25) : flows;
}

/* ---- the trained heads ---- */

static struct kc_tensor *luma_feature(struct kc_model *m, struct kc_tensor *l,
				      const struct kc_tcvc_args *a)
{
	int c = kc_width(a->width, 32);
	struct kc_tensor *x = shrink(m->g, l, a);

	KC_SCOPE(m->g, "L_fea_extractor") {
		x = kc_conv(m, "0", x, .out = c, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "2", x, .out = c);
	}
	return x;
}

static struct kc_tensor *channel_reduction(struct kc_model *m, struct kc_tensor *x, double width)
{
	int c = kc_width(width, 64);

	KC_SCOPE(m->g, "channel_reduction") {
		x = kc_conv(m, "conv1", x, .out = c, .k = 1, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "conv2", x, .out = c, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "conv3", x, .out = c, .k = 1);
	}
	return x;
}

static struct kc_tensor *weighting(struct kc_model *m, struct kc_tensor *x, double width)
{
	int c196 = kc_width(width, 196), c64 = kc_width(width, 64);

	KC_SCOPE(m->g, "weigting") {
		x = kc_conv(m, "conv1", x, .out = c196, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "conv2", x, .out = c64, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "conv3", x, .out = 1, .act = KC_SIGMOID);
	}
	return x;
}

static struct kc_tensor *feature_refine(struct kc_model *m, struct kc_tensor *x,
					const struct kc_tcvc_args *a)
{
	int c196 = kc_width(a->width, 196), c = features(a);

	KC_SCOPE(m->g, "feature_refine") {
		x = kc_conv(m, "conv1", x, .out = c196, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "conv2", x, .out = c, .act = KC_LEAKY, .slope = 0.1f);
		x = kc_conv(m, "conv3", x, .out = c);
	}
	return x;
}

/* ---- propagation ---- */

/* x as n parts by frame.  One split has one gradient, where n slices would have n of full size. */
static void by_frame(struct kc_graph *g, struct kc_tensor *x, int n, struct kc_tensor **out)
{
	int64_t rows_each = kc_is_poison(x) ? 0 : x->type.dim[0] / n;

	if (n > 1 && n <= KC_MAX_OUT) {
		kc_split(g, x, 0, n, out);
		return;
	}
	for (int i = 0; i < n; i++)
		out[i] = rows(g, x, i, 1, rows_each);
}

/* What the recurrence reads and does not write; entries by frame. */
struct propagation {
	struct kc_tensor **luma;                /* of all frames */
	struct kc_tensor **backward;            /* features that came from the last frame */
	struct kc_tensor **reduced;             /* the same from frame 2 on, channels reduced */
	struct kc_tensor *flows;
	int64_t n;
};

static void propagate_backward(struct kc_model *m, struct propagation *p,
			       struct kc_tensor *last_feature, const struct kc_tcvc_args *a)
{
	struct kc_graph *g = m->g;
	int last = a->frames - 1;
	struct kc_tensor *all;

	p->backward[last] = last_feature;
	for (int i = last - 1; i >= 1; i--)
		p->backward[i] = kc_warp(g, p->backward[i + 1], rows(g, p->flows, i - 1, 1, p->n));
	all = kc_concat(g, 0, p->backward + 2, last - 1);
	by_frame(g, channel_reduction(m, kc_stop(g, all), a->width), last - 1, p->reduced + 2);
}

/* Feature of frame i from that of frame i-1, which the flow leads to. */
static struct kc_tensor *step_forward(struct kc_model *m, const struct propagation *p, int i,
				      struct kc_tensor *previous, struct kc_tensor *flow,
				      const struct kc_tcvc_args *a)
{
	struct kc_graph *g = m->g;
	struct kc_tensor *before = p->luma[i - 1], *now = p->luma[i], *after = p->luma[i + 1];
	struct kc_tensor *forward = kc_warp(g, previous, flow);
	struct kc_tensor *w, *middle, *red_next, *red_previous, *red_middle;

	w = weighting(m, KC_CONCAT(g, 1, before, now, after, p->backward[i], forward), a->width);
	middle = kc_pw3(g, KC_PW_blend, 0, 0, w, forward, p->backward[i]);
	red_next = p->reduced[i + 1];
	red_previous = channel_reduction(m, kc_stop(g, previous), a->width);
	red_middle = channel_reduction(m, kc_stop(g, middle), a->width);
	return kc_add(g, middle,
		      feature_refine(m, KC_CONCAT(g, 1, before, now, after, red_next, red_previous,
						  red_middle), a));
}

/* ab and logits by frame; logits stay NULL without classes. */
static struct kc_tcvc_colour propagate(struct kc_model *m, struct propagation *p,
				       struct kc_tensor **ab, struct kc_tensor **logits,
				       struct kc_tensor *first_feature,
				       struct kc_tensor *last_feature,
				       const struct kc_tcvc_args *a)
{
	int n = a->frames - 2;
	struct kc_tensor *feature = first_feature, *flow;
	struct kc_tcvc_colour now;

	propagate_backward(m, p, last_feature, a);
	for (int i = 0; i < n; i++) {
		flow = rows(m->g, p->flows, run_start(a, 1) + i, 1, p->n);
		feature = step_forward(m, p, i + 1, feature, flow, a);
		now = colour(m, feature, a);
		ab[i] = now.ab;
		logits[i] = now.logits;
	}
	return (struct kc_tcvc_colour){
		.ab = kc_concat(m->g, 0, ab, n),
		.logits = logits[0] ? kc_concat(m->g, 0, logits, n) : NULL,
	};
}

struct kc_tcvc_colour kc_tcvc_between(struct kc_model *m, struct kc_tensor *l,
				      struct kc_tensor *first_feature,
				      struct kc_tensor *last_feature, struct kc_tensor *flows,
				      const struct kc_tcvc_args *a)
{
	struct propagation p = {.n = windows(l, a)};
	struct kc_tcvc_colour out = {0};
	struct kc_tensor **lists;

	if (a->frames <= 2)
		return out;
	lists = kc_calloc(5 * (size_t)a->frames, sizeof(struct kc_tensor *));
	if (!lists)
		return (struct kc_tcvc_colour){.ab = kc_graph_fail(m->g, "out of memory")};
	p.flows = shrink_flows(m->g, flows, a);
	p.backward = lists;
	p.luma = lists + a->frames;
	p.reduced = lists + 2 * a->frames;
	by_frame(m->g, luma_feature(m, l, a), a->frames, p.luma);
	out = propagate(m, &p, lists + 3 * a->frames, lists + 4 * a->frames, first_feature,
			last_feature, a);
	free(lists);
	return out;
}

struct kc_tcvc_step kc_tcvc_step(struct kc_model *m, struct kc_tensor *const l[3],
				 const struct kc_tcvc_neighbours *from,
				 const struct kc_tcvc_args *args)
{
	const struct kc_tcvc_args a = {.frames = 3, .width = args->width, .key = args->key,
				       .temperature = args->temperature};
	struct kc_tensor *to_next = shrink_flows(m->g, from->to_next, &a);
	struct kc_tensor *to_previous = shrink_flows(m->g, from->to_previous, &a);
	struct kc_tensor *luma[3], *backward[3] = {0}, *reduced[3] = {0};
	struct propagation p = {.luma = luma, .backward = backward, .reduced = reduced};
	struct kc_tcvc_step out;

	for (int i = 0; i < 3; i++)
		luma[i] = luma_feature(m, l[i], &a);
	out.backward = backward[1] = kc_warp(m->g, from->next, to_next);
	reduced[2] = channel_reduction(m, kc_stop(m->g, from->next), a.width);
	out.feature = step_forward(m, &p, 1, from->previous, to_previous, &a);
	out.ab = colour(m, out.feature, &a).ab;
	return out;
}

/* ---- the whole ---- */

static bool input_fits(struct kc_graph *g, const struct kc_tensor *l, const struct kc_tcvc_args *a)
{
	int64_t pairs = count_pairs(a);
	char text[96];

	if (kc_is_poison(l))
		return false;
	if (l->type.dim[0] % a->frames) {
		kc_graph_fail(g, "tcvc: %s is not a whole number of windows of %d frames",
			      kc_dims_text(&l->type, text), a->frames);
		return false;
	}
	if (a->flows && a->flows->type.dim[0] != pairs * windows(l, a)) {
		kc_graph_fail(g, "tcvc: flows %s, expected %lld of them",
			      kc_dims_text(&a->flows->type, text),
			      (long long)(pairs * windows(l, a)));
		return false;
	}
	return true;
}

static struct kc_tensor *in_order(struct kc_graph *g, struct kc_tensor *const end[2],
				  struct kc_tensor *between)
{
	return between ? KC_CONCAT(g, 0, end[0], between, end[1])
		       : KC_CONCAT(g, 0, end[0], end[1]);
}

struct kc_tcvc kc_tcvc(struct kc_model *m, struct kc_tensor *l, const struct kc_tcvc_args *a)
{
	struct kc_graph *g = m->g;
	int last = a->frames - 1;
	struct kc_tcvc_colour anchors, between;
	struct kc_tensor *ends, *ab[2], *feature[2], *logits[2];
	struct kc_tcvc out = {.flows = a->flows};
	int64_t n;

	if (!input_fits(g, l, a))
		return (struct kc_tcvc){kc_graph_fail(g, "tcvc: no input"), a->flows, NULL};
	n = windows(l, a);
	if (last == 0) {
		anchors = kc_tcvc_anchors(m, l, a);
		return (struct kc_tcvc){anchors.ab, NULL, anchors.logits};
	}
	ends = KC_CONCAT(g, 0, rows(g, l, 0, 1, n), rows(g, l, last, 1, n));
	anchors = kc_tcvc_anchors(m, ends, a);
	kc_split(g, anchors.ab, 0, 2, ab);
	kc_split(g, anchors.feature, 0, 2, feature);
	if (!out.flows && count_pairs(a))
		out.flows = kc_tcvc_flows(m, l, a);
	between = kc_tcvc_between(m, l, feature[0], feature[1], out.flows, a);
	out.ab = in_order(g, ab, between.ab);
	if (anchors.logits) {
		kc_split(g, anchors.logits, 0, 2, logits);
		out.logits = in_order(g, logits, between.logits);
	}
	return out;
}
