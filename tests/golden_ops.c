/* From a case of an operator file to a graph with data, to values, to their comparison. */
#include "tests/golden_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME = 160 };

static const char *full_name(const struct op_case *c, const char *name, char text[NAME])
{
	snprintf(text, NAME, "%s/%s", c->name, name);
	return text;
}

/* ---- what builders use ---- */

bool op_has(const struct op_case *c, const char *name)
{
	char text[NAME];

	return kc_st_find(c->st, full_name(c, name, text)) != NULL;
}

int op_inputs(const struct op_case *c, const char *names[OP_VALUES])
{
	char prefix[NAME];
	int n = 0;

	full_name(c, "in.", prefix);
	for (size_t i = 0; i < c->st->n && n < OP_VALUES; i++)
		if (!strncmp(c->st->tensors[i].name, prefix, strlen(prefix)))
			names[n++] = c->st->tensors[i].name + strlen(prefix);
	return n;
}

double *op_data(const struct op_case *c, const char *name)
{
	char text[NAME];

	return golden_tensor(c->st, full_name(c, name, text), NULL);
}

struct kc_type op_type(struct op_case *c, const char *name)
{
	struct kc_type t = {0};
	char text[NAME];

	if (golden_type(c->st, full_name(c, name, text), &t) < 0)
		kc_graph_fail(c->g, "the case has no %s", name);
	return t;
}

static struct kc_tensor *find_in(const struct op_case *c, const char *name)
{
	for (int i = 0; i < c->n_in; i++)
		if (!strcmp(c->in[i].name, name))
			return c->in[i].t;
	return NULL;
}

static struct kc_tensor *remember(struct op_case *c, const char *name, struct kc_tensor *t)
{
	KC_ASSERT(c->n_in < OP_VALUES);
	snprintf(c->in[c->n_in].name, sizeof c->in[0].name, "%s", name);
	c->in[c->n_in++].t = t;
	return t;
}

static struct kc_tensor *input(struct op_case *c, const char *kind, const char *name)
{
	struct kc_tensor *t;
	char suffix[64];
	double *data;

	snprintf(suffix, sizeof suffix, "%s.%s", kind, name);
	if (!op_has(c, suffix))
		return kc_graph_fail(c->g, "the case has no %s", suffix);
	data = op_data(c, suffix);
	if (!data)
		return kc_graph_fail(c->g, "%s", kc_errmsg());
	t = kc_input(c->g, suffix, op_type(c, suffix));
	KC_ASSERT(c->n_feed < OP_VALUES);
	c->feed[c->n_feed++] = (struct test_feed){t, data};
	return t;
}

struct kc_tensor *op_in(struct op_case *c, const char *name)
{
	struct kc_tensor *t = find_in(c, name);

	return t ? t : remember(c, name, input(c, "in", name));
}

void op_bind(struct op_case *c, const char *name, const char *param)
{
	struct kc_param *p = kc_params_find(c->model.params, param);

	if (!p) {
		kc_graph_fail(c->g, "no parameter %s", param);
		return;
	}
	KC_ASSERT(c->n_fill < OP_VALUES);
	snprintf(c->fill[c->n_fill].name, sizeof c->fill[0].name, "in.%s", name);
	c->fill[c->n_fill++].param = p;
	remember(c, name, kc_param_value(c->g, p));
}

struct kc_tensor *op_weight(struct op_case *c, const char *name)
{
	struct kc_param like = {.kind = KC_PARAM_CONV, .fan = 1, .stride = 1, .trainable = true};
	struct kc_tensor *t = find_in(c, name);
	char suffix[64];

	if (t)
		return t;
	snprintf(suffix, sizeof suffix, "in.%s", name);
	like.type = op_type(c, suffix);
	if (!like.type.ndim)
		return kc_graph_fail(c->g, "the case has no %s", suffix);
	if (!kc_params_get(c->model.params, name, &like))
		return kc_graph_fail(c->g, "%s", kc_errmsg());
	op_bind(c, name, name);
	return find_in(c, name);
}

