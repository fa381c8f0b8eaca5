#include "tests/op_trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- inputs ---- */

size_t trial_count(const struct kc_tensor *t)
{
	return (size_t)kc_numel(&t->type);
}

static struct op_input *new_input(struct op_build *b, const struct kc_type *t)
{
	struct op_input *in = &b->in[b->n_in++];

	KC_ASSERT(b->n_in <= OP_INPUTS);
	in->data = kc_calloc((size_t)kc_numel(t) + 1, sizeof *in->data);
	KC_ASSERT(in->data);
	return in;
}

static double uniform(struct op_build *b, double low, double high)
{
	return (float)(low + (high - low) * kc_random_unit(&b->random));
}

/* The type of the leaf that holds the value in that form. */
static struct kc_type leaf_type(const struct kc_type *t, enum op_form form)
{
	struct kc_type leaf = *t;

	if (form == OP_SLICED)
		leaf.dim[t->ndim > 1] += 3;
	for (int i = 0; form == OP_TURNED && i < t->ndim; i++)
		leaf.dim[i] = t->dim[t->ndim - 1 - i];
	return leaf;
}

static struct kc_tensor *shaped(struct op_build *b, struct op_input *in, const struct kc_type *t,
				enum op_form form)
{
	struct kc_type leaf = leaf_type(t, form);
	int order[KC_MAX_DIM], axis = t->ndim > 1;
	char name[16];

	snprintf(name, sizeof name, "x%d", b->n_in);
	in->leaf = kc_input(b->g, name, leaf);
	in->value = in->leaf;
	for (int i = 0; i < t->ndim; i++)
		order[i] = t->ndim - 1 - i;
	if (form == OP_SLICED)
		in->value = kc_slice(b->g, in->leaf, axis, 1, t->dim[axis], 1);
	else if (form == OP_TURNED && t->ndim > 1)
		in->value = kc_permute(b->g, in->leaf, order);
	return in->value;
}

struct kc_tensor *op_real(struct op_build *b, double low, double high, struct kc_type t)
{
	struct op_input *in = new_input(b, &t);

	in->differentiable = true;
	for (int64_t i = 0; i < kc_numel(&t); i++)
		in->data[i] = uniform(b, low, high);
	return shaped(b, in, &t, b->form);
}

struct kc_tensor *op_signed(struct op_build *b, double low, double high, struct kc_type t)
{
	struct kc_tensor *x = op_real(b, low, high, t);
	double *v = b->in[b->n_in - 1].data;

	for (int64_t i = 0; i < kc_numel(&t); i++)
		v[i] *= kc_random_below(&b->random, 2) ? -1 : 1;
	return x;
}

struct kc_tensor *op_distinct(struct op_build *b, struct kc_type t)
{
	struct kc_tensor *x = op_real(b, 0, 0.02, t);
	double *v = b->in[b->n_in - 1].data;
	uint64_t n = (uint64_t)kc_numel(&t);

	for (uint64_t i = 0; i < n; i++)
		v[i] = (float)(v[i] + 0.07 * (double)kc_random_permute(n, 1, n, i));
	return x;
}

struct kc_tensor *op_param(struct op_build *b, struct kc_type t)
{
	struct kc_param like = {.type = t, .kind = KC_PARAM_CONV, .fan = 1, .stride = 1,
				.trainable = true};
	double bound = 1 / sqrt((double)kc_numel(&t) / (double)t.dim[0]);
	struct op_input *in = new_input(b, &t);
	char name[16];

	snprintf(name, sizeof name, "w%d", b->n_in);
	in->differentiable = true;
	in->param = kc_params_get(b->params, name, &like);
	KC_ASSERT(in->param);
	for (int64_t i = 0; i < kc_numel(&t); i++)
		in->data[i] = uniform(b, -bound, bound);
	return in->leaf = in->value = kc_param_value(b->g, in->param);
}

struct kc_tensor *op_integers(struct op_build *b, int below, struct kc_type t)
{
	struct op_input *in = new_input(b, &t);

