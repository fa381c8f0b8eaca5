#include "models/colorizer_private.h"

#include "models/eccv16.h"

#include <stdlib.h>

/* FlowNet 2.0 gains nothing from more pixels at once, and needs memory for them. */
enum { FLOW_PIXELS = 4 * 256 * 256 };

static struct kc_model model_of(struct kc_colorizer *c, struct kc_graph *g)
{
	return (struct kc_model){.g = g, .params = c->params, .frozen = true};
}

static struct kc_tcvc_args tcvc_args(const struct kc_colorizer *c, int frames)
{
	int64_t per_call = FLOW_PIXELS / ((int64_t)c->args.size * c->args.size);

	return (struct kc_tcvc_args){.frames = frames, .width = c->args.width,
				     .mask_cent = c->args.mask_cent,
				     .pairs_per_call = (int)KC_MAX(per_call, INT64_C(1)),
				     .key = c->args.key, .temperature = c->args.temperature,
				     .class_head = c->args.class_head};
}

static struct kc_type planes(const struct kc_colorizer *c, int64_t n, int64_t channels)
{
	return KC_TYPE(KC_REAL, n, channels, c->args.size, c->args.size);
}

static int plan(struct kc_colorizer *c, struct kc_plan **p, struct kc_graph *g,
		struct kc_tensor *const *fetch, int n, bool low)
{
	const struct kc_plan_opts opts = {.real = KC_F32, .low = low, .deterministic = true};

	return kc_plan_build(p, g, c->device, fetch, n, &opts);
}

static bool wants_bins(const struct kc_colorizer *c)
{
	return c->args.alternatives > 0 || c->args.confidence;
}

/* ---- anchors ---- */

static void anchor_inputs(struct kc_colorizer *c, struct kc_anchor_plan *a)
{
	a->l = kc_input(a->graph, "luma", planes(c, 1, 1));
	if (c->args.hints) {
		a->hint = kc_input(a->graph, "hint", planes(c, 1, 2));
		a->mask = kc_input(a->graph, "mask", planes(c, 1, 1));
	}
	if (c->args.global_hints) {
		a->histogram = kc_input(a->graph, "histogram",
					KC_TYPE(KC_REAL, 1, KC_GLOBAL_HISTOGRAM, 1, 1));
		a->saturation = kc_input(a->graph, "saturation",
					 KC_TYPE(KC_REAL, 1, KC_GLOBAL_SATURATION, 1, 1));
	}
}

static struct kc_siggraph17 single_frame(struct kc_colorizer *c, struct kc_model *m,
					 const struct kc_anchor_plan *a)
{
	return kc_siggraph17(m, a->l, &(struct kc_siggraph17_args){
		.hint = a->hint,
		.mask = a->mask,
		.mask_cent = c->args.mask_cent,
		.width = c->args.width,
		.global_hints = c->args.global_hints,
		.histogram = a->histogram,
		.saturation = a->saturation,
		.distribution = c->args.distribution,
		.classes = c->args.classes,
	});
}

static int build_anchor(struct kc_colorizer *c, struct kc_anchor_plan *a)
{
	const struct kc_eccv16_args bins = {.temperature = c->args.temperature,
					    .width = c->args.width};
	struct kc_tcvc_args args = tcvc_args(c, 1);
	struct kc_model m;

	a->graph = kc_graph_new(&kc_layers);
	if (!a->graph)
		return KC_ENOMEM;
	m = model_of(c, a->graph);
	anchor_inputs(c, a);
	if (c->args.network == KC_COLORIZE_TCVC) {
		struct kc_tcvc_colour out;

		args.hint = a->hint;
		args.mask = a->mask;
		out = kc_tcvc_anchors(&m, a->l, &args);
		a->ab = out.ab;
		a->feature = out.feature;
		a->logits = out.own_logits;
		a->bins = out.logits;
	} else if (c->args.network == KC_COLORIZE_FRAMES) {
		struct kc_siggraph17 out = single_frame(c, &m, a);

		a->ab = out.ab;
		a->logits = out.distribution ? out.distribution : out.logits;
		a->bins = a->logits->type.dim[1] == KC_BINS ? a->logits : NULL;
	} else {
		struct kc_eccv16 out = kc_eccv16(&m, a->l, &bins);

		a->ab = out.ab;
		a->logits = a->bins = out.logits;
	}
	kc_model_release(&m);
	return kc_graph_status(a->graph);
}

