/*
 * Convolutions and matrix products of CUDA devices, with an emulated cuDNN and cuBLAS: every form
 * in which they are put to the library, packing, bias and activation, against the reference
 * kernels; the choice of engines and the file it is kept in.
 */
#include "core/file.h"
#include "core/param.h"
#include "core/plan.h"
#include "core/random.h"
#include "layers/cuda/cuda.h"
#include "layers/cuda/cudnn_cache.h"
#include "layers/devices.h"
#include "layers/layers.h"
#include "tests/emulator/cudnn.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FETCH = 6 };

/* y = act(conv(x, w) + bias), or the transposed one; its gradients by x, w and bias. */
struct form {
	const char *name;
	int nd, in, out, k, stride, pad, dilation, groups, size;
	bool transposed, bias, repeated;        /* repeated: the gradient is the same everywhere */
	bool sliced;                            /* x and y are channels of something larger */
	enum kc_act act;
};

static const struct form forms[] = {
	{"3x3 leaky", 2, 5, 8, 3, 1, 1, 1, 1, 7, .bias = true, .act = KC_LEAKY},
	{"3x3 relu", 2, 8, 16, 3, 1, 1, 1, 1, 6, .bias = true, .act = KC_RELU},
	{"3x3 bias alone", 2, 8, 16, 3, 1, 1, 1, 1, 6, .bias = true},
	{"stride 2", 2, 3, 6, 5, 2, 2, 1, 1, 9, .act = KC_SIGMOID},
	{"dilated", 2, 8, 9, 3, 1, 2, 2, 1, 8, .bias = true, .act = KC_TANH},
	{"1x1 to 2 channels", 2, 8, 2, 1, 1, 0, 1, 1, 6, .bias = true},
	{"3x3 to 1 channel", 2, 8, 1, 3, 1, 1, 1, 1, 6, .bias = true, .act = KC_TANH},
	{"from 1 channel", 2, 1, 8, 3, 1, 1, 1, 1, 6, .bias = true, .act = KC_RELU},
	{"groups", 2, 8, 12, 3, 1, 1, 1, 4, 6, .bias = true},
	{"3-D", 3, 4, 8, 3, 1, 1, 1, 1, 5, .bias = true, .act = KC_LEAKY},
	{"4x4 transposed", 2, 6, 8, 4, 2, 1, 1, 1, 4, .transposed = true, .bias = true,
	 .act = KC_LEAKY},
	{"1-D", 1, 3, 8, 3, 2, 1, 1, 1, 9, .bias = true, .act = KC_RELU},
	{"row-major gradient", 2, 8, 5, 3, 1, 1, 1, 1, 6, .repeated = true},
	{"slices", 2, 3, 2, 3, 1, 1, 1, 1, 6, .bias = true, .sliced = true},
};

struct trial {
	struct kc_graph *g;
	struct kc_params *params;
	struct kc_tensor *x, *fetch[MAX_FETCH];
	int n;
};

static struct kc_param *parameter(struct trial *t, const char *name, int ndim, const int64_t *dim)
{
	struct kc_param like = {.type = kc_type_of(KC_REAL, ndim, dim), .trainable = true};

	return kc_params_get(t->params, name, &like);
}

static struct kc_tensor *build(struct trial *t, const struct form *f)
{
	struct kc_conv_attr a = {.nd = f->nd, .groups = f->groups};
	int64_t xd[5] = {2, f->transposed ? f->out : f->in, f->size, f->size + 1, f->size};
	int64_t wd[5] = {f->out, f->in / f->groups, f->k, f->k, f->k};
	int64_t bd = f->transposed ? f->in : f->out, channels = xd[1];
	struct kc_tensor *w, *b = NULL, *x, *y;

