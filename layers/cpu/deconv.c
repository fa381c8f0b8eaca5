/*
 * Transposed convolution with a 4x4 window, stride 2 and pad 1, as a 2x2 convolution to four
 * times the channels, one for each phase of the result, and a move of the phases to their
 * places.  Exact, and several times faster than the library's own.
 *
 * Along one axis, with y read at t - 1, t, t + 1:
 *	x[2t]     = w[3] y[t - 1] + w[1] y[t]
 *	x[2t + 1] = w[2] y[t]     + w[0] y[t + 1]
 * so phase a of place t is the 2-tap convolution that starts at t - 1 + a.
 */
#include "layers/cpu/dnnl.h"
#include "layers/cpu/pack.h"
#include "layers/cpu/rows.h"

#include <stdlib.h>

struct deconv {
	struct kc_dnn *dnn;
	int threads;
	size_t wide, bias;              /* bytes of the convolution's result and of its bias */
};

static void release(void *prepared)
{
	struct deconv *d = prepared;

	if (d)
		kc_dnn_close(d->dnn);
	free(d);
}

static bool fits(const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;
	const struct kc_type *y = &info->in[0].type, *x = &info->out[0].type;

	if (a->nd != 2 || a->groups != 1 || !kc_is_dense(&info->in[0], KC_CLAST) ||
	    !kc_is_dense(&info->out[0], KC_CLAST) || !kc_cpu_is_float(&info->in[0]) ||
	    !kc_cpu_is_float(&info->in[1]) || info->out[0].type.dtype != y->dtype)
		return false;
	if (info->n_in > 2 && (info->in[2].type.dtype != KC_F32 ||
			       !kc_is_dense(&info->in[2], KC_PLAIN)))
		return false;
	for (int i = 0; i < 2; i++)
		if (a->stride[i] != 2 || a->pad[i] != 1 || a->dilation[i] != 1 ||
		    info->in[1].type.dim[2 + i] != 4 || x->dim[2 + i] != 2 * y->dim[2 + i])
			return false;
	return true;
}

static void image(struct kc_dnn_mem *m, const struct kc_type *t)
{
	m->dtype = t->dtype;
	m->ndim = t->ndim;
	memcpy(m->dim, t->dim, (size_t)t->ndim * sizeof *m->dim);
	kc_strides(t, KC_CLAST, m->stride);
}

static struct kc_type wide_type(const struct kc_type *y, const struct kc_type *x)
{
	return KC_TYPE(x->dtype, y->dim[0], 4 * x->dim[1], y->dim[2] + 1, y->dim[3] + 1);
}

static struct kc_dnn_spec specification(const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;
	const struct kc_type *y = &info->in[0].type, *x = &info->out[0].type;
	struct kc_type wide = wide_type(y, x);
	struct kc_dnn_spec s = {
		.kind = KC_DNN_CONV, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1},
		.weights = {.dtype = y->dtype, .ndim = 4, .any = 1,
			    .dim = {wide.dim[1], y->dim[1], 2, 2}},
		.act = a->act, .slope = a->act == KC_LEAKY ? a->slope : 0};

	image(&s.src, y);
	image(&s.dst, &wide);
	if (info->n_in > 2)
		s.bias = (struct kc_dnn_mem){.dtype = KC_F32, .ndim = 1, .dim = {wide.dim[1]},
					     .stride = {1}};
	return s;
}

static int prepare(struct kc_step_info *info)
{
	struct kc_dnn_spec spec = specification(info);
	struct kc_type wide = wide_type(&info->in[0].type, &info->out[0].type);
	struct deconv *d = kc_calloc(1, sizeof *d);
	int rc;

	if (!d)
		return KC_ENOMEM;
	d->threads = info->device->threads;
	d->wide = kc_cpu_round((size_t)kc_numel(&wide) * kc_dtype_size((enum kc_dtype)wide.dtype));
	d->bias = kc_cpu_round((size_t)wide.dim[1] * sizeof(float));
	rc = kc_dnn_open(&d->dnn, &spec);
	if (rc == 0)
		rc = kc_cpu_pack_add(info, 1, &spec, d->dnn, 1, KC_TURN_PHASES);
	if (rc < 0) {
		release(d);
		return rc;
	}
	info->workspace = d->wide + d->bias + kc_dnn_scratch(d->dnn);
	info->prepared = d;
	return 0;
}

/* Row r of the result, counted over images: phases (r % 2, 0) and (r % 2, 1) in turn. */
static void gather_row(const struct kc_call *call, int64_t r)
{
	const int64_t *y = call->in[0].type.dim, *x = call->out[0].type.dim;
	size_t size = kc_dtype_size((enum kc_dtype)call->out[0].type.dtype);
	size_t run = (size_t)x[1] * size;
	int64_t n = r / x[2], i = r % x[2], a = i % 2;
	const char *wide = (const char *)call->workspace +
			   (size_t)((n * (y[2] + 1) + i / 2 + a) * (y[3] + 1)) * 4 * run;
	char *to = (char *)call->out[0].data + (size_t)(r * x[3]) * run;

	for (int64_t j = 0; j < x[3]; j++, to += run)
		memcpy(to, wide + (size_t)((j / 2 + j % 2) * 4 + 2 * a + j % 2) * run, run);
}

static int run(const struct kc_call *call)
{
	const struct deconv *d = call->prepared;
	const int64_t *x = call->out[0].type.dim;
	char *work = call->workspace;
	float *bias = (float *)(work + d->wide);

	for (int64_t c = 0; c < 4 * x[1] && call->n_in > 2; c++)
		bias[c] = ((const float *)call->in[2].data)[c % x[1]];
	KC_TRY(kc_dnn_run(d->dnn, call->in[0].data, call->in[1].data, bias, work,
			  work + d->wide + d->bias));
	#pragma omp parallel for num_threads(d->threads) schedule(static) \
		if (kc_cpu_is_big(&call->out[0]))
	for (int64_t r = 0; r < x[0] * x[2]; r++)
		gather_row(call, r);
	return 0;
}

static const struct kc_kernel deconv_row = {
	.op = &kc_op_conv_dgrad, .name = "dnnl 2x2 conv to phases", .fits = fits,
	.prepare = prepare, .run = run, .release = release};

const struct kc_kernel *const kc_cpu_deconv_rows[] = {&deconv_row, NULL};
