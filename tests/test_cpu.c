/* The device "cpu" against the reference kernels, operator by operator. */
#include "core/plan.h"
#include "layers/cpu/cpu.h"
#include "layers/layers.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

enum { FEEDS = 12, FETCHES = 8 };

/* A small graph with its random inputs. */
struct fixture {
	struct kc_graph *g;
	struct feed { struct kc_tensor *input; double *data; } feed[FEEDS];
	int n_feed;
	struct kc_tensor *fetch[FETCHES];
	int n_fetch;
	uint64_t seed;
};

static void fixture_init(struct fixture *f, uint64_t seed)
{
	memset(f, 0, sizeof *f);
	f->g = kc_graph_new(&kc_layers);
	f->seed = seed;
	KC_ASSERT(f->g);
}

static void fixture_release(struct fixture *f)
{
	for (int i = 0; i < f->n_feed; i++)
		free(f->feed[i].data);
	kc_graph_free(f->g);
}

/* A new input whose elements are uniform in [low, high]. */
static struct kc_tensor *uniform(struct fixture *f, double low, double high, struct kc_type t)
{
	char name[16];
	struct feed *feed = &f->feed[f->n_feed];
	int64_t n = kc_numel(&t);

	snprintf(name, sizeof name, "in%d", f->n_feed++);
	feed->input = kc_input(f->g, name, t);
	feed->data = kc_alloc((size_t)n * sizeof(double));
	KC_ASSERT(feed->data);
	for (int64_t i = 0; i < n; i++) {
		uint64_t x = (f->seed++ + 1) * 0x9e3779b97f4a7c15u;

		x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
		x = (x ^ x >> 27) * 0x94d049bb133111ebu;
		feed->data[i] = (float)(low + (high - low) * (double)(x >> 40) / 16777216.0);
	}
	return feed->input;
}

static void fetch(struct fixture *f, struct kc_tensor *t)
{
	f->fetch[f->n_fetch++] = t;
}

static struct kc_tensor *fetch_of(const struct fixture *f, int i)
{
	return f->fetch[i];
}

static struct kc_buf doubles(double *data, const struct kc_tensor *t)
{
	struct kc_type type = t->type;

	type.dtype = KC_F64;
	return kc_buf_of(data, &type, KC_PLAIN);
}

static void run_plan(struct fixture *f, struct kc_device *d, bool low, double **out)
{
	struct kc_plan_opts opts = {.real = KC_F32, .low = low};
	struct kc_plan *p = NULL;

	if (!KC_CHECK_OK(kc_plan_build(&p, f->g, d, f->fetch, f->n_fetch, &opts)))
		return;
	for (int i = 0; i < f->n_feed; i++) {
		struct kc_buf b = doubles(f->feed[i].data, f->feed[i].input);

		KC_CHECK_OK(kc_plan_feed(p, f->feed[i].input, &b));
	}
	KC_CHECK_OK(kc_plan_run(p));
	for (int i = 0; i < f->n_fetch; i++) {
		struct kc_buf b = doubles(out[i], f->fetch[i]);

		KC_CHECK_OK(kc_plan_read(p, f->fetch[i], &b));
	}
	kc_plan_free(p);
}

static int threads = 2;

static void run(struct fixture *f, const char *device, bool low, double **out)
{
	struct kc_device d;

	for (int i = 0; i < f->n_fetch; i++) {
		out[i] = kc_calloc((size_t)kc_numel(&f->fetch[i]->type), sizeof(double));
		KC_ASSERT(out[i]);
	}
	if (strcmp(device, "cpu"))
		kc_device_reference(&d);
	else
		KC_CHECK_OK(kc_device_cpu(&d, threads));
	run_plan(f, &d, low, out);
	kc_device_release(&d);
}

/* Root of the sum of squared differences over that of squares. */
static double distance(const double *a, const double *b, size_t n)
{
	double d = 0, s = 0;

	for (size_t i = 0; i < n; i++) {
		d += (a[i] - b[i]) * (a[i] - b[i]);
		s += b[i] * b[i];
	}
	return d == 0 ? 0 : sqrt(d / s);
}

