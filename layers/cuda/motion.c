#include "layers/motion.h"

#include "layers/cuda/image.h"
#include "layers/cuda/motion.h"

static struct kc_cu_correlation describe(const struct kc_call *call, int sign)
{
	const struct kc_correlation_attr *t = call->attr;
	int32_t half = (int32_t)(t->max_displacement / t->step);

	return (struct kc_cu_correlation){
		.a = kc_cuda_image(&call->in[0]), .b = kc_cuda_image(&call->in[1]),
		.y = kc_cuda_image(&call->out[0]), .half = half, .side = 2 * half + 1,
		.step = (int32_t)t->step, .sign = sign};
}

static int run(const struct kc_call *call)
{
	struct kc_cu_correlation p = describe(call, 1);
	enum kc_cu_access access =
		kc_cuda_access((const struct kc_image_view *[]){&p.a, &p.b}, 2);

	return kc_cuda_launched(kc_cu_correlation_run(&p, access, kc_cuda_stream(call)),
				"correlation");
}

static int run_part(const struct kc_call *call, int sign)
{
	struct kc_cu_correlation p = describe(call, sign);
	enum kc_cu_access access =
		kc_cuda_access((const struct kc_image_view *[]){&p.b, &p.y}, 2);

	return kc_cuda_launched(kc_cu_correlation_part(&p, access, kc_cuda_stream(call)),
				"correlation part");
}

static int run_a(const struct kc_call *call)
{
	return run_part(call, 1);
}

static int run_b(const struct kc_call *call)
{
	return run_part(call, -1);
}

const struct kc_kernel kc_cuda_correlation = {
	.op = &kc_op_correlation, .name = "tiles", .fits = kc_cuda_are_images, .run = run};
const struct kc_kernel kc_cuda_correlation_a = {
	.op = &kc_op_correlation_a, .name = "warps", .fits = kc_cuda_are_images, .run = run_a};
const struct kc_kernel kc_cuda_correlation_b = {
	.op = &kc_op_correlation_b, .name = "warps", .fits = kc_cuda_are_images, .run = run_b};
