#include "tests/test.h"

#include "core/plan.h"
#include "layers/layers.h"
#include "layers/optim.h"
#include "weights/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One parameter, its gradient as an input, and a plan that updates it. */
struct bench {
	struct kc_graph *g;
	struct kc_params *store;
	struct kc_param *p;
	struct kc_device device;
	struct kc_tensor *grad, *hyper, *finite, *done;
	struct kc_plan *plan;
};

static void bench_open(struct bench *b, enum kc_dtype dtype, int64_t n)
{
	const struct kc_param like = {.type = KC_TYPE(KC_REAL, n), .kind = KC_PARAM_BIAS,
				      .trainable = true};
	const struct kc_param other = {.type = KC_TYPE(KC_REAL, 3), .kind = KC_PARAM_BIAS,
				       .trainable = true};

	*b = (struct bench){.g = kc_graph_new(&kc_layers), .store = kc_params_new(dtype)};
	KC_CHECK(kc_params_get(b->store, "first", &other) != NULL);
	b->p = kc_params_get(b->store, "p", &like);
	KC_CHECK_OK(kc_params_alloc(b->store, true, true));
	kc_device_reference(&b->device);
	b->grad = kc_input(b->g, "grad", KC_TYPE(KC_REAL, n));
	b->hyper = kc_input(b->g, "hyper", KC_TYPE(KC_F64, KC_HYPER_COUNT));
	b->finite = kc_input(b->g, "finite", KC_TYPE(KC_REAL, 1));
}

static void bench_close(struct bench *b)
{
	kc_plan_free(b->plan);
	kc_graph_free(b->g);
	kc_params_free(b->store);
	kc_device_release(&b->device);
}

static bool bench_plan(struct bench *b)
{
	const struct kc_plan_opts opts = {.real = b->store->dtype};

	return KC_CHECK_OK(kc_plan_build(&b->plan, b->g, &b->device, &b->done, 1, &opts));
}

static void feed(struct bench *b, struct kc_tensor *input, const double *x)
{
	struct kc_type t = input->type;
	struct kc_buf buf;

	t.dtype = KC_F64;
	buf = kc_buf_of((double *)x, &t, KC_PLAIN);
	KC_CHECK_OK(kc_plan_feed(b->plan, input, &buf));
}

static void step(struct bench *b, const double *grad, double lr, int number, double finite)
{
	feed(b, b->grad, grad);
	feed(b, b->hyper, (double[]){lr, number});
	feed(b, b->finite, &finite);
	KC_CHECK_OK(kc_plan_run(b->plan));
}

static double param_at(const struct bench *b, int64_t i)
{
	return kc_params_at(b->store, b->store->master, b->p->offset + (size_t)i);
}

static void set_param(struct bench *b, const double *x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		kc_params_put(b->store, b->store->master, b->p->offset + (size_t)i, x[i]);
}

/* ---- against PyTorch ---- */

static const struct rule {
	const char *name;
	double lr;
	struct kc_optimizer_args args;
} rules[] = {
	{"adam", 1e-2, {.kind = KC_ADAM, .beta1 = .9, .beta2 = .99, .eps = 1e-8}},
	{"adam_wd", 1e-2, {.kind = KC_ADAM, .beta1 = .9, .beta2 = .999, .eps = 1e-8,
			   .weight_decay = .1}},
	{"adam_amsgrad_eps1e-5", 1e-2, {.kind = KC_ADAM, .beta1 = .9, .beta2 = .99, .eps = 1e-5,
					.amsgrad = true}},
	{"adam_beta1_0", 1e-2, {.kind = KC_ADAM, .beta1 = 0, .beta2 = .9, .eps = 1e-8}},
	{"adamw", 1e-2, {.kind = KC_ADAMW, .beta1 = .9, .beta2 = .999, .eps = 1e-8,
			 .weight_decay = .1}},
	{"sgd", .1, {.kind = KC_SGD}},
	{"sgd_momentum", .1, {.kind = KC_SGD, .momentum = .9, .weight_decay = 1e-2}},
	{"sgd_nesterov", .1, {.kind = KC_SGD, .momentum = .9, .nesterov = true}},
};

static bool read_case(const struct kc_st *st, const char *name, const char *what, double *out,
		      size_t n)
{
	char *key = kc_format("%s/%s", name, what);
	const struct kc_st_tensor *t = key ? kc_st_find(st, key) : NULL;

	KC_CHECK(t != NULL);
	free(key);
	return t && KC_CHECK_OK(kc_st_read_f64(t, out, n));
}

