/*
 * Every operator of the table: derivatives against finite differences in float64, devices and
 * precisions against the reference kernels, however the inputs lie in memory.
 */
#include "layers/ops.h"
#include "layers/optim.h"
#include "tests/op_check.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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
		op_fail(t->b.row, order == 1 ? "first derivative %.9g, finite difference %.9g"
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
				op_fail(t->b.row, "a derivative of %g, expected %g", t->v[k][i], 0);
				return;
			}
}

/* The plan of t is the float64 one. */
static void check_derivatives(struct trial *t)
{
	const struct kc_op *op = find_op(t->b.row->op);
	int k = 0, second = t->n_value - t->n_out - t->n_first;

	if (!op) {
		op_fail(t->b.row, "no such operator in the table", 0, 0);
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

static int open_reference(struct kc_device *d)
{
	return test_device("reference", d);
}

static int open_cpu(struct kc_device *d)
{
	return test_device("cpu", d);
}

static const struct op_config configs[] = {
	{"reference, fused, sliced", open_reference, KC_F64, false, false, false, OP_SLICED, 1e-12},
	{"float32", open_cpu, KC_F32, false, false, false, OP_DENSE, 1e-5},
	{"float32, not fused, sliced", open_cpu, KC_F32, false, true, false, OP_SLICED, 1e-5},
	{"float32, turned", open_cpu, KC_F32, false, false, false, OP_TURNED, 1e-5},
	{"bfloat16", open_cpu, KC_F32, true, false, false, OP_DENSE, 2e-2},
};

/* ---- the tests ---- */

static const struct op_row *const tables[] = {op_rows, op_pointwise_rows};

static bool has_op(const struct kc_graph *g, const char *name)
{
	for (int i = 0; i < kc_graph_size(g); i++)
		if (!strcmp(kc_graph_node(g, i)->op->name, name))
			return true;
	return false;
}

static void check_row(const struct op_row *row, FILE *used)
{
	struct kc_device device;
	struct trial t;

	if (KC_CHECK_OK(op_check_want(&t, &device, row))) {
		if (!has_op(t.b.g, row->op))
			op_fail(row, "the case does not contain the operator", 0, 0);
		if (!used)
			check_derivatives(&t);
		for (size_t i = 0; used && i < KC_COUNT(configs); i++)
			op_check(&t, &configs[i], used);
	}
	trial_release(&t);
	kc_device_release(&device);
}

/* Derivatives, or with a file for the names of kernels, devices. */
static void check_rows(FILE *used)
{
	for (size_t i = 0; i < KC_COUNT(tables); i++)
		for (const struct op_row *row = tables[i]; row->op; row++)
			check_row(row, used);
}

static void test_derivatives(void)
{
	check_rows(NULL);
}

/* Every kernel row of the device must have been somebody's choice. */
static void test_devices(void)
{
	struct kc_device device;
	char *used;
	size_t size;
	FILE *file = open_memstream(&used, &size);

	KC_ASSERT(file);
	check_rows(file);
	fclose(file);
	if (KC_CHECK_OK(open_cpu(&device))) {
		op_check_used(&device, used);
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
		/* What trains is shown by tests/test_optim.c and tests/test_ranks.c. */
		bool trains = (op->flags & KC_OP_STATE) || !strcmp(op->name, "stored_gradient") ||
			      !strncmp(op->name, "all_reduce", strlen("all_reduce"));

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
