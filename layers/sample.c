#include "layers/sample.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/ref.h"

#include <math.h>

static const struct kc_opt sample_rows[] = {
	KC_ATTR(kc_sample_attr, relative, BOOL), KC_ATTR(kc_sample_attr, border, BOOL),
	KC_ATTR(kc_sample_attr, dx, INT), KC_ATTR(kc_sample_attr, dy, INT),
	KC_ATTR(kc_sample_attr, size[0], INT), KC_ATTR(kc_sample_attr, size[1], INT),
};

/* Clamped while still a double: positions may be huge or NaN. */
static int64_t neighbour(const struct kc_sample_attr *a, double at, int64_t size)
{
	if (a->border)
		return (int64_t)fmin(fmax(at, 0), (double)(size - 1));
	return at >= 0 && at < (double)size ? (int64_t)at : -1;
}

struct kc_corners kc_sample_corners(const struct kc_sample_attr *a, double x, double y)
{
	double left = floor(x), top = floor(y), alpha = x - left, beta = y - top;
	struct kc_corners c = {
		.x = {neighbour(a, left, a->size[1]), neighbour(a, left + 1, a->size[1])},
		.y = {neighbour(a, top, a->size[0]), neighbour(a, top + 1, a->size[0])},
		.wx = {a->dx ? -1 : 1 - alpha, a->dx ? 1 : alpha},
		.wy = {a->dy ? -1 : 1 - beta, a->dy ? 1 : beta},
	};

	return c;
}

static int check(const struct kc_type *image, const struct kc_type *at)
{
	char a[96], b[96];

	if (image->ndim != 4 || at->ndim != 4 || at->dim[1] != 2 || image->dim[0] != at->dim[0])
		return KC_FAIL(KC_ESHAPE, "image %s and positions %s", kc_dims_text(image, a),
			       kc_dims_text(at, b));
	return 0;
}

static int sample_infer(struct kc_infer *f)
{
	const struct kc_sample_attr *a = f->attr;
	const struct kc_type *image = &f->in[0]->type, *at = &f->in[1]->type;

	KC_TRY(check(image, at));
	if (image->dim[2] != a->size[0] || image->dim[3] != a->size[1])
		return KC_FAIL(KC_ESHAPE, "the image is not of the size it is sampled in");
	f->out[0] = *image;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[2] = at->dim[2];
	f->out[0].dim[3] = at->dim[3];
	return 0;
}

static int sample_back_infer(struct kc_infer *f)
{
	const struct kc_sample_attr *a = f->attr;
	const struct kc_type *y = &f->in[0]->type, *at = &f->in[1]->type;

	KC_TRY(check(y, at));
	if (y->dim[2] != at->dim[2] || y->dim[3] != at->dim[3])
		return KC_FAIL(KC_ESHAPE, "every value needs a position");
	f->out[0] = *y;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[2] = a->size[0];
	f->out[0].dim[3] = a->size[1];
	return 0;
}

/* d <y, sample(image, at)> / d x (axis 0) or y (axis 1) of every position. */
static struct kc_tensor *along(struct kc_graph *g, const struct kc_sample_attr *attr, int axis,
			       struct kc_tensor *image, struct kc_tensor *at, struct kc_tensor *y)
{
	struct kc_sample_attr a = *attr;
	int64_t *order = axis ? &a.dy : &a.dx;
	struct kc_type t = at->type;

	t.dim[1] = 1;
	if ((*order)++)
		return kc_fill(g, 0, t);
	return kc_sum_to(g, kc_mul(g, y, kc_apply(g, &kc_op_sample, &a,
						  (struct kc_tensor *[]){image, at}, 2)), &t);
}

static struct kc_tensor *by_position(struct kc_grad_ctx *c, struct kc_tensor *image,
				     struct kc_tensor *y)
{
	const struct kc_sample_attr *a = c->node->attr;
	struct kc_tensor *at = c->in[1];

	return KC_CONCAT(c->g, 1, along(c->g, a, 0, image, at, y), along(c->g, a, 1, image, at, y));
}

static void sample_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = kc_apply(c->g, &kc_op_sample_back, c->node->attr,
				    (struct kc_tensor *[]){c->gy[0], c->in[1]}, 2);
	if (c->need[1])
		c->gx[1] = by_position(c, c->in[0], c->gy[0]);
}

static void sample_back_grad(struct kc_grad_ctx *c)
{
	if (c->need[0])
		c->gx[0] = kc_apply(c->g, &kc_op_sample, c->node->attr,
				    (struct kc_tensor *[]){c->gy[0], c->in[1]}, 2);
	if (c->need[1])
		c->gx[1] = by_position(c, c->gy[0], c->in[0]);
}

