/* Networks that stand alone: siggraph17, eccv16, flownet2, discriminators, ... */
#include "tests/golden_net.h"

#include "weights/formula.h"
#include "weights/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME = 160 };

/* ---- what the checkers of networks share ---- */

static int fill_by_formula(struct kc_params *p, const char *net, uint64_t seed)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct kc_param *v = p->v[i];
		struct kc_buf master = kc_param_master(v);
		struct kc_formula f = {.net = net, .name = v->name, .kind = v->kind,
				       .ndim = v->type.ndim, .dim = v->type.dim,
				       .stride = v->stride, .seed = seed};

		KC_TRY(p->dtype == KC_F64 ? kc_formula_fill_f64(&f, master.data)
					  : kc_formula_fill_f32(&f, master.data));
	}
	return 0;
}

/* Files are read as float32: into x, from where all parameters get their values. */
static int fill_from_file(struct kc_params *p, const char *path, struct kc_load_dest *d, float *x)
{
	for (size_t i = 0; i < p->n; i++) {
		d[i] = (struct kc_load_dest){p->v[i]->name, p->v[i]->type.ndim, p->v[i]->type.dim,
					     x};
		x += kc_numel(&p->v[i]->type);
	}
	KC_TRY(kc_load_file(path, d, p->n, KC_LOAD_COMPLETE, NULL));
	for (size_t i = 0; i < p->n; i++) {
		struct kc_buf master = kc_param_master(p->v[i]);

		for (int64_t k = 0; k < kc_numel(&p->v[i]->type); k++)
			kc_put(&master, k, (double)d[i].data[k]);
	}
	return 0;
}

static int fill_from(struct kc_params *p, const char *path)
{
	struct kc_load_dest *d = kc_calloc(p->n, sizeof *d);
	size_t count = 0;
	float *x;
	int rc = KC_ENOMEM;

	for (size_t i = 0; i < p->n; i++)
		count += (size_t)kc_numel(&p->v[i]->type);
	x = kc_calloc(count, sizeof *x);
	if (d && x)
		rc = fill_from_file(p, path, d, x);
	free(x);
	free(d);
	return rc;
}

int golden_fill(const struct golden *g, struct kc_params *p, const char *net, uint64_t seed,
		bool with_moments)
{
	KC_TRY(kc_params_alloc(p, with_moments, false));
	KC_TRY(g->weights ? fill_from(p, g->weights) : fill_by_formula(p, net, seed));
	for (size_t i = 0; i < p->n; i++)
		kc_param_changed(p->v[i]);
	return 0;
}

void golden_summary(const char *name, const double *v, size_t n, double out[3])
{
	char text[NAME];
	double norm = 0, sum = 0, dot = 0;

	snprintf(text, sizeof text, "proj:%s", name);
	for (size_t i = 0; i < n; i++) {
		norm += v[i] * v[i];
		sum += v[i];
		dot += v[i] * (double)kc_formula_value(text, i, 0, 1, 0);
	}
	out[0] = sqrt(norm);
	out[1] = sum;
	out[2] = dot;
}

static double element(const struct kc_json *list, int i)
{
	const struct kc_json *v = list->kind == KC_JSON_ARRAY ? list->first : NULL;

	for (; v && i; i--)
		v = v->next;
	return v && v->kind == KC_JSON_NUMBER ? v->number : NAN;
}

/* Gradients that are zero in exact arithmetic have only noise, which the largest one measures. */
static double largest_norm(const struct kc_json *expected)
{
	double largest = 0;

	for (const struct kc_json *v = expected->first; v; v = v->next)
		largest = fmax(largest, element(v, 0));
	return largest;
}