/* The fetched values on the device against the reference: relative distance below the bound. */
static void compare(struct fixture *f, bool low, double bound)
{
	double *got[FETCHES], *want[FETCHES];
	char dims[96];

	run(f, "reference", false, want);
	run(f, "cpu", low, got);
	for (int i = 0; i < f->n_fetch; i++) {
		size_t n = (size_t)kc_numel(&f->fetch[i]->type);
		double d = distance(got[i], want[i], n);

		if (!(d <= bound))
			kc_test_fail(__FILE__, __LINE__, "%s %s of %s: distance %.3g, at most %.3g",
				     low ? "bf16" : "float32", f->fetch[i]->node->op->name,
				     kc_dims_text(&f->fetch[i]->type, dims), d, bound);
		free(got[i]);
		free(want[i]);
	}
}

static void both(struct fixture *f)
{
	compare(f, false, 1e-5);
	compare(f, true, 2e-2);
	fixture_release(f);
}

/* ---- convolution ---- */

struct conv_case { int64_t n, c, k, h, w, size, stride, pad, dilation, groups; };

static const struct conv_case convs[] = {
	{1, 3, 5, 9, 11, 3, 1, 1, 1, 1},
	{2, 16, 32, 13, 8, 3, 1, 1, 1, 1},
	{1, 35, 19, 10, 12, 3, 1, 1, 1, 1},
	{2, 6, 64, 17, 18, 7, 2, 3, 1, 1},
	{1, 64, 1, 9, 9, 3, 1, 1, 1, 1},
	{1, 128, 2, 7, 5, 1, 1, 0, 1, 1},
	{1, 12, 24, 11, 11, 3, 1, 2, 2, 1},
	{1, 12, 24, 11, 11, 3, 2, 1, 1, 4},
	{1, 8, 8, 12, 12, 4, 2, 1, 1, 1},
	{1, 2, 2, 6, 6, 4, 2, 1, 1, 1},
	{2, 20, 33, 10, 14, 4, 2, 1, 1, 1},
	{1, 196, 20, 6, 7, 3, 1, 1, 1, 1},
	{1, 20, 12, 8, 8, 5, 1, 0, 1, 1},
	{2, 35, 21, 9, 27, 3, 1, 1, 1, 1},
	{1, 16, 196, 5, 150, 3, 1, 1, 1, 1},
	{1, 80, 32, 6, 31, 1, 1, 0, 1, 1},
	{1, 17, 16, 8, 33, 5, 1, 2, 1, 1},
};

static struct kc_conv_attr conv_attr(const struct conv_case *c)
{
	return (struct kc_conv_attr){
		.nd = 2, .stride = {c->stride, c->stride}, .pad = {c->pad, c->pad},
		.dilation = {c->dilation, c->dilation}, .groups = c->groups};
}

/* y, gx, gw and the transposed convolution, with and without bias and activation. */
static void test_conv(void)
{
	for (size_t i = 0; i < KC_COUNT(convs); i++) {
		const struct conv_case *c = &convs[i];
		struct kc_conv_attr a = conv_attr(c);
		struct fixture f;
		struct kc_tensor *x, *w, *b, *b2, *y, *gy, *grad[2], *db, *db2;

		fixture_init(&f, i);
		x = uniform(&f, -1, 1, KC_TYPE(KC_REAL, c->n, c->c, c->h, c->w));
		w = uniform(&f, -1, 1, KC_TYPE(KC_REAL, c->k, c->c / c->groups, c->size, c->size));
		b = uniform(&f, -1, 1, KC_TYPE(KC_REAL, c->k));
		b2 = uniform(&f, -1, 1, KC_TYPE(KC_REAL, c->k));
		y = kc_conv_op(f.g, x, w, NULL, &a);
		gy = uniform(&f, -1, 1, y->type);
		fetch(&f, y);
		fetch(&f, kc_leaky(f.g, kc_conv_op(f.g, x, w, b, &a), 0.1));
		fetch(&f, kc_tanh(f.g, kc_conv_op(f.g, x, w, b2, &a)));
		KC_CHECK_OK(kc_grad(f.g, y, gy, (struct kc_tensor *[]){x, w}, 2, grad));
		fetch(&f, grad[0]);
		fetch(&f, grad[1]);
		db = uniform(&f, -1, 1, KC_TYPE(KC_REAL, c->c));
		db2 = uniform(&f, -1, 1, KC_TYPE(KC_REAL, c->c));
		fetch(&f, kc_deconv_op(f.g, gy, w, db, &a, (int64_t[2]){0, 0}));
		fetch(&f,
		      kc_leaky(f.g, kc_deconv_op(f.g, gy, w, db2, &a, (int64_t[2]){0, 0}), 0.1));
		both(&f);
	}
}

