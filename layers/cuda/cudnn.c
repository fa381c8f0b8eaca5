#include "layers/cuda/cudnn.h"

#include <cudnn_graph.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#if CUDNN_VERSION < 90000
#error "cuDNN 9 or later is needed"
#endif

enum { MAX_TENSORS = 12, MAX_OPS = 4, MAX_HELPERS = 8, MAX_CONFIGS = 128 };

typedef cudnnBackendDescriptor_t desc_t;

struct kc_cudnn {
	cudnnHandle_t handle;           /* NULL: no device */
	desc_t properties;              /* of the described device; NULL with a handle */
};

struct kc_cudnn_graph {
	struct kc_cudnn *lib;
	int users;                      /* the caller and plans */
	int err;                        /* first error, whose message is in why */
	char why[512];
	struct kc_cudnn_tensor shape[MAX_TENSORS];
	desc_t tensor[MAX_TENSORS], op[MAX_OPS], helper[MAX_HELPERS];
	int n_tensors, n_ops, n_helpers;
	desc_t graph;
};

struct kc_cudnn_plan {
	struct kc_cudnn_graph *graph;
	desc_t engine, config, plan, pack;
	int64_t workspace;
	int n;                          /* tensors with addresses */
	int64_t id[MAX_TENSORS];
	void *at[MAX_TENSORS + 1];      /* what pack holds; the last is the workspace */
};

static int fail(cudnnStatus_t status, const char *what)
{
	char why[400] = "";

	cudnnGetLastErrorString(why, sizeof why);
	if (status == CUDNN_STATUS_ALLOC_FAILED)
		return KC_FAIL(KC_ENOMEM, "cudnn: %s: out of memory", what);
	if (status >= CUDNN_STATUS_NOT_SUPPORTED && status < CUDNN_STATUS_INTERNAL_ERROR)
		return KC_FAIL(KC_ENOSUP, "cudnn: %s: %s %s", what, cudnnGetErrorString(status),
			       why);
	return KC_FAIL(KC_EBACKEND, "cudnn: %s: %s %s", what, cudnnGetErrorString(status), why);
}

/* ---- descriptors ---- */

/* Sets attributes one after the other; the first failure sticks in *s. */
static void set(cudnnStatus_t *s, desc_t d, cudnnBackendAttributeName_t name,
		cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
	if (*s == CUDNN_STATUS_SUCCESS)
		*s = cudnnBackendSetAttribute(d, name, type, n, values);
}

static void set_ints(cudnnStatus_t *s, desc_t d, cudnnBackendAttributeName_t name, int64_t n,
		     const int64_t *values)
{
	set(s, d, name, CUDNN_TYPE_INT64, n, values);
}

