#include "layers/cuda/index.h"

#include "layers/cuda/cuda.h"
#include "layers/shape.h"

static bool fits(const struct kc_step_info *info)
{
	return info->in[1].type.dtype == KC_I32;
}

/* The view with one dimension of size 1. */
static struct kc_view without(const struct kc_buf *b, int64_t axis)
{
	struct kc_view v = kc_view_of(b);

	v.dim[axis] = 1;
	v.stride[axis] = 0;
	return v;
}

static int run_entries(const struct kc_call *call,
		       int (*launch)(const struct kc_cu_entries *, cudaStream_t), const char *name)
{
	const struct kc_buf *x = &call->in[0], *index = &call->in[1], *y = &call->out[0];
	struct kc_view v[2] = {without(y, 0), without(x, 0)};
	struct kc_cu_entries a = {
		.x_count = x->type.dim[0], .x_stride = x->stride[0], .y_count = y->type.dim[0],
		.y_stride = y->stride[0], .index = index->data, .index_stride = index->stride[0]};

	kc_view_join(v, 2);
	a.y = v[0];
	a.x = v[1];
	a.n = kc_view_count(&v[0]);
	return kc_cuda_launched(launch(&a, kc_cuda_stream(call)), name);
}

static int run_gather(const struct kc_call *call)
{
	return run_entries(call, kc_cu_gather, "gather");
}

static int run_scatter(const struct kc_call *call)
{
	return run_entries(call, kc_cu_scatter, "scatter");
}

/* longer: the side whose axis has all its elements. */
static int run_places(const struct kc_call *call, const struct kc_buf *longer,
		      int (*launch)(const struct kc_cu_places *, cudaStream_t), const char *name)
{
	const struct kc_index_attr *t = call->attr;
	struct kc_view v[3] = {without(&call->out[0], t->axis), without(&call->in[0], t->axis),
			       without(&call->in[1], t->axis)};
	struct kc_cu_places a = {.size = t->size, .stride = longer->stride[t->axis]};

	kc_view_join(v, 3);
	a.y = v[0];
	a.x = v[1];
	a.index = v[2];
	a.n = kc_view_count(&v[0]);
	return kc_cuda_launched(launch(&a, kc_cuda_stream(call)), name);
}

static int run_take(const struct kc_call *call)
{
	return run_places(call, &call->in[0], kc_cu_take, "take");
}

static int run_put(const struct kc_call *call)
{
	return run_places(call, &call->out[0], kc_cu_put, "put");
}

const struct kc_kernel kc_cuda_gather = {
	.op = &kc_op_gather, .name = "entries", .fits = fits, .run = run_gather};
const struct kc_kernel kc_cuda_scatter = {
	.op = &kc_op_scatter, .name = "entries", .fits = fits, .run = run_scatter};
const struct kc_kernel kc_cuda_take = {
	.op = &kc_op_take, .name = "by index", .fits = fits, .run = run_take};
const struct kc_kernel kc_cuda_put = {
	.op = &kc_op_put, .name = "by index", .fits = fits, .run = run_put};