/* Sound and video: one and three dimensions. */
static void test_conv_1d_3d(void)
{
	static const struct kc_conv_attr line = {
		.nd = 1, .stride = {2}, .pad = {2}, .dilation = {1}, .groups = 1};
	static const struct kc_conv_attr video = {
		.nd = 3, .stride = {1, 2, 2}, .pad = {1, 2, 2}, .dilation = {1, 1, 1}, .groups = 1};

	for (int i = 0; i < 2; i++) {
		struct fixture f;
		struct kc_tensor *x, *w, *y, *gy, *grad[2];

		fixture_init(&f, (uint64_t)i);
		x = uniform(&f, -1, 1, i ? KC_TYPE(KC_REAL, 2, 20, 4, 9, 10) :
					   KC_TYPE(KC_REAL, 2, 20, 31));
		w = uniform(&f, -1, 1, i ? KC_TYPE(KC_REAL, 17, 20, 3, 5, 5) :
					   KC_TYPE(KC_REAL, 17, 20, 5));
		y = kc_conv_op(f.g, x, w, NULL, i ? &video : &line);
		gy = uniform(&f, -1, 1, y->type);
		fetch(&f, y);
		KC_CHECK_OK(kc_grad(f.g, y, gy, (struct kc_tensor *[]){x, w}, 2, grad));
		fetch(&f, grad[0]);
		fetch(&f, grad[1]);
		both(&f);
	}
}

/* Plain, transposed, batched; with a parameter, which stays float32 in bf16 plans. */
static void test_matmul(void)
{
	struct kc_params *store = kc_params_new(KC_F32);
	struct kc_param like = {
		.type = KC_TYPE(KC_F32, 24, 65), .kind = KC_PARAM_LINEAR, .fan = 65};
	struct kc_param *p = kc_params_get(store, "w", &like);

	KC_CHECK_OK(kc_params_alloc(store, false, false));
	for (size_t i = 0; i < store->count; i++)
		kc_params_put(store, store->master, i, sin((double)i));
	for (int k = 0; k < 4; k++) {
		bool ta = k & 1, tb = k & 2;
		struct fixture f;
		struct kc_tensor *a, *b, *c, *d, *x;

		fixture_init(&f, (uint64_t)k);
		a = uniform(&f, -1, 1, ta ? KC_TYPE(KC_REAL, 130, 70) : KC_TYPE(KC_REAL, 70, 130));
		b = uniform(&f, -1, 1, tb ? KC_TYPE(KC_REAL, 65, 130) : KC_TYPE(KC_REAL, 130, 65));
		c = uniform(&f, -1, 1,
			    ta ? KC_TYPE(KC_REAL, 3, 17, 9) : KC_TYPE(KC_REAL, 3, 9, 17));
		d = uniform(&f, -1, 1,
			    tb ? KC_TYPE(KC_REAL, 3, 21, 17) : KC_TYPE(KC_REAL, 3, 17, 21));
		x = uniform(&f, -1, 1, ta ? KC_TYPE(KC_REAL, 65, 200) : KC_TYPE(KC_REAL, 200, 65));
		fetch(&f, kc_matmul_t(f.g, a, b, ta, tb));
		fetch(&f, kc_matmul_t(f.g, c, d, ta, tb));
		fetch(&f, kc_matmul_t(f.g, x, kc_param_value(f.g, p), ta, true));
		both(&f);
	}
	kc_params_free(store);
}

/* ---- chains ---- */

#define T4(n, c, h, w) KC_TYPE(KC_REAL, n, c, h, w)

