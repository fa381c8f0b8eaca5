/* What a distribution over the 313 bins tells beside its mean: other colourings, and how sure. */
#include "models/colorizer_private.h"

#include <math.h>
#include <stdlib.h>

/* How far a colouring leans: before annealing, a bin so far away in ab counts exp(-1/2). */
static const double reach = 20;

static int plan(const struct kc_colorizer *c, struct kc_plan **p, struct kc_graph *g,
		struct kc_tensor *const *fetch, int n)
{
	const struct kc_plan_opts opts = {.real = KC_F32, .deterministic = true};

	return kc_plan_build(p, g, c->device, fetch, n, &opts);
}

static int read_floats(struct kc_plan *p, const struct kc_tensor *t, float *to)
{
	struct kc_buf b = kc_buf_of(to, &t->type, KC_CLAST);

	return kc_plan_read(p, t, &b);
}

static int feed_floats(struct kc_plan *p, const struct kc_tensor *t, const float *from)
{
	struct kc_buf b = kc_buf_of((void *)from, &t->type, KC_CLAST);

	return kc_plan_feed(p, t, &b);
}

/* ---- graphs ---- */

/* Of the logits as they are: imported ones of eccv16 contain it, which args say. */
static double temperature(const struct kc_colorizer *c)
{
	bool own = c->args.network == KC_COLORIZE_BINS ||
		   (c->args.network == KC_COLORIZE_TCVC && c->args.key == KC_TCVC_ECCV16);

	if (!own)
		return KC_ECCV16_TEMPERATURE;
	return c->args.temperature > 0 ? c->args.temperature : 1;
}

/* 1 - entropy / log 313 at every pixel, in [0,1]. */
static struct kc_tensor *sureness(struct kc_graph *g, struct kc_tensor *logits)
{
	struct kc_tensor *log_p = kc_log_softmax(g, logits, 1);
	struct kc_tensor *sum = kc_sum_axis(g, kc_mul(g, kc_exp(g, log_p), log_p), 1);

	return kc_pw1(g, KC_PW_clamp, 0, 1, kc_shift(g, kc_scale(g, sum, 1 / log(KC_BINS)), 1));
}

static int build(struct kc_colorizer *c, struct kc_bins_plan *p)
{
	int64_t side = c->args.size;
	struct kc_graph *g = p->graph = kc_graph_new(&kc_layers);
	struct kc_tensor *sharp, *plain, *ab;

	if (!g)
		return KC_ENOMEM;
	p->logits = kc_input(g, "logits", c->anchor.bins->type);
	p->lean = kc_input(g, "lean", KC_TYPE(KC_REAL, 1, KC_BINS, 1, 1));
	sharp = kc_scale(g, p->logits, 1 / temperature(c));
	plain = kc_scale(g, sharp, KC_ECCV16_TEMPERATURE);
	ab = kc_annealed_mean(g, kc_add(g, plain, p->lean), KC_ECCV16_TEMPERATURE);
	p->ab = kc_resize_bilinear(g, kc_scale(g, ab, 1.0 / 110), side, side, false);
	p->sure = sureness(g, sharp);
	p->share = kc_mean_axis(g, kc_mean_axis(g, kc_softmax(g, plain, 1), 2), 3);
	KC_TRY(kc_graph_status(g));
	KC_TRY(plan(c, &p->leaning, g, &p->ab, 1));
	return plan(c, &p->measure, g, (struct kc_tensor *[]){p->sure, p->share}, 2);
}

static void show_release(struct kc_show_plan *s)
{
	kc_plan_free(s->plan);
	kc_graph_free(s->graph);
	*s = (struct kc_show_plan){0};
}

void kc_colorizer_free_bins(struct kc_colorizer *c)
{
	kc_plan_free(c->bins.leaning);
	kc_plan_free(c->bins.measure);
	kc_graph_free(c->bins.graph);
	free(c->bins.map);
	show_release(&c->show);
}

