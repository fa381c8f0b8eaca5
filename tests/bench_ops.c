/*
 * Times every kernel row of the device "cpu" on the shapes of TCVC at 256x256.
 *
 *	build/bench [-t THREADS] [-s SECONDS per row] [-f float32|bf16] [-i LEVEL] [NAME...]
 *
 * LEVEL 2 to 4 is the instruction set of the vector kernels; ONEDNN_MAX_CPU_ISA=AVX2 limits the
 * library's.  A NAME chooses the lines that contain it.  Median of the runs, in CPU time with one
 * thread (so that a busy machine hardly disturbs it), else in wall time; GB/s counts each input
 * and output once.  "reference" is timed only where it takes less than about a second.
 */
#include "layers/cpu/cpu.h"
#include "layers/layers.h"
#include "layers/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_BUFS = 16, MAX_RUNS = 1000 };

struct bench {
	struct kc_device device;
	double seconds;
	const char *dtype;
	char **names;
	int n_names;
};

/* ---- one row ---- */

struct step {
	struct kc_buf buf[MAX_BUFS];
	struct kc_step_info info;
	struct kc_call call;
	struct kc_fused_attr chain;
	void *packed[KC_MAX_PACK], *workspace;
};

static void *memory(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);

	KC_ASSERT(p);
	memset(p, 0, bytes);
	return p;
}

static void fill(struct kc_buf *b)
{
	int64_t n = kc_numel(&b->type);
	uint32_t r = 12345;

	b->data = memory((size_t)n * kc_dtype_size((enum kc_dtype)b->type.dtype));
	for (int64_t i = 0; i < n; i++) {
		r = r * 1664525u + 1013904223u;
		kc_put(b, i, (double)(r >> 8) / 16777216.0 - 0.5);
	}
}

/* Activations lie channels-last in the dtype of the run, parameters row-major in float32. */
static struct kc_buf buffer(const struct kc_type *t, int dtype, bool weights)
{
	struct kc_type type = *t;

	if (type.dtype == KC_REAL)
		type.dtype = weights || type.ndim < 2 ? KC_F32 : dtype;
	return kc_buf_of(NULL, &type, weights ? KC_PLAIN : KC_CLAST);
}

static bool is_weight(const struct kc_node *n, int input)
{
	return (n->op == &kc_op_conv || n->op == &kc_op_conv_dgrad) && input == 1;
}

/* Pointwise operators run as chains of one. */
static void as_chain(struct step *s, const struct kc_node *n)
{
	const struct kc_pw_attr *a = n->attr;

	s->chain =
		(struct kc_fused_attr){.n_in = n->n_in, .n_code = 1, .n_out = 1, .out = {n->n_in}};
	s->chain.code[0] = (struct kc_fused_code){.op = n->op->pointwise, .p = a->p, .q = a->q};
	for (int i = 0; i < n->n_in; i++)
		s->chain.code[0].arg[i] = i;
	s->info.op = &kc_op_fused;
	s->info.attr = s->call.attr = &s->chain;
}

static void step_init(struct step *s, const struct kc_node *n, int dtype, struct kc_device *d)
{
	memset(s, 0, sizeof *s);
	KC_ASSERT(n->n_in + n->n_out <= MAX_BUFS);
	for (int i = 0; i < n->n_in; i++) {
		s->buf[i] = buffer(&n->in[i]->type, dtype, is_weight(n, i));
		fill(&s->buf[i]);
	}
	for (int i = 0; i < n->n_out; i++) {
		struct kc_buf *b = &s->buf[n->n_in + i];
		bool full = n->op->precision == KC_PREC_FULL || n->op == &kc_op_conv_wgrad;

		*b = buffer(&n->out[i].type, full ? KC_F32 : dtype, n->op == &kc_op_conv_wgrad);
		fill(b);
	}
	s->info = (struct kc_step_info){.op = n->op, .attr = n->attr, .in = s->buf, .n_in = n->n_in,
					.out = s->buf + n->n_in, .n_out = n->n_out, .device = d};
	s->call = (struct kc_call){.attr = n->attr, .in = s->buf, .n_in = n->n_in,
				   .out = s->buf + n->n_in, .n_out = n->n_out};
	if (n->op->flags & KC_OP_POINTWISE)
		as_chain(s, n);
}

static void step_release(struct step *s)
{
	for (int i = 0; i < s->info.n_in + s->info.n_out; i++)
		free(s->buf[i].data);
}