	for (int64_t i = 0; i < kc_numel(&t); i++)
		in->data[i] = (double)kc_random_below(&b->random, (uint64_t)below);
	return shaped(b, in, &t, t.dtype == KC_REAL ? b->form : OP_DENSE);
}

void op_give(struct op_build *b, struct kc_tensor *t)
{
	KC_ASSERT(b->n_out < OP_OUTPUTS);
	b->out[b->n_out++] = t;
}

void op_give_gradient(struct op_build *b, struct kc_tensor *y, struct kc_tensor *x)
{
	struct kc_tensor *gy, *gx;

	if (kc_is_poison(y))
		return;
	gy = op_real(b, -1, 1, y->type);
	if (!kc_grad(b->g, y, gy, &x, 1, &gx))
		op_give(b, gx);
}

/* ---- a case with its derivatives ---- */

static struct kc_tensor *random_like(struct trial *t, const struct kc_tensor *x)
{
	enum op_form form = t->b.form;
	struct kc_tensor *y;

	KC_ASSERT(t->b.n_in < OP_INPUTS);
	t->b.form = OP_DENSE;
	y = op_real(&t->b, -1, 1, x->type);
	t->b.form = form;
	return y;
}

static struct kc_tensor *inner(struct kc_graph *g, struct kc_tensor *sum, struct kc_tensor *x,
			       struct kc_tensor *y)
{
	struct kc_tensor *s = kc_sum(g, kc_mul(g, x, y));

	return sum ? kc_add(g, sum, s) : s;
}

static bool is_real(const struct kc_tensor *t)
{
	return t->type.dtype == KC_REAL;
}

static void add_value(struct trial *t, struct kc_tensor *x)
{
	KC_ASSERT(t->n_value < VALUES);
	t->value[t->n_value++] = x;
}

/* The derivatives of sum as values; returns how many there are. */
static int differentiate(struct trial *t, struct kc_tensor *sum, struct kc_tensor **wrt,
			 struct kc_tensor **grad)
{
	int n = 0;

	for (int i = 0; i < t->b.n_in; i++)
		if (t->b.in[i].differentiable)
			wrt[n++] = t->b.in[i].value;
	if (!sum || kc_grad(t->b.g, sum, NULL, wrt, n, grad) < 0)
		return 0;
	for (int i = 0; i < n; i++)
		add_value(t, grad[i]);
	return n;
}

static void add_derivatives(struct trial *t)
{
	struct kc_tensor *wrt[OP_INPUTS], *grad[OP_INPUTS];
	int n;

	for (int i = 0; i < t->b.n_in; i++)
		t->n_own += t->b.in[i].differentiable;
	for (int i = 0; i < t->b.n_out; i++)
		if (is_real(t->b.out[i]))
			t->sum1 = inner(t->b.g, t->sum1, t->b.out[i],
					random_like(t, t->b.out[i]));
	n = differentiate(t, t->sum1, wrt, grad);
	t->n_first = n;
	for (int i = 0; i < n; i++)
		t->sum2 = inner(t->b.g, t->sum2, grad[i], random_like(t, grad[i]));
	differentiate(t, t->sum2, wrt, grad);
}

static int fill_feeds(struct trial *t)
{
	for (int i = 0; i < t->b.n_in; i++) {
		struct op_input *in = &t->b.in[i];
		struct kc_type wide;
		struct kc_buf to, from;

		if (in->param)
			continue;
		wide = in->leaf->type;
		t->feed[t->n_feed] = (struct test_feed){in->leaf,
							kc_calloc(trial_count(in->leaf),
								  sizeof(double))};
		if (!t->feed[t->n_feed].data)
			return KC_ENOMEM;
		for (size_t k = 0; k < trial_count(in->leaf); k++)
			t->feed[t->n_feed].data[k] = in->value == in->leaf ? 0 : NAN;
		wide.dtype = KC_F64;
		to = kc_buf_of(t->feed[t->n_feed].data, &wide, KC_PLAIN);
		if (in->value != in->leaf && t->b.form == OP_SLICED) {
			int axis = in->value->type.ndim > 1;

			to.data = (double *)to.data + to.stride[axis];
			to.type.dim[axis] = in->value->type.dim[axis];
		} else if (in->value != in->leaf) {
			for (int k = 0; k < wide.ndim; k++) {
				to.type.dim[k] = in->value->type.dim[k];
				to.stride[k] = kc_buf_of(NULL, &wide,
							 KC_PLAIN).stride[wide.ndim - 1 - k];
			}
		}
		from = kc_buf_of(in->data, &to.type, KC_PLAIN);
		kc_copy(&to, &from);
		t->n_feed++;
	}
	return 0;
}

