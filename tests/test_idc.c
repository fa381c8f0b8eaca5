/*
 * siggraph17's training and its optional parts: routing of the losses, hints of all kinds, grey
 * images, suggestions, the stages of the published training.
 */
#include "core/random.h"
#include "layers/cpu/cpu.h"
#include "losses/classes.h"
#include "models/colorizer.h"
#include "models/global.h"
#include "models/hints.h"
#include "models/init.h"
#include "models/suggest.h"
#include "tests/clips.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})
#define IDC "model=idc", "network_G.which_model_G=siggraph17", "datasets.train.batch_size=2"

/* ---- the network's parts ---- */

struct net {
	struct kc_params *params;
	struct kc_graph *g;
	struct kc_model m;
	struct kc_tensor *l;
	struct kc_siggraph17 out;
};

static bool net_open(struct net *n, int64_t rows, int64_t side,
		     const struct kc_siggraph17_args *args)
{
	*n = (struct net){.params = kc_params_new(KC_F32), .g = kc_graph_new(&kc_layers)};
	n->m = (struct kc_model){.g = n->g, .params = n->params};
	n->l = kc_input(n->g, "l", KC_TYPE(KC_REAL, rows, 1, side, side));
	n->out = kc_siggraph17(&n->m, n->l, args);
	return KC_CHECK_OK(kc_graph_status(n->g));
}

static void net_close(struct net *n)
{
	kc_model_release(&n->m);
	kc_graph_free(n->g);
	kc_params_free(n->params);
}

/* Trainable elements of the parameters whose names begin so. */
static int64_t count(const struct net *n, const char *prefix)
{
	int64_t sum = 0;

	for (size_t i = 0; i < n->params->n; i++) {
		const struct kc_param *p = n->params->v[i];

		if (!p->statistic && !strncmp(p->name, prefix, strlen(prefix)))
			sum += kc_numel(&p->type);
	}
	return sum;
}

static bool has_dims(const struct kc_type *t, const char *dims)
{
	char text[96];

	return !strcmp(kc_dims_text(t, text), dims);
}

static bool has_param(const struct net *n, const char *name, const char *dims)
{
	const struct kc_param *p = kc_params_find(n->params, name);

	return p && has_dims(&p->type, dims);
}

static void test_parts(void)
{
	struct net n;

	if (net_open(&n, 2, 32, &(struct kc_siggraph17_args){
				.global_hints = true, .distribution = true, .classes = KC_BINS})) {
		KC_CHECK(has_dims(&n.out.ab->type, "2x2x32x32"));
		KC_CHECK(has_dims(&n.out.logits->type, "2x313x8x8"));
		KC_CHECK(has_dims(&n.out.distribution->type, "2x313x8x8"));
		KC_CHECK(count(&n, "global") == 954880);
		KC_CHECK(count(&n, "dist.") == 14475193);
		KC_CHECK(count(&n, "model_class.0") == 313 * 257);
		KC_CHECK(count(&n, "") == 34187027 - 216 * 257 + 954880 + 14475193);
		KC_CHECK(has_param(&n, "global_hist.0.weight", "512x314x1x1"));
		KC_CHECK(has_param(&n, "global_sat.0.bias", "512"));
		KC_CHECK(has_param(&n, "global.1.running_mean", "512"));
		KC_CHECK(has_param(&n, "global.8.weight", "512x512x1x1"));
		KC_CHECK(has_param(&n, "global.10.weight", "512"));
		KC_CHECK(has_param(&n, "dist.conv3.weight", "384x256x3x3"));
		KC_CHECK(has_param(&n, "dist.conv7.weight", "512x384x4x4"));
		KC_CHECK(has_param(&n, "dist.out.weight", "313x384x1x1"));
	}
	net_close(&n);
	if (net_open(&n, 1, 32, NULL))
		KC_CHECK(count(&n, "") == 34187027 && !n.out.distribution);
	net_close(&n);
}

static bool is_zero(const struct kc_tensor *t)
{
	const struct kc_fill_attr *fill = t->node->attr;

	return t->node->op == &kc_op_fill && fill->value == 0;
}