	if (f->sliced)
		xd[1] += 20;
	for (int i = 0; i < f->nd; i++) {
		a.stride[i] = f->stride;
		a.pad[i] = f->pad;
		a.dilation[i] = f->dilation;
	}
	t->x = kc_input(t->g, "x", kc_type_of(KC_REAL, f->nd + 2, xd));
	x = f->sliced ? kc_slice(t->g, t->x, 1, 1, channels, 1) : t->x;
	w = kc_param_value(t->g, parameter(t, "w", f->nd + 2, wd));
	if (f->bias)
		b = kc_param_value(t->g, parameter(t, "b", 1, &bd));
	y = f->transposed ? kc_deconv_op(t->g, x, w, b, &a, NULL) :
			    kc_conv_op(t->g, x, w, b, &a);
	y = kc_activate(t->g, y, f->act, 0.2);
	return f->sliced ? KC_CONCAT(t->g, 1, y, kc_square(t->g, t->x)) : y;
}

static int open_trial(struct trial *t, const struct form *f)
{
	struct kc_tensor *wrt[3], *y, *loss;
	int n = 1;

	*t = (struct trial){.g = kc_graph_new(&kc_layers), .params = kc_params_new(KC_F32)};
	KC_ASSERT(t->g && t->params);
	y = build(t, f);
	loss = kc_sum(t->g, f->repeated ? y : kc_square(t->g, y));
	wrt[0] = t->x;
	for (size_t i = 0; i < t->params->n; i++)
		wrt[n++] = kc_param_value(t->g, t->params->v[i]);
	t->fetch[0] = y;
	KC_TRY(kc_grad(t->g, loss, NULL, wrt, n, t->fetch + 1));
	t->n = n + 1;
	return kc_params_alloc(t->params, false, false);
}

static void close_trial(struct trial *t)
{
	kc_params_free(t->params);
	kc_graph_free(t->g);
}

static void fill(struct kc_random *r, float *v, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		v[i] = (float)(2 * kc_random_unit(r) - 1);
}

/* All fetched values one behind the other, from equal inputs and parameters. */
static int run_trial(struct trial *t, struct kc_device *d, const struct kc_plan_opts *opts,
		     float *out)
{
	struct kc_random r;
	struct kc_plan *plan = NULL;
	float *x = kc_alloc((size_t)kc_numel(&t->x->type) * sizeof *x);
	struct kc_buf b = kc_buf_of(x, &t->x->type, KC_PLAIN);
	int rc = kc_plan_build(&plan, t->g, d, t->fetch, t->n, opts);

	kc_random_init(&r, 3, KC_STREAM_TEST, 0, 1);
	fill(&r, x, kc_numel(&t->x->type));
	for (size_t i = 0; i < t->params->n; i++) {
		struct kc_buf w = kc_param_master(t->params->v[i]);

		fill(&r, w.data, kc_numel(&w.type));
		kc_param_changed(t->params->v[i]);
	}
	/* As it is enqueued, and as it was recorded. */
	for (int i = 0; i < 3 && !rc; i++) {
		rc = kc_plan_feed(plan, t->x, &b);
		if (!rc)
			rc = kc_plan_run(plan);
	}
	for (int i = 0; i < t->n && !rc; i++) {
		struct kc_buf to = kc_buf_of(out, &t->fetch[i]->type, KC_PLAIN);

		rc = kc_plan_read(plan, t->fetch[i], &to);
		out += kc_numel(&to.type);
	}
	kc_plan_free(plan);
	free(x);
	return rc;
}

static int64_t total(const struct trial *t)
{
	int64_t n = 0;

	for (int i = 0; i < t->n; i++)
		n += kc_numel(&t->fetch[i]->type);
	return n;
}

