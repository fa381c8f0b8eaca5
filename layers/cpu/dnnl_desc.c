#include "layers/cpu/dnnl_private.h"
#include "layers/layers.h"

enum { SRC, WEIGHTS, BIAS, DST, ARGS };

/* ---- memory ---- */

static dnnl_data_type_t data_type(int64_t dtype)
{
	return dtype == KC_BF16 ? dnnl_bf16 : dtype == KC_F32 ? dnnl_f32 : dnnl_data_type_undef;
}

dnnl_status_t kc_dnn_desc_make(struct kc_dnn_desc *d, const struct kc_dnn_mem *m)
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

void kc_dnn_desc_free(struct kc_dnn_desc *d)
{
#if DNNL_VERSION_MAJOR >= 3
	if (d->used)
		dnnl_memory_desc_destroy(d->d);
#endif
	d->used = false;
}

const_dnnl_memory_desc_t kc_dnn_desc_get(const struct kc_dnn_desc *d)
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

uint64_t kc_dnn_desc_hash(const_dnnl_memory_desc_t md)
{
	struct format f;
	uint64_t hash = 0xcbf29ce484222325u;
	const unsigned char *p = (const unsigned char *)&f;

	format_get(&f, md);
	for (size_t i = 0; i < sizeof f; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

bool kc_dnn_desc_is(const_dnnl_memory_desc_t md, const struct kc_dnn_mem *m)
{
	struct format f;

	format_get(&f, md);
	if (f.blocks || f.ndim != m->ndim || f.dtype != (int64_t)data_type(m->dtype))
		return false;
	for (int i = 0; i < m->ndim; i++)
		if (f.dim[i] != m->dim[i] || (f.dim[i] > 1 && f.stride[i] != m->stride[i]))
			return false;
	return true;
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
			       dnnl_prop_kind_t prop, const struct kc_dnn_desc d[ARGS])
{
	const_dnnl_memory_desc_t x = kc_dnn_desc_get(&d[SRC]), w = kc_dnn_desc_get(&d[WEIGHTS]);
	const_dnnl_memory_desc_t b = kc_dnn_desc_get(&d[BIAS]), y = kc_dnn_desc_get(&d[DST]);
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

static dnnl_status_t conv_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
			     const struct kc_dnn_spec *spec, dnnl_prop_kind_t prop,
			     const struct kc_dnn_desc d[ARGS], dnnl_primitive_desc_t hint,
			     dnnl_primitive_attr_t attr)
{
	struct geometry g;
	dnnl_convolution_desc_t cd;
	dnnl_deconvolution_desc_t dd;
	dnnl_status_t s;

	geometry(&g, spec);
	if (spec->kind == KC_DNN_DECONV) {
		s = dnnl_dilated_deconvolution_forward_desc_init(
			&dd, prop, dnnl_deconvolution_direct, kc_dnn_desc_get(&d[SRC]),
			kc_dnn_desc_get(&d[WEIGHTS]), kc_dnn_desc_get(&d[BIAS]),
			kc_dnn_desc_get(&d[DST]), g.stride, g.dilate, g.left, g.right);
		return s != dnnl_success ? s :
		       dnnl_primitive_desc_create(pd, &dd, attr, engine, hint);
	}
	s = conv_desc(&cd, &g, prop, d);
	return s != dnnl_success ? s : dnnl_primitive_desc_create(pd, &cd, attr, engine, hint);
}

static dnnl_status_t matmul_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
			       const struct kc_dnn_desc d[ARGS], dnnl_primitive_attr_t attr)
{
	dnnl_matmul_desc_t md;
	dnnl_status_t s = dnnl_matmul_desc_init(
		&md, kc_dnn_desc_get(&d[SRC]), kc_dnn_desc_get(&d[WEIGHTS]),
		kc_dnn_desc_get(&d[BIAS]), kc_dnn_desc_get(&d[DST]));

	return s != dnnl_success ? s : dnnl_primitive_desc_create(pd, &md, attr, engine, NULL);
}

#else

static dnnl_status_t conv_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
			     const struct kc_dnn_spec *spec, dnnl_prop_kind_t prop,
			     const struct kc_dnn_desc d[ARGS], dnnl_primitive_desc_t hint,
			     dnnl_primitive_attr_t attr)
{
	const_dnnl_memory_desc_t x = kc_dnn_desc_get(&d[SRC]), w = kc_dnn_desc_get(&d[WEIGHTS]);
	const_dnnl_memory_desc_t b = kc_dnn_desc_get(&d[BIAS]), y = kc_dnn_desc_get(&d[DST]);
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

static dnnl_status_t matmul_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
			       const struct kc_dnn_desc d[ARGS], dnnl_primitive_attr_t attr)
{
	return dnnl_matmul_primitive_desc_create(
		pd, engine, kc_dnn_desc_get(&d[SRC]), kc_dnn_desc_get(&d[WEIGHTS]),
		kc_dnn_desc_get(&d[BIAS]), kc_dnn_desc_get(&d[DST]), attr);
}

