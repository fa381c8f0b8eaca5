#include "layers/cpu/dnnl.h"
#include "layers/layers.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "oneDNN 2.6 or newer is needed"
#endif

/* In 2.x a memory descriptor is a value, in 3.x a handle: this is 3.x's name of a borrowed one. */
#if DNNL_VERSION_MAJOR < 3
typedef const dnnl_memory_desc_t *const_dnnl_memory_desc_t;
#endif

enum { SRC, WEIGHTS, BIAS, DST, SCRATCH, ARGS };

/* A descriptor that we made; used is false for an absent argument. */
struct desc {
	bool used;
	dnnl_memory_desc_t d;
};

struct primitive {
	struct primitive *next;
	int users;
	int threads;                    /* it divides its work over as many */
	struct kc_dnn_spec spec;
	dnnl_primitive_desc_t pd;
	dnnl_primitive_t p;
};

struct kc_dnn {
	struct primitive *prim;
	dnnl_memory_t mem[ARGS];
	void *at[ARGS];                 /* handles set last: setting one again pads it again */
	dnnl_exec_arg_t args[ARGS];
	int n_args;
	/* A reorder is not shared. */
	dnnl_primitive_desc_t own_pd;
	dnnl_primitive_t own;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct primitive *cache;
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static int fail(dnnl_status_t status, const char *what)
{
	if (status == dnnl_unimplemented || status == dnnl_invalid_arguments)
		return KC_FAIL(KC_ENOSUP, "%s: oneDNN has no such primitive", what);
	if (status == dnnl_out_of_memory)
		return KC_FAIL(KC_ENOMEM, "%s: oneDNN is out of memory", what);
	return KC_FAIL(KC_EBACKEND, "%s: oneDNN failed with status %d", what, (int)status);
}

const char *kc_dnn_version(void)
{
	static char text[32];
	const dnnl_version_t *v = dnnl_version();

	snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
	return text;
}

/* ---- memory descriptors ---- */

static dnnl_data_type_t data_type(int64_t dtype)
{
	return dtype == KC_BF16 ? dnnl_bf16 : dtype == KC_F32 ? dnnl_f32 : dnnl_data_type_undef;
}

static dnnl_status_t desc_make(struct desc *d, const struct kc_dnn_mem *m)
{
	int nd = (int)m->ndim;
	dnnl_data_type_t type = data_type(m->dtype);
	dnnl_dims_t dims, strides;
	dnnl_status_t s;

	if (!nd)
		return dnnl_success;
	for (int i = 0; i < nd; i++) {
		dims[i] = m->dim[i];
		strides[i] = m->stride[i];
	}
#if DNNL_VERSION_MAJOR < 3
	s = m->any ? dnnl_memory_desc_init_by_tag(&d->d, nd, dims, type, dnnl_format_tag_any) :
		     dnnl_memory_desc_init_by_strides(&d->d, nd, dims, type, strides);
#else
	s = m->any ? dnnl_memory_desc_create_with_tag(&d->d, nd, dims, type, dnnl_format_tag_any) :
		     dnnl_memory_desc_create_with_strides(&d->d, nd, dims, type, strides);
#endif
	d->used = s == dnnl_success;
	return s;
}

static void desc_free(struct desc *d)
{
#if DNNL_VERSION_MAJOR >= 3
	if (d->used)
		dnnl_memory_desc_destroy(d->d);
#endif
	d->used = false;
}

static const_dnnl_memory_desc_t desc_ref(const struct desc *d)
{
#if DNNL_VERSION_MAJOR < 3
	return d->used ? &d->d : NULL;
#else
	return d->used ? d->d : NULL;
#endif
}

/* The format as numbers: logical sizes, strides and inner blocks. */
struct format {
	int64_t ndim, dtype, blocks;
	int64_t dim[DNNL_MAX_NDIMS], stride[DNNL_MAX_NDIMS];
	int64_t block[DNNL_MAX_NDIMS], axis[DNNL_MAX_NDIMS];
};

static void format_get(struct format *f, const_dnnl_memory_desc_t md)
{
	memset(f, 0, sizeof *f);
#if DNNL_VERSION_MAJOR < 3
	f->ndim = md->ndims;
	f->dtype = md->data_type;
	f->blocks = md->format_desc.blocking.inner_nblks;
	for (int i = 0; i < f->ndim; i++) {
		f->dim[i] = md->padded_dims[i];
		f->stride[i] = md->format_desc.blocking.strides[i];
	}
	for (int i = 0; i < f->blocks; i++) {
		f->block[i] = md->format_desc.blocking.inner_blks[i];
		f->axis[i] = md->format_desc.blocking.inner_idxs[i];
	}
#else
	int ndim = 0, blocks = 0;
	dnnl_data_type_t type = dnnl_data_type_undef;
	const dnnl_dims_t *dim, *stride, *block, *axis;

	dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &ndim);
	dnnl_memory_desc_query(md, dnnl_query_data_type, &type);
	dnnl_memory_desc_query(md, dnnl_query_padded_dims, &dim);
	dnnl_memory_desc_query(md, dnnl_query_strides, &stride);
	dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks);
	dnnl_memory_desc_query(md, dnnl_query_inner_blks, &block);
	dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &axis);
	f->ndim = ndim;
	f->dtype = type;
	f->blocks = blocks;
	for (int i = 0; i < ndim; i++) {
		f->dim[i] = (*dim)[i];
		f->stride[i] = (*stride)[i];
	}
	for (int i = 0; i < blocks; i++) {
		f->block[i] = (*block)[i];
		f->axis[i] = (*axis)[i];
	}
