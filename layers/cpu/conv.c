/* Kernel rows of convolution and its two gradients by oneDNN. */
#include "layers/cpu/dnnl.h"
#include "layers/cpu/pack.h"
#include "layers/cpu/rows.h"

#include <stdlib.h>

struct conv {
	struct kc_dnn *dnn;
	struct kc_dnn *unpack;          /* weight gradients: to row-major order */
	size_t packed;                  /* bytes of the workspace before the scratch */
};

static bool is_dense(const struct kc_buf *b)
{
	return kc_is_dense(b, KC_CLAST) || kc_is_dense(b, KC_PLAIN);
}

/* Strides of dimensions of size 1 are made those of the layout: signatures are compared. */
static void data_mem(struct kc_dnn_mem *m, const struct kc_buf *b)
{
	memset(m, 0, sizeof *m);
	m->dtype = b->type.dtype;
	m->ndim = b->type.ndim;
	memcpy(m->dim, b->type.dim, (size_t)m->ndim * sizeof *m->dim);
	kc_strides(&b->type, kc_is_dense(b, KC_CLAST) ? KC_CLAST : KC_PLAIN, m->stride);
}

static void window(struct kc_dnn_spec *spec, const struct kc_conv_attr *a)
{
	for (int i = 0; i < a->nd; i++) {
		spec->stride[i] = a->stride[i];
		spec->pad[i] = a->pad[i];
		spec->dilation[i] = a->dilation[i];
	}
}

static void bias_and_activation(struct kc_dnn_spec *spec, const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;

	if (info->n_in > 2) {
		spec->bias.dtype = KC_F32;
		spec->bias.ndim = 1;
		spec->bias.dim[0] = kc_numel(&info->in[2].type);
		spec->bias.stride[0] = 1;
	}
	spec->act = a->act;
	spec->slope = a->act == KC_LEAKY ? a->slope : 0;
}

static void conv_release(void *prepared)
{
	struct conv *c = prepared;

	if (!c)
		return;
	kc_dnn_close(c->unpack);
	kc_dnn_close(c->dnn);
	free(c);
}

/* x, w, [bias] -> y; also gy, w, [bias] -> gx. */
static bool fits_data(const struct kc_step_info *info)
{
	return kc_cpu_is_float(&info->in[0]) && kc_cpu_is_float(&info->in[1]) &&
	       kc_cpu_is_float(&info->out[0]) && is_dense(&info->in[0]) &&
	       is_dense(&info->out[0]) &&
	       (info->n_in < 3 ||
		(info->in[2].type.dtype == KC_F32 && kc_is_dense(&info->in[2], KC_PLAIN)));
}

static int prepare_packed(struct kc_step_info *info, const struct kc_dnn_spec *spec,
			  enum kc_cpu_turn turn)
{
	const struct kc_conv_attr *a = info->attr;
	struct conv *c = kc_calloc(1, sizeof *c);
	int rc;

	if (!c)
		return KC_ENOMEM;
	rc = kc_dnn_open(&c->dnn, spec);
	if (rc == 0)
		rc = kc_cpu_pack_add(info, 1, spec, c->dnn, a->groups, turn);
	if (rc < 0) {
		conv_release(c);
		return rc;
	}
	info->workspace = kc_dnn_scratch(c->dnn);
	info->prepared = c;
	return 0;
}

static void data_spec(struct kc_dnn_spec *spec, const struct kc_step_info *info,
		      enum kc_dnn_kind kind, enum kc_cpu_turn turn)
{
	const struct kc_conv_attr *a = info->attr;

	memset(spec, 0, sizeof *spec);
	spec->kind = kind;
	data_mem(kind == KC_DNN_DGRAD ? &spec->dst : &spec->src, &info->in[0]);
	data_mem(kind == KC_DNN_DGRAD ? &spec->src : &spec->dst, &info->out[0]);
	kc_cpu_weights_mem(&spec->weights, &info->in[1], a->groups, turn, info->in[0].type.dtype);
	memset(spec->weights.stride, 0, sizeof spec->weights.stride);
	spec->weights.any = 1;
	window(spec, a);
	if (kind != KC_DNN_DGRAD)
		bias_and_activation(spec, info);
}

static int prepare_conv(struct kc_step_info *info)
{
	struct kc_dnn_spec spec;

	data_spec(&spec, info, KC_DNN_CONV, KC_TURN_NONE);
	return prepare_packed(info, &spec, KC_TURN_NONE);
}

/* src, weights, [bias] -> dst */
static int run_forward(const struct kc_call *call)
{
	struct conv *c = call->prepared;

	return kc_dnn_run(c->dnn, call->in[0].data, call->in[1].data,
			  call->n_in > 2 ? call->in[2].data : NULL, call->out[0].data,
			  call->workspace);
}

static int run_dgrad(const struct kc_call *call)
{
	struct conv *c = call->prepared;

	return kc_dnn_run(c->dnn, call->out[0].data, call->in[1].data, NULL, call->in[0].data,
			  call->workspace);
}