static void set_desc(cudnnStatus_t *s, desc_t d, cudnnBackendAttributeName_t name, desc_t value)
{
	set(s, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_type(cudnnStatus_t *s, desc_t d, cudnnBackendAttributeName_t name,
		     cudnnDataType_t value)
{
	set(s, d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static cudnnStatus_t create(desc_t *d, cudnnBackendDescriptorType_t type)
{
	*d = NULL;
	return cudnnBackendCreateDescriptor(type, d);
}

static void finalize(cudnnStatus_t *s, desc_t d)
{
	if (*s == CUDNN_STATUS_SUCCESS)
		*s = cudnnBackendFinalize(d);
}

static void destroy(desc_t *d)
{
	if (*d)
		cudnnBackendDestroyDescriptor(*d);
	*d = NULL;
}

/* ---- the library ---- */

const char *kc_cudnn_version(void)
{
	static char text[32];
	size_t v = cudnnGetVersion();

	snprintf(text, sizeof text, "cuDNN %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
	return text;
}

/*
 * cuDNN loads CUDA's compiler by its bare name, as that does with a part of its own, and not every
 * system lists CUDA's folder.  The plugin knows it, and what is loaded is not looked for.  Without
 * them the engines that are compiled at run time are missing.
 */
static void load_compiler(void)
{
	enum { MAJOR = CUDART_VERSION / 1000, MINOR = CUDART_VERSION % 1000 / 10 };
	char name[40];

	snprintf(name, sizeof name, "libnvrtc-builtins.so.%d.%d", MAJOR, MINOR);
	(void)dlopen(name, RTLD_LAZY | RTLD_GLOBAL);
	snprintf(name, sizeof name, "libnvrtc.so.%d", MAJOR);
	(void)dlopen(name, RTLD_LAZY | RTLD_GLOBAL);
}

int kc_cudnn_open(struct kc_cudnn **out, void *stream)
{
	struct kc_cudnn *c = kc_calloc(1, sizeof *c);
	cudnnStatus_t s;

	if (!c)
		return KC_ENOMEM;
	load_compiler();
	s = cudnnCreate(&c->handle);
	if (s == CUDNN_STATUS_SUCCESS)
		s = cudnnSetStream(c->handle, (cudaStream_t)stream);
	if (s != CUDNN_STATUS_SUCCESS) {
		int rc = fail(s, "opening");

		kc_cudnn_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

#if CUDNN_VERSION >= 90800
/* Where there is no handle to ask. */
static void set_properties(cudnnStatus_t *s, desc_t d, cudnnBackendAttributeName_t name,
			   const struct kc_cudnn *c)
{
	if (c->properties)
		set_desc(s, d, name, c->properties);
}
#define SET_PROPERTIES(s, d, of, c) set_properties((s), (d), CUDNN_ATTR_##of##_DEVICEPROP, (c))

int kc_cudnn_open_described(struct kc_cudnn **out, const char *properties)
{
	struct kc_cudnn *c = kc_calloc(1, sizeof *c);
	cudnnStatus_t s;

	if (!c)
		return KC_ENOMEM;
	s = create(&c->properties, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
	set(&s, c->properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
	    (int64_t)strlen(properties), properties);
	finalize(&s, c->properties);
	if (s != CUDNN_STATUS_SUCCESS) {
		int rc = fail(s, "device properties");

		kc_cudnn_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

#else
#define SET_PROPERTIES(s, d, of, c) (void)0

int kc_cudnn_open_described(struct kc_cudnn **out, const char *properties)
{
	(void)out, (void)properties;
	return KC_FAIL(KC_ENOSUP, "cudnn: devices can be described from 9.8 on");
}
#endif

void kc_cudnn_close(struct kc_cudnn *c)
{
	if (!c)
		return;
	destroy(&c->properties);
	if (c->handle)
		cudnnDestroy(c->handle);
	free(c);
}

/* ---- graphs ---- */

int kc_cudnn_graph_open(struct kc_cudnn_graph **out, struct kc_cudnn *lib)
{
	struct kc_cudnn_graph *g = kc_calloc(1, sizeof *g);

	if (!g)
		return KC_ENOMEM;
	g->lib = lib;
	g->users = 1;
	*out = g;
	return 0;
}

void kc_cudnn_graph_free(struct kc_cudnn_graph *g)
{
	if (!g || --g->users)
		return;
	destroy(&g->graph);
	for (int i = 0; i < g->n_ops; i++)
		destroy(&g->op[i]);
	for (int i = 0; i < g->n_helpers; i++)
		destroy(&g->helper[i]);
	for (int i = 0; i < g->n_tensors; i++)
		destroy(&g->tensor[i]);
	free(g);
}

static void keep_error(struct kc_cudnn_graph *g, cudnnStatus_t s, const char *what)
{
	if (s == CUDNN_STATUS_SUCCESS || g->err)
		return;
	g->err = fail(s, what);
	snprintf(g->why, sizeof g->why, "%s", kc_errmsg());
}

static cudnnDataType_t data_type(enum kc_dtype t)
{
	KC_ASSERT(t == KC_F32 || t == KC_BF16);
	return t == KC_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

int kc_cudnn_graph_tensor(struct kc_cudnn_graph *g, const struct kc_cudnn_tensor *t)
{
	int64_t id = g->n_tensors + 1, align = t->align;
	bool inner = t->inner;
	cudnnStatus_t s;
	desc_t *d;

	KC_ASSERT(g->n_tensors < MAX_TENSORS);
	d = &g->tensor[g->n_tensors];
	g->shape[g->n_tensors] = *t;
	s = create(d, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
	set_type(&s, *d, CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(t->dtype));
	set_ints(&s, *d, CUDNN_ATTR_TENSOR_DIMENSIONS, t->ndim, t->dim);
	set_ints(&s, *d, CUDNN_ATTR_TENSOR_STRIDES, t->ndim, t->stride);
	set_ints(&s, *d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1, &id);
	set_ints(&s, *d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1, &align);
	set(&s, *d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &inner);
	finalize(&s, *d);
	keep_error(g, s, "tensor");
	return g->n_tensors++;
}

/* A descriptor that an operation refers to. */
static desc_t helper(struct kc_cudnn_graph *g, cudnnStatus_t *s, cudnnBackendDescriptorType_t type)
{
	KC_ASSERT(g->n_helpers < MAX_HELPERS);
	*s = create(&g->helper[g->n_helpers], type);
	return g->helper[g->n_helpers++];
}

static desc_t operation(struct kc_cudnn_graph *g, cudnnStatus_t *s,
			cudnnBackendDescriptorType_t type)
{
	KC_ASSERT(g->n_ops < MAX_OPS);
	if (*s == CUDNN_STATUS_SUCCESS)
		*s = create(&g->op[g->n_ops], type);
	return g->op[g->n_ops++];
}

static desc_t window(struct kc_cudnn_graph *g, cudnnStatus_t *s, const struct kc_cudnn_window *w)
{
	cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
	desc_t d = helper(g, s, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
	int64_t nd = w->nd;

	set_ints(s, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 1, &nd);
	set_type(s, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
	set(s, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
	set_ints(s, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, nd, w->pad);
	set_ints(s, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, nd, w->pad);
	set_ints(s, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, nd, w->dilation);
	set_ints(s, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, nd, w->stride);
	finalize(s, d);
	return d;
}

/* The same six attributes of each pass. */
#define NAMES(pass, x, w, y) \
	{CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_CONV_DESC, \
	 CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_##x, \
	 CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_##w, \
	 CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_##y, \
	 CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_ALPHA, \
	 CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_BETA}

void kc_cudnn_graph_conv(struct kc_cudnn_graph *g, enum kc_cudnn_pass pass,
			 const struct kc_cudnn_window *win, int x, int w, int y)
{
	static const cudnnBackendDescriptorType_t type[] = {
		[KC_CUDNN_FPROP] = CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
		[KC_CUDNN_DGRAD] = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
		[KC_CUDNN_WGRAD] = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
	static const cudnnBackendAttributeName_t name[][6] = {
		[KC_CUDNN_FPROP] = NAMES(FORWARD, X, W, Y),
		[KC_CUDNN_DGRAD] = NAMES(BWD_DATA, DX, W, DY),
		[KC_CUDNN_WGRAD] = NAMES(BWD_FILTER, X, DW, DY)};
	const cudnnBackendAttributeName_t *n = name[pass];
	const float one = 1, zero = 0;
	cudnnStatus_t s;
	desc_t win_desc = window(g, &s, win), op = operation(g, &s, type[pass]);

	set_desc(&s, op, n[0], win_desc);
	set_desc(&s, op, n[1], g->tensor[x]);
	set_desc(&s, op, n[2], g->tensor[w]);
	set_desc(&s, op, n[3], g->tensor[y]);
	set(&s, op, n[4], CUDNN_TYPE_FLOAT, 1, &one);
	set(&s, op, n[5], CUDNN_TYPE_FLOAT, 1, &zero);
	finalize(&s, op);
	keep_error(g, s, "convolution");
}

void kc_cudnn_graph_pointwise(struct kc_cudnn_graph *g, enum kc_cudnn_pointwise kind, int a,
			      int b, int y, double slope)
{
	static const cudnnPointwiseMode_t modes[] = {
		[KC_CUDNN_COPY] = CUDNN_POINTWISE_IDENTITY,
		[KC_CUDNN_ADD] = CUDNN_POINTWISE_ADD,
		[KC_CUDNN_RELU] = CUDNN_POINTWISE_RELU_FWD,
		[KC_CUDNN_TANH] = CUDNN_POINTWISE_TANH_FWD,
		[KC_CUDNN_SIGMOID] = CUDNN_POINTWISE_SIGMOID_FWD};
	cudnnPointwiseMode_t mode = modes[kind];
	cudnnStatus_t s;
	desc_t d = helper(g, &s, CUDNN_BACKEND_POINTWISE_DESCRIPTOR), op;

	set(&s, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
	set_type(&s, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
	if (kind == KC_CUDNN_RELU && slope != 0)
		set(&s, d, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1,
		    &slope);
	finalize(&s, d);
	op = operation(g, &s, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
	set_desc(&s, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
	set_desc(&s, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, g->tensor[a]);
	if (kind == KC_CUDNN_ADD)
		set_desc(&s, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, g->tensor[b]);
	set_desc(&s, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, g->tensor[y]);
	finalize(&s, op);
	keep_error(g, s, "pointwise operation");
}

int kc_cudnn_graph_close(struct kc_cudnn_graph *g)
{
	cudnnHandle_t handle = g->lib->handle;
	cudnnStatus_t s;

	if (g->err)
		return KC_FAIL(g->err, "%s", g->why);
	s = create(&g->graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
	set(&s, g->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_ops,
	    g->op);
	if (handle)
		set(&s, g->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
	finalize(&s, g->graph);
	return s == CUDNN_STATUS_SUCCESS ? 0 : fail(s, "graph");
}

/* ---- engine configurations ---- */

static int64_t get(desc_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
		   int64_t room, void *values)
{
	int64_t n = 0;

	if (cudnnBackendGetAttribute(d, name, type, room, &n, values) != CUDNN_STATUS_SUCCESS)
		return 0;
	return KC_MIN(n, room);
}

static unsigned engine_notes(desc_t engine)
{
	cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
	cudnnBackendBehaviorNote_t behaviour[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
	unsigned bits = 0;
	int64_t n = get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
			KC_COUNT(note), note);

	for (int64_t i = 0; i < n; i++)
		bits |= 1u << note[i];
	n = get(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
		KC_COUNT(behaviour), behaviour);
	for (int64_t i = 0; i < n; i++)
		if (behaviour[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)
			bits |= KC_CUDNN_RUN_TIME_COMPILED;
	return bits;
}

static void read_engine(desc_t config, struct kc_cudnn_config *c)
{
	desc_t engine;

	if (create(&engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR) == CUDNN_STATUS_SUCCESS &&
	    get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine)) {
		get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &c->engine);
		c->notes = engine_notes(engine);
	}
	destroy(&engine);
}

static void read_knobs(desc_t config, struct kc_cudnn_config *c)
{
	desc_t choice[KC_CUDNN_KNOBS] = {0};

	for (int i = 0; i < KC_CUDNN_KNOBS; i++)
		if (create(&choice[i], CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR))
			return;
	c->n_knobs = get(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
			 KC_CUDNN_KNOBS, choice);
	for (int64_t i = 0; i < c->n_knobs; i++) {
		cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;

		get(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
		get(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
		    &c->knob[i].value);
		c->knob[i].type = type;
	}
	for (int i = 0; i < KC_CUDNN_KNOBS; i++)
		destroy(&choice[i]);
}

int kc_cudnn_graph_configs(struct kc_cudnn_graph *g, enum kc_cudnn_mode mode,
			   struct kc_cudnn_config *to, int room)
{
	static const cudnnBackendHeurMode_t modes[] = {
		[KC_CUDNN_MODE_A] = CUDNN_HEUR_MODE_A, [KC_CUDNN_MODE_B] = CUDNN_HEUR_MODE_B,
		[KC_CUDNN_FALLBACK] = CUDNN_HEUR_MODE_FALLBACK};
	desc_t heuristic, config[MAX_CONFIGS] = {0};
	cudnnStatus_t s = create(&heuristic, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
	int64_t found = 0;
	int most = KC_MIN(room, MAX_CONFIGS);

	set_desc(&s, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g->graph);
	set(&s, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1,
	    &modes[mode]);
	SET_PROPERTIES(&s, heuristic, ENGINEHEUR, g->lib);
	finalize(&s, heuristic);
	for (int i = 0; i < most && s == CUDNN_STATUS_SUCCESS; i++)
		s = create(&config[i], CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
	if (s == CUDNN_STATUS_SUCCESS)
		found = get(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
			    CUDNN_TYPE_BACKEND_DESCRIPTOR, most, config);
	for (int64_t i = 0; i < found; i++) {
		memset(&to[i], 0, sizeof *to);
		read_engine(config[i], &to[i]);
		read_knobs(config[i], &to[i]);
	}
	for (int i = 0; i < most; i++)
		destroy(&config[i]);
	destroy(&heuristic);
	return (int)found;
}

/* ---- plans ---- */

static void make_engine(cudnnStatus_t *s, struct kc_cudnn_plan *p, int64_t index)
{
	*s = create(&p->engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
	set_desc(s, p->engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, p->graph->graph);
	set_ints(s, p->engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1, &index);
	SET_PROPERTIES(s, p->engine, ENGINE, p->graph->lib);
	finalize(s, p->engine);
}

static void make_config(cudnnStatus_t *s, struct kc_cudnn_plan *p, const struct kc_cudnn_config *c)
{
	desc_t choice[KC_CUDNN_KNOBS] = {0};

	if (*s == CUDNN_STATUS_SUCCESS)
		*s = create(&p->config, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
	set_desc(s, p->config, CUDNN_ATTR_ENGINECFG_ENGINE, p->engine);
	for (int64_t i = 0; i < c->n_knobs && *s == CUDNN_STATUS_SUCCESS; i++) {
		cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)c->knob[i].type;

		*s = create(&choice[i], CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
		set(s, choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
		set_ints(s, choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, 1, &c->knob[i].value);
		finalize(s, choice[i]);
	}
	if (c->n_knobs)
		set(s, p->config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
		    c->n_knobs, choice);
	finalize(s, p->config);
	for (int64_t i = 0; i < c->n_knobs; i++)
		destroy(&choice[i]);
}

static void make_plan(cudnnStatus_t *s, struct kc_cudnn_plan *p)
{
	struct kc_cudnn *lib = p->graph->lib;

	if (*s == CUDNN_STATUS_SUCCESS)
		*s = create(&p->plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
	set_desc(s, p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, p->config);
	if (lib->handle)
		set(s, p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
		    &lib->handle);
	SET_PROPERTIES(s, p->plan, EXECUTION_PLAN, lib);
	finalize(s, p->plan);
	if (*s == CUDNN_STATUS_SUCCESS)
		get(p->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
		    &p->workspace);
}

int kc_cudnn_plan_build(struct kc_cudnn_plan **out, struct kc_cudnn_graph *g,
			const struct kc_cudnn_config *c)
{
	struct kc_cudnn_plan *p = kc_calloc(1, sizeof *p);
	cudnnStatus_t s;

	if (!p)
		return KC_ENOMEM;
	p->graph = g;
	g->users++;
	for (int i = 0; i < g->n_tensors; i++)
		if (!g->shape[i].inner)
			p->id[p->n++] = i + 1;
	make_engine(&s, p, c->engine);
	make_config(&s, p, c);
	make_plan(&s, p);
	if (s != CUDNN_STATUS_SUCCESS) {
		int rc = fail(s, "plan");

		kc_cudnn_plan_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void kc_cudnn_plan_free(struct kc_cudnn_plan *p)
{
	if (!p)
		return;
	destroy(&p->pack);
	destroy(&p->plan);
	destroy(&p->config);
	destroy(&p->engine);
	kc_cudnn_graph_free(p->graph);
	free(p);
}

size_t kc_cudnn_plan_workspace(const struct kc_cudnn_plan *p)
{
	return (size_t)p->workspace;
}

/* Addresses change only when the arena moved, so what holds them is kept between runs. */
static cudnnStatus_t bind(struct kc_cudnn_plan *p, void *const *data, void *workspace)
{
	cudnnStatus_t s;

	if (p->pack && !memcmp(p->at, data, (size_t)p->n * sizeof *data) &&
	    p->at[p->n] == workspace)
		return CUDNN_STATUS_SUCCESS;
	destroy(&p->pack);
	memcpy(p->at, data, (size_t)p->n * sizeof *data);
	p->at[p->n] = workspace;
	s = create(&p->pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
	set(&s, p->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, p->n, p->at);
	set_ints(&s, p->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, p->n, p->id);
	set(&s, p->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
	finalize(&s, p->pack);
	if (s != CUDNN_STATUS_SUCCESS)
		destroy(&p->pack);
	return s;
}

int kc_cudnn_plan_run(struct kc_cudnn_plan *p, void *const *data, void *workspace)
{
	cudnnStatus_t s = bind(p, data, workspace);

	if (s == CUDNN_STATUS_SUCCESS)
		s = cudnnBackendExecute(p->graph->lib->handle, p->plan, p->pack);
	return s == CUDNN_STATUS_SUCCESS ? 0 : fail(s, "execution");
}
