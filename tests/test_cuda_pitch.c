/*
 * Pads behind the channels of bf16 images (core/pass_pitch.c) on the emulated CUDA device: what a
 * network and its first and second gradients are with them and without, with NaN in the arena
 * before every run; and that they are zeros whenever a convolution reads them.
 */
#include "core/param.h"
#include "core/plan.h"
#include "core/random.h"
#include "layers/cuda/cuda.h"
#include "layers/devices.h"
#include "layers/layers.h"
#include "tests/emulator/cudnn.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FETCH = 40, MAX_ROWS = 128, SIDE = 19 /* of smaller images chains make float32 */ };

/* ---- a network ---- */

struct net {
	struct kc_graph *g;
	struct kc_params *params;
	struct kc_tensor *x, *fetch[MAX_FETCH];
	int n;
};

static struct kc_tensor *parameter(struct net *net, int ndim, const int64_t *dim)
{
	struct kc_param like = {.type = kc_type_of(KC_REAL, ndim, dim), .trainable = true};
	char name[32];

	snprintf(name, sizeof name, "p%zu", net->params->n);
	return kc_param_value(net->g, kc_params_get(net->params, name, &like));
}

static struct kc_tensor *conv(struct net *net, struct kc_tensor *x, int64_t out, int64_t k,
			      int64_t groups, enum kc_act act)
{
	int64_t w[] = {out, x->type.dim[1] / groups, k, k};
	struct kc_conv_attr a = {.nd = 2, .groups = groups, .pad = {k / 2, k / 2}};
	struct kc_tensor *y = kc_conv_op(net->g, x, parameter(net, 4, w), parameter(net, 1, &out),
					 &a);

	return kc_activate(net->g, y, act, 0.2);
}

static struct kc_tensor *deconv(struct net *net, struct kc_tensor *x, int64_t out)
{
	int64_t w[] = {x->type.dim[1], out, 4, 4};
	struct kc_conv_attr a = {.nd = 2, .stride = {2, 2}, .pad = {1, 1}};

	return kc_deconv_op(net->g, x, parameter(net, 4, w), parameter(net, 1, &out), &a, NULL);
}

/*
 * 3 to 196 channels; chains and activations that make no zeros of zeros, and a
 * concatenation; groups, which take no pads, before and behind an image that has some.
 */
static struct kc_tensor *network(struct net *net)
{
	struct kc_graph *g = net->g;
	struct kc_tensor *a, *b, *c;

	net->x = kc_input(g, "x", KC_TYPE(KC_REAL, 2, 3, SIDE, SIDE + 1));
	a = conv(net, net->x, 12, 3, 1, KC_LEAKY);
	b = conv(net, a, 196, 1, 1, KC_SIGMOID);
	b = kc_add(g, kc_square(g, b), kc_tanh(g, kc_shift(g, b, 0.7)));
	b = conv(net, conv(net, b, 20, 1, 1, KC_SIGMOID), 11, 1, 1, KC_TANH);
	c = conv(net, a, 18, 3, 3, KC_SIGMOID);
	c = conv(net, c, 2, 3, 1, KC_ACT_NONE);
	c = deconv(net, KC_CONCAT(g, 1, a, b, c), 12);
	return conv(net, kc_shift(g, c, 1), 6, 3, 1, KC_ACT_NONE);
}

static struct kc_tensor *energy(struct kc_graph *g, struct kc_tensor *y)
{
	return kc_sum(g, kc_square(g, y));
}

/* An image of 22 channels with pads that everybody reads who takes them, and images made of it;
 * gradients read and write them the other way round. */
static struct kc_tensor *moves(struct net *net)
{
	struct kc_graph *g = net->g;
	struct kc_tensor *a, *to[8], *part[2], *sum;
	int n = 0;