#endif
}

static const_dnnl_memory_desc_t prim_desc(const struct primitive *p, int arg)
{
	static const dnnl_query_t fwd[ARGS] = {
		[SRC] = dnnl_query_src_md, [WEIGHTS] = dnnl_query_weights_md,
		[BIAS] = dnnl_query_weights_md, [DST] = dnnl_query_dst_md,
		[SCRATCH] = dnnl_query_scratchpad_md};
	dnnl_query_t what = fwd[arg];

	if (arg == SRC && p->spec.kind == KC_DNN_DGRAD)
		what = dnnl_query_diff_src_md;
	if (arg == WEIGHTS && p->spec.kind == KC_DNN_WGRAD)
		what = dnnl_query_diff_weights_md;
	if (arg == DST && (p->spec.kind == KC_DNN_DGRAD || p->spec.kind == KC_DNN_WGRAD))
		what = dnnl_query_diff_dst_md;
	return dnnl_primitive_desc_query_md(p->pd, what, arg == BIAS);
}

static size_t desc_bytes(const_dnnl_memory_desc_t md)
{
	return md ? dnnl_memory_desc_get_size(md) : 0;
}

/* ---- primitives ---- */

static int activation(int64_t act, double slope, dnnl_alg_kind_t *alg, float *alpha)
{
	*alpha = 0;
	switch (act) {
	case KC_RELU: *alg = dnnl_eltwise_relu; return 1;
	case KC_LEAKY: *alg = dnnl_eltwise_relu; *alpha = (float)slope; return 1;
	case KC_TANH: *alg = dnnl_eltwise_tanh; return 1;
	case KC_SIGMOID: *alg = dnnl_eltwise_logistic; return 1;
	default: return 0;
	}
}

static dnnl_status_t attr_make(dnnl_primitive_attr_t *attr, const struct kc_dnn_spec *spec)
{
	dnnl_status_t s = dnnl_primitive_attr_create(attr);
	dnnl_post_ops_t ops = NULL;
	dnnl_alg_kind_t alg;
	float alpha;

	if (s == dnnl_success)
		s = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
	if (s != dnnl_success || !activation(spec->act, spec->slope, &alg, &alpha))
		return s;
	s = dnnl_post_ops_create(&ops);
	if (s != dnnl_success)
		return s;
#if DNNL_VERSION_MAJOR < 3
	s = dnnl_post_ops_append_eltwise(ops, 1.f, alg, alpha, 0.f);
#else
	s = dnnl_post_ops_append_eltwise(ops, alg, alpha, 0.f);
#endif
	if (s == dnnl_success)
		s = dnnl_primitive_attr_set_post_ops(*attr, ops);
	dnnl_post_ops_destroy(ops);
	return s;
}