/* Whether y's gradient reaches the parameters of each of the modules model1 .. model8. */
static void check_trunk(struct net *n, struct kc_tensor *y, bool reaches)
{
	for (size_t i = 0; i < n->params->n; i++) {
		struct kc_param *p = n->params->v[i];
		struct kc_tensor *wrt, *grad;

		if (p->statistic || strncmp(p->name, "model", 5) || p->name[5] < '1' ||
		    p->name[5] > '8' || p->name[6] != '.')
			continue;
		wrt = kc_param_value(n->g, p);
		if (KC_CHECK_OK(kc_grad(n->g, kc_mean(n->g, y), NULL, &wrt, 1, &grad)) &&
		    is_zero(grad) == reaches)
			kc_test_fail(__FILE__, __LINE__, "%s: gradient %s 0", p->name,
				     reaches ? "is" : "is not");
	}
}

static void test_routes(void)
{
	struct kc_siggraph17_args a = {.width = 0.0625, .distribution = true};
	struct kc_tensor *wrt, *grad;
	struct net n;

	a.route = KC_ROUTE_CLASSES;
	if (net_open(&n, 1, 16, &a)) {
		check_trunk(&n, n.out.ab, false);
		check_trunk(&n, n.out.logits, true);
		check_trunk(&n, n.out.distribution, false);
		wrt = kc_param_value(n.g, kc_params_find(n.params, "dist.conv5.weight"));
		KC_CHECK_OK(kc_grad(n.g, kc_mean(n.g, n.out.distribution), NULL, &wrt, 1, &grad));
		KC_CHECK(!is_zero(grad));
	}
	net_close(&n);
	a.route = KC_ROUTE_COLOUR;
	if (net_open(&n, 1, 16, &a)) {
		check_trunk(&n, n.out.ab, true);
		check_trunk(&n, n.out.logits, false);
	}
	net_close(&n);
}

/* ---- global hints ---- */

static void test_global(void)
{
	enum { SIDE = 10 };
	float ab[2 * SIDE * SIDE] = {0}, histogram[KC_GLOBAL_HISTOGRAM];
	float saturation[KC_GLOBAL_SATURATION];
	const uint8_t rgb[] = {0, 0, 0, 200, 200, 200, 255, 0, 0, 100, 50, 80};
	int kept[2] = {0};

	/* Two of the four squares: means (34, -21) and, of two colours, (-10, 0). */
	for (int y = 0; y < 4; y++)
		for (int x = 0; x < 8; x++) {
			float *p = &ab[2 * (y * SIDE + x)];

			p[0] = (x < 4 ? 34.f : x < 6 ? 60.f : -80.f) / 110;
			p[1] = (x < 4 ? -21.f : 0.f) / 110;
		}
	KC_CHECK_OK(kc_global_histogram(ab, SIDE, SIDE, histogram));
	for (int q = 0; q < KC_BINS; q++) {
		double want = 0;

		want += kc_bins_a[q] == 30 && kc_bins_b[q] == -20 ? 0.25 : 0;
		want += kc_bins_a[q] == -10 && kc_bins_b[q] == 0 ? 0.25 : 0;
		want += kc_bins_a[q] == 0 && kc_bins_b[q] == 0 ? 0.5 : 0;
		KC_CHECK(histogram[q] == want);
	}
	KC_CHECK(histogram[KC_BINS] == 1);
	KC_CHECK_ERR(kc_global_histogram(ab, 3, 30, histogram), KC_EINVAL, "30 x 3 pixels");
	kc_global_saturation(rgb, 4, saturation);
	KC_CHECK(fabs(saturation[0] - 1.5 / 4) < 1e-6 && saturation[1] == 1);

	for (uint64_t s = 0; s < 4000; s++) {
		float h[KC_GLOBAL_HISTOGRAM], t[KC_GLOBAL_SATURATION];

		memcpy(h, histogram, sizeof h);
		memcpy(t, saturation, sizeof t);
		kc_global_forget(3, s, h, t);
		KC_CHECK(memcmp(h, histogram, sizeof h) ? h[KC_BINS] == 0 : h[KC_BINS] == 1);
		KC_CHECK(t[1] == 1 ? t[0] == saturation[0] : t[0] == 0);
		kept[0] += h[KC_BINS] == 1;
		kept[1] += t[1] == 1;
	}
	KC_CHECK(abs(kept[0] - 2000) < 100 && abs(kept[1] - 2000) < 100);
}

/* ---- hints and losses of the recipe ---- */

struct seen {
	float mask[2];                  /* of each image: the share that is hint */
	double reg, class, dist;
	float histogram, saturation, keep[2];   /* indicators of the first image; keep of both */
};

