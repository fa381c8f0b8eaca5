/*
 * Every operator of the table: derivatives against finite differences in float64, devices and
 * precisions against the reference kernels, however the inputs lie in memory.
 */
#include "layers/ops.h"
#include "layers/optim.h"
#include "tests/golden_run.h"
#include "tests/op_cases.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 3 * OP_INPUTS + 3 * OP_OUTPUTS, FEEDS = 4 * OP_INPUTS + 4 * OP_OUTPUTS };

/* ---- inputs ---- */

static size_t count(const struct kc_tensor *t)
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

/*
 * With random g and h: first = d sum <out, g>, second = d sum <first, h>.  Values are outputs,
 * first derivatives by every input, second ones by every input and g.
 */
struct trial {
	struct op_build b;
	struct kc_tensor *value[VALUES];
	double *v[VALUES];
	int n_value, n_out, n_first;    /* outputs, then first derivatives, then second ones */
	int n_own;                      /* first derivatives by inputs of the case, not by g */
	struct kc_tensor *sum1, *sum2;
	struct test_feed feed[FEEDS];
	int n_feed;
	struct kc_plan *plan;
};

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
							kc_calloc(count(in->leaf), sizeof(double))};
		if (!t->feed[t->n_feed].data)
			return KC_ENOMEM;
		for (size_t k = 0; k < count(in->leaf); k++)
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

		for (size_t k = 0; p && k < count(t->b.in[i].value); k++)
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

static int trial_build(struct trial *t, const struct op_row *row, enum op_form form,
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

static void trial_release(struct trial *t)
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

static int trial_run(struct trial *t, struct kc_device *device, const struct kc_plan_opts *opts)
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
		t->v[i] = kc_calloc(count(t->value[i]) + 1, sizeof(double));
		if (!t->v[i])
			return KC_ENOMEM;
		KC_TRY(test_read(t->plan, t->value[i], t->v[i]));
	}
	return 0;
}

static void fail(const struct op_row *row, const char *fmt, double a, double b)
{
	char text[160];

	snprintf(text, sizeof text, fmt, a, b);
	kc_test_fail(__FILE__, __LINE__, "%s%s%s: %s", row->op, row->name[0] ? ", " : "", row->name,
		     text);
}

/* ---- finite differences ---- */

static int evaluate(struct trial *t, double *sum1, double *sum2)
{
	KC_TRY(load(t));
	KC_TRY(test_feed_all(t->plan, t->feed, t->n_feed));
	KC_TRY(kc_plan_run(t->plan));
	*sum1 = kc_plan_scalar(t->plan, t->sum1);
	*sum2 = t->sum2 ? kc_plan_scalar(t->plan, t->sum2) : 0;
	return 0;
}

/* Both sums at data + step * direction, less those at data - step * direction, over 2 step. */
static int difference(struct trial *t, double *data, const double *direction, size_t n, double d[2])
{
	const double step = 1e-5;
	double low[2];

	for (size_t i = 0; i < n; i++)
		data[i] -= step * direction[i];
	KC_TRY(evaluate(t, &low[0], &low[1]));
	for (size_t i = 0; i < n; i++)
		data[i] += 2 * step * direction[i];
	KC_TRY(evaluate(t, &d[0], &d[1]));
	for (size_t i = 0; i < n; i++)
		data[i] -= step * direction[i];
	for (int i = 0; i < 2; i++)
		d[i] = (d[i] - low[i]) / (2 * step);
	return 0;
}

static void compare_slope(const struct trial *t, int order, double numeric, const double *grad,
			  const double *direction, size_t n)
{
	double slope = 0, scale = 1e-2;

	for (size_t i = 0; i < n; i++) {
		slope += grad[i] * direction[i];
		scale = fmax(scale, fabs(grad[i]));
	}
	scale = fmax(scale, fabs(slope));
	if (!(fabs(slope - numeric) <= 1e-6 * scale))
		fail(t->b.row, order == 1 ? "first derivative %.9g, finite difference %.9g"
					  : "second derivative %.9g, finite difference %.9g",
		     slope, numeric);
}

