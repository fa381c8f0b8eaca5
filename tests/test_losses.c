/* Losses on small numbers worked out by hand, in float64 with the reference kernels. */
#include "losses/adversarial.h"
#include "losses/classes.h"
#include "losses/pixel.h"
#include "losses/warp.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>

static struct kc_graph *g;
static struct test_feed feeds[4];
static int n_feeds;

static void open_graph(void)
{
	g = kc_graph_new(&kc_layers);
	n_feeds = 0;
}

static void close_graph(void)
{
	kc_graph_free(g);
}

static struct kc_tensor *given(double *data, struct kc_type t)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	struct kc_tensor *x = kc_input(g, names[n_feeds], t);

	feeds[n_feeds++] = (struct test_feed){x, data};
	return x;
}

static bool run(struct kc_tensor *y, double *out)
{
	static const struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_device device;
	bool ok;

	kc_device_reference(&device);
	ok = KC_CHECK_OK(kc_graph_status(g)) &&
	     KC_CHECK_OK(test_run(g, &device, &opts, feeds, n_feeds, &y, 1, &out));
	kc_device_release(&device);
	return ok;
}

static void is(struct kc_tensor *y, double expected)
{
	double got = NAN;

	if (run(y, &got) && !(fabs(got - expected) <= 1e-12 * (1 + fabs(expected))))
		kc_test_fail(__FILE__, __LINE__, "%.15g, expected %.15g", got, expected);
}

/* ---- pixels ---- */

static void pixel_is(enum kc_pixel_kind kind, enum kc_reduction how, double p, double expected)
{
	/* Differences 0, 0.5, -2, 3 in two channels of two pixels. */
	double a[] = {1, 1.5, -2, 3}, b[] = {1, 1, 0, 0};
	struct kc_tensor *x, *y;

	open_graph();
	x = given(a, KC_TYPE(KC_REAL, 1, 2, 1, 2));
	y = given(b, KC_TYPE(KC_REAL, 1, 2, 1, 2));
	is(kc_loss_pixel(g, x, y, &(struct kc_pixel_args){kind, how, p}), expected);
	close_graph();
}

static void test_pixel(void)
{
	pixel_is(KC_PIXEL_MSE, KC_REDUCE_MEAN, 0, 13.25 / 4);
	pixel_is(KC_PIXEL_L1, KC_REDUCE_MEAN, 0, 5.5 / 4);
	pixel_is(KC_PIXEL_L1, KC_REDUCE_PIXELS, 0, 5.5 / 2);
	pixel_is(KC_PIXEL_SMOOTH_L1, KC_REDUCE_SUM, 0, 0.125 + 1.5 + 2.5);
	pixel_is(KC_PIXEL_SMOOTH_L1, KC_REDUCE_SUM, 0.1, 0.45 + 1.95 + 2.95);
	pixel_is(KC_PIXEL_CHARBONNIER, KC_REDUCE_SUM, 0,
		 sqrt(1e-6) + sqrt(0.25 + 1e-6) + sqrt(4 + 1e-6) + sqrt(9 + 1e-6));
	pixel_is(KC_PIXEL_CHARBONNIER, KC_REDUCE_MEAN, 1,
		 (1 + sqrt(1.25) + sqrt(5) + sqrt(10)) / 4);
}

static void test_tv(void)
{
	double a[] = {0, 1, 3, 2, 2, 2};

	open_graph();
	is(kc_loss_tv(g, given(a, KC_TYPE(KC_REAL, 1, 1, 2, 3))), 4 / 3.0 + (1 + 2) / 4.0);
	close_graph();
}

/* ---- self-regularization ---- */