static double term(const struct kc_training *t, const char *name)
{
	for (int i = 0; i < t->n_terms; i++)
		if (!strcmp(t->terms[i].name, name))
			return t->terms[i].last;
	return NAN;
}

static float at(struct kc_training *t, const struct kc_tensor *x, int64_t image, int64_t channel)
{
	struct kc_buf b;

	if (!x || !KC_CHECK_OK(kc_plan_slot(kc_training_plan(t), x, &b)))
		return NAN;
	return ((float *)b.data)[image * b.stride[0] + channel * b.stride[1]];
}

/* One step with those settings, and what was fed. */
static bool step(const char *const *set, struct seen *s)
{
	struct kc_config c = {0};
	struct kc_run r;
	struct kc_training *t = &r.training;
	bool done = false;

	*s = (struct seen){0};
	if (KC_CHECK_OK(kc_test_open(&r, &c, set)) && kc_test_step(&r)) {
		struct kc_buf mask;

		KC_CHECK(t->finite);
		done = KC_CHECK_OK(kc_plan_slot(kc_training_plan(t), t->mask, &mask));
		for (int64_t i = 0; done && i < kc_numel(&mask.type); i++)
			s->mask[2 * i / kc_numel(&mask.type)] += ((float *)mask.data)[i] * 2 /
								(float)kc_numel(&mask.type);
		s->reg = term(t, "l_reg");
		s->class = term(t, "l_class");
		s->dist = term(t, "l_dist");
		s->histogram = at(t, t->histogram, 0, KC_BINS);
		s->saturation = at(t, t->saturation, 0, 1);
		s->keep[0] = at(t, t->keep, 0, 0);
		s->keep[1] = at(t, t->keep, 1, 0);
	}
	kc_test_close(&r, &c);
	return done;
}

static void test_hint_options(void)
{
	struct seen plain, s;

	kc_test_clips();
	KC_CHECK(step(SET(IDC), &plain) && isnan(plain.histogram) && isnan(plain.keep[0]));
	KC_CHECK(step(SET(IDC, "train.hint_reveal=1"), &s));
	KC_CHECK(s.mask[0] == 1 && s.mask[1] == 1);
	KC_CHECK(step(SET(IDC, "train.hint_count=30"), &s));
	KC_CHECK(s.mask[0] > 0.1 && s.mask[1] > 0.1 && s.mask[0] < 1);
	KC_CHECK(step(SET(IDC, "train.hint_p=1"), &s));
	KC_CHECK(s.mask[0] == 0 && s.mask[1] == 0);
	KC_CHECK(step(SET(IDC, "train.hint_place=uniform"), &s));
	KC_CHECK(s.mask[0] != plain.mask[0] || s.mask[1] != plain.mask[1]);
}

static void test_loss_options(void)
{
	struct seen plain, once, s;

	kc_test_clips();
	KC_CHECK(step(SET(IDC), &plain) && isnan(plain.dist));
	KC_CHECK(step(SET(IDC, "train.reg_loss=huber"), &s));
	KC_CHECK(s.reg < plain.reg && s.reg > 0.5 * plain.reg && s.class == plain.class);
	KC_CHECK(step(SET(IDC, "network_G.cls_bins=313-soft"), &s));
	KC_CHECK(fabs(s.class - log(KC_BINS)) < 1.5 && s.class != plain.class);
	KC_CHECK(step(SET(IDC, "network_G.distribution=true"), &once));
	KC_CHECK(step(SET(IDC, "network_G.distribution=true", "train.dist_weight=2"), &s));
	KC_CHECK(once.dist > 1 && fabs(s.dist - 2 * once.dist) < 1e-5);
	KC_CHECK(fabs(s.reg - plain.reg) < 1e-6 && fabs(s.class - plain.class) < 1e-5);
}

