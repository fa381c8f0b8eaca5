/* Colours as classes: the prior and its file, the rebalanced loss, eccv16 trained by it. */
#include "core/file.h"
#include "eval/model.h"
#include "layers/cpu/cpu.h"
#include "losses/classes.h"
#include "losses/metrics.h"
#include "models/colorizer.h"
#include "tests/clips.h"
#include "tests/runs.h"
#include "tests/test.h"
#include "train/prior.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Eight colours of about the same luma. */
static const uint8_t colours[][3] = {
	{200, 80, 60}, {60, 140, 70}, {70, 110, 200}, {190, 120, 40},
	{150, 80, 190}, {40, 140, 150}, {200, 70, 130}, {120, 130, 50},
};
enum { COLOURS = 8, SIDE = 32 };

/* A grid whose brightness tells the picture from the others, in one colour; k < 0: grey. */
static void flat_picture(struct kc_image *image, int side, int k)
{
	KC_CHECK_OK(kc_image_resize_buffer(image, side, side));
	for (int i = 0; i < side * side; i++)
		for (int c = 0; c < 3; c++) {
			int stripe = k > 0 && (i % side / (k + 1) + i / side / 8) % 2;

			image->rgb[3 * i + c] =
				(uint8_t)((k < 0 ? 120 : colours[k][c]) * (stripe ? 3 : 4) / 4);
		}
}

/* folder/cK/00000.png for k = first .. last. */
static void flat_clips(const char *folder, int first, int last)
{
	struct kc_image image = {0};
	char name[64];

	for (int k = first; k <= last; k++) {
		snprintf(name, sizeof name, "%s/c%d", folder, k);
		KC_CHECK_OK(kc_dir_make(kc_test_path(name)));
		snprintf(name, sizeof name, "%s/c%d/00000.png", folder, k);
		flat_picture(&image, SIDE, k);
		KC_CHECK_OK(kc_image_write(kc_test_path(name), &image, 0));
	}
	kc_image_release(&image);
}

/* ---- the prior ---- */

static int count(const char *folder, int threads, struct kc_prior *p)
{
	struct kc_dataset *data;
	struct kc_device d;
	int rc;

	KC_TRY(kc_dataset_open(kc_test_path(folder), &data));
	rc = kc_device_cpu(&d, threads);
	if (!rc)
		rc = kc_prior_count(p, data, &d, NULL, NULL);
	kc_device_release(&d);
	kc_dataset_close(data);
	return rc;
}

static int nearest(const uint8_t *rgb)
{
	const struct kc_plan_opts opts = {.real = KC_F32};
	double least = INFINITY;
	int bin = 0;
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", KC_TYPE(KC_U8, 1, 3, 1, 1)), *lab;
	struct kc_device d;
	struct kc_plan *p;
	struct kc_buf in = kc_buf_of((void *)rgb, &x->type, KC_CLAST), out;
	float v[3] = {0};

	kc_device_reference(&d);
	lab = kc_rgb_to_lab(g, kc_to_real(g, x, 1.0 / 255));
	if (KC_CHECK_OK(kc_plan_build(&p, g, &d, &lab, 1, &opts))) {
		out = kc_buf_of(v, &lab->type, KC_CLAST);
		KC_CHECK_OK(kc_plan_feed(p, x, &in));
		KC_CHECK_OK(kc_plan_run(p));
		KC_CHECK_OK(kc_plan_read(p, lab, &out));
		kc_plan_free(p);
	}
	for (int q = 0; q < KC_BINS; q++) {
		double away = hypot(v[1] - kc_bins_a[q], v[2] - kc_bins_b[q]);

		bin = away < least ? q : bin;
		least = fmin(away, least);
	}
	kc_graph_free(g);
	kc_device_release(&d);
	return bin;
}

