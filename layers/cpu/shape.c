/* Operators that move elements, as copies of boxes. */
#include "layers/shape.h"

#include "layers/cpu/move.h"
#include "layers/cpu/rows.h"

#include <stdlib.h>

enum { MAX_MOVES = 64 };

struct moves {
	int threads, n;
	bool zero;                      /* the moves do not cover the output */
	size_t bytes;
	struct step { struct kc_move move; int in, out; } step[];
};

static struct moves *moves_new(const struct kc_step_info *info, int n)
{
	struct moves *m = kc_calloc(1, sizeof *m + (size_t)n * sizeof *m->step);

	if (m)
		m->threads = info->device->threads;
	return m;
}

static bool fits(const struct kc_step_info *info)
{
	if (info->n_in > MAX_MOVES || info->n_out > MAX_MOVES)
		return false;
	for (int i = 0; i < info->n_in; i++)
		if (!kc_move_can(info->out[0].type.dtype, info->in[i].type.dtype))
			return false;
	return true;
}

/* Part of an axis of a buffer: offset, dimensions and strides. */
struct part { struct kc_type type; int64_t stride[KC_MAX_DIM], at; };

static struct part whole(const struct kc_buf *b)
{
	struct part p = {.type = b->type};

	memcpy(p.stride, b->stride, sizeof p.stride);
	return p;
}

static struct part part(const struct kc_buf *b, int64_t axis, int64_t first, int64_t count,
			int64_t step)
{
	struct part p = whole(b);

	p.at = first * b->stride[axis];
	p.type.dim[axis] = count;
	p.stride[axis] *= step;
	return p;
}

static void add(struct moves *m, int out, const struct part *y, int in, const struct part *x)
{
	struct step *s = &m->step[m->n++];

	s->in = in;
	s->out = out;
	kc_move_init(&s->move, &y->type, y->type.dtype, y->stride, y->at, x->type.dtype, x->stride,
		     x->at);
}

static int run(const struct kc_call *call)
{
	const struct moves *m = call->prepared;

	if (m->zero)
		memset(call->out[0].data, 0, m->bytes);
	for (int i = 0; i < m->n; i++)
		kc_move_run(&m->step[i].move, call->out[m->step[i].out].data,
			    call->in[m->step[i].in].data, m->threads);
	return 0;
}

static int prepare_copy(struct kc_step_info *info)
{
	struct moves *m = moves_new(info, 1);
	struct part x = whole(&info->in[0]), y = whole(&info->out[0]);

	if (!m)
		return KC_ENOMEM;
	add(m, 0, &y, 0, &x);
	info->prepared = m;
	return 0;
}

static int prepare_flip(struct kc_step_info *info)
{
	int64_t axis = ((const struct kc_axis_attr *)info->attr)->axis;
	int64_t n = info->in[0].type.dim[axis];
	struct moves *m = moves_new(info, 1);
	struct part x = part(&info->in[0], axis, n - 1, n, -1), y = whole(&info->out[0]);

	if (!m)
		return KC_ENOMEM;
	add(m, 0, &y, 0, &x);
	info->prepared = m;
	return 0;
}

static int prepare_permute(struct kc_step_info *info)
{
	const struct kc_permute_attr *a = info->attr;
	struct moves *m = moves_new(info, 1);
	struct part x = whole(&info->in[0]), y = whole(&info->out[0]);

	if (!m)
		return KC_ENOMEM;
	for (int i = 0; i < x.type.ndim; i++) {
		x.type.dim[i] = info->in[0].type.dim[a->order[i]];
		x.stride[i] = info->in[0].stride[a->order[i]];
	}
	add(m, 0, &y, 0, &x);
	info->prepared = m;
	return 0;
}

static int prepare_concat(struct kc_step_info *info)
{
	int64_t axis = ((const struct kc_axis_attr *)info->attr)->axis, first = 0;
	struct moves *m = moves_new(info, info->n_in);

	if (!m)
		return KC_ENOMEM;
	for (int i = 0; i < info->n_in; i++) {
		int64_t n = info->in[i].type.dim[axis];
		struct part x = whole(&info->in[i]), y = part(&info->out[0], axis, first, n, 1);

		add(m, 0, &y, i, &x);
		first += n;
	}
	info->prepared = m;
	return 0;
}

static int prepare_slice(struct kc_step_info *info)
{
	const struct kc_slice_attr *a = info->attr;
	struct moves *m = moves_new(info, 1);
	struct part x = part(&info->in[0], a->axis, a->start, a->count, a->step);
	struct part y = whole(&info->out[0]);

	if (!m)
		return KC_ENOMEM;
	add(m, 0, &y, 0, &x);
	info->prepared = m;
	return 0;
}

static bool fits_zeroed(const struct kc_step_info *info)
{
	return fits(info) && (kc_is_dense(&info->out[0], KC_PLAIN) ||
			      kc_is_dense(&info->out[0], KC_CLAST));
}

static void set_zero(struct moves *m, const struct kc_buf *y)
{
	m->zero = true;
	m->bytes = (size_t)kc_numel(&y->type) * kc_dtype_size((enum kc_dtype)y->type.dtype);
}