/* Grey images have no loss; a batch of colour is what it was, one of grey learns nothing. */
static void test_drop_grey(void)
{
	static const char *const bins[] = {"network_G.cls_bins=529", "network_G.cls_bins=313-soft"};
	float ab[] = {0.1f, 0.2f, 0.12f, 0.19f, 0.11f, 0.2f};
	struct seen plain, s;

	KC_CHECK(!kc_hints_grey(ab, 3, 0.029) && kc_hints_grey(ab, 3, 0.031));
	kc_test_clips();
	for (size_t i = 0; i < KC_COUNT(bins); i++) {
		KC_CHECK(step(SET(IDC, bins[i], "network_G.distribution=true"), &plain));
		KC_CHECK(step(SET(IDC, bins[i], "network_G.distribution=true",
				  "train.drop_grey=5"), &s));
		KC_CHECK(s.keep[0] == 1 && s.keep[1] == 1);
		KC_CHECK(fabs(s.reg - plain.reg) < 1e-6 && fabs(s.class - plain.class) < 1e-5 &&
			 fabs(s.dist - plain.dist) < 1e-5);
		KC_CHECK(step(SET(IDC, bins[i], "network_G.distribution=true",
				  "train.drop_grey=440"), &s));
		KC_CHECK(s.keep[0] == 0 && s.keep[1] == 0);
		KC_CHECK(s.reg == 0 && s.class == 0 && s.dist == 0);
	}
}

static void test_global_option(void)
{
	struct seen s;

	kc_test_clips();
	KC_CHECK(step(SET(IDC, "network_G.global_hints=true"), &s));
	KC_CHECK(s.histogram == 0 || s.histogram == 1);
	KC_CHECK(s.saturation == 0 || s.saturation == 1);
	KC_CHECK_ERR(kc_test_train(SET(IDC, "network_G.global_hints=true",
				       "datasets.train.batch_size=1"), NULL),
		     KC_ECONFIG, "network_G.global_hints: expected a datasets.train.batch_size");
	/* A validation and a resumed run know the parts. */
	KC_CHECK_OK(kc_test_train(SET(IDC, "network_G.global_hints=true", "train.val_freq=2",
				      "network_G.distribution=true", "datasets.val.GT_size=32",
				      "network_G.cls_bins=313-soft"), NULL));
}

/* ---- the rate and the stages ---- */

/* colorization-pytorch: 1 - max(0, epoch + 1 + epoch_count - niter) / (niter_decay + 1). */
static void test_rate(void)
{
	enum { NITER = 6, DECAY = 4, FIRST = 1, BATCHES = 7 };
	const struct kc_schedule s = {
		.kind = KC_SCHEDULE_LINEAR, .lr = 2, .decay_every = BATCHES,
		.decay_start = (NITER - FIRST - 1) * BATCHES, .decay_iter = (DECAY + 1) * BATCHES,
	};

	for (int epoch = 0; epoch < NITER + DECAY; epoch++)
		for (int k = 0; k < BATCHES; k++) {
			double want = 2 * (1 - fmax(0, epoch + 1 + FIRST - NITER) / (DECAY + 1));

			KC_CHECK(fabs(kc_schedule_lr(&s, epoch * BATCHES + k + 1) - want) < 1e-12);
		}
}

static const char recipe_file[] = "configs/train_idc.yml";

/* The settings of a line "bin/train ... --set key=value ..." in that order; how many. */
static int settings(char *line, const char **set, int room)
{
	int n = 0;
	char *save = NULL;

	for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strchr(word, '=') && n < room)
			set[n++] = word;
	return n;
}

/* What the comment of configs/train_idc.yml says works, but for sizes and files of weights. */
static void check_stage(char *line)
{
	static const char *const small[] = {
		"network_G.width=0.0625", "datasets.train.GT_size=32",
		"datasets.train.batch_size=2", "datasets.train.n_workers=0", "threads=1",
		"path.pretrain_model_G=~", "use_tb_logger=false",
	};
	struct kc_config c = {0};
	struct kc_run r = {0};
	const struct kc_run_args args = {0};
	const char *set[16];
	int n = settings(line, set, (int)KC_COUNT(set));
	char *root = kc_format("datasets.train.dataroot_GT=%s", kc_test_path("clips"));
	KC_CHECK_OK(kc_config_init(&c));
	KC_CHECK_OK(kc_config_load(&c, recipe_file));
	for (int i = 0; i < n; i++)
		KC_CHECK_OK(kc_config_set(&c, set[i]));
	for (size_t i = 0; i < KC_COUNT(small); i++)
		KC_CHECK_OK(kc_config_set(&c, small[i]));
	KC_CHECK_OK(kc_config_set(&c, root));
	if (KC_CHECK_OK(kc_config_resolve(&c)) && KC_CHECK_OK(kc_run_open(&r, &c, &args))) {
		KC_CHECK_OK(kc_params_init(r.training.params, &(struct kc_init){
						   .write = kc_init_normal}));
		if (KC_CHECK_OK(kc_run_open_data(&r)) && kc_test_step(&r))
			KC_CHECK(r.training.finite && r.training.grad_norm > 0);
	}
	kc_test_close(&r, &c);
	free(root);
}