	net->x = kc_input(g, "x", KC_TYPE(KC_REAL, 2, 3, SIDE, SIDE + 1));
	a = conv(net, net->x, 22, 1, 1, KC_ACT_NONE);
	sum = kc_add(g, energy(g, kc_softmax(g, a, 1)), energy(g, kc_log_softmax(g, a, 1)));
	net->fetch[net->n++] = kc_argmax(g, a, 1);
	kc_split(g, a, 1, 2, part);
	to[n++] = part[0];
	to[n++] = part[1];
	to[n++] = kc_flip(g, a, 3);
	to[n++] = kc_slice(g, a, 1, 3, 17, 1);
	to[n++] = kc_slice(g, a, 2, 1, SIDE - 3, 1);
	to[n++] = kc_pad(g, a, KC_PAD_CONSTANT, 1, 2, 0, 1);
	to[n++] = kc_pad(g, a, KC_PAD_REFLECT, 1, 2, 0, 1);
	to[n++] = kc_permute(g, a, (int[]){0, 1, 3, 2});
	for (int i = 0; i < n; i++)
		sum = kc_add(g, sum, energy(g, conv(net, to[i], 6, 1, 1, KC_ACT_NONE)));
	return sum;
}

static void add_gradients(struct net *net, struct kc_tensor *of)
{
	struct kc_tensor *wrt[MAX_FETCH];
	int n = 0;

	wrt[n++] = net->x;
	for (size_t i = 0; i < net->params->n; i++)
		wrt[n++] = kc_param_value(net->g, net->params->v[i]);
	KC_CHECK_OK(kc_grad(net->g, of, NULL, wrt, n, net->fetch + net->n));
	net->n += n;
}

/* The result; its gradients; or those of the norm of its gradient by x. */
static void open_net(struct net *net, struct kc_tensor *(*build)(struct net *), int order)
{
	struct kc_tensor *y;

	*net = (struct net){.g = kc_graph_new(&kc_layers), .params = kc_params_new(KC_F32), .n = 1};
	KC_ASSERT(net->g && net->params);
	y = net->fetch[0] = build(net);
	y = energy(net->g, y);
	if (order == 2) {
		KC_CHECK_OK(kc_grad(net->g, y, NULL, &net->x, 1, &y));
		y = energy(net->g, y);
	}
	if (order)
		add_gradients(net, y);
	KC_CHECK_OK(kc_params_alloc(net->params, false, false));
}

static void close_net(struct net *net)
{
	kc_params_free(net->params);
	kc_graph_free(net->g);
}

static int64_t total(const struct net *net)
{
	int64_t n = 0;

	for (int i = 0; i < net->n; i++)
		n += kc_numel(&net->fetch[i]->type);
	return n;
}

static void fill(struct kc_random *r, const struct kc_buf *b, double size)
{
	for (int64_t i = 0; i < kc_numel(&b->type); i++)
		((float *)b->data)[i] = (float)(size * (2 * kc_random_unit(r) - 1));
}

/* Inputs, and weights about as large as training makes them. */
static void fill_all(struct net *net, const struct kc_buf *x)
{
	struct kc_random r;

	kc_random_init(&r, 5, KC_STREAM_TEST, 0, 1);
	fill(&r, x, 1);
	for (size_t i = 0; i < net->params->n; i++) {
		struct kc_buf w = kc_param_master(net->params->v[i]);
		double terms = (double)kc_numel(&w.type) / (double)w.type.dim[0];

		fill(&r, &w, 1.5 / sqrt(terms));
		kc_param_changed(net->params->v[i]);
	}
}

/* Runs the plan on memory that is full of NaN, as it is enqueued and as it was recorded. */
static int run_net(struct net *net, struct kc_device *d, const struct kc_plan_opts *opts,
		   float *out)
{
	float x[2 * 3 * SIDE * (SIDE + 1)];
	struct kc_buf b = kc_buf_of(x, &net->x->type, KC_PLAIN);
	struct kc_plan *plan = NULL;
	int rc = kc_plan_build(&plan, net->g, d, net->fetch, net->n, opts);

	fill_all(net, &b);
	for (int i = 0; i < 3 && !rc; i++) {
		rc = kc_plan_feed(plan, net->x, &b);
		if (!rc && i)                   /* the emulator's fresh memory is */
			memset(d->arena, 0xff, d->arena_bytes);
		if (!rc)
			rc = kc_plan_run(plan);
		if (!rc)
			rc = d->memory->wait(d);
	}
	for (int i = 0; i < net->n && !rc; i++) {
		struct kc_buf to = kc_buf_of(out, &net->fetch[i]->type, KC_PLAIN);

		rc = kc_plan_read(plan, net->fetch[i], &to);
		out += kc_numel(&to.type);
	}
	kc_plan_free(plan);
	return rc;
}

