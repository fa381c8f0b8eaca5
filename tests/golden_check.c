/* Reporting, comparing and the choice of the checker. */
#include "tests/golden.h"

#include "tests/golden_metrics.h"
#include "tests/golden_schedules.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- values ---- */

double *golden_add(struct golden_values *set, const char *name, size_t n)
{
	struct golden_value *slot;

	if (set->n == set->room) {
		size_t room = set->room ? 2 * set->room : 32;
		struct golden_value *v = kc_realloc(set->v, room, sizeof *v);

		if (!v)
			return NULL;
		set->v = v;
		set->room = room;
	}
	slot = &set->v[set->n];
	*slot = (struct golden_value){kc_strdup(name), kc_calloc(n ? n : 1, sizeof(double)), n};
	if (!slot->name || !slot->v) {
		free(slot->name);
		free(slot->v);
		return NULL;
	}
	set->n++;
	return slot->v;
}

const struct golden_value *golden_get(const struct golden_values *set, const char *name)
{
	for (size_t i = 0; i < set->n; i++)
		if (!strcmp(set->v[i].name, name))
			return &set->v[i];
	return NULL;
}

void golden_release(struct golden_values *set)
{
	for (size_t i = 0; i < set->n; i++) {
		free(set->v[i].name);
		free(set->v[i].v);
	}
	free(set->v);
	*set = (struct golden_values){0};
}

struct kc_plan_opts golden_plan_opts(enum golden_mode mode)
{
	return (struct kc_plan_opts){.real = golden_real(mode), .low = mode == GOLDEN_BF16,
				     .deterministic = true};
}

enum kc_dtype golden_real(enum golden_mode mode)
{
	return mode == GOLDEN_F64 ? KC_F64 : KC_F32;
}

double golden_spreads(const struct golden *g, double gpu)
{
	return g->device->memory ? gpu : 10;
}

/* ---- one case ---- */

bool golden_begin(struct golden *g, struct golden_case *c, const char *name)
{
	*c = (struct golden_case){.g = g, .allowed = 1};
	snprintf(c->name, sizeof c->name, "%s", name);
	return !g->only || strstr(name, g->only);
}

void golden_fail(struct golden_case *c, const char *fmt, ...)
{
	va_list args;

	if (!c->failures++) {
		va_start(args, fmt);
		vsnprintf(c->message, sizeof c->message, fmt, args);
		va_end(args);
	}
}

void golden_error(struct golden_case *c, int rc)
{
	if (rc < 0)
		golden_fail(c, "%s", kc_errmsg());
}

/* Keeps the worst place; NaN is worse than everything. */
static void note(struct golden_case *c, const char *what, double error, double allowed)
{
	bool worse = !(error / allowed <= c->error / c->allowed);

	c->checks++;
	if (!worse || isnan(c->error))
		return;
	c->error = error;
	c->allowed = allowed;
	snprintf(c->what, sizeof c->what, "%s", what);
}

void golden_number(struct golden_case *c, const char *what, double got, double expected,
		   double allowed)
{
	double error = fabs(got - expected);

	if (!(error <= allowed))
		c->failures++;
	if (error > 0 || allowed > 0)
		note(c, what, error, allowed > 0 ? allowed : 1e-300);
	else
		c->checks++;
}

void golden_compare(struct golden_case *c, const char *what, const double *got,
		    const double *expected,
		    size_t n, struct golden_tol tol)
{
	double largest = 0, error = 0, allowed = 1;
	size_t over = 0, spare = tol.ties ? n / 1000 : 0;

	for (size_t i = 0; i < n; i++)
		largest = fmax(largest, fabs(expected[i]));
	for (size_t i = 0; i < n; i++) {
		double e = fabs(got[i] - expected[i]);
		double a = tol.abs + tol.rel * fabs(expected[i]) + tol.of_max * largest;

		a = fmax(a, 1e-12);
		if (!(e <= a) && isfinite(got[i]) && over++ < spare)
			continue;
		if (!(e / a <= error / allowed)) {
			error = e;
			allowed = a;
		}
		if (isnan(e))
			break;
	}
	if (!(error <= allowed))
		c->failures++;
	note(c, what, error, allowed);
}

