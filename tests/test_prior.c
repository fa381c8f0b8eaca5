/* How common colours are, how they are encoded, and the loss that is rebalanced by both. */
#include "core/file.h"
#include "core/plan.h"
#include "losses/classes.h"
#include "tests/clips.h"
#include "tests/colours.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 32 };

/* ---- the prior ---- */

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

	kc_test_flat_clips("two", SIDE, -1, 0);
	KC_CHECK_OK(kc_test_count("two", 1, &one));
	KC_CHECK(one.frames == 2 && one.grey_frames == 1 && one.pixels == SIDE * SIDE / 16);
	one_bin[nearest(kc_test_colours[0])] = 7;
	kc_prior_smooth(one_bin, expected);
	for (int q = 0; q < KC_BINS; q++)
		KC_CHECK(fabs(expected[q] - one.p[q]) < 1e-12);

	kc_test_clip(kc_test_path("film"), "a", 3, 41, 36, 1);
	kc_test_clip(kc_test_path("film"), "b", 2, 60, 33, 2);
	KC_CHECK_OK(kc_test_count("film", 1, &one));
	KC_CHECK_OK(kc_test_count("film", 2, &two));
	KC_CHECK(!memcmp(&one, &two, sizeof one) && one.frames == 5);
	KC_CHECK(one.pixels == 3 * 11 * 9 + 2 * 15 * 9);

	kc_test_flat_clips("grey", SIDE, -1, -1);
	KC_CHECK_ERR(kc_test_count("grey", 1, &one), KC_EFORMAT, "all 1 frames are grey");
	kc_test_spoil(kc_test_path("film"), "b/00000.png");
	KC_CHECK_ERR(kc_test_count("film", 1, &one), KC_EFORMAT, "b/00000.png");
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

#define HEAD KC_TEST_PRIOR_HEAD

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
		kc_test_shares("p.json", bad[i].head, bad[i].n, bad[i].share);
		KC_CHECK_ERR(kc_prior_load(kc_test_path("p.json"), p), KC_EFORMAT, bad[i].message);
	}
	KC_CHECK_ERR(kc_prior_load(kc_test_path("none.json"), p), KC_ENOENT, "none.json");
	kc_test_clips();
	KC_CHECK_OK(kc_test_count("clips", 1, &made));
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
			worst = kc_test_worse(worst, fabs(ab[i] - back[i]));
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
			worst = kc_test_worse(worst, fabs((loss[1] - loss[0]) / (2 * h) - grad[i]));
		}
		if (!(worst < 1e-9))
			kc_test_fail(__FILE__, __LINE__, "off by %g", worst);
	}
	bench_close(&b);
	free(z);
	free(grad);
}

const struct kc_test kc_tests_prior[] = {
	{"a prior counts every fourth pixel's bin, grey frames left out", test_prior},
	{"counts are smoothed and none is lost", test_smooth},
	{"a prior's file is read back; others are refused", test_prior_file},
	{"colours are found again from their soft encoding", test_round_trip},
	{"the rebalanced loss: its gradient equals differences", test_gradient},
	{0},
};