/* Every formula, far from its kinks and poles. */
static void test_formulas(void)
{
	for (int op = 0; op < KC_PW_COUNT; op++) {
		struct fixture f;
		struct kc_tensor *in[3];
		int n = kc_pw_ops[op].n_in_min;

		fixture_init(&f, (uint64_t)op);
		for (int i = 0; i < n; i++)
			in[i] = uniform(&f, 0.1, 3, T4(2, 5, 7, 9));
		fetch(&f, kc_apply(f.g, &kc_pw_ops[op], &(struct kc_pw_attr){1.25, 2.25}, in, n));
		compare(&f, false, 1e-6);
		fixture_release(&f);
	}
}

/* Infinities, NaN, zeros of both signs and the largest numbers give what the C library gives. */
static void test_special_values(void)
{
	static const double special[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0, 3e38, -3e38, 89, -89};
	static const int ops[] = {KC_PW_exp, KC_PW_log, KC_PW_tanh, KC_PW_sigmoid, KC_PW_softplus,
				  KC_PW_elu, KC_PW_relu, KC_PW_leaky, KC_PW_clamp, KC_PW_sqrt};

	for (size_t k = 0; k < KC_COUNT(ops); k++) {
		double *got[1], *want[1];
		struct fixture f;
		struct kc_tensor *x;

		fixture_init(&f, k);
		x = uniform(&f, 0, 1, KC_TYPE(KC_REAL, KC_COUNT(special)));
		memcpy(f.feed[0].data, special, sizeof special);
		fetch(&f, kc_pw1(f.g, (enum kc_pw)ops[k], 1, 2, x));
		run(&f, "reference", false, want);
		run(&f, "cpu", false, got);
		for (size_t i = 0; i < KC_COUNT(special); i++)
			KC_CHECK((isnan(want[0][i]) && isnan(got[0][i])) ||
				 got[0][i] == want[0][i] ||
				 fabs(got[0][i] - want[0][i]) <= 1e-6 * fabs(want[0][i]) + 1e-37);
		free(got[0]);
		free(want[0]);
		fixture_release(&f);
	}
}

/* Broadcasts of every kind, layouts that differ, several results, long and odd channels. */
static void test_chains(void)
{
	static const int64_t shape[][4] = {{2, 3, 5, 7},   {1, 196, 6, 5}, {1, 600, 3, 3},
					   {2, 2, 40, 60}, {1, 1, 9, 9},   {1, 64, 33, 31}};

	for (size_t i = 0; i < KC_COUNT(shape); i++) {
		int64_t n = shape[i][0], c = shape[i][1], h = shape[i][2], w = shape[i][3];
		struct fixture f;
		struct kc_tensor *x, *y, *v, *mask, *one, *a, *b;

		fixture_init(&f, i);
		x = uniform(&f, -2, 2, T4(n, c, h, w));
		y = uniform(&f, -2, 2, T4(n, c, h, w));
		v = uniform(&f, -1, 1, T4(1, c, 1, 1));
		mask = uniform(&f, -1, 1, T4(n, 1, h, w));
		one = uniform(&f, 1, 2, KC_TYPE(KC_REAL, 1));
		a = kc_pw3(f.g, KC_PW_blend, 0, 0, kc_sigmoid(f.g, mask), x, y);
		b = kc_leaky(f.g, kc_mul(f.g, kc_add(f.g, a, v), one), 0.1);
		fetch(&f, a);
		fetch(&f, b);
		fetch(&f, kc_tanh(f.g, kc_sub(f.g, b, kc_mul(f.g, kc_exp(f.g, v), x))));
		both(&f);
	}
}

static void test_bytes(void)
{
	struct fixture f;

	fixture_init(&f, 1);
	fetch(&f, kc_to_real(f.g, uniform(&f, 0, 255.9, KC_TYPE(KC_U8, 2, 3, 91, 77)), 1. / 255));
	compare(&f, false, 1e-7);
	fixture_release(&f);
}

