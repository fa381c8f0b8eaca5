/* Operators that move elements, as copies of boxes. */
#include "layers/shape.h"

#include "layers/boxes.h"
#include "layers/cuda/cuda.h"
#include "layers/cuda/move.h"
#include "layers/ref.h"

#include <stdlib.h>

/* ---- boxes of one launch ---- */

struct batch { struct kc_cu_boxes boxes; int n; cudaStream_t stream; };

static int flush(struct batch *b)
{
	int n = b->n;

	b->n = 0;
	return n ? kc_cuda_launched(kc_cu_move(&b->boxes, n, b->stream), "move") : 0;
}

/* v[0] becomes v[1]; v[1].data NULL: zeros. */
static int64_t size_of(const struct kc_view *v)
{
	return (int64_t)kc_dtype_size((enum kc_dtype)v->dtype);
}

/* Every run of the fastest dimension begins at a multiple of so many elements and is one long. */
static bool runs_divide(const struct kc_view *v, int64_t elements)
{
	int last = v->nd - 1;

	if (!v->nd || v->stride[last] != 1 || v->dim[last] % elements ||
	    (uintptr_t)v->data % (uintptr_t)(elements * size_of(v)))
		return false;
	for (int d = 0; d < last; d++)
		if (v->stride[d] % elements)
			return false;
	return true;
}

/* The kind of the largest units that both sides allow, and elements per unit. */
static enum kc_cu_box_kind kind_of(const struct kc_view v[2], double scale, int64_t *elements)
{
	static const enum kc_cu_box_kind same[] = {[1] = KC_BOX_1, [2] = KC_BOX_2, [4] = KC_BOX_4,
						   [8] = KC_BOX_8, [16] = KC_BOX_16};
	int64_t size = size_of(&v[0]), unit = 16;

	if (scale == 1 && v[0].dtype != v[1].dtype) {
		bool four = runs_divide(&v[0], 4) && runs_divide(&v[1], 4);

		*elements = four ? 4 : 1;
		if (v[0].dtype == KC_VIEW_BF16 && v[1].dtype == KC_VIEW_F32)
			return four ? KC_BOX_NARROW_4 : KC_BOX_NARROW;
		if (v[0].dtype == KC_VIEW_F32 && v[1].dtype == KC_VIEW_BF16)
			return four ? KC_BOX_WIDEN_4 : KC_BOX_WIDEN;
	}
	*elements = 1;
	if (scale != 1 || v[0].dtype != v[1].dtype)
		return KC_BOX_ANY;
	while (unit > size && !(runs_divide(&v[0], unit / size) && runs_divide(&v[1], unit / size)))
		unit /= 2;
	*elements = unit / size;
	return same[unit];
}

static void fill_box(struct kc_cu_box *b, const struct kc_view v[2], double scale)
{
	int64_t elements;

	*b = (struct kc_cu_box){.to = v[0].data, .from = v[1].data, .scale = scale,
				.to_type = v[0].dtype, .from_type = v[1].dtype,
				.nd = v[0].nd ? v[0].nd : 1, .dim = {{1, 0, 0}}};
	b->kind = kind_of(v, scale, &elements);
	b->n = kc_view_count(&v[0]) / elements;
	for (int d = 0; d < v[0].nd; d++) {
		int from = v[0].nd - 1 - d;
		bool fastest = d == 0;

		b->dim[d] = kc_divisor_of((uint32_t)(v[0].dim[from] / (fastest ? elements : 1)));
		b->to_step[d] = v[0].stride[from] / (fastest ? 1 : elements);
		b->from_step[d] = v[1].stride[from] / (fastest ? 1 : elements);
	}
}

/* Half of the slowest dimension. */
static struct kc_view half(const struct kc_view *v, bool second)
{
	struct kc_view h = *v;
	int64_t first = v->dim[0] / 2;

	h.dim[0] = second ? v->dim[0] - first : first;
	if (second && v->data)
		h.data = (char *)v->data + first * v->stride[0] * size_of(v);
	return h;
}

/* Units of a launch are counted in 32 bits. */
static int add_box(struct batch *b, const struct kc_view v[2], double scale)
{
	int64_t n = kc_view_count(&v[0]);

	if (n > INT32_MAX) {
		KC_TRY(add_box(b, (struct kc_view[]){half(&v[0], false), half(&v[1], false)},
			       scale));
		return add_box(b, (struct kc_view[]){half(&v[0], true), half(&v[1], true)}, scale);
	}
	if (n)
		fill_box(&b->boxes.box[b->n++], v, scale);
	return b->n == KC_BOX_MANY ? flush(b) : 0;
}