/* ---- reference ---- */

static struct kc_corners corners_at(const struct kc_sample_attr *a, const struct kc_buf *at,
				    int64_t n, int64_t i, int64_t j)
{
	int64_t from = n * at->stride[0] + i * at->stride[2] + j * at->stride[3];
	double x = kc_get(at, from), y = kc_get(at, from + at->stride[1]);

	if (a->relative) {
		x += (double)j;
		y += (double)i;
	}
	return kc_sample_corners(a, x, y);
}

static void sample_ref(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *at = &call->in[1], *y = &call->out[0];
	const int64_t *d = y->type.dim;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t r = 0; r < d[0] * d[2]; r++)
		for (int64_t j = 0; j < d[3]; j++) {
			int64_t n = r / d[2], i = r % d[2];
			struct kc_corners k = corners_at(call->attr, at, n, i, j);

			for (int64_t c = 0; c < d[1]; c++) {
				int64_t from = n * x->stride[0] + c * x->stride[1];
				double sum = 0;

				for (int q = 0; q < 4; q++)
					if (k.x[q & 1] >= 0 && k.y[q >> 1] >= 0)
						sum += k.wx[q & 1] * k.wy[q >> 1] *
						       kc_get(x, from + k.y[q >> 1] * x->stride[2] +
							      k.x[q & 1] * x->stride[3]);
				kc_put(y, n * y->stride[0] + c * y->stride[1] + i * y->stride[2] +
				       j * y->stride[3], sum);
			}
		}
}

/* Channels [c0, c1) of one image: positions in order, so the sums do not depend on threads. */
static void scatter(const struct kc_call *call, int64_t n, int64_t c0, int64_t c1)
{
	const struct kc_buf *x = &call->in[0], *at = &call->in[1], *y = &call->out[0];

	for (int64_t i = 0; i < y->type.dim[2]; i++)
		for (int64_t j = 0; j < y->type.dim[3]; j++)
			for (int64_t c = c0; c < c1; c++)
				kc_put(y, n * y->stride[0] + c * y->stride[1] + i * y->stride[2] +
				       j * y->stride[3], 0);
	for (int64_t p = 0; p < x->type.dim[2] * x->type.dim[3]; p++) {
		int64_t i = p / x->type.dim[3], j = p % x->type.dim[3];
		int64_t from = n * x->stride[0] + i * x->stride[2] + j * x->stride[3];
		struct kc_corners k = corners_at(call->attr, at, n, i, j);

		for (int q = 0; q < 4; q++) {
			int64_t to = n * y->stride[0] + k.y[q >> 1] * y->stride[2] +
				     k.x[q & 1] * y->stride[3];
			double weight = k.wx[q & 1] * k.wy[q >> 1];

			if (k.x[q & 1] < 0 || k.y[q >> 1] < 0)
				continue;
			for (int64_t c = c0; c < c1; c++)
				kc_put(y, to + c * y->stride[1],
				       kc_get(y, to + c * y->stride[1]) +
				       weight * kc_get(x, from + c * x->stride[1]));
		}
	}
}

static void sample_back_ref(const struct kc_call *call)
{
	enum { SOME = 16 };
	int64_t channels = call->out[0].type.dim[1], blocks = (channels + SOME - 1) / SOME;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t b = 0; b < call->out[0].type.dim[0] * blocks; b++)
		scatter(call, b / blocks, b % blocks * SOME,
			KC_MIN((b % blocks + 1) * SOME, channels));
}

/* Width (axis 0) or height of a value at run time, a scalar. */
static const char *side_onnx(struct kc_onnx *x, const char *image, int axis)
{
	return KC_ONNX(x, "Gather", NULL, KC_ONNX(x, "Shape", NULL, image),
		       kc_onnx_int(x, axis ? 2 : 3));
}

static const char *to_float(struct kc_onnx *x, const char *v)
{
	return KC_ONNX(x, "Cast", KC_ONNX_ATTRS(KC_ONNX_INT("to", KC_ONNX_FLOAT)), v);
}

/* 0, 1, ... along an axis of `at`, shaped to repeat over the rest. */
static const char *places_onnx(struct kc_onnx *x, const char *at, int axis)
{
	static const int64_t column[] = {-1, 1};
	const char *i = KC_ONNX(x, "Range", NULL, kc_onnx_int(x, 0), side_onnx(x, at, axis),
				kc_onnx_int(x, 1));

	i = to_float(x, i);
	return axis ? KC_ONNX(x, "Reshape", NULL, i, kc_onnx_ints(x, 2, column)) : i;
}

