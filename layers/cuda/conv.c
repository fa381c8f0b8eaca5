/* Kernel rows of convolution and its two gradients by cuDNN. */
#include "layers/cuda/cuda.h"
#include "layers/cuda/cudnn_cache.h"
#include "layers/cuda/cudnn_conv.h"
#include "layers/cuda/libraries.h"
#include "layers/cuda/weights.h"

#include <stdio.h>
#include <stdlib.h>

struct conv {
	struct kc_cudnn_conv sig;
	struct kc_cudnn_choice choice;
	struct kc_cudnn_plan *plan;
	/* How activations lie that are not channels-last; not `copied` where they are. */
	struct { bool copied; int64_t sample, channel, place; } lies[2];
	size_t copy[2], packed, zeros;  /* places in the workspace, behind that of the plan */
	size_t workspace;
};

/* What one run works on. */
struct places {
	void *factor[2];
	void *bias;             /* float32; in the factors' dtype for KC_FORM_FUSED */
	void *result;
	char *work;
};

static size_t round_up(size_t bytes)
{
	return (bytes + 255) / 256 * 256;
}

/* ---- signatures ---- */

/* Channels-last, or all places of a channel in one row. */
static bool is_image(const struct kc_buf *b)
{
	for (int i = 2; i < b->type.ndim - 1; i++)
		if (b->type.dim[i] > 1 && b->stride[i] != b->stride[i + 1] * b->type.dim[i + 1])
			return kc_is_dense(b, KC_CLAST);
	return true;
}

static bool is_weights(const struct kc_buf *b)
{
	return kc_cuda_is_float(b) && (kc_is_dense(b, KC_PLAIN) || kc_is_dense(b, KC_CLAST));
}

static bool is_common(const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;

	return kc_cuda_is_float(&info->in[0]) && kc_cuda_is_float(&info->out[0]) &&
	       a->nd >= 2 && a->nd <= 3 &&
	       (info->out[0].type.dtype == KC_F32 || info->in[0].type.dtype == KC_BF16);
}

/* x, w, [bias] -> y; also gy, w, [bias] -> gx. */
static bool fits_data(const struct kc_step_info *info)
{
	return is_common(info) && is_image(&info->in[0]) && is_weights(&info->in[1]) &&
	       kc_is_dense(&info->out[0], KC_CLAST) &&
	       (info->n_in < 3 ||
		(info->in[2].type.dtype == KC_F32 && kc_is_dense(&info->in[2], KC_PLAIN)));
}

/* x, gy -> gw */
static bool fits_wgrad(const struct kc_step_info *info)
{
	return is_common(info) && is_image(&info->in[0]) && is_image(&info->in[1]) &&
	       info->in[1].type.dtype == info->in[0].type.dtype &&
	       info->out[0].type.dtype == KC_F32 && kc_is_dense(&info->out[0], KC_PLAIN);
}

/* ---- sizes ---- */

static int64_t product(const int64_t *dim, int64_t n)
{
	int64_t p = 1;

	for (int64_t i = 0; i < n; i++)
		p *= dim[i];
	return p;
}

static const int64_t *factor_dims(const struct kc_cudnn_conv *c, int i)
{
	if (c->pass == KC_CUDNN_WGRAD)
		return i ? c->y : c->x;
	return i ? c->w : c->pass == KC_CUDNN_FPROP ? c->x : c->y;
}

static const int64_t *result_dims(const struct kc_cudnn_conv *c)
{
	return c->pass == KC_CUDNN_FPROP ? c->y : c->pass == KC_CUDNN_DGRAD ? c->x : c->w;
}

static int64_t count(const struct kc_cudnn_conv *c, const int64_t *dim)
{
	return product(dim, c->nd + 2);
}

static size_t size_of(int64_t dtype)
{
	return kc_dtype_size((enum kc_dtype)dtype);
}

/* Weights are widened while they are packed. */
static bool is_widened(const struct conv *c)
{
	return c->choice.form == KC_FORM_WIDE;
}

static bool is_copied(const struct conv *c, int i)
{
	return c->lies[i].copied || (is_widened(c) && !i);
}