static double length(const double *v, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i] * v[i];
	return sqrt(sum);
}

static double distance(const struct golden_value *a, const struct golden_value *b)
{
	double sum = 0;

	for (size_t i = 0; i < b->n; i++)
		sum += (a->v[i] - b->v[i]) * (a->v[i] - b->v[i]);
	return sqrt(sum);
}

/* "grad_pix1.x" and "grad_pix1.y" are of one family. */
static bool related(const char *a, const char *b)
{
	size_t n = strcspn(a, ".");

	return !strncmp(a, b, n) && strcspn(b, ".") == n;
}

/* The longest value of the family of name. */
static double longest(const struct golden_values *set, const char *name)
{
	double most = 0;

	for (size_t i = 0; i < set->n; i++)
		if (related(name, set->v[i].name))
			most = fmax(most, length(set->v[i].v, set->v[i].n));
	return most;
}

/* A family of gradients as one vector, which is what an optimizer follows. */
static double family_distance(const struct golden_values *low, const struct golden_values *full,
			      const char *name)
{
	double error = 0, size = 0;

	for (size_t i = 0; i < full->n; i++) {
		const struct golden_value *v = &full->v[i];

		if (!related(name, v->name))
			continue;
		error = hypot(error, distance(&low->v[i], v));
		size = hypot(size, length(v->v, v->n));
	}
	return error == 0 ? 0 : error / size;
}

void golden_distances(struct golden_case *c, const struct golden_values *low,
		      const struct golden_values *full, struct golden_room room)
{
	if (low->n != full->n) {
		golden_fail(c, "%zu values in bfloat16, %zu in float32", low->n, full->n);
		return;
	}
	for (size_t i = 0; i < full->n; i++) {
		const struct golden_value *v = &full->v[i];
		double error;

		if (!strncmp(v->name, "grad", 4)) {
			if (!i || !related(v->name, full->v[i - 1].name))
				golden_number(c, v->name, family_distance(low, full, v->name), 0,
					      room.grad);
			continue;
		}
		/* What is zero in exact arithmetic is measured against its siblings. */
		error = distance(&low->v[i], v);
		if (error > 0)
			error /= fmax(length(v->v, v->n), 1e-2 * longest(full, v->name));
		/*
		 * An input's gradient, element by element: each leaky relu that rounding turns
		 * changes its part by most of it.  Discriminators are 0.12 off with their slope of
		 * 0.2 and 0.011 with one of 0.99.
		 */
		golden_number(c, v->name, error, 0, strcmp(v->name, "dx") ? room.value : room.dx);
	}
}

void golden_end(struct golden_case *c)
{
	bool good = !c->failures && c->checks;

	c->g->passed += good;
	c->g->failed += !good;
	if (c->g->print == GOLDEN_PRINT_NOTHING || (good && c->g->print == GOLDEN_PRINT_FAILURES))
		return;
	printf("%s %-32s", good ? "ok  " : "FAIL", c->name);
	if (c->message[0])
		printf(" %s", c->message);
	else if (!c->checks)
		printf(" nothing was checked");
	else if (!c->error)
		printf(" exact (%d values)", c->checks);
	else
		printf(" %-28s error %.2e, allowed %.2e", c->what, c->error, c->allowed);
	printf("\n");
	fflush(stdout);
}

/* ---- reading ---- */

int golden_meta(const struct kc_st *st, const char *key, struct kc_json **out)
{
	const char *text = kc_st_meta(st, key);

	if (!text)
		return KC_FAIL(KC_EFORMAT, "%s: no metadata \"%s\"", st->path, key);
	if (kc_json_parse(text, strlen(text), out) < 0)
		return kc_cause(KC_EFORMAT, "%s: metadata \"%s\"", st->path, key);
	return 0;
}

uint64_t golden_seed(const struct kc_st *st)
{
	const char *text = kc_st_meta(st, "seed");

	return text ? strtoull(text, NULL, 10) : 0;
}