/* Channel x (axis 0) or y of the positions, from pixels to [-1, 1] between the outer pixels. */
static const char *position_onnx(struct kc_onnx *x, const struct kc_node *n, int axis)
{
	const struct kc_sample_attr *a = n->attr;
	const char *image = kc_onnx_value(x, n->in[0]), *at = kc_onnx_value(x, n->in[1]);
	const int64_t first = axis, end = axis + 1, channels = 1;
	const char *v, *half;

	v = KC_ONNX(x, "Slice", NULL, at, kc_onnx_ints(x, 1, &first), kc_onnx_ints(x, 1, &end),
		    kc_onnx_ints(x, 1, &channels));
	if (a->relative)
		v = KC_ONNX(x, "Add", NULL, v, places_onnx(x, at, axis));
	half = KC_ONNX(x, "Sub", NULL, to_float(x, side_onnx(x, image, axis)),
		       kc_onnx_number(x, 1));
	half = KC_ONNX(x, "Mul", NULL, KC_ONNX(x, "Max", NULL, half, kc_onnx_number(x, 1)),
		       kc_onnx_number(x, 0.5));
	return KC_ONNX(x, "Sub", NULL, KC_ONNX(x, "Div", NULL, v, half), kc_onnx_number(x, 1));
}

static const char *sample_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	static const int64_t last[] = {0, 2, 3, 1};
	const struct kc_sample_attr *a = t->node->attr;
	const char *grid;

	if (a->dx || a->dy)
		return kc_onnx_refuse(x, t->node, "derivatives of a sample are not");
	grid = KC_ONNX(x, "Concat", KC_ONNX_ATTRS(KC_ONNX_INT("axis", 1)),
		       position_onnx(x, t->node, 0), position_onnx(x, t->node, 1));
	grid = KC_ONNX(x, "Transpose", KC_ONNX_ATTRS(KC_ONNX_LIST("perm", 4, last)), grid);
	return KC_ONNX(x, "GridSample",
		       KC_ONNX_ATTRS(KC_ONNX_TEXT("mode", "bilinear"),
				     KC_ONNX_TEXT("padding_mode", a->border ? "border" : "zeros"),
				     KC_ONNX_INT("align_corners", 1)),
		       kc_onnx_value(x, t->node->in[0]), grid);
}

/* Positions keep their precision, whatever the image's is. */
const struct kc_op kc_op_sample = {
	.name = "sample", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FIRST,
	.attr_size = sizeof(struct kc_sample_attr), .attrs = sample_rows,
	.n_attrs = KC_COUNT(sample_rows), .infer = sample_infer, .grad = sample_grad,
	.ref = sample_ref, .onnx = sample_onnx,
};
/* Many values may meet in one pixel: float32 sums. */
const struct kc_op kc_op_sample_back = {
	.name = "sample_back", .n_in_min = 2, .n_in_max = 2, .precision = KC_PREC_FULL,
	.attr_size = sizeof(struct kc_sample_attr), .attrs = sample_rows,
	.n_attrs = KC_COUNT(sample_rows), .infer = sample_back_infer, .grad = sample_back_grad,
	.ref = sample_back_ref,
};

static struct kc_tensor *sample(struct kc_graph *g, struct kc_tensor *img, struct kc_tensor *at,
				struct kc_sample_attr *a)
{
	a->size[0] = img->type.dim[2];
	a->size[1] = img->type.dim[3];
	return kc_apply(g, &kc_op_sample, a, (struct kc_tensor *[]){img, at}, 2);
}

struct kc_tensor *kc_warp(struct kc_graph *g, struct kc_tensor *img, struct kc_tensor *flow)
{
	return sample(g, img, flow, &(struct kc_sample_attr){.relative = 1, .border = 1});
}

struct kc_tensor *kc_grid_sample(struct kc_graph *g, struct kc_tensor *img, struct kc_tensor *grid,
				 bool border)
{
	struct kc_tensor *at = kc_permute(g, grid, (int[]){0, 3, 1, 2}), *axis[2];

	if (kc_is_poison(at) || kc_is_poison(img) || at->type.dim[1] != 2)
		return kc_graph_fail(g, "a sampling grid has shape (N, H, W, 2)");
	for (int j = 0; j < 2; j++) {
		double half = (double)(img->type.dim[3 - j] - 1) / 2;

		axis[j] = kc_pw1(g, KC_PW_affine, half, half, kc_slice(g, at, 1, j, 1, 1));
	}
	at = kc_concat(g, 1, axis, 2);
	return sample(g, img, at, &(struct kc_sample_attr){.border = border});
}