static void check_rule(const struct kc_st *st, const struct rule *r, enum kc_dtype dtype)
{
	double p[7], grads[5][7], want[5][7], worst = 0;
	struct bench b;
	char name[64];

	snprintf(name, sizeof name, "optim_%s", r->name);
	if (!read_case(st, name, "in.p", p, 7) || !read_case(st, name, "in.g", grads[0], 35) ||
	    !read_case(st, name, "out.p", want[0], 35))
		return;
	bench_open(&b, dtype, 7);
	if (r->args.amsgrad)
		KC_CHECK_OK(kc_params_alloc_max(b.store));
	b.done = kc_optimizer_step(b.g, b.store, &r->args, &b.grad, &b.p, 1, b.hyper, NULL,
				   b.finite);
	set_param(&b, p, 7);
	if (bench_plan(&b))
		for (int s = 0; s < 5; s++) {
			step(&b, grads[s], r->lr, s + 1, 1);
			for (int i = 0; i < 7; i++)
				worst = kc_test_worse(worst, fabs(param_at(&b, i) - want[s][i]));
		}
	if (!(worst <= (dtype == KC_F64 ? 7e-8 : 3e-7)))
		kc_test_fail(__FILE__, __LINE__, "%s differs by %g", name, worst);
	bench_close(&b);
}

static void test_rules(void)
{
	struct kc_st st;

	if (!KC_CHECK_OK(kc_st_open(kc_test_fixture("data/optim.safetensors"), &st)))
		return;
	for (size_t i = 0; i < KC_COUNT(rules); i++) {
		check_rule(&st, &rules[i], KC_F32);
		check_rule(&st, &rules[i], KC_F64);
	}
	kc_st_close(&st);
}

static void test_clip(void)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *in[] = {kc_input(g, "a", KC_TYPE(KC_REAL, 3, 4)),
				  kc_input(g, "b", KC_TYPE(KC_REAL, 5))};
	struct kc_tensor *norm = kc_global_norm(g, in, 2), *out[3] = {norm};
	struct kc_device device;
	struct kc_plan *plan = NULL;
	struct kc_st st;
	static const char *const names[] = {"a", "b"};

	for (int i = 0; i < 2; i++)
		out[1 + i] = kc_mul(g, in[i], kc_clip_factor(g, norm, 0.5));
	kc_device_reference(&device);
	if (KC_CHECK_OK(kc_st_open(kc_test_fixture("data/optim.safetensors"), &st))) {
		double x[12], want[12], got[12];

		KC_CHECK_OK(kc_plan_build(&plan, g, &device, out, 3, &(struct kc_plan_opts){0}));
		for (int i = 0; plan && i < 2; i++) {
			struct kc_type t = in[i]->type;
			struct kc_buf buf;
			char key[8];

			t.dtype = KC_F64;
			snprintf(key, sizeof key, "in.%s", names[i]);
			read_case(&st, "clip_grad_norm", key, x, (size_t)kc_numel(&t));
			buf = kc_buf_of(x, &t, KC_PLAIN);
			KC_CHECK_OK(kc_plan_feed(plan, in[i], &buf));
		}
		KC_CHECK_OK(kc_plan_run(plan));
		read_case(&st, "clip_grad_norm", "out.norm", want, 1);
		KC_CHECK(fabs(kc_plan_scalar(plan, norm) - want[0]) < 1e-6);
		for (int i = 0; i < 2; i++) {
			struct kc_type t = in[i]->type;
			struct kc_buf buf;
			char key[8];

			t.dtype = KC_F64;
			snprintf(key, sizeof key, "out.%s", names[i]);
			read_case(&st, "clip_grad_norm", key, want, (size_t)kc_numel(&t));
			buf = kc_buf_of(got, &t, KC_PLAIN);
			KC_CHECK_OK(kc_plan_read(plan, out[1 + i], &buf));
			for (int64_t k = 0; k < kc_numel(&t); k++)
				KC_CHECK(fabs(got[k] - want[k]) < 1e-7);
		}
		kc_st_close(&st);
	}
	kc_plan_free(plan);
	kc_graph_free(g);
	kc_device_release(&device);
}

/* ---- what PyTorch has no fixture for ---- */