void golden_summaries(struct golden_case *c, const struct kc_json *expected,
		      const struct golden_values *values, const char *prefix, double norms,
			      double sums)
{
	static const char *const what[] = {"norm", "sum", "projection"};
	double floor = 1e-3 * largest_norm(expected);

	for (const struct kc_json *v = expected->first; v; v = v->next) {
		const struct golden_value *g;
		char name[NAME];
		double got[3];

		snprintf(name, sizeof name, "%s%s", prefix, v->key);
		g = golden_get(values, name);
		if (!g) {
			golden_fail(c, "%s was not computed", name);
			continue;
		}
		golden_summary(v->key, g->v, g->n, got);
		for (int i = 0; i < 3; i++) {
			double want = element(v, i);
			/* A vector off by rel of its length:
				its sum may be off sqrt(n) times that. */
			double length = element(v, 0) * (i == 1 ? sqrt((double)g->n) : 1);
			double scale = fmax(fmax(fabs(want), length), floor);

			snprintf(name, sizeof name, "%s of %s%s", what[i], prefix, v->key);
			golden_number(c, name, got[i], want, (i ? sums : norms) * scale);
		}
	}
}

int golden_want(struct golden_fetch *f, struct golden_values *values, const char *name,
		struct kc_tensor *t)
{
	if (f->n == f->room) {
		int room = f->room ? 2 * f->room : 64;
		struct kc_tensor **tensors = kc_realloc(f->t, (size_t)room,
							sizeof(struct kc_tensor *));
		double **out;

		if (!tensors)
			return KC_ENOMEM;
		f->t = tensors;
		out = kc_realloc(f->out, (size_t)room, sizeof *out);
		if (!out)
			return KC_ENOMEM;
		f->out = out;
		f->room = room;
	}
	f->out[f->n] = golden_add(values, name, (size_t)kc_numel(&t->type));
	if (!f->out[f->n])
		return KC_ENOMEM;
	f->t[f->n++] = t;
	return 0;
}

void golden_fetch_release(struct golden_fetch *f)
{
	free(f->t);
	free(f->out);
	*f = (struct golden_fetch){0};
}

/* ---- a network as a graph with data ---- */

void net_out(struct net *n, const char *name, struct kc_tensor *t)
{
	KC_ASSERT((size_t)n->n_out < KC_COUNT(n->out));
	n->out[n->n_out].name = name;
	n->out[n->n_out++].t = t;
}

struct kc_tensor *net_feed(struct net *n, const char *name, struct kc_type type, double *data)
{
	struct kc_tensor *t = kc_input(n->g, name, type);

	KC_ASSERT(n->n_feed < NET_FEEDS);
	n->feed[n->n_feed++] = (struct test_feed){t, data};
	return t;
}

struct kc_tensor *net_fail(struct net *n)
{
	return kc_graph_fail(n->g, "%s", kc_errmsg());
}

struct kc_tensor *net_input(struct net *n, const char *name)
{
	struct kc_type type;
	double *data;

	if (golden_type(n->st, name, &type) < 0)
		return net_fail(n);
	data = golden_tensor(n->st, name, NULL);
	return data ? net_feed(n, name, type, data) : net_fail(n);
}

struct kc_tensor *net_frames(struct net *n, const char *name)
{
	struct kc_type type, bytes;
	struct kc_buf to, from;
	double *data, *planes;

	if (golden_type(n->st, name, &bytes) < 0 || bytes.ndim != 4)
		return net_fail(n);
	type = KC_TYPE(KC_F64, bytes.dim[0], bytes.dim[3], bytes.dim[1], bytes.dim[2]);
	data = golden_tensor(n->st, name, NULL);
	planes = kc_calloc((size_t)kc_numel(&type), sizeof *planes);
	if (!data || !planes) {
		free(data);
		free(planes);
		return net_fail(n);
	}
	from = kc_buf_of(data, &type, KC_CLAST);
	to = kc_buf_of(planes, &type, KC_PLAIN);
	kc_copy(&to, &from);
	free(data);
	type.dtype = KC_REAL;
	return net_feed(n, name, type, planes);
}

/* ---- running ---- */

/* "feature_::4" is every fourth row and column of "feature". */
static struct kc_tensor *find_out(struct net *n, const char *name)
{
	const char *at = strstr(name, "_::");
	size_t len = at ? (size_t)(at - name) : strlen(name);

	for (int i = 0; i < n->n_out; i++)
		if (strlen(n->out[i].name) == len && !strncmp(n->out[i].name, name, len))
			return at ? kc_subsample(n->g, n->out[i].t, strtol(at + 3, NULL, 10))
				  : n->out[i].t;
	return NULL;
}

