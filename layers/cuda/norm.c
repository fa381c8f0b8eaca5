/* The norm of many tensors, and whether all of their elements are finite. */
#include "layers/cuda/cuda.h"
#include "layers/cuda/many.h"

#include <stdlib.h>

static bool fits(const struct kc_step_info *info)
{
	return info->out[0].type.dtype == KC_F32;
}

static int prepare(struct kc_step_info *info)
{
	struct kc_cuda_many *m = kc_calloc(1, sizeof *m);
	int64_t *n = kc_calloc((size_t)info->n_in, sizeof *n);
	int rc = KC_ENOMEM;

	for (int i = 0; n && i < info->n_in; i++)
		n[i] = kc_numel(&info->in[i].type);
	if (m && n)
		rc = kc_cuda_many_init(m, n, info->n_in, sizeof(struct kc_cu_item));
	free(n);
	if (rc < 0) {
		if (m)
			kc_cuda_many_release(m);
		free(m);
		return rc;
	}
	info->workspace = sizeof(double) * (size_t)KC_MAX(m->n_pieces, 1);
	info->prepared = m;
	return 0;
}

static void release(void *prepared)
{
	if (prepared)
		kc_cuda_many_release(prepared);
	free(prepared);
}

static int send(struct kc_cuda_many *m, const struct kc_call *call)
{
	struct kc_cu_item *items = m->next;

	for (int i = 0; i < call->n_in; i++) {
		items[i].view = kc_view_of(&call->in[i]);
		items[i].n = kc_numel(&call->in[i].type);
		kc_view_join(&items[i].view, 1);
	}
	return kc_cuda_many_send(m, kc_cuda_of(call->device));
}

static int run_norm(const struct kc_call *call)
{
	struct kc_cuda_many *m = call->prepared;

	KC_TRY(send(m, call));
	return kc_cuda_launched(kc_cu_norm(m->items, kc_cuda_many_pieces(m), call->workspace,
					   call->out[0].data, kc_cuda_stream(call)),
				"norm");
}

static int run_finite(const struct kc_call *call)
{
	struct kc_cuda_many *m = call->prepared;

	KC_TRY(send(m, call));
	return kc_cuda_launched(kc_cu_finite(m->items, kc_cuda_many_pieces(m), call->workspace,
					     call->out[0].data, kc_cuda_stream(call)),
				"finite");
}

const struct kc_kernel kc_cuda_norm = {
	.op = &kc_op_norm, .name = "pieces", .fits = fits, .prepare = prepare, .run = run_norm,
	.release = release};
const struct kc_kernel kc_cuda_all_finite = {
	.op = &kc_op_all_finite, .name = "pieces", .fits = fits, .prepare = prepare,
	.run = run_finite, .release = release};