/* One flat colour, and a grey frame that does not count; frames of odd sizes, threads. */
static void test_prior(void)
{
	double one_bin[KC_BINS] = {0}, expected[KC_BINS];
	struct kc_prior one, two;

	flat_clips("two", -1, 0);
	KC_CHECK_OK(count("two", 1, &one));
	KC_CHECK(one.frames == 2 && one.grey_frames == 1 && one.pixels == SIDE * SIDE / 16);
	one_bin[nearest(colours[0])] = 7;
	kc_prior_smooth(one_bin, expected);
	for (int q = 0; q < KC_BINS; q++)
		KC_CHECK(fabs(expected[q] - one.p[q]) < 1e-12);

	kc_test_clip(kc_test_path("film"), "a", 3, 41, 36, 1);
	kc_test_clip(kc_test_path("film"), "b", 2, 60, 33, 2);
	KC_CHECK_OK(count("film", 1, &one));
	KC_CHECK_OK(count("film", 2, &two));
	KC_CHECK(!memcmp(&one, &two, sizeof one) && one.frames == 5);
	KC_CHECK(one.pixels == 3 * 11 * 9 + 2 * 15 * 9);

	flat_clips("grey", -1, -1);
	KC_CHECK_ERR(count("grey", 1, &one), KC_EFORMAT, "all 1 frames are grey");
	kc_test_spoil(kc_test_path("film"), "b/00000.png");
	KC_CHECK_ERR(count("film", 1, &one), KC_EFORMAT, "b/00000.png");
}

/* Nothing is lost at the border, the middle stays the most common, neighbours are alike. */
static void test_smooth(void)
{
	double counts[KC_BINS] = {0}, p[KC_BINS], sum = 0;
	int centre = -1, beside[4], n = 0;

	for (int q = 0; q < KC_BINS; q++)
		centre = kc_bins_a[q] == 0 && kc_bins_b[q] == 0 ? q : centre;
	for (int q = 0; q < KC_BINS; q++)
		if (hypot(kc_bins_a[q], kc_bins_b[q]) == 10)
			beside[n++ % 4] = q;
	counts[centre] = 40;
	kc_prior_smooth(counts, p);
	for (int q = 0; q < KC_BINS; q++)
		sum += p[q];
	KC_CHECK(n == 4 && fabs(sum - 1) < 1e-12);
	for (int i = 0; i < 4; i++)
		KC_CHECK(fabs(p[beside[i]] / p[centre] - exp(-2)) < 1e-9);
	memset(counts, 0, sizeof counts);
	counts[0] = 1;
	kc_prior_smooth(counts, p);
	sum = 0;
	for (int q = 0; q < KC_BINS; q++)
		sum += p[q];
	KC_CHECK(fabs(sum - 1) < 1e-12);
}

static void write_shares(const char *name, const char *head, int n, const char *share)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, "{%s\"prior\": [", head);
	for (int i = 0; i < n; i++)
		fprintf(f, "%s%s", i ? ", " : "", i == 7 && share ? share : "0.25");
	fputs("]}", f);
	fclose(f);
	KC_CHECK_OK(kc_file_write(kc_test_path(name), text, size));
	free(text);
}

#define HEAD "\"format\": \"kinemacolor-prior\", "

static void test_prior_file(void)
{
	static const struct { const char *head; int n; const char *share, *message; } bad[] = {
		{HEAD, 529, NULL, "a prior of 529 bins, expected 313"},
		{HEAD, 312, NULL, "a prior of 312 bins, expected 313"},
		{HEAD, 313, NULL, "the shares add up to 78.25, expected 1"},
		{HEAD, 313, "-0.1", "share of bin 7: expected a number from 0 on"},
		{HEAD, 313, "\"x\"", "share of bin 7: expected a number from 0 on"},
		{HEAD, 313, "NaN", "p.json"},
		{HEAD, 313, "1e999", "p.json"},
		{"", 313, NULL, "no prior of colours, expected what pack --prior writes"},
		{"\"format\": 3, ", 313, NULL, "no prior of colours"},
	};
	struct kc_prior made;
	double p[KC_BINS];

	for (size_t i = 0; i < KC_COUNT(bad); i++) {
		write_shares("p.json", bad[i].head, bad[i].n, bad[i].share);
		KC_CHECK_ERR(kc_prior_load(kc_test_path("p.json"), p), KC_EFORMAT, bad[i].message);
	}
	KC_CHECK_ERR(kc_prior_load(kc_test_path("none.json"), p), KC_ENOENT, "none.json");
	kc_test_clips();
	KC_CHECK_OK(count("clips", 1, &made));
	KC_CHECK_OK(kc_prior_save(&made, kc_test_path("q.json")));
	KC_CHECK_OK(kc_prior_load(kc_test_path("q.json"), p));
	KC_CHECK(!memcmp(p, made.p, sizeof p));
}

