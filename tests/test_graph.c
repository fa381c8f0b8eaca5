/* The graph, gradients as graph, and plans, apart from what single operators do. */
#include "core/plan.h"
#include "layers/layers.h"
#include "layers/ops.h"
#include "layers/optim.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)

static struct kc_graph *new_graph(void)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);

	KC_ASSERT(g);
	return g;
}

static int count_op(const struct kc_graph *g, const struct kc_op *op)
{
	int n = 0;

	for (int i = 0; i < kc_graph_size(g); i++)
		n += kc_graph_node(g, i)->op == op;
	return n;
}

/* ---- nodes ---- */

static void test_equal_nodes(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(2, 3)), *y = kc_input(g, "y", REAL(2, 3));
	struct kc_conv_attr a = {
		.nd = 1, .stride = {1}, .pad = {1}, .dilation = {1}, .groups = 1};
	struct kc_tensor *image = kc_input(g, "i", REAL(1, 2, 5)), *w = kc_input(g, "w", REAL(2, 2,
											      3));

	KC_CHECK(kc_add(g, x, y) == kc_add(g, x, y));
	KC_CHECK(kc_add(g, x, y) != kc_add(g, y, x));
	KC_CHECK(kc_scale(g, x, 2) == kc_scale(g, x, 2));
	KC_CHECK(kc_scale(g, x, 2) != kc_scale(g, x, 3));
	KC_CHECK(kc_conv_op(g, image, w, NULL, &a) == kc_conv_op(g, image, w, NULL, &a));
	KC_CHECK(kc_fill(g, 1, REAL(4)) == kc_fill(g, 1, REAL(4)));
	KC_CHECK(kc_fill(g, 1, REAL(4)) != kc_fill(g, 1, REAL(5)));
	KC_CHECK(kc_input(g, "x", REAL(2, 3)) != x);
	kc_graph_free(g);
}

static void test_forget(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(2, 3)), *old = kc_scale(g, x, 2), *new;
	int before = kc_graph_size(g);

	new = kc_scale(g, x, 3);
	kc_graph_forget(g, before);
	KC_CHECK(kc_scale(g, x, 2) == old && kc_scale(g, x, 3) != new);
	KC_CHECK(kc_graph_node(g, new->node->id) == new->node);
	kc_graph_free(g);
}

/* A model that is called twice on the same frame costs nothing the second time. */
static void test_common_subexpressions(void)
{
	struct kc_graph *g = new_graph();
	struct kc_model m = {.g = g, .params = kc_params_new(KC_F32)};
	struct kc_tensor *x = kc_input(g, "x", REAL(1, 3, 8, 8)), *y[2];
	int size[2];

	for (int i = 0; i < 2; i++) {
		y[i] = kc_conv(&m, "a", x, .out = 4, .act = KC_RELU);
		y[i] = kc_batch_norm(&m, "b", y[i]);
		y[i] = kc_deconv(&m, "c", y[i], .out = 2);
		size[i] = kc_graph_size(g);
	}
	KC_CHECK_OK(kc_graph_status(g));
	KC_CHECK(y[0] == y[1] && size[0] == size[1]);
	kc_model_release(&m);
	kc_params_free(m.params);
	kc_graph_free(g);
}

static void test_state_stays(void)
{
	struct kc_graph *g = new_graph();
	struct kc_params *params = kc_params_new(KC_F32);
	struct kc_param *p = kc_params_get(params, "p", &(struct kc_param){
		.type = REAL(3), .kind = KC_PARAM_NORM_MEAN, .stride = 1, .statistic = true});
	struct kc_tensor *x = kc_input(g, "x", REAL(3));

	KC_CHECK(kc_assign(g, p, x, NULL) != kc_assign(g, p, x, NULL));
	KC_CHECK(kc_param_value(g, p) == kc_param_value(g, p));
	kc_params_free(params);
	kc_graph_free(g);
}

static void test_scopes(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(3)), *y = NULL, *gx;
	size_t old;

	KC_SCOPE(g, "outer") {
		KC_CHECK(!strcmp(kc_scope_path(g, "w"), "outer.w"));
		old = kc_scope_push(g, "inner");
		y = kc_square(g, x);
		kc_scope_pop(g, old);
		KC_CHECK(!strcmp(kc_scope_path(g, "w"), "outer.w"));
	}
	KC_CHECK(!strcmp(kc_scope_path(g, "w"), "w"));
	KC_CHECK(!strcmp(y->node->path, "outer.inner") && !y->node->backward);
	KC_CHECK_OK(kc_grad(g, y, NULL, &x, 1, &gx));
	KC_CHECK(!strcmp(gx->node->path, "outer.inner") && gx->node->backward);
	KC_CHECK(!kc_scale(g, x, 7)->node->backward);
	kc_graph_free(g);
}