static void test_self_regularization(void)
{
	/* Three frames of one pixel, two windows, no motion; steps 1 and 2. */
	double l[] = {0, 0, 0.1, 0, 0.1, 0.2}, ab[12], no_flow[8] = {0}, expected = 0;

	for (int i = 0; i < 12; i++)
		ab[i] = 0.1 * i * i;
	for (int shift = 2; shift <= 4; shift += 2) {
		struct kc_tensor *x, *y, *flows;
		int n = 6 - shift;

		expected = 0;
		for (int i = 0; i < n; i++) {
			double m = exp(-50 * pow(l[i + shift] - l[i], 2));

			for (int c = 0; c < 2; c++)
				expected += pow(m * (ab[2 * (i + shift) + c] - ab[2 * i + c]), 2) /
					    (2 * n);
		}
		open_graph();
		x = given(l, KC_TYPE(KC_REAL, 6, 1, 1, 1));
		y = given(ab, KC_TYPE(KC_REAL, 6, 2, 1, 1));
		flows = given(no_flow, KC_TYPE(KC_REAL, n, 2, 1, 1));
		is(kc_self_regularize(g, x, y, flows, 50).loss, expected);
		close_graph();
	}
}

static void test_mask_channels(void)
{
	double a[] = {0.1, 0.2, 0.3}, b[] = {0, 0, 0};
	struct kc_tensor *x, *y;

	open_graph();
	x = given(a, KC_TYPE(KC_REAL, 1, 3, 1, 1));
	y = given(b, KC_TYPE(KC_REAL, 1, 3, 1, 1));
	is(kc_warp_mask(g, x, y, 50), exp(-50 * 0.14));
	close_graph();
}

/* ---- classes ---- */

static void test_hard(void)
{
	double logits[] = {0, 1, 2, 3, -1, 5}, index[] = {2, 0};
	double a = log(exp(0) + exp(2) + exp(-1)) + 1, b = log(exp(1) + exp(3) + exp(5)) - 1;
	struct kc_tensor *x, *t;

	open_graph();
	x = given(logits, KC_TYPE(KC_REAL, 1, 3, 1, 2));
	t = given(index, KC_TYPE(KC_I32, 1, 1, 2));
	is(kc_loss_hard_ce(g, x, t), (a + b) / 2);
	close_graph();
}

static void test_rebalance(void)
{
	double prior[] = {0.5, 0.25, 0.25, 0}, v[4], mean = 0;

	kc_rebalance(prior, 4, 0.5, 1, v);
	for (int i = 0; i < 4; i++)
		mean += prior[i] * v[i];
	KC_CHECK(fabs(mean - 1) < 1e-12 && v[3] > v[1] && v[1] > v[0]);
	KC_CHECK(fabs(v[3] / v[1] - 2) < 1e-12);
	kc_rebalance(prior, 4, 0, 1, v);
	KC_CHECK(v[3] == 0 && fabs(v[1] / v[0] - 2) < 1e-12);
}

/* A grey image counts nothing; a coloured one does. */
static void test_rebalanced(void)
{
	double logits[2 * KC_BINS] = {0}, ab[] = {3, -5, 60, 10}, v[KC_BINS];
	struct kc_tensor *x, *y, *factor;

	for (int i = 0; i < KC_BINS; i++)
		v[i] = 2;
	open_graph();
	x = given(logits, KC_TYPE(KC_REAL, 2, KC_BINS, 1, 1));
	y = given(ab, KC_TYPE(KC_REAL, 2, 2, 1, 1));
	factor = given(v, KC_TYPE(KC_REAL, KC_BINS));
	is(kc_loss_rebalanced(g, x, y, factor).loss, (0 + 2 * log(KC_BINS)) / 2);
	close_graph();
}

/* ---- adversarial ---- */

static void test_scores(void)
{
	double a[] = {2, 0.5}, b[] = {-3, 1};
	struct kc_tensor *r, *f;

	open_graph();
	r = given(a, KC_TYPE(KC_REAL, 2));
	f = given(b, KC_TYPE(KC_REAL, 2));
	is(kc_hinge_d(g, r, f), 0.25 + 1);
	is(kc_wgan_d(g, r, f), -1 - 1.25);
	is(kc_score_g(g, f), 1);
	is(kc_lsgan(g, f, 1), 8);
	is(kc_bce_logits(g, r, 1), (log(1 + exp(-2)) + log(1 + exp(-0.5))) / 2);
	is(kc_ralsgan_d(g, NULL, r, f),
	   (pow(2 + 1 - 1, 2) + pow(0.5 + 1 - 1, 2)) / 2 +
	   (pow(-3 - 1.25 + 1, 2) + pow(1 - 1.25 + 1, 2)) / 2);
	close_graph();
}

