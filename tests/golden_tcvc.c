/* TCVC: forward pass, gradients, training. */
#include "tests/golden_tcvc.h"

#include "losses/pixel.h"
#include "losses/warp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int steps[] = {1, 2};

/* ---- windows of a file ---- */

int tcvc_dims(const struct kc_st *st, struct tcvc_dims *d)
{
	const char *frames = kc_st_meta(st, "frames");
	struct kc_type t;

	KC_TRY(golden_type(st, "lab", &t));
	if (t.ndim != 5 || t.dim[2] != 3 || !frames || t.dim[1] != strtol(frames, NULL, 10) ||
	    t.dim[1] < 3 || t.dim[1] > TCVC_FRAMES)
		return KC_FAIL(KC_ESHAPE, "%s: \"lab\" is not N x frames x 3 x H x W", st->path);
	*d = (struct tcvc_dims){.n = (int)t.dim[0], .frames = (int)t.dim[1], .h = t.dim[3],
				.w = t.dim[4]};
	d->n_pairs = kc_tcvc_pairs(d->frames, steps, 2, NULL);
	return 0;
}

/* Channels first .. first + count - 1 of "lab" of windows from .. from + n - 1, frame-major. */
static int load_lab(const struct kc_st *st, const struct tcvc_dims *d, int from, int n, int first,
		    int count,
		    double *to)
{
	size_t plane = (size_t)(d->h * d->w);
	double *lab = golden_tensor(st, "lab", NULL);

	if (!lab)
		return KC_EFORMAT;
	for (int t = 0; t < d->frames; t++)
		for (int s = 0; s < n; s++) {
			size_t row = (size_t)((from + s) * d->frames + t) * 3 + (size_t)first;

			memcpy(to, lab + row * plane, (size_t)count * plane * sizeof *to);
			to += (size_t)count * plane;
		}
	free(lab);
	return 0;
}

static int load_flows(const struct kc_st *st, const struct tcvc_dims *d, int window, int n,
		      double *to)
{
	struct kc_pair pairs[TCVC_PAIRS];
	size_t size = (size_t)n * 2 * (size_t)(d->h * d->w), got;

	kc_tcvc_pairs(d->frames, steps, 2, pairs);
	for (int p = 0; p < d->n_pairs; p++, to += size) {
		char name[48];
		double *flow;

		if (window < 0)
			snprintf(name, sizeof name, "flow_%d_%d", pairs[p].from, pairs[p].to);
		else
			snprintf(name, sizeof name, "flow%d_%d_%d", window, pairs[p].from,
				 pairs[p].to);
		flow = golden_tensor(st, name, &got);
		if (!flow)
			return KC_EFORMAT;
		if (got == size)
			memcpy(to, flow, size * sizeof *to);
		free(flow);
		if (got != size)
			return KC_FAIL(KC_ESHAPE, "%s: \"%s\" has another size", st->path, name);
	}
	return 0;
}

int tcvc_load(struct tcvc *t, const struct kc_st *st, int window)
{
	int from = KC_MAX(window, 0);

	KC_TRY(load_lab(st, &t->d, from, t->n, 0, 1, t->feed[0].data));
	KC_TRY(load_lab(st, &t->d, from, t->n, 1, 2, t->feed[1].data));
	return t->n_feed > 2 ? load_flows(st, &t->d, window, t->n, t->feed[2].data) : 0;
}

/* ---- the network ---- */

static struct kc_tensor *add_input(struct tcvc *t, const char *name, int64_t rows, int64_t channels)
{
	struct kc_type type = KC_TYPE(KC_REAL, rows, channels, t->d.h, t->d.w);
	struct test_feed *f = &t->feed[t->n_feed++];

	f->input = kc_input(t->g, name, type);
	f->data = kc_calloc((size_t)kc_numel(&type), sizeof(double));
	return f->data ? f->input : kc_graph_fail(t->g, "%s", kc_errmsg());
}

static void build(struct tcvc *t, bool given)
{
	struct kc_tcvc_args a = {.frames = t->d.frames, .steps = steps, .n_steps = 2};

	t->l = add_input(t, "l", (int64_t)t->d.frames * t->n, 1);
	t->ab = add_input(t, "ab", (int64_t)t->d.frames * t->n, 2);
	if (given)
		a.flows = add_input(t, "flows", (int64_t)t->d.n_pairs * t->n, 2);
	t->net = kc_tcvc(&t->m, t->l, &a);
	t->losses[0] = kc_loss_mse(t->g, t->net.ab, t->ab);
	for (int i = 0; i < 2; i++) {
		struct kc_tensor *flows = kc_tcvc_step_flows(t->g, t->net.flows, steps[i], &a);

		if (!flows) {
			kc_graph_fail(t->g, "a window of %d frames is too short", t->d.frames);
			return;
		}
		t->step[i] = kc_self_regularize(t->g, t->l, t->net.ab, flows, 50);
		t->losses[i + 1] = t->step[i].loss;
	}
}

