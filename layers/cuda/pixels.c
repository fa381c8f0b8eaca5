/* Colour, bins and the norm over channels. */
#include "layers/cuda/pixels.h"

#include "layers/bins.h"
#include "layers/colour.h"
#include "layers/cuda/cuda.h"

#include <stdlib.h>

/* Without the channels (dimension 1), which y may not have at all. */
static struct kc_view pixels_of(const struct kc_buf *b, int ndim)
{
	struct kc_view v = kc_view_of(b);
	int skip = b->type.ndim == ndim;

	v.nd = ndim - 1;
	for (int d = 1; d < v.nd; d++) {
		v.dim[d] = b->type.dim[d + skip];
		v.stride[d] = b->stride[d + skip];
	}
	return v;
}

static struct kc_cu_pixels describe(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	int ndim = x->type.ndim;
	struct kc_view v[2] = {pixels_of(y, ndim), pixels_of(x, ndim)};
	struct kc_cu_pixels a = {.n = kc_numel(&x->type) / x->type.dim[1],
				 .channels = x->type.dim[1], .xc = x->stride[1],
				 .yc = y->type.ndim == ndim ? y->stride[1] : 0};

	kc_view_join(v, 2);
	a.y = v[0];
	a.x = v[1];
	return a;
}

static bool fits(const struct kc_step_info *info)
{
	return kc_cuda_is_float(&info->in[0]);
}

/* ---- colour ---- */

static struct kc_cu_lab numbers(void)
{
	struct kc_cu_lab l = {.srgb_knee = srgb_knee, .linear_knee = linear_knee,
			      .xyz_knee = xyz_knee, .lab_knee = lab_knee, .slope = slope,
			      .offset = offset};

	memcpy(l.white, white, sizeof white);
	for (int i = 0; i < 9; i++)
		l.xyz_of_rgb[i / 3][i % 3] = xyz_of_rgb[i / 3][i % 3] / white[i / 3];
	memcpy(l.rgb_of_xyz, rgb_of_xyz, sizeof rgb_of_xyz);
	return l;
}

static int run_rgb_to_lab(const struct kc_call *call)
{
	struct kc_cu_pixels a = describe(call);
	struct kc_cu_lab l = numbers();

	return kc_cuda_launched(kc_cu_rgb_to_lab(&a, &l, kc_cuda_stream(call)), "rgb_to_lab");
}

static int to_rgb(const struct kc_call *call, bool fit)
{
	struct kc_cu_pixels a = describe(call);
	struct kc_cu_lab l = numbers();

	return kc_cuda_launched(kc_cu_lab_to_rgb(&a, &l, fit, kc_cuda_stream(call)), "lab_to_rgb");
}

static int run_lab_to_rgb(const struct kc_call *call)
{
	return to_rgb(call, false);
}

static int run_lab_to_rgb_fit(const struct kc_call *call)
{
	return to_rgb(call, true);
}

/* ---- bins ---- */

_Static_assert((int)KC_CU_BINS == KC_BINS && (int)KC_CU_NEAREST == KC_SOFT_NEAREST &&
		       (int)KC_CU_SIGMA == KC_SOFT_SIGMA && (int)KC_CU_SIDE == KC_HARD_SIDE,
	       "kernels have the numbers of layers/bins.h");

static int prepare_soft(struct kc_step_info *info)
{
	float bins[KC_BINS][2];

	for (int q = 0; q < KC_BINS; q++) {
		bins[q][0] = (float)kc_bins_a[q];
		bins[q][1] = (float)kc_bins_b[q];
	}
	return kc_cuda_table(&info->prepared, bins, sizeof bins);
}

static int run_soft(const struct kc_call *call)
{
	struct kc_cu_pixels a = describe(call);

	return kc_cuda_launched(kc_cu_soft_encode(&a, call->prepared, kc_cuda_stream(call)),
				"soft_encode");
}

static int run_hard(const struct kc_call *call)
{
	struct kc_cu_pixels a = describe(call);

	return kc_cuda_launched(kc_cu_hard_encode(&a, kc_cuda_stream(call)), "hard_encode");
}

/* ---- tables as values: filled once on the host, copied on the device ---- */

static size_t bytes_of(const struct kc_type *t)
{
	return (size_t)kc_numel(t) * kc_dtype_size((enum kc_dtype)t->dtype);
}

static bool fits_constant(const struct kc_step_info *info)
{
	return kc_is_dense(&info->out[0], KC_PLAIN) || kc_is_dense(&info->out[0], KC_CLAST);
}

static int prepare_constant(struct kc_step_info *info)
{
	struct kc_buf y = info->out[0];
	struct kc_call call = {.attr = info->attr, .out = &y, .n_out = 1};
	int rc;

	y.data = kc_calloc(1, bytes_of(&y.type));
	if (!y.data)
		return KC_ENOMEM;
	info->op->ref(&call);
	rc = kc_cuda_table(&info->prepared, y.data, bytes_of(&y.type));
	free(y.data);
	return rc;
}

static int run_constant(const struct kc_call *call)
{
	const struct kc_buf *y = &call->out[0];

	return kc_cuda_check(cudaMemcpyAsync(y->data, call->prepared, bytes_of(&y->type),
					     cudaMemcpyDeviceToDevice, kc_cuda_stream(call)),
			     "constant");
}

static int run_norm(const struct kc_call *call)
{
	struct kc_cu_pixels a = describe(call);

	return kc_cuda_launched(kc_cu_channel_norm(&a, kc_cuda_stream(call)), "channel_norm");
}

#define ROW(op_, run_)                                                                        \
	const struct kc_kernel kc_cuda_##op_ = {                                              \
		.op = &kc_op_##op_, .name = "pixels", .fits = fits, .run = run_}
ROW(rgb_to_lab, run_rgb_to_lab);
ROW(lab_to_rgb, run_lab_to_rgb);
ROW(lab_to_rgb_fit, run_lab_to_rgb_fit);
ROW(hard_encode, run_hard);
ROW(channel_norm, run_norm);

const struct kc_kernel kc_cuda_soft_encode = {
	.op = &kc_op_soft_encode, .name = "warps", .fits = fits, .prepare = prepare_soft,
	.run = run_soft, .release = kc_cuda_table_free};
const struct kc_kernel kc_cuda_constant = {
	.op = &kc_op_constant, .name = "copied", .fits = fits_constant,
	.prepare = prepare_constant, .run = run_constant, .release = kc_cuda_table_free};
