/* Matrix products by cuBLAS. */
#include "layers/cuda/cublas.h"
#include "layers/cuda/libraries.h"

#include <stdlib.h>

/* As prepared: what cuBLAS is asked, and where factors that it cannot read are copied to. */
struct matmul {
	struct kc_cublas_product product;
	bool copied[2];
	size_t place[2];                /* in the workspace */
};

static bool fits(const struct kc_step_info *info)
{
	return kc_cuda_is_float(&info->in[0]) && kc_cuda_is_float(&info->in[1]) &&
	       kc_is_dense(&info->out[0], KC_PLAIN) && info->out[0].type.dtype == KC_F32;
}

/* Of both factors: that of the narrower one. */
static enum kc_dtype factor_type(const struct kc_step_info *info)
{
	bool low = info->in[0].type.dtype == KC_BF16 || info->in[1].type.dtype == KC_BF16;

	return low ? KC_BF16 : KC_F32;
}

static struct kc_cublas_product product(const struct kc_step_info *info)
{
	const struct kc_matmul_attr *at = info->attr;
	const struct kc_type *a = &info->in[0].type, *c = &info->out[0].type;
	int n = c->ndim;

	return (struct kc_cublas_product){
		.batch = n == 3 ? c->dim[0] : 1, .m = c->dim[n - 2], .n = c->dim[n - 1],
		.k = a->dim[n - 1 - (at->transpose_a != 0)], .transpose_a = at->transpose_a != 0,
		.transpose_b = at->transpose_b != 0, .in = factor_type(info),
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

/* A value that is repeated, or lies in another order, is no matrix to cuBLAS. */
static void lay_out(struct matmul *m, struct kc_step_info *info)
{
	for (int i = 0; i < 2; i++) {
		bool other = i == 0 && (enum kc_dtype)info->in[0].type.dtype != m->product.in;

		m->copied[i] = other || !kc_is_dense(&info->in[i], KC_PLAIN);
		m->place[i] = info->workspace;
		if (m->copied[i])
			info->workspace += ((size_t)kc_numel(&info->in[i].type) * 4 + 255) /
					   256 * 256;
	}
}

static int prepare(struct kc_step_info *info)
{
	struct matmul *m;

	KC_TRY(kc_cuda_use_cublas(kc_cuda_of(info->device)));
	m = kc_calloc(1, sizeof *m);
	if (!m)
		return KC_ENOMEM;
	m->product = product(info);
	info->prepared = m;
	lay_out(m, info);
	if (!m->copied[1] && (enum kc_dtype)info->in[1].type.dtype != m->product.in)
		info->pack[info->n_pack++] = (struct kc_pack){
			.input = 1, .bytes = (size_t)kc_numel(&info->in[1].type) * 2,
			.key = "matrix bf16", .run = narrow, .own = info->device};
	return 0;
}

static int factor(const struct matmul *m, const struct kc_call *call, int i, void **data)
{
	struct kc_type type = call->in[i].type;
	struct kc_buf to;

	*data = call->in[i].data;
	if (!m->copied[i])
		return 0;
	*data = (char *)call->workspace + m->place[i];
	type.dtype = m->product.in;
	to = kc_buf_of(*data, &type, KC_PLAIN);
	return kc_cuda_copy(call, &to, &call->in[i]);
}

static int run(const struct kc_call *call)
{
	const struct matmul *m = call->prepared;
	void *a, *b;

	KC_TRY(factor(m, call, 0, &a));
	KC_TRY(factor(m, call, 1, &b));
	return kc_cublas_run(kc_cuda_of(call->device)->cublas, &m->product, a, b,
			     call->out[0].data);
}

const struct kc_kernel kc_cuda_matmul = {
	.op = &kc_op_matmul, .name = "cublas matmul", .fits = fits, .prepare = prepare, .run = run,
	.release = free};
