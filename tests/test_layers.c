/*
 * Convolutions, products, normalisations, pooling, resampling, motion and colour: first and
 * second derivatives against finite differences in float64, and the corners of the shapes.
 */
#include "core/plan.h"
#include "core/random.h"
#include "layers/layers.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

enum { INPUTS = 8, SLOTS = 3 * INPUTS };

struct setup {
	struct kc_graph *g;
	struct kc_tensor *slot[SLOTS];          /* x, then other things to be fed */
	double *data[SLOTS], low[SLOTS], high[SLOTS];
	bool varies[SLOTS];                     /* finite differences move it */
	int n;
	struct kc_random random;
};

struct layer_case {
	const char *name;
	struct kc_tensor *(*build)(struct setup *);
};

/* A new input with uniform elements. */
static struct kc_tensor *in_range(struct setup *s, double low, double high, struct kc_type t)
{
	char name[16];

	KC_ASSERT(s->n < SLOTS);
	snprintf(name, sizeof name, "in%d", s->n);
	s->low[s->n] = low;
	s->high[s->n] = high;
	s->varies[s->n] = true;
	return s->slot[s->n++] = kc_input(s->g, name, t);
}

#define IN(s, ...) in_range((s), -1, 1, KC_TYPE(KC_REAL, __VA_ARGS__))
#define IN_RANGE(s, low, high, ...) in_range((s), (low), (high), KC_TYPE(KC_REAL, __VA_ARGS__))

static int draw(struct setup *s)
{
	for (int i = 0; i < s->n; i++) {
		int64_t n = kc_numel(&s->slot[i]->type);

		s->data[i] = kc_calloc((size_t)n, sizeof(double));
		if (!s->data[i])
			return KC_ENOMEM;
		for (int64_t k = 0; k < n; k++)
			s->data[i][k] = s->low[i] +
					(s->high[i] - s->low[i]) * kc_random_unit(&s->random);
	}
	return 0;
}

/* Feeds every input, moved by h along the directions. */
static int run(struct kc_plan *p, struct setup *s, double h, double *const *direction)
{
	for (int i = 0; i < s->n; i++) {
		int64_t n = kc_numel(&s->slot[i]->type);
		double *moved = kc_calloc((size_t)n, sizeof(double));
		struct kc_type t = s->slot[i]->type;
		struct kc_buf b;
		int rc;

		if (!moved)
			return KC_ENOMEM;
		for (int64_t k = 0; k < n; k++)
			moved[k] = s->data[i][k] + (direction ? h * direction[i][k] : 0);
		t.dtype = KC_F64;
		b = kc_buf_of(moved, &t, KC_PLAIN);
		rc = kc_plan_feed(p, s->slot[i], &b);
		free(moved);
		KC_TRY(rc);
	}
	return kc_plan_run(p);
}

static struct kc_tensor *dot(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_sum(g, kc_mul(g, a, b));
}

/* <gradient, direction> of what was fetched. */
static double along(struct kc_plan *p, struct kc_tensor *const *grad, const struct setup *s,
		    double *const *direction)
{
	double sum = 0;

	for (int i = 0; i < s->n; i++) {
		int64_t n = kc_numel(&grad[i]->type);
		double *v = kc_calloc((size_t)n, sizeof(double));
		struct kc_type t = grad[i]->type;
		struct kc_buf b;

		KC_ASSERT(v);
		t.dtype = KC_F64;
		b = kc_buf_of(v, &t, KC_PLAIN);
		KC_CHECK_OK(kc_plan_read(p, grad[i], &b));
		for (int64_t k = 0; k < n; k++)
			sum += v[k] * direction[i][k];
		free(v);
	}
	return sum;
}

/* The scalar's gradient against the difference quotient, along random directions. */
static void compare(struct kc_plan *p, struct setup *s, const char *name, int order,
		    struct kc_tensor *scalar, struct kc_tensor *const *grad)
{
	const double h = 1e-4;
	double *direction[SLOTS] = {0};