/* ---- encoding and loss ---- */

struct bench {
	struct kc_graph *g;
	struct kc_device d;
	struct kc_plan *p;
};

static void bench_open(struct bench *b)
{
	b->g = kc_graph_new(&kc_layers);
	b->p = NULL;
	kc_device_reference(&b->d);
}

static bool bench_plan(struct bench *b, struct kc_tensor *const *fetch, int n)
{
	return KC_CHECK_OK(kc_plan_build(&b->p, b->g, &b->d, fetch, n,
					 &(struct kc_plan_opts){.real = KC_F64}));
}

static void bench_run(struct bench *b, struct kc_tensor *x, double *data, struct kc_tensor *y,
		      double *out)
{
	struct kc_type from = x->type, result = y->type;
	struct kc_buf in, to;

	from.dtype = result.dtype = KC_F64;
	in = kc_buf_of(data, &from, KC_PLAIN);
	to = kc_buf_of(out, &result, KC_PLAIN);
	KC_CHECK_OK(kc_plan_feed(b->p, x, &in));
	KC_CHECK_OK(kc_plan_run(b->p));
	KC_CHECK_OK(kc_plan_read(b->p, y, &to));
}

static void bench_close(struct bench *b)
{
	kc_plan_free(b->p);
	kc_graph_free(b->g);
	kc_device_release(&b->d);
}

/* Every colour within the bins is found again, from its soft encoding as logits. */
static void test_round_trip(void)
{
	enum { N = 120 };
	double ab[2 * N], back[2 * N], worst = 0;
	struct kc_tensor *x, *y, *z;
	struct bench b;
	int n = 0;

	bench_open(&b);
	for (int i = 0; n < N; i++) {
		int q = i * 29 % KC_BINS;
		double u = 0.61803 * i - floor(0.61803 * i), v = 0.75488 * i - floor(0.75488 * i);

		/* Outermost bins have neighbours on one side alone, which draws the mean in. */
		if (hypot(kc_bins_a[q], kc_bins_b[q]) > 60)
			continue;
		ab[n] = kc_bins_a[q] + 10 * (u - 0.5);
		ab[N + n++] = kc_bins_b[q] + 10 * (v - 0.5);
	}
	x = kc_input(b.g, "ab", KC_TYPE(KC_REAL, 1, 2, 1, N));
	z = kc_soft_encode(b.g, x);
	y = kc_annealed_mean(b.g, kc_pw1(b.g, KC_PW_log, 0, 0, kc_shift(b.g, z, 1e-30)), 1);
	if (bench_plan(&b, &y, 1)) {
		bench_run(&b, x, ab, y, back);
		for (int i = 0; i < 2 * N; i++)
			worst = fmax(worst, fabs(ab[i] - back[i]));
		if (!(worst < 5))
			kc_test_fail(__FILE__, __LINE__, "off by %g", worst);
	}
	bench_close(&b);
}