/* The library writes weight gradients channels-last, and KC_FORM_LOW in bf16. */
static bool is_unpacked(const struct conv *c)
{
	const struct kc_cudnn_conv *s = &c->sig;

	return s->pass == KC_CUDNN_WGRAD &&
	       (c->choice.form == KC_FORM_LOW ||
		(s->w[1] > 1 && product(s->w + 2, s->nd) > 1));
}

static bool needs_zeros(const struct conv *c)
{
	return c->sig.pass == KC_CUDNN_WGRAD && c->choice.form == KC_FORM_INNER;
}

/* Room for so many float32. */
static size_t take(struct conv *c, int64_t elements)
{
	size_t place = c->workspace;

	c->workspace += round_up((size_t)elements * sizeof(float));
	return place;
}

static void lay_out(struct conv *c)
{
	const struct kc_cudnn_conv *s = &c->sig;

	c->workspace = round_up(kc_cudnn_plan_workspace(c->plan));
	for (int i = 0; i < 2; i++)
		if (is_copied(c, i))
			c->copy[i] = take(c, count(s, factor_dims(s, i)));
	if (is_unpacked(c))
		c->packed = take(c, count(s, s->w));
	if (needs_zeros(c))
		c->zeros = take(c, count(s, s->w));
}

/* ---- running ---- */

static int finish(const struct conv *c, const struct places *p, cudaStream_t stream)
{
	const struct kc_cudnn_conv *s = &c->sig;
	const int64_t *dim = result_dims(s);
	const struct kc_cu_ending f = {
		.y = p->result, .bias = p->bias, .dtype = s->out, .channels = dim[1],
		.pixels = count(s, dim) / dim[1], .pitch = dim[1], .act = s->act,
		.slope = (float)s->slope};

	return kc_cuda_launched(kc_cu_finish(&f, stream), "bias and activation");
}

/* Cout, window, Cin as cuDNN writes it; or Cout, Cin, window as parameters lie. */
static struct kc_cu_weights weights(void *data, int64_t dtype, int64_t in, int64_t taps, bool last)
{
	return (struct kc_cu_weights){.data = data, .dtype = dtype, .out = in * taps,
				      .in = last ? 1 : taps, .tap = last ? in : 1};
}

static int unpack(const struct conv *c, const struct places *p, cudaStream_t stream)
{
	const struct kc_cudnn_conv *s = &c->sig;
	int64_t taps = product(s->w + 2, s->nd);
	int64_t dtype = c->choice.form == KC_FORM_LOW ? KC_BF16 : KC_F32;
	struct kc_cu_weights to = weights(p->result, KC_F32, s->w[1], taps, false);
	struct kc_cu_weights from = weights(p->work + c->packed, dtype, s->w[1], taps, true);

	return kc_cuda_launched(kc_cu_repack(&to, &from, s->w[0], s->w[1], taps, stream),
				"unpacking of weight gradients");
}

/* A factor channels-last, and as float32 where the form wants it. */
static int copy_factor(const struct conv *c, const struct places *p, int i, cudaStream_t stream)
{
	const struct kc_cudnn_conv *s = &c->sig;
	const int64_t *dim = factor_dims(s, i);
	int64_t places = product(dim + 2, s->nd);
	struct kc_cu_weights from = {.data = p->factor[i], .dtype = s->in,
				     .out = c->lies[i].sample, .in = c->lies[i].channel,
				     .tap = c->lies[i].place};
	struct kc_cu_weights to = weights(p->work + c->copy[i], is_widened(c) ? KC_F32 : s->in,
					  dim[1], places, true);

	if (!c->lies[i].copied)
		return kc_cuda_launched(kc_cu_widen(to.data, from.data, count(s, dim), stream),
					"widening");
	return kc_cuda_launched(kc_cu_repack(&to, &from, dim[0], dim[1], places, stream),
				"another order of a factor");
}

static int clear(const struct conv *c, const struct places *p, cudaStream_t stream)
{
	size_t bytes = (size_t)count(&c->sig, c->sig.w) * sizeof(float);

	return kc_cuda_check(cudaMemsetAsync(p->work + c->zeros, 0, bytes, stream), "zeros");
}

