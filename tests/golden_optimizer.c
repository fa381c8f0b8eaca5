/* Update rules: cases of operator files, and the trajectory of TCVC. */
#include "tests/golden_optimizer.h"

#include "tests/golden_tcvc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- rules ---- */

static double after(const char *text, const char *keyword, double otherwise)
{
	double x;

	return op_number_after(text, keyword, &x) ? x : otherwise;
}

double golden_rule(const char *text, struct kc_optimizer_args *a)
{
	const char *betas = strstr(text, "betas ");
	char *end;

	*a = (struct kc_optimizer_args){.kind = KC_SGD};
	if (betas) {
		a->kind = strstr(text, "decoupled") ? KC_ADAMW : KC_ADAM;
		a->beta1 = strtod(betas + 6, &end);
		a->beta2 = strtod(end, NULL);
		a->eps = after(text, "eps ", 1e-8);
		a->amsgrad = strstr(text, "amsgrad") != NULL;
	}
	a->momentum = after(text, "momentum ", 0);
	a->nesterov = strstr(text, "nesterov") != NULL;
	a->weight_decay = after(text, "weight decay ", 0);
	return after(text, "lr ", NAN);
}

struct kc_tensor *golden_hyper(struct kc_graph *g)
{
	return kc_input(g, "hyper", KC_TYPE(KC_F64, KC_HYPER_COUNT));
}

static void copy_parameter(const struct kc_param *p, double *to)
{
	struct kc_buf master = kc_param_master(p), out;
	struct kc_type type = master.type;

	type.dtype = KC_F64;
	out = kc_buf_of(to, &type, KC_PLAIN);
	kc_copy(&out, &master);
}

/* ---- cases "optimizer": in.p, in.g[steps] -> out.p[steps] ---- */

struct rule_case {
	struct kc_param *param;
	struct kc_tensor *written;
	struct test_feed feed[2];       /* gradient, hyper */
	double hyper[KC_HYPER_COUNT];
	struct kc_optimizer_args args;
};

static int rule_build(struct op_case *c, struct rule_case *r, size_t n)
{
	struct kc_param like = {.type = KC_TYPE(KC_REAL, (int64_t)n), .kind = KC_PARAM_BIAS,
				.fan = 1, .stride = 1, .trainable = true};
	struct kc_tensor *grad = kc_input(c->g, "g", like.type), *hyper = golden_hyper(c->g);

	r->param = kc_params_get(c->model.params, "p", &like);
	if (!r->param)
		return KC_ENOMEM;
	r->hyper[KC_HYPER_LR] = golden_rule(op_text(c, "rule"), &r->args);
	r->feed[0].input = grad;
	r->feed[1] = (struct test_feed){hyper, r->hyper};
	r->written = kc_optimizer_step(c->g, c->model.params, &r->args, &grad, &r->param, 1, hyper,
				       NULL, NULL);
	KC_TRY(kc_params_alloc(c->model.params, true, false));
	if (r->args.amsgrad)
		KC_TRY(kc_params_alloc_max(c->model.params));
	return kc_graph_status(c->g);
}

static int rule_steps(struct rule_case *r, struct kc_plan *plan, double *grads, size_t n, int steps,
		      double *out)
{
	for (int s = 0; s < steps; s++) {
		r->feed[0].data = grads + (size_t)s * n;
		r->hyper[KC_HYPER_STEP] = s + 1;
		KC_TRY(test_feed_all(plan, r->feed, 2));
		KC_TRY(kc_plan_run(plan));
		KC_TRY(kc_params_to_host(r->param->store));
		copy_parameter(r->param, out + (size_t)s * n);
	}
	return 0;
}

int golden_rule_case(struct op_case *c, struct golden *g, enum golden_mode mode,
		     struct golden_values *values)
{
	struct kc_plan_opts opts = golden_plan_opts(mode);
	struct kc_type type = op_type(c, "in.g");
	double *start = op_data(c, "in.p"), *grads = op_data(c, "in.g"), *out = NULL;
	size_t steps = (size_t)type.dim[0], n = steps ? (size_t)kc_numel(&type) / steps : 0;
	struct kc_plan *plan = NULL;
	struct rule_case r = {0};
	int rc = start && grads ? 0 : KC_FAIL(KC_EFORMAT, "the case has no in.p and in.g");

	if (!rc)
		rc = rule_build(c, &r, n);
	for (size_t i = 0; !rc && i < n; i++)
		kc_params_put(c->model.params, c->model.params->master, i, start[i]);
	if (!rc)
		rc = kc_plan_build(&plan, c->g, g->device, &r.written, 1, &opts);
	if (!rc) {
		out = golden_add(values, "out.p", steps * n);
		rc = out ? rule_steps(&r, plan, grads, n, (int)steps, out) : KC_ENOMEM;
	}
	kc_plan_free(plan);
	free(start);
	free(grads);
	return rc;
}