/* 2 x 313 x 4 x 4 logits: the gradient equals differences of the loss, in float64. */
static void test_gradient(void)
{
	enum { N = 2 * KC_BINS * 16 };
	double *z = kc_calloc(N, sizeof *z), *grad = kc_calloc(N, sizeof *grad), ab[64];
	double prior[KC_BINS], v[KC_BINS], loss[2], h = 1e-5, worst = 0;
	struct kc_tensor *x, *truth, *fetch[2];
	struct bench b;

	KC_ASSERT(z && grad);
	bench_open(&b);
	for (int q = 0; q < KC_BINS; q++)
		prior[q] = (q + 1) / (KC_BINS * (KC_BINS + 1) / 2.0);
	kc_rebalance(prior, KC_BINS, 0.5, 1, v);
	for (int i = 0; i < N; i++)
		z[i] = sin(0.7 * i) * 2;
	for (int i = 0; i < 64; i++)
		ab[i] = 60 * sin(1.3 * i + 1);
	x = kc_input(b.g, "logits", KC_TYPE(KC_REAL, 2, KC_BINS, 4, 4));
	truth = kc_constant(b.g, ab, KC_TYPE(KC_REAL, 2, 2, 4, 4));
	fetch[0] = kc_loss_rebalanced(b.g, x, truth,
				      kc_constant(b.g, v, KC_TYPE(KC_REAL, KC_BINS))).loss;
	KC_CHECK_OK(kc_grad(b.g, fetch[0], NULL, &x, 1, &fetch[1]));
	if (bench_plan(&b, fetch, 2)) {
		bench_run(&b, x, z, fetch[1], grad);
		for (int k = 0; k < 60; k++) {
			int i = k * 167 % N;
			double was = z[i];

			for (int s = 0; s < 2; s++) {
				z[i] = was + (s ? h : -h);
				bench_run(&b, x, z, fetch[0], &loss[s]);
			}
			z[i] = was;
			worst = fmax(worst, fabs((loss[1] - loss[0]) / (2 * h) - grad[i]));
		}
		if (!(worst < 1e-9))
			kc_test_fail(__FILE__, __LINE__, "off by %g", worst);
	}
	bench_close(&b);
	free(z);
	free(grad);
}

/* ---- training ---- */

#define CIC "model=cic", "network_G.which_model_G=eccv16", "network_G.init=random"

/* "train.prior=..." of the clips there are. */
static const char *prior_of_clips(void)
{
	static char set[4096];
	struct kc_prior p;

	KC_CHECK_OK(count("clips", 1, &p));
	KC_CHECK_OK(kc_prior_save(&p, kc_test_path("prior.json")));
	snprintf(set, sizeof set, "train.prior=%s", kc_test_path("prior.json"));
	return set;
}

struct scores {
	struct kc_mean psnr, colour;
};

static int take_truth(void *own, int64_t frame, struct kc_picture *p)
{
	struct kc_image *image = own;

	flat_picture(image, SIDE, (int)frame);
	*p = (struct kc_picture){SIDE, SIDE, image->rgb};
	return 0;
}

static struct scores *scored;

static int score(void *own, int64_t frame, const struct kc_picture *p)
{
	struct kc_image *image = own;

	flat_picture(image, SIDE, (int)frame);
	kc_mean_add(&scored->psnr, kc_psnr_frame(p->rgb, image->rgb, SIDE * SIDE));
	kc_mean_add(&scored->colour, kc_colourfulness(p->rgb, SIDE * SIDE));
	return 0;
}

/* The eight pictures as the weights colorize them now. */
static struct scores colorize(struct kc_run *r)
{
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_BINS, .size = SIDE,
					       .width = r->config->network.width,
					       .temperature = r->config->network.temperature};
	struct kc_image image = {0};
	const struct kc_colorizer_clip clip = {.frames = COLOURS, .source = take_truth,
					       .sink = score, .own = &image};
	struct scores s = {0};
	struct kc_colorizer *c;

	scored = &s;
	if (KC_CHECK_OK(kc_colorizer_open(&c, &args, &r->device, r->training.params))) {
		KC_CHECK_OK(kc_colorizer_run(c, &clip, NULL));
		kc_colorizer_close(c);
	}
	kc_image_release(&image);
	return s;
}

/*
 * One batch of eight pictures.  The loss cannot fall to 0: the soft target of a colour has an
 * entropy of its own, about 1 nat.
 */