static int add_zeros(struct batch *b, const struct kc_view *y)
{
	struct kc_view v[2] = {*y, *y};

	kc_view_join(v, 2);
	v[1].data = NULL;
	return add_box(b, v, 1);
}

/* Zeros where `to` reaches beyond the first dim[] of its elements. */
static int add_rest(struct batch *b, const struct kc_buf *to, const int64_t *dim)
{
	struct kc_view left = kc_view_of(to);

	for (int d = 0; d < left.nd; d++) {
		struct kc_view rest = left;

		rest.dim[d] -= dim[d];
		rest.data = (char *)left.data + dim[d] * left.stride[d] * size_of(&left);
		left.dim[d] = dim[d];
		if (rest.dim[d] > 0)
			KC_TRY(add_zeros(b, &rest));
	}
	return 0;
}

/* ---- transpositions ---- */

/* The dimension along which the source is contiguous, if the destination is along another. */
static int across(const struct kc_view v[2])
{
	enum { WORTH = 16 };
	int last = v[0].nd - 1;

	if (v[0].nd < 2 || v[0].dtype != v[1].dtype || v[0].stride[last] != 1 ||
	    v[0].dim[last] < WORTH || v[1].stride[last] == 1 ||
	    (size_of(&v[0]) != 2 && size_of(&v[0]) != 4) || kc_view_count(&v[0]) > INT32_MAX)
		return -1;
	for (int d = 0; d < last; d++)
		if (v[1].stride[d] == 1 && v[0].dim[d] >= WORTH && v[0].dim[d] <= 1 << 20)
			return d;
	return -1;
}

static int turn(const struct kc_view v[2], int k, cudaStream_t stream)
{
	int last = v[0].nd - 1;
	struct kc_cu_turn t = {
		.to = v[0].data, .from = v[1].data, .size = (int32_t)size_of(&v[0]),
		.n = v[0].dim[last], .m = v[0].dim[k], .to_row = v[0].stride[k],
		.from_row = v[1].stride[last], .planes = 1};

	for (int d = 0; d < last; d++) {
		if (d == k)
			continue;
		t.dim[t.nd] = (uint32_t)v[0].dim[d];
		t.to_step[t.nd] = v[0].stride[d];
		t.from_step[t.nd++] = v[1].stride[d];
		t.planes *= v[0].dim[d];
	}
	return t.planes ? kc_cuda_launched(kc_cu_transpose(&t, stream), "transpose") : 0;
}

int kc_cuda_move(const struct kc_buf *to, const struct kc_buf *from, int n, double scale,
		 cudaStream_t stream)
{
	struct batch b = {.stream = stream};

	for (int i = 0; i < n; i++) {
		struct kc_view v[2] = {kc_view_of(&to[i]), kc_view_of(&from[i])};

		kc_view_join(v, 2);
		KC_TRY(add_box(&b, v, scale));
	}
	return flush(&b);
}

/* ---- rows ---- */

static bool fits(const struct kc_step_info *info)
{
	return kc_boxes_can(info);
}

static int prepare(struct kc_step_info *info)
{
	info->prepared = kc_boxes_new(info);
	return info->prepared ? 0 : KC_ENOMEM;
}

static struct kc_view side_of(const struct kc_buf *b, const struct kc_box *box,
			      const struct kc_box_side *side)
{
	struct kc_view v = {.dtype = b->type.dtype, .nd = box->ndim};

	v.data = (char *)b->data + side->at * size_of(&v);
	for (int d = 0; d < box->ndim; d++) {
		v.dim[d] = box->dim[d];
		v.stride[d] = side->stride[d];
	}
	return v;
}

static int zero(struct batch *b, const struct kc_buf *y)
{
	struct kc_view v = kc_view_of(y);

	KC_TRY(add_zeros(b, &v));
	return flush(b);
}

static int clear_pads(struct batch *b, const struct kc_buf *y)
{
	struct kc_buf all = kc_with_pads(y);

	return add_rest(b, &all, y->type.dim);
}

