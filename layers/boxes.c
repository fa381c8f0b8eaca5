#include "layers/boxes.h"

#include "layers/layers.h"
#include "layers/shape.h"

#include <stdlib.h>

/* A buffer, or part of it. */
struct part { int32_t ndim; int64_t dim[KC_MAX_DIM]; struct kc_box_side side; };

static struct part whole(const struct kc_buf *b)
{
	struct part p = {.ndim = b->type.ndim};

	memcpy(p.dim, b->type.dim, sizeof p.dim);
	memcpy(p.side.stride, b->stride, sizeof p.side.stride);
	return p;
}

/* The elements first, first + step, ... of an axis; count of them. */
static struct part part(const struct kc_buf *b, int64_t axis, int64_t first, int64_t count,
			int64_t step)
{
	struct part p = whole(b);

	p.side.at = first * b->stride[axis];
	p.dim[axis] = count;
	p.side.stride[axis] *= step;
	return p;
}

static struct kc_boxes *boxes(int room)
{
	return kc_calloc(1, sizeof(struct kc_boxes) + (size_t)room * sizeof(struct kc_box));
}

/* The dimensions are those of the output's part. */
static struct kc_boxes *add(struct kc_boxes *b, int out, struct part y, int in, struct part x)
{
	struct kc_box *box;

	if (!b)
		return NULL;
	box = &b->box[b->n++];
	*box = (struct kc_box){.in = in, .out = out, .ndim = y.ndim, .to = y.side, .from = x.side};
	memcpy(box->dim, y.dim, sizeof box->dim);
	return b;
}

static struct kc_boxes *copy(const struct kc_step_info *s)
{
	return add(boxes(1), 0, whole(&s->out[0]), 0, whole(&s->in[0]));
}

static struct kc_boxes *flip(const struct kc_step_info *s)
{
	int64_t axis = ((const struct kc_axis_attr *)s->attr)->axis, n = s->in[0].type.dim[axis];

	return add(boxes(1), 0, whole(&s->out[0]), 0, part(&s->in[0], axis, n - 1, n, -1));
}

static struct kc_boxes *permute(const struct kc_step_info *s)
{
	const struct kc_permute_attr *a = s->attr;
	struct part x = whole(&s->in[0]);

	for (int i = 0; i < x.ndim; i++)
		x.side.stride[i] = s->in[0].stride[a->order[i]];
	return add(boxes(1), 0, whole(&s->out[0]), 0, x);
}

static struct kc_boxes *concat(const struct kc_step_info *s)
{
	int64_t axis = ((const struct kc_axis_attr *)s->attr)->axis, first = 0;
	struct kc_boxes *b = boxes(s->n_in);

	for (int i = 0; i < s->n_in; i++) {
		int64_t n = s->in[i].type.dim[axis];

		add(b, 0, part(&s->out[0], axis, first, n, 1), i, whole(&s->in[i]));
		first += n;
	}
	return b;
}

static struct kc_boxes *slice(const struct kc_step_info *s)
{
	const struct kc_slice_attr *a = s->attr;

	return add(boxes(1), 0, whole(&s->out[0]), 0,
		   part(&s->in[0], a->axis, a->start, a->count, a->step));
}

static struct kc_boxes *unslice(const struct kc_step_info *s)
{
	const struct kc_slice_attr *a = s->attr;
	struct kc_boxes *b = boxes(1);

	if (b)
		b->zero = true;
	return add(b, 0, part(&s->out[0], a->axis, a->start, a->count, a->step), 0,
		   whole(&s->in[0]));
}

static struct kc_boxes *split(const struct kc_step_info *s)
{
	const struct kc_split_attr *a = s->attr;
	int64_t n = s->out[0].type.dim[a->axis];
	struct kc_boxes *b = boxes(s->n_out);

	for (int i = 0; i < s->n_out; i++)
		add(b, i, whole(&s->out[i]), 0, part(&s->in[0], a->axis, i * n, n, 1));
	return b;
}

/* ---- padding: the image itself, and margins that repeat a line or run backwards ---- */

/* A stretch of an axis: places `at`.. of the padded image read `from`, from + step, ... */
struct stretch { int64_t at, count, from, step; };

/* At most three per axis.  Cropping makes the margins empty and shortens the middle. */
static int stretches(struct stretch s[3], int64_t mode, int64_t n, int64_t before, int64_t after)
{
	int64_t cut = KC_MAX(-before, 0), tail = KC_MAX(-after, 0);
	int count = 0;

	s[count++] = (struct stretch){KC_MAX(before, 0), n - cut - tail, cut, 1};
	if (mode != KC_PAD_CONSTANT && before > 0)
		s[count++] = mode == KC_PAD_REFLECT ? (struct stretch){0, before, before, -1} :
						      (struct stretch){0, before, 0, 0};
	if (mode != KC_PAD_CONSTANT && after > 0)
		s[count++] = mode == KC_PAD_REFLECT ?
				     (struct stretch){before + n, after, n - 2, -1} :
				     (struct stretch){before + n, after, n - 1, 0};
	return count;
}