static void test_overfit(void)
{
	struct kc_config c;
	struct kc_run r;

	flat_clips("clips", 0, COLOURS - 1);
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(CIC, "network_G.width=0.0625", prior_of_clips(),
						 "train.lr_G=3e-3", "datasets.train.batch_size=8",
						 "datasets.train.use_flip=false",
						 "datasets.train.use_rot=false")))) {
		struct scores before = colorize(&r), after;
		double first = 0, loss = 0;

		for (int k = 0; k < 130 && kc_test_step(&r); k++) {
			loss = r.training.terms[0].last;
			first = k ? first : loss;
		}
		after = colorize(&r);
		if (!(loss < 0.3 * first))
			kc_test_fail(__FILE__, __LINE__, "loss from %g to %g", first, loss);
		if (!(kc_mean_get(&after.psnr) > kc_mean_get(&before.psnr) + 3))
			kc_test_fail(__FILE__, __LINE__, "PSNR from %g to %g",
				     kc_mean_get(&before.psnr), kc_mean_get(&after.psnr));
	}
	kc_test_close(&r, &c);
}

/* The decoder stays the table; without a prior the log says so; it is validated on the way. */
static void test_run(void)
{
	const char *said, *prior;
	char val[4096];
	struct kc_config c;
	struct kc_run r;

	kc_test_clips();
	prior = prior_of_clips();
	KC_CHECK_OK(kc_test_train(SET(CIC, prior, "train.weight_decay_G=0.1"), &said));
	KC_CHECK(!strstr(said, "is not rebalanced") && strstr(said, "l_class"));
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET(CIC, prior, "train.weight_decay_G=0.1")))) {
		struct kc_param *out = kc_params_find(r.training.params, "model_out.weight");
		struct kc_buf b;

		KC_CHECK_OK(kc_progress_load(&r.save, 2, r.training.params, &r.progress, NULL));
		b = kc_param_master(out);
		KC_CHECK(!out->trainable && kc_get(&b, 3) == (float)(kc_bins_a[3] / 110));
	}
	kc_test_close(&r, &c);
	snprintf(val, sizeof val, "datasets.val.dataroot_GT=%s", kc_test_path("clips"));
	KC_CHECK_OK(kc_test_train(SET(CIC, "train.rebalance=false", val, "train.val_freq=2",
				      "datasets.val.GT_size=24", "flow=flownet2"), &said));
	KC_CHECK(strstr(said, "the class loss is not rebalanced"));
	KC_CHECK(strstr(said, "validation behind iteration 2: PSNR "));
}

static void test_mistakes(void)
{
	char set[4096];

	kc_test_clips();
	KC_CHECK_ERR(kc_test_train(SET(CIC), NULL), KC_ECONFIG,
		     "train.prior: no file; expected what pack --prior writes");
	snprintf(set, sizeof set, "train.prior=%s", kc_test_path("none.json"));
	KC_CHECK_ERR(kc_test_train(SET(CIC, set), NULL), KC_ENOENT, "none.json");
	write_shares("p.json", HEAD, 529, NULL);
	snprintf(set, sizeof set, "train.prior=%s", kc_test_path("p.json"));
	KC_CHECK_ERR(kc_test_train(SET(CIC, set), NULL), KC_EFORMAT, "a prior of 529 bins");
	KC_CHECK_ERR(kc_test_train(SET(CIC, "train.rebalance=false", "datasets.train.GT_size=36"),
				   NULL),
		     KC_ECONFIG, "datasets.train.GT_size: 36 is not a multiple of 8");
	KC_CHECK_ERR(kc_test_train(SET("model=cic"), NULL), KC_ECONFIG,
		     "network_G.which_model_G: expected eccv16");
}

#define WINDOWS "network_G.init=random", "network_G.width=0.0625"
#define WITH_ECCV16 WINDOWS, "network_G.key_net=eccv16"

static const char *at(const char *key, const char *name)
{
	static char set[4][4096];
	static int next;

	next = (next + 1) % 4;
	snprintf(set[next], sizeof set[next], "%s=%s", key, kc_test_path(name));
	return set[next];
}