/* ---- errors ---- */

static void test_sticky_errors(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(2, 3)), *y = NULL, *gx;
	struct kc_device device;
	struct kc_plan_opts opts = {0};
	struct kc_plan *plan = NULL;
	int size;

	KC_SCOPE(g, "enc.conv1")
		y = kc_add(g, x, kc_input(g, "z", REAL(2, 4)));
	KC_CHECK(kc_is_poison(y));
	KC_CHECK_ERR(kc_graph_status(g), KC_ESHAPE, "enc.conv1");
	KC_CHECK_ERR(kc_graph_status(g), KC_ESHAPE, "2x3");
	KC_CHECK_ERR(kc_graph_status(g), KC_ESHAPE, "2x4");
	size = kc_graph_size(g);
	y = kc_mul(g, kc_exp(g, y), x);
	y = kc_sum(g, KC_CONCAT(g, 1, y, x));
	KC_CHECK(kc_is_poison(y) && kc_is_poison(kc_output(y, 1)) && kc_graph_size(g) == size);
	kc_graph_fail(g, "a later error");
	KC_CHECK_ERR(kc_grad(g, y, NULL, &x, 1, &gx), KC_ESHAPE, "enc.conv1");
	kc_device_reference(&device);
	KC_CHECK_ERR(kc_plan_build(&plan, g, &device, &y, 1, &opts), KC_ESHAPE, "enc.conv1");
	KC_CHECK(!plan);
	kc_device_release(&device);
	kc_graph_free(g);
}

/* Whole networks of layers go on after an error without a crash. */
static void test_errors_in_models(void)
{
	struct kc_graph *g = new_graph();
	struct kc_model m = {.g = g, .params = kc_params_new(KC_F32), .train = true};
	struct kc_tensor *x = kc_input(g, "x", REAL(1, 3, 2, 2)), *part[2];

	x = kc_conv(&m, "first", x, .out = 4, .k = 5, .pad = KC_NO_PAD);
	KC_CHECK(kc_is_poison(x));
	x = kc_batch_norm(&m, "bn", x);
	x = kc_deconv(&m, "up", x, .out = 4);
	x = kc_instance_norm(g, x, NULL, NULL);
	x = kc_max_pool(g, x, .k = 2);
	x = kc_resize_bilinear(g, x, 4, 4, false);
	kc_split(g, x, 1, 2, part);
	x = kc_warp(g, part[0], part[1]);
	x = kc_softmax(g, kc_mean_axis(g, kc_subsample(g, x, 2), 1), 1);
	x = kc_correlation(g, x, kc_channel_norm(g, x), 4, 1);
	x = kc_rgb_to_lab(g, kc_flip(g, kc_permute(g, x, (int[]){0, 1, 2, 3}), 1));
	KC_CHECK(kc_is_poison(kc_mean(g, kc_linear(&m, "head", x, 3))));
	KC_CHECK_ERR(kc_graph_status(g), KC_ESHAPE, "first");
	kc_model_release(&m);
	kc_params_free(m.params);
	kc_graph_free(g);
}

/* ---- gradients ---- */

/* Runs n values of 4 elements for x = 0.5, -1, 2, 3. */
static void run4(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *const *fetch, int n,
		 double out[][4])
{
	static double at[4] = {0.5, -1, 2, 3};
	struct kc_plan_opts opts = {.real = KC_F64};
	struct test_feed feed = {x, at};
	struct kc_device device;
	double *to[8];

	for (int i = 0; i < n; i++)
		to[i] = out[i];
	kc_device_reference(&device);
	KC_CHECK_OK(test_run(g, &device, &opts, &feed, 1, fetch, n, to));
	kc_device_release(&device);
}

static void test_gradient_of_gradient(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(4)), *d[5];
	double v[5][4];

	d[0] = kc_mul(g, kc_square(g, kc_square(g, x)), x);     /* x^5 */
	for (int i = 1; i < 5; i++)
		KC_CHECK_OK(kc_grad(g, d[i - 1], NULL, &x, 1, &d[i]));
	run4(g, x, d, 5, v);
	for (int i = 0; i < 4; i++) {
		double at = (double[]){0.5, -1, 2, 3}[i];

		KC_CHECK(fabs(v[1][i] - 5 * pow(at, 4)) < 1e-9);
		KC_CHECK(fabs(v[2][i] - 20 * pow(at, 3)) < 1e-9);
		KC_CHECK(fabs(v[3][i] - 60 * at * at) < 1e-9);
		KC_CHECK(fabs(v[4][i] - 120 * at) < 1e-9);
	}
	kc_graph_free(g);
}