static int prepare_unslice(struct kc_step_info *info)
{
	const struct kc_slice_attr *a = info->attr;
	struct moves *m = moves_new(info, 1);
	struct part y = part(&info->out[0], a->axis, a->start, a->count, a->step);
	struct part x = whole(&info->in[0]);

	if (!m)
		return KC_ENOMEM;
	set_zero(m, &info->out[0]);
	add(m, 0, &y, 0, &x);
	info->prepared = m;
	return 0;
}

static int prepare_split(struct kc_step_info *info)
{
	const struct kc_split_attr *a = info->attr;
	int64_t n = info->out[0].type.dim[a->axis];
	struct moves *m = moves_new(info, info->n_out);

	if (!m)
		return KC_ENOMEM;
	for (int i = 0; i < info->n_out; i++) {
		struct part x = part(&info->in[0], a->axis, i * n, n, 1), y = whole(&info->out[i]);

		add(m, i, &y, 0, &x);
	}
	info->prepared = m;
	return 0;
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

static void apply_stretch(const struct stretch *s, int axis, struct part *y, struct part *x)
{
	y->at += s->at * y->stride[axis];
	y->type.dim[axis] = s->count;
	x->at += s->from * x->stride[axis];
	x->stride[axis] *= s->step;
}

static int prepare_pad(struct kc_step_info *info)
{
	const struct kc_pad_attr *a = info->attr;
	struct moves *m = moves_new(info, 9);
	struct stretch v[3], h[3];
	int nv = stretches(v, a->mode, a->h, a->top, a->bottom), d = info->in[0].type.ndim;
	int nh = stretches(h, a->mode, a->w, a->left, a->right);

	if (!m)
		return KC_ENOMEM;
	if (a->mode == KC_PAD_CONSTANT)
		set_zero(m, &info->out[0]);
	for (int i = 0; i < nv; i++)
		for (int j = 0; j < nh; j++) {
			struct part x = whole(&info->in[0]), y = whole(&info->out[0]);

			apply_stretch(&v[i], d - 2, &y, &x);
			apply_stretch(&h[j], d - 1, &y, &x);
			if (v[i].count > 0 && h[j].count > 0)
				add(m, 0, &y, 0, &x);
		}
	info->prepared = m;
	return 0;
}

/* The adjoint of constant padding is cropping, and of cropping, padding. */
static bool fits_unpad(const struct kc_step_info *info)
{
	return fits_zeroed(info) &&
	       ((const struct kc_pad_attr *)info->attr)->mode == KC_PAD_CONSTANT;
}

static int prepare_unpad(struct kc_step_info *info)
{
	const struct kc_pad_attr *a = info->attr;
	struct moves *m = moves_new(info, 1);
	struct stretch v[3], h[3];
	struct part x = whole(&info->out[0]), y = whole(&info->in[0]);
	int d = x.type.ndim;

	if (!m)
		return KC_ENOMEM;
	stretches(v, a->mode, a->h, a->top, a->bottom);
	stretches(h, a->mode, a->w, a->left, a->right);
	apply_stretch(&v[0], d - 2, &y, &x);
	apply_stretch(&h[0], d - 1, &y, &x);
	x.type.dim[d - 2] = y.type.dim[d - 2];
	x.type.dim[d - 1] = y.type.dim[d - 1];
	set_zero(m, &info->out[0]);
	if (v[0].count > 0 && h[0].count > 0)
		add(m, 0, &x, 0, &y);
	info->prepared = m;
	return 0;
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

static bool fits_reshape(const struct kc_step_info *info)
{
	int64_t s[KC_MAX_DIM];

	return fits(info) && (strides_under(&info->in[0], &info->out[0].type, s) ||
			      strides_under(&info->out[0], &info->in[0].type, s));
}

static int prepare_reshape(struct kc_step_info *info)
{
	struct moves *m = moves_new(info, 1);
	struct part x = whole(&info->in[0]), y = whole(&info->out[0]);
	int64_t s[KC_MAX_DIM];

	if (!m)
		return KC_ENOMEM;
	if (strides_under(&info->in[0], &y.type, s)) {
		memcpy(x.stride, s, sizeof s);
	} else {
		strides_under(&info->out[0], &x.type, s);
		memcpy(y.stride, s, sizeof s);
		x.type.dtype = info->in[0].type.dtype;
		y.type = info->in[0].type;
		y.type.dtype = info->out[0].type.dtype;
	}
	add(m, 0, &y, 0, &x);
	info->prepared = m;
	return 0;
}

#define ROW(op_, fits_, prepare_)                                       \
	static const struct kc_kernel op_##_row = {.op = &kc_op_##op_,  \
						   .name = "moves",     \
						   .fits = fits_,       \
						   .prepare = prepare_, \
						   .run = run,          \
						   .release = free}
ROW(copy, fits, prepare_copy);
ROW(flip, fits, prepare_flip);
ROW(permute, fits, prepare_permute);
ROW(reshape, fits_reshape, prepare_reshape);
ROW(concat, fits, prepare_concat);
ROW(slice, fits, prepare_slice);
ROW(unslice, fits_zeroed, prepare_unslice);
ROW(split, fits, prepare_split);
ROW(pad, fits_zeroed, prepare_pad);
ROW(unpad, fits_unpad, prepare_unpad);

const struct kc_kernel *const kc_cpu_shape_rows[] = {
	&copy_row, &flip_row, &permute_row, &reshape_row, &concat_row, &slice_row, &unslice_row,
	&split_row, &pad_row, &unpad_row, NULL};