/* A chain that overwrites its input and reads it twice. */
static void test_in_place(void)
{
	struct fixture f;
	struct kc_tensor *x, *s;

	fixture_init(&f, 1);
	x = uniform(&f, -2, 2, T4(1, 64, 40, 40));
	s = kc_scale(f.g,
		     kc_sum_to(f.g, x, &(struct kc_type){.ndim = 1, .dim = {1}, .dtype = KC_REAL}),
		     1e-3);
	x = kc_add(f.g, x, s);
	s = kc_sum(f.g, x);
	x = kc_mul(f.g, kc_tanh(f.g, x), kc_sub(f.g, x, s));
	fetch(&f, kc_sum_axis(f.g, x, 1));
	fetch(&f, kc_mul(f.g, kc_square(f.g, x), kc_sum(f.g, x)));
	compare(&f, false, 1e-5);
	fixture_release(&f);
}

/* ---- moving elements ---- */

static void test_shapes(void)
{
	struct fixture f;
	struct kc_tensor *x, *y, *z, *part[3];

	fixture_init(&f, 1);
	x = kc_scale(f.g, uniform(&f, -1, 1, T4(2, 6, 9, 11)), 2);
	y = uniform(&f, -1, 1, T4(2, 5, 9, 11));
	z = kc_scale(f.g, uniform(&f, -1, 1, T4(1, 6, 70, 50)), 2);
	fetch(&f, KC_CONCAT(f.g, 1, x, y, x));
	fetch(&f, kc_subsample(f.g, x, 2));
	fetch(&f, kc_slice(f.g, x, 1, 1, 4, 1));
	kc_split(f.g, x, 1, 3, part);
	fetch(&f, part[2]);
	fetch(&f, kc_flip(f.g, x, 3));
	fetch(&f, kc_permute(f.g, x, (int[]){2, 0, 3, 1}));
	fetch(&f, kc_reshape(f.g, x, 3, (int64_t[]){2, 6, 99}));
	fetch(&f, kc_permute(f.g, z, (int[]){0, 1, 3, 2}));
	both(&f);
	fixture_init(&f, 2);
	x = uniform(&f, -1, 1, T4(2, 8, 5, 6));
	y = kc_pixel_shuffle(f.g, x, 2);
	fetch(&f, y);
	fetch(&f, kc_unfold3x3(f.g, x));
	KC_CHECK_OK(kc_grad(f.g, y, uniform(&f, -1, 1, y->type), &x, 1, part));
	fetch(&f, part[0]);
	both(&f);
}

static void test_pads(void)
{
	static const int amount[][4] = {{1, 2, 3, 4}, {0, 1, 0, 0}, {2, 2, 2, 2}, {-1, 2, -2, 0}};

	for (int mode = KC_PAD_CONSTANT; mode <= KC_PAD_REPLICATE; mode++)
		for (size_t i = 0; i < KC_COUNT(amount) - (mode != KC_PAD_CONSTANT); i++) {
			const int *p = amount[i];
			struct fixture f;
			struct kc_tensor *x, *y, *gx;

			fixture_init(&f, i);
			x = uniform(&f, -1, 1, T4(2, 5, 7, 6));
			y = kc_pad(f.g, x, (enum kc_pad_mode)mode, p[0], p[1], p[2], p[3]);
			fetch(&f, y);
			KC_CHECK_OK(kc_grad(f.g, y, uniform(&f, -1, 1, y->type), &x, 1, &gx));
			fetch(&f, gx);
			both(&f);
		}
}

/* ---- sums ---- */