static int show_build(struct kc_colorizer *c, struct kc_show_plan *s, int width, int height)
{
	struct kc_graph *g = s->graph = kc_graph_new(&kc_layers);
	struct kc_tensor *x;

	if (!g)
		return KC_ENOMEM;
	s->map = kc_input(g, "sure", c->bins.sure->type);
	x = kc_scale(g, kc_resize_bilinear(g, s->map, height, width, false), 255);
	x = kc_pw1(g, KC_PW_round, 0, 0, x);
	s->rgb = KC_CONCAT(g, 1, x, x, x);
	KC_TRY(plan(c, &s->plan, g, &s->rgb, 1));
	s->width = width;
	s->height = height;
	return 0;
}

/* ---- running ---- */

static int get_plan(struct kc_colorizer *c, struct kc_bins_plan **out)
{
	struct kc_bins_plan *p = *out = &c->bins;

	if (p->measure)
		return 0;
	KC_TRY(build(c, p));
	p->map = kc_calloc((size_t)kc_numel(&p->sure->type), sizeof *p->map);
	return p->map ? 0 : KC_ENOMEM;
}

static int measure(struct kc_bins_plan *p, const float *logits)
{
	KC_TRY(feed_floats(p->measure, p->logits, logits));
	return kc_plan_run(p->measure);
}

static void lean_towards(const struct kc_suggestion *s, float lean[KC_BINS])
{
	for (int q = 0; q < KC_BINS; q++) {
		double away = hypot(kc_bins_a[q] - s->a, kc_bins_b[q] - s->b);

		lean[q] = (float)(-away * away / (2 * reach * reach));
	}
}

int kc_colorizer_choose(struct kc_colorizer *c, const float *logits)
{
	struct kc_suggestion found[KC_ALTERNATIVES_MOST];
	double log_share[KC_BINS];
	float share[KC_BINS];
	struct kc_bins_plan *p;
	int n;

	KC_TRY(get_plan(c, &p));
	KC_TRY(measure(p, logits));
	KC_TRY(read_floats(p->measure, p->share, share));
	for (int q = 0; q < KC_BINS; q++)
		log_share[q] = log(fmax((double)share[q], 1e-30));
	n = kc_suggest(log_share, kc_bins_a, kc_bins_b, KC_BINS, 1, found, c->args.alternatives);
	KC_TRY(n);
	for (int k = 0; k < c->args.alternatives; k++)
		lean_towards(&found[KC_MIN(k, n - 1)], p->towards[k]);
	return 0;
}

int kc_colorizer_lean(struct kc_colorizer *c, const float *logits, int k, float *ab)
{
	struct kc_bins_plan *p;

	KC_TRY(get_plan(c, &p));
	KC_TRY(feed_floats(p->leaning, p->logits, logits));
	KC_TRY(feed_floats(p->leaning, p->lean, p->towards[k]));
	KC_TRY(kc_plan_run(p->leaning));
	return read_floats(p->leaning, p->ab, ab);
}

int kc_colorizer_sure(struct kc_colorizer *c, const float *logits, int width, int height,
		      uint8_t *rgb)
{
	struct kc_show_plan *s = &c->show;
	struct kc_bins_plan *p;
	struct kc_buf b;

	KC_TRY(get_plan(c, &p));
	KC_TRY(measure(p, logits));
	KC_TRY(read_floats(p->measure, p->sure, p->map));
	if (s->width != width || s->height != height) {
		show_release(s);
		KC_TRY(show_build(c, s, width, height));
	}
	KC_TRY(feed_floats(s->plan, s->map, p->map));
	KC_TRY(kc_plan_run(s->plan));
	b = kc_buf_of(rgb, &s->rgb->type, KC_CLAST);
	b.type.dtype = KC_U8;
	return kc_plan_read(s->plan, s->rgb, &b);
}