/* The norm of the first step's gradient in those parameters; -1 when there are none. */
static double moved(const char *const *set, const char *prefix)
{
	struct kc_config c;
	struct kc_run r;
	double sum = -1;

	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		const struct kc_params *s = r.training.params;
		float *before = kc_alloc(s->count * sizeof *before);

		KC_ASSERT(before);
		memcpy(before, s->master, s->count * sizeof *before);
		kc_test_step(&r);
		for (size_t i = 0; i < s->n; i++) {
			struct kc_buf b = kc_param_master(s->v[i]);

			if (strncmp(s->v[i]->name, prefix, strlen(prefix)) || s->v[i]->statistic)
				continue;
			sum = fmax(sum, 0);
			for (int64_t k = 0; k < kc_numel(&b.type); k++)
				sum += fabs(kc_get(&b, k) - before[s->v[i]->offset + (size_t)k]);
		}
		free(before);
	}
	kc_test_close(&r, &c);
	return sum;
}

#define SGD "train.optimizer=sgd", "train.momentum=0", "train.lr_G=1", "train.srl_weight=0"

/* What the class loss alone teaches: the propagation, and the new head of siggraph17. */
static void test_class_weight(void)
{
	const char *said, *prior;

	kc_test_clips();
	prior = prior_of_clips();
	KC_CHECK(moved(SET(WINDOWS, SGD, prior, "train.class_weight=1"), "class_head.") > 1e-6);
	KC_CHECK(moved(SET(WINDOWS, SGD, prior, "train.class_weight=1"), "feature_ref") > 1e-9);
	KC_CHECK(moved(SET(WINDOWS, SGD, prior, "train.class_weight=1"), "fea_key.") == 0);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1"), "feature_ref") > 1e-9);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1"), "fea_key.") == 0);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1",
			   "network_G.train_flow_keyNet=true"), "fea_key.model8.6") > 1e-6);
	KC_CHECK(moved(SET(WITH_ECCV16, SGD, prior, "train.class_weight=1",
			   "network_G.train_flow_keyNet=true"), "fea_key.model_out") == 0);
	KC_CHECK(moved(SET(WINDOWS), "class_head.") == -1);
	KC_CHECK_OK(kc_test_train(SET(WINDOWS, "train.class_weight=0.5"), &said));
	KC_CHECK(strstr(said, "the class loss is not rebalanced") && strstr(said, "l_class"));
	KC_CHECK_OK(kc_test_train(SET(WINDOWS, "train.class_weight=0.5", prior), &said));
	KC_CHECK(!strstr(said, "is not rebalanced"));
	KC_CHECK_OK(kc_test_train(SET(WINDOWS), &said));
	KC_CHECK(!strstr(said, "rebalanced") && !strstr(said, "l_class"));
}

#define MODEL "experiments/run/models/2_G.safetensors"

static int load(const char *model, const char *key_net, struct kc_colorizer_args *args)
{
	const struct kc_model_files files = {.model = model, .key_net = key_net};
	struct kc_model_about about;
	struct kc_colorizer *c;
	struct kc_device d;
	int rc = kc_device_cpu(&d, 1);

	*args = (struct kc_colorizer_args){.size = 16};
	if (!rc)
		rc = kc_model_open(&c, args, &d, &files, &about);
	if (!rc)
		kc_colorizer_close(c);
	kc_device_release(&d);
	return rc;
}

