#include "layers/cuda/cudnn_conv.h"

#include "layers/cuda/cudnn_cache.h"
#include "layers/layers.h"
#include "layers/ops.h"

#include <stdio.h>

/* ---- signatures ---- */

/* One spatial dimension becomes two, the first of size 1. */
static void copy_dims(int64_t to[5], const struct kc_type *t)
{
	int skip = t->ndim == 3;

	for (int i = 0; i < t->ndim; i++)
		to[i + (i >= 2 ? skip : 0)] = t->dim[i];
	if (skip)
		to[2] = 1;
}

static enum kc_cudnn_pass pass_of(const struct kc_op *op)
{
	KC_ASSERT(op == &kc_op_conv || op == &kc_op_conv_dgrad || op == &kc_op_conv_wgrad);
	return op == &kc_op_conv ? KC_CUDNN_FPROP : op == &kc_op_conv_dgrad ? KC_CUDNN_DGRAD
									    : KC_CUDNN_WGRAD;
}

/* Channels that are nothing but zeros: weights have zeros for them, too. */
static void add_channels(struct kc_cudnn_conv *c, const struct kc_buf *x, const struct kc_buf *y)
{
	int64_t all = KC_CUDNN_CHANNELS;

	if (c->groups > 1)
		return;
	c->x[1] += x->pads;
	c->y[1] += y->pads;
	if (c->pass == KC_CUDNN_FPROP && c->in != c->out)
		c->y[1] = (c->y[1] + all - 1) / all * all;
	c->w[0] = c->y[1];
	c->w[1] = c->x[1];
}

void kc_cudnn_conv_of(struct kc_cudnn_conv *c, const struct kc_step_info *info, bool tf32)
{
	enum kc_cudnn_pass pass = pass_of(info->op);
	int skip = info->in[0].type.ndim == 3;
	const struct kc_conv_attr *a = info->attr;
	const struct kc_buf *x = pass == KC_CUDNN_DGRAD ? &info->out[0] : &info->in[0];
	const struct kc_buf *w = pass == KC_CUDNN_WGRAD ? &info->out[0] : &info->in[1];
	const struct kc_buf *y = pass == KC_CUDNN_FPROP	  ? &info->out[0]
				 : pass == KC_CUDNN_DGRAD ? &info->in[0]
							  : &info->in[1];

	memset(c, 0, sizeof *c);
	c->pass = pass;
	c->nd = a->nd + skip;
	copy_dims(c->x, &x->type);
	copy_dims(c->w, &w->type);
	copy_dims(c->y, &y->type);
	c->stride[0] = c->dilation[0] = 1;
	for (int i = 0; i < a->nd; i++) {
		c->stride[skip + i] = a->stride[i];
		c->pad[skip + i] = a->pad[i];
		c->dilation[skip + i] = a->dilation[i];
	}
	c->groups = a->groups;
	c->in = info->in[0].type.dtype;
	c->out = info->out[0].type.dtype;
	add_channels(c, x, y);
	if (!(info->out[0].pads && a->act == KC_SIGMOID)) {
		c->bias = info->n_in > 2;
		c->act = pass == KC_CUDNN_WGRAD ? 0 : a->act;
	}
	c->slope = c->act == KC_LEAKY ? a->slope : 0;
	c->tf32 = tf32 && c->in == KC_F32;
	c->deterministic = info->deterministic;
}

static const char *const pass_name[] = {"fprop", "dgrad", "wgrad"};

static void put_dims(FILE *f, const char *name, const int64_t *dim, int64_t n)
{
	fprintf(f, " %s", name);
	for (int64_t i = 0; i < n; i++)
		fprintf(f, "%s%lld", i ? "," : "", (long long)dim[i]);
}

void kc_cudnn_conv_key(const struct kc_cudnn_conv *c, char *key)
{
	FILE *f = fmemopen(key, KC_CUDNN_KEY, "w");

	key[0] = 0;
	if (!f)
		return;
	fprintf(f, "%s %dd", pass_name[c->pass], (int)c->nd);
	put_dims(f, "x", c->x, c->nd + 2);
	put_dims(f, "w", c->w, c->nd + 2);
	put_dims(f, "y", c->y, c->nd + 2);
	put_dims(f, "stride", c->stride, c->nd);
	put_dims(f, "pad", c->pad, c->nd);
	put_dims(f, "dilation", c->dilation, c->nd);
	fprintf(f, " groups%lld %s>%s", (long long)c->groups, kc_dtype_name((enum kc_dtype)c->in),
		kc_dtype_name((enum kc_dtype)c->out));
	fprintf(f, "%s act%lld,%.9g%s%s", c->bias ? " bias" : "", (long long)c->act, c->slope,
		c->tf32 ? " tf32" : "", c->deterministic ? " deterministic" : "");
	fclose(f);
}