int tcvc_open(struct tcvc *t, const struct kc_st *st, int n, bool given, enum kc_dtype real)
{
	*t = (struct tcvc){0};
	KC_TRY(tcvc_dims(st, &t->d));
	if (t->d.n_pairs > TCVC_PAIRS)
		return KC_FAIL(KC_ESHAPE, "%s: windows of %d frames", st->path, t->d.frames);
	t->n = n ? n : t->d.n;
	t->g = kc_graph_new(&kc_layers);
	t->m = (struct kc_model){.g = t->g, .params = kc_params_new(real)};
	if (!t->g || !t->m.params)
		return KC_ENOMEM;
	build(t, given);
	return kc_graph_status(t->g);
}

void tcvc_close(struct tcvc *t)
{
	for (int i = 0; i < t->n_feed; i++)
		free(t->feed[i].data);
	kc_model_release(&t->m);
	kc_params_free(t->m.params);
	kc_graph_free(t->g);
}

struct kc_tensor *tcvc_total(struct tcvc *t, double pixel_weight)
{
	struct kc_tensor *sum = kc_add(t->g, t->losses[1], t->losses[2]);

	return pixel_weight == 0 ? sum
		: kc_add(t->g, kc_scale(t->g, t->losses[0], pixel_weight), sum);
}

int tcvc_trainable(struct tcvc *t, struct kc_tensor **wrt, int room)
{
	int n = 0;

	for (size_t i = 0; i < t->m.params->n && n < room; i++)
		if (t->m.params->v[i]->trainable)
			wrt[n++] = kc_param_value(t->g, t->m.params->v[i]);
	return n;
}

/* ---- running ---- */

/* Rows t * n + s of x as [s][t]: the order of the file. */
static struct kc_tensor *by_window(struct tcvc *t, struct kc_tensor *x)
{
	const int64_t *d = x->type.dim;
	int64_t dim[5] = {d[0] / t->n, t->n, d[1], d[2], d[3]};

	return kc_permute(t->g, kc_reshape(t->g, x, 5, dim), (int[]){1, 0, 2, 3, 4});
}

/* The calls of the public code in order: pairs repeat. */
static int call_order(int frames, struct kc_pair calls[2 * TCVC_PAIRS])
{
	int n = 0;

	for (int i = frames - 2; i >= 1; i--)
		calls[n++] = (struct kc_pair){i, i + 1};
	for (int i = 1; i < frames; i++)
		for (int k = 0; k < (i < frames - 1 ? 2 : 1); k++)
			calls[n++] = (struct kc_pair){i, i - 1};
	for (int i = 2; i < frames; i++)
		calls[n++] = (struct kc_pair){i, i - 2};
	return n;
}

/* [calls * n,2,h,w], every fourth row and column. */
static struct kc_tensor *flow_calls(struct tcvc *t)
{
	struct kc_pair calls[2 * TCVC_PAIRS], pairs[TCVC_PAIRS];
	struct kc_tensor *part[2 * TCVC_PAIRS], *flows = kc_subsample(t->g, t->net.flows, 4);
	int n = call_order(t->d.frames, calls);

	kc_tcvc_pairs(t->d.frames, steps, 2, pairs);
	for (int i = 0; i < n; i++) {
		int p = 0;

		while (p < t->d.n_pairs &&
		       (pairs[p].from != calls[i].from || pairs[p].to != calls[i].to))
			p++;
		if (p == t->d.n_pairs)
			return kc_graph_fail(t->g, "no flow from frame %d to frame %d",
					     calls[i].from,
					     calls[i].to);
		part[i] = kc_slice(t->g, flows, 0, (int64_t)p * t->n, t->n, 1);
	}
	return kc_concat(t->g, 0, part, n);
}

static int want_forward(struct tcvc *t, const struct kc_st *st, struct golden_values *values,
			struct golden_fetch *f)
{
	static const char *const names[2][2] = {{"warp1", "mask1"}, {"warp2", "mask2"}};