/* Arrays as long as the library declares its arguments. */
struct geometry {
	dnnl_dims_t stride, left, right, dilate;
};

/* Pads of the right side follow from the sizes of the (forward) convolution's input and result. */
static void geometry(struct geometry *g, const struct kc_dnn_spec *spec)
{
	const struct kc_dnn_mem *x = spec->kind == KC_DNN_DECONV ? &spec->dst : &spec->src;
	const struct kc_dnn_mem *y = spec->kind == KC_DNN_DECONV ? &spec->src : &spec->dst;
	int nd = (int)x->ndim - 2, first = (int)spec->weights.ndim - nd;

	memset(g, 0, sizeof *g);
	for (int i = 0; i < nd; i++) {
		int64_t reach = spec->dilation[i] * (spec->weights.dim[first + i] - 1) + 1;
		int64_t in = x->dim[2 + i], out = y->dim[2 + i], left = spec->pad[i];

		g->stride[i] = spec->stride[i];
		g->dilate[i] = spec->dilation[i] - 1;
		g->left[i] = g->right[i] = left;
		if ((in + 2 * left - reach) / spec->stride[i] + 1 != out)
			g->right[i] = (out - 1) * spec->stride[i] + reach - in - left;
	}
}

#if DNNL_VERSION_MAJOR < 3

static dnnl_status_t conv_desc(dnnl_convolution_desc_t *cd, const struct geometry *g,
			       dnnl_prop_kind_t prop, const struct desc d[ARGS])
{
	const_dnnl_memory_desc_t x = desc_ref(&d[SRC]), w = desc_ref(&d[WEIGHTS]);
	const_dnnl_memory_desc_t b = desc_ref(&d[BIAS]), y = desc_ref(&d[DST]);
	dnnl_alg_kind_t direct = dnnl_convolution_direct;

	switch (prop) {
	case dnnl_backward_data:
		return dnnl_dilated_convolution_backward_data_desc_init(
			cd, direct, x, w, y, g->stride, g->dilate, g->left, g->right);
	case dnnl_backward_weights:
		return dnnl_dilated_convolution_backward_weights_desc_init(
			cd, direct, x, w, NULL, y, g->stride, g->dilate, g->left, g->right);
	default:
		return dnnl_dilated_convolution_forward_desc_init(
			cd, prop, direct, x, w, b, y, g->stride, g->dilate, g->left, g->right);
	}
}

static dnnl_status_t conv_pd(dnnl_primitive_desc_t *pd, const struct kc_dnn_spec *spec,
			     dnnl_prop_kind_t prop, const struct desc d[ARGS],
			     dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr)
{
	struct geometry g;
	dnnl_convolution_desc_t cd;
	dnnl_deconvolution_desc_t dd;
	dnnl_status_t s;

	geometry(&g, spec);
	if (spec->kind == KC_DNN_DECONV) {
		s = dnnl_dilated_deconvolution_forward_desc_init(
			&dd, prop, dnnl_deconvolution_direct, desc_ref(&d[SRC]),
			desc_ref(&d[WEIGHTS]), desc_ref(&d[BIAS]), desc_ref(&d[DST]), g.stride,
			g.dilate, g.left, g.right);
		return s != dnnl_success ? s :
		       dnnl_primitive_desc_create(pd, &dd, attr, engine, hint);
	}
	s = conv_desc(&cd, &g, prop, d);
	return s != dnnl_success ? s : dnnl_primitive_desc_create(pd, &cd, attr, engine, hint);
}

static dnnl_status_t matmul_pd(dnnl_primitive_desc_t *pd, const struct desc d[ARGS],
			       dnnl_primitive_attr_t attr)
{
	dnnl_matmul_desc_t md;
	dnnl_status_t s = dnnl_matmul_desc_init(&md, desc_ref(&d[SRC]), desc_ref(&d[WEIGHTS]),
						desc_ref(&d[BIAS]), desc_ref(&d[DST]));

	return s != dnnl_success ? s : dnnl_primitive_desc_create(pd, &md, attr, engine, NULL);
}

#else

