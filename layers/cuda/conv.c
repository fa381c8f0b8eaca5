/* Kernel rows of convolution and its two gradients by cuDNN. */
#include "layers/cuda/cuda.h"
#include "layers/cuda/cudnn_cache.h"
#include "layers/cuda/cudnn_conv.h"
#include "layers/cuda/finish.h"
#include "layers/cuda/libraries.h"

#include <stdio.h>
#include <stdlib.h>

struct conv {
	struct kc_cudnn_conv sig;
	struct kc_cudnn_choice choice;
	struct kc_cudnn_plan *plan;
	/* As the plan holds them, no data; pads of images are channels where the library sees them
	 * as such. */
	struct kc_buf factor[2], result;
	struct kc_type made_type;       /* of what the library writes */
	bool ends;                      /* a bias or an activation stands behind it */
	size_t copy[2], made, zeros;    /* places in the workspace, behind that of the plan */
	size_t workspace;
};

static size_t round_up(size_t bytes)
{
	return (bytes + 255) / 256 * 256;
}

/* x, w, [bias] -> y; also gy, w, [bias] -> gx, and x, gy -> gw.  Any order of elements. */
static bool fits(const struct kc_step_info *info)
{
	int in = info->in[0].type.dtype, out = info->out[0].type.dtype;

	if (!kc_cuda_is_float(&info->in[0]) ||
	    !kc_cuda_is_float(&info->in[1]) || (out != KC_F32 && out != in))
		return false;
	if (info->op == &kc_op_conv_wgrad)
		return info->in[1].type.dtype == in;
	return info->n_in < 3 ||
	       (info->in[2].type.dtype == KC_F32 && kc_is_dense(&info->in[2], KC_PLAIN));
}

/* ---- what one run does ---- */

static bool is_wide(const struct conv *c)
{
	return c->choice.form == KC_FORM_WIDE;
}

/* Weights are packed, and widened with that, by the plan. */
static bool is_copied(const struct conv *c, int i)
{
	return (i == 0 || c->sig.pass == KC_CUDNN_WGRAD) &&
	       (is_wide(c) || !kc_is_dense(&c->factor[i], KC_CLAST));
}

/* The library writes channels-last, KC_FORM_LOW in bf16, and all the channels it was told of. */
static bool is_remade(const struct conv *c)
{
	return c->choice.form == KC_FORM_LOW || !kc_is_dense(&c->result, KC_CLAST) ||
	       !kc_same_dims(&c->result.type, &c->made_type);
}

static bool needs_zeros(const struct conv *c)
{
	return c->sig.pass == KC_CUDNN_WGRAD && c->choice.form == KC_FORM_INNER;
}

/* With two spatial dimensions where there is one: the first of size 1. */
static struct kc_buf image(const struct kc_buf *b)
{
	struct kc_buf y = *b;

	if (b->type.ndim != 3)
		return y;
	y.type.ndim = 4;
	y.type.dim[3] = b->type.dim[2];
	y.stride[3] = b->stride[2];
	y.type.dim[2] = y.stride[2] = 1;
	return y;
}

static struct kc_buf channels_last(const struct kc_type *dims, int64_t dtype, void *data)
{
	struct kc_type t = *dims;

	t.dtype = (int32_t)dtype;
	return kc_buf_of(data, &t, KC_CLAST);
}

/* Room for that many float32. */
static size_t take(struct conv *c, const struct kc_type *t)
{
	size_t place = c->workspace;

	c->workspace += round_up((size_t)kc_numel(t) * sizeof(float));
	return place;
}

static void lay_out(struct conv *c)
{
	c->workspace = round_up(kc_cudnn_plan_workspace(c->plan));
	for (int i = 0; i < 2; i++)
		if (is_copied(c, i))
			c->copy[i] = take(c, &c->factor[i].type);
	if (is_remade(c))
		c->made = take(c, &c->made_type);
	if (needs_zeros(c))
		c->zeros = take(c, &c->made_type);
}