	KC_TRY(golden_want(f, values, "ab", by_window(t, t->net.ab)));
	for (int i = 0; i < 2; i++) {
		KC_TRY(golden_want(f, values, names[i][0], by_window(t, t->step[i].warped)));
		KC_TRY(golden_want(f, values, names[i][1], by_window(t, t->step[i].mask)));
	}
	for (int i = 0; i < 3; i++)
		KC_TRY(golden_want(f, values, tcvc_loss_names[i], t->losses[i]));
	if (kc_st_find(st, "flow_calls"))
		KC_TRY(golden_want(f, values, "flow_calls", flow_calls(t)));
	return kc_graph_status(t->g);
}

/* Gradients "grad_pixW.parameter" for every pixel weight W of the file. */
static int want_gradients(struct tcvc *t, const struct kc_json *summaries,
			  struct golden_values *values,
			  struct golden_fetch *f)
{
	struct kc_tensor *wrt[TCVC_PARAMS], *grad[TCVC_PARAMS];
	int n = tcvc_trainable(t, wrt, TCVC_PARAMS);

	for (const struct kc_json *v = summaries->first; v; v = v->next) {
		double weight = strncmp(v->key, "pix", 3) ? NAN : strtod(v->key + 3, NULL);
		char name[192];

		KC_TRY(kc_grad(t->g, tcvc_total(t, weight), NULL, wrt, n, grad));
		for (int i = 0; i < n; i++) {
			snprintf(name, sizeof name, "grad_%s.%s", v->key,
				 kc_tensor_param(wrt[i])->name);
			KC_TRY(golden_want(f, values, name, grad[i]));
		}
	}
	return kc_graph_status(t->g);
}

/* summaries NULL: the forward pass, else gradients. */
static int compute(struct golden *g, const struct kc_st *st, const struct kc_json *summaries,
		   enum golden_mode mode, struct golden_values *values)
{
	struct kc_plan_opts opts = golden_plan_opts(mode);
	struct golden_fetch f = {0};
	struct tcvc t;
	int rc = tcvc_open(&t, st, 0, !kc_st_find(st, "flow_calls"), golden_real(mode));

	if (!rc)
		rc = summaries ? want_gradients(&t, summaries, values, &f)
			       : want_forward(&t, st, values, &f);
	if (!rc)
		rc = golden_fill(g, t.m.params, "tcvc", golden_seed(st), false);
	if (!rc)
		rc = tcvc_load(&t, st, -1);
	if (!rc)
		rc = test_run(t.g, g->device, &opts, t.feed, t.n_feed, f.t, f.n, f.out);
	golden_fetch_release(&f);
	tcvc_close(&t);
	return rc;
}

/* ---- comparing ---- */

const char *const tcvc_loss_names[3] = {"l_pix", "warp_loss", "warp_loss2"};

static double nth(const struct kc_json *list, int i)
{
	const struct kc_json *v = list && list->kind == KC_JSON_ARRAY ? list->first : NULL;

	for (; v && i; i--)
		v = v->next;
	return v && v->kind == KC_JSON_NUMBER ? v->number : 0;
}

static void compare_maps(struct golden_case *c, const struct kc_st *st,
			 const struct kc_json *spread,
			 const struct golden_values *values)
{
	for (size_t i = 0; i < values->n; i++) {
		const struct golden_value *v = &values->v[i];
		bool flow = !strcmp(v->name, "flow_calls");
		double of_max = 1e-6, *expected;
		struct golden_tol tol = {0};
		size_t n = 0;

		if (!kc_st_find(st, v->name))
			continue;
		expected = golden_tensor(st, v->name, &n);
		/* The file has no spread of its flows; flownet2's is 1.3e-6 of the largest. */
		if (c->g->mode == GOLDEN_F32 && flow)
			of_max = 1.3e-5;
		else if (c->g->mode == GOLDEN_F32)
			tol.abs = 10 * golden_json_number(spread, v->name);
		tol.of_max = of_max;
		if (!expected || n != v->n)
			golden_fail(c, "%s: %zu elements, expected %zu", v->name, v->n, n);
		else
			golden_compare(c, v->name, v->v, expected, n, tol);
		free(expected);
	}
}

static int compare_forward(struct golden_case *c, const struct kc_st *st,
			   const struct golden_values *values)
{
	struct kc_json *losses = NULL, *spread = NULL;
	int rc = golden_meta(st, "losses", &losses);

	if (!rc)
		rc = golden_meta(st, "spread_f32_f64", &spread);
	if (!rc)
		compare_maps(c, st, spread, values);
	for (int i = 0; !rc && i < 3; i++) {
		double want = golden_json_number(losses, tcvc_loss_names[i]), rel = 1e-6;

		if (c->g->mode == GOLDEN_F32)
			rel = fmax(rel, 10 * nth(kc_json_get(spread, "loss_rel"), i));
		golden_number(c, tcvc_loss_names[i], golden_get(values, tcvc_loss_names[i])->v[0],
			      want, rel * fabs(want));
	}
	kc_json_free(losses);
	kc_json_free(spread);
	return rc;
}