static void apply_stretch(const struct stretch *s, int axis, struct part *wide, struct part *plain)
{
	wide->side.at += s->at * wide->side.stride[axis];
	plain->side.at += s->from * plain->side.stride[axis];
	plain->side.stride[axis] *= s->step;
	wide->dim[axis] = plain->dim[axis] = s->count;
}

static struct kc_boxes *pad(const struct kc_step_info *s)
{
	const struct kc_pad_attr *a = s->attr;
	struct stretch v[3], h[3];
	int nv = stretches(v, a->mode, a->h, a->top, a->bottom), d = s->in[0].type.ndim;
	int nh = stretches(h, a->mode, a->w, a->left, a->right);
	struct kc_boxes *b = boxes(9);

	if (b)
		b->zero = a->mode == KC_PAD_CONSTANT;
	for (int i = 0; i < nv * nh; i++) {
		struct part x = whole(&s->in[0]), y = whole(&s->out[0]);

		apply_stretch(&v[i / nh], d - 2, &y, &x);
		apply_stretch(&h[i % nh], d - 1, &y, &x);
		if (v[i / nh].count > 0 && h[i % nh].count > 0)
			add(b, 0, y, 0, x);
	}
	return b;
}

/* The adjoint of constant padding is cropping, and of cropping, padding. */
static struct kc_boxes *unpad(const struct kc_step_info *s)
{
	const struct kc_pad_attr *a = s->attr;
	struct part plain = whole(&s->out[0]), wide = whole(&s->in[0]);
	struct kc_boxes *b = boxes(1);
	struct stretch v[3], h[3];

	stretches(v, a->mode, a->h, a->top, a->bottom);
	stretches(h, a->mode, a->w, a->left, a->right);
	apply_stretch(&v[0], plain.ndim - 2, &wide, &plain);
	apply_stretch(&h[0], plain.ndim - 1, &wide, &plain);
	if (b)
		b->zero = true;
	return v[0].count > 0 && h[0].count > 0 ? add(b, 0, plain, 0, wide) : b;
}

/* ---- reshape that cannot be a view: one side gets the other's dimensions, where it can ---- */

/* The strides with which dims reads the elements of b in logical order, or false. */
static bool strides_under(const struct kc_buf *b, const struct kc_type *dims, int64_t *stride)
{
	int i = b->type.ndim - 1;
	int64_t inside = 1;     /* elements of axis i of b that axes of dims fill so far */

	memset(stride, 0, KC_MAX_DIM * sizeof *stride);
	for (int j = dims->ndim - 1; j >= 0; j--) {
		if (dims->dim[j] == 1)
			continue;
		while (i >= 0 && inside == b->type.dim[i]) {
			i--;
			inside = 1;
		}
		if (i < 0 || !dims->dim[j] || b->type.dim[i] % (inside * dims->dim[j]))
			return false;
		stride[j] = b->stride[i] * inside;
		inside *= dims->dim[j];
	}
	return true;
}

static struct kc_boxes *reshape(const struct kc_step_info *s)
{
	struct part x = whole(&s->in[0]), y = whole(&s->out[0]);

	if (strides_under(&s->in[0], &s->out[0].type, x.side.stride))
		return add(boxes(1), 0, y, 0, x);
	x = whole(&s->in[0]);
	y = x;
	strides_under(&s->out[0], &s->in[0].type, y.side.stride);
	return add(boxes(1), 0, y, 0, x);
}

/* ---- all of them ---- */

static const struct {
	const struct kc_op *op;
	struct kc_boxes *(*make)(const struct kc_step_info *);
} makers[] = {
	{&kc_op_copy, copy}, {&kc_op_flip, flip}, {&kc_op_permute, permute},
	{&kc_op_reshape, reshape}, {&kc_op_concat, concat}, {&kc_op_slice, slice},
	{&kc_op_unslice, unslice}, {&kc_op_split, split}, {&kc_op_pad, pad},
	{&kc_op_unpad, unpad},
};

bool kc_boxes_can(const struct kc_step_info *s)
{
	int64_t stride[KC_MAX_DIM];

	if (s->op == &kc_op_unpad)
		return ((const struct kc_pad_attr *)s->attr)->mode == KC_PAD_CONSTANT;
	if (s->op == &kc_op_reshape)
		return strides_under(&s->in[0], &s->out[0].type, stride) ||
		       strides_under(&s->out[0], &s->in[0].type, stride);
	return true;
}

struct kc_boxes *kc_boxes_new(const struct kc_step_info *s)
{
	for (size_t i = 0; i < KC_COUNT(makers); i++)
		if (makers[i].op == s->op)
			return makers[i].make(s);
	return NULL;
}