/* ---- graphs ---- */

/* Addresses are those of whole tensors or of one sample inside them. */
static int64_t alignment(const struct kc_cudnn_tensor *t)
{
	int64_t size = (int64_t)kc_dtype_size(t->dtype), sample = t->stride[0] * size, align = 16;

	while (align > size && sample % align)
		align /= 2;
	return align;
}

/* Channels-last in memory. */
static struct kc_cudnn_tensor tensor(int64_t dtype, int64_t nd, const int64_t *dim)
{
	struct kc_cudnn_tensor t = {.dtype = (enum kc_dtype)dtype, .ndim = (int)nd + 2};
	int64_t step = dim[1];

	for (int i = 0; i < t.ndim; i++)
		t.dim[i] = dim[i];
	for (int i = t.ndim - 1; i >= 2; i--) {
		t.stride[i] = step;
		step *= dim[i];
	}
	t.stride[1] = 1;
	t.stride[0] = step;
	t.align = alignment(&t);
	return t;
}

static struct kc_cudnn_tensor of_x(const struct kc_cudnn_conv *c, int64_t dtype)
{
	return tensor(dtype, c->nd, c->x);
}

static struct kc_cudnn_tensor of_y(const struct kc_cudnn_conv *c, int64_t dtype)
{
	return tensor(dtype, c->nd, c->y);
}

/* Weights are packed, and their gradients unpacked, by us: they lie on lines of their own. */
static struct kc_cudnn_tensor of_w(const struct kc_cudnn_conv *c, int64_t dtype)
{
	struct kc_cudnn_tensor t = tensor(dtype, c->nd, c->w);

	t.align = 16;
	return t;
}

static struct kc_cudnn_tensor of_result(const struct kc_cudnn_conv *c, int64_t dtype)
{
	return c->pass == KC_CUDNN_FPROP   ? of_y(c, dtype)
	       : c->pass == KC_CUDNN_DGRAD ? of_x(c, dtype)
					   : of_w(c, dtype);
}

static struct kc_cudnn_tensor of_bias(const struct kc_cudnn_conv *c, int64_t dtype)
{
	int64_t dim[5] = {1, c->pass == KC_CUDNN_DGRAD ? c->x[1] : c->y[1], 1, 1, 1};
	struct kc_cudnn_tensor t = tensor(dtype, c->nd, dim);

	t.align = 16;
	return t;
}

static int add_tensor(struct kc_cudnn_graph *g, struct kc_cudnn_tensor t)
{
	return kc_cudnn_graph_tensor(g, &t);
}

static int add_inner(struct kc_cudnn_graph *g, struct kc_cudnn_tensor t)
{
	t.inner = true;
	return kc_cudnn_graph_tensor(g, &t);
}

static enum kc_cudnn_pointwise pointwise_of(int64_t act)
{
	return act == KC_TANH	   ? KC_CUDNN_TANH
	       : act == KC_SIGMOID ? KC_CUDNN_SIGMOID
				   : KC_CUDNN_RELU;
}

/* What follows the convolution's inner result in one kernel with it. */
static void epilogue(struct kc_cudnn_graph *g, const struct kc_cudnn_conv *c, int64_t form, int sum)
{
	int more = -1, out;

	if (form == KC_FORM_INNER) {
		if (c->pass == KC_CUDNN_WGRAD)
			more = add_tensor(g, of_result(c, KC_F32));
		out = add_tensor(g, of_result(c, KC_F32));
		kc_cudnn_graph_pointwise(g, more < 0 ? KC_CUDNN_COPY : KC_CUDNN_ADD, sum, more, out,
					 0);
		return;
	}
	if (c->bias) {
		int bias = add_tensor(g, of_bias(c, c->in));

		more = c->act ? add_inner(g, of_result(c, KC_F32)) :
				add_tensor(g, of_result(c, c->out));
		kc_cudnn_graph_pointwise(g, KC_CUDNN_ADD, sum, bias, more, 0);
		sum = more;
	}
	if (c->act) {
		out = add_tensor(g, of_result(c, c->out));
		kc_cudnn_graph_pointwise(g, pointwise_of(c->act), sum, -1, out,
					 c->act == KC_LEAKY ? c->slope : 0);
	}
}