static int finish(const struct conv *c, const struct kc_call *call, void *y)
{
	const struct kc_conv_attr *a = call->attr;
	const struct kc_type *t = &c->made_type;
	const struct kc_cu_ending e = {
		.y = y, .bias = call->n_in > 2 ? call->in[2].data : NULL, .dtype = t->dtype,
		.channels = call->out[0].type.dim[1], .pitch = t->dim[1],
		.pixels = kc_numel(t) / t->dim[1], .act = a->act, .slope = (float)a->slope};

	return kc_cuda_launched(kc_cu_finish(&e, kc_cuda_stream(call)), "bias and activation");
}

/* A factor channels-last, and as float32 where the form wants it. */
static int copy_factor(const struct conv *c, const struct kc_call *call, int i, void **data)
{
	struct kc_buf to = channels_last(&c->factor[i].type, is_wide(c) ? KC_F32 : c->sig.in,
					 (char *)call->workspace + c->copy[i]), from = c->factor[i];

	*data = to.data;
	from.data = call->in[i].data;
	return kc_cuda_copy(call, &to, &from);
}

static int clear(const struct conv *c, const struct kc_call *call, void **data)
{
	size_t bytes = (size_t)kc_numel(&c->made_type) * sizeof(float);

	*data = (char *)call->workspace + c->zeros;
	return kc_cuda_check(cudaMemsetAsync(*data, 0, bytes, kc_cuda_stream(call)), "zeros");
}

/* What the library made, but for what it made of pads, to its place. */
static int give(const struct kc_call *call, const struct kc_buf *made)
{
	struct kc_buf real = image(&call->out[0]), from = *made, to;

	for (int i = 0; i < 2; i++)
		from.type.dim[i] = real.type.dim[i];
	to = kc_with_pads(&real);
	return kc_cuda_copy(call, &to, &from);
}

static int run(const struct kc_call *call)
{
	const struct conv *c = call->prepared;
	bool fused = c->choice.form == KC_FORM_FUSED;
	int64_t type = c->choice.form == KC_FORM_LOW ? KC_BF16 : c->result.type.dtype;
	struct kc_buf made = channels_last(&c->made_type, type, call->out[0].data);
	void *data[5];
	int n = 0;

	for (int i = 0; i < 2; i++) {
		data[n++] = call->in[i].data;
		if (is_copied(c, i))
			KC_TRY(copy_factor(c, call, i, &data[i]));
	}
	if (fused && c->sig.bias)
		data[n++] = call->in[2].data;
	if (needs_zeros(c))
		KC_TRY(clear(c, call, &data[n++]));
	if (is_remade(c))
		made.data = (char *)call->workspace + c->made;
	data[n++] = made.data;
	KC_TRY(kc_cudnn_plan_run(c->plan, data, call->workspace));
	if (!fused && c->ends)
		KC_TRY(finish(c, call, made.data));
	return is_remade(c) ? give(call, &made) : 0;
}

/* ---- timing ---- */

enum { TIMED = 5 };

/* An image as the library is told of it. */
static struct kc_buf told(const struct conv *c, const struct kc_buf *b)
{
	struct kc_buf y = image(b);

	return c->sig.groups == 1 ? kc_with_pads(&y) : y;
}