static int want_gradients(struct net *n, struct golden_values *values, struct golden_fetch *fetch)
{
	size_t count = n->m.params->n;
	struct kc_tensor **wrt = kc_calloc(2 * count, sizeof(struct kc_tensor *)), **grad;
	char name[NAME];
	int rc = wrt ? 0 : KC_ENOMEM, k = 0;

	grad = wrt + count;
	for (size_t i = 0; !rc && i < count; i++)
		if (n->m.params->v[i]->trainable && !n->m.params->v[i]->statistic)
			wrt[k++] = kc_param_value(n->g, n->m.params->v[i]);
	if (!rc)
		rc = kc_grad(n->g, n->loss, NULL, wrt, k, grad);
	for (int i = 0; !rc && i < k; i++) {
		snprintf(name, sizeof name, "grad.%s", kc_tensor_param(wrt[i])->name);
		rc = golden_want(fetch, values, name, grad[i]);
	}
	free(wrt);
	return rc;
}

static int want_all(struct net *n, struct golden_values *values, struct golden_fetch *fetch)
{
	for (size_t i = 0; i < n->st->n; i++) {
		struct kc_tensor *t = find_out(n, n->st->tensors[i].name);

		if (t)
			KC_TRY(golden_want(fetch, values, n->st->tensors[i].name, t));
	}
	if (n->loss && kc_st_meta(n->st, "gradient_norm_sum_projection"))
		KC_TRY(want_gradients(n, values, fetch));
	return kc_graph_status(n->g);
}

static int compute(struct golden *g, const struct kc_st *st, enum golden_mode mode,
		   struct golden_values *values)
{
	const char *name = kc_st_meta(st, "weights");
	struct kc_plan_opts opts = golden_plan_opts(mode);
	struct golden_fetch fetch = {0};
	struct net n = {.st = st};
	const struct net_kind *kind = net_find(name);
	int rc;

	if (!kind)
		return KC_FAIL(KC_ENOSUP, "unknown network \"%s\"", name);
	n.g = kc_graph_new(&kc_layers);
	n.m = (struct kc_model){.g = n.g, .params = kc_params_new(golden_real(mode))};
	rc = n.g && n.m.params ? 0 : KC_ENOMEM;
	if (!rc)
		kind->build(&n);
	if (!rc)
		rc = kc_graph_status(n.g);
	if (!rc)
		rc = want_all(&n, values, &fetch);
	if (!rc)
		rc = golden_fill(g, n.m.params, name, golden_seed(st), false);
	if (!rc)
		rc = test_run(n.g, g->device, &opts, n.feed, n.n_feed, fetch.t, fetch.n, fetch.out);
	if (!rc && g->trace)
		rc = golden_trace(g, st, n.g, &opts, n.feed, n.n_feed);
	for (int i = 0; i < n.n_feed; i++)
		free(n.feed[i].data);
	golden_fetch_release(&fetch);
	kc_model_release(&n.m);
	kc_params_free(n.m.params);
	kc_graph_free(n.g);
	return rc;
}

/* ---- comparing ---- */

/* The tensor that a magnitude belongs to: "x", or "x" of "x_::8". */
static const char *stored_name(const struct kc_st *st, const char *key, char name[NAME])
{
	const char *end = strstr(key, "_::");

	if (kc_st_find(st, key))
		return key;
	snprintf(name, NAME, "%.*s", end ? (int)(end - key) : 0, key);
	return kc_st_find(st, name) ? name : NULL;
}

static void compare_outputs(struct golden_case *c, const struct kc_st *st,
			    const struct golden_values *values, const struct kc_json *largest,
			    const struct kc_json *spread, double spreads)
{
	for (const struct kc_json *v = largest->first; v; v = v->next) {
		double least = 1e-6 * v->number, *expected;
		const struct golden_value *got;
		char room[NAME];
		const char *name = stored_name(st, v->key, room);
		size_t n = 0;

		if (!name)
			continue;               /* a magnitude without its values */
		got = golden_get(values, name);
		if (!got) {
			golden_fail(c, "%s was not computed", name);
			continue;
		}
		expected = golden_tensor(st, name, &n);
		if (!expected || n != got->n)
			golden_fail(c, "%s: %zu elements, expected %zu", name, got->n, n);
		else
			golden_compare(c, name, got->v, expected, n, (struct golden_tol){
				.abs = c->g->mode == GOLDEN_F64 ? least
					: fmax(least, spreads * golden_json_number(spread,
									   v->key))});
		free(expected);
	}
}