static int run(const struct kc_call *call)
{
	const struct kc_boxes *boxes = call->prepared;
	struct batch b;

	b.n = 0;
	b.stream = kc_cuda_stream(call);
	if (boxes->zero)
		KC_TRY(zero(&b, &call->out[0]));
	for (int i = 0; i < boxes->n; i++) {
		const struct kc_box *box = &boxes->box[i];
		struct kc_view v[2] = {side_of(&call->out[box->out], box, &box->to),
				       side_of(&call->in[box->in], box, &box->from)};
		int k;

		kc_view_join(v, 2);
		k = across(v);
		KC_TRY(k >= 0 ? turn(v, k, b.stream) : add_box(&b, v, 1));
	}
	for (int o = 0; o < call->n_out; o++)
		if (call->out[o].pads)
			KC_TRY(clear_pads(&b, &call->out[o]));
	return flush(&b);
}

static bool fits_any(const struct kc_step_info *info)
{
	(void)info;
	return true;
}

int kc_cuda_copy(const struct kc_call *call, const struct kc_buf *to, const struct kc_buf *from)
{
	struct kc_view v[2] = {kc_view_of(to), kc_view_of(from)};
	struct batch b;

	b.n = 0;
	b.stream = kc_cuda_stream(call);
	memcpy(v[0].dim, v[1].dim, sizeof v[0].dim);
	kc_view_join(v, 2);
	KC_TRY(add_box(&b, v, 1));
	KC_TRY(add_rest(&b, to, from->type.dim));
	return flush(&b);
}

/* Where an expansion stays a step of its own: the source repeats with strides of 0. */
static int run_repeat(const struct kc_call *call)
{
	struct kc_buf x = {.data = call->in[0].data, .type = call->out[0].type};

	x.type.dtype = call->in[0].type.dtype;
	kc_repeat_strides(&call->in[0], &x.type, x.stride);
	return kc_cuda_copy(call, &call->out[0], &x);
}

/* Bytes of frames become numbers. */
static int run_to_real(const struct kc_call *call)
{
	struct kc_view v[2] = {kc_view_of(&call->out[0]), kc_view_of(&call->in[0])};
	struct batch b;

	b.n = 0;
	b.stream = kc_cuda_stream(call);
	kc_view_join(v, 2);
	KC_TRY(add_box(&b, v, ((const struct kc_pw_attr *)call->attr)->p));
	return flush(&b);
}

/* Where neither side can be read with the other's dimensions. */
static int run_reshape(const struct kc_call *call)
{
	struct kc_view to = kc_view_of(&call->out[0]), from = kc_view_of(&call->in[0]);

	return kc_cuda_launched(kc_cu_reshape(&to, &from, kc_view_count(&to), kc_cuda_stream(call)),
				"reshape");
}

/* Mirrored and repeated margins: sums. */
static int run_unpad(const struct kc_call *call)
{
	const struct kc_pad_attr *a = call->attr;
	struct kc_cu_unpad u = {
		.plain = kc_view_of(&call->out[0]), .wide = kc_view_of(&call->in[0]),
		.n = kc_numel(&call->out[0].type), .mirror = a->mode == KC_PAD_REFLECT,
		.before = {a->top, a->left}, .after = {a->bottom, a->right}};

	return kc_cuda_launched(kc_cu_sum_readers(&u, kc_cuda_stream(call)), "unpad");
}

enum { BOTH = KC_PADS_READ | KC_PADS_WRITE };
#define ROW(op_)                                                              \
	const struct kc_kernel kc_cuda_##op_##_boxes = {.op = &kc_op_##op_,   \
							.name = "boxes",      \
							.pads = BOTH,         \
							.fits = fits,         \
							.prepare = prepare,   \
							.run = run,           \
							.release = free}
ROW(copy);
ROW(flip);
ROW(permute);
ROW(reshape);
ROW(concat);
ROW(slice);
ROW(unslice);
ROW(split);
ROW(pad);
ROW(unpad);

const struct kc_kernel kc_cuda_reshape_any = {
	.op = &kc_op_reshape, .name = "elements", .fits = fits_any, .run = run_reshape};
const struct kc_kernel kc_cuda_unpad_sums = {
	.op = &kc_op_unpad, .name = "sums of readers", .fits = fits_any, .run = run_unpad};
const struct kc_kernel kc_cuda_to_real = {
	.op = &kc_op_to_real, .name = "converted", .fits = fits_any, .run = run_to_real};
const struct kc_kernel kc_cuda_expand = {
	.op = &kc_op_expand, .name = "repeated", .fits = fits_any, .run = run_repeat};
const struct kc_kernel kc_cuda_stop = {
	.op = &kc_op_stop, .name = "repeated", .fits = fits_any, .run = run_repeat};
