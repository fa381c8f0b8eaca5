#include "train/training.h"

#include "layers/optim.h"

#include <math.h>
#include <stdlib.h>

static struct kc_optimizer_args optimizer_args(const struct kc_config *c)
{
	static const enum kc_optimizer kinds[] = {
		[KC_OPTIMIZER_ADAM] = KC_ADAM,
		[KC_OPTIMIZER_ADAMW] = KC_ADAMW,
		[KC_OPTIMIZER_SGD] = KC_SGD,
	};

	return (struct kc_optimizer_args){
		.kind = kinds[c->optimizer.kind],
		.beta1 = c->optimizer.beta1,
		.beta2 = c->optimizer.beta2,
		.eps = c->optimizer.eps,
		.weight_decay = c->optimizer.weight_decay,
		.momentum = c->optimizer.momentum,
		.ema_decay = c->optimizer.ema_decay,
	};
}

void kc_training_term(struct kc_training *t, const char *name, struct kc_tensor *x, double weight)
{
	struct kc_tensor *part = kc_scale(t->graph, x, weight);

	KC_ASSERT(t->n_terms < KC_MAX_TERMS);
	t->terms[t->n_terms++] = (struct kc_term){.name = name, .value = part};
	if (weight != 0)
		t->loss = t->loss ? kc_add(t->graph, t->loss, part) : part;
}

void kc_training_lab(struct kc_training *t, struct kc_tensor **l, struct kc_tensor **ab)
{
	struct kc_graph *g = t->graph;
	struct kc_tensor *lab = kc_rgb_to_lab(g, kc_to_real(g, t->frames, 1.0 / 255));

	*l = kc_scale(g, kc_shift(g, kc_slice(g, lab, 1, 0, 1, 1), -50), 1.0 / 100);
	*ab = kc_scale(g, kc_slice(g, lab, 1, 1, 2, 1), 1.0 / 110);
}

/* ---- building ---- */

struct trained {
	struct kc_param **param;
	struct kc_tensor **value, **grad;
	int n;
};

static int list_trained(const struct kc_training *t, struct kc_graph *g, struct trained *r)
{
	size_t n = t->params->n;

	*r = (struct trained){0};
	r->param = kc_calloc(n, sizeof(struct kc_param *));
	r->value = kc_calloc(n, sizeof(struct kc_tensor *));
	r->grad = kc_calloc(n + 1, sizeof(struct kc_tensor *));
	if (!r->param || !r->value || !r->grad)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct kc_param *p = t->params->v[i];

		if (!p->trainable)
			continue;
		r->param[r->n] = p;
		r->value[r->n++] = kc_param_value(g, p);
	}
	if (!r->n)
		return KC_FAIL(KC_ECONFIG, "nothing is trained in this configuration");
	return 0;
}

static void trained_release(struct trained *r)
{
	free(r->param);
	free(r->value);
	free(r->grad);
}

/* What the plan runs for its effect or reads back. */
struct fetches {
	struct kc_tensor **v;
	int n;
};

static void fetch(struct fetches *f, struct kc_tensor *t)
{
	f->v[f->n++] = t;
}

/* Norm, finite test and update from those gradients; the terms' sum is tested with them. */
static void build_update(struct kc_training *t, struct kc_graph *g, struct trained *r,
			 struct kc_tensor *loss, struct fetches *f)
{
	struct kc_optimizer_args args = optimizer_args(t->config);
	double limit = t->config->optimizer.clip_norm;
	int n = r->n;

	t->hyper = kc_input(g, "hyper", KC_TYPE(KC_F64, KC_HYPER_COUNT));
	t->norm = kc_global_norm(g, r->grad, n);
	if (loss)
		r->grad[n++] = loss;
	t->all_finite = kc_all_finite(g, r->grad, n);
	fetch(f, kc_optimizer_step(g, t->params, &args, r->grad, r->param, r->n, t->hyper,
				   limit > 0 ? kc_clip_factor(g, t->norm, limit) : NULL,
				   t->all_finite));
	fetch(f, t->norm);
	fetch(f, t->all_finite);
}

static void fetch_terms(struct kc_training *t, struct fetches *f)
{
	for (int i = 0; i < t->n_terms; i++)
		fetch(f, t->terms[i].value);
}

static int plan(const struct kc_training *t, struct kc_plan **p, struct kc_graph *g,
		const struct fetches *f)
{
	const struct kc_plan_opts opts = {.real = KC_F32,
					  .low = t->low,
					  .profile = t->profile,
					  .deterministic = t->config->deterministic,
					  .trace = t->trace};

	return kc_plan_build(p, g, t->device, f->v, f->n, &opts);
}