	for (int trial = 0; trial < 2; trial++) {
		double up, down, want, got;

		for (int i = 0; i < s->n; i++) {
			int64_t n = kc_numel(&s->slot[i]->type);

			free(direction[i]);
			direction[i] = kc_calloc((size_t)n, sizeof(double));
			KC_ASSERT(direction[i]);
			for (int64_t k = 0; k < n && s->varies[i]; k++)
				direction[i][k] = (s->high[i] - s->low[i]) *
						  (kc_random_unit(&s->random) - 0.5);
		}
		if (!KC_CHECK_OK(run(p, s, h, direction)))
			break;
		up = kc_plan_scalar(p, scalar);
		if (!KC_CHECK_OK(run(p, s, -h, direction)))
			break;
		down = kc_plan_scalar(p, scalar);
		if (!KC_CHECK_OK(run(p, s, 0, NULL)))
			break;
		want = (up - down) / (2 * h);
		got = along(p, grad, s, direction);
		if (!(fabs(want - got) <= 1e-6 * fmax(fabs(want), 1)))
			kc_test_fail(__FILE__, __LINE__,
				     "%s: derivative %d is %.12g, differences give %.12g",
				     name, order, got, want);
	}
	for (int i = 0; i < s->n; i++)
		free(direction[i]);
}

/* y = f(x): L = <y, c> and its gradient, then M = sum of <dL/dx, e> and its gradient. */
static void check_case(const struct layer_case *c, uint64_t seed)
{
	struct setup s = {.g = kc_graph_new(&kc_layers)};
	struct kc_tensor *y, *first[SLOTS], *second[SLOTS], *l, *m = NULL, *fetch[2 * SLOTS + 2];
	struct kc_plan_opts opts = {.real = KC_F64, .deterministic = true};
	struct kc_device device;
	struct kc_plan *p = NULL;
	int n_first, n_fetch = 0;

	kc_random_init(&s.random, seed, KC_STREAM_TEST, 0, 0);
	y = c->build(&s);
	l = dot(s.g, y, in_range(&s, -1, 1, y->type));
	n_first = s.n;
	kc_grad(s.g, l, NULL, s.slot, n_first, first);
	for (int i = 0; i < n_first && !kc_graph_status(s.g); i++) {
		struct kc_tensor *e = in_range(&s, -1, 1, first[i]->type);
		struct kc_tensor *part = dot(s.g, first[i], e);

		m = m ? kc_add(s.g, m, part) : part;
		fetch[n_fetch++] = first[i];
	}
	kc_device_reference(&device);
	if (!KC_CHECK_OK(kc_graph_status(s.g)) || !KC_CHECK_OK(draw(&s)))
		goto out;
	kc_grad(s.g, l, NULL, s.slot, s.n, first);
	kc_grad(s.g, m, NULL, s.slot, s.n, second);
	if (!KC_CHECK_OK(kc_graph_status(s.g)))
		goto out;
	n_fetch = 0;
	fetch[n_fetch++] = l;
	fetch[n_fetch++] = m;
	for (int i = 0; i < s.n; i++) {
		fetch[n_fetch++] = first[i];
		fetch[n_fetch++] = second[i];
	}
	if (KC_CHECK_OK(kc_plan_build(&p, s.g, &device, fetch, n_fetch, &opts))) {
		compare(p, &s, c->name, 1, l, first);
		compare(p, &s, c->name, 2, m, second);
	}
out:
	kc_plan_free(p);
	kc_device_release(&device);
	for (int i = 0; i < s.n; i++)
		free(s.data[i]);
	kc_graph_free(s.g);
}

/* ---- cases ---- */

static struct kc_tensor *conv(struct setup *s, const struct kc_conv_attr *a, struct kc_type x,
			      struct kc_type w, bool bias)
{
	struct kc_tensor *tx = in_range(s, -1, 1, x), *tw = in_range(s, -1, 1, w);

	return kc_conv_op(s->g, tx, tw, bias ? IN(s, w.dim[0]) : NULL, a);
}

#define SHAPE(...) KC_TYPE(KC_REAL, __VA_ARGS__)

static struct kc_tensor *conv_1d(struct setup *s)
{
	return conv(s, &(struct kc_conv_attr){.nd = 1, .stride = {2}, .pad = {1}}, SHAPE(2, 3, 7),
		    SHAPE(4, 3, 3), true);
}

static struct kc_tensor *conv_plain(struct setup *s)
{
	return conv(s, &(struct kc_conv_attr){.nd = 2, .pad = {1, 1}}, SHAPE(2, 3, 5, 6),
		    SHAPE(4, 3, 3, 3), true);
}

static struct kc_tensor *conv_ragged(struct setup *s)
{
	return conv(s, &(struct kc_conv_attr){.nd = 2, .stride = {2, 3}, .pad = {1, 2},
					      .dilation = {2, 1}},
		    SHAPE(1, 2, 8, 9), SHAPE(3, 2, 3, 2), false);
}