static void test_same_input_twice(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(4)), *y[3], *d[3];
	double v[3][4];

	y[0] = kc_mul(g, x, x);
	y[1] = kc_add(g, x, x);
	y[2] = KC_CONCAT(g, 0, x, kc_scale(g, x, 3), x);
	for (int i = 0; i < 3; i++)
		KC_CHECK_OK(kc_grad(g, y[i], NULL, &x, 1, &d[i]));
	run4(g, x, d, 3, v);
	KC_CHECK(v[0][0] == 1 && v[0][1] == -2 && v[0][3] == 6);
	KC_CHECK(v[1][0] == 2 && v[1][3] == 2);
	KC_CHECK(v[2][0] == 5 && v[2][3] == 5);
	kc_graph_free(g);
}

static void test_what_is_asked_for(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(4)), *other = kc_input(g, "o", REAL(2, 3));
	struct kc_tensor *mid = kc_square(g, x), *y = kc_mul(g, mid, kc_stop(g, x));
	struct kc_tensor *wrt[5] = {x, mid, y, other, x}, *d[5];
	double v[5][4];

	KC_CHECK_OK(kc_grad(g, y, NULL, wrt, 5, d));
	KC_CHECK(d[0] == d[4]);
	KC_CHECK(kc_same_dims(&d[3]->type, &other->type) && d[3]->node->op == &kc_op_fill);
	d[3] = kc_reshape(g, kc_slice(g, d[3], 0, 0, 2, 1), 1, (int64_t[]){6});
	d[3] = kc_slice(g, d[3], 0, 0, 4, 1);
	run4(g, x, d, 5, v);
	KC_CHECK(v[0][1] == 2 && v[0][2] == 8);         /* 2 x stop(x) */
	KC_CHECK(v[1][1] == -1 && v[1][3] == 3);
	KC_CHECK(v[2][0] == 1 && v[3][0] == 0);
	kc_graph_free(g);
}

/* Frozen weights cost no weight gradients, and a stopped path costs nothing at all. */
static void test_no_needless_nodes(void)
{
	struct kc_graph *g = new_graph();
	struct kc_model m = {.g = g, .params = kc_params_new(KC_F32)};
	struct kc_tensor *x = kc_input(g, "x", REAL(1, 3, 8, 8)), *y, *d;
	int before;

	y = kc_conv(&m, "b", kc_conv(&m, "a", x, .out = 4, .act = KC_LEAKY, .slope = 0.1f),
		    .out = 2);
	KC_CHECK_OK(kc_grad(g, y, NULL, &x, 1, &d));
	KC_CHECK(count_op(g, &kc_op_conv_wgrad) == 0 && count_op(g, &kc_op_conv_dgrad) == 2);
	y = kc_conv(&m, "c", kc_stop(g, y), .out = 1);
	before = count_op(g, &kc_op_conv_dgrad);
	KC_CHECK_OK(kc_grad(g, y, NULL, &x, 1, &d));
	KC_CHECK(count_op(g, &kc_op_conv_dgrad) == before && d->node->op == &kc_op_fill);
	kc_model_release(&m);
	kc_params_free(m.params);
	kc_graph_free(g);
}

/* ---- an operator that is defined by simpler ones ---- */

static int infer_pair(struct kc_infer *f)
{
	f->out[0] = f->out[1] = f->in[0]->type;
	f->n_out = 2;
	return 0;
}

/* a b + b^2 and a^2 */
static void expand_pair(struct kc_graph *g, const struct kc_node *node, struct kc_tensor *const *in,
			struct kc_tensor **out)
{
	(void)node;
	out[0] = kc_add(g, kc_mul(g, in[0], in[1]), kc_square(g, in[1]));
	out[1] = kc_square(g, in[0]);
}

static void ref_pair(const struct kc_call *c)
{
	for (int64_t i = 0; i < kc_numel(&c->out[0].type); i++) {
		double a = kc_get(&c->in[0], i * c->in[0].stride[0]);
		double b = kc_get(&c->in[1], i * c->in[1].stride[0]);

		kc_put(&c->out[0], i * c->out[0].stride[0], a * b + b * b);
		kc_put(&c->out[1], i * c->out[1].stride[0], a * a);
	}
}

