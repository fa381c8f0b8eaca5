#include "layers/resample.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/product.h"
#include "layers/ref.h"

#include <math.h>

static const struct kc_opt resample_rows[] = {
	KC_ATTR(kc_resample_attr, kind, INT),
	KC_ATTR(kc_resample_attr, in[0], INT), KC_ATTR(kc_resample_attr, in[1], INT),
	KC_ATTR(kc_resample_attr, out[0], INT), KC_ATTR(kc_resample_attr, out[1], INT),
	KC_ATTR(kc_resample_attr, k, INT), KC_ATTR(kc_resample_attr, stride, INT),
	KC_ATTR(kc_resample_attr, pad, INT),
};

static struct kc_taps bilinear(double at, int64_t in)
{
	int64_t first = (int64_t)floor(at);
	double part = at - (double)first;

	if (first >= in - 1)
		return (struct kc_taps){in - 1, 1, {1, 1}};
	return (struct kc_taps){first, 2, {1 - part, part}};
}

static struct kc_taps average(int64_t from, int64_t to, double divisor)
{
	return (struct kc_taps){from, to - from, {1 / divisor, 1 / divisor}};
}

struct kc_taps kc_resample_taps(const struct kc_resample_attr *a, int axis, int64_t i)
{
	int64_t in = a->in[axis], out = a->out[axis], from, to;

	switch (a->kind) {
	case KC_NEAREST:
		return (struct kc_taps){i * in / out, 1, {1, 1}};
	case KC_BILINEAR:
		return bilinear(fmax(((double)i + 0.5) * (double)in / (double)out - 0.5, 0), in);
	case KC_BILINEAR_CORNERS:
		return bilinear(out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0, in);
	case KC_ADAPTIVE:
		from = i * in / out;
		to = ((i + 1) * in + out - 1) / out;
		return average(from, to, (double)(to - from));
	default:
		from = KC_MAX(i * a->stride - a->pad, 0);
		to = KC_MIN(i * a->stride - a->pad + a->k, in);
		return average(from, to, (double)(a->kind == KC_AVERAGE ? a->k : to - from));
	}
}

static int infer(struct kc_infer *f, const int64_t from[2], const int64_t to[2])
{
	const struct kc_type *x = &f->in[0]->type;
	char text[96];

	if (x->ndim != 4 || x->dim[2] != from[0] || x->dim[3] != from[1] || to[0] < 1 || to[1] < 1)
		return KC_FAIL(KC_ESHAPE, "%s cannot become %lldx%lld", kc_dims_text(x, text),
			       (long long)to[0], (long long)to[1]);
	f->out[0] = *x;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[2] = to[0];
	f->out[0].dim[3] = to[1];
	return 0;
}

static int resample_infer(struct kc_infer *f)
{
	const struct kc_resample_attr *a = f->attr;

	return infer(f, a->in, a->out);
}

static int resample_back_infer(struct kc_infer *f)
{
	const struct kc_resample_attr *a = f->attr;

	return infer(f, a->out, a->in);
}

static void resample_grad(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_apply(c->g, &kc_op_resample_back, c->node->attr, c->gy, 1);
}

static void resample_back_grad(struct kc_grad_ctx *c)
{
	c->gx[0] = kc_apply(c->g, &kc_op_resample, c->node->attr, c->gy, 1);
}

/* ---- reference: channels in blocks, so that sums stay in double ---- */

enum { BLOCK = 64 };

struct cell { double sum[BLOCK], row[BLOCK]; };

static void add(struct cell *s, const struct kc_buf *x, int64_t at, int64_t n, double weight)
{
	kc_row_read(x, at, x->stride[1], n, s->row);
	for (int64_t c = 0; c < n; c++)
		s->sum[c] += weight * s->row[c];
}

static void gather(const struct kc_call *call, int64_t n, int64_t i, int64_t j,
		   const struct kc_taps *ty)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	struct kc_taps tx = kc_resample_taps(call->attr, 1, j);
	int64_t channels = y->type.dim[1];

	for (int64_t c = 0; c < channels; c += BLOCK) {
		int64_t some = KC_MIN(channels - c, BLOCK);
		int64_t from = n * x->stride[0] + c * x->stride[1];
		struct cell s = {0};

		for (int64_t p = 0; p < ty->count; p++)
			for (int64_t q = 0; q < tx.count; q++)
				add(&s, x, from + (ty->first + p) * x->stride[2] +
				    (tx.first + q) * x->stride[3], some,
				    kc_tap_weight(ty, p) * kc_tap_weight(&tx, q));
		kc_row_write(y, n * y->stride[0] + c * y->stride[1] + i * y->stride[2] +
			     j * y->stride[3], y->stride[1], some, s.sum);
	}
}

static void resample_ref(const struct kc_call *call)
{
	const struct kc_type *t = &call->out[0].type;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t r = 0; r < t->dim[0] * t->dim[2]; r++) {
		int64_t n = r / t->dim[2], i = r % t->dim[2];
		struct kc_taps ty = kc_resample_taps(call->attr, 0, i);

		for (int64_t j = 0; j < t->dim[3]; j++)
			gather(call, n, i, j, &ty);
	}
}

/* The out elements that read element i of the in side: a range, because taps never go back. */
struct readers { int64_t first, end; };

static struct readers readers_of(const struct kc_resample_attr *a, int axis, int64_t i,
				 int64_t start)
{
	struct readers r = {.first = start};
	struct kc_taps t;

	for (; r.first < a->out[axis]; r.first++) {
		t = kc_resample_taps(a, axis, r.first);
		if (t.first + t.count > i)
			break;
	}
	for (r.end = r.first; r.end < a->out[axis]; r.end++) {
		t = kc_resample_taps(a, axis, r.end);
		if (t.first > i)
			break;
	}
	return r;
}