struct kc_tensor *op_constant(struct op_case *c, const char *name, struct kc_type type,
			      const double *data)
{
	size_t bytes = (size_t)kc_numel(&type) * sizeof(double);
	struct kc_tensor *t = kc_input(c->g, name, type);
	double *copy = kc_alloc(bytes);

	if (!copy)
		return kc_graph_fail(c->g, "%s", kc_errmsg());
	memcpy(copy, data, bytes);
	KC_ASSERT(c->n_feed < OP_VALUES);
	c->feed[c->n_feed++] = (struct test_feed){t, copy};
	return t;
}

void op_out(struct op_case *c, const char *name, struct kc_tensor *t)
{
	KC_ASSERT(c->n_out < OP_VALUES);
	snprintf(c->out[c->n_out].name, sizeof c->out[0].name, "%s", name);
	c->out[c->n_out++].t = t;
}

void op_wrt(struct op_case *c, const char *name, struct kc_tensor *t)
{
	remember(c, name, t);
}

void op_seed(struct op_case *c, struct kc_tensor *y, struct kc_tensor *gy)
{
	KC_ASSERT(c->n_y < OP_VALUES);
	c->y[c->n_y] = y;
	c->gy[c->n_y++] = gy;
}

double op_attr(const struct op_case *c, const char *key, int i, double otherwise)
{
	const struct kc_json *v = kc_json_get(c->attrs, key);

	if (v && v->kind == KC_JSON_ARRAY)
		for (v = v->first; v && i; i--)
			v = v->next;
	if (v && v->kind == KC_JSON_BOOL)
		return v->truth;
	return v && v->kind == KC_JSON_NUMBER ? v->number : otherwise;
}

const char *op_text(const struct op_case *c, const char *key)
{
	const struct kc_json *v = kc_json_get(c->attrs, key);

	return v && v->kind == KC_JSON_TEXT ? v->text : "";
}

bool op_number_after(const char *text, const char *keyword, double *number)
{
	const char *at = strstr(text, keyword);
	bool whole;
	char *end;

	if (!at)
		return false;
	at += strlen(keyword);
	*number = strtod(at, &end);
	if (end == at)
		return false;
	whole = strspn(at, "0123456789") == (size_t)(end - at);
	if (whole && *end == '_' && end[1] >= '1' && end[1] <= '9')
		*number /= strtod(end + 1, NULL);
	return true;
}

struct kc_tensor *op_reshape(struct op_case *c, struct kc_tensor *t, struct kc_type type)
{
	return kc_reshape(c->g, t, type.ndim, type.dim);
}

struct kc_tensor *op_transpose(struct op_case *c, struct kc_tensor *t)
{
	int order[KC_MAX_DIM], n = t->type.ndim;

	for (int i = 0; i < n; i++)
		order[i] = i;
	if (n >= 2) {
		order[n - 1] = n - 2;
		order[n - 2] = n - 1;
	}
	return kc_permute(c->g, t, order);
}

/* ---- running a case ---- */

static int case_init(struct op_case *c, const struct kc_st *st, const char *name,
		     const struct kc_json *attrs, enum kc_dtype real)
{
	*c = (struct op_case){.st = st, .name = name, .attrs = attrs};
	c->g = kc_graph_new(&kc_layers);
	c->model.g = c->g;
	c->model.params = kc_params_new(real);
	return c->g && c->model.params ? 0 : KC_ENOMEM;
}

static void case_release(struct op_case *c)
{
	for (int i = 0; i < c->n_feed; i++)
		free(c->feed[i].data);
	kc_model_release(&c->model);
	kc_params_free(c->model.params);
	kc_graph_free(c->g);
}

static int fill_parameters(struct op_case *c)
{
	KC_TRY(kc_params_alloc(c->model.params, false, false));
	for (int i = 0; i < c->n_fill; i++) {
		struct kc_buf master = kc_param_master(c->fill[i].param), from;
		double *data = op_data(c, c->fill[i].name);
		struct kc_type type = master.type;

		if (!data)
			return KC_ENOMEM;
		type.dtype = KC_F64;
		from = kc_buf_of(data, &type, KC_PLAIN);
		kc_copy(&master, &from);
		kc_param_changed(c->fill[i].param);
		free(data);
	}
	return 0;
}