static int row_open(struct step *s, const struct kc_kernel *k)
{
	s->info.n_pack = 0;
	s->info.workspace = 0;
	s->info.prepared = NULL;
	KC_TRY(k->prepare ? k->prepare(&s->info) : 0);
	s->workspace = memory(s->info.workspace + 64);
	s->call.workspace = s->workspace;
	s->call.prepared = s->info.prepared;
	for (int i = 0; i < s->info.n_pack; i++) {
		struct kc_pack *p = &s->info.pack[i];

		s->packed[i] = memory(p->bytes + 64);
		KC_TRY(p->run(p, &s->buf[p->input], s->packed[i]));
	}
	return 0;
}

static void swap_packed(struct step *s)
{
	for (int i = 0; i < s->info.n_pack; i++) {
		void **data = &s->buf[s->info.pack[i].input].data, *old = *data;

		*data = s->packed[i];
		s->packed[i] = old;
	}
}

static void row_close(struct step *s, const struct kc_kernel *k)
{
	for (int i = 0; i < s->info.n_pack; i++) {
		s->info.pack[i].release(&s->info.pack[i]);
		free(s->packed[i]);
	}
	free(s->workspace);
	if (k->release)
		k->release(s->info.prepared);
}

/* ---- timing ---- */

static double clock_now(const struct bench *b)
{
	struct timespec t;

	clock_gettime(b->device.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_time(const struct bench *b, struct step *s, int (*run)(const struct kc_call *))
{
	double t[MAX_RUNS], end = kc_now() + b->seconds;
	int n = 0;

	if (run(&s->call) < 0)
		return 0;
	do {
		double start = clock_now(b);

		run(&s->call);
		t[n++] = clock_now(b) - start;
	} while (n < MAX_RUNS && (n < 3 || kc_now() < end));
	qsort(t, (size_t)n, sizeof *t, ascending);
	return t[n / 2];
}

static double bytes_of(const struct step *s)
{
	double sum = 0;

	for (int i = 0; i < s->info.n_in + s->info.n_out; i++)
		sum += (double)kc_numel(&s->buf[i].type) *
		       (double)kc_dtype_size((enum kc_dtype)s->buf[i].type.dtype);
	return sum;
}

static void report(const char *name, int dtype, const char *row, double t, double flops,
		   double bytes)
{
	printf("%-30s %-8s %-28s %9.3f ms %8.1f GFLOP/s %7.1f GB/s\n", name,
	       dtype == KC_BF16 ? "bf16" : "float32", row, t * 1e3, flops / t * 1e-9,
	       bytes / t * 1e-9);
	fflush(stdout);
}

static int run_reference(const struct kc_call *c)
{
	((const struct kc_op *)c->prepared)->ref(c);
	return 0;
}

static void bench_dtype(struct bench *b, const char *name, const struct kc_node *n, int dtype)
{
	double flops = n->op->flops ? n->op->flops(n) : 0;
	struct step s;

	step_init(&s, n, dtype, &b->device);
	for (const struct kc_kernel *const *k = b->device.kernels; *k; k++) {
		if ((*k)->op != s.info.op || !(*k)->fits(&s.info))
			continue;
		if (row_open(&s, *k) == 0) {
			swap_packed(&s);
			report(name, dtype, (*k)->name, median_time(b, &s, (*k)->run), flops,
			       bytes_of(&s));
			swap_packed(&s);
			row_close(&s, *k);
		}
	}
	if (flops < 2e8 && bytes_of(&s) < 5e7 && s.info.op->ref) {
		s.call.prepared = (void *)(uintptr_t)s.info.op;
		report(name, dtype, "reference", median_time(b, &s, run_reference), flops,
		       bytes_of(&s));
	}
	step_release(&s);
}

static bool chosen(const struct bench *b, const char *name)
{
	for (int i = 0; i < b->n_names; i++)
		if (strstr(name, b->names[i]))
			return true;
	return !b->n_names;
}

static void bench_node(struct bench *b, const char *name, const struct kc_tensor *t)
{
	if (!chosen(b, name))
		return;
	if (kc_is_poison(t)) {
		printf("%s: not built\n", name);
		return;
	}
	if (!b->dtype || !strcmp(b->dtype, "float32"))
		bench_dtype(b, name, t->node, KC_F32);
	if (!b->dtype || !strcmp(b->dtype, "bf16"))
		bench_dtype(b, name, t->node, KC_BF16);
}

/* ---- convolutions ---- */

static const struct conv_case {
	const char *name;
	int64_t c, k, hw, size, stride, dilation;
	bool deconv, trained;
} convs[] = {
	{"extract 1-32 3x3@256", 1, 32, 256, 3, 1, 1, false, true},
	{"extract 32-32 3x3@256", 32, 32, 256, 3, 1, 1, false, true},
	{"weigting 352-196 3x3@256", 352, 196, 256, 3, 1, 1, false, true},
	{"weigting 196-64 3x3@256", 196, 64, 256, 3, 1, 1, false, true},
	{"weigting 64-1 3x3@256", 64, 1, 256, 3, 1, 1, false, true},
	{"refine 288-196 3x3@256", 288, 196, 256, 3, 1, 1, false, true},
	{"refine 196-128 3x3@256", 196, 128, 256, 3, 1, 1, false, true},
	{"refine 128-128 3x3@256", 128, 128, 256, 3, 1, 1, false, true},
	{"reduction 128-64 1x1@256", 128, 64, 256, 1, 1, 1, false, true},
	{"reduction 64-64 3x3@256", 64, 64, 256, 3, 1, 1, false, true},
	{"reduction 64-64 1x1@256", 64, 64, 256, 1, 1, 1, false, true},
	{"model_out 128-2 1x1@256", 128, 2, 256, 1, 1, 1, false, true},
	{"sig17 4-64 3x3@256", 4, 64, 256, 3, 1, 1, false, false},
	{"sig17 256-256 3x3@64", 256, 256, 64, 3, 1, 1, false, false},
	{"sig17 512-512 d2@32", 512, 512, 32, 3, 1, 2, false, false},
	{"sig17 deconv 512-256@32", 512, 256, 32, 4, 2, 1, true, false},
	{"sig17 deconv 128-128@128", 128, 128, 128, 4, 2, 1, true, false},
	{"flow 12-64 7x7s2@256", 12, 64, 256, 7, 2, 1, false, false},
	{"flow 64-128 5x5s2@128", 64, 128, 128, 5, 2, 1, false, false},
	{"flow 194-2 3x3@64", 194, 2, 64, 3, 1, 1, false, false},
	{"flow deconv 2-2@64", 2, 2, 64, 4, 2, 1, true, false},
	{"flow deconv 1026-256@8", 1026, 256, 8, 4, 2, 1, true, false},
	{"flow deconv 162-16@128", 162, 16, 128, 4, 2, 1, true, false},
};

static void bench_conv(struct bench *b, const struct conv_case *c)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	int64_t pad = c->dilation * (c->size - 1) / 2;
	struct kc_conv_attr a = {.nd = 2, .stride = {c->stride, c->stride}, .pad = {pad, pad},
				 .dilation = {c->dilation, c->dilation}, .groups = 1};
	struct kc_tensor *x = kc_input(g, "x", KC_TYPE(KC_REAL, 1, c->c, c->hw, c->hw));
	struct kc_tensor *w, *y, *gy, *gx, *gw;
	char name[96];

	w = c->deconv ? kc_input(g, "w", KC_TYPE(KC_REAL, c->c, c->k, c->size, c->size)) :
			kc_input(g, "w", KC_TYPE(KC_REAL, c->k, c->c, c->size, c->size));
	y = c->deconv ? kc_deconv_op(g, x, w, kc_input(g, "b", KC_TYPE(KC_REAL, c->k)), &a,
				     (int64_t[2]){0, 0}) :
			kc_conv_op(g, x, w, NULL, &a);
	bench_node(b, c->name, y);
	if (c->trained) {
		gy = kc_input(g, "gy", y->type);
		kc_grad(g, y, gy, &x, 1, &gx);
		kc_grad(g, y, gy, &w, 1, &gw);
		snprintf(name, sizeof name, "%s data", c->name);
		bench_node(b, name, gx);
		snprintf(name, sizeof name, "%s weights", c->name);
		bench_node(b, name, gw);
	}
	kc_graph_free(g);
}

/* ---- the rest of the step ---- */

static void bench_others(struct bench *b)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *f = kc_input(g, "f", KC_TYPE(KC_REAL, 1, 128, 256, 256));
	struct kc_tensor *h = kc_input(g, "h", KC_TYPE(KC_REAL, 1, 128, 256, 256));
	struct kc_tensor *e = kc_input(g, "e", KC_TYPE(KC_REAL, 1, 32, 256, 256));
	struct kc_tensor *ab = kc_input(g, "ab", KC_TYPE(KC_REAL, 1, 2, 256, 256));
	struct kc_tensor *rgb = kc_input(g, "rgb", KC_TYPE(KC_REAL, 1, 3, 256, 256));
	struct kc_tensor *flow = kc_input(g, "flow", KC_TYPE(KC_F32, 1, 2, 256, 256));
	struct kc_tensor *small = kc_input(g, "small", KC_TYPE(KC_REAL, 1, 2, 64, 64));
	struct kc_tensor *a = kc_input(g, "a", KC_TYPE(KC_REAL, 1, 256, 32, 32));
	struct kc_tensor *c = kc_input(g, "c", KC_TYPE(KC_REAL, 1, 256, 32, 32));
	struct kc_tensor *u8 = kc_input(g, "u8", KC_TYPE(KC_U8, 1, 3, 256, 256));
	struct kc_type channels = KC_TYPE(KC_REAL, 1, 128, 1, 1);
	struct kc_type pixels = KC_TYPE(KC_REAL, 1, 1, 256, 256);
	struct kc_tensor *back;

	bench_node(b, "warp 128@256", kc_warp(g, f, flow));
	bench_node(b, "warp 2@256", kc_warp(g, ab, flow));
	kc_grad(g, kc_warp(g, f, flow), h, &f, 1, &back);
	bench_node(b, "warp 128@256 data", back);
	bench_node(b, "concat 352@256", KC_CONCAT(g, 1, e, e, e, f, h));
	bench_node(b, "slice 128 of 352@256",
		   kc_slice(g, KC_CONCAT(g, 1, e, e, e, f, h), 1, 96, 128, 1));
	bench_node(b, "subsample 128@256", kc_slice(g, f, 3, 0, 128, 2));
	bench_node(b, "add 128@256", kc_add(g, f, h));
	bench_node(b, "blend 128@256", kc_pw3(g, KC_PW_blend, 0, 0, f, h, f));
	bench_node(b, "tanh 128@256", kc_tanh(g, f));
	bench_node(b, "sum to channels 128@256", kc_sum_to(g, f, &channels));
	bench_node(b, "sum to pixels 128@256", kc_sum_to(g, f, &pixels));
	bench_node(b, "sum 128@256", kc_sum(g, f));
	bench_node(b, "norm 128@256", kc_global_norm(g, &f, 1));
	bench_node(b, "softmax 128@256", kc_softmax(g, f, 1));
	bench_node(b, "resize x4 2@64", kc_resize_bilinear(g, small, 256, 256, false));
	bench_node(b, "nearest x4 2@64", kc_resize_nearest(g, small, 256, 256));
	bench_node(b, "channel norm 3@256", kc_channel_norm(g, rgb));
	bench_node(b, "correlation 441 256@32", kc_correlation(g, a, c, 20, 2));
	bench_node(b, "max pool 128@256", kc_max_pool(g, f, .k = 2));
	bench_node(b, "bytes to real 3@256", kc_to_real(g, u8, 1. / 255));
	bench_node(b, "rgb to lab 3@256", kc_rgb_to_lab(g, rgb));
	kc_graph_free(g);
}

int main(int argc, char **argv)
{
	struct bench b = {.seconds = 0.2};
	int threads = 0, i = 1;

	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (argv[i][1] == 't')
			threads = (int)strtol(argv[i + 1], NULL, 10);
		else if (argv[i][1] == 's')
			b.seconds = strtod(argv[i + 1], NULL);
		else if (argv[i][1] == 'i')
			kc_cpu_isa_set((int)strtol(argv[i + 1], NULL, 10));
		else
			b.dtype = argv[i + 1];
	}
	b.names = argv + i;
	b.n_names = argc - i;
	if (kc_device_cpu(&b.device, threads) < 0) {
		fprintf(stderr, "%s\n", kc_errmsg());
		return 1;
	}
	printf("%s; peak %.0f GFLOP/s float32, %.0f bf16\n", kc_cpu_describe(),
	       kc_cpu_peak(false) * 1e-9, kc_cpu_peak(true) * 1e-9);
	for (size_t k = 0; k < KC_COUNT(convs); k++)
		bench_conv(&b, &convs[k]);
	bench_others(&b);
	kc_device_release(&b.device);
	return 0;
}
