#include "tests/op_check.h"

#include "tests/test.h"

#include <math.h>
#include <stdio.h>

void op_fail(const struct op_row *row, const char *fmt, double a, double b)
{
	char text[160];

	snprintf(text, sizeof text, fmt, a, b);
	kc_test_fail(__FILE__, __LINE__, "%s%s%s: %s", row->op, row->name[0] ? ", " : "", row->name,
		     text);
}

static double largest(const struct trial *t)
{
	double most = 0;

	for (int k = 0; k < t->n_value; k++)
		for (size_t i = 0; i < trial_count(t->value[k]); i++)
			most = fmax(most, fabs(t->v[k][i]));
	return most;
}

static void compare_value(const struct op_config *c, const struct trial *got,
			  const struct trial *want, int k, double allowed)
{
	size_t n = trial_count(want->value[k]);
	double error = 0, scale = 0, squares = 0, norm = 0;
	char text[160];

	for (size_t i = 0; i < n; i++) {
		double d = fabs(got->v[k][i] - want->v[k][i]);

		error = kc_test_worse(error, d);
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
	op_fail(want->b.row, text, error, allowed * scale);
}

void op_check_on(struct kc_device *device, const struct trial *want, const struct op_config *c,
		 FILE *used)
{
	struct kc_plan_opts opts = {.real = c->real, .low = c->low, .no_fuse = c->no_fuse,
				    .deterministic = c->deterministic};
	struct trial t;

	if (KC_CHECK_OK(trial_build(&t, want->b.row, c->form, c->real)) &&
	    KC_CHECK_OK(trial_run(&t, device, &opts))) {
		for (int k = 0; k < want->n_value; k++)
			compare_value(c, &t, want, k,
				      c->allowed * (want->b.row->noise + !want->b.row->noise));
		if (used)
			kc_plan_print(t.plan, used);
	}
	trial_release(&t);
}

void op_check(const struct trial *want, const struct op_config *c, FILE *used)
{
	struct kc_device device;

	if (!KC_CHECK_OK(c->open(&device)))
		return;
	op_check_on(&device, want, c, used);
	kc_device_release(&device);
}

int op_check_want(struct trial *want, struct kc_device *device, const struct op_row *row)
{
	struct kc_plan_opts opts = {.real = KC_F64, .no_fuse = true};

	kc_device_reference(device);
	KC_TRY(trial_build(want, row, OP_DENSE, KC_F64));
	return trial_run(want, device, &opts);
}

void op_check_used(const struct kc_device *device, const char *used)
{
	for (int i = 0; device->kernels[i]; i++) {
		const struct kc_kernel *k = device->kernels[i];
		char text[96];

		/* Training and several processes are shown by tests of their own. */
		if ((k->op->flags & (KC_OP_STATE | KC_OP_BROADCAST)) ||
		    !strcmp(k->op->name, "stored_gradient") ||
		    !strncmp(k->op->name, "all_reduce", 10))
			continue;
		snprintf(text, sizeof text, " %-16s %-28s %-14s ", k->op->name, "-", k->name);
		if (!strstr(used, text))
			kc_test_fail(__FILE__, __LINE__, "no case uses the kernel \"%s\" of %s",
				     k->name, k->op->name);
	}
}