static struct kc_tensor *conv_groups(struct setup *s)
{
	return conv(s, &(struct kc_conv_attr){.nd = 2, .stride = {2, 2}, .groups = 3,
					      .dilation = {3, 2}, .pad = {2, 0}},
		    SHAPE(1, 6, 9, 9), SHAPE(3, 2, 3, 3), true);
}

static struct kc_tensor *conv_3d(struct setup *s)
{
	return conv(s, &(struct kc_conv_attr){.nd = 3, .stride = {1, 2, 2}, .pad = {1, 2, 2}},
		    SHAPE(1, 2, 3, 5, 4), SHAPE(2, 2, 3, 5, 5), true);
}

/* More rows, columns and depth than one block of the reference kernel. */
static struct kc_tensor *conv_blocks(struct setup *s)
{
	return conv(s, &(struct kc_conv_attr){.nd = 2, .pad = {1, 1}}, SHAPE(1, 70, 9, 8),
		    SHAPE(67, 70, 3, 3), true);
}

static struct kc_tensor *conv_leaky(struct setup *s)
{
	return kc_leaky(s->g, conv_plain(s), 0.1);
}

static struct kc_tensor *deconv_tanh(struct setup *s)
{
	struct kc_conv_attr a = {.nd = 2, .stride = {2, 2}, .pad = {1, 1}};
	struct kc_tensor *x = IN(s, 2, 4, 3, 4), *w = IN(s, 4, 3, 4, 4);

	return kc_tanh(s->g, kc_deconv_op(s->g, x, w, IN(s, 3), &a, NULL));
}

static struct kc_tensor *deconv_more(struct setup *s)
{
	struct kc_conv_attr a = {.nd = 2, .stride = {2, 3}, .pad = {1, 0}, .groups = 2};
	struct kc_tensor *x = IN(s, 1, 4, 3, 2), *w = IN(s, 4, 1, 3, 2);

	return kc_deconv_op(s->g, x, w, NULL, &a, (int64_t[]){1, 2});
}

static struct kc_tensor *matmul_plain(struct setup *s)
{
	struct kc_tensor *a = IN(s, 2, 3, 4);

	return kc_matmul(s->g, a, IN(s, 2, 4, 5));
}

static struct kc_tensor *matmul_at(struct setup *s)
{
	struct kc_tensor *a = IN(s, 4, 3);

	return kc_matmul_t(s->g, a, IN(s, 4, 5), true, false);
}

static struct kc_tensor *matmul_bt(struct setup *s)
{
	struct kc_tensor *a = IN(s, 2, 3, 4);

	return kc_matmul_t(s->g, a, IN(s, 2, 5, 4), false, true);
}

static struct kc_tensor *matmul_at_bt(struct setup *s)
{
	struct kc_tensor *a = IN(s, 70, 3);

	return kc_matmul_t(s->g, a, IN(s, 5, 70), true, true);
}

static struct kc_tensor *linear(struct setup *s)
{
	struct kc_tensor *x = IN(s, 3, 4), *w = IN(s, 2, 4);

	return kc_linear_op(s->g, x, w, IN(s, 2));
}

static struct kc_tensor *batch_norm_train(struct setup *s)
{
	struct kc_tensor *x = IN(s, 2, 3, 2, 3), *w = IN(s, 3), *mean, *var;

	return kc_batch_norm_train(s->g, NULL, x, w, IN(s, 3), &mean, &var);
}

static struct kc_tensor *batch_norm_eval(struct setup *s)
{
	struct kc_tensor *x = IN(s, 2, 3, 2, 3), *w = IN(s, 3), *b = IN(s, 3), *mean = IN(s, 3);

	return kc_batch_norm_eval(s->g, x, w, b, mean, IN_RANGE(s, 0.5, 1.5, 3));
}

static struct kc_tensor *instance_norm(struct setup *s)
{
	return kc_instance_norm(s->g, IN(s, 2, 3, 2, 3), NULL, NULL);
}

static struct kc_tensor *instance_norm_affine(struct setup *s)
{
	struct kc_tensor *x = IN(s, 2, 2, 3, 3), *w = IN(s, 2);

	return kc_instance_norm(s->g, x, w, IN(s, 2));
}

