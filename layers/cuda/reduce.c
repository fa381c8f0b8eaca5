/* Sums over some of the dimensions: which kernel, in how many chunks (reduce.cu). */
#include "layers/cuda/cuda.h"
#include "layers/cuda/reduce.h"

#include <stdlib.h>

enum {
	ENOUGH = 132 * 4,               /* blocks that run at once */
	WARPS = KC_CU_SUM_BLOCK / 32,
	FEW = 8,                        /* terms that a thread adds alone */
	SHORTEST = 1024,                /* terms of a chunk of neighbours */
	ROWS = 64,                      /* rows of a chunk of columns */
	MOST_ROWS = 65535               /* blocks along y and z */
};

static bool stays(const struct kc_buf *x, const struct kc_buf *y, int axis)
{
	int shift = x->type.ndim - y->type.ndim;

	return axis >= shift && y->type.dim[axis - shift] == x->type.dim[axis];
}

static void add_dim(struct kc_view *v, int64_t dim, int64_t stride)
{
	v->dim[v->nd] = dim;
	v->stride[v->nd++] = stride;
}

static void divide(struct kc_cu_sum *s, const struct kc_buf *x, const struct kc_buf *y)
{
	int shift = x->type.ndim - y->type.ndim;
	struct kc_view kept[2] = {{.dtype = x->type.dtype}, {.dtype = y->type.dtype}};

	s->n = s->terms = 1;
	s->summed.dtype = x->type.dtype;
	for (int i = 0; i < x->type.ndim; i++) {
		if (stays(x, y, i)) {
			add_dim(&kept[0], x->type.dim[i], x->stride[i]);
			add_dim(&kept[1], x->type.dim[i], y->stride[i - shift]);
			s->n *= x->type.dim[i];
		} else {
			add_dim(&s->summed, x->type.dim[i], x->stride[i]);
			s->terms *= x->type.dim[i];
		}
	}
	kc_view_join(kept, 2);
	kc_view_join(&s->summed, 1);
	s->kept = kept[0];
	s->to = kept[1];
	if (!s->summed.nd)
		add_dim(&s->summed, 1, 0);
}

static bool has_columns(const struct kc_cu_sum *s)
{
	int last = s->kept.nd - 1;

	return s->kept.nd && s->kept.stride[last] == 1 &&
	       (s->kept.dtype == KC_VIEW_F32 || s->kept.dtype == KC_VIEW_BF16) &&
	       s->n / s->kept.dim[last] <= MOST_ROWS;
}

static int64_t pack_of(const struct kc_cu_sum *s)
{
	return s->kept.dtype == KC_VIEW_BF16 ? 8 : 4;
}

/* Blocks that one chunk takes. */
static int64_t blocks_of(const struct kc_cu_sum *s)
{
	int64_t across = 32 * pack_of(s), width;

	if (s->kind == KC_CU_SUM_WARP)
		return s->n <= ENOUGH / 2 ? s->n : (s->n + WARPS - 1) / WARPS;
	width = s->kept.dim[s->kept.nd - 1];
	return s->n / width * ((width + across - 1) / across);
}

static void choose(struct kc_cu_sum *s)
{
	int64_t shortest;

	s->chunks = 1;
	s->length = KC_MAX(s->terms, 1);
	s->kind = s->terms <= FEW ? KC_CU_SUM_THREAD : has_columns(s) ? KC_CU_SUM_COLUMNS
								      : KC_CU_SUM_WARP;
	if (s->kind == KC_CU_SUM_THREAD)
		return;
	shortest = s->kind == KC_CU_SUM_WARP ? SHORTEST : ROWS;
	s->chunks = KC_MIN(ENOUGH / KC_MAX(blocks_of(s), 1), s->terms / shortest);
	s->chunks = KC_MAX(s->chunks, 1);
	s->length = (s->terms + s->chunks - 1) / s->chunks;
	s->length = (s->length + 7) / 8 * 8;
	s->chunks = (s->terms + s->length - 1) / s->length;
}

/* Runs of neighbours, wherever they are, begin at multiples of n and are multiples of it long. */
static bool divides(const struct kc_cu_sum *s, int64_t n)
{
	const struct kc_view *fast = s->kind == KC_CU_SUM_COLUMNS ? &s->kept : &s->summed;
	const struct kc_view *slow = s->kind == KC_CU_SUM_COLUMNS ? &s->summed : &s->kept;
	int last = fast->nd - 1;

	if (fast->stride[last] != 1 || fast->dim[last] % n ||
	    (uintptr_t)s->kept.data % ((uintptr_t)n * kc_dtype_size((enum kc_dtype)fast->dtype)))
		return false;
	for (int d = 0; d < last; d++)
		if (fast->stride[d] % n)
			return false;
	for (int d = 0; d < slow->nd; d++)
		if (slow->stride[d] % n)
			return false;
	return true;
}

static int32_t width_of(const struct kc_cu_sum *s)
{
	int64_t n = pack_of(s);

	if (s->kind == KC_CU_SUM_THREAD ||
	    (s->kept.dtype != KC_VIEW_F32 && s->kept.dtype != KC_VIEW_BF16))
		return 1;
	while (n > 1 && !divides(s, n))
		n /= 2;
	return (int32_t)n;
}

static bool fits(const struct kc_step_info *info)
{
	(void)info;
	return true;
}

static int prepare(struct kc_step_info *info)
{
	struct kc_cu_sum *s = kc_calloc(1, sizeof *s);

	if (!s)
		return KC_ENOMEM;
	divide(s, &info->in[0], &info->out[0]);
	choose(s);
	if (s->chunks > 1)
		info->workspace = (size_t)(s->chunks * s->n) * sizeof(float);
	info->prepared = s;
	return 0;
}

static int run(const struct kc_call *call)
{
	struct kc_cu_sum s = *(const struct kc_cu_sum *)call->prepared;

	if (!s.n)
		return 0;
	s.kept.data = call->in[0].data;
	s.to.data = call->out[0].data;
	s.part = call->workspace;
	s.width = width_of(&s);
	return kc_cuda_launched(kc_cu_run_sum(&s, kc_cuda_stream(call)), "sum");
}

const struct kc_kernel kc_cuda_sum_to = {
	.op = &kc_op_sum_to, .name = "sums", .fits = fits, .prepare = prepare, .run = run,
	.release = free, .pads = KC_PADS_READ};