/* ---- tcvc_train ---- */

enum { COLUMNS = 4 };

struct trajectory {
	struct tcvc t;
	struct kc_tensor *norm, *fetch[COLUMNS + 1];
	double hyper[KC_HYPER_COUNT];
	struct test_feed hyper_feed;
	struct kc_plan *plan;
	int windows, steps;
};

static int trajectory_build(struct trajectory *j, const struct kc_st *st, double lr,
			    const struct kc_optimizer_args *args)
{
	struct kc_tensor *wrt[TCVC_PARAMS], *grad[TCVC_PARAMS], *hyper;
	struct kc_param *params[TCVC_PARAMS];
	const char *pixel = kc_st_meta(st, "pixel_weight");
	int n = tcvc_trainable(&j->t, wrt, TCVC_PARAMS);

	KC_TRY(kc_grad(j->t.g, tcvc_total(&j->t, pixel ? strtod(pixel, NULL) : 0), NULL, wrt, n,
		       grad));
	for (int i = 0; i < n; i++)
		params[i] = kc_tensor_param(wrt[i]);
	hyper = golden_hyper(j->t.g);
	j->hyper[KC_HYPER_LR] = lr;
	j->hyper_feed = (struct test_feed){hyper, j->hyper};
	for (int i = 0; i < 3; i++)
		j->fetch[i] = j->t.losses[i];
	j->fetch[3] = kc_global_norm(j->t.g, grad, n);
	j->fetch[4] = kc_optimizer_step(j->t.g, j->t.m.params, args, grad, params, n, hyper, NULL,
					NULL);
	return kc_graph_status(j->t.g);
}

/* Every trainable parameter as "PREFIXname". */
static int keep_parameters(const struct trajectory *j, const char *prefix,
			   struct golden_values *values)
{
	KC_TRY(kc_params_to_host(j->t.m.params));
	for (size_t i = 0; i < j->t.m.params->n; i++) {
		const struct kc_param *p = j->t.m.params->v[i];
		char name[160];
		double *to;

		if (!p->trainable)
			continue;
		snprintf(name, sizeof name, "%s%s", prefix, p->name);
		to = golden_add(values, name, (size_t)kc_numel(&p->type));
		if (!to)
			return KC_ENOMEM;
		copy_parameter(p, to);
	}
	return 0;
}

static int trajectory_run(struct trajectory *j, const struct kc_st *st,
			  struct golden_values *values)
{
	for (int s = 0; s < j->steps; s++) {
		char prefix[24];
		double *row;

		KC_TRY(tcvc_load(&j->t, st, s % j->windows));
		j->hyper[KC_HYPER_STEP] = s + 1;
		KC_TRY(test_feed_all(j->plan, j->t.feed, j->t.n_feed));
		KC_TRY(test_feed_all(j->plan, &j->hyper_feed, 1));
		KC_TRY(kc_plan_run(j->plan));
		snprintf(prefix, sizeof prefix, "step.%d", s + 1);
		row = golden_add(values, prefix, COLUMNS);
		if (!row)
			return KC_ENOMEM;
		for (int i = 0; i < COLUMNS; i++)
			row[i] = kc_plan_scalar(j->plan, j->fetch[i]);
		snprintf(prefix, sizeof prefix, "after%d.", s + 1);
		if (s == 0 || s == 1 || s == 4)
			KC_TRY(keep_parameters(j, prefix, values));
	}
	return keep_parameters(j, "final.", values);
}

static int train(struct golden *g, const struct kc_st *st, enum golden_mode mode,
		 struct golden_values *values)
{
	struct kc_plan_opts opts = golden_plan_opts(mode);
	struct kc_optimizer_args args;
	double lr = golden_rule(kc_st_meta(st, "optimizer"), &args);
	struct trajectory j = {0};
	struct kc_type rows;
	int rc = golden_type(st, "loss_f64.f64", &rows);

	if (!rc)
		rc = tcvc_open(&j.t, st, 1, true, golden_real(mode));
	if (!rc) {
		j.steps = (int)rows.dim[0];
		j.windows = j.t.d.n;
		rc = trajectory_build(&j, st, lr, &args);
	}
	if (!rc)
		rc = golden_fill(g, j.t.m.params, "tcvc", golden_seed(st), true);
	if (!rc)
		rc = kc_plan_build(&j.plan, j.t.g, g->device, j.fetch, COLUMNS + 1, &opts);
	if (!rc)
		rc = trajectory_run(&j, st, values);
	kc_plan_free(j.plan);
	tcvc_close(&j.t);
	return rc;
}

/* ---- comparing ---- */

static double nth(const struct kc_json *list, int i)
{
	const struct kc_json *v = list->first;

	for (; v && i; i--)
		v = v->next;
	return v ? v->number : NAN;
}

