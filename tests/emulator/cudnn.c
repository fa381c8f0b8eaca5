/*
 * layers/cuda/cudnn.h without cuDNN: graphs are run by the reference kernels on the emulated
 * device.  It has engines for what cuDNN 9.19 has engines for, and hands out, in this order, one
 * that adds with fewer bits, one that is not deterministic, one that rounds to TF32 and one that is
 * nothing of that; all compute the same.  Addresses must be aligned as promised, and the workspace
 * is filled with NaN.
 */
#include "tests/emulator/cudnn.h"

#include "layers/cuda/cudnn.h"
#include "layers/layers.h"
#include "layers/ops.h"
#include "tests/emulator/emulator.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_TENSORS = 12, MAX_DATA = 6, MAX_OPS = 4, WORKSPACE = 192, ENGINES = 4 };

bool emu_cudnn_compiles, emu_cudnn_prefers_fused;
int emu_cudnn_broken = -1;
struct emu_cudnn_count emu_cudnn;

struct operation {
	bool conv;
	enum kc_cudnn_pass pass;
	struct kc_cudnn_window window;
	enum kc_cudnn_pointwise kind;
	int a, b, y;            /* of a convolution x, w, y */
	double slope;
};

struct kc_cudnn { cudaStream_t stream; };

struct kc_cudnn_graph {
	struct kc_cudnn *lib;
	int users;
	struct kc_cudnn_tensor tensor[MAX_TENSORS];
	struct operation op[MAX_OPS];
	int n_tensors, n_ops;
};

struct kc_cudnn_plan {
	struct kc_cudnn_graph *graph;
	int engine;
	bool ran;
};

/* ---- the library ---- */

const char *kc_cudnn_version(void)
{
	return "cuDNN emulated";
}

int kc_cudnn_open(struct kc_cudnn **out, void *stream)
{
	*out = kc_calloc(1, sizeof **out);
	if (!*out)
		return KC_ENOMEM;
	(*out)->stream = stream;
	return 0;
}

void kc_cudnn_close(struct kc_cudnn *c)
{
	free(c);
}

/* ---- graphs ---- */

int kc_cudnn_graph_open(struct kc_cudnn_graph **out, struct kc_cudnn *lib)
{
	*out = kc_calloc(1, sizeof **out);
	if (!*out)
		return KC_ENOMEM;
	(*out)->lib = lib;
	(*out)->users = 1;
	return 0;
}

void kc_cudnn_graph_free(struct kc_cudnn_graph *g)
{
	if (g && !--g->users)
		free(g);
}

int kc_cudnn_graph_tensor(struct kc_cudnn_graph *g, const struct kc_cudnn_tensor *t)
{
	KC_ASSERT(g->n_tensors < MAX_TENSORS);
	g->tensor[g->n_tensors] = *t;
	return g->n_tensors++;
}

void kc_cudnn_graph_conv(struct kc_cudnn_graph *g, enum kc_cudnn_pass pass,
			 const struct kc_cudnn_window *window, int x, int w, int y)
{
	KC_ASSERT(g->n_ops < MAX_OPS);
	g->op[g->n_ops++] = (struct operation){.conv = true, .pass = pass, .window = *window,
					       .a = x, .b = w, .y = y};
}

void kc_cudnn_graph_pointwise(struct kc_cudnn_graph *g, enum kc_cudnn_pointwise kind, int a,
			      int b, int y, double slope)
{
	KC_ASSERT(g->n_ops < MAX_OPS);
	g->op[g->n_ops++] = (struct operation){.kind = kind, .a = a, .b = b, .y = y,
					       .slope = slope};
}

int kc_cudnn_graph_close(struct kc_cudnn_graph *g)
{
	return g->n_ops && g->op[0].conv ? 0 : KC_FAIL(KC_ENOSUP, "a graph without convolution");
}

/* ---- engines ---- */

static int result_of(const struct operation *o)
{
	return o->pass == KC_CUDNN_FPROP ? o->y : o->pass == KC_CUDNN_DGRAD ? o->a : o->b;
}