static int compare(struct golden_case *c, const struct kc_st *st,
		   const struct golden_values *values)
{
	struct kc_json *largest = NULL, *spread = NULL, *summaries = NULL;
	const char *text = kc_st_meta(st, "gradient_norm_rel_spread");
	double spreads = golden_spreads(c->g, net_find(kc_st_meta(st, "weights"))->spreads);
	double rel = text && c->g->mode != GOLDEN_F64 ? spreads * strtod(text, NULL) : 0, sums;
	int rc = golden_meta(st, "max_abs", &largest);

	if (!rc)
		rc = golden_meta(st, "spread_f32_f64_max_abs", &spread);
	if (!rc)
		compare_outputs(c, st, values, largest, spread, spreads);
	if (!rc && kc_st_meta(st, "gradient_norm_sum_projection")) {
		rc = golden_meta(st, "gradient_norm_sum_projection", &summaries);
		rel = fmax(rel, 1e-6);
		/* A relu whose input is 0 within rounding turns its part of a gradient:
			by less than
		 * 1e-3 of its length here, and more in sums than in norms. */
		sums = rel;
		if (c->g->mode != GOLDEN_F64) {
			sums = fmax(3 * rel, 2e-3);
			rel = fmax(rel, 1e-3);
		}
		if (!rc)
			golden_summaries(c, summaries, values, "grad.", rel, sums);
	}
	kc_json_free(largest);
	kc_json_free(spread);
	kc_json_free(summaries);
	return rc;
}

/*
 * bf16 has 2^15 times the rounding error of float32.  Where that turns the file's difference
 * between float32 and float64 into much of a value, bf16 has nothing to say of it, nor of the
 * gradients behind it: eccv16 in training, whose batch norms see a handful of pixels.
 */
static bool is_noise(const struct kc_json *spread, const struct kc_json *largest, const char *name)
{
	double off = golden_json_number(spread, name), size = golden_json_number(largest, name);

	return strcmp(name, "dx") && off * 0x1p15 > 0.3 * size;
}

static int leave_out_noise(const struct kc_st *st, struct golden_values *values)
{
	struct kc_json *largest = NULL, *spread = NULL;
	bool any = false;
	int rc = golden_meta(st, "max_abs", &largest);

	if (!rc)
		rc = golden_meta(st, "spread_f32_f64_max_abs", &spread);
	for (size_t i = 0; !rc && i < values->n; i++)
		if (is_noise(spread, largest, values->v[i].name)) {
			values->v[i].n = 0;
			any = true;
		}
	for (size_t i = 0; any && i < values->n; i++)
		if (!strncmp(values->v[i].name, "grad.", 5))
			values->v[i].n = 0;
	kc_json_free(largest);
	kc_json_free(spread);
	return rc;
}

static void compare_low(struct golden_case *c, const struct kc_st *st,
			const struct golden_values *values)
{
	struct golden_values full = {0};

	golden_error(c, compute(c->g, st, GOLDEN_F32, &full));
	golden_error(c, leave_out_noise(st, &full));
	if (!c->failures)
		golden_distances(c, values, &full,
				 net_find(kc_st_meta(st, "weights"))->room);
	golden_release(&full);
}

void golden_net(struct golden *g, const struct kc_st *st)
{
	struct golden_values values = {0};
	struct golden_case c;

	if (!golden_begin(g, &c, kc_st_meta(st, "weights")))
		return;
	golden_error(&c, compute(g, st, g->mode, &values));
	if (!c.failures && g->mode == GOLDEN_BF16)
		compare_low(&c, st, &values);
	else if (!c.failures)
		golden_error(&c, compare(&c, st, &values));
	golden_end(&c);
	golden_release(&values);
}
