#include "layers/pool.h"

#include "layers/cuda/pool.h"
#include "layers/cuda/scatter.h"

static int run_max(const struct kc_call *call)
{
	const struct kc_pool_attr *p = call->attr;
	struct kc_cu_pool a = {
		.x = kc_cuda_image(&call->in[0]), .y = kc_cuda_image(&call->out[0]),
		.place = kc_cuda_image(&call->out[1]), .k = (int32_t)p->k,
		.stride = (int32_t)p->stride, .pad = (int32_t)p->pad};
	enum kc_cu_access access =
		kc_cuda_access((const struct kc_image_view *[]){&a.x, &a.y}, 2);

	return kc_cuda_launched(kc_cu_max_pool(&a, access, kc_cuda_stream(call)), "max_pool");
}

static int run_take(const struct kc_call *call)
{
	struct kc_image_view x = kc_cuda_image(&call->in[0]), place = kc_cuda_image(&call->in[1]);
	struct kc_image_view y = kc_cuda_image(&call->out[0]);

	return kc_cuda_launched(kc_cu_plane_take(&x, &place, &y, kc_cuda_stream(call)),
				"plane_take");
}

/* Every value of a plane may go to one place. */
static int prepare_put(struct kc_step_info *info)
{
	const int64_t *d = info->in[0].type.dim;

	return kc_cuda_scatter_prepare(info, d[2] * d[3]);
}

static int run_put(const struct kc_call *call)
{
	struct kc_image_view x = kc_cuda_image(&call->in[0]), place = kc_cuda_image(&call->in[1]);
	struct kc_image_view y = kc_cuda_image(&call->out[0]);
	struct kc_cu_sums sums;

	KC_TRY(kc_cuda_scatter_begin(call, &sums));
	KC_TRY(kc_cuda_launched(kc_cu_plane_put(&x, &place, &y, &sums, kc_cuda_stream(call)),
				"plane_put"));
	return kc_cuda_scatter_end(call, &sums);
}

const struct kc_kernel kc_cuda_max_pool = {
	.op = &kc_op_max_pool, .name = "windows", .fits = kc_cuda_are_images, .run = run_max};
const struct kc_kernel kc_cuda_plane_take = {
	.op = &kc_op_plane_take, .name = "by place", .fits = kc_cuda_are_images, .run = run_take};
const struct kc_kernel kc_cuda_plane_put = {
	.op = &kc_op_plane_put, .name = "scatter", .fits = kc_cuda_are_images,
	.prepare = prepare_put, .run = run_put, .release = kc_cuda_scatter_release};