int kc_colorizer_anchor(struct kc_colorizer *c, struct kc_anchor_plan **out)
{
	struct kc_anchor_plan *a = &c->anchor;
	struct kc_tensor *fetch[3] = {a->ab};
	int n = 1;

	*out = a;
	if (a->feature)
		fetch[n++] = a->feature;
	if (wants_bins(c))
		fetch[n++] = a->bins;
	return a->plan ? 0 : plan(c, &a->plan, a->graph, fetch, n, c->args.low);
}

int kc_colorizer_suggest_plan(struct kc_colorizer *c, struct kc_anchor_plan **out)
{
	struct kc_anchor_plan *a = *out = &c->anchor;

	return a->suggest ? 0 : plan(c, &a->suggest, a->graph, &a->logits, 1, c->args.low);
}

/* ---- windows ---- */

static void window_release(struct kc_window_plan *w)
{
	kc_plan_free(w->plan);
	kc_graph_free(w->graph);
	free(w->pairs);
	*w = (struct kc_window_plan){0};
}

static int window_graph(struct kc_colorizer *c, struct kc_window_plan *w, int frames)
{
	struct kc_tcvc_args args = tcvc_args(c, frames);
	struct kc_type feature = c->anchor.feature->type;
	struct kc_tcvc_colour between;
	struct kc_tensor *flows;
	struct kc_model m;

	w->n_pairs = kc_tcvc_pairs(frames, NULL, 0, NULL);
	w->pairs = kc_calloc((size_t)w->n_pairs, sizeof *w->pairs);
	w->graph = kc_graph_new(&kc_layers);
	if (!w->pairs || !w->graph)
		return KC_ENOMEM;
	kc_tcvc_pairs(frames, NULL, 0, w->pairs);
	m = model_of(c, w->graph);
	w->l = kc_input(w->graph, "luma", planes(c, frames, 1));
	w->first = kc_input(w->graph, "first", feature);
	w->last = kc_input(w->graph, "last", feature);
	if (c->args.flownet)
		flows = kc_tcvc_flows(&m, w->l, &args);
	else
		flows = w->flows = kc_input(w->graph, "flows", planes(c, w->n_pairs, 2));
	between = kc_tcvc_between(&m, w->l, w->first, w->last, flows, &args);
	w->ab = between.ab;
	w->bins = wants_bins(c) ? between.logits : NULL;
	kc_model_release(&m);
	return kc_graph_status(w->graph);
}

static int window_build(struct kc_colorizer *c, struct kc_window_plan *w, int frames)
{
	KC_TRY(window_graph(c, w, frames));
	KC_TRY(plan(c, &w->plan, w->graph, (struct kc_tensor *[]){w->ab, w->bins},
		    w->bins ? 2 : 1, c->args.low));
	w->frames = frames;
	return 0;
}

int kc_colorizer_window(struct kc_colorizer *c, int frames, struct kc_window_plan **out)
{
	struct kc_window_plan *w;
	int rc;

	for (int i = 0; i < KC_WINDOW_PLANS; i++)
		if (c->window[i].frames == frames) {
			*out = &c->window[i];
			return 0;
		}
	w = *out = &c->window[c->next_window];
	c->next_window = (c->next_window + 1) % KC_WINDOW_PLANS;
	window_release(w);
	rc = window_build(c, w, frames);
	if (rc < 0)
		window_release(w);
	return rc;
}

/* ---- colour ---- */

static void colour_release(struct kc_colour_plan *p)
{
	kc_plan_free(p->split);
	kc_plan_free(p->join);
	kc_graph_free(p->graph);
	*p = (struct kc_colour_plan){0};
}

/* The frame's L with that chroma, as sRGB in 0 .. 255, not rounded. */
static struct kc_tensor *join(const struct kc_colorizer *c, struct kc_graph *g,
			      struct kc_tensor *lightness, struct kc_tensor *ab)
{
	int64_t h = lightness->type.dim[2], w = lightness->type.dim[3];
	struct kc_tensor *lab, *rgb;

	lab = KC_CONCAT(g, 1, lightness, kc_scale(g, kc_resize_bilinear(g, ab, h, w, false), 110));
	rgb = c->args.published ? kc_pw1(g, KC_PW_clamp, 0, 1, kc_lab_to_rgb(g, lab))
				: kc_lab_to_rgb_fit(g, lab);
	return kc_scale(g, rgb, 255);
}

