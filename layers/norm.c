/*
 * Normalisations, written in simpler operators, so that their gradients of every order follow.
 * Mean and variance take two passes: float32 survives means far from zero.
 */
#include "layers/layers.h"
#include "layers/ranks.h"

#include <math.h>
#include <stdlib.h>

static const double eps = 1e-5;

void kc_model_update(struct kc_model *m, struct kc_param *p, struct kc_tensor *value)
{
	struct kc_update *grown;

	for (int i = 0; i < m->n_updates; i++)
		if (m->updates[i].param == p) {
			m->updates[i].value = value;
			return;
		}
	if (m->n_updates == m->room_updates) {
		int room = m->room_updates ? 2 * m->room_updates : 16;

		grown = kc_realloc(m->updates, (size_t)room, sizeof *grown);
		if (!grown) {
			kc_graph_fail(m->g, "%s", kc_errmsg());
			return;
		}
		m->updates = grown;
		m->room_updates = room;
	}
	m->updates[m->n_updates++] = (struct kc_update){p, value};
}

void kc_model_release(struct kc_model *m)
{
	free(m->updates);
	m->updates = NULL;
	m->n_updates = m->room_updates = 0;
}

/* Dimensions of x where keep says so, else 1. */
static struct kc_type collapsed(const struct kc_tensor *x, bool batch)
{
	struct kc_type t = x->type;

	t.dtype = KC_REAL;
	for (int i = 0; i < t.ndim; i++)
		t.dim[i] = i == 1 || (batch && i == 0) ? t.dim[i] : 1;
	return t;
}

static struct kc_tensor *mean_to(struct kc_graph *g, struct kc_tensor *x, const struct kc_type *t)
{
	double n = (double)kc_numel(&x->type) / (double)kc_numel(t);

	return kc_scale(g, kc_sum_to(g, x, t), 1 / n);
}

struct moments { struct kc_tensor *mean, *centred, *var; };

/* The variance is the biased one.  ranks: whose x are one batch; NULL: this x alone. */
static struct moments moments_of(struct kc_graph *g, struct kc_ranks *ranks, struct kc_tensor *x,
				 const struct kc_type *t)
{
	struct moments m;

	m.mean = mean_to(g, x, t);
	kc_mean_over_ranks(g, ranks, &m.mean, 1);
	m.centred = kc_sub(g, x, m.mean);
	m.var = mean_to(g, kc_square(g, m.centred), t);
	kc_mean_over_ranks(g, ranks, &m.var, 1);
	return m;
}

static struct kc_tensor *inverse_root(struct kc_graph *g, struct kc_tensor *var)
{
	return kc_pw1(g, KC_PW_rsqrt, 0, 0, kc_shift(g, var, eps));
}

/* A vector of channels shaped like t. */
static struct kc_tensor *per_channel(struct kc_graph *g, struct kc_tensor *v,
				     const struct kc_type *t)
{
	return kc_reshape(g, v, t->ndim, t->dim);
}

/* Statistics as they are when this layer is called: an earlier call in the graph came first. */
static struct kc_tensor *current(struct kc_model *m, struct kc_tensor *statistic)
{
	for (int i = 0; i < m->n_updates; i++)
		if (m->updates[i].param == kc_tensor_param(statistic))
			return m->updates[i].value;
	return statistic;
}

static void follow(struct kc_model *m, struct kc_tensor *statistic, struct kc_tensor *value)
{
	struct kc_graph *g = m->g;
	struct kc_tensor *old = kc_scale(g, current(m, statistic), 0.9), *v = kc_stop(g, value);

	v = kc_reshape(g, v, 1, statistic->type.dim);
	kc_model_update(m, kc_tensor_param(statistic), kc_add(g, old, kc_scale(g, v, 0.1)));
}

struct kc_tensor *kc_batch_norm_eval(struct kc_graph *g, struct kc_tensor *x,
				     struct kc_tensor *weight, struct kc_tensor *bias,
				     struct kc_tensor *mean, struct kc_tensor *var)
{
	struct kc_tensor *scale, *shift;
	struct kc_type t;

	if (kc_is_poison(x))
		return x;
	t = collapsed(x, false);
	scale = kc_mul(g, weight, inverse_root(g, var));
	shift = kc_sub(g, bias, kc_mul(g, mean, scale));
	return kc_pw3(g, KC_PW_fma, 0, 0, x, per_channel(g, scale, &t), per_channel(g, shift, &t));
}

struct kc_tensor *kc_batch_norm_train(struct kc_graph *g, struct kc_ranks *ranks,
				      struct kc_tensor *x, struct kc_tensor *weight,
				      struct kc_tensor *bias, struct kc_tensor **mean,
				      struct kc_tensor **var)
{
	struct kc_tensor *scale;
	struct moments s;
	struct kc_type t;

	if (kc_is_poison(x))
		return *mean = *var = x;
	t = collapsed(x, false);
	s = moments_of(g, ranks, x, &t);
	*mean = s.mean;
	*var = s.var;
	scale = kc_mul(g, per_channel(g, weight, &t), inverse_root(g, s.var));
	return kc_pw3(g, KC_PW_fma, 0, 0, s.centred, scale, per_channel(g, bias, &t));
}

/* The parameters of one layer, in the current scope. */
struct batch_norm { struct kc_tensor *weight, *bias, *mean, *var, *count; };

static struct batch_norm parameters(struct kc_model *m, int64_t channels)
{
	struct kc_param like = {.type = KC_TYPE(KC_REAL, channels), .fan = channels};
	struct batch_norm p;