/* Largest difference, as a share of the largest value of that tensor. */
static void compare(const struct trial *t, const char *name, const float *a, const float *b,
		    double allowed)
{
	for (int i = 0; i < t->n; i++) {
		int64_t n = kc_numel(&t->fetch[i]->type);
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

static void one_form(const struct form *f, struct kc_device *device, bool low, bool deterministic)
{
	struct kc_plan_opts opts = {.deterministic = deterministic};
	struct kc_device reference;
	struct trial t;
	float *want, *have;

	kc_device_reference(&reference);
	if (!KC_CHECK_OK(open_trial(&t, f)))
		return;
	want = kc_calloc((size_t)total(&t), sizeof *want);
	have = kc_calloc((size_t)total(&t), sizeof *have);
	KC_ASSERT(want && have);
	KC_CHECK_OK(run_trial(&t, &reference, &opts, want));
	opts.low = low;
	if (KC_CHECK_OK(run_trial(&t, device, &opts, have)))
		compare(&t, f->name, want, have, low ? 0.02 : 1e-5);
	free(want);
	free(have);
	close_trial(&t);
	kc_device_release(&reference);
}

static void all_forms(struct kc_device *device, bool deterministic)
{
	for (size_t i = 0; i < KC_COUNT(forms); i++)
		for (int low = 0; low < 2; low++)
			one_form(&forms[i], device, low, deterministic);
}

static void test_forms(void)
{
	struct kc_device device;

	memset(&emu_cudnn, 0, sizeof emu_cudnn);
	if (!KC_CHECK_OK(kc_emulator_open(&device)))
		return;
	all_forms(&device, true);
	KC_CHECK(emu_cudnn.engine[0] == 0); /* not deterministic */
	KC_CHECK(emu_cudnn.engine[3] == 0); /* adds with fewer bits */
	KC_CHECK(emu_cudnn.engine[1] > 0 && emu_cudnn.engine[2] > 0);
	kc_device_release(&device);
}

/* Every candidate is timed, and what is compiled at run time is taken where there is such a form:
 * convolutions with all activations fused, float32 results.  What is chosen is found again. */
static void test_autotune(void)
{
	const char *folder = kc_test_dir(), *path = kc_test_path("kinemacolor/cudnn.txt");
	char *before = getenv("XDG_CACHE_HOME") ? kc_strdup(getenv("XDG_CACHE_HOME")) : NULL;
	struct kc_device device;
	char *first = NULL, *second = NULL;
	size_t n = 0, m = 0;
	long runs = 0;

	setenv("XDG_CACHE_HOME", folder, 1);
	emu_cudnn_compiles = emu_cudnn_prefers_fused = true;
	for (int i = 0; i < 2; i++) {
		emu_cudnn.runs = 0;
		if (KC_CHECK_OK(kc_emulator_open_as(&device, &(struct kc_device_choice){0}))) {
			all_forms(&device, true);
			KC_CHECK(i || !kc_file_exists(path));   /* nothing is timed then */
			all_forms(&device, false);
			kc_device_release(&device);
		}
		KC_CHECK(emu_cudnn.engine[3] == 0);
		if (!i)
			runs = emu_cudnn.runs;
		KC_CHECK_OK(kc_file_read(path, 1 << 20, i ? &second : &first, i ? &m : &n));
	}
	KC_CHECK(emu_cudnn.runs < runs / 2);    /* nothing was timed again */
	KC_CHECK(n && n == m && !memcmp(first, second, n));
	free(first);
	free(second);
	emu_cudnn_compiles = emu_cudnn_prefers_fused = false;
	if (before)
		setenv("XDG_CACHE_HOME", before, 1);
	else
		unsetenv("XDG_CACHE_HOME");
	free(before);
}

/* Timing stops when its time is up; what is guessed then is tried, not kept. */
static void test_budget(void)
{
	const char *folder = kc_test_dir(), *path = kc_test_path("kinemacolor/cudnn.txt");
	char *before = getenv("XDG_CACHE_HOME") ? kc_strdup(getenv("XDG_CACHE_HOME")) : NULL;
	struct kc_device device;
	struct kc_cuda *cuda;
	char *first = NULL, *second = NULL;
	size_t n = 0, m = 0;
	long untried = 0;

	if (KC_CHECK_OK(kc_emulator_open(&device))) {
		emu_cudnn.runs = 0;
		one_form(&forms[0], &device, false, false);
		untried = emu_cudnn.runs;
		kc_device_release(&device);
	}
	setenv("XDG_CACHE_HOME", folder, 1);
	if (KC_CHECK_OK(kc_emulator_open_as(&device, &(struct kc_device_choice){0}))) {
		cuda = kc_cuda_of(&device);
		one_form(&forms[1], &device, false, false);
		KC_CHECK(cuda->budget.timing > 0 && cuda->budget.timing < 1e3);
		KC_CHECK_OK(kc_file_read(path, 1 << 20, &first, &n));
		cuda->budget.below = 1e3;
		cuda->budget.small = 1e-9;
		one_form(&forms[2], &device, false, false);
		KC_CHECK(cuda->budget.small < 0);
		free(first);
		KC_CHECK_OK(kc_file_read(path, 1 << 20, &first, &n));
		one_form(&forms[0], &device, false, false);             /* small, and too late */
		cuda->budget.timing = 0;
		emu_cudnn.runs = 0;
		one_form(&forms[0], &device, false, false);
		KC_CHECK(untried && emu_cudnn.runs == untried + 3);     /* a trial of each pass */
		KC_CHECK_OK(kc_file_read(path, 1 << 20, &second, &m));
		KC_CHECK(n && n == m && !memcmp(first, second, n));
		kc_device_release(&device);
	}
	free(first);
	free(second);
	if (before)
		setenv("XDG_CACHE_HOME", before, 1);
	else
		unsetenv("XDG_CACHE_HOME");
	free(before);
}

/* The best guess takes the graph and fails when it runs. */
static void test_broken(void)
{
	struct kc_device device;

	emu_cudnn_broken = 1;
	memset(&emu_cudnn, 0, sizeof emu_cudnn);
	if (KC_CHECK_OK(kc_emulator_open_as(&device, &(struct kc_device_choice){0}))) {
		one_form(&forms[1], &device, true, true);
		KC_CHECK(emu_cudnn.engine[1] > 0 && emu_cudnn.engine[2] > 0);
		kc_device_release(&device);
	}
	emu_cudnn_broken = -1;
}

/* Nobody has waited for its last run: kernels may be unloaded with what belongs to a step. */
static void test_early_end(void)
{
	const struct kc_plan_opts opts = {.deterministic = true};
	struct kc_device device;
	struct kc_plan *plan = NULL;
	struct trial t;

	if (!KC_CHECK_OK(kc_emulator_open(&device)) || !KC_CHECK_OK(open_trial(&t, &forms[1])))
		return;
	if (KC_CHECK_OK(kc_plan_build(&plan, t.g, &device, t.fetch, t.n, &opts)))
		for (int i = 0; i < 4; i++)
			KC_CHECK_OK(kc_plan_run(plan));
	kc_plan_free(plan);
	close_trial(&t);
	kc_device_release(&device);
}

/* A recording that fails leaves a run that is as good, and says why. */
static void test_unrecorded(void)
{
	const struct form *f = &forms[1];
	const struct kc_plan_opts opts = {.deterministic = true};
	struct kc_device device, reference;
	struct trial t;
	float *want, *have;

	kc_device_reference(&reference);
	if (!KC_CHECK_OK(kc_emulator_open(&device)) || !KC_CHECK_OK(open_trial(&t, f)))
		return;
	want = kc_calloc((size_t)total(&t), sizeof *want);
	have = kc_calloc((size_t)total(&t), sizeof *have);
	KC_ASSERT(want && have);
	KC_CHECK_OK(run_trial(&t, &reference, &opts, want));
	emu_failing_captures = 1;
	if (KC_CHECK_OK(run_trial(&t, &device, &opts, have)))
		compare(&t, f->name, want, have, 1e-5);
	KC_CHECK(emu_failing_captures == 0 && !device.record);
	KC_CHECK(device.unrecorded && strstr(device.unrecorded, "CaptureInvalidated"));
	free(want);
	free(have);
	close_trial(&t);
	kc_device_release(&device);
}

/* The step that fails while it is recorded is told, not that the recording has failed. */
static void test_unrecordable(void)
{
	const struct kc_plan_opts opts = {.deterministic = true};
	struct kc_device device;
	struct kc_plan *plan = NULL;
	struct trial t;

	if (!KC_CHECK_OK(kc_emulator_open(&device)) || !KC_CHECK_OK(open_trial(&t, &forms[1])))
		return;
	if (KC_CHECK_OK(kc_plan_build(&plan, t.g, &device, t.fetch, t.n, &opts)) &&
	    KC_CHECK_OK(kc_plan_run(plan))) {
		emu_cudnn_broken = 2;
		emu_failing_captures = 1;
		KC_CHECK_ERR(kc_plan_run(plan), KC_EBACKEND, "engine 2 is broken");
		KC_CHECK(device.unrecorded && strstr(device.unrecorded, "engine 2 is broken"));
	}
	emu_cudnn_broken = -1;
	kc_plan_free(plan);
	close_trial(&t);
	kc_device_release(&device);
}

/* ---- matrix products ---- */

static void one_product(struct kc_device *device, bool batched, bool turn_a, bool turn_b, bool low)
{
	enum { BATCH = 3, M = 4, N = 5, K = 6 };
	int64_t a[3] = {BATCH, turn_a ? K : M, turn_a ? M : K};
	int64_t b[3] = {BATCH, turn_b ? N : K, turn_b ? K : N};
	int nd = batched ? 3 : 2, skip = batched ? 0 : 1;
	struct kc_plan_opts opts = {.deterministic = true};
	struct trial t = {.g = kc_graph_new(&kc_layers), .params = kc_params_new(KC_F32), .n = 1};
	struct kc_device reference;
	float want[BATCH * M * N], have[BATCH * M * N];

	KC_ASSERT(t.g && t.params);
	kc_device_reference(&reference);
	t.x = kc_input(t.g, "a", kc_type_of(KC_REAL, nd, a + skip));
	t.fetch[0] = kc_matmul_t(t.g, t.x, kc_param_value(t.g, parameter(&t, "b", nd, b + skip)),
				 turn_a, turn_b);
	if (KC_CHECK_OK(kc_params_alloc(t.params, false, false)) &&
	    KC_CHECK_OK(run_trial(&t, &reference, &opts, want))) {
		opts.low = low;
		if (KC_CHECK_OK(run_trial(&t, device, &opts, have)))
			compare(&t, batched ? "products" : "product", want, have,
				low ? 0.02 : 1e-6);
	}
	close_trial(&t);
	kc_device_release(&reference);
}

static void test_products(void)
{
	struct kc_device device;

	if (!KC_CHECK_OK(kc_emulator_open(&device)))
		return;
	for (int i = 0; i < 16; i++)
		one_product(&device, i & 1, i & 2, i & 4, i & 8);
	kc_device_release(&device);
}

/* ---- the file of choices ---- */

static const struct kc_cudnn_choice choices[] = {
	{.form = KC_FORM_FUSED, .config = {.engine = 62, .n_knobs = 2, .knob = {{18, 3}, {22, 0}}},
	 .workspace = 131, .seconds = 1.25e-4},
	{.form = KC_FORM_LOW, .config = {.engine = 0}, .workspace = 0, .seconds = 0.5},
};

static bool is_equal(const struct kc_cudnn_choice *a, const struct kc_cudnn_choice *b)
{
	return a->form == b->form && a->workspace == b->workspace && a->seconds == b->seconds &&
	       a->config.engine == b->config.engine && a->config.n_knobs == b->config.n_knobs &&
	       !memcmp(a->config.knob, b->config.knob, sizeof a->config.knob);
}

static void test_cache(void)
{
	const char *path = kc_test_path("a/folder/cudnn.txt");
	struct kc_cudnn_cache *c = NULL, *other = NULL;
	struct kc_cudnn_choice got;

	if (!KC_CHECK_OK(kc_cudnn_cache_open(&c, path, "GPU 1")) ||
	    !KC_CHECK_OK(kc_cudnn_cache_open(&other, path, "GPU 2")))
		return;
	KC_CHECK(!kc_cudnn_cache_find(c, "one", &got));
	KC_CHECK_OK(kc_cudnn_cache_add(c, "one", &choices[0]));
	/* Another process wrote meanwhile: both are kept. */
	KC_CHECK_OK(kc_cudnn_cache_add(other, "one", &choices[1]));
	KC_CHECK_OK(kc_cudnn_cache_add(c, "two", &choices[0]));
	KC_CHECK_OK(kc_cudnn_cache_add(c, "two", &choices[1]));
	kc_cudnn_cache_free(c);
	kc_cudnn_cache_free(other);
	if (!KC_CHECK_OK(kc_cudnn_cache_open(&c, path, "GPU 1")))
		return;
	KC_CHECK(kc_cudnn_cache_find(c, "one", &got) && is_equal(&got, &choices[0]));
	KC_CHECK(kc_cudnn_cache_find(c, "two", &got) && is_equal(&got, &choices[1]));
	KC_CHECK(!kc_cudnn_cache_find(c, "on", &got) && !kc_cudnn_cache_skipped(c));
	kc_cudnn_cache_free(c);
	if (KC_CHECK_OK(kc_cudnn_cache_open(&c, path, "GPU 2")))
		KC_CHECK(kc_cudnn_cache_find(c, "one", &got) && is_equal(&got, &choices[1]));
	kc_cudnn_cache_free(c);
}

/* Bytes of the file damaged in turn, and the file cut off in many places: the damaged line is
 * left out, and nothing else is believed. */
static void test_damage(void)
{
	const char *path = kc_test_path("cudnn.txt");
	struct kc_cudnn_cache *c;
	struct kc_cudnn_choice got;
	char *data;
	size_t size;

	if (!KC_CHECK_OK(kc_cudnn_cache_open(&c, path, "GPU")))
		return;
	KC_CHECK_OK(kc_cudnn_cache_add(c, "one", &choices[0]));
	KC_CHECK_OK(kc_cudnn_cache_add(c, "two", &choices[0]));
	kc_cudnn_cache_free(c);
	KC_CHECK_OK(kc_file_read(path, 1 << 20, &data, &size));
	for (size_t i = 0; i < 2 * size; i += 5) {
		size_t n = i < size ? size : i - size;
		int found = 0;

		data[i % size] ^= i < size ? 5 : 0;
		KC_CHECK_OK(kc_file_write(path, data, n));
		if (KC_CHECK_OK(kc_cudnn_cache_open(&c, path, "GPU"))) {
			found += kc_cudnn_cache_find(c, "one", &got) && is_equal(&got, &choices[0]);
			found += kc_cudnn_cache_find(c, "two", &got) && is_equal(&got, &choices[0]);
			KC_CHECK(i >= size || (found <= 1 && kc_cudnn_cache_skipped(c) >= 1));
			KC_CHECK(i < size || found == (n >= size / 2 - 1) + (n >= size - 1));
		}
		kc_cudnn_cache_free(c);
		data[i % size] ^= i < size ? 5 : 0;
	}
	free(data);
}

const struct kc_test kc_tests_cuda_conv[] = {
	{"convolutions in every form that needs no compiling", test_forms},
	{"timed choices: every form, kept and found again", test_autotune},
	{"timed choices: no longer than they may take", test_budget},
	{"an engine that fails when it runs is not taken", test_broken},
	{"a plan that ends while it runs is waited for", test_early_end},
	{"a run that cannot be recorded runs all the same", test_unrecorded},
	{"a step that fails while it is recorded is told", test_unrecordable},
	{"matrix products, transposed and batched", test_products},
	{"choices are kept per version, device and signature", test_cache},
	{"damaged lines of the file are left out", test_damage},
	{0},
};