static struct kc_tensor *weight_norm(struct setup *s)
{
	struct kc_tensor *v = IN(s, 3, 2, 2, 2);

	return kc_weight_norm(s->g, v, IN(s, 3, 1, 1, 1));
}

/* With u and v given, they are constants of the differences, too. */
static struct kc_tensor *spectral_norm(struct setup *s)
{
	struct kc_spectral out;
	struct kc_tensor *w = IN_RANGE(s, 0.5, 1, 3, 4, 2, 2), *u = IN_RANGE(s, 0.2, 1, 4);

	kc_spectral_norm(s->g, w, u, IN_RANGE(s, 0.2, 1, 12), 1, &out);
	return out.w;
}

static struct kc_tensor *l2_normalise(struct setup *s)
{
	return kc_l2_normalise(s->g, IN(s, 2, 3, 2, 2), 1e-8);
}

static struct kc_tensor *channel_norm(struct setup *s)
{
	return kc_channel_norm(s->g, IN(s, 2, 3, 2, 2));
}

static struct kc_tensor *max_pool(struct setup *s)
{
	return kc_max_pool(s->g, IN(s, 2, 2, 7, 6), .k = 3, .stride = 2, .pad = 1);
}

static struct kc_tensor *avg_pool(struct setup *s)
{
	return kc_avg_pool(s->g, IN(s, 1, 2, 7, 6), .k = 3, .stride = 2, .pad = 1);
}

static struct kc_tensor *avg_pool_inside(struct setup *s)
{
	return kc_avg_pool(s->g, IN(s, 1, 2, 7, 6), .k = 2, .stride = 3, .pad = 1,
			   .exclude_pad = true);
}

static struct kc_tensor *avg_pool_adaptive(struct setup *s)
{
	return kc_adaptive_avg_pool(s->g, IN(s, 1, 70, 5, 7), 2, 3);
}

static struct kc_tensor *nearest(struct setup *s)
{
	return kc_resize_nearest(s->g, IN(s, 1, 2, 5, 4), 7, 3);
}

static struct kc_tensor *bilinear(struct setup *s)
{
	return kc_resize_bilinear(s->g, IN(s, 1, 2, 5, 4), 3, 9, false);
}

static struct kc_tensor *bilinear_corners(struct setup *s)
{
	return kc_resize_bilinear(s->g, IN(s, 1, 2, 5, 4), 3, 9, true);
}

static struct kc_tensor *warp(struct setup *s)
{
	struct kc_tensor *img = IN(s, 2, 3, 5, 6);

	return kc_warp(s->g, img, IN_RANGE(s, -4, 4, 2, 2, 4, 7));
}

static struct kc_tensor *grid_zeros(struct setup *s)
{
	struct kc_tensor *img = IN(s, 2, 2, 5, 6);

	return kc_grid_sample(s->g, img, IN_RANGE(s, -1.3, 1.3, 2, 4, 3, 2), false);
}

static struct kc_tensor *grid_border(struct setup *s)
{
	struct kc_tensor *img = IN(s, 2, 2, 5, 6);

	return kc_grid_sample(s->g, img, IN_RANGE(s, -1.3, 1.3, 2, 4, 3, 2), true);
}

static struct kc_tensor *correlation(struct setup *s)
{
	struct kc_tensor *a = IN(s, 2, 3, 4, 5);

	return kc_correlation(s->g, a, IN(s, 2, 3, 4, 5), 4, 2);
}

static struct kc_tensor *rgb_to_lab(struct setup *s)
{
	return kc_rgb_to_lab(s->g, IN_RANGE(s, 0.08, 1, 2, 3, 2, 3));
}

/* Both branches of both curves; dark, and clipped at 0. */
static struct kc_tensor *rgb_to_lab_dark(struct setup *s)
{
	return kc_rgb_to_lab(s->g, IN_RANGE(s, 0.001, 0.03, 1, 3, 2, 2));
}

static struct kc_tensor *lab_to_rgb(struct setup *s)
{
	return kc_scale(s->g, kc_lab_to_rgb(s->g, IN_RANGE(s, 20, 60, 2, 3, 2, 2)), 0.1);
}

static struct kc_tensor *annealed_mean(struct setup *s)
{
	return kc_scale(s->g, kc_annealed_mean(s->g, IN(s, 1, KC_BINS, 1, 2), 0.38), 0.01);
}