static void test_sums(void)
{
	static const int64_t shape[][4] = {{2, 3, 5, 7},   {1, 196, 40, 50}, {3, 600, 3, 3},
					   {2, 1, 40, 60}, {1, 64, 1, 1},    {1, 1, 1, 2}};

	for (size_t i = 0; i < KC_COUNT(shape); i++) {
		int64_t n = shape[i][0], c = shape[i][1], h = shape[i][2], w = shape[i][3];
		const struct kc_type to[] = {T4(1, c, 1, 1),	 T4(n, c, 1, 1),
					     T4(n, 1, h, w),	 T4(1, 1, h, 1),
					     T4(n, 1, 1, 1),	 KC_TYPE(KC_REAL, c, 1, 1),
					     KC_TYPE(KC_REAL, 1)};
		struct fixture f;
		struct kc_tensor *x;

		fixture_init(&f, i);
		x = uniform(&f, -1, 2, T4(n, c, h, w));
		for (size_t k = 0; k < KC_COUNT(to); k++)
			fetch(&f, kc_sum_to(f.g, x, &to[k]));
		compare(&f, false, 1e-6);
		compare(&f, true, 1e-6);
		fixture_release(&f);
		fixture_init(&f, i);
		x = uniform(&f, -1, 2, KC_TYPE(KC_REAL, n, c, h * w));
		fetch(&f, kc_sum_axis(f.g, x, 1));
		fetch(&f, kc_sum_axis(f.g, kc_permute(f.g, x, (int[]){1, 2, 0}), 0));
		fetch(&f, kc_global_norm(f.g, (struct kc_tensor *[]){x, fetch_of(&f, 0)}, 2));
		fetch(&f, kc_all_finite(f.g, &x, 1));
		fetch(&f, kc_all_finite(f.g,
					(struct kc_tensor *[]){x, kc_pw1(f.g, KC_PW_recip, 0, 0,
									 kc_sub(f.g, x, x))},
					2));
		compare(&f, false, 1e-6);
		fixture_release(&f);
	}
}

/* ---- images ---- */

/* Values and the gradients of what has one. */
static void with_gradient(struct fixture *f, struct kc_tensor *y, struct kc_tensor *x)
{
	struct kc_tensor *gx;

	fetch(f, y);
	KC_CHECK_OK(kc_grad(f->g, y, uniform(f, -1, 1, y->type), &x, 1, &gx));
	fetch(f, gx);
}

static void test_warp(void)
{
	static const int64_t channels[] = {1, 2, 3, 40, 128};

	for (size_t i = 0; i < KC_COUNT(channels); i++) {
		struct fixture f;
		struct kc_tensor *x, *flow, *at;

		fixture_init(&f, i);
		x = kc_scale(f.g, uniform(&f, -1, 1, T4(2, channels[i], 13, 17)), 1.5);
		flow = uniform(&f, -6, 6, T4(2, 2, 13, 17));
		at = uniform(&f, -1.3, 1.3, KC_TYPE(KC_REAL, 2, 5, 6, 2));
		with_gradient(&f, kc_warp(f.g, x, flow), x);
		with_gradient(&f, kc_warp(f.g, x, flow), flow);
		with_gradient(&f, kc_grid_sample(f.g, x, at, false), x);
		both(&f);
	}
}

static void test_resize(void)
{
	for (int i = 0; i < 3; i++) {
		struct fixture f;
		struct kc_tensor *x;

		fixture_init(&f, (uint64_t)i);
		x = kc_scale(f.g, uniform(&f, -1, 1, T4(2, i ? 37 * i : 2, 10, 12)), 1.5);
		with_gradient(&f, kc_resize_bilinear(f.g, x, 20, 48, i == 1), x);
		with_gradient(&f, kc_resize_bilinear(f.g, x, 7, 5, false), x);
		with_gradient(&f, kc_resize_nearest(f.g, x, 40, 13), x);
		with_gradient(&f, kc_avg_pool(f.g, x, .k = 2), x);
		both(&f);
	}
}

static void test_images(void)
{
	static const int64_t channels[] = {2, 3, 300};

	for (size_t i = 0; i < KC_COUNT(channels); i++) {
		int64_t n = channels[i];
		struct fixture f;
		struct kc_tensor *x, *y;

		fixture_init(&f, i);
		x = uniform(&f, -2, 2, T4(2, n, 9, 11));
		y = uniform(&f, -2, 2, T4(2, n, 9, 11));
		fetch(&f, kc_channel_norm(f.g, x));
		fetch(&f, kc_softmax(f.g, x, 1));
		fetch(&f, kc_log_softmax(f.g, x, 1));
		fetch(&f, kc_softmax(f.g, kc_reshape(f.g, x, 2, (int64_t[]){18, n * 11}), 1));
		fetch(&f, kc_correlation(f.g, x, y, 4, 2));
		fetch(&f, kc_correlation(f.g, x, y, 3, 1));
		both(&f);
		fixture_init(&f, i);
		x = uniform(&f, -2, 2, T4(2, n, 9, 11));
		with_gradient(&f, kc_max_pool(f.g, x, .k = 2), x);
		with_gradient(&f, kc_max_pool(f.g, x, .k = 3, .stride = 2, .pad = 1), x);
		compare(&f, false, 1e-6);
		fixture_release(&f);
	}
	{
		struct fixture f;
		struct kc_tensor *x, *y;

		fixture_init(&f, 9);
		x = uniform(&f, -2, 2, T4(1, 64, 24, 50));
		y = uniform(&f, -2, 2, T4(1, 64, 24, 50));
		fetch(&f, kc_correlation(f.g, x, y, 20, 2));
		both(&f);
	}
}

