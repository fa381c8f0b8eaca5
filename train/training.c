#include "train/adversary.h"
#include "train/perceptual.h"

#include "layers/ranks.h"

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

/* ---- building ---- */

struct trained {
	struct kc_param **param;
	struct kc_tensor **value, **grad;
	int n;
};

static int list_trained(const struct kc_params *params, struct kc_graph *g, struct trained *r)
{
	size_t n = params->n;

	*r = (struct trained){0};
	r->param = kc_calloc(n, sizeof(struct kc_param *));
	r->value = kc_calloc(n, sizeof(struct kc_tensor *));
	r->grad = kc_calloc(n, sizeof(struct kc_tensor *));
	if (!r->param || !r->value || !r->grad)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct kc_param *p = params->v[i];

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

/* One finite test for the gradients of all, and for the losses where these are given. */
static struct kc_tensor *finite_test(struct kc_graph *g, const struct trained *r,
				     struct kc_tensor *const *losses)
{
	struct fetches all = {0};
	struct kc_tensor *finite;
	size_t room = KC_TRAINEES;

	for (int k = 0; k < KC_TRAINEES; k++)
		room += (size_t)r[k].n;
	all.v = kc_calloc(room, sizeof(struct kc_tensor *));
	if (!all.v)
		return kc_graph_fail(g, "%s", kc_errmsg());
	for (int k = 0; k < KC_TRAINEES; k++) {
		for (int i = 0; i < r[k].n; i++)
			fetch(&all, r[k].grad[i]);
		if (losses && losses[k])
			fetch(&all, losses[k]);
	}
	finite = kc_all_finite(g, all.v, all.n);
	free(all.v);
	return finite;
}

static const char *const hyper_names[KC_TRAINEES] = {"hyper", "hyper_D"};

/* Norms, finite test and updates from those gradients, which become means over the ranks. */
static void build_update(struct kc_training *t, struct kc_stage *s, struct kc_graph *g,
			 const struct trained *r, struct kc_tensor *const *losses,
			 struct fetches *f)
{
	for (int k = 0; k < KC_TRAINEES; k++) {
		if (!r[k].n)
			continue;
		kc_mean_over_ranks(g, t->ranks, r[k].grad, r[k].n);
		s->hyper[k] = kc_input(g, hyper_names[k], KC_TYPE(KC_F64, KC_HYPER_COUNT));
		s->norm[k] = kc_global_norm(g, r[k].grad, r[k].n);
	}
	s->all_finite = finite_test(g, r, losses);
	for (int k = 0; k < KC_TRAINEES; k++) {
		const struct kc_trainee *e = &t->trainee[k];

		if (!r[k].n)
			continue;
		fetch(f, kc_optimizer_step(
				 g, e->params, &e->optimizer, r[k].grad, r[k].param, r[k].n,
				 s->hyper[k],
				 e->clip_norm > 0 ? kc_clip_factor(g, s->norm[k], e->clip_norm)
						  : NULL,
				 s->all_finite));
		fetch(f, s->norm[k]);
	}
	fetch(f, s->all_finite);
}

static void fetch_terms(const struct kc_stage *s, struct fetches *f)
{
	for (int i = 0; i < s->n_terms; i++)
		fetch(f, s->term[i]);
}

/* What the log tells and what the finite test sees: means over the ranks. */
static void average_losses(struct kc_training *t, struct kc_stage *s)
{
	struct kc_tensor *v[KC_MAX_TERMS + KC_TRAINEES];
	int n = 0;

	for (int i = 0; i < s->n_terms; i++)
		v[n++] = t->terms[i].value;
	for (int k = 0; k < KC_TRAINEES; k++)
		if (s->loss[k])
			v[n++] = s->loss[k];
	kc_mean_over_ranks(t->graph, t->ranks, v, n);
	n = 0;
	for (int i = 0; i < s->n_terms; i++)
		s->term[i] = v[n++];
	for (int k = 0; k < KC_TRAINEES; k++)
		if (s->loss[k])
			s->loss[k] = v[n++];
}

static int plan(const struct kc_training *t, struct kc_plan **p, struct kc_graph *g,
		const struct fetches *f)
{
	const struct kc_plan_opts opts = {.real = KC_F32,
					  .low = t->low,
					  .profile = t->profile,
					  .deterministic = t->config->deterministic,
					  .trace = t->trace,
					  .ranks = t->ranks};

	return kc_plan_build(p, g, t->device, f->v, f->n, &opts);
}

/* Running statistics are stored when the step is finite. */
static void fetch_statistics(struct kc_training *t, const struct kc_stage *s, struct fetches *f,
			     struct kc_tensor *finite)
{
	for (int k = 0; k < KC_TRAINEES; k++) {
		const struct kc_model *m = t->trainee[k].model;

		for (int i = 0; s->loss[k] && i < m->n_updates; i++)
			fetch(f, kc_assign(t->graph, m->updates[i].param, m->updates[i].value,
					   finite));
	}
}

static int build_whole_step(struct kc_training *t, struct kc_stage *s, const struct trained *r,
			    struct fetches *f)
{
	build_update(t, s, t->graph, r, s->loss, f);
	fetch_statistics(t, s, f, s->all_finite);
	fetch_terms(s, f);
	return plan(t, &s->plan, t->graph, f);
}

/* Gradients as the store holds them, of the networks that the stage trains. */
static int list_stored(struct kc_training *t, struct kc_stage *s, struct trained *r)
{
	for (int k = 0; k < KC_TRAINEES; k++) {
		if (!s->loss[k])
			continue;
		KC_TRY(list_trained(t->trainee[k].params, s->update_graph, &r[k]));
		for (int i = 0; i < r[k].n; i++)
			r[k].grad[i] = kc_stored_gradient(s->update_graph, r[k].param[i]);
	}
	return 0;
}

/* Two plans: gradients are added up in the store, and the update reads them there. */
static int build_split_step(struct kc_training *t, struct kc_stage *s, const struct trained *r,
			    struct fetches *f)
{
	struct trained stored[KC_TRAINEES] = {0};
	struct kc_tensor *losses[KC_TRAINEES];
	int rc, n = 0;

	for (int k = 0; k < KC_TRAINEES; k++)
		if (s->loss[k])
			losses[n++] = s->loss[k];
	s->batch_finite = kc_all_finite(t->graph, losses, n);
	for (int k = 0; k < KC_TRAINEES; k++)
		if (s->loss[k])
			fetch(f, kc_accumulate(t->graph, t->trainee[k].params, r[k].grad,
					       r[k].param, r[k].n));
	fetch_statistics(t, s, f, s->batch_finite);
	fetch(f, s->batch_finite);
	fetch_terms(s, f);
	KC_TRY(plan(t, &s->plan, t->graph, f));

	f->n = 0;
	s->update_graph = kc_graph_new(&kc_layers);
	rc = s->update_graph ? list_stored(t, s, stored) : KC_ENOMEM;
	if (!rc) {
		build_update(t, s, s->update_graph, stored, NULL, f);
		rc = plan(t, &s->update, s->update_graph, f);
	}
	for (int k = 0; k < KC_TRAINEES; k++)
		trained_release(&stored[k]);
	return rc;
}

/* Gradients of the stage's losses, each with respect to its own network alone. */
static int list_gradients(struct kc_training *t, struct kc_stage *s, struct trained *r)
{
	double share = 1.0 / (double)t->config->optimizer.accumulate;

	for (int k = 0; k < KC_TRAINEES; k++) {
		if (!s->loss[k])
			continue;
		if (share < 1)
			s->loss[k] = kc_scale(t->graph, s->loss[k], share);
		KC_TRY(list_trained(t->trainee[k].params, t->graph, &r[k]));
		KC_TRY(kc_grad(t->graph, s->loss[k], NULL, r[k].value, r[k].n, r[k].grad));
	}
	return 0;
}

static int build_stage(struct kc_training *t, struct kc_stage *s)
{
	struct trained r[KC_TRAINEES] = {0};
	struct fetches f = {0};
	size_t room = KC_MAX_TERMS + 8;
	int before = kc_graph_size(t->graph), rc = list_gradients(t, s, r);

	for (int k = 0; k < t->n_trainees; k++)
		room += (size_t)t->trainee[k].model->n_updates;
	f.v = kc_calloc(room, sizeof(struct kc_tensor *));
	if (!f.v)
		rc = KC_ENOMEM;
	if (!rc)
		average_losses(t, s);
	if (!rc)
		rc = t->config->optimizer.accumulate > 1 ? build_split_step(t, s, r, &f)
							 : build_whole_step(t, s, r, &f);
	free(f.v);
	for (int k = 0; k < KC_TRAINEES; k++)
		trained_release(&r[k]);
	kc_graph_forget(t->graph, before);
	return rc;
}

/* Room for the statistics that batches change before the step is known to be finite. */
static int alloc_statistics(struct kc_training *t)
{
	size_t bytes = 0;

	for (int k = 0; k < t->n_trainees; k++)
		for (int i = 0; i < t->trainee[k].model->n_updates; i++)
			bytes += kc_param_bytes(t->trainee[k].model->updates[i].param);
	if (!bytes || t->config->optimizer.accumulate == 1)
		return 0;
	t->statistics = kc_alloc(bytes);
	return t->statistics ? 0 : KC_ENOMEM;
}

static int build_plans(struct kc_training *t)
{
	KC_TRY(alloc_statistics(t));
	for (int i = 0; i < KC_STAGES; i++) {
		struct kc_stage *s = &t->stage[i];

		if (s->loss[KC_GENERATOR] || s->loss[KC_DISCRIMINATOR])
			KC_TRY(build_stage(t, s));
	}
	return 0;
}

static void set_generator(struct kc_training *t)
{
	t->trainee[KC_GENERATOR] = (struct kc_trainee){
		.params = t->params,
		.model = &t->model,
		.optimizer = optimizer_args(t->config),
		.clip_norm = t->config->optimizer.clip_norm,
	};
	t->n_trainees = 1;
	t->stage[KC_STAGE_ALONE].loss[KC_GENERATOR] = t->loss;
	t->stage[KC_STAGE_ALONE].n_terms = t->n_terms;
}

static int build(struct kc_training *t)
{
	const struct kc_config *c = t->config;
	bool moments = c->optimizer.kind != KC_OPTIMIZER_SGD || c->optimizer.momentum > 0;

	t->graph = kc_graph_new(&kc_layers);
	t->params = kc_params_new(KC_F32);
	if (!t->graph || !t->params)
		return KC_ENOMEM;
	t->model = (struct kc_model){.g = t->graph, .params = t->params, .train = true,
				      .ranks = t->ranks};
	KC_TRY(t->recipe->build(t));
	KC_TRY(kc_perceptual_build(t));
	KC_TRY(kc_graph_status(t->graph));
	KC_TRY(kc_params_alloc(t->params, moments, c->optimizer.ema_decay > 0));
	set_generator(t);
	if (kc_adversary_wanted(c))
		KC_TRY(kc_adversary_build(t));
	KC_TRY(build_plans(t));
	return t->recipe->open ? t->recipe->open(t) : 0;
}

int kc_training_open(struct kc_training *t, const struct kc_config *c, struct kc_device *d)
{
	int rc;

	t->config = c;
	t->device = d;
	t->channels = t->ranks ? t->ranks->n_channels : 0;
	t->recipe = kc_recipe_of(c);
	t->batch = c->data.batch_size / (t->ranks ? t->ranks->size : 1);
	t->low = c->precision == KC_CHOOSE_BF16 || (c->precision == KC_CHOOSE_AUTO && d->fast_bf16);
	rc = build(t);
	if (rc < 0)
		kc_training_close(t);
	return rc;
}

void kc_training_close(struct kc_training *t)
{
	for (int i = 0; i < KC_STAGES; i++) {
		kc_plan_free(t->stage[i].plan);
		kc_plan_free(t->stage[i].update);
		kc_graph_free(t->stage[i].update_graph);
	}
	kc_plan_free(t->prepare);
	kc_device_release(&t->host);
	kc_graph_free(t->graph);
	kc_adversary_free(t->adversary);
	kc_model_release(&t->model);
	kc_params_free(t->params);
	free(t->pairs);
	free(t->factors);
	free(t->statistics);
	if (t->ranks)
		kc_ranks_keep_channels(t->ranks, t->channels);
	memset(t, 0, sizeof *t);
}

/* ---- figures ---- */

struct kc_plan *kc_training_plan(const struct kc_training *t)
{
	return t->stage[t->adversary ? KC_STAGE_BOTH : KC_STAGE_ALONE].plan;
}

/* Adds a stage that is run so many times a step. */
static void add_stats(const struct kc_training *t, const struct kc_stage *stage, double runs,
		      struct kc_plan_stats *s)
{
	const struct kc_plan *const plans[] = {stage->plan, stage->update};
	const double times[] = {(double)t->config->optimizer.accumulate, 1};

	for (size_t i = 0; i < KC_COUNT(plans); i++) {
		struct kc_plan_stats one;

		if (!plans[i])
			continue;
		kc_plan_stats(plans[i], &one);
		s->nodes = KC_MAX(s->nodes, one.nodes);
		s->steps += one.steps;
		s->fused += one.fused;
		s->launches += one.launches;
		s->arena = KC_MAX(s->arena, one.arena);
		s->unshared = KC_MAX(s->unshared, one.unshared);
		s->slots += one.slots;
		s->packed = KC_MAX(s->packed, one.packed);
		s->params += one.params;
		s->flops += runs * times[i] * one.flops;
	}
}

static void add_rivals(const struct kc_training *t, struct kc_plan_stats *s)
{
	add_stats(t, &t->stage[KC_STAGE_BOTH], 1, s);
	add_stats(t, &t->stage[KC_STAGE_DISCRIMINATOR], (double)t->config->gan.d_steps - 1, s);
}

bool kc_training_is_alone(const struct kc_training *t, int64_t iter)
{
	return !t->adversary || iter <= t->config->gan.start_iter;
}

double kc_training_flops(const struct kc_training *t, int64_t iter)
{
	struct kc_plan_stats s = {0};

	if (kc_training_is_alone(t, iter))
		add_stats(t, &t->stage[KC_STAGE_ALONE], 1, &s);
	else
		add_rivals(t, &s);
	return s.flops;
}

void kc_training_stats(const struct kc_training *t, struct kc_plan_stats *s)
{
	struct kc_plan_stats prepare = {0};

	*s = (struct kc_plan_stats){0};
	add_stats(t, &t->stage[KC_STAGE_ALONE], t->adversary ? 0 : 1, s);
	add_rivals(t, s);
	if (t->prepare)
		kc_plan_stats(t->prepare, &prepare);
	s->arena = KC_MAX(s->arena, prepare.arena);
	s->slots += prepare.slots;
}
