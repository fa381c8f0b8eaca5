#include "layers/sample.h"

#include "layers/cuda/sample.h"
#include "layers/cuda/scatter.h"

static struct kc_cu_sample describe(const struct kc_call *call, const struct kc_buf *image,
				    const struct kc_buf *y)
{
	const struct kc_sample_attr *a = call->attr;

	return (struct kc_cu_sample){
		.image = kc_cuda_image(image), .at = kc_cuda_image(&call->in[1]),
		.y = kc_cuda_image(y), .relative = a->relative != 0, .border = a->border != 0,
		.dx = (int32_t)a->dx, .dy = (int32_t)a->dy};
}

static int run(const struct kc_call *call)
{
	struct kc_cu_sample a = describe(call, &call->in[0], &call->out[0]);
	enum kc_cu_access access =
		kc_cuda_access((const struct kc_image_view *[]){&a.image, &a.y}, 2);

	return kc_cuda_launched(kc_cu_sample_run(&a, access, kc_cuda_stream(call)), "sample");
}

/* A position's four neighbours may be one and the same pixel, and every position's. */
static int prepare_back(struct kc_step_info *info)
{
	const int64_t *d = info->in[0].type.dim;

	return kc_cuda_scatter_prepare(info, 4 * d[2] * d[3]);
}

/* Sums of four neighbours in one addition exist since Hopper; one by one these would be slower. */
static enum kc_cu_access access_back(const struct kc_call *call, const struct kc_cu_sample *a,
				     const struct kc_cu_sums *sums)
{
	bool packs = kc_cuda_of(call->device)->properties.major >= 9 && !sums->most &&
		     (uintptr_t)sums->sum % 16 == 0;

	return packs ? kc_cuda_access((const struct kc_image_view *[]){&a->y}, 1) : KC_CU_ANY;
}

static int run_back(const struct kc_call *call)
{
	struct kc_cu_sample a = describe(call, &call->out[0], &call->in[0]);
	struct kc_cu_sums sums;

	KC_TRY(kc_cuda_scatter_begin(call, &sums));
	KC_TRY(kc_cuda_launched(kc_cu_sample_back_run(&a, &sums, access_back(call, &a, &sums),
						      kc_cuda_stream(call)),
				"sample_back"));
	return kc_cuda_scatter_end(call, &sums);
}

const struct kc_kernel kc_cuda_sample = {
	.op = &kc_op_sample, .name = "gather", .fits = kc_cuda_are_images, .run = run};
const struct kc_kernel kc_cuda_sample_back = {
	.op = &kc_op_sample_back, .name = "scatter", .fits = kc_cuda_are_images,
	.prepare = prepare_back, .run = run_back, .release = kc_cuda_scatter_release};