static const struct kc_op pair_op = {
	.name = "pair", .n_in_min = 2, .n_in_max = 2, .infer = infer_pair, .expand = expand_pair,
	.ref = ref_pair,
};

static struct kc_tensor *pair(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_apply(g, &pair_op, NULL, (struct kc_tensor *[]){a, b}, 2);
}

static void test_definition(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(4)), *b = kc_shift(g, x, 1), *y, *d[5], *ys[2];
	double v[5][4];

	y = pair(g, x, x);                              /* x^2 + x^2, x^2 */
	KC_CHECK_OK(kc_grad(g, y, NULL, &x, 1, &d[0]));
	KC_CHECK_OK(kc_grad(g, kc_output(y, 1), NULL, &x, 1, &d[1]));
	ys[0] = y;
	ys[1] = kc_output(y, 1);
	KC_CHECK_OK(kc_grad_many(g, ys, NULL, 2, &x, 1, &d[2]));
	/* b was computed from x: the definition is left at b, and x gets both parts. */
	KC_CHECK_OK(kc_grad(g, pair(g, x, b), NULL, &x, 1, &d[3]));
	KC_CHECK_OK(kc_grad(g, d[3], NULL, &x, 1, &d[4]));
	run4(g, x, d, 5, v);
	for (int i = 0; i < 4; i++) {
		double at = (double[]){0.5, -1, 2, 3}[i];

		KC_CHECK(fabs(v[0][i] - 4 * at) < 1e-12);
		KC_CHECK(fabs(v[1][i] - 2 * at) < 1e-12);
		KC_CHECK(fabs(v[2][i] - 6 * at) < 1e-12);
		/* x (x + 1) + (x + 1)^2 = 2 x^2 + 3 x + 1 */
		KC_CHECK(fabs(v[3][i] - (4 * at + 3)) < 1e-12);
		KC_CHECK(fabs(v[4][i] - 4) < 1e-12);
	}
	kc_graph_free(g);
}

/* ---- plans ---- */

static void test_fetches(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(4)), *y = kc_square(g, x);
	struct kc_tensor *fetch[5] = {x, y, y, kc_fill(g, 7, REAL(4)), kc_stop(g, y)};
	double v[5][4];

	run4(g, x, fetch, 5, v);
	KC_CHECK(v[0][1] == -1 && v[1][2] == 4 && v[2][3] == 9 && v[3][0] == 7 && v[4][3] == 9);
	kc_graph_free(g);
}

static void test_feeds(void)
{
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(4)), *unused = kc_input(g, "u", REAL(2));
	struct kc_tensor *y = kc_square(g, x);
	struct kc_plan_opts opts = {0};
	struct kc_device device;
	struct kc_plan *plan = NULL;
	float small[2] = {1, 2}, full[4] = {1, 2, 3, 4};
	struct kc_type t2 = REAL(2), t4 = REAL(4);
	struct kc_buf b2 = kc_buf_of(small, &t2, KC_PLAIN), b4 = kc_buf_of(full, &t4, KC_PLAIN);

	kc_device_reference(&device);
	if (KC_CHECK_OK(kc_plan_build(&plan, g, &device, &y, 1, &opts))) {
		KC_CHECK_OK(kc_plan_feed(plan, unused, &b2));
		KC_CHECK_ERR(kc_plan_feed(plan, x, &b2), KC_ESHAPE, "x");
		KC_CHECK_OK(kc_plan_feed(plan, x, &b4));
		KC_CHECK_OK(kc_plan_run(plan));
		KC_CHECK_OK(kc_plan_read(plan, y, &b4));
		KC_CHECK(full[3] == 16);
	}
	kc_plan_free(plan);
	kc_device_release(&device);
	kc_graph_free(g);
}

/* Values without elements, on the fast kernels and on the reference. */
static void test_empty_values(void)
{
	static const char *const names[] = {"reference", "cpu"};
	struct kc_graph *g = new_graph();
	struct kc_tensor *x = kc_input(g, "x", REAL(2, 0, 3, 4)), *y, *sum;
	struct kc_plan_opts opts = {0};
	double none = 0, out = 1, *to[2] = {&none, &out};
	struct test_feed feed = {x, &none};

	y = kc_reshape(g, kc_permute(g, x, (int[]){0, 2, 3, 1}), 3, (int64_t[]){2, 12, 0});
	y = kc_reshape(g, kc_flip(g, kc_square(g, y), 1), 2, (int64_t[]){0, 24});
	sum = kc_sum(g, KC_CONCAT(g, 0, y, y));
	for (size_t i = 0; i < KC_COUNT(names); i++) {
		struct kc_device device;

		if (!KC_CHECK_OK(test_device(names[i], &device)))
			continue;
		KC_CHECK_OK(test_run(g, &device, &opts, &feed, 1,
				     (struct kc_tensor *[]){y, sum}, 2, to));
		KC_CHECK(out == 0);
		kc_device_release(&device);
	}
	kc_graph_free(g);
}