static double weight_at(const struct kc_resample_attr *a, int axis, int64_t out, int64_t in)
{
	struct kc_taps t = kc_resample_taps(a, axis, out);

	return kc_tap_weight(&t, in - t.first);
}

static void gather_back(const struct kc_call *call, int64_t n, int64_t i, int64_t j,
			struct readers ry, struct readers rx)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	int64_t channels = y->type.dim[1];

	for (int64_t c = 0; c < channels; c += BLOCK) {
		int64_t some = KC_MIN(channels - c, BLOCK);
		int64_t from = n * x->stride[0] + c * x->stride[1];
		struct cell s = {0};

		for (int64_t p = ry.first; p < ry.end; p++)
			for (int64_t q = rx.first; q < rx.end; q++)
				add(&s, x, from + p * x->stride[2] + q * x->stride[3], some,
				    weight_at(call->attr, 0, p, i) *
				    weight_at(call->attr, 1, q, j));
		kc_row_write(y, n * y->stride[0] + c * y->stride[1] + i * y->stride[2] +
			     j * y->stride[3], y->stride[1], some, s.sum);
	}
}

static void resample_back_ref(const struct kc_call *call)
{
	const struct kc_type *t = &call->out[0].type;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t r = 0; r < t->dim[0] * t->dim[2]; r++) {
		int64_t n = r / t->dim[2], i = r % t->dim[2];
		struct readers ry = readers_of(call->attr, 0, i, 0), rx = {0, 0};

		for (int64_t j = 0; j < t->dim[3]; j++) {
			rx = readers_of(call->attr, 1, j, rx.first);
			gather_back(call, n, i, j, ry, rx);
		}
	}
}

/* Sides are given by their dimensions at run time; what kind of coordinates follows the kind. */
static const char *resample_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_resample_attr *a = t->node->attr;
	const char *coordinates = "half_pixel", *mode = "linear", *from;

	if (a->kind == KC_NEAREST) {
		coordinates = "asymmetric";
		mode = "nearest";
	} else if (a->kind == KC_BILINEAR_CORNERS) {
		coordinates = "align_corners";
	} else if (a->kind != KC_BILINEAR) {
		return kc_onnx_refuse(x, t->node, "only nearest and bilinear resizing is");
	}
	from = kc_onnx_value(x, t->node->in[0]);
	return KC_ONNX(x, "Resize",
		       KC_ONNX_ATTRS(KC_ONNX_TEXT("coordinate_transformation_mode", coordinates),
				     KC_ONNX_TEXT("mode", mode),
				     KC_ONNX_TEXT("nearest_mode", "floor")),
		       from, "", "", kc_onnx_dims(x, &t->type));
}

const struct kc_op kc_op_resample = {
	.name = "resample", .n_in_min = 1, .n_in_max = 1,
	.attr_size = sizeof(struct kc_resample_attr), .attrs = resample_rows,
	.n_attrs = KC_COUNT(resample_rows), .infer = resample_infer, .grad = resample_grad,
	.ref = resample_ref, .onnx = resample_onnx,
};
const struct kc_op kc_op_resample_back = {
	.name = "resample_back", .n_in_min = 1, .n_in_max = 1,
	.attr_size = sizeof(struct kc_resample_attr), .attrs = resample_rows,
	.n_attrs = KC_COUNT(resample_rows), .infer = resample_back_infer,
	.grad = resample_back_grad, .ref = resample_back_ref,
};

/* ---- what models call ---- */

static struct kc_tensor *apply(struct kc_graph *g, struct kc_tensor *x, struct kc_resample_attr *a)
{
	a->in[0] = x->type.dim[2];
	a->in[1] = x->type.dim[3];
	return kc_apply(g, &kc_op_resample, a, &x, 1);
}

static struct kc_tensor *resize(struct kc_graph *g, struct kc_tensor *x, int64_t h, int64_t w,
				enum kc_resample_kind kind)
{
	struct kc_resample_attr a = {.kind = kind, .out = {h, w}};

	return x->type.dim[2] == h && x->type.dim[3] == w ? x : apply(g, x, &a);
}

struct kc_tensor *kc_resize_nearest(struct kc_graph *g, struct kc_tensor *x, int64_t h, int64_t w)
{
	return resize(g, x, h, w, KC_NEAREST);
}

struct kc_tensor *kc_resize_bilinear(struct kc_graph *g, struct kc_tensor *x, int64_t h, int64_t w,
				     bool align_corners)
{
	return resize(g, x, h, w, align_corners ? KC_BILINEAR_CORNERS : KC_BILINEAR);
}

struct kc_tensor *kc_adaptive_avg_pool(struct kc_graph *g, struct kc_tensor *x, int64_t h,
				       int64_t w)
{
	return resize(g, x, h, w, KC_ADAPTIVE);
}

struct kc_tensor *kc_avg_pool_args(struct kc_graph *g, struct kc_tensor *x,
				   const struct kc_pool_args *args)
{
	struct kc_resample_attr a = {.kind = args->exclude_pad ? KC_AVERAGE_INSIDE : KC_AVERAGE,
				     .k = args->k, .stride = args->stride ? args->stride : args->k,
				     .pad = args->pad};

	if (!kc_is_poison(x) && (a.k < 1 || a.stride < 1 || a.pad < 0 || 2 * a.pad > a.k))
		return kc_graph_fail(g, "average pooling: pad may be at most half the window");
	for (int j = 0; j < 2 && a.k > 0; j++)
		a.out[j] = x->type.dim[j + 2] + 2 * a.pad < a.k ? 0
			 : (x->type.dim[j + 2] + 2 * a.pad - a.k) / a.stride + 1;
	return apply(g, x, &a);
}