static dnnl_status_t conv_pd(dnnl_primitive_desc_t *pd, const struct kc_dnn_spec *spec,
			     dnnl_prop_kind_t prop, const struct desc d[ARGS],
			     dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr)
{
	const_dnnl_memory_desc_t x = desc_ref(&d[SRC]), w = desc_ref(&d[WEIGHTS]);
	const_dnnl_memory_desc_t b = desc_ref(&d[BIAS]), y = desc_ref(&d[DST]);
	dnnl_alg_kind_t direct = dnnl_convolution_direct;
	struct geometry g;

	geometry(&g, spec);
	if (spec->kind == KC_DNN_DECONV)
		return dnnl_deconvolution_forward_primitive_desc_create(
			pd, engine, prop, dnnl_deconvolution_direct, x, w, b, y, g.stride, g.dilate,
			g.left, g.right, attr);
	switch (prop) {
	case dnnl_backward_data:
		return dnnl_convolution_backward_data_primitive_desc_create(
			pd, engine, direct, x, w, y, g.stride, g.dilate, g.left, g.right, hint,
			attr);
	case dnnl_backward_weights:
		return dnnl_convolution_backward_weights_primitive_desc_create(
			pd, engine, direct, x, w, NULL, y, g.stride, g.dilate, g.left, g.right,
			hint, attr);
	default:
		return dnnl_convolution_forward_primitive_desc_create(
			pd, engine, prop, direct, x, w, b, y, g.stride, g.dilate, g.left, g.right,
			attr);
	}
}

static dnnl_status_t matmul_pd(dnnl_primitive_desc_t *pd, const struct desc d[ARGS],
			       dnnl_primitive_attr_t attr)
{
	return dnnl_matmul_primitive_desc_create(pd, engine, desc_ref(&d[SRC]),
						 desc_ref(&d[WEIGHTS]), desc_ref(&d[BIAS]),
						 desc_ref(&d[DST]), attr);
}

#endif

/*
 * A backward descriptor wants a forward one as a hint.  Its weights have the data's type: a
 * forward convolution of bf16 with float32 weights does not exist.
 */
static dnnl_status_t backward_pd(struct primitive *p, const struct desc d[ARGS],
				 dnnl_primitive_attr_t attr)
{
	struct desc all[ARGS];
	struct kc_dnn_mem w = p->spec.weights;
	dnnl_primitive_desc_t hint = NULL;
	dnnl_status_t s;

	memcpy(all, d, sizeof all);
	memset(&all[WEIGHTS], 0, sizeof all[WEIGHTS]);
	w.dtype = p->spec.kind == KC_DNN_WGRAD ? p->spec.src.dtype : p->spec.dst.dtype;
	s = desc_make(&all[WEIGHTS], &w);
	if (s == dnnl_success)
		s = conv_pd(&hint, &p->spec, dnnl_forward_training, all, NULL, NULL);
	desc_free(&all[WEIGHTS]);
	if (s != dnnl_success)
		return s;
	s = conv_pd(&p->pd, &p->spec,
		    p->spec.kind == KC_DNN_DGRAD ? dnnl_backward_data : dnnl_backward_weights, d,
		    hint, attr);
	dnnl_primitive_desc_destroy(hint);
	return s;
}

static dnnl_status_t make_pd(struct primitive *p, const struct desc d[ARGS],
			     dnnl_primitive_attr_t attr)
{
	switch (p->spec.kind) {
	case KC_DNN_CONV:
	case KC_DNN_DECONV:
		return conv_pd(&p->pd, &p->spec, dnnl_forward_inference, d, NULL, attr);
	case KC_DNN_MATMUL:
		return matmul_pd(&p->pd, d, attr);
	default:
		return backward_pd(p, d, attr);
	}
}

static const char *pd_name(const_dnnl_primitive_desc_t pd)
{
	const char *name = "";

	dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
	return name;
}

static void primitive_free(struct primitive *p)
{
	if (p->p)
		dnnl_primitive_destroy(p->p);
	if (p->pd)
		dnnl_primitive_desc_destroy(p->pd);
	free(p);
}

static int engine_start(void)
{
	dnnl_status_t s = dnnl_success;

	if (!engine)
		s = dnnl_engine_create(&engine, dnnl_cpu, 0);
	if (s == dnnl_success && !stream)
		s = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
	return s == dnnl_success ? 0 : fail(s, "engine");
}