/* One dtype throughout, and at most bias and plain ReLU behind a forward convolution. */
static bool needs_compiler(const struct kc_cudnn_graph *g)
{
	const struct operation *o = &g->op[0];
	enum kc_dtype type = g->tensor[0].dtype;

	for (int i = 0; i < g->n_tensors; i++)
		if (g->tensor[i].dtype != type && !g->tensor[i].inner)
			return true;
	if (g->n_ops == 1)
		return false;
	if (o->pass != KC_CUDNN_FPROP || g->op[1].kind != KC_CUDNN_ADD)
		return true;
	return g->n_ops > 2 && (g->op[2].kind != KC_CUDNN_RELU || g->op[2].slope != 0);
}

int kc_cudnn_graph_configs(struct kc_cudnn_graph *g, enum kc_cudnn_mode mode,
			   struct kc_cudnn_config *to, int room)
{
	static const unsigned notes[ENGINES] = {KC_CUDNN_NONDETERMINISTIC, KC_CUDNN_TENSOR_CORE, 0,
						KC_CUDNN_REDUCED_SUMS};
	bool compiled = needs_compiler(g);

	KC_ASSERT(room >= ENGINES);
	if (mode == KC_CUDNN_FALLBACK || (compiled && !emu_cudnn_compiles))
		return 0;
	for (int n = 0; n < ENGINES; n++) {
		int i = (n + ENGINES - 1) % ENGINES;    /* the last one first */

		to[n] = (struct kc_cudnn_config){.engine = 7 + i, .n_knobs = i,
						 .notes = notes[i] | (compiled ?
							  KC_CUDNN_RUN_TIME_COMPILED : 0)};
		for (int k = 0; k < i; k++) {
			to[n].knob[k].type = 3 + k;
			to[n].knob[k].value = 10 * i;
		}
	}
	return ENGINES;
}

int kc_cudnn_plan_build(struct kc_cudnn_plan **out, struct kc_cudnn_graph *g,
			const struct kc_cudnn_config *c)
{
	if (c->engine < 7 || c->engine >= 7 + ENGINES || c->n_knobs != c->engine - 7)
		return KC_FAIL(KC_ENOSUP, "no engine %lld", (long long)c->engine);
	*out = kc_calloc(1, sizeof **out);
	if (!*out)
		return KC_ENOMEM;
	(*out)->graph = g;
	(*out)->engine = (int)c->engine - 7;
	g->users++;
	emu_cudnn.engine[c->engine - 7]++;
	return 0;
}

void kc_cudnn_plan_free(struct kc_cudnn_plan *p)
{
	if (!p)
		return;
	/* The real one may unload its kernels. */
	KC_ASSERT(!p->ran || emu_is_done(p->graph->lib->stream));
	kc_cudnn_graph_free(p->graph);
	free(p);
}

size_t kc_cudnn_plan_workspace(const struct kc_cudnn_plan *p)
{
	return p->engine == 2 ? 0 : WORKSPACE;
}

/* ---- running ---- */

struct job {
	const struct kc_cudnn_graph *graph;
	void *data[MAX_DATA], *workspace;
};

static void run_conv(const struct operation *o, const struct kc_buf *buf)
{
	static const struct kc_op *const ops[] = {&kc_op_conv, &kc_op_conv_dgrad,
						  &kc_op_conv_wgrad};
	const struct kc_buf *x = &buf[o->a], *w = &buf[o->b], *y = &buf[o->y];
	struct kc_conv_attr a = {.nd = o->window.nd, .groups = x->type.dim[1] / w->type.dim[1]};
	const struct kc_buf *sized = o->pass == KC_CUDNN_DGRAD ? x : w;
	struct kc_buf in[2], out;

	for (int i = 0; i < a.nd; i++) {
		a.stride[i] = o->window.stride[i];
		a.pad[i] = o->window.pad[i];
		a.dilation[i] = o->window.dilation[i];
		a.size[i] = o->pass == KC_CUDNN_FPROP ? 0 : sized->type.dim[2 + i];
	}
	in[0] = o->pass == KC_CUDNN_DGRAD ? *y : *x;
	in[1] = o->pass == KC_CUDNN_WGRAD ? *y : *w;
	out = buf[result_of(o)];
	ops[o->pass]->ref(&(struct kc_call){.attr = &a, .in = in, .out = &out, .n_in = 2,
					    .n_out = 1});
}