/* Running statistics are stored when the step is finite. */
static void fetch_statistics(struct kc_training *t, struct fetches *f, struct kc_tensor *finite)
{
	for (int i = 0; i < t->model.n_updates; i++)
		fetch(f, kc_assign(t->graph, t->model.updates[i].param, t->model.updates[i].value,
				   finite));
}

static int build_whole_step(struct kc_training *t, struct trained *r, struct fetches *f)
{
	build_update(t, t->graph, r, t->loss, f);
	fetch_statistics(t, f, t->all_finite);
	fetch_terms(t, f);
	return plan(t, &t->plan, t->graph, f);
}

static size_t param_bytes(const struct kc_param *p)
{
	return (size_t)kc_numel(&p->type) * kc_dtype_size(p->store->dtype);
}

/* Room for the statistics that batches change before the step is known to be finite. */
static int alloc_statistics(struct kc_training *t)
{
	size_t bytes = 0;

	for (int i = 0; i < t->model.n_updates; i++)
		bytes += param_bytes(t->model.updates[i].param);
	if (!bytes)
		return 0;
	t->statistics = kc_alloc(bytes);
	return t->statistics ? 0 : KC_ENOMEM;
}

/* Two plans: gradients are added up in the store, and the update reads them there. */
static int build_split_step(struct kc_training *t, struct trained *r, struct fetches *f)
{
	struct trained from_store;
	int rc;

	KC_TRY(alloc_statistics(t));
	t->batch_finite = kc_all_finite(t->graph, &t->loss, 1);
	fetch(f, kc_accumulate(t->graph, t->params, r->grad, r->param, r->n));
	fetch_statistics(t, f, t->batch_finite);
	fetch(f, t->batch_finite);
	fetch_terms(t, f);
	KC_TRY(plan(t, &t->plan, t->graph, f));

	f->n = 0;
	t->update_graph = kc_graph_new(&kc_layers);
	rc = t->update_graph ? list_trained(t, t->update_graph, &from_store) : KC_ENOMEM;
	if (rc < 0)
		return rc;
	for (int i = 0; i < from_store.n; i++)
		from_store.grad[i] = kc_stored_gradient(t->update_graph, from_store.param[i]);
	build_update(t, t->update_graph, &from_store, NULL, f);
	trained_release(&from_store);
	return plan(t, &t->update, t->update_graph, f);
}

static int build_plans(struct kc_training *t)
{
	struct trained r;
	struct fetches f = {0};
	int rc = list_trained(t, t->graph, &r);

	f.v = kc_calloc((size_t)(KC_MAX_TERMS + t->model.n_updates + 8),
			sizeof(struct kc_tensor *));
	if (!f.v)
		rc = KC_ENOMEM;
	if (!rc && t->config->optimizer.accumulate > 1)
		t->loss =
			kc_scale(t->graph, t->loss, 1.0 / (double)t->config->optimizer.accumulate);
	if (!rc)
		rc = kc_grad(t->graph, t->loss, NULL, r.value, r.n, r.grad);
	if (!rc)
		rc = t->config->optimizer.accumulate > 1 ? build_split_step(t, &r, &f)
							 : build_whole_step(t, &r, &f);
	free(f.v);
	trained_release(&r);
	return rc;
}

static int build(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	bool moments = c->optimizer.kind != KC_OPTIMIZER_SGD || c->optimizer.momentum > 0;

	t->graph = kc_graph_new(&kc_layers);
	t->params = kc_params_new(KC_F32);
	if (!t->graph || !t->params)
		return KC_ENOMEM;
	t->model = (struct kc_model){.g = t->graph, .params = t->params, .train = true};
	KC_TRY(t->recipe->build(t));
	KC_TRY(kc_graph_status(t->graph));
	KC_TRY(kc_params_alloc(t->params, moments, c->optimizer.ema_decay > 0));
	KC_TRY(build_plans(t));
	return t->recipe->open ? t->recipe->open(t) : 0;
}

int kc_training_open(struct kc_training *t, const struct kc_config *c, struct kc_device *d)
{
	int rc;

	t->config = c;
	t->device = d;
	t->recipe = kc_recipe_of(c);
	t->low = c->precision == KC_CHOOSE_BF16 || (c->precision == KC_CHOOSE_AUTO && d->fast_bf16);
	rc = build(t);
	if (rc < 0)
		kc_training_close(t);
	return rc;
}

