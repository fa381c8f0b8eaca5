#include "layers/cuda/cut.h"

#include "layers/cuda/image.h"
#include "layers/cut.h"

_Static_assert((int)KC_CU_MIRROR_X == KC_CUT_MIRROR_X && (int)KC_CU_MIRROR_Y == KC_CUT_MIRROR_Y &&
		       (int)KC_CU_TRANSPOSE == KC_CUT_TRANSPOSE,
	       "kernels have the numbers of layers/cut.h");

static struct kc_cu_cut describe(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *table = &call->in[1], *y = &call->out[0];
	const struct kc_cut_attr *t = call->attr;
	size_t line = (size_t)(t->side * y->type.dim[1]) *
		      kc_dtype_size((enum kc_dtype)y->type.dtype);

	return (struct kc_cu_cut){
		.x = kc_cuda_image(x), .y = kc_cuda_image(y), .table = table->data,
		.per_row = table->stride[0], .per_column = table->stride[1],
		.samples = (int32_t)table->type.dim[0], .side = (int32_t)t->side,
		.unit = (float)t->unit,
		.packed = kc_is_dense(x, KC_CLAST) && kc_is_dense(y, KC_CLAST),
		.aligned = line % 16 == 0 && (uintptr_t)y->data % 16 == 0};
}

static int run_frames(const struct kc_call *call)
{
	struct kc_cu_cut a = describe(call);

	a.packed &= a.x.c == 3;
	return kc_cuda_launched(kc_cu_cut_frames(&a, kc_cuda_stream(call)), "cut_frames");
}

static int run_flows(const struct kc_call *call)
{
	struct kc_cu_cut a = describe(call);

	a.packed &= a.y.dtype == KC_VIEW_F32;
	return kc_cuda_launched(kc_cu_cut_flows(&a, kc_cuda_stream(call)), "cut_flows");
}

/* Where the square lies within a frame fits 32 bits. */
static bool fits(const struct kc_step_info *info)
{
	return info->in[0].type.dim[2] <= INT32_MAX && info->in[0].type.dim[3] <= INT32_MAX;
}

const struct kc_kernel kc_cuda_cut_frames = {
	.op = &kc_op_cut_frames, .name = "tiles", .fits = fits, .run = run_frames};
const struct kc_kernel kc_cuda_cut_flows = {
	.op = &kc_op_cut_flows, .name = "tiles", .fits = fits, .run = run_flows};