/* Stored gradients are whole or the first values of a parameter's. */
static void compare_values(struct golden_case *c, const struct kc_st *st,
			   const struct golden_values *values,
			   double of_max)
{
	for (size_t i = 0; i < st->n; i++) {
		const struct kc_st_tensor *t = &st->tensors[i];
		const struct golden_value *v = golden_get(values, t->name);
		double *expected = golden_tensor(st, t->name, NULL);

		if (!v || v->n < t->count)
			golden_fail(c, "%s was not computed", t->name);
		else if (expected)
			golden_compare(c, t->name, v->v, expected, t->count,
				       (struct golden_tol){.of_max = of_max, .ties = true});
		free(expected);
	}
}

static int compare_gradients(struct golden_case *c, const struct kc_st *st,
			     const struct kc_json *summaries,
			     const struct golden_values *values)
{
	/* 9.3 times with an emulated GPU that adds one by one in float32. */
	double norms = 1e-6, elements = 1e-6, spreads = golden_spreads(c->g, 30);
	struct kc_json *spread = NULL;
	char prefix[64];

	KC_TRY(golden_meta(st, "spread_f32_f64", &spread));
	if (c->g->mode == GOLDEN_F32) {
		norms = fmax(norms, spreads * golden_json_number(spread, "grad_norm_rel_max"));
		elements = fmax(elements,
				spreads * golden_json_number(spread, "grad_value_rel_max"));
	}
	kc_json_free(spread);
	for (const struct kc_json *v = summaries->first; v; v = v->next) {
		snprintf(prefix, sizeof prefix, "grad_%s.", v->key);
		golden_summaries(c, v, values, prefix, norms, elements);
	}
	compare_values(c, st, values, elements);
	return 0;
}

/* inputs: the file that holds the windows; st: the file that is checked. */
static void check(struct golden *g, const char *name, const struct kc_st *inputs,
		  const struct kc_st *st,
		  const struct kc_json *summaries)
{
	struct golden_values values = {0}, full = {0};
	struct golden_case c;

	if (!golden_begin(g, &c, name))
		return;
	golden_error(&c, compute(g, inputs, summaries, g->mode, &values));
	if (!c.failures && g->mode == GOLDEN_BF16) {
		golden_error(&c, compute(g, inputs, summaries, GOLDEN_F32, &full));
		golden_distances(&c, &values, &full, golden_room(5e-2));
	} else if (!c.failures) {
		golden_error(&c, summaries ? compare_gradients(&c, st, summaries, &values)
					   : compare_forward(&c, st, &values));
	}
	golden_end(&c);
	golden_release(&values);
	golden_release(&full);
}

void golden_tcvc_forward(struct golden *g, const struct kc_st *st)
{
	check(g, kc_st_find(st, "flow_calls") ? "tcvc forward, net" : "tcvc forward, given", st, st,
	      NULL);
}

/* "dir/tcvc_grad_x" -> "dir/tcvc_forward_x" */
static char *forward_path(const char *path)
{
	const char *name = strrchr(path, '/'), *at = strstr(name ? name : path, "grad");

	return at ? kc_format("%.*sforward%s", (int)(at - path), path, at + 4) : NULL;
}

static int grad_with_inputs(struct golden *g, const struct kc_st *st, const char *path)
{
	struct kc_json *summaries;
	struct kc_st inputs;
	int rc;

	KC_TRY(kc_st_open(path, &inputs));
	rc = golden_meta(st, "norm_sum_projection", &summaries);
	if (!rc) {
		check(g, kc_st_find(&inputs, "flow_calls") ? "tcvc gradient, net"
							   : "tcvc gradient, given",
		      &inputs, st, summaries);
		kc_json_free(summaries);
	}
	kc_st_close(&inputs);
	return rc;
}

void golden_tcvc_grad(struct golden *g, const struct kc_st *st)
{
	char *path = forward_path(st->path);
	int rc = path ? grad_with_inputs(g, st, path)
		      : KC_FAIL(KC_ENOENT, "%s: its name has no \"grad\" to find the inputs by",
				st->path);
	struct golden_case c;

	free(path);
	if (rc < 0) {
		golden_begin(g, &c, st->path);
		golden_error(&c, rc);
		golden_end(&c);
	}
}
