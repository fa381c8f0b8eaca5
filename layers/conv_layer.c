/* Convolutions with parameters of their own. */
#include "layers/layers.h"

struct kc_tensor *kc_parameter(struct kc_model *m, const char *name, const struct kc_param *like)
{
	struct kc_param want = *like, *p;

	want.trainable = !m->frozen && !want.statistic;
	want.type.dtype = KC_REAL;
	want.stride = want.stride ? want.stride : 1;
	p = kc_params_get(m->params, kc_scope_path(m->g, name), &want);
	return p ? kc_param_value(m->g, p) : kc_graph_fail(m->g, "%s", kc_errmsg());
}

/* The weight over its largest singular value; training takes one power iteration each step. */
static struct kc_tensor *spectral_weight(struct kc_model *m, const struct kc_param *like, int dim)
{
	struct kc_tensor *w = kc_parameter(m, "weight_orig", like), *u, *v;
	struct kc_param vector = {.kind = KC_PARAM_UNIT, .statistic = true};
	struct kc_spectral s;
	int64_t rows = like->type.dim[dim];

	vector.type = KC_TYPE(KC_REAL, rows);
	u = kc_parameter(m, "weight_u", &vector);
	vector.type = KC_TYPE(KC_REAL, kc_numel(&like->type) / rows);
	v = kc_parameter(m, "weight_v", &vector);
	if (kc_is_poison(w) || kc_is_poison(u) || kc_is_poison(v))
		return w;
	kc_spectral_norm(m->g, w, u, m->train ? NULL : v, dim, &s);
	if (m->train) {
		kc_model_update(m, kc_tensor_param(u), s.u);
		kc_model_update(m, kc_tensor_param(v), s.v);
	}
	return s.w;
}

static struct kc_tensor *weight(struct kc_model *m, const struct kc_conv_args *a,
				const struct kc_param *like, int dim)
{
	return a->spectral ? spectral_weight(m, like, dim) : kc_parameter(m, "weight", like);
}

static struct kc_tensor *bias(struct kc_model *m, const struct kc_conv_args *a, int64_t fan)
{
	struct kc_param like = {.type = KC_TYPE(KC_REAL, a->out), .kind = KC_PARAM_BIAS,
				.fan = fan};

	return a->no_bias ? NULL : kc_parameter(m, "bias", &like);
}

/* clips: whether N, C, T, H, W will do as well as images. */
static bool check(struct kc_model *m, const struct kc_tensor *x, const struct kc_conv_args *a,
		  bool clips)
{
	if (kc_is_poison(x))
		return false;
	if (a->out > 0 && a->k > 0 && a->groups > 0 &&
	    (x->type.ndim == 4 || (clips && x->type.ndim == 5)) &&
	    x->type.dim[1] % a->groups == 0 && a->out % a->groups == 0)
		return true;
	kc_graph_fail(m->g, "expected images whose channels divide into %d groups", a->groups);
	return false;
}

/* Time, if there is any, comes first; H and W are alike. */
static void window(struct kc_conv_attr *attr, const struct kc_conv_args *a, int nd)
{
	*attr = (struct kc_conv_attr){.nd = nd, .groups = a->groups};
	for (int j = 0; j < nd; j++) {
		bool time = nd == 3 && j == 0;

		attr->stride[j] = time ? 1 : a->stride;
		attr->pad[j] = time ? a->pad_time : a->pad;
		attr->dilation[j] = time ? 1 : a->dilation;
	}
}

static void conv_weight(struct kc_param *like, const struct kc_tensor *x,
			const struct kc_conv_args *a)
{
	int64_t in = x->type.dim[1] / a->groups;

	like->type = x->type.ndim == 5 ? KC_TYPE(KC_REAL, a->out, in, a->k_time, a->k, a->k)
				       : KC_TYPE(KC_REAL, a->out, in, a->k, a->k);
	like->fan = kc_numel(&like->type) / a->out;
}

static struct kc_conv_args with_defaults(const struct kc_conv_args *given, int k, int stride)
{
	struct kc_conv_args a = *given;

	a.k = a.k ? a.k : k;
	a.stride = a.stride ? a.stride : stride;
	a.dilation = a.dilation ? a.dilation : 1;
	a.groups = a.groups ? a.groups : 1;
	a.k_time = a.k_time ? a.k_time : 1;
	return a;
}

struct kc_tensor *kc_conv_args(struct kc_model *m, const char *name, struct kc_tensor *x,
			       const struct kc_conv_args *given)
{
	struct kc_conv_args a = with_defaults(given, 3, 1);
	struct kc_conv_attr attr;
	struct kc_param like = {.kind = KC_PARAM_CONV};

	a.pad = a.pad == KC_NO_PAD ? 0 : a.pad ? a.pad : a.dilation * (a.k - 1) / 2;
	KC_SCOPE(m->g, name) {
		if (!check(m, x, &a, true))
			continue;
		window(&attr, &a, x->type.ndim - 2);
		conv_weight(&like, x, &a);
		x = kc_conv_op(m->g, x, weight(m, &a, &like, 0), bias(m, &a, like.fan), &attr);
		x = kc_activate(m->g, x, a.act, a.slope);
	}
	return x;
}

struct kc_tensor *kc_deconv_args(struct kc_model *m, const char *name, struct kc_tensor *x,
				 const struct kc_conv_args *given)
{
	struct kc_conv_args a = with_defaults(given, 4, 2);
	int64_t more[2] = {a.output_padding, a.output_padding};
	struct kc_conv_attr attr;
	struct kc_param like = {.kind = KC_PARAM_DECONV, .stride = a.stride};

	a.pad = a.pad == KC_NO_PAD ? 0 : a.pad ? a.pad : 1;
	window(&attr, &a, 2);
	KC_SCOPE(m->g, name) {
		if (!check(m, x, &a, false))
			continue;
		like.type = KC_TYPE(KC_REAL, x->type.dim[1], a.out / a.groups, a.k, a.k);
		like.fan = like.type.dim[0] / a.groups * a.k * a.k / (a.stride * a.stride);
		like.fan = KC_MAX(like.fan, 1);
		x = kc_deconv_op(m->g, x, weight(m, &a, &like, 1), bias(m, &a, like.fan),
				 &attr, more);
		x = kc_activate(m->g, x, a.act, a.slope);
	}
	return x;
}