static void look(struct conv *c, const struct kc_step_info *info)
{
	bool weights = c->sig.pass == KC_CUDNN_WGRAD;

	c->factor[0] = told(c, &info->in[0]);
	c->factor[1] = weights ? told(c, &info->in[1]) : image(&info->in[1]);
	c->result = weights ? image(&info->out[0]) : told(c, &info->out[0]);
	c->made_type = c->result.type;
	if (weights)
		c->made_type.dim[0] = c->sig.w[0];
	c->made_type.dim[1] = weights ? c->sig.w[1]
			      : c->sig.pass == KC_CUDNN_FPROP ? c->sig.y[1] : c->sig.x[1];
	c->ends = !weights && (info->n_in > 2 ||
			       ((const struct kc_conv_attr *)info->attr)->act != KC_ACT_NONE);
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The median of some runs behind one that warms up; of one where it is not the fastest anyway. */
static int measure(const struct kc_call *call, cudaEvent_t begin, cudaEvent_t end, double *seconds)
{
	cudaStream_t stream = kc_cuda_stream(call);
	float ms[TIMED];
	int n = TIMED;

	KC_TRY(run(call));
	for (int i = 0; i < n; i++) {
		KC_TRY(kc_cuda_check(cudaEventRecord(begin, stream), "timing"));
		KC_TRY(run(call));
		KC_TRY(kc_cuda_check(cudaEventRecord(end, stream), "timing"));
		KC_TRY(kc_cuda_check(cudaEventSynchronize(end), "timing"));
		KC_TRY(kc_cuda_check(cudaEventElapsedTime(&ms[i], begin, end), "timing"));
		if (*seconds > 0 && ms[0] * 1e-3 > 1.5 * *seconds)
			n = 1;
	}
	qsort(ms, (size_t)n, sizeof *ms, compare);
	*seconds = ms[n / 2] * 1e-3;
	return 0;
}

static int try_run(const struct kc_call *call)
{
	KC_TRY(run(call));
	return kc_cuda_check(cudaStreamSynchronize(kc_cuda_stream(call)), "trial");
}

static int with_events(const struct kc_call *call, double *seconds)
{
	cudaEvent_t begin, end;
	int rc;

	KC_TRY(kc_cuda_check(cudaEventCreate(&begin), "timing"));
	rc = kc_cuda_check(cudaEventCreate(&end), "timing");
	if (!rc) {
		rc = measure(call, begin, end, seconds);
		cudaEventDestroy(end);
	}
	cudaEventDestroy(begin);
	return rc;
}

/* An input as the plan packs it: weights and bias have zeros for channels that are added. */
static struct kc_type packed_type(const struct conv *c, const struct kc_step_info *info, int input)
{
	struct kc_type t = image(&info->in[input]).type;

	if (input == 1 && c->sig.pass != KC_CUDNN_WGRAD)
		memcpy(t.dim, c->sig.w, 2 * sizeof t.dim[0]);
	else if (input == 2)
		t.dim[0] = c->made_type.dim[1];
	return t;
}

/* Where parts of one piece of memory begin, with what lies between their elements. */
static size_t part(size_t *bytes, const struct kc_buf *b)
{
	size_t at = *bytes;
	struct kc_type t = kc_with_pads(b).type;
	int64_t last = 0;

	for (int i = 0; i < t.ndim; i++)
		last += (t.dim[i] - 1) * b->stride[i];
	*bytes += round_up((size_t)KC_MAX(last + 1, kc_numel(&t)) * sizeof(float));
	return at;
}

/* On memory of its own, all zeros; own is the step. */
static int time_candidate(void *own, const struct kc_cudnn_conv *sig,
			  const struct kc_cudnn_choice *choice, struct kc_cudnn_plan *plan,
			  double *seconds)
{
	const struct kc_step_info *info = own;
	struct conv c = {.sig = *sig, .choice = *choice, .plan = plan};
	struct kc_buf in[3], out = info->out[0];
	struct kc_call call = {.attr = info->attr, .in = in, .out = &out, .n_in = info->n_in,
			       .n_out = 1, .prepared = &c, .device = info->device};
	size_t at[4], bytes;
	char *memory;
	int rc;

	look(&c, info);
	lay_out(&c);
	bytes = c.workspace;
	for (int i = 0; i < info->n_in; i++) {
		struct kc_buf packed = image(&info->in[i]);

		in[i] = info->in[i];
		packed.type = packed_type(&c, info, i);
		at[i] = part(&bytes, &packed);
	}
	at[3] = part(&bytes, &out);
	KC_TRY(kc_device_alloc(info->device, bytes, &call.workspace));
	memory = call.workspace;
	for (int i = 0; i < info->n_in; i++)
		in[i].data = memory + at[i];
	out.data = memory + at[3];
	rc = kc_cuda_check(cudaMemsetAsync(memory, 0, bytes, kc_cuda_stream(&call)), "timing");
	if (!rc)
		rc = seconds ? with_events(&call, seconds) : try_run(&call);
	kc_device_free(info->device, memory);
	return rc;
}

/* ---- packing ---- */

struct packer {
	struct kc_device *device;
	struct kc_type type;            /* of the packed form: zeros for pads of images */
};

static void pack_release(struct kc_pack *pack)
{
	free(pack->own);
	pack->own = NULL;
}

static int pack_run(const struct kc_pack *pack, const struct kc_buf *src, void *dst)
{
	const struct packer *p = pack->own;
	struct kc_buf to = kc_buf_of(dst, &p->type, KC_CLAST), from = image(src);

	return kc_cuda_copy(&(struct kc_call){.device = p->device}, &to, &from);
}

static int add_pack(struct kc_step_info *info, const struct conv *c, int input, int64_t dtype)
{
	struct kc_pack *pack = &info->pack[info->n_pack];
	struct packer *p = kc_calloc(1, sizeof *p);
	struct kc_type t = packed_type(c, info, input);

	if (!p)
		return KC_ENOMEM;
	t.dtype = (int32_t)dtype;
	*p = (struct packer){info->device, t};
	memset(pack, 0, sizeof *pack);
	pack->input = input;
	pack->bytes = (size_t)kc_numel(&t) * kc_dtype_size((enum kc_dtype)dtype);
	snprintf(pack->key, sizeof pack->key, "channels last %s %lld %lld",
		 kc_dtype_name((enum kc_dtype)dtype), (long long)t.dim[0], (long long)t.dim[1]);
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
	KC_TRY(add_pack(info, c, 1, form == KC_FORM_WIDE ? KC_F32 : c->sig.in));
	return form == KC_FORM_FUSED && c->sig.bias && c->sig.in != KC_F32 ?
	       add_pack(info, c, 2, c->sig.in) : 0;
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

static int prepare(struct kc_step_info *info)
{
	struct kc_cuda *cuda = kc_cuda_of(info->device);
	/* What is the fastest differs from time to time, and with it the bits. */
	bool timed = cuda->autotune && !info->deterministic;
	const struct kc_cudnn_timer timer = {.time = time_candidate, .own = info,
					     .budget = timed ? &cuda->budget : NULL};
	struct conv *c = kc_calloc(1, sizeof *c);
	int rc;

	if (!c)
		return KC_ENOMEM;
	kc_cudnn_conv_of(&c->sig, info, cuda->tf32);
	look(c, info);
	rc = kc_cuda_use_cudnn(cuda);
	if (!rc)
		rc = kc_cudnn_conv_choose(cuda->cudnn, &c->sig,
					  timed ? cuda->timed : cuda->guessed,
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

/* Pads would move channels from group to group. */
static int64_t pitch(const void *attr)
{
	return ((const struct kc_conv_attr *)attr)->groups == 1 ? KC_CUDNN_CHANNELS : 0;
}

#define ROW(op_, name_)                                                        \
	const struct kc_kernel kc_cuda_##op_ = {                               \
		.op = &kc_op_##op_, .name = name_, .fits = fits,               \
		.prepare = prepare, .run = run, .release = release,            \
		.pads = KC_PADS_READ | KC_PADS_WRITE, .pitch = pitch}
ROW(conv, "cudnn conv");
ROW(conv_dgrad, "cudnn data gradient");
ROW(conv_wgrad, "cudnn weight gradient");