static int prepare_dgrad(struct kc_step_info *info)
{
	struct kc_dnn_spec spec;

	data_spec(&spec, info, KC_DNN_DGRAD, KC_TURN_NONE);
	return prepare_packed(info, &spec, KC_TURN_NONE);
}

static bool fits_dgrad(const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;

	return fits_data(info) && info->n_in == 2 && a->act == KC_ACT_NONE;
}

static int prepare_deconv(struct kc_step_info *info)
{
	struct kc_dnn_spec spec;

	data_spec(&spec, info, KC_DNN_DECONV, KC_TURN_SWAP);
	return prepare_packed(info, &spec, KC_TURN_SWAP);
}

/*
 * With stride 1 the data gradient is a convolution with the window reversed and channels
 * swapped, which can have a bias and an activation besides.
 */
static bool fits_flipped(const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;

	if (!fits_data(info))
		return false;
	for (int i = 0; i < a->nd; i++) {
		int64_t reach = a->dilation[i] * (info->in[1].type.dim[2 + i] - 1);

		if (a->stride[i] != 1 || a->pad[i] > reach)
			return false;
	}
	return true;
}

static int prepare_flipped(struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;
	struct kc_dnn_spec spec;

	data_spec(&spec, info, KC_DNN_CONV, KC_TURN_FLIP);
	for (int i = 0; i < a->nd; i++)
		spec.pad[i] = a->dilation[i] * (info->in[1].type.dim[2 + i] - 1) - a->pad[i];
	return prepare_packed(info, &spec, KC_TURN_FLIP);
}

/* x, gy -> gw */
static bool fits_wgrad(const struct kc_step_info *info)
{
	return kc_cpu_is_float(&info->in[0]) && info->in[1].type.dtype == info->in[0].type.dtype &&
	       is_dense(&info->in[0]) && is_dense(&info->in[1]) &&
	       info->out[0].type.dtype == KC_F32;
}

static int wgrad_open(struct conv *c, struct kc_step_info *info, const struct kc_dnn_spec *spec)
{
	const struct kc_conv_attr *a = info->attr;
	struct kc_dnn_mem plain;

	KC_TRY(kc_dnn_open(&c->dnn, spec));
	kc_cpu_weights_mem(&plain, &info->out[0], a->groups, KC_TURN_NONE, KC_F32);
	if (!kc_dnn_weights_are(c->dnn, &plain)) {
		KC_TRY(kc_dnn_reorder_open(&c->unpack, c->dnn, &plain, true));
		c->packed = kc_cpu_round(kc_dnn_weights_bytes(c->dnn));
	}
	info->workspace = c->packed + kc_dnn_scratch(c->dnn);
	return 0;
}

static int prepare_wgrad(struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;
	struct kc_dnn_spec spec = {.kind = KC_DNN_WGRAD};
	struct conv *c = kc_calloc(1, sizeof *c);
	int rc;

	if (!c)
		return KC_ENOMEM;
	data_mem(&spec.src, &info->in[0]);
	data_mem(&spec.dst, &info->in[1]);
	kc_cpu_weights_mem(&spec.weights, &info->out[0], a->groups, KC_TURN_NONE, KC_F32);
	memset(spec.weights.stride, 0, sizeof spec.weights.stride);
	spec.weights.any = 1;
	window(&spec, a);
	rc = wgrad_open(c, info, &spec);
	if (rc < 0) {
		conv_release(c);
		return rc;
	}
	info->prepared = c;
	return 0;
}

static int run_wgrad(const struct kc_call *call)
{
	struct conv *c = call->prepared;
	char *work = call->workspace;
	void *gw = c->unpack ? work : call->out[0].data;

	KC_TRY(kc_dnn_run(c->dnn, call->in[0].data, gw, NULL, call->in[1].data, work + c->packed));
	return c->unpack ? kc_dnn_run_reorder(c->unpack, gw, call->out[0].data) : 0;
}

static const struct kc_kernel conv_row = {
	.op = &kc_op_conv, .name = "dnnl conv", .fits = fits_data, .prepare = prepare_conv,
	.run = run_forward, .release = conv_release};
static const struct kc_kernel flipped_row = {
	.op = &kc_op_conv_dgrad, .name = "dnnl conv, flipped weights", .fits = fits_flipped,
	.prepare = prepare_flipped, .run = run_forward, .release = conv_release};
static const struct kc_kernel dgrad_row = {
	.op = &kc_op_conv_dgrad, .name = "dnnl data gradient", .fits = fits_dgrad,
	.prepare = prepare_dgrad, .run = run_dgrad, .release = conv_release};
static const struct kc_kernel deconv_row = {
	.op = &kc_op_conv_dgrad, .name = "dnnl deconv", .fits = fits_data,
	.prepare = prepare_deconv, .run = run_forward, .release = conv_release};
static const struct kc_kernel wgrad_row = {
	.op = &kc_op_conv_wgrad, .name = "dnnl weight gradient", .fits = fits_wgrad,
	.prepare = prepare_wgrad, .run = run_wgrad, .release = conv_release};

const struct kc_kernel *const kc_cpu_conv_rows[] = {
	&conv_row, &flipped_row, &dgrad_row, &deconv_row, &wgrad_row, NULL};