/* ---- rows of the device, changed ---- */

static struct kc_kernel changed[MAX_ROWS];
static const struct kc_kernel *table[MAX_ROWS + 1];
static int (*run_of[MAX_ROWS])(const struct kc_call *);
static long looked_at, not_zero;

/* A copy of the device's rows for the test to change. */
static void copy_rows(struct kc_device *d)
{
	int n = 0;

	for (; d->kernels[n]; n++) {
		KC_ASSERT(n < MAX_ROWS);
		changed[n] = *d->kernels[n];
		run_of[n] = changed[n].run;
		table[n] = &changed[n];
	}
	table[n] = NULL;
	d->kernels = table;
}

static void want_no_pads(struct kc_device *d)
{
	copy_rows(d);
	for (int i = 0; table[i]; i++)
		changed[i].pitch = NULL;
}

static void look_at_pads(const struct kc_buf *b)
{
	struct kc_buf all = kc_with_pads(b);
	const uint16_t *at = b->data;
	int64_t channels = b->type.dim[1];

	for (int64_t i = 0; b->pads && i < kc_numel(&all.type); i++) {
		if (i % all.type.dim[1] < channels)
			continue;
		looked_at++;
		not_zero += (at[i] & 0x7fff) != 0;
	}
}

static int look_and_run(const struct kc_call *call, const struct kc_op *op)
{
	int images = op == &kc_op_conv_wgrad ? 2 : 1;

	KC_TRY(call->device->memory->wait(call->device));
	for (int k = 0; k < images; k++)
		look_at_pads(&call->in[k]);
	for (int i = 0; table[i]; i++)
		if (table[i]->op == op)
			return run_of[i](call);
	return KC_FAIL(KC_ENOSUP, "no row");
}

static int look_conv(const struct kc_call *call)
{
	return look_and_run(call, &kc_op_conv);
}

static int look_dgrad(const struct kc_call *call)
{
	return look_and_run(call, &kc_op_conv_dgrad);
}

static int look_wgrad(const struct kc_call *call)
{
	return look_and_run(call, &kc_op_conv_wgrad);
}

/* Convolutions that look at the pads of the images that they sum over. */
static void look_before_convs(struct kc_device *d)
{
	copy_rows(d);
	d->record = false;
	for (int i = 0; table[i]; i++)
		changed[i].run = table[i]->op == &kc_op_conv	   ? look_conv
				 : table[i]->op == &kc_op_conv_dgrad ? look_dgrad
				 : table[i]->op == &kc_op_conv_wgrad ? look_wgrad
								   : changed[i].run;
}

/* ---- tests ---- */

static bool run_on(struct net *net, void (*change)(struct kc_device *),
		   const struct kc_plan_opts *opts, float *out)
{
	/* With what is compiled at run time: activations and float32 results inside the library. */
	const struct kc_device_choice timed = {.no_autotune = opts->deterministic};
	struct kc_device d;
	bool ok;

	if (!KC_CHECK_OK(kc_emulator_open_as(&d, &timed)))
		return false;
	if (change)
		change(&d);
	ok = KC_CHECK_OK(run_net(net, &d, opts, out));
	kc_mirror_free(net->params);
	kc_device_release(&d);
	return ok;
}

/* Largest difference, as a share of the largest value of that tensor. */
static void compare(const struct net *net, const char *name, const float *a, const float *b,
		    double allowed)
{
	for (int i = 0; i < net->n; i++) {
		int64_t n = kc_numel(&net->fetch[i]->type);
		double most = 0, off = 0;

		for (int64_t k = 0; k < n; k++) {
			most = fmax(most, fabs(a[k]));
			off = kc_test_worse(off, fabs(a[k] - b[k]));
		}
		if (!(off <= allowed * most))
			kc_test_fail(__FILE__, __LINE__, "%s, value %d: off by %g of %g", name, i,
				     off, most);
		a += n;
		b += n;
	}
}