static int launch(const struct conv *c, const struct places *p, cudaStream_t stream)
{
	const struct kc_cudnn_conv *s = &c->sig;
	bool fused = c->choice.form == KC_FORM_FUSED;
	void *data[5];
	int n = 0;

	for (int i = 0; i < 2; i++) {
		data[n++] = is_copied(c, i) ? p->work + c->copy[i] : p->factor[i];
		if (is_copied(c, i))
			KC_TRY(copy_factor(c, p, i, stream));
	}
	if (needs_zeros(c))
		KC_TRY(clear(c, p, stream));
	if (fused && s->bias)
		data[n++] = p->bias;
	if (needs_zeros(c))
		data[n++] = p->work + c->zeros;
	data[n++] = is_unpacked(c) ? p->work + c->packed : p->result;
	KC_TRY(kc_cudnn_plan_run(c->plan, data, p->work));
	if (is_unpacked(c))
		return unpack(c, p, stream);
	return !fused && (s->bias || s->act) ? finish(c, p, stream) : 0;
}

static int run(const struct kc_call *call)
{
	struct conv *c = call->prepared;
	const struct places p = {.factor = {call->in[0].data, call->in[1].data},
				 .bias = call->n_in > 2 ? call->in[2].data : NULL,
				 .result = call->out[0].data, .work = call->workspace};

	return launch(c, &p, kc_cuda_stream(call));
}

/* ---- timing ---- */

enum { TIMED = 5 };

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The median of some runs behind one that warms up. */
static int measure(const struct conv *c, const struct places *p, cudaStream_t stream,
		   cudaEvent_t begin, cudaEvent_t end, double *seconds)
{
	float ms[TIMED];

	KC_TRY(launch(c, p, stream));
	for (int i = 0; i < TIMED; i++) {
		KC_TRY(kc_cuda_check(cudaEventRecord(begin, stream), "timing"));
		KC_TRY(launch(c, p, stream));
		KC_TRY(kc_cuda_check(cudaEventRecord(end, stream), "timing"));
		KC_TRY(kc_cuda_check(cudaEventSynchronize(end), "timing"));
		KC_TRY(kc_cuda_check(cudaEventElapsedTime(&ms[i], begin, end), "timing"));
	}
	qsort(ms, TIMED, sizeof *ms, compare);
	*seconds = ms[TIMED / 2] * 1e-3;
	return 0;
}

static int with_events(const struct conv *c, const struct places *p, cudaStream_t stream,
		       double *seconds)
{
	cudaEvent_t begin, end;
	int rc;

	KC_TRY(kc_cuda_check(cudaEventCreate(&begin), "timing"));
	rc = kc_cuda_check(cudaEventCreate(&end), "timing");
	if (!rc) {
		rc = measure(c, p, stream, begin, end, seconds);
		cudaEventDestroy(end);
	}
	cudaEventDestroy(begin);
	return rc;
}

/* On memory of its own, all zeros. */
static int time_candidate(void *own, const struct kc_cudnn_conv *sig,
			  const struct kc_cudnn_choice *choice, struct kc_cudnn_plan *plan,
			  double *seconds)
{
	struct kc_device *d = own;
	struct conv c = {.sig = *sig, .choice = *choice, .plan = plan};
	size_t at[4], bytes;
	struct places p;
	void *memory;
	int rc;

	lay_out(&c);
	bytes = c.workspace;
	for (int i = 0; i < 3; i++) {
		const int64_t *dim = i < 2 ? factor_dims(sig, i) : result_dims(sig);

		at[i] = bytes;
		bytes += round_up((size_t)count(sig, dim) * sizeof(float));
	}
	at[3] = bytes;
	bytes += round_up((size_t)result_dims(sig)[1] * sizeof(float));
	KC_TRY(kc_device_alloc(d, bytes, &memory));
	p = (struct places){.factor = {(char *)memory + at[0], (char *)memory + at[1]},
			    .bias = sig->bias ? (char *)memory + at[3] : NULL,
			    .result = (char *)memory + at[2], .work = memory};
	rc = kc_cuda_check(cudaMemsetAsync(memory, 0, bytes, kc_cuda_of(d)->stream), "timing");
	if (!rc)
		rc = with_events(&c, &p, kc_cuda_of(d)->stream, seconds);
	kc_device_free(d, memory);
	return rc;
}

/* ---- packing ---- */

struct packer {
	struct kc_device *device;
	int64_t dtype;                  /* of the packed form */
};

static void pack_release(struct kc_pack *pack)
{
	free(pack->own);
	pack->own = NULL;
}