/* Trained, validated, resumed, opened again; weights of the other kind are named. */
static void test_key_net(void)
{
	struct kc_colorizer_args args;
	const char *said;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET(WITH_ECCV16, at("datasets.val.dataroot_GT", "clips"),
				      "datasets.val.GT_size=24", "train.val_freq=2"), &said));
	KC_CHECK(strstr(said, "validation behind iteration 2: PSNR "));
	KC_CHECK_OK(kc_test_train(SET(WITH_ECCV16, "path.resume_state=auto", "train.niter=3"),
				  &said));
	KC_CHECK(strstr(said, "resumed behind iteration 2"));
	if (KC_CHECK_OK(load(kc_test_path(MODEL), NULL, &args)))
		KC_CHECK(args.network == KC_COLORIZE_TCVC && args.key == KC_TCVC_ECCV16 &&
			 args.temperature == 0.38 && !args.class_head);
	KC_CHECK_OK(kc_test_train(SET("name=wide", WITH_ECCV16, at("path.pretrain_model_G", MODEL)),
				  NULL));
	KC_CHECK_ERR(kc_test_train(SET("name=other", WINDOWS, at("path.pretrain_model_G", MODEL)),
				   NULL), KC_ECONFIG,
		     "the keyframe network is eccv16, network_G.key_net says siggraph17");
	KC_CHECK_OK(kc_test_train(SET("name=sig", WINDOWS, "train.class_weight=1"), NULL));
	if (KC_CHECK_OK(load(kc_test_path("experiments/sig/models/2_G.safetensors"), NULL, &args)))
		KC_CHECK(args.key == KC_TCVC_SIGGRAPH17 && args.class_head && !args.temperature);
	KC_CHECK_ERR(load(kc_test_path("experiments/sig/models/2_G.safetensors"),
			  kc_test_path(MODEL), &args), KC_ECONFIG, "the model wants siggraph17");
	KC_CHECK_ERR(kc_test_train(SET("name=other", "network_G.init=pretrained",
				       "network_G.width=0.0625", "network_G.key_net=eccv16",
				       at("path.pretrain_key_net",
					  "experiments/sig/models/2_G.safetensors")), NULL),
		     KC_ECONFIG, "the keyframe network is siggraph17, network_G.key_net says ecc");
	/* A new head beside weights that were trained without one. */
	KC_CHECK_OK(kc_test_train(SET("name=plain", WINDOWS), NULL));
	KC_CHECK_OK(kc_test_train(SET("name=head", WINDOWS, "train.class_weight=1",
				      at("path.pretrain_model_G",
					 "experiments/plain/models/2_G.safetensors")), NULL));
	KC_CHECK_ERR(kc_test_train(SET("name=none", "network_G.key_net=eccv16",
				       "network_G.init=pretrained"), NULL), KC_ENOENT,
		     "published as colorization_release_v2-9b330a0b.pth");
}

/* The keyframe network that cic trains serves TCVC; its temperature is compared. */
static void test_from_cic(void)
{
	const char *key = "experiments/run/models/2_G.safetensors", *said;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET(CIC, "network_G.width=0.0625", "train.rebalance=false"),
				  NULL));
	KC_CHECK_OK(kc_test_train(SET("name=tcvc", WITH_ECCV16, "network_G.init=pretrained",
				      at("path.pretrain_key_net", key)), &said));
	KC_CHECK(!strstr(said, "temperature"));
	KC_CHECK_OK(kc_test_train(SET("name=warm", WITH_ECCV16, "network_G.init=pretrained",
				      "network_G.temperature=1", at("path.pretrain_key_net", key)),
				  &said));
	KC_CHECK(strstr(said, "its temperature is 0.38, network_G.temperature takes 1 instead"));
}

const struct kc_test kc_tests_cic[] = {
	{"a prior counts every fourth pixel's bin, grey frames left out", test_prior},
	{"counts are smoothed and none is lost", test_smooth},
	{"a prior's file is read back; others are refused", test_prior_file},
	{"colours are found again from their soft encoding", test_round_trip},
	{"the rebalanced loss: its gradient equals differences", test_gradient},
	{"one batch of eight pictures is learnt", test_overfit},
	{"a run: fixed decoder, with and without prior", test_run},
	{"TCVC: the class loss, with both keyframe networks", test_class_weight},
	{"TCVC on eccv16: trained, resumed, opened, mismatched", test_key_net},
	{"TCVC on what cic trained", test_from_cic},
	{"settings that do not fit are named", test_mistakes},
	{0},
};