/* Input i, whose derivatives are the k-th: along random directions and single elements. */
static int check_input(struct trial *t, int i, int k)
{
	struct op_input *in = &t->b.in[i];
	size_t n = count(in->value);
	double *direction = kc_calloc(n, sizeof *direction), d[2];
	int rc = direction ? 0 : KC_ENOMEM;

	for (int trial = 0; !rc && trial < 4; trial++) {
		for (size_t e = 0; e < n; e++)
			direction[e] = trial < 2 ? kc_random_unit(&t->b.random) - 0.5 : 0;
		if (trial >= 2)
			direction[kc_random_below(&t->b.random, n)] = 1;
		rc = difference(t, in->data, direction, n, d);
		if (!rc && k < t->n_first)
			compare_slope(t, 1, d[0], t->v[t->n_out + k], direction, n);
		if (!rc && t->sum2)
			compare_slope(t, 2, d[1], t->v[t->n_out + t->n_first + k], direction, n);
	}
	free(direction);
	return rc;
}

static const struct kc_op *find_op(const char *name)
{
	for (size_t i = 0; i < kc_layers.n; i++)
		if (!strcmp(kc_layers.all[i]->name, name))
			return kc_layers.all[i];
	return NULL;
}

/* What passes no gradient by definition. */
static void check_zeros(const struct trial *t)
{
	for (int k = t->n_out; k < t->n_out + KC_MIN(t->n_own, t->n_first); k++)
		for (size_t i = 0; i < count(t->value[k]); i++)
			if (t->v[k][i] != 0) {
				fail(t->b.row, "a derivative of %g, expected %g", t->v[k][i], 0);
				return;
			}
}

/* The plan of t is the float64 one. */
static void check_derivatives(struct trial *t)
{
	const struct kc_op *op = find_op(t->b.row->op);
	int k = 0, second = t->n_value - t->n_out - t->n_first;

	if (!op) {
		fail(t->b.row, "no such operator in the table", 0, 0);
		return;
	}
	if (op->flags & KC_OP_NONDIFF) {
		check_zeros(t);
		return;
	}
	for (int i = 0; t->sum1 && i < t->b.n_in; i++) {
		if (!t->b.in[i].differentiable)
			continue;
		if (k < second)         /* h comes behind: the sums depend on it linearly */
			KC_CHECK_OK(check_input(t, i, k));
		k++;
	}
}

/* ---- devices, precisions, layouts ---- */

struct config {
	const char *name, *device;
	enum kc_dtype real;
	bool low, no_fuse;
	enum op_form form;
	double allowed;                 /* relative to the largest element; low: L2 */
};

static const struct config configs[] = {
	{"reference, fused, sliced", "reference", KC_F64, false, false, OP_SLICED, 1e-12},
	{"float32", "cpu", KC_F32, false, false, OP_DENSE, 1e-5},
	{"float32, not fused, sliced", "cpu", KC_F32, false, true, OP_SLICED, 1e-5},
	{"float32, turned", "cpu", KC_F32, false, false, OP_TURNED, 1e-5},
	{"bfloat16", "cpu", KC_F32, true, false, OP_DENSE, 2e-2},
};

/* Names of kernels that plans used, as "operator kernel\n" lines. */
static char *used;
static size_t used_size;
static FILE *used_file;

static double largest(const struct trial *t)
{
	double most = 0;

	for (int k = 0; k < t->n_value; k++)
		for (size_t i = 0; i < count(t->value[k]); i++)
			most = fmax(most, fabs(t->v[k][i]));
	return most;
}

static void compare_value(const struct config *c, const struct trial *got,
			  const struct trial *want, int k, double allowed)
{
	size_t n = count(want->value[k]);
	double error = 0, scale = 0, squares = 0, norm = 0;
	char text[160];

	for (size_t i = 0; i < n; i++) {
		double d = fabs(got->v[k][i] - want->v[k][i]);

		error = d <= error ? error : d;
		scale = fmax(scale, fabs(want->v[k][i]));
		squares += d * d;
		norm += want->v[k][i] * want->v[k][i];
	}
	if (c->low) {
		error = sqrt(squares);
		scale = fmax(sqrt(norm), 0.1 * largest(want));
	} else {
		scale = fmax(scale, c->real == KC_F64 ? 1 : 1e-1 * largest(want));
	}
	if (error <= allowed * scale)
		return;
	snprintf(text, sizeof text, "%s, %s %d: error %%.2e, allowed %%.2e", c->name,
		 k < want->n_out ? "output" : k < want->n_out + want->n_first ? "derivative"
									     : "second derivative",
		 k < want->n_out ? k : (k - want->n_out) % KC_MAX(want->n_first, 1));
	fail(want->b.row, text, error, allowed * scale);
}