static void one_net(struct kc_tensor *(*build)(struct net *), int order, bool deterministic,
		    bool no_fuse)
{
	static const char *const name[] = {"result", "gradients", "second gradients"};
	struct kc_plan_opts opts = {
		.low = true, .deterministic = deterministic, .no_fuse = no_fuse};
	/* What is timed may be another form each time, which rounds elsewhere: values beside the
	 * kink of an activation change sides. */
	double allowed = deterministic ? 1e-5 : 0.3;
	struct net net;
	float *want, *have;

	open_net(&net, build, order);
	want = kc_calloc((size_t)total(&net), sizeof *want);
	have = kc_calloc((size_t)total(&net), sizeof *have);
	KC_ASSERT(want && have);
	if (run_on(&net, want_no_pads, &opts, want) && run_on(&net, NULL, &opts, have))
		compare(&net, name[order], want, have, allowed);
	looked_at = not_zero = 0;
	if (run_on(&net, look_before_convs, &opts, have))
		compare(&net, name[order], want, have, allowed);
	KC_CHECK(looked_at > 0 && not_zero == 0);
	free(want);
	free(have);
	close_net(&net);
}

static void test_networks(void)
{
	emu_seed(1);
	for (int order = 0; order < 3; order++)
		one_net(network, order, true, false);
	one_net(network, 1, true, true);
	one_net(moves, 1, true, false);
}

static void test_compiled(void)
{
	char *before = getenv("XDG_CACHE_HOME") ? kc_strdup(getenv("XDG_CACHE_HOME")) : NULL;

	setenv("XDG_CACHE_HOME", kc_test_dir(), 1);
	emu_cudnn_compiles = emu_cudnn_prefers_fused = true;
	one_net(network, 1, false, false);
	emu_cudnn_compiles = emu_cudnn_prefers_fused = false;
	if (before)
		setenv("XDG_CACHE_HOME", before, 1);
	else
		unsetenv("XDG_CACHE_HOME");
	free(before);
}

/* What the pass says of the plan. */
static char *traced(struct net *net, bool low, void (*change)(struct kc_device *),
		    struct kc_plan_stats *st)
{
	struct kc_plan_opts opts = {.low = low, .deterministic = true};
	struct kc_plan *plan = NULL;
	struct kc_device d;
	char *text = NULL;
	size_t size;

	opts.trace = open_memstream(&text, &size);
	KC_ASSERT(opts.trace);
	if (KC_CHECK_OK(kc_emulator_open(&d))) {
		if (change)
			change(&d);
		if (KC_CHECK_OK(kc_plan_build(&plan, net->g, &d, net->fetch, net->n, &opts)))
			kc_plan_stats(plan, st);
		kc_plan_free(plan);
		kc_device_release(&d);
	}
	fclose(opts.trace);
	return text;
}

/* Images of 3, 12, 196 (twice), 20, 11, 18, 25, 12 (twice) and 6 channels; not that of 2. */
static void test_which(void)
{
	struct kc_plan_stats with, without;
	struct net net;
	char *text;

	open_net(&net, network, 0);
	text = traced(&net, true, NULL, &with);
	KC_CHECK(strstr(text, "pitch: 11 images with pads"));
	free(text);
	text = traced(&net, false, NULL, &with);
	KC_CHECK(strstr(text, "pitch: 0 images with pads"));
	free(text);
	free(traced(&net, false, want_no_pads, &without));
	KC_CHECK(with.arena == without.arena);
	close_net(&net);
}

const struct kc_test kc_tests_cuda_pitch[] = {
	{"networks and their gradients are the same with pads of channels", test_networks},
	{"the same with everything compiled into the convolutions", test_compiled},
	{"bf16 images get pads, float32 ones none", test_which},
	{0},
};