/* ---- all levels, and equal bits ---- */

static void test_levels(void)
{
	for (int level = KC_ISA_V2; level <= kc_cpu_isa_best(); level++) {
		kc_cpu_isa_set(level);
		test_conv();
		test_formulas();
		test_chains();
		test_sums();
		test_warp();
		test_images();
	}
	kc_cpu_isa_set(kc_cpu_isa_best());
}

/* More threads than rows, channels, images or processors. */
static void test_many_threads(void)
{
	threads = 19;
	test_conv();
	test_chains();
	test_shapes();
	test_sums();
	test_warp();
	test_images();
	threads = 2;
}

/* The same plan run twice, and built anew, gives the same bits. */
static void test_repeat(void)
{
	struct kc_conv_attr a = {
		.nd = 2, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1};
	struct fixture f;
	struct kc_tensor *x, *w, *y, *grad[2];
	double *first[FETCHES], *again[FETCHES];

	fixture_init(&f, 5);
	x = uniform(&f, -1, 1, T4(1, 40, 61, 47));
	w = uniform(&f, -1, 1, T4(33, 40, 3, 3));
	y = kc_leaky(f.g, kc_conv_op(f.g, x, w, NULL, &a), 0.1);
	y = kc_sum(f.g, kc_square(f.g, kc_warp(f.g, y, uniform(&f, -3, 3, T4(1, 2, 61, 47)))));
	fetch(&f, y);
	KC_CHECK_OK(kc_grad(f.g, y, NULL, (struct kc_tensor *[]){x, w}, 2, grad));
	fetch(&f, grad[0]);
	fetch(&f, grad[1]);
	for (int low = 0; low < 2; low++) {
		run(&f, "cpu", low, first);
		run(&f, "cpu", low, again);
		for (int i = 0; i < f.n_fetch; i++) {
			size_t bytes = (size_t)kc_numel(&f.fetch[i]->type) * sizeof(double);

			KC_CHECK(!memcmp(first[i], again[i], bytes));
			free(first[i]);
			free(again[i]);
		}
	}
	fixture_release(&f);
}

static void test_peak(void)
{
	struct kc_device d;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	KC_CHECK(kc_cpu_peak(false) > 1e9);
	KC_CHECK(strstr(kc_cpu_describe(), "oneDNN"));
	kc_device_release(&d);
}

const struct kc_test kc_tests_cpu[] = {
	{"convolutions equal the reference", test_conv},
	{"convolutions in one and three dimensions", test_conv_1d_3d},
	{"matrix products equal the reference", test_matmul},
	{"formulas equal the reference", test_formulas},
	{"special values give what the C library gives", test_special_values},
	{"chains with broadcasts equal the reference", test_chains},
	{"bytes become the same real numbers", test_bytes},
	{"a chain may overwrite its input", test_in_place},
	{"moved elements equal the reference", test_shapes},
	{"padding equals the reference", test_pads},
	{"sums equal the reference", test_sums},
	{"warping equals the reference", test_warp},
	{"resizing equals the reference", test_resize},
	{"pooling, softmax, norms and correlation equal the reference", test_images},
	{"every instruction set level equals the reference", test_levels},
	{"any number of threads equals the reference", test_many_threads},
	{"the same plan gives the same bits", test_repeat},
	{"the peak is measured", test_peak},
	{0}};