void kc_training_close(struct kc_training *t)
{
	kc_plan_free(t->plan);
	kc_plan_free(t->update);
	kc_plan_free(t->prepare);
	kc_graph_free(t->graph);
	kc_graph_free(t->update_graph);
	kc_model_release(&t->model);
	kc_params_free(t->params);
	free(t->pairs);
	free(t->statistics);
	memset(t, 0, sizeof *t);
}

/* ---- stepping ---- */

static void set_hyper(struct kc_training *t, double lr, int64_t update)
{
	double values[KC_HYPER_COUNT] = {[KC_HYPER_LR] = lr, [KC_HYPER_STEP] = (double)update};
	struct kc_buf b = kc_buf_of(values, &t->hyper->type, KC_PLAIN);
	int rc = kc_plan_feed(t->update ? t->update : t->plan, t->hyper, &b);

	KC_ASSERT(rc >= 0);
}

/* Copies the running statistics aside, or back from there. */
static void copy_statistics(struct kc_training *t, bool back)
{
	char *aside = t->statistics;

	for (int i = 0; aside && i < t->model.n_updates; i++) {
		const struct kc_param *p = t->model.updates[i].param;
		void *master = kc_param_master(p).data;

		memcpy(back ? master : aside, back ? aside : master, param_bytes(p));
		aside += param_bytes(p);
	}
}

static int run_batch(struct kc_training *t, int (*next)(void *, const struct kc_batch **),
		     void *own, bool first)
{
	double share = 1.0 / (double)t->config->optimizer.accumulate;
	const struct kc_batch *batch;

	KC_TRY(next(own, &batch));
	KC_TRY(t->recipe->feed(t, t->plan, batch));
	KC_TRY(kc_plan_run(t->plan));
	for (int i = 0; i < t->n_terms; i++) {
		double x = share * kc_plan_scalar(t->plan, t->terms[i].value);

		t->terms[i].last = first ? x : t->terms[i].last + x;
	}
	return 0;
}

static void read_step(struct kc_training *t, struct kc_plan *last)
{
	t->grad_norm = kc_plan_scalar(last, t->norm);
	t->finite = kc_plan_scalar(last, t->all_finite) != 0;
}

/* Batches add up their gradients; t->finite tells whether the losses of all of them were finite. */
static int accumulate(struct kc_training *t, int (*next)(void *, const struct kc_batch **),
		      void *own)
{
	memset(t->params->grad, 0, t->params->trainable * kc_dtype_size(t->params->dtype));
	t->finite = true;
	for (int64_t i = 0; i < t->config->optimizer.accumulate; i++) {
		KC_TRY(run_batch(t, next, own, i == 0));
		t->finite &= kc_plan_scalar(t->plan, t->batch_finite) != 0;
	}
	return 0;
}

static int split_step(struct kc_training *t, int (*next)(void *, const struct kc_batch **),
		      void *own)
{
	int rc;

	copy_statistics(t, false);
	rc = accumulate(t, next, own);
	t->grad_norm = NAN;
	if (!rc && t->finite) {
		rc = kc_plan_run(t->update);
		if (!rc)
			read_step(t, t->update);
	}
	if (rc < 0 || !t->finite)
		copy_statistics(t, true);
	return rc;
}

int kc_training_step(struct kc_training *t, double lr, int64_t update,
		     int (*next)(void *, const struct kc_batch **), void *own)
{
	set_hyper(t, lr, update);
	if (t->update)
		return split_step(t, next, own);
	KC_TRY(run_batch(t, next, own, true));
	read_step(t, t->plan);
	return 0;
}

void kc_training_forget(struct kc_training *t, int64_t *updates)
{
	size_t bytes = t->params->trainable * kc_dtype_size(t->params->dtype);

	if (t->params->moment1)
		memset(t->params->moment1, 0, bytes);
	if (t->params->moment2)
		memset(t->params->moment2, 0, bytes);
	*updates = 0;
}

void kc_training_stats(const struct kc_training *t, struct kc_plan_stats *s)
{
	struct kc_plan_stats update;

	kc_plan_stats(t->plan, s);
	s->flops *= (double)t->config->optimizer.accumulate;
	if (!t->update)
		return;
	kc_plan_stats(t->update, &update);
	s->arena = KC_MAX(s->arena, update.arena);
	s->steps += update.steps;
	s->flops += update.flops;
}