double golden_json_number(const struct kc_json *v, const char *key)
{
	const struct kc_json *m = kc_json_get(v, key);

	return m && m->kind == KC_JSON_NUMBER ? m->number : NAN;
}

double *golden_tensor(const struct kc_st *st, const char *name, size_t *n)
{
	const struct kc_st_tensor *t = kc_st_find(st, name);
	double *v;

	if (!t) {
		kc_fail_at(KC_ENOENT, __FILE__, __LINE__, "%s: no tensor \"%s\"", st->path, name);
		return NULL;
	}
	v = kc_calloc(t->count ? t->count : 1, sizeof *v);
	if (v && kc_st_read_f64(t, v, t->count) < 0) {
		free(v);
		return NULL;
	}
	if (n)
		*n = t->count;
	return v;
}

int golden_type(const struct kc_st *st, const char *name, struct kc_type *type)
{
	const struct kc_st_tensor *t = kc_st_find(st, name);
	int dtype = KC_REAL;

	if (!t)
		return KC_FAIL(KC_ENOENT, "%s: no tensor \"%s\"", st->path, name);
	if (t->ndim > KC_MAX_DIM)
		return KC_FAIL(KC_ESHAPE, "%s: \"%s\" has %d dimensions", st->path, name, t->ndim);
	if (t->dtype == KC_ST_I64 || t->dtype == KC_ST_I32)
		dtype = KC_I32;
	if (t->dtype == KC_ST_U8)
		dtype = KC_U8;
	*type = kc_type_of(dtype, t->ndim, t->dim);
	return 0;
}

/* ---- choosing the checker ---- */

static bool has_networks_name(const struct kc_st *st)
{
	const char *weights = kc_st_meta(st, "weights");

	return weights && strcmp(weights, "tcvc") != 0;
}

static void check_st(struct golden *g, const struct kc_st *st)
{
	struct golden_case c;

	if (kc_st_meta(st, "cases"))
		golden_ops(g, st);
	else if (kc_st_meta(st, "optimizer"))
		golden_tcvc_train(g, st);
	else if (kc_st_meta(st, "norm_sum_projection"))
		golden_tcvc_grad(g, st);
	else if (kc_st_meta(st, "windows") && kc_st_find(st, "ab"))
		golden_tcvc_forward(g, st);
	else if (has_networks_name(st))
		golden_net(g, st);
	else if (kc_st_find(st, "symmetry_0"))
		golden_colour(g, st);
	else {
		golden_begin(g, &c, st->path);
		golden_fail(&c, "%s: its metadata fit no kind of fixture", st->path);
		golden_end(&c);
	}
}

static void check_schedules(struct golden *g, const char *path)
{
	struct golden_case c;
	double worst = 0;
	int rc;

	if (!golden_begin(g, &c, "schedules"))
		return;
	rc = kc_golden_check_schedules(path, &worst);
	golden_error(&c, rc);
	if (rc > 0)
		golden_number(&c, "rates, relative", worst, 0, 1e-12);
	golden_end(&c);
}

static int check_json(struct golden *g, const char *path)
{
	struct kc_json *root;

	KC_TRY(kc_json_load(path, &root));
	if (kc_json_get(root, "schedules"))
		check_schedules(g, path);
	else if (kc_json_get(root, "all_clips"))
		golden_metrics(g, path, root);
	else {
		kc_json_free(root);
		return KC_FAIL(KC_EFORMAT, "%s: neither schedules nor metrics", path);
	}
	kc_json_free(root);
	return 0;
}

static bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n >= k && !strcmp(s + n - k, suffix);
}

void golden_file(struct golden *g, const char *path)
{
	struct golden_case c;
	struct kc_st st;
	int rc;

	if (ends_with(path, ".json")) {
		rc = check_json(g, path);
	} else {
		rc = kc_st_open(path, &st);
		if (!rc) {
			check_st(g, &st);
			kc_st_close(&st);
		}
	}
	if (rc < 0) {
		golden_begin(g, &c, path);
		golden_error(&c, rc);
		golden_end(&c);
	}
}