/* ---- every allocation may fail ---- */

/* A training step of a small network: everything a graph and a plan are made of. */
static int train_once(struct kc_device *device)
{
	struct kc_optimizer_args args = {.kind = KC_ADAM, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
	struct kc_plan_opts opts = {.real = KC_F32};
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_model m = {.g = g, .params = kc_params_new(KC_F32), .train = true};
	struct kc_tensor *x, *y, *wrt[8], *grad[8], *fetch[3], *hyper;
	struct kc_param *params[8];
	struct kc_plan *plan = NULL;
	int n = 0, rc = g && m.params ? 0 : KC_ENOMEM;

	if (!rc) {
		x = kc_input(g, "x", REAL(1, 3, 8, 8));
		y = kc_batch_norm(&m, "bn", kc_conv(&m, "a", x, .out = 4, .act = KC_RELU));
		y = kc_deconv(&m, "c", KC_CONCAT(g, 1, y, x), .out = 2, .act = KC_TANH);
		fetch[0] = kc_mean(g, kc_square(g, kc_softmax(g, y, 1)));
		hyper = kc_input(g, "hyper", KC_TYPE(KC_F64, KC_HYPER_COUNT));
		rc = kc_graph_status(g);
	}
	for (size_t i = 0; !rc && i < m.params->n && n < 8; i++)
		if (m.params->v[i]->trainable && !m.params->v[i]->statistic) {
			params[n] = m.params->v[i];
			wrt[n++] = kc_param_value(g, m.params->v[i]);
		}
	if (!rc)
		rc = kc_graph_status(g);
	if (!rc)
		rc = kc_grad(g, fetch[0], NULL, wrt, n, grad);
	if (!rc) {
		fetch[1] = kc_optimizer_step(g, m.params, &args, grad, params, n, hyper, NULL,
					     kc_all_finite(g, grad, n));
		fetch[2] = kc_assign(g, m.updates[0].param, m.updates[0].value, NULL);
		rc = kc_params_alloc(m.params, true, true);
	}
	if (!rc)
		rc = kc_plan_build(&plan, g, device, fetch, 3, &opts);
	if (!rc)
		rc = kc_plan_run(plan);
	kc_plan_free(plan);
	kc_model_release(&m);
	kc_params_free(m.params);
	kc_graph_free(g);
	return rc;
}

/* Under a leak checker this shows as well that nothing is left behind. */
static void test_failing_allocations(void)
{
	struct kc_device device;
	long n = 0;
	int rc;

	kc_device_reference(&device);
	KC_CHECK_OK(train_once(&device));       /* whatever is allocated once for all */
	kc_device_release(&device);
	do {
		kc_device_reference(&device);
		kc_alloc_fail_after(++n);
		rc = train_once(&device);
		kc_alloc_fail_after(0);
		kc_device_release(&device);
		if (rc != 0 && !strstr(kc_errmsg(), "out of memory"))
			kc_test_fail(__FILE__, __LINE__, "allocation %ld gave %d (%s)", n, rc,
				     kc_errmsg());
	} while (rc != 0 && n < 100000);
	KC_CHECK(n > 100 && rc == 0);
}

const struct kc_test kc_tests_graph[] = {
	{"equal nodes are one node", test_equal_nodes},
	{"forgotten nodes are made again", test_forget},
	{"a model called twice is computed once", test_common_subexpressions},
	{"writers of state are never merged", test_state_stays},
	{"nodes know their module, gradients that of their forward node", test_scopes},
	{"the first error stays, with path and shapes", test_sticky_errors},
	{"models go on after an error", test_errors_in_models},
	{"gradients of gradients", test_gradient_of_gradient},
	{"the same input twice", test_same_input_twice},
	{"gradients by anything on the way, zero by anything else", test_what_is_asked_for},
	{"gradients that nobody needs are not built", test_no_needless_nodes},
	{"operators that are defined by simpler ones", test_definition},
	{"any value can be fetched", test_fetches},
	{"feeds are checked", test_feeds},
	{"values without elements", test_empty_values},
	{"every failing allocation is an error", test_failing_allocations},
	{0}};