static void describe(struct kc_cudnn_graph *g, const struct kc_cudnn_conv *c, int64_t form)
{
	static const int64_t result[KC_FORMS] = {
		[KC_FORM_FUSED] = KC_F32, [KC_FORM_WIDE] = KC_F32, [KC_FORM_INNER] = KC_F32,
		[KC_FORM_LOW] = KC_BF16};
	struct kc_cudnn_window win = {.nd = (int)c->nd};
	int64_t in = form == KC_FORM_WIDE ? KC_F32 : c->in;
	int64_t out = form == KC_FORM_DIRECT ? c->out : result[form];
	bool whole = form != KC_FORM_FUSED && form != KC_FORM_INNER;
	int x = -1, w = -1, y = -1, r;

	memcpy(win.stride, c->stride, sizeof win.stride);
	memcpy(win.pad, c->pad, sizeof win.pad);
	memcpy(win.dilation, c->dilation, sizeof win.dilation);
	if (c->pass != KC_CUDNN_DGRAD)
		x = add_tensor(g, of_x(c, in));
	if (c->pass == KC_CUDNN_FPROP)
		w = add_tensor(g, of_w(c, in));
	if (c->pass != KC_CUDNN_FPROP)
		y = add_tensor(g, of_y(c, in));
	if (c->pass == KC_CUDNN_DGRAD)
		w = add_tensor(g, of_w(c, in));
	r = whole ? add_tensor(g, of_result(c, out)) : add_inner(g, of_result(c, out));
	*(c->pass == KC_CUDNN_FPROP ? &y : c->pass == KC_CUDNN_DGRAD ? &x : &w) = r;
	kc_cudnn_graph_conv(g, (enum kc_cudnn_pass)c->pass, &win, x, w, y);
	if (!whole)
		epilogue(g, c, form, r);
}