static struct kc_tensor *lstm(struct setup *s)
{
	struct kc_lstm w;
	struct kc_tensor *x = IN(s, 2, 3), *h = IN(s, 2, 2), *c = IN(s, 2, 2);

	w.w_ih = IN(s, 8, 3);
	w.w_hh = IN(s, 8, 2);
	w.b_ih = IN(s, 8);
	w.b_hh = IN(s, 8);
	kc_lstm_step(s->g, &w, x, &h, &c);
	return kc_add(s->g, h, c);
}

static struct kc_tensor *self_attention(struct setup *s)
{
	struct kc_tensor *x = IN(s, 1, 4, 2, 3);
	struct kc_attention w = {.wq = IN(s, 2, 4, 1, 1)};

	w.wk = IN(s, 2, 4, 1, 1);
	w.wv = IN(s, 4, 4, 1, 1);
	w.gain = IN(s, 1);
	return kc_self_attention(s->g, &w, x);
}

static const struct layer_case cases[] = {
#define CASE(name) {#name, name}
	CASE(conv_1d), CASE(conv_plain), CASE(conv_ragged), CASE(conv_groups), CASE(conv_3d),
	CASE(conv_blocks), CASE(conv_leaky), CASE(deconv_tanh), CASE(deconv_more),
	CASE(matmul_plain), CASE(matmul_at), CASE(matmul_bt), CASE(matmul_at_bt), CASE(linear),
	CASE(batch_norm_train),
	CASE(batch_norm_eval), CASE(instance_norm), CASE(instance_norm_affine), CASE(weight_norm),
	CASE(spectral_norm), CASE(l2_normalise), CASE(channel_norm), CASE(max_pool), CASE(avg_pool),
	CASE(avg_pool_inside), CASE(avg_pool_adaptive), CASE(nearest), CASE(bilinear),
	CASE(bilinear_corners), CASE(warp), CASE(grid_zeros), CASE(grid_border), CASE(correlation),
	CASE(rgb_to_lab), CASE(rgb_to_lab_dark), CASE(lab_to_rgb), CASE(annealed_mean), CASE(lstm),
	CASE(self_attention),
#undef CASE
};

static void test_derivatives(void)
{
	for (size_t i = 0; i < KC_COUNT(cases); i++)
		check_case(&cases[i], 1 + i);
}

/* ---- shapes that do not fit ---- */

static void refuse(struct kc_graph *g, const char *text)
{
	KC_CHECK_ERR(kc_graph_status(g), KC_ESHAPE, text);
	kc_graph_free(g);
}

#define VALUE(g, ...) kc_input((g), "x", KC_TYPE(KC_REAL, __VA_ARGS__))

static void test_refusals(void)
{
	const struct kc_conv_attr plain = {.nd = 2}, grouped = {.nd = 2, .groups = 2};
	struct kc_graph *g = kc_graph_new(&kc_layers);

	kc_conv_op(g, VALUE(g, 1, 3, 8, 8), VALUE(g, 4, 2, 3, 3), NULL, &plain);
	refuse(g, "conv: channels of input and weight differ: 1x3x8x8 and 4x2x3x3");
	g = kc_graph_new(&kc_layers);
	kc_conv_op(g, VALUE(g, 1, 4, 8, 8), VALUE(g, 3, 2, 3, 3), NULL, &grouped);
	refuse(g, "channels of input and weight differ");
	g = kc_graph_new(&kc_layers);
	kc_conv_op(g, VALUE(g, 1, 3, 2, 8), VALUE(g, 4, 3, 3, 3), NULL, &plain);
	refuse(g, "input smaller than the kernel");
	g = kc_graph_new(&kc_layers);
	kc_conv_op(g, VALUE(g, 1, 3, 8, 8), VALUE(g, 4, 3, 3, 3), VALUE(g, 3), &plain);
	refuse(g, "bias does not fit");
	g = kc_graph_new(&kc_layers);
	kc_matmul(g, VALUE(g, 2, 3), VALUE(g, 2, 3));
	refuse(g, "matmul: 2x3 times 2x3");
	g = kc_graph_new(&kc_layers);
	kc_warp(g, VALUE(g, 1, 3, 8, 8), VALUE(g, 1, 3, 8, 8));
	refuse(g, "positions 1x3x8x8");
	g = kc_graph_new(&kc_layers);
	kc_max_pool(g, VALUE(g, 1, 3, 8, 8), .k = 2, .pad = 2);
	refuse(g, "with window 2, pad 2");
	g = kc_graph_new(&kc_layers);
	kc_resize_bilinear(g, VALUE(g, 1, 3, 8, 8), 0, 4, false);
	refuse(g, "cannot become 0x4");
}

