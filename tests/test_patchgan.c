/* Discriminators: sizes, what spectral norm stores, second derivatives. */
#include "losses/adversarial.h"
#include "models/init.h"
#include "models/patchgan.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

static struct kc_model open_model(void)
{
	struct kc_model m = {.g = kc_graph_new(&kc_layers), .params = kc_params_new(KC_F64),
			     .train = true};

	KC_ASSERT(m.g && m.params);
	return m;
}

static void close_model(struct kc_model *m)
{
	kc_graph_free(m->g);
	kc_model_release(m);
	kc_params_free(m->params);
}

static struct kc_tensor *input(struct kc_model *m, int64_t c, int64_t side,
			       const struct kc_patchgan_args *a)
{
	struct kc_type image = KC_TYPE(KC_REAL, 1, c, side, side);
	struct kc_type clip = KC_TYPE(KC_REAL, 1, c, 5, side, side);

	return kc_input(m->g, "x", a->kind == KC_TPATCHGAN ? clip : image);
}

static struct kc_patchgan build(struct kc_model *m, int64_t c, int64_t side,
				const struct kc_patchgan_args *a)
{
	return kc_patchgan(m, input(m, c, side, a), a);
}

/* ---- sizes ---- */

static void check_count(const struct kc_patchgan_args *a, int64_t expected)
{
	struct kc_model m = open_model();
	int64_t n = 0;

	build(&m, 3, 64, a);
	KC_CHECK_OK(kc_graph_status(m.g));
	for (size_t i = 0; i < m.params->n; i++)
		if (m.params->v[i]->trainable)
			n += kc_numel(&m.params->v[i]->type);
	if (n != expected)
		kc_test_fail(__FILE__, __LINE__, "kind %d: %lld parameters, expected %lld",
			     (int)a->kind, (long long)n, (long long)expected);
	close_model(&m);
}

/* The published 2.77 M of PatchGAN and 17.8 M of the temporal one. */
static void test_counts(void)
{
	check_count(&(struct kc_patchgan_args){.norm = KC_PATCHGAN_BATCH},
		    3 * 64 * 16 + 64 + 64 * 128 * 16 + 128 * 256 * 16 + 256 * 512 * 16 +
		    2 * (128 + 256 + 512) + 512 * 16 + 1);
	check_count(&(struct kc_patchgan_args){.kind = KC_TPATCHGAN},
		    75 * (3 * 64 + 64 * 128 + 128 * 256 + 3 * 256 * 256) + 64 + 128 + 4 * 256);
	check_count(&(struct kc_patchgan_args){.kind = KC_TPATCHGAN, .width = 0.25},
		    75 * (3 * 16 + 16 * 32 + 32 * 64 + 3 * 64 * 64) + 16 + 32 + 4 * 64);
	check_count(&(struct kc_patchgan_args){.kind = KC_PIXELGAN, .nf = 16, .spectral = true},
		    3 * 16 + 16 + 16 * 32 + 32 + 32 + 1);
}

/* The least side gives one score, and nothing smaller does. */
static void test_least_side(void)
{
	for (int kind = 0; kind <= KC_TPATCHGAN; kind++)
		for (int n = 1; n <= 4; n++) {
			const struct kc_patchgan_args a = {.kind = (enum kc_patchgan_kind)kind,
							   .nf = 8, .n_layers = n};
			int64_t side = kc_patchgan_least_side(&a);
			struct kc_model m = open_model();
			struct kc_patchgan d = build(&m, 2, side, &a);

			KC_CHECK_OK(kc_graph_status(m.g));
			KC_CHECK(d.score->type.dim[d.score->type.ndim - 1] == 1);
			KC_CHECK(kind != KC_TPATCHGAN || d.score->type.dim[2] == 5);
			close_model(&m);
			m = open_model();
			if (side > 1) {
				build(&m, 2, side - 1, &a);
				KC_CHECK(kc_graph_status(m.g) == KC_ESHAPE);
			}
			close_model(&m);
		}
}

/* ---- spectral norm ---- */

/* Two inputs in one training step see the same weights, and the vectors move once. */
static void test_one_iteration(void)
{
	const struct kc_patchgan_args a = {.kind = KC_SN_PATCHGAN, .nf = 8};
	struct kc_model m = open_model();
	const struct kc_type image = KC_TYPE(KC_REAL, 1, 2, 32, 32);
	struct kc_tensor *first[16];
	int n;

	kc_patchgan(&m, kc_input(m.g, "real", image), &a);
	n = m.n_updates;
	KC_CHECK(n == 2 * 5);
	for (int i = 0; i < n; i++)
		first[i] = m.updates[i].value;
	kc_patchgan(&m, kc_input(m.g, "fake", image), &a);
	KC_CHECK(m.n_updates == n);
	for (int i = 0; i < n; i++)
		KC_CHECK(m.updates[i].value == first[i]);
	close_model(&m);
}

/* ---- the gradient penalty's own gradient ---- */