static int primitive_make(struct primitive *p)
{
	const struct kc_dnn_mem *m[] = {&p->spec.src, &p->spec.weights, &p->spec.bias,
					&p->spec.dst};
	struct desc d[ARGS] = {{0}};
	dnnl_primitive_attr_t attr = NULL;
	dnnl_status_t s = attr_make(&attr, &p->spec);

	for (int i = 0; i <= DST && s == dnnl_success; i++)
		s = desc_make(&d[i], m[i]);
	if (s == dnnl_success)
		s = make_pd(p, d, attr);
	if (s == dnnl_success && !strncmp(pd_name(p->pd), "ref", 3))
		s = dnnl_unimplemented;
	if (s == dnnl_success)
		s = dnnl_primitive_create(&p->p, p->pd);
	for (int i = 0; i <= DST; i++)
		desc_free(&d[i]);
	if (attr)
		dnnl_primitive_attr_destroy(attr);
	return s == dnnl_success ? 0 : fail(s, "primitive");
}

static int primitive_get(struct primitive **out, const struct kc_dnn_spec *spec)
{
	struct primitive *p;
	int rc;

	for (p = cache; p; p = p->next)
		if (p->threads == omp_get_max_threads() && !memcmp(&p->spec, spec, sizeof *spec)) {
			p->users++;
			*out = p;
			return 0;
		}
	p = kc_calloc(1, sizeof *p);
	if (!p)
		return KC_ENOMEM;
	p->spec = *spec;
	p->users = 1;
	p->threads = omp_get_max_threads();
	rc = primitive_make(p);
	if (rc < 0) {
		primitive_free(p);
		return rc;
	}
	p->next = cache;
	cache = p;
	*out = p;
	return 0;
}

static void primitive_put(struct primitive *p)
{
	struct primitive **at = &cache;

	if (--p->users)
		return;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	primitive_free(p);
}

/* ---- handles ---- */

static int argument(struct kc_dnn *h, int arg, int id, const_dnnl_memory_desc_t md)
{
	dnnl_status_t s;

	if (!desc_bytes(md))
		return 0;
	s = dnnl_memory_create(&h->mem[arg], md, engine, DNNL_MEMORY_NONE);
	if (s != dnnl_success)
		return fail(s, "memory");
	h->args[h->n_args].arg = id;
	h->args[h->n_args++].memory = h->mem[arg];
	return 0;
}

static int arguments(struct kc_dnn *h)
{
	const struct primitive *p = h->prim;
	bool dgrad = p->spec.kind == KC_DNN_DGRAD, wgrad = p->spec.kind == KC_DNN_WGRAD;
	const int id[ARGS] = {
		[SRC] = dgrad ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
		[WEIGHTS] = wgrad ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
		[BIAS] = DNNL_ARG_BIAS,
		[DST] = dgrad || wgrad ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST,
		[SCRATCH] = DNNL_ARG_SCRATCHPAD};

	for (int i = 0; i < ARGS; i++)
		if (i != BIAS || p->spec.bias.ndim)
			KC_TRY(argument(h, i, id[i], prim_desc(p, i)));
	return 0;
}

int kc_dnn_open(struct kc_dnn **out, const struct kc_dnn_spec *spec)
{
	struct kc_dnn *h = kc_calloc(1, sizeof *h);
	int rc;

	if (!h)
		return KC_ENOMEM;
	pthread_mutex_lock(&lock);
	rc = engine_start();
	if (rc == 0)
		rc = primitive_get(&h->prim, spec);
	if (rc == 0)
		rc = arguments(h);
	pthread_mutex_unlock(&lock);
	if (rc < 0) {
		kc_dnn_close(h);
		return rc;
	}
	*out = h;
	return 0;
}

void kc_dnn_close(struct kc_dnn *h)
{
	if (!h)
		return;
	for (int i = 0; i < ARGS; i++)
		if (h->mem[i])
			dnnl_memory_destroy(h->mem[i]);
	if (h->own)
		dnnl_primitive_destroy(h->own);
	if (h->own_pd)
		dnnl_primitive_desc_destroy(h->own_pd);
	pthread_mutex_lock(&lock);
	if (h->prim)
		primitive_put(h->prim);
	pthread_mutex_unlock(&lock);
	free(h);
}