static int graph_of(struct kc_cudnn_graph **out, struct kc_cudnn *lib,
		    const struct kc_cudnn_conv *c, int64_t form)
{
	struct kc_cudnn_graph *g;
	int rc;

	KC_TRY(kc_cudnn_graph_open(&g, lib));
	describe(g, c, form);
	rc = kc_cudnn_graph_close(g);
	if (rc < 0) {
		kc_cudnn_graph_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

int kc_cudnn_conv_plan(struct kc_cudnn_plan **out, struct kc_cudnn *lib,
		       const struct kc_cudnn_conv *c, const struct kc_cudnn_choice *choice)
{
	struct kc_cudnn_graph *g;
	int rc;

	KC_TRY(graph_of(&g, lib, c, choice->form));
	rc = kc_cudnn_plan_build(out, g, &choice->config);
	kc_cudnn_graph_free(g);
	return rc;
}

/* ---- candidates ---- */

/* Likeliest first. */
static int forms_of(const struct kc_cudnn_conv *c, int64_t form[KC_FORMS])
{
	int n = 0;

	if (c->in == c->out) {
		if (c->bias || c->act)
			form[n++] = KC_FORM_FUSED;
		form[n++] = KC_FORM_DIRECT;
	} else {
		form[n++] = c->pass == KC_CUDNN_WGRAD ? KC_FORM_LOW : KC_FORM_WIDE;
		form[n++] = KC_FORM_INNER;
	}
	return n;
}

static bool may_use(const struct kc_cudnn_conv *c, const struct kc_cudnn_choice *choice)
{
	unsigned refused = KC_CUDNN_REDUCED_SUMS;

	if (c->deterministic)
		refused |= KC_CUDNN_NONDETERMINISTIC;
	if (c->in == KC_F32 && !c->tf32)
		refused |= KC_CUDNN_TENSOR_CORE | KC_CUDNN_DOWN_CONVERT | KC_CUDNN_FFT |
			   KC_CUDNN_WINOGRAD;
	return !(choice->config.notes & refused);
}

static bool is_same(const struct kc_cudnn_config *a, const struct kc_cudnn_config *b)
{
	return !memcmp(a, b, sizeof *a);
}

struct search {
	struct kc_cudnn *lib;
	const struct kc_cudnn_conv *conv;
	int64_t form;
	bool compiled;                  /* those that are compiled at run time, or the others */
	enum kc_cudnn_effort effort;
};

static bool can_build(struct kc_cudnn_graph *g, struct kc_cudnn_choice *c)
{
	struct kc_cudnn_plan *plan;

	if (kc_cudnn_plan_build(&plan, g, &c->config) < 0)
		return false;
	c->workspace = (int64_t)kc_cudnn_plan_workspace(plan);
	kc_cudnn_plan_free(plan);
	return true;
}

/* Adds to the n that were found what this heuristic names. */
static int search_mode(const struct search *s, struct kc_cudnn_graph *g, enum kc_cudnn_mode mode,
		       struct kc_cudnn_choice *to, int n)
{
	enum { ROOM = 128 };
	struct kc_cudnn_config all[ROOM];
	int found = kc_cudnn_graph_configs(g, mode, all, ROOM);
	int most = s->effort == KC_CUDNN_MANY && !s->compiled ? KC_CUDNN_TRIES : 1;

	for (int i = 0; i < found && n < most; i++) {
		struct kc_cudnn_choice try = {.form = s->form, .config = all[i]};
		bool seen = false;

		for (int k = 0; k < n; k++)
			seen = seen || is_same(&to[k].config, &all[i]);
		if (seen || !may_use(s->conv, &try) ||
		    s->compiled != !!(all[i].notes & KC_CUDNN_RUN_TIME_COMPILED))
			continue;
		if (s->effort != KC_CUDNN_COMPILED && !can_build(g, &try))
			continue;
		to[n++] = try;
	}
	return n;
}

static int search_form(const struct search *s, struct kc_cudnn_choice *to)
{
	bool thorough = s->effort != KC_CUDNN_FIRST;
	struct kc_cudnn_graph *g;
	int n;

	if (graph_of(&g, s->lib, s->conv, s->form) < 0)
		return 0;
	n = search_mode(s, g, thorough ? KC_CUDNN_MODE_B : KC_CUDNN_MODE_A, to, 0);
	if (!n)
		n = search_mode(s, g, KC_CUDNN_FALLBACK, to, 0);
	kc_cudnn_graph_free(g);
	return n;
}

/* What 9.19 has engines for that need no compiling; asking for the rest costs 0.1 s each. */
static bool is_simple(const struct kc_cudnn_conv *c, int64_t form)
{
	if (form == KC_FORM_FUSED)
		return c->pass == KC_CUDNN_FPROP && c->bias &&
		       (c->act == KC_ACT_NONE || c->act == KC_RELU);
	return form != KC_FORM_INNER;
}

int kc_cudnn_conv_candidates(struct kc_cudnn *lib, const struct kc_cudnn_conv *c,
			     enum kc_cudnn_effort effort,
			     struct kc_cudnn_choice to[KC_CUDNN_CANDIDATES])
{
	struct search s = {.lib = lib, .conv = c, .effort = effort};
	int64_t form[KC_FORMS];
	int n_forms = forms_of(c, form), n = 0;

	for (int i = 0; i < n_forms && effort != KC_CUDNN_COMPILED; i++) {
		s.form = form[i];
		if (is_simple(c, form[i]))
			n += search_form(&s, to + n);
	}
	s.compiled = true;
	for (int i = 0; i < n_forms && !n; i++) {
		s.form = form[i];
		n += search_form(&s, to + n);
	}
	return n;
}

/* ---- the choice ---- */

/* What is compiled at run time costs as much at every start: 0.8 s, paid back by 8,000 runs. */
#define COMPILING 1e-4

static double cost(const struct kc_cudnn_choice *c)
{
	return c->seconds + (c->config.notes & KC_CUDNN_RUN_TIME_COMPILED ? COMPILING : 0);
}

/* Keeps the cheapest so far and its plan, which may be NULL before. */
static void time_all(struct kc_cudnn *lib, const struct kc_cudnn_conv *c,
		     const struct kc_cudnn_timer *timer, struct kc_cudnn_choice *all, int n,
		     struct kc_cudnn_choice *best, struct kc_cudnn_plan **best_plan)
{
	for (int i = 0; i < n; i++) {
		struct kc_cudnn_plan *plan;

		if (kc_cudnn_conv_plan(&plan, lib, c, &all[i]) < 0)
			continue;
		all[i].workspace = (int64_t)kc_cudnn_plan_workspace(plan);
		all[i].seconds = *best_plan ? best->seconds : 0;
		if (timer->time(timer->own, c, &all[i], plan, &all[i].seconds) == 0 &&
		    (!*best_plan || cost(&all[i]) < cost(best))) {
			kc_cudnn_plan_free(*best_plan);
			*best_plan = plan;
			*best = all[i];
		} else {
			kc_cudnn_plan_free(plan);
		}
	}
}

/* Compiles nothing where it cannot pay.  False: the guess is left as it is, for want of time. */
static bool choose_by_time(struct kc_cudnn *lib, const struct kc_cudnn_conv *c,
			   const struct kc_cudnn_timer *timer, struct kc_cudnn_choice *best,
			   struct kc_cudnn_plan **plan)
{
	struct kc_cudnn_choice all[KC_CUDNN_CANDIDATES];
	double start = kc_now(), compiled = 0;
	int n = kc_cudnn_conv_candidates(lib, c, KC_CUDNN_MANY, all);

	time_all(lib, c, timer, all, KC_MIN(n, 1), best, plan);
	if (*plan && best->seconds < timer->budget->below && timer->budget->small <= 0) {
		timer->budget->timing -= kc_now() - start;
		return false;
	}
	time_all(lib, c, timer, all + 1, n - 1, best, plan);
	if (*plan && best->seconds > COMPILING && timer->budget->compiling > 0) {
		double before = kc_now();

		n = kc_cudnn_conv_candidates(lib, c, KC_CUDNN_COMPILED, all);
		time_all(lib, c, timer, all, n, best, plan);
		compiled = kc_now() - before;
	}
	timer->budget->compiling -= compiled;
	timer->budget->timing -= kc_now() - start;
	if (*plan && best->seconds < timer->budget->below)
		timer->budget->small -= kc_now() - start;
	return *plan != NULL;
}

/* An engine may take a graph and still fail when it runs. */
static int take_first(struct kc_cudnn *lib, const struct kc_cudnn_conv *c,
		      const struct kc_cudnn_timer *timer, enum kc_cudnn_effort effort,
		      struct kc_cudnn_choice *choice, struct kc_cudnn_plan **plan)
{
	struct kc_cudnn_choice all[KC_CUDNN_CANDIDATES];
	int n = kc_cudnn_conv_candidates(lib, c, effort, all), rc = KC_ENOSUP;

	for (int i = 0; i < n; i++) {
		rc = kc_cudnn_conv_plan(plan, lib, c, &all[i]);
		if (rc < 0)
			continue;
		*choice = all[i];
		rc = timer ? timer->time(timer->own, c, &all[i], *plan, NULL) : 0;
		if (rc == 0 || rc == KC_ENOMEM)
			return 0;
		kc_cudnn_plan_free(*plan);
		*plan = NULL;
	}
	return n ? rc : KC_FAIL(KC_ENOSUP, "cudnn: there is no engine");
}

int kc_cudnn_conv_choose(struct kc_cudnn *lib, const struct kc_cudnn_conv *c,
			 struct kc_cudnn_cache *cache, const struct kc_cudnn_timer *timer,
			 struct kc_cudnn_choice *choice, struct kc_cudnn_plan **plan)
{
	bool timed = timer && timer->budget && timer->budget->timing > 0;
	char key[KC_CUDNN_KEY];
	int rc = 0;

	kc_cudnn_conv_key(c, key);
	if (cache && kc_cudnn_cache_find(cache, key, choice) &&
	    kc_cudnn_conv_plan(plan, lib, c, choice) == 0)
		return 0;
	*plan = NULL;
	if (timed)
		timed = choose_by_time(lib, c, timer, choice, plan);
	if (!*plan)
		rc = take_first(lib, c, timer, KC_CUDNN_FIRST, choice, plan);
	if (rc < 0)
		rc = take_first(lib, c, timer, KC_CUDNN_MANY, choice, plan);
	if (rc < 0)
		return kc_cause(rc, "%s", key);
	/* Where it cannot be kept, the next run looks again. */
	if (cache && timer && (timed || !timer->budget))
		(void)kc_cudnn_cache_add(cache, key, choice);
	return 0;
}
