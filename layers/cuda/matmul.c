/* Matrix products by cuBLAS. */
#include "layers/cuda/cublas.h"
#include "layers/cuda/libraries.h"

#include <stdlib.h>

static bool fits(const struct kc_step_info *info)
{
	const struct kc_buf *a = &info->in[0], *b = &info->in[1];

	return kc_cuda_is_float(a) && kc_cuda_is_float(b) && kc_is_dense(a, KC_PLAIN) &&
	       kc_is_dense(b, KC_PLAIN) && kc_is_dense(&info->out[0], KC_PLAIN) &&
	       info->out[0].type.dtype == KC_F32 &&
	       (a->type.dtype == b->type.dtype || a->type.dtype == KC_BF16);
}

static struct kc_cublas_product product(const struct kc_step_info *info)
{
	const struct kc_matmul_attr *at = info->attr;
	const struct kc_type *a = &info->in[0].type, *c = &info->out[0].type;
	int n = c->ndim;

	return (struct kc_cublas_product){
		.batch = n == 3 ? c->dim[0] : 1, .m = c->dim[n - 2], .n = c->dim[n - 1],
		.k = a->dim[n - 1 - (at->transpose_a != 0)], .transpose_a = at->transpose_a != 0,
		.transpose_b = at->transpose_b != 0, .in = (enum kc_dtype)a->dtype,
		.tf32 = kc_cuda_of(info->device)->tf32};
}

/* A float32 parameter beside bf16 values is read as bf16. */
static int narrow(const struct kc_pack *pack, const struct kc_buf *src, void *dst)
{
	struct kc_type type = src->type;
	struct kc_buf to;

	type.dtype = KC_BF16;
	to = kc_buf_of(dst, &type, KC_PLAIN);
	return kc_cuda_copy(&(struct kc_call){.device = pack->own}, &to, src);
}

static int prepare(struct kc_step_info *info)
{
	struct kc_cublas_product *p;

	KC_TRY(kc_cuda_use_cublas(kc_cuda_of(info->device)));
	p = kc_alloc(sizeof *p);
	if (!p)
		return KC_ENOMEM;
	*p = product(info);
	info->prepared = p;
	if (info->in[0].type.dtype != info->in[1].type.dtype)
		info->pack[info->n_pack++] = (struct kc_pack){
			.input = 1, .bytes = (size_t)kc_numel(&info->in[1].type) * 2,
			.key = "matrix bf16", .run = narrow, .own = info->device};
	return 0;
}

static int run(const struct kc_call *call)
{
	return kc_cublas_run(kc_cuda_of(call->device)->cublas, call->prepared, call->in[0].data,
			     call->in[1].data, call->out[0].data);
}

const struct kc_kernel kc_cuda_matmul = {
	.op = &kc_op_matmul, .name = "cublas matmul", .fits = fits, .prepare = prepare, .run = run,
	.release = free};
