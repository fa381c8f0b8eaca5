/* Softmax and argmax along one axis. */
#include "layers/cuda/cuda.h"
#include "layers/cuda/reduce.h"
#include "layers/shape.h"

static struct kc_cu_lines lines_of(const struct kc_call *call, int64_t axis)
{
	struct kc_buf x = call->in[0], y = call->out[0];
	struct kc_cu_lines l = {.n = x.type.dim[axis], .x_step = x.stride[axis],
				.y_step = y.stride[axis]};
	struct kc_view v[2];

	x.type.dim[axis] = y.type.dim[axis] = 1;
	l.lines = kc_numel(&x.type);
	v[0] = kc_view_of(&x);
	v[1] = kc_view_of(&y);
	kc_view_join(v, 2);
	l.x = v[0];
	l.y = v[1];
	return l;
}

static int run_softmax_of(const struct kc_call *call, int logs)
{
	struct kc_cu_lines l = lines_of(call, ((const struct kc_axis_attr *)call->attr)->axis);

	if (!l.lines || !l.n)
		return 0;
	return kc_cuda_launched(kc_cu_softmax(&l, logs, kc_cuda_stream(call)), "softmax");
}

static int run_softmax(const struct kc_call *call)
{
	return run_softmax_of(call, 0);
}

static int run_log_softmax(const struct kc_call *call)
{
	return run_softmax_of(call, 1);
}

static int run_argmax(const struct kc_call *call)
{
	struct kc_cu_lines l = lines_of(call, ((const struct kc_index_attr *)call->attr)->axis);

	if (!l.lines || !l.n)
		return 0;
	return kc_cuda_launched(kc_cu_argmax(&l, kc_cuda_stream(call)), "argmax");
}

static bool fits(const struct kc_step_info *info)
{
	return kc_cuda_is_float(&info->out[0]) || info->out[0].type.dtype == KC_I32;
}

const struct kc_kernel kc_cuda_softmax = {
	.op = &kc_op_softmax, .name = "lines", .fits = fits, .run = run_softmax,
	.pads = KC_PADS_READ};
const struct kc_kernel kc_cuda_log_softmax = {
	.op = &kc_op_log_softmax, .name = "lines", .fits = fits, .run = run_log_softmax,
	.pads = KC_PADS_READ};
const struct kc_kernel kc_cuda_argmax = {
	.op = &kc_op_argmax, .name = "lines", .fits = fits, .run = run_argmax,
	.pads = KC_PADS_READ};