const char *kc_dnn_name(const struct kc_dnn *h)
{
	return pd_name(h->prim ? h->prim->pd : h->own_pd);
}

size_t kc_dnn_scratch(const struct kc_dnn *h)
{
	return desc_bytes(prim_desc(h->prim, SCRATCH));
}

size_t kc_dnn_weights_bytes(const struct kc_dnn *h)
{
	return desc_bytes(prim_desc(h->prim, WEIGHTS));
}

void kc_dnn_weights_key(const struct kc_dnn *h, char *text, size_t size)
{
	struct format f;
	uint64_t hash = 0xcbf29ce484222325u;
	const unsigned char *p = (const unsigned char *)&f;

	format_get(&f, prim_desc(h->prim, WEIGHTS));
	for (size_t i = 0; i < sizeof f; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	snprintf(text, size, "dnnl %016llx", (unsigned long long)hash);
}

bool kc_dnn_weights_are(const struct kc_dnn *h, const struct kc_dnn_mem *m)
{
	struct format f;

	format_get(&f, prim_desc(h->prim, WEIGHTS));
	if (f.blocks || f.ndim != m->ndim || f.dtype != (int64_t)data_type(m->dtype))
		return false;
	for (int i = 0; i < m->ndim; i++)
		if (f.dim[i] != m->dim[i] || (f.dim[i] > 1 && f.stride[i] != m->stride[i]))
			return false;
	return true;
}

static int run_set(struct kc_dnn *h, int arg, void *data)
{
	dnnl_status_t s;

	if (!h->mem[arg] || h->at[arg] == data)
		return 0;
	s = dnnl_memory_set_data_handle(h->mem[arg], data);
	h->at[arg] = data;
	return s == dnnl_success ? 0 : fail(s, "memory");
}

int kc_dnn_run(struct kc_dnn *h, void *src, void *weights, void *bias, void *dst, void *scratch)
{
	dnnl_status_t s;

	KC_TRY(run_set(h, SRC, src));
	KC_TRY(run_set(h, WEIGHTS, weights));
	KC_TRY(run_set(h, BIAS, bias));
	KC_TRY(run_set(h, DST, dst));
	KC_TRY(run_set(h, SCRATCH, scratch));
	s = dnnl_primitive_execute(h->prim ? h->prim->p : h->own, stream, h->n_args, h->args);
	if (s == dnnl_success)
		s = dnnl_stream_wait(stream);
	return s == dnnl_success ? 0 : fail(s, kc_dnn_name(h));
}

static int reorder_make(struct kc_dnn *h, const_dnnl_memory_desc_t from,
			const_dnnl_memory_desc_t to)
{
	dnnl_status_t s = dnnl_reorder_primitive_desc_create(&h->own_pd, from, engine, to, engine,
							     NULL);

	if (s == dnnl_success)
		s = dnnl_primitive_create(&h->own, h->own_pd);
	if (s != dnnl_success)
		return fail(s, "reorder");
	KC_TRY(argument(h, SRC, DNNL_ARG_FROM, from));
	return argument(h, DST, DNNL_ARG_TO, to);
}

int kc_dnn_reorder_open(struct kc_dnn **out, const struct kc_dnn *of,
			const struct kc_dnn_mem *plain, bool unpack)
{
	const_dnnl_memory_desc_t packed = prim_desc(of->prim, WEIGHTS);
	struct kc_dnn *h = kc_calloc(1, sizeof *h);
	struct desc d = {0};
	dnnl_status_t s;
	int rc;

	if (!h)
		return KC_ENOMEM;
	s = desc_make(&d, plain);
	if (s != dnnl_success)
		rc = fail(s, "reorder");
	else if (unpack)
		rc = reorder_make(h, packed, desc_ref(&d));
	else
		rc = reorder_make(h, desc_ref(&d), packed);
	desc_free(&d);
	if (rc < 0) {
		kc_dnn_close(h);
		return rc;
	}
	*out = h;
	return 0;
}

int kc_dnn_run_reorder(struct kc_dnn *h, const void *from, void *to)
{
	return kc_dnn_run(h, (void *)(uintptr_t)from, NULL, NULL, to, NULL);
}