static void test_stages(void)
{
	char *text = NULL, *save = NULL;
	size_t size;
	int stages = 0;

	kc_test_clips();
	if (KC_CHECK_OK(kc_file_read(recipe_file, 1 << 16, &text, &size)))
		for (char *line = strtok_r(text, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save))
			if (!strncmp(line, "#   bin/train ", 14)) {
				check_stage(line);
				stages++;
			}
	KC_CHECK(stages == 4);
	free(text);
}

/* ---- suggestions ---- */

static void test_suggest(void)
{
	/* Two heaps far apart and one bin by itself. */
	static const double a[] = {0, 10, 0, 80, 90, -60}, b[] = {0, 0, 10, 80, 80, -60};
	double logits[6] = {log(0.3), log(0.1), log(0.1), log(0.2), log(0.2), log(0.1)};
	struct kc_suggestion s[KC_SUGGESTIONS_MOST];
	int n = kc_suggest(logits, a, b, 6, 1, s, 3);

	KC_CHECK(n == 3);
	KC_CHECK(fabs(s[0].probability - 0.5) < 1e-9 && fabs(s[0].a - 2) < 1e-9 &&
		 fabs(s[0].b - 2) < 1e-9);
	KC_CHECK(fabs(s[1].probability - 0.4) < 1e-9 && fabs(s[1].a - 85) < 1e-9);
	KC_CHECK(fabs(s[2].probability - 0.1) < 1e-9 && fabs(s[2].b + 60) < 1e-9);
	KC_CHECK(kc_suggest(logits, a, b, 6, 1, s, 20) == 6);
	/* A small scale evens them out, a large one leaves the best alone. */
	KC_CHECK(kc_suggest(logits, a, b, 6, 1e-9, s, 6) == 6);
	KC_CHECK(fabs(s[0].probability - 1.0 / 6) < 1e-6);
	KC_CHECK(kc_suggest(logits, a, b, 6, 1000, s, 1) == 1 && fabs(s[0].a) < 1e-9);
	logits[3] = INFINITY;
	KC_CHECK_ERR(kc_suggest(logits, a, b, 6, 1, s, 3), KC_ENUMERIC, "logit 3");
}

/* ---- learning from hints ---- */

enum { HUES = 4, LEARN = 32, STEPS = 250, HINT = 2, AROUND = 6 };

static const double hues[HUES][2] = {{30, 10}, {-28, 12}, {6, -34}, {-2, 38}};

/* A texture of that hue: luma alone does not tell which one it is. */
static void write_hue(int hue)
{
	struct kc_image image = {0};
	char path[64];

	KC_CHECK_OK(kc_image_resize_buffer(&image, LEARN, LEARN));
	for (int y = 0; y < LEARN; y++)
		for (int x = 0; x < LEARN; x++) {
			double lab[3] = {50 + 8 * sin(0.5 * x) + 8 * cos(0.3 * y), hues[hue][0],
					 hues[hue][1]}, rgb[3];

			kc_rgb_of_lab_fit(lab, rgb);
			for (int c = 0; c < 3; c++)
				image.rgb[3 * (y * LEARN + x) + c] = (uint8_t)lrint(255 * rgb[c]);
		}
	snprintf(path, sizeof path, "clips/%d", hue);
	KC_CHECK_OK(kc_dir_make(kc_test_path(path)));
	snprintf(path, sizeof path, "clips/%d/0.png", hue);
	KC_CHECK_OK(kc_image_write(kc_test_path(path), &image, 0));
	kc_image_release(&image);
}

struct trial {
	struct kc_image image;
	int hue;
	bool hinted;
	double error[2];                /* mean distance of ab on the hint, and around it */
};

/* Whether a pixel lies in the square of that half side around the middle. */
static bool is_near(int i, int half)
{
	return abs(i % LEARN - LEARN / 2) <= half && abs(i / LEARN - LEARN / 2) <= half;
}