/* The pairs by name, and what is logged with them. */
static void test_pairs(void)
{
	double a[] = {2, 0.5}, b[] = {-3, 1};
	struct kc_tensor *r, *f;

	open_graph();
	r = given(a, KC_TYPE(KC_REAL, 2));
	f = given(b, KC_TYPE(KC_REAL, 2));
	is(kc_gan_d(g, NULL, KC_GAN_VANILLA, r, f),
	   (log1p(exp(-2)) + log1p(exp(-0.5)) + log1p(exp(-3)) + log1p(exp(1))) / 4);
	is(kc_gan_g(g, NULL, KC_GAN_VANILLA, r, f), (log1p(exp(3)) + log1p(exp(-1))) / 2);
	is(kc_gan_d(g, NULL, KC_GAN_LSGAN, r, f), ((1 + 0.25) / 2 + (9 + 1) / 2.0) / 2);
	is(kc_gan_g(g, NULL, KC_GAN_LSGAN, r, f), 8);
	is(kc_gan_d(g, NULL, KC_GAN_HINGE, r, f), 0.25 + 1);
	is(kc_gan_g(g, NULL, KC_GAN_HINGE, r, f), 1);
	is(kc_gan_d(g, NULL, KC_GAN_WGAN, r, f), -1 - 1.25);
	is(kc_gan_g(g, NULL, KC_GAN_WGAN, r, f), 1);
	is(kc_gan_d(g, NULL, KC_GAN_RALSGAN, r, f), (4 + 0.25) / 2 + (10.5625 + 0.5625) / 2);
	is(kc_gan_g(g, NULL, KC_GAN_RALSGAN, r, f),
	   (pow(-3 - 1.25 - 1, 2) + pow(1 - 1.25 - 1, 2)) / 2 +
	   (pow(2 + 1 + 1, 2) + pow(0.5 + 1 + 1, 2)) / 2);
	is(kc_gan_accuracy(g, r, f), 0.75);
	is(kc_feature_match(g, (struct kc_tensor *[]){r, f}, (struct kc_tensor *[]){f, f}, 2),
	   (5 + 0.5) / 2 / 2);
	close_graph();
}

/* Scores y = sum x^2: the gradient is 2x, and the penalty's gradient must be finite at 0. */
static void test_penalty(void)
{
	double a[] = {3, 4, 0, 0}, out[4];
	struct kc_tensor *x, *grad;
	struct kc_gradient_penalty p;

	open_graph();
	x = given(a, KC_TYPE(KC_REAL, 2, 2, 1, 1));
	p = kc_gradient_penalty(g, kc_sum(g, kc_square(g, x)), x, 10);
	is(p.loss, 10 * (81 + 1) / 2.0);
	is(kc_r1_penalty(g, kc_sum(g, kc_square(g, x)), x, 10), 5 * (100 + 0) / 2.0);
	if (KC_CHECK_OK(kc_grad(g, p.loss, NULL, &x, 1, &grad)) && run(grad, out))
		KC_CHECK(fabs(out[0] - 180 * 0.6) < 1e-9 && fabs(out[1] - 180 * 0.8) < 1e-9 &&
			 out[2] == 0 && out[3] == 0);
	close_graph();
}

const struct kc_test kc_tests_losses[] = {
	{"pixel losses and their reductions", test_pixel},
	{"total variation", test_tv},
	{"self-regularization of steps 1 and 2 without motion", test_self_regularization},
	{"the mask sums its squares over channels", test_mask_channels},
	{"cross entropy with one right class", test_hard},
	{"factors for rare colours", test_rebalance},
	{"rebalanced cross entropy leaves grey images out", test_rebalanced},
	{"scores of discriminators", test_scores},
	{"losses of generator and discriminator by name", test_pairs},
	{"gradient penalty, differentiable at 0", test_penalty},
	{0}
};