static void check_config(const struct trial *want, const struct config *c)
{
	struct kc_plan_opts opts = {.real = c->real, .low = c->low, .no_fuse = c->no_fuse};
	struct kc_device device;
	struct trial t;

	if (!KC_CHECK_OK(test_device(c->device, &device)))
		return;
	if (KC_CHECK_OK(trial_build(&t, want->b.row, c->form, c->real)) &&
	    KC_CHECK_OK(trial_run(&t, &device, &opts))) {
		for (int k = 0; k < want->n_value; k++)
			compare_value(c, &t, want, k,
				      c->allowed * (want->b.row->noise + !want->b.row->noise));
		if (used_file)
			kc_plan_print(t.plan, used_file);
	}
	trial_release(&t);
	kc_device_release(&device);
}

/* ---- the tests ---- */

static const struct op_row *const tables[] = {op_rows, op_pointwise_rows};

static bool has_op(const struct kc_graph *g, const char *name)
{
	for (int i = 0; i < kc_graph_size(g); i++)
		if (!strcmp(kc_graph_node(g, i)->op->name, name))
			return true;
	return false;
}

static void check_row(const struct op_row *row, bool derivatives)
{
	struct kc_plan_opts opts = {.real = KC_F64, .no_fuse = true};
	struct kc_device device;
	struct trial t;

	kc_device_reference(&device);
	if (KC_CHECK_OK(trial_build(&t, row, OP_DENSE, KC_F64)) &&
	    KC_CHECK_OK(trial_run(&t, &device, &opts))) {
		if (!has_op(t.b.g, row->op))
			fail(row, "the case does not contain the operator", 0, 0);
		if (derivatives)
			check_derivatives(&t);
		for (size_t i = 0; !derivatives && i < KC_COUNT(configs); i++)
			check_config(&t, &configs[i]);
	}
	trial_release(&t);
	kc_device_release(&device);
}

static void check_rows(bool derivatives)
{
	for (size_t i = 0; i < KC_COUNT(tables); i++)
		for (const struct op_row *row = tables[i]; row->op; row++)
			check_row(row, derivatives);
}

static void test_derivatives(void)
{
	check_rows(true);
}

/* Every kernel row of the device must have been somebody's choice. */
static void test_devices(void)
{
	struct kc_device device;

	used_file = open_memstream(&used, &used_size);
	KC_ASSERT(used_file);
	check_rows(false);
	fclose(used_file);
	used_file = NULL;
	if (KC_CHECK_OK(test_device("cpu", &device))) {
		for (int i = 0; device.kernels[i]; i++) {
			char text[96];

			snprintf(text, sizeof text, " %-16s %-28s %-14s ",
				 device.kernels[i]->op->name,
				 "-", device.kernels[i]->name);
			if (!strstr(used, text))
				kc_test_fail(__FILE__, __LINE__,
					     "no case uses the kernel \"%s\" of %s",
					     device.kernels[i]->name, device.kernels[i]->op->name);
		}
		kc_device_release(&device);
	}
	free(used);
}

static bool has_row(const char *name)
{
	for (size_t i = 0; i < KC_COUNT(tables); i++)
		for (const struct op_row *row = tables[i]; row->op; row++)
			if (!strcmp(row->op, name))
				return true;
	return false;
}

static void test_table(void)
{
	for (size_t i = 0; i < kc_layers.n; i++) {
		const struct kc_op *op = kc_layers.all[i];
		bool none = op->flags & (KC_OP_NONDIFF | KC_OP_LEAF | KC_OP_STATE);
		/* What trains is shown by tests/test_optim.c. */
		bool trains = (op->flags & KC_OP_STATE) || !strcmp(op->name, "stored_gradient");

		if (!!op->grad + !!op->expand + none != 1)
			kc_test_fail(__FILE__, __LINE__,
				     "%s: a gradient, a definition, both, or no derivative?",
				     op->name);
		if (!has_row(op->name) && !trains)
			kc_test_fail(__FILE__, __LINE__, "%s has no case", op->name);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(op->name, kc_layers.all[k]->name))
				kc_test_fail(__FILE__, __LINE__, "%s is there twice", op->name);
	}
}

const struct kc_test kc_tests_ops[] = {
	{"every operator has a case and one way to be differentiated", test_table},
	{"first and second derivatives equal finite differences", test_derivatives},
	{"every kernel, precision and layout equals the reference", test_devices},
	{0}};