#endif

/*
 * A backward descriptor wants a forward one as a hint.  Its weights have the data's type: a
 * forward convolution of bf16 with float32 weights does not exist.
 */
static dnnl_status_t backward_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
				 const struct kc_dnn_spec *spec, const struct kc_dnn_desc d[ARGS],
				 dnnl_primitive_attr_t attr)
{
	struct kc_dnn_desc all[ARGS];
	struct kc_dnn_mem w = spec->weights;
	dnnl_primitive_desc_t hint = NULL;
	dnnl_status_t s;

	memcpy(all, d, sizeof all);
	memset(&all[WEIGHTS], 0, sizeof all[WEIGHTS]);
	w.dtype = spec->kind == KC_DNN_WGRAD ? spec->src.dtype : spec->dst.dtype;
	s = kc_dnn_desc_make(&all[WEIGHTS], &w);
	if (s == dnnl_success)
		s = conv_pd(&hint, engine, spec, dnnl_forward_training, all, NULL, NULL);
	kc_dnn_desc_free(&all[WEIGHTS]);
	if (s != dnnl_success)
		return s;
	s = conv_pd(pd, engine, spec,
		    spec->kind == KC_DNN_DGRAD ? dnnl_backward_data : dnnl_backward_weights, d,
		    hint, attr);
	dnnl_primitive_desc_destroy(hint);
	return s;
}

static dnnl_status_t make_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
			     const struct kc_dnn_spec *spec, const struct kc_dnn_desc d[ARGS],
			     dnnl_primitive_attr_t attr)
{
	switch (spec->kind) {
	case KC_DNN_CONV:
	case KC_DNN_DECONV:
		return conv_pd(pd, engine, spec, dnnl_forward_inference, d, NULL, attr);
	case KC_DNN_MATMUL:
		return matmul_pd(pd, engine, d, attr);
	default:
		return backward_pd(pd, engine, spec, d, attr);
	}
}

dnnl_status_t kc_dnn_describe(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
			      const struct kc_dnn_spec *spec)
{
	const struct kc_dnn_mem *m[ARGS] = {&spec->src, &spec->weights, &spec->bias, &spec->dst};
	struct kc_dnn_desc d[ARGS] = {{0}};
	dnnl_primitive_attr_t attr = NULL;
	dnnl_status_t s = attr_make(&attr, spec);

	for (int i = 0; i < ARGS && s == dnnl_success; i++)
		s = kc_dnn_desc_make(&d[i], m[i]);
	if (s == dnnl_success)
		s = make_pd(pd, engine, spec, d, attr);
	for (int i = 0; i < ARGS; i++)
		kc_dnn_desc_free(&d[i]);
	if (attr)
		dnnl_primitive_attr_destroy(attr);
	return s;
}