static int colour_graph(struct kc_colorizer *c, struct kc_colour_plan *p, int width, int height)
{
	struct kc_graph *g = p->graph = kc_graph_new(&kc_layers);
	struct kc_tensor *lightness, *rgb;

	if (!g)
		return KC_ENOMEM;
	p->frame = kc_input(g, "frame", KC_TYPE(KC_U8, 1, 3, height, width));
	lightness = kc_slice(g, kc_rgb_to_lab(g, kc_to_real(g, p->frame, 1.0 / 255)), 1, 0, 1, 1);
	p->l = kc_resize_bilinear(g, kc_scale(g, kc_shift(g, lightness, -50), 1.0 / 100),
				  c->args.size, c->args.size, false);
	p->ab[0] = kc_input(g, "ab0", planes(c, 1, 2));
	rgb = join(c, g, lightness, p->ab[0]);
	if (c->args.n_intervals == 1) {
		p->rgb = kc_pw1(g, KC_PW_round, 0, 0, rgb);
	} else {
		p->ab[1] = kc_input(g, "ab1", planes(c, 1, 2));
		rgb = kc_scale(g, kc_add(g, rgb, join(c, g, lightness, p->ab[1])), 0.5);
		p->rgb = kc_pw1(g, KC_PW_floor, 0, 0, rgb);
	}
	return kc_graph_status(g);
}

static int colour_build(struct kc_colorizer *c, struct kc_colour_plan *p, int width, int height)
{
	KC_TRY(colour_graph(c, p, width, height));
	KC_TRY(plan(c, &p->split, p->graph, &p->l, 1, false));
	KC_TRY(plan(c, &p->join, p->graph, &p->rgb, 1, false));
	p->width = width;
	p->height = height;
	return 0;
}

int kc_colorizer_colour(struct kc_colorizer *c, int width, int height, struct kc_colour_plan **out)
{
	struct kc_colour_plan *p;
	int rc;

	if (width < 1 || height < 1)
		return KC_FAIL(KC_ESHAPE, "a frame of %d x %d pixels", width, height);
	for (int i = 0; i < KC_COLOUR_PLANS; i++)
		if (c->colour[i].width == width && c->colour[i].height == height) {
			*out = &c->colour[i];
			return 0;
		}
	p = *out = &c->colour[c->next_colour];
	c->next_colour = (c->next_colour + 1) % KC_COLOUR_PLANS;
	colour_release(p);
	rc = colour_build(c, p, width, height);
	if (rc < 0)
		colour_release(p);
	return rc;
}

/* ---- the whole ---- */

static int alloc_hints(struct kc_colorizer *c)
{
	size_t pixels = (size_t)c->args.size * (size_t)c->args.size;

	if (!c->args.hints)
		return 0;
	c->hint = kc_calloc(2 * pixels, sizeof *c->hint);
	c->mask = kc_calloc(pixels, sizeof *c->mask);
	return c->hint && c->mask ? 0 : KC_ENOMEM;
}

int kc_colorizer_build(struct kc_colorizer *c)
{
	struct kc_window_plan shortest = {0};
	int rc = build_anchor(c, &c->anchor);

	if (!rc && wants_bins(c) && !c->anchor.bins)
		rc = KC_FAIL(KC_ECONFIG,
			     "alternatives and confidence need a network with 313 bins: eccv16, "
			     "TCVC on eccv16 or with a class head, or siggraph17 with them");
	/* Makes the parameters of the propagation known before they are laid out. */
	if (!rc && c->args.network == KC_COLORIZE_TCVC)
		rc = window_graph(c, &shortest, 3);
	window_release(&shortest);
	if (!rc && c->own_params)
		rc = kc_params_alloc(c->params, false, false);
	return rc < 0 ? rc : alloc_hints(c);
}

void kc_colorizer_free_plans(struct kc_colorizer *c)
{
	for (int i = 0; i < KC_WINDOW_PLANS; i++)
		window_release(&c->window[i]);
	for (int i = 0; i < KC_COLOUR_PLANS; i++)
		colour_release(&c->colour[i]);
	kc_plan_free(c->anchor.plan);
	kc_plan_free(c->anchor.suggest);
	kc_graph_free(c->anchor.graph);
	kc_colorizer_free_bins(c);
}