static int give_frame(void *own, int64_t frame, struct kc_picture *p)
{
	struct trial *t = own;

	(void)frame;
	*p = (struct kc_picture){LEARN, LEARN, t->image.rgb};
	return 0;
}

static int give_hint(void *own, int64_t frame, int size, float *hint, float *mask)
{
	const struct trial *t = own;

	(void)frame;
	for (int i = 0; i < size * size && t->hinted; i++)
		if (is_near(i, HINT)) {
			hint[2 * i] = (float)(hues[t->hue][0] / 110);
			hint[2 * i + 1] = (float)(hues[t->hue][1] / 110);
			mask[i] = 1;
		}
	return 0;
}

static int take_frame(void *own, int64_t frame, const struct kc_picture *p)
{
	struct trial *t = own;
	const double *hue = hues[t->hue];
	int n[2] = {0};

	(void)frame;
	t->error[0] = t->error[1] = 0;
	for (int i = 0; i < LEARN * LEARN; i++) {
		const uint8_t *c = p->rgb + 3 * i;
		double lab[3];
		int where;

		if (!is_near(i, AROUND))
			continue;
		kc_lab_of_rgb((const double[]){c[0] / 255.0, c[1] / 255.0, c[2] / 255.0}, lab);
		where = !is_near(i, HINT);
		t->error[where] += hypot(lab[1] - hue[0], lab[2] - hue[1]);
		n[where]++;
	}
	for (int k = 0; k < 2; k++)
		t->error[k] /= n[k];
	return 0;
}

/* The network in training on each image, without a hint and with one. */
static void try_hints(struct kc_run *r, double without[2], double with[2])
{
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_FRAMES, .size = LEARN,
					       .width = r->config->network.width,
					       .mask_cent = r->config->network.mask_cent,
					       .hints = true};
	struct kc_colorizer *c = NULL;
	struct trial t = {.hue = 0};
	const struct kc_colorizer_clip clip = {.frames = 1, .source = give_frame,
					       .hints = give_hint, .sink = take_frame, .own = &t};

	if (!KC_CHECK_OK(kc_colorizer_open(&c, &args, &r->device, r->training.params)))
		return;
	for (t.hue = 0; t.hue < HUES; t.hue++) {
		char path[64];

		snprintf(path, sizeof path, "clips/%d/0.png", t.hue);
		KC_CHECK_OK(kc_image_read(kc_test_path(path), &t.image));
		for (int k = 0; k < 2; k++) {
			double *sum = k ? with : without;

			t.hinted = k;
			KC_CHECK_OK(kc_colorizer_run(c, &clip, NULL));
			sum[0] += t.error[0] / HUES;
			sum[1] += t.error[1] / HUES;
		}
	}
	kc_image_release(&t.image);
	kc_colorizer_close(c);
}

/* Four images that luma cannot tell apart: a hint must, at its place and around it. */
static void test_learning(void)
{
	double without[2] = {0}, with[2] = {0}, first = 0, last = 0;
	struct kc_config c = {0};
	struct kc_run r;

	for (int hue = 0; hue < HUES; hue++)
		write_hue(hue);
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(
		    IDC, "datasets.train.batch_size=4", "network_G.init=random",
		    "network_G.mask_cent=0.5", "datasets.train.use_flip=false",
		    "datasets.train.use_rot=false", "train.lambda_A=0.1", "train.beta2=0.999"))))
		for (int i = 0; i < STEPS && kc_test_step(&r); i++) {
			last = term(&r.training, "l_reg");
			first = i ? first : last;
		}
	KC_CHECK(last < 0.5 * first);
	try_hints(&r, without, with);
	KC_CHECK(with[0] < 0.5 * without[0]);
	KC_CHECK(with[1] < 0.8 * without[1]);
	kc_test_close(&r, &c);
}

const struct kc_test kc_tests_idc[] = {
	{"parts: names, shapes, counts", test_parts},
	{"the losses reach what they should, and nothing else", test_routes},
	{"global hints: histogram, saturation, forgetting", test_global},
	{"options of hints", test_hint_options},
	{"options of losses", test_loss_options},
	{"grey images have no loss", test_drop_grey},
	{"global hints in a run", test_global_option},
	{"the rate falls once per epoch", test_rate},
	{"the stages in configs/train_idc.yml take a step", test_stages},
	{"suggestions are the clusters of a distribution", test_suggest},
	{"hints are learnt: they lower the error at their place and around", test_learning},
	{0},
};