	like.kind = KC_PARAM_NORM_WEIGHT;
	p.weight = kc_parameter(m, "weight", &like);
	like.kind = KC_PARAM_NORM_BIAS;
	p.bias = kc_parameter(m, "bias", &like);
	like.statistic = true;
	like.kind = KC_PARAM_NORM_MEAN;
	p.mean = kc_parameter(m, "running_mean", &like);
	like.kind = KC_PARAM_NORM_VAR;
	p.var = kc_parameter(m, "running_var", &like);
	like.kind = KC_PARAM_NORM_COUNT;
	like.type = (struct kc_type){.dtype = KC_REAL};
	p.count = kc_parameter(m, "num_batches_tracked", &like);
	return p;
}

/* How many ranks have a part of the batch. */
static int64_t size_of(const struct kc_model *m)
{
	return m->ranks ? m->ranks->size : 1;
}

static struct kc_tensor *train(struct kc_model *m, struct kc_tensor *x, const struct batch_norm *p)
{
	struct kc_tensor *mean, *var, *y;
	double n = (double)(size_of(m) * kc_numel(&x->type)) / (double)x->type.dim[1];

	y = kc_batch_norm_train(m->g, m->ranks, x, p->weight, p->bias, &mean, &var);
	if (kc_is_poison(y) || kc_is_poison(p->count))
		return y;
	follow(m, p->mean, mean);
	follow(m, p->var, kc_scale(m->g, var, n / (n - 1)));
	kc_model_update(m, kc_tensor_param(p->count), kc_shift(m->g, current(m, p->count), 1));
	return y;
}

struct kc_tensor *kc_batch_norm(struct kc_model *m, const char *name, struct kc_tensor *x)
{
	struct batch_norm p;

	if (kc_is_poison(x))
		return x;
	if (x->type.ndim < 2)
		return kc_graph_fail(m->g, "%s: batch norm expects channels in dimension 1", name);
	if (m->train && size_of(m) * kc_numel(&x->type) <= x->type.dim[1])
		return kc_graph_fail(m->g, "%s: batch norm needs more than one value per channel",
				     name);
	KC_SCOPE(m->g, name) {
		p = parameters(m, x->type.dim[1]);
		x = m->train ? train(m, x, &p)
			     : kc_batch_norm_eval(m->g, x, p.weight, p.bias, p.mean, p.var);
	}
	return x;
}

struct kc_tensor *kc_instance_norm(struct kc_graph *g, struct kc_tensor *x,
				   struct kc_tensor *weight, struct kc_tensor *bias)
{
	struct kc_type t, c;
	struct moments s;
	struct kc_tensor *scale;

	if (kc_is_poison(x))
		return x;
	t = collapsed(x, true);
	c = collapsed(x, false);
	s = moments_of(g, NULL, x, &t);
	scale = inverse_root(g, s.var);
	if (!weight)
		return kc_mul(g, s.centred, scale);
	scale = kc_mul(g, scale, per_channel(g, weight, &c));
	return kc_pw3(g, KC_PW_fma, 0, 0, s.centred, scale, per_channel(g, bias, &c));
}

/* x / max(|x|, 1e-12) */
static struct kc_tensor *unit(struct kc_graph *g, struct kc_tensor *x)
{
	struct kc_tensor *norm = kc_pw1(g, KC_PW_sqrt, 0, 0, kc_sum(g, kc_square(g, x)));

	return kc_div(g, x, kc_pw1(g, KC_PW_clamp, 1e-12, INFINITY, norm));
}

void kc_spectral_norm(struct kc_graph *g, struct kc_tensor *w, struct kc_tensor *u,
		      struct kc_tensor *v, int dim, struct kc_spectral *out)
{
	int64_t rows = w->type.dim[dim], columns = rows ? kc_numel(&w->type) / rows : 0;
	struct kc_type column = KC_TYPE(KC_REAL, rows, 1), row = KC_TYPE(KC_REAL, 1, columns);
	int order[KC_MAX_DIM] = {dim};
	struct kc_tensor *m;

	for (int i = 0, at = 1; i < w->type.ndim; i++)
		if (i != dim)
			order[at++] = i;
	m = dim ? kc_permute(g, w, order) : w;
	m = kc_reshape(g, m, 2, (int64_t[]){rows, columns});
	u = kc_reshape(g, u, 2, column.dim);
	if (v)
		v = kc_reshape(g, v, 2, row.dim);
	else {
		v = kc_stop(g, unit(g, kc_sum_to(g, kc_mul(g, m, u), &row)));
		u = kc_stop(g, unit(g, kc_sum_to(g, kc_mul(g, m, v), &column)));
	}
	out->sigma = kc_sum(g, kc_mul(g, u, kc_sum_to(g, kc_mul(g, m, v), &column)));
	out->w = kc_div(g, w, out->sigma);
	out->u = kc_reshape(g, u, 1, &rows);
	out->v = kc_reshape(g, v, 1, &columns);
}

struct kc_tensor *kc_weight_norm(struct kc_graph *g, struct kc_tensor *v, struct kc_tensor *gain)
{
	struct kc_type t = v->type;
	struct kc_tensor *norm;

	for (int i = 1; i < t.ndim; i++)
		t.dim[i] = 1;
	norm = kc_pw1(g, KC_PW_sqrt, 0, 0, kc_sum_to(g, kc_square(g, v), &t));
	return kc_mul(g, v, kc_div(g, gain, norm));
}

struct kc_tensor *kc_l2_normalise(struct kc_graph *g, struct kc_tensor *x, double term)
{
	return kc_div(g, x, kc_shift(g, kc_channel_norm(g, x), term));
}