static void test_not_finite(void)
{
	const struct kc_optimizer_args args = {.kind = KC_ADAM, .beta1 = .9, .beta2 = .99,
					       .eps = 1e-8, .ema_decay = .5};
	struct bench b;

	bench_open(&b, KC_F32, 2);
	b.done = kc_optimizer_step(b.g, b.store, &args, &b.grad, &b.p, 1, b.hyper, NULL, b.finite);
	set_param(&b, (double[]){1, 2}, 2);
	if (bench_plan(&b)) {
		step(&b, (double[]){NAN, 1}, .1, 1, 0);
		KC_CHECK(kc_plan_scalar(b.plan, b.done) == 0);
		KC_CHECK(param_at(&b, 0) == 1 && param_at(&b, 1) == 2);
		KC_CHECK(kc_params_at(b.store, b.store->moment1, b.p->offset + 1) == 0);
		KC_CHECK(kc_params_at(b.store, b.store->ema, b.p->offset + 1) == 0);
		step(&b, (double[]){1, 1}, .1, 1, 1);
		KC_CHECK(kc_plan_scalar(b.plan, b.done) == 1);
		KC_CHECK(fabs(param_at(&b, 1) - 1.9) < 1e-6);
		KC_CHECK(fabs(kc_params_at(b.store, b.store->ema, b.p->offset + 1) - .95) < 1e-6);
		KC_CHECK(kc_params_at(b.store, b.store->master, 0) == 0);
	}
	bench_close(&b);
}

/* Chunks and threads: every element is updated once. */
static void test_large(void)
{
	enum { N = 30001 };
	const struct kc_optimizer_args args = {.kind = KC_SGD};
	double *x = kc_alloc(N * sizeof *x), *gr = kc_alloc(N * sizeof *gr);
	struct bench b;

	bench_open(&b, KC_F32, N);
	b.done = kc_optimizer_step(b.g, b.store, &args, &b.grad, &b.p, 1, b.hyper, NULL, NULL);
	for (int i = 0; i < N; i++) {
		x[i] = i;
		gr[i] = i % 7;
	}
	set_param(&b, x, N);
	if (bench_plan(&b)) {
		step(&b, gr, .5, 1, 1);
		for (int i = 0; i < N; i++)
			if (param_at(&b, i) != i - .5 * (i % 7))
				kc_test_fail(__FILE__, __LINE__, "element %d is %g", i,
					     param_at(&b, i));
	}
	free(x);
	free(gr);
	bench_close(&b);
}

static void test_accumulate(void)
{
	struct bench b;
	struct kc_tensor *twice;
	struct kc_plan *reader = NULL;

	bench_open(&b, KC_F32, 3);
	b.done = kc_accumulate(b.g, b.store, &b.grad, &b.p, 1);
	twice = kc_scale(b.g, kc_sum(b.g, kc_stored_gradient(b.g, b.p)), 2);
	KC_CHECK_OK(kc_plan_build(&reader, b.g, &b.device, &twice, 1, &(struct kc_plan_opts){0}));
	if (bench_plan(&b)) {
		step(&b, (double[]){1, 2, 3}, 0, 1, 1);
		step(&b, (double[]){10, 20, 30}, 0, 1, 1);
		KC_CHECK_OK(kc_plan_run(reader));
		KC_CHECK(kc_plan_scalar(reader, twice) == 132);
	}
	kc_plan_free(reader);
	bench_close(&b);
}

/* A value is stored unless the step is not finite, and readers in the same plan see the old one. */
static void test_assign(void)
{
	struct bench b;

	bench_open(&b, KC_F32, 3);
	b.done = kc_assign(b.g, b.p, kc_add(b.g, kc_param_value(b.g, b.p), b.grad), b.finite);
	set_param(&b, (double[]){1, 2, 3}, 3);
	if (bench_plan(&b)) {
		step(&b, (double[]){1, 1, 1}, 0, 1, 1);
		KC_CHECK(param_at(&b, 0) == 2 && param_at(&b, 2) == 4);
		step(&b, (double[]){1, 1, 1}, 0, 1, 0);
		KC_CHECK(param_at(&b, 0) == 2 && kc_plan_scalar(b.plan, b.done) == 0);
	}
	bench_close(&b);
}

static void test_wrong_shape(void)
{
	struct bench b;
	struct kc_tensor *wrong;

	bench_open(&b, KC_F32, 3);
	wrong = kc_input(b.g, "wrong", KC_TYPE(KC_REAL, 4));
	KC_CHECK(kc_is_poison(kc_accumulate(b.g, b.store, &wrong, &b.p, 1)));
	KC_CHECK_ERR(kc_graph_status(b.g), KC_ESHAPE, "gradient of p is 4, expected 3");
	bench_close(&b);
}

const struct kc_test kc_tests_optim[] = {
	{"SGD, Adam, AdamW step as PyTorch's do", test_rules},
	{"gradients are clipped to a norm as in PyTorch", test_clip},
	{"nothing is written in a step that is not finite", test_not_finite},
	{"large parameters are updated once everywhere", test_large},
	{"gradients add up in the store", test_accumulate},
	{"running statistics are assigned", test_assign},
	{"a gradient of another shape is refused", test_wrong_shape},
	{0},
};