static int pack_run(const struct kc_pack *pack, const struct kc_buf *src, void *dst)
{
	const struct packer *p = pack->own;
	const struct kc_type *t = &src->type;
	bool bias = t->ndim == 1;
	int64_t out = bias ? 1 : t->dim[0], in = bias ? t->dim[0] : t->dim[1];
	int64_t taps = bias ? 1 : product(t->dim + 2, t->ndim - 2);
	bool last = !kc_is_dense(src, KC_PLAIN);
	struct kc_cu_weights to = weights(dst, p->dtype, in, taps, true);
	struct kc_cu_weights from = weights(src->data, t->dtype, in, taps, last);

	return kc_cuda_launched(kc_cu_repack(&to, &from, out, in, taps,
					     kc_cuda_of(p->device)->stream),
				"packing of weights");
}

static int add_pack(struct kc_step_info *info, int input, int64_t dtype)
{
	struct kc_pack *pack = &info->pack[info->n_pack];
	struct packer *p = kc_calloc(1, sizeof *p);

	if (!p)
		return KC_ENOMEM;
	*p = (struct packer){info->device, dtype};
	memset(pack, 0, sizeof *pack);
	pack->input = input;
	pack->bytes = (size_t)kc_numel(&info->in[input].type) * size_of(dtype);
	snprintf(pack->key, sizeof pack->key, "channels last %s",
		 kc_dtype_name((enum kc_dtype)dtype));
	pack->run = pack_run;
	pack->own = p;
	pack->release = pack_release;
	info->n_pack++;
	return 0;
}

static int add_packs(struct kc_step_info *info, const struct conv *c)
{
	int64_t form = c->choice.form;

	if (c->sig.pass == KC_CUDNN_WGRAD)
		return 0;
	KC_TRY(add_pack(info, 1, form == KC_FORM_WIDE ? KC_F32 : c->sig.in));
	return form == KC_FORM_FUSED && c->sig.bias && c->sig.in != KC_F32 ?
	       add_pack(info, 2, c->sig.in) : 0;
}

/* ---- preparing ---- */

static void release(void *prepared)
{
	struct conv *c = prepared;

	if (!c)
		return;
	kc_cudnn_plan_free(c->plan);
	free(c);
}

static void look(struct conv *c, int i, const struct kc_buf *b)
{
	c->lies[i].copied = !kc_is_dense(b, KC_CLAST);
	c->lies[i].sample = b->stride[0];
	c->lies[i].channel = b->stride[1];
	c->lies[i].place = b->stride[b->type.ndim - 1];
}

static int prepare(struct kc_step_info *info)
{
	struct kc_cuda *cuda = kc_cuda_of(info->device);
	const struct kc_cudnn_timer timer = {.time = time_candidate, .own = info->device};
	struct conv *c = kc_calloc(1, sizeof *c);
	int rc;

	if (!c)
		return KC_ENOMEM;
	kc_cudnn_conv_of(&c->sig, info, cuda->tf32);
	for (int i = 0; i < (c->sig.pass == KC_CUDNN_WGRAD ? 2 : 1); i++)
		look(c, i, &info->in[i]);
	rc = kc_cudnn_conv_choose(cuda->cudnn, &c->sig, cuda->cudnn_cache,
				  cuda->autotune ? &timer : NULL, &c->choice, &c->plan);
	if (!rc) {
		lay_out(c);
		rc = add_packs(info, c);
	}
	if (rc < 0) {
		while (info->n_pack)
			pack_release(&info->pack[--info->n_pack]);
		release(c);
		return rc;
	}
	info->workspace = c->workspace;
	info->prepared = c;
	return 0;
}

const struct kc_kernel kc_cuda_conv = {
	.op = &kc_op_conv, .name = "cudnn conv", .fits = fits_data, .prepare = prepare,
	.run = run, .release = release};
const struct kc_kernel kc_cuda_conv_dgrad = {
	.op = &kc_op_conv_dgrad, .name = "cudnn data gradient", .fits = fits_data,
	.prepare = prepare, .run = run, .release = release};
const struct kc_kernel kc_cuda_conv_wgrad = {
	.op = &kc_op_conv_wgrad, .name = "cudnn weight gradient", .fits = fits_wgrad,
	.prepare = prepare, .run = run, .release = release};