/* ---- parameters and statistics ---- */

static struct kc_model model_new(bool train)
{
	struct kc_model m = {.g = kc_graph_new(&kc_layers), .params = kc_params_new(KC_F64),
			     .train = train};

	KC_ASSERT(m.g && m.params);
	return m;
}

static void model_free(struct kc_model *m)
{
	kc_model_release(m);
	kc_graph_free(m->g);
	kc_params_free(m->params);
}

/* Two calls of one batch norm in a graph: the second update starts from the first. */
static void test_statistics(void)
{
	struct kc_model m = model_new(true);
	struct kc_type t = KC_TYPE(KC_REAL, 1, 1, 1, 2);
	struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_device device;
	struct kc_plan *p = NULL;
	struct kc_tensor *fetch[3];

	kc_batch_norm(&m, "bn", kc_fill(m.g, 2, t));
	kc_batch_norm(&m, "bn", kc_fill(m.g, 5, t));
	KC_CHECK(m.n_updates == 3);
	kc_device_reference(&device);
	if (KC_CHECK_OK(kc_graph_status(m.g)) &&
	    KC_CHECK_OK(kc_params_alloc(m.params, false, false))) {
		for (int i = 0; i < 3; i++)
			fetch[i] = m.updates[i].value;
		if (KC_CHECK_OK(kc_plan_build(&p, m.g, &device, fetch, 3, &opts)) &&
		    KC_CHECK_OK(kc_plan_run(p))) {
			KC_CHECK(!strcmp(m.updates[0].param->name, "bn.running_mean"));
			KC_CHECK(fabs(kc_plan_scalar(p, fetch[0]) - (0.9 * 0.2 + 0.5)) < 1e-12);
			KC_CHECK(kc_plan_scalar(p, fetch[1]) == 0);
			KC_CHECK(kc_plan_scalar(p, fetch[2]) == 2);
		}
	}
	kc_plan_free(p);
	kc_device_release(&device);
	model_free(&m);
}

static void check_parameter(const struct kc_model *m, const char *name, const char *dims,
			    int64_t fan, bool trainable)
{
	const struct kc_param *p = kc_params_find(m->params, name);
	char text[96];

	KC_CHECK(p != NULL);
	if (!p)
		return;
	KC_CHECK(!strcmp(kc_dims_text(&p->type, text), dims));
	KC_CHECK(p->fan == fan && p->trainable == trainable);
}

static void test_parameters(void)
{
	struct kc_model m = model_new(true);
	struct kc_tensor *x = kc_input(m.g, "x", KC_TYPE(KC_REAL, 1, 4, 8, 8));

	x = kc_conv(&m, "a", x, .out = 6, .k = 5, .groups = 2, .act = KC_RELU);
	KC_CHECK(x->type.dim[1] == 6 && x->type.dim[2] == 8);
	m.frozen = true;
	x = kc_deconv(&m, "b", x, .out = 3, .no_bias = true);
	KC_CHECK(x->type.dim[1] == 3 && x->type.dim[2] == 16);
	m.frozen = false;
	x = kc_conv(&m, "c", x, .out = 2, .k = 4, .stride = 2, .pad = 1, .spectral = true);
	KC_CHECK(x->type.dim[2] == 8 && m.n_updates == 2);
	KC_CHECK_OK(kc_graph_status(m.g));
	check_parameter(&m, "a.weight", "6x2x5x5", 50, true);
	check_parameter(&m, "a.bias", "6", 50, true);
	check_parameter(&m, "b.weight", "6x3x4x4", 24, false);
	KC_CHECK(!kc_params_find(m.params, "b.bias"));
	check_parameter(&m, "c.weight_orig", "2x3x4x4", 48, true);
	check_parameter(&m, "c.weight_u", "2", 0, false);
	check_parameter(&m, "c.weight_v", "48", 0, false);
	model_free(&m);
}

const struct kc_test kc_tests_layers[] = {
	{"first and second derivatives equal finite differences", test_derivatives},
	{"shapes that do not fit are refused by name", test_refusals},
	{"running statistics chain over calls", test_statistics},
	{"layers make the checkpoints' parameters", test_parameters},
	{0}
};