static double apply(const struct operation *o, double a, double b)
{
	switch (o->kind) {
	case KC_CUDNN_ADD: return a + b;
	case KC_CUDNN_RELU: return a > 0 ? a : o->slope * a;
	case KC_CUDNN_TANH: return tanh(a);
	case KC_CUDNN_SIGMOID: return 1 / (1 + exp(-a));
	default: return a;
	}
}

/* Offset of element i, counted row-major over y's dimensions; sizes of 1 are repeated. */
static int64_t place(const struct kc_buf *b, const struct kc_type *y, int64_t i)
{
	int64_t at = 0;

	for (int d = y->ndim - 1; d >= 0; d--) {
		if (b->type.dim[d] > 1)
			at += i % y->dim[d] * b->stride[d];
		i /= y->dim[d];
	}
	return at;
}

/* Of b along the last dimension of y. */
static int64_t pace(const struct kc_buf *b, int last)
{
	return b->type.dim[last] > 1 ? b->stride[last] : 0;
}

static void run_row(const struct operation *o, const struct kc_buf *buf, int64_t first)
{
	const struct kc_buf *y = &buf[o->y], *a = &buf[o->a], *b = &buf[o->b];
	int last = y->type.ndim - 1;
	int64_t at_y = place(y, &y->type, first), at_a = place(a, &y->type, first), at_b = 0;

	if (o->kind == KC_CUDNN_ADD)
		at_b = place(b, &y->type, first);
	for (int64_t i = 0; i < y->type.dim[last]; i++) {
		double u = kc_get(a, at_a + i * pace(a, last));
		double v = o->kind == KC_CUDNN_ADD ? kc_get(b, at_b + i * pace(b, last)) : 0;

		kc_put(y, at_y + i * pace(y, last), apply(o, u, v));
	}
}

static void run_pointwise(const struct operation *o, const struct kc_buf *buf)
{
	const struct kc_type *y = &buf[o->y].type;

	for (int64_t i = 0; i < kc_numel(y); i += y->dim[y->ndim - 1])
		run_row(o, buf, i);
}

static void run_job(const void *argument)
{
	const struct job *j = argument;
	const struct kc_cudnn_graph *g = j->graph;
	struct kc_buf buf[MAX_TENSORS] = {0};
	int n = 0;

	if (g->n_ops == 1 && emu_cudnn_prefers_fused)
		usleep(500);
	for (int i = 0; j->workspace && i < WORKSPACE / 4; i++)
		((float *)j->workspace)[i] = NAN;
	for (int i = 0; i < g->n_tensors; i++) {
		const struct kc_cudnn_tensor *t = &g->tensor[i];

		buf[i].type = kc_type_of(t->dtype, t->ndim, t->dim);
		memcpy(buf[i].stride, t->stride, sizeof t->stride);
		buf[i].data = t->inner ? malloc((size_t)kc_numel(&buf[i].type) * sizeof(float)) :
					 j->data[n++];
		KC_ASSERT(buf[i].data);
	}
	for (int i = 0; i < g->n_ops; i++)
		if (g->op[i].conv)
			run_conv(&g->op[i], buf);
		else
			run_pointwise(&g->op[i], buf);
	for (int i = 0; i < g->n_tensors; i++)
		if (g->tensor[i].inner)
			free(buf[i].data);
}

int kc_cudnn_plan_run(struct kc_cudnn_plan *p, void *const *data, void *workspace)
{
	struct kc_cudnn_graph *g = p->graph;
	struct job j = {.graph = g, .workspace = p->engine == 2 ? NULL : workspace};
	int n = 0;

	if (p->engine == emu_cudnn_broken)
		return KC_FAIL(KC_EBACKEND, "cudnn: execution: engine %d is broken", p->engine);
	for (int i = 0; i < g->n_tensors; i++) {
		if (g->tensor[i].inner)
			continue;
		KC_ASSERT(n < MAX_DATA);
		if ((uintptr_t)data[n] % (uintptr_t)g->tensor[i].align)
			return KC_FAIL(KC_EBACKEND, "address %d is not aligned at %d bytes", i,
				       (int)g->tensor[i].align);
		j.data[n] = data[n];
		n++;
	}
	p->ran = true;
	emu_cudnn.runs++;
	return emu_call(run_job, &j, sizeof j, g->lib->stream) ?
	       KC_FAIL(KC_EBACKEND, "the emulator refused a run") : 0;
}