/* Without seeds of its own a case is differentiated as sum over outputs of <g, out>. */
static void default_seeds(struct op_case *c)
{
	char suffix[64];

	if (c->n_y)
		return;
	for (int i = 0; i < c->n_out; i++) {
		snprintf(suffix, sizeof suffix, "g.%s", c->out[i].name);
		if (op_has(c, suffix))
			op_seed(c, c->out[i].t, input(c, "g", c->out[i].name));
	}
}

/* d.X of every input X for which the file has one, as outputs. */
static int add_gradients(struct op_case *c)
{
	struct kc_tensor *wrt[OP_VALUES], *grad[OP_VALUES];
	const char *names[OP_VALUES];
	char suffix[64];
	int n = 0;

	default_seeds(c);
	for (int i = 0; i < c->n_in; i++) {
		snprintf(suffix, sizeof suffix, "d.%s", c->in[i].name);
		if (op_has(c, suffix)) {
			wrt[n] = c->in[i].t;
			names[n++] = c->in[i].name;
		}
	}
	KC_TRY(kc_graph_status(c->g));
	if (!n)
		return 0;
	KC_TRY(kc_grad_many(c->g, c->y, c->gy, c->n_y, wrt, n, grad));
	for (int i = 0; i < n; i++) {
		snprintf(suffix, sizeof suffix, "/%s", names[i]);
		op_out(c, suffix, grad[i]);
	}
	return kc_graph_status(c->g);
}

/* Outputs are kept by name; gradients, whose name begins with '/', as d.NAME. */
static int read_values(struct op_case *c, struct golden *g, enum golden_mode mode,
		       struct golden_values *values)
{
	struct kc_plan_opts opts = golden_plan_opts(mode);
	struct kc_tensor *fetch[OP_VALUES];
	double *out[OP_VALUES];

	for (int i = 0; i < c->n_out; i++) {
		bool grad = c->out[i].name[0] == '/';
		char name[64];

		snprintf(name, sizeof name, "%s%s", grad ? "d." : "out.", c->out[i].name + grad);
		fetch[i] = c->out[i].t;
		out[i] = golden_add(values, name, (size_t)kc_numel(&fetch[i]->type));
		if (!out[i])
			return KC_ENOMEM;
	}
	return test_run(c->g, g->device, &opts, c->feed, c->n_feed, fetch, c->n_out, out);
}

static const struct op_builder *find_builder(const char *op)
{
	const struct op_builder *tables[] = {op_builders_layers, op_builders_losses};

	for (size_t i = 0; i < KC_COUNT(tables); i++)
		for (const struct op_builder *b = tables[i]; b->op; b++)
			if (!strcmp(b->op, op))
				return b;
	return NULL;
}

static int compute(struct golden *g, const struct kc_st *st, const char *name,
		   const struct kc_json *info,
		   enum golden_mode mode, struct golden_values *values)
{
	const struct kc_json *op = kc_json_get(info, "op");
	const struct op_builder *b;
	struct op_case c;
	int rc;

	if (!op || op->kind != KC_JSON_TEXT)
		return KC_FAIL(KC_EFORMAT, "the case has no \"op\"");
	b = find_builder(op->text);
	if (!b)
		return KC_FAIL(KC_ENOSUP, "unknown operator \"%s\"", op->text);
	rc = case_init(&c, st, name, kc_json_get(info, "attrs"), golden_real(mode));
	if (!rc && b->procedure) {
		rc = b->procedure(&c, g, mode, values);
	} else if (!rc) {
		b->build(&c);
		rc = kc_graph_status(c.g);
		if (!rc)
			rc = add_gradients(&c);
		if (!rc)
			rc = fill_parameters(&c);
		if (!rc)
			rc = read_values(&c, g, mode, values);
	}
	case_release(&c);
	return rc;
}

/* ---- comparing ---- */

