/*
 * Every operator of the table: derivatives against finite differences in float64, devices and
 * precisions against the reference kernels, however the inputs lie in memory.
 */
#include "layers/ops.h"
#include "layers/optim.h"
#include "tests/op_trial.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(const struct op_row *row, const char *fmt, double a, double b)
{
	char text[160];

	snprintf(text, sizeof text, fmt, a, b);
	kc_test_fail(__FILE__, __LINE__, "%s%s%s: %s", row->op, row->name[0] ? ", " : "", row->name,
		     text);
}

/* ---- finite differences ---- */

/* Both sums at data + step * direction, less those at data - step * direction, over 2 step. */
static int difference(struct trial *t, double *data, const double *direction, size_t n, double d[2])
{
	const double step = 1e-5;
	double low[2];

	for (size_t i = 0; i < n; i++)
		data[i] -= step * direction[i];
	KC_TRY(trial_sums(t, &low[0], &low[1]));
	for (size_t i = 0; i < n; i++)
		data[i] += 2 * step * direction[i];
	KC_TRY(trial_sums(t, &d[0], &d[1]));
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
	size_t n = trial_count(in->value);
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
		for (size_t i = 0; i < trial_count(t->value[k]); i++)
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
		for (size_t i = 0; i < trial_count(t->value[k]); i++)
			most = fmax(most, fabs(t->v[k][i]));
	return most;
}

static void compare_value(const struct config *c, const struct trial *got,
			  const struct trial *want, int k, double allowed)
{
	size_t n = trial_count(want->value[k]);
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