struct penalty {
	struct kc_model m;
	struct kc_device device;
	struct kc_plan *plan;
	struct kc_tensor *x, *loss, *grad[64];
	struct kc_param *param[64];
	int n;
};

static bool penalty_open(struct penalty *p, const struct kc_patchgan_args *a)
{
	const struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_tensor *values[64], *fetch[65];

	*p = (struct penalty){.m = open_model()};
	p->m.train = false;             /* u and v, which are constants, stand still */
	p->x = input(&p->m, 2, 8, a);
	p->loss = fetch[0] = kc_gradient_penalty(p->m.g, kc_patchgan(&p->m, p->x, a).score, p->x,
						 10).loss;
	for (size_t i = 0; i < p->m.params->n; i++)
		if (p->m.params->v[i]->trainable) {
			p->param[p->n] = p->m.params->v[i];
			values[p->n] = kc_param_value(p->m.g, p->param[p->n]);
			p->n++;
		}
	if (!KC_CHECK_OK(kc_grad(p->m.g, p->loss, NULL, values, p->n, p->grad)) ||
	    !KC_CHECK_OK(kc_params_alloc(p->m.params, false, false)) ||
	    !KC_CHECK_OK(kc_params_init(p->m.params,
					&(struct kc_init){kc_init_default, 3})))
		return false;
	for (int i = 0; i < p->n; i++) {
		fetch[i + 1] = p->grad[i];
		if (p->param[i]->kind == KC_PARAM_SCALAR)
			kc_params_put(p->m.params, p->m.params->master, p->param[i]->offset, 0.7);
	}
	kc_device_reference(&p->device);
	return KC_CHECK_OK(kc_plan_build(&p->plan, p->m.g, &p->device, fetch, p->n + 1, &opts));
}

static void penalty_close(struct penalty *p)
{
	kc_plan_free(p->plan);
	kc_device_release(&p->device);
	close_model(&p->m);
}

static double penalty_at(struct penalty *p, struct kc_param *param, int64_t i, double value)
{
	struct kc_params *s = p->m.params;
	size_t at = param->offset + (size_t)i;
	double old = kc_params_at(s, s->master, at), loss;

	kc_params_put(s, s->master, at, value);
	kc_param_changed(param);
	KC_CHECK_OK(kc_plan_run(p->plan));
	loss = kc_plan_scalar(p->plan, p->loss);
	kc_params_put(s, s->master, at, old);
	kc_param_changed(param);
	return loss;
}

/* One element of every parameter, by central differences. */
static void check_penalty(const struct kc_patchgan_args *a)
{
	struct kc_params *s;
	struct penalty p;
	struct kc_buf slot;

	if (penalty_open(&p, a)) {
		s = p.m.params;
		KC_CHECK_OK(kc_plan_slot(p.plan, p.x, &slot));
		for (int64_t i = 0; i < kc_numel(&slot.type); i++)
			kc_put(&slot, i, sin(1.7 * (double)i) + 0.01 * (double)(i % 7));
		for (int k = 0; k < p.n; k++) {
			int64_t i = kc_numel(&p.param[k]->type) / 3;
			double at = kc_params_at(s, s->master, p.param[k]->offset + (size_t)i);
			double h = 1e-5, loss, got, wanted, *grad;

			KC_CHECK_OK(kc_plan_run(p.plan));
			grad = kc_calloc((size_t)kc_numel(&p.param[k]->type), sizeof *grad);
			KC_ASSERT(grad);
			KC_CHECK_OK(test_read(p.plan, p.grad[k], grad));
			got = grad[i];
			loss = kc_plan_scalar(p.plan, p.loss);
			free(grad);
			wanted = (penalty_at(&p, p.param[k], i, at + h) -
				  penalty_at(&p, p.param[k], i, at - h)) / (2 * h);
			if (!(fabs(got - wanted) <= 1e-5 * fabs(wanted) + 1e-9 * loss))
				kc_test_fail(__FILE__, __LINE__, "%s: %.9g, expected %.9g",
					     p.param[k]->name, got, wanted);
		}
	}
	penalty_close(&p);
}

static void test_penalty(void)
{
	check_penalty(&(struct kc_patchgan_args){.nf = 8, .n_layers = 1, .attention = true,
						 .norm = KC_PATCHGAN_INSTANCE});
	check_penalty(&(struct kc_patchgan_args){.kind = KC_PIXELGAN, .nf = 8,
						 .norm = KC_PATCHGAN_INSTANCE});
	check_penalty(&(struct kc_patchgan_args){.kind = KC_SN_PATCHGAN, .nf = 8, .n_layers = 1,
						 .attention = true,
						 .norm = KC_PATCHGAN_INSTANCE});
	check_penalty(&(struct kc_patchgan_args){.kind = KC_TPATCHGAN, .nf = 8,
						 .attention = true});
}

const struct kc_test kc_tests_patchgan[] = {
	{"parameter counts", test_counts},
	{"the least side", test_least_side},
	{"one power iteration for all inputs of a step", test_one_iteration},
	{"second derivatives of the gradient penalty", test_penalty},
	{0}
};