/*
 * How far step s (from 0) may be off: 10 times the spread of it and of those before, which add
 * up as the errors of a trajectory do.
 */
static double allowance(const struct golden *g, const struct kc_json *spread, int s)
{
	double sum = 0;

	for (int i = 0; i <= s; i++)
		sum += nth(spread, i);
	return g->mode == GOLDEN_F64 ? 1e-6 : fmax(1e-6, 10 * sum);
}

static void compare_steps(struct golden_case *c, const struct kc_st *st,
			  const struct kc_json *spread,
			  const struct golden_values *values)
{
	size_t n = 0;
	double *expected = golden_tensor(st, "loss_f64.f64", &n);

	for (int s = 0; expected && s < (int)(n / COLUMNS); s++) {
		char name[32];
		const struct golden_value *v;

		snprintf(name, sizeof name, "step.%d", s + 1);
		v = golden_get(values, name);
		if (v)
			golden_compare(c, name, v->v, expected + COLUMNS * s, COLUMNS,
				       (struct golden_tol){.rel = allowance(c->g, spread, s)});
		else
			golden_fail(c, "%s was not computed", name);
	}
	free(expected);
}

static double norm_of(const struct golden_value *v)
{
	double norm = 0;

	for (size_t i = 0; i < v->n; i++)
		norm += v->v[i] * v->v[i];
	return sqrt(norm);
}

static void compare_norms(struct golden_case *c, const struct kc_json *expected, const char *prefix,
			  double rel, const struct golden_values *values)
{
	for (const struct kc_json *p = expected->first; p; p = p->next) {
		double want = p->kind == KC_JSON_ARRAY ? nth(p, 0) : p->number;
		const struct golden_value *v;
		char name[160];

		snprintf(name, sizeof name, "%s%s", prefix, p->key);
		v = golden_get(values, name);
		if (v)
			golden_number(c, name, norm_of(v), want, rel * want);
		else
			golden_fail(c, "%s was not computed", name);
	}
}

/* The first values of every parameter; what Adam moved them by is lr times the steps at most. */
static void compare_finals(struct golden_case *c, const struct kc_st *st, double moved, double rel,
			   const struct golden_values *values)
{
	struct golden_tol tol = {.abs = moved * rel, .of_max = 1e-6, .ties = true};

	for (size_t i = 0; i < st->n; i++) {
		const struct kc_st_tensor *t = &st->tensors[i];
		const struct golden_value *v;
		double *expected;

		if (strncmp(t->name, "final.", 6))
			continue;
		v = golden_get(values, t->name);
		expected = golden_tensor(st, t->name, NULL);
		if (!v || v->n < t->count)
			golden_fail(c, "%s was not computed", t->name);
		else if (expected)
			golden_compare(c, t->name, v->v, expected, t->count, tol);
		free(expected);
	}
}

static int compare(struct golden_case *c, const struct kc_st *st,
		   const struct golden_values *values)
{
	static const int after_step[] = {1, 2, 5};
	struct kc_json *spread = NULL, *norms = NULL, *final = NULL;
	const struct kc_json *v;
	struct kc_optimizer_args args;
	double lr = golden_rule(kc_st_meta(st, "optimizer"), &args);
	int rc = golden_meta(st, "rel_spread_per_step_f32_f64", &spread);

	if (!rc)
		rc = golden_meta(st, "param_norm_f64_after_step_1_2_5", &norms);
	if (!rc)
		rc = golden_meta(st, "final_norm_sum_f64", &final);
	if (!rc) {
		int last = (int)spread->n - 1;
		double rel = allowance(c->g, spread, last);

		compare_steps(c, st, spread, values);
		v = norms->first;
		for (size_t i = 0; i < KC_COUNT(after_step) && v; i++, v = v->next) {
			char prefix[24];

			snprintf(prefix, sizeof prefix, "after%d.", after_step[i]);
			compare_norms(c, v, prefix, allowance(c->g, spread, after_step[i] - 1),
				      values);
		}
		compare_norms(c, final, "final.", rel, values);
		compare_finals(c, st, lr * (double)spread->n, rel, values);
	}
	kc_json_free(spread);
	kc_json_free(norms);
	kc_json_free(final);
	return rc;
}

void golden_tcvc_train(struct golden *g, const struct kc_st *st)
{
	struct golden_values values = {0}, full = {0};
	struct golden_case c;

	if (!golden_begin(g, &c, "tcvc training"))
		return;
	golden_error(&c, train(g, st, g->mode, &values));
	if (!c.failures && g->mode == GOLDEN_BF16) {
		golden_error(&c, train(g, st, GOLDEN_F32, &full));
		golden_distances(&c, &values, &full, golden_room(5e-2));
	} else if (!c.failures) {
		golden_error(&c, compare(&c, st, &values));
	}
	golden_end(&c);
	golden_release(&values);
	golden_release(&full);
}
