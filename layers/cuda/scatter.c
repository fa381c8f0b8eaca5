#include "layers/cuda/scatter.h"

#include <stdlib.h>

enum { ALIGN = 256 };           /* of the bound in front of the sums */

struct scatter {
	bool fixed, direct;     /* integer sums; float sums in the output itself */
	int32_t bits;
	size_t bytes;           /* of the sums */
};

/* Of a term of which so many must fit a signed sum of 64 bits. */
static int32_t bits_for(int64_t terms)
{
	int32_t bits = 62;

	for (; terms > 1; terms = (terms + 1) / 2)
		bits--;
	return bits;
}

int kc_cuda_scatter_prepare(struct kc_step_info *info, int64_t terms)
{
	const struct kc_buf *y = &info->out[0];
	struct scatter *s = kc_calloc(1, sizeof *s);

	if (!s)
		return KC_ENOMEM;
	s->fixed = info->deterministic;
	s->direct = !s->fixed && y->type.dtype == KC_F32 && kc_is_dense(y, KC_CLAST);
	s->bits = bits_for(terms);
	s->bytes = (size_t)kc_numel(&y->type) * (s->fixed ? sizeof(int64_t) : sizeof(float));
	info->workspace = s->direct ? 0 : ALIGN + s->bytes;
	info->prepared = s;
	return 0;
}

int kc_cuda_scatter_begin(const struct kc_call *call, struct kc_cu_sums *sums)
{
	const struct scatter *s = call->prepared;
	cudaStream_t stream = kc_cuda_stream(call);
	struct kc_image_view x = kc_cuda_image(&call->in[0]);

	*sums = (struct kc_cu_sums){.bits = s->bits};
	if (s->direct) {
		sums->sum = call->out[0].data;
		return kc_cuda_check(cudaMemsetAsync(sums->sum, 0, s->bytes, stream), "zeros");
	}
	sums->sum = (char *)call->workspace + ALIGN;
	sums->most = s->fixed ? call->workspace : NULL;
	KC_TRY(kc_cuda_check(cudaMemsetAsync(call->workspace, 0, ALIGN + s->bytes, stream),
			     "zeros"));
	if (!s->fixed)
		return 0;
	return kc_cuda_launched(kc_cu_sums_most(&x, sums->most, stream), "sums_most");
}

int kc_cuda_scatter_end(const struct kc_call *call, const struct kc_cu_sums *sums)
{
	const struct scatter *s = call->prepared;
	struct kc_image_view y = kc_cuda_image(&call->out[0]);

	return s->direct ? 0 : kc_cuda_launched(kc_cu_sums_store(sums, &y, kc_cuda_stream(call)),
						"sums_store");
}

void kc_cuda_scatter_release(void *prepared)
{
	free(prepared);
}
