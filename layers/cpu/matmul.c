/* Matrix products by oneDNN. */
#include "layers/cpu/dnnl.h"
#include "layers/cpu/pack.h"
#include "layers/cpu/rows.h"

static void release(void *prepared)
{
	kc_dnn_close(prepared);
}

/* The matrices of a buffer, as they are meant. */
static void matrices(struct kc_dnn_mem *m, const struct kc_buf *b, bool transposed)
{
	int n = b->type.ndim;

	memset(m, 0, sizeof *m);
	m->dtype = b->type.dtype;
	m->ndim = n;
	for (int i = 0; i < n; i++) {
		int from = transposed && i >= n - 2 ? 2 * n - 3 - i : i;

		m->dim[i] = b->type.dim[from];
		m->stride[i] = b->stride[from];
	}
}

static bool fits(const struct kc_step_info *info)
{
	bool same = info->in[0].type.dtype == info->in[1].type.dtype;

	for (int i = 0; i < 2; i++)
		if (!kc_cpu_is_float(&info->in[i]) || !kc_is_dense(&info->in[i], KC_PLAIN))
			return false;
	return kc_cpu_is_float(&info->out[0]) && kc_is_dense(&info->out[0], KC_PLAIN) &&
	       (same || (info->in[0].type.dtype == KC_BF16 && info->in[1].type.ndim == 2));
}

/* A float32 parameter beside bf16 values is packed; everything else is read where it lies. */
static int prepare(struct kc_step_info *info)
{
	const struct kc_matmul_attr *a = info->attr;
	struct kc_dnn_spec spec = {.kind = KC_DNN_MATMUL};
	bool pack = info->in[0].type.dtype != info->in[1].type.dtype;
	struct kc_dnn *d = NULL;
	int rc;

	matrices(&spec.src, &info->in[0], a->transpose_a != 0);
	matrices(&spec.weights, &info->in[1], a->transpose_b != 0);
	matrices(&spec.dst, &info->out[0], false);
	if (pack) {
		spec.weights.dtype = KC_BF16;
		memset(spec.weights.stride, 0, sizeof spec.weights.stride);
		spec.weights.any = 1;
	}
	KC_TRY(kc_dnn_open(&d, &spec));
	rc = pack ? kc_cpu_pack_add(info, 1, &spec, d, 1,
				    a->transpose_b ? KC_TURN_SWAP : KC_TURN_NONE) : 0;
	if (rc < 0) {
		kc_dnn_close(d);
		return rc;
	}
	info->workspace = kc_dnn_scratch(d);
	info->prepared = d;
	return 0;
}

static int run(const struct kc_call *call)
{
	return kc_dnn_run(call->prepared, call->in[0].data, call->in[1].data, NULL,
			  call->out[0].data, call->workspace);
}

static const struct kc_kernel matmul_row = {
	.op = &kc_op_matmul, .name = "dnnl matmul", .fits = fits, .prepare = prepare, .run = run,
	.release = release};

const struct kc_kernel *const kc_cpu_matmul_rows[] = {&matmul_row, NULL};