static void fill_params(struct trial *t)
{
	for (int i = 0; i < t->b.n_in; i++) {
		struct kc_param *p = t->b.in[i].param;

		for (size_t k = 0; p && k < trial_count(t->b.in[i].value); k++)
			kc_params_put(t->b.params, t->b.params->master, p->offset + k,
				      t->b.in[i].data[k]);
		if (p)
			kc_param_changed(p);
	}
}

static int load(struct trial *t)
{
	for (int i = 0; i < t->n_feed; i++)
		free(t->feed[i].data);
	t->n_feed = 0;
	fill_params(t);
	return fill_feeds(t);
}

int trial_build(struct trial *t, const struct op_row *row, enum op_form form,
		       enum kc_dtype real)
{
	uint64_t seed = 0;

	for (const char *p = row->name; *p; p++)
		seed = seed * 31 + (unsigned char)*p;
	*t = (struct trial){.b = {.row = row, .form = form}};
	t->b.g = kc_graph_new(&kc_layers);
	t->b.params = kc_params_new(real);
	KC_ASSERT(t->b.g && t->b.params);
	kc_random_init(&t->b.random, seed, KC_STREAM_TEST, (uint64_t)row->n[0], 1);
	row->build(&t->b);
	KC_TRY(kc_graph_status(t->b.g));
	t->n_out = t->b.n_out;
	for (int i = 0; i < t->n_out; i++)
		add_value(t, t->b.out[i]);
	add_derivatives(t);
	KC_TRY(kc_graph_status(t->b.g));
	KC_TRY(kc_params_alloc(t->b.params, false, false));
	return load(t);
}

void trial_release(struct trial *t)
{
	kc_plan_free(t->plan);
	for (int i = 0; i < t->n_feed; i++)
		free(t->feed[i].data);
	for (int i = 0; i < t->b.n_in; i++)
		free(t->b.in[i].data);
	for (int i = 0; i < t->n_value; i++)
		free(t->v[i]);
	kc_params_free(t->b.params);
	kc_graph_free(t->b.g);
}

int trial_run(struct trial *t, struct kc_device *device, const struct kc_plan_opts *opts)
{
	struct kc_tensor *fetch[VALUES + 2];
	int n = t->n_value;

	memcpy(fetch, t->value, sizeof t->value);
	if (t->sum1)
		fetch[n++] = t->sum1;
	if (t->sum2)
		fetch[n++] = t->sum2;
	KC_TRY(kc_plan_build(&t->plan, t->b.g, device, fetch, n, opts));
	KC_TRY(test_feed_all(t->plan, t->feed, t->n_feed));
	KC_TRY(kc_plan_run(t->plan));
	for (int i = 0; i < t->n_value; i++) {
		t->v[i] = kc_calloc(trial_count(t->value[i]) + 1, sizeof(double));
		if (!t->v[i])
			return KC_ENOMEM;
		KC_TRY(test_read(t->plan, t->value[i], t->v[i]));
	}
	return 0;
}

int trial_sums(struct trial *t, double *sum1, double *sum2)
{
	KC_TRY(load(t));
	KC_TRY(test_feed_all(t->plan, t->feed, t->n_feed));
	KC_TRY(kc_plan_run(t->plan));
	*sum1 = kc_plan_scalar(t->plan, t->sum1);
	*sum2 = t->sum2 ? kc_plan_scalar(t->plan, t->sum2) : 0;
	return 0;
}