/* A norm over values whose mean is far from zero loses digits. */
static bool large_mean(const struct kc_st *st, const char *name)
{
	char text[NAME];
	size_t n = 0;
	double *x, mean = 0, var = 0;

	snprintf(text, sizeof text, "%s/in.x", name);
	x = golden_tensor(st, text, &n);
	for (size_t i = 0; x && i < n; i++)
		mean += x[i] / (double)n;
	for (size_t i = 0; x && i < n; i++)
		var += (x[i] - mean) * (x[i] - mean) / (double)n;
	free(x);
	return mean * mean > 1000 * var;
}

static bool has_tensor(const struct kc_st *st, const char *name, const char *suffix)
{
	char text[NAME];

	snprintf(text, sizeof text, "%s/%s", name, suffix);
	return kc_st_find(st, text) != NULL;
}

static struct golden_tol tolerance(const struct golden *g, const struct kc_st *st, const char *name,
				   const char *op)
{
	bool second = !strcmp(op, "gradient_penalty") || !strcmp(op, "double_backward") ||
		      has_tensor(st, name, "in.hx");
	bool ties = !strcmp(op, "maxpool") || !strcmp(op, "loss") || !strcmp(op, "pointwise");

	if (g->mode == GOLDEN_F64)
		return (struct golden_tol){.of_max = 2e-7, .ties = ties};
	if (!strcmp(op, "mask"))
		return (struct golden_tol){.abs = 5e-5, .rel = 5e-5};
	if (second || (!strcmp(op, "batchnorm") && large_mean(st, name)))
		return (struct golden_tol){.abs = 1e-5, .rel = 1e-4};
	return (struct golden_tol){.abs = 1e-5, .rel = 1e-5, .ties = ties};
}

static void compare_with_file(struct golden_case *check, const struct kc_st *st, const char *name,
			      const char *op, const struct golden_values *values)
{
	size_t prefix = strlen(name);
	struct golden_tol tol = tolerance(check->g, st, name, op);

	for (size_t i = 0; i < st->n; i++) {
		const struct kc_st_tensor *t = &st->tensors[i];
		const char *what = t->name + prefix + 1;
		const struct golden_value *v;
		double *expected;

		if (strncmp(t->name, name, prefix) || t->name[prefix] != '/' ||
		    (strncmp(what, "out.", 4) && strncmp(what, "d.", 2)))
			continue;
		v = golden_get(values, what);
		expected = golden_tensor(st, t->name, NULL);
		if (!v)
			golden_fail(check, "%s was not computed", what);
		else if (v->n != t->count)
			golden_fail(check, "%s has %zu elements, expected %zu", what, v->n,
				    t->count);
		else if (expected)
			golden_compare(check, what, v->v, expected, v->n, tol);
		free(expected);
	}
}

static void check_case(struct golden *g, const struct kc_st *st, const struct kc_json *info)
{
	const struct kc_json *op = kc_json_get(info, "op");
	struct golden_values values = {0}, full = {0};
	struct golden_case check;

	if (!golden_begin(g, &check, info->key))
		return;
	golden_error(&check, compute(g, st, info->key, info, g->mode, &values));
	if (!check.failures && g->mode == GOLDEN_BF16) {
		golden_error(&check, compute(g, st, info->key, info, GOLDEN_F32, &full));
		golden_distances(&check, &values, &full, golden_room(2e-2));
	} else if (!check.failures) {
		compare_with_file(&check, st, info->key, op->text, &values);
	}
	golden_end(&check);
	golden_release(&values);
	golden_release(&full);
}

void golden_ops(struct golden *g, const struct kc_st *st)
{
	struct kc_json *cases = NULL;
	struct golden_case check;
	int rc = golden_meta(st, "cases", &cases);

	if (!rc && cases->kind != KC_JSON_OBJECT)
		rc = KC_FAIL(KC_EFORMAT, "%s: \"cases\" is no object", st->path);
	if (rc < 0) {
		golden_begin(g, &check, st->path);
		golden_error(&check, rc);
		golden_end(&check);
	}
	for (const struct kc_json *v = rc < 0 ? NULL : cases->first; v; v = v->next)
		check_case(g, st, v);
	kc_json_free(cases);
}
