/*
 * Copies between any two layouts and dtypes.  Dimensions are ordered as they lie in the
 * destination and joined where both sides allow it, so what remains is rows that are as long
 * as possible; a pair of the innermost two dimensions is moved by one tight loop.
 */
#include "core/tensor.h"

#include <stdlib.h>

enum { PIECE = 1 << 14 };        /* elements that one thread moves at a time */

struct moves {
	int n;
	int64_t dim[KC_MAX_DIM], to[KC_MAX_DIM], from[KC_MAX_DIM];
};

/* The innermost two dimensions: rows of n elements, m of them. */
struct plane { int64_t m, to_row, from_row, n, to, from; };

static void swap(int64_t *a, int64_t *b)
{
	int64_t t = *a;

	*a = *b;
	*b = t;
}

static void sort_by_destination(struct moves *v)
{
	for (int i = 1; i < v->n; i++)
		for (int k = i; k > 0 && llabs(v->to[k - 1]) < llabs(v->to[k]); k--) {
			swap(&v->dim[k], &v->dim[k - 1]);
			swap(&v->to[k], &v->to[k - 1]);
			swap(&v->from[k], &v->from[k - 1]);
		}
}

static void join(struct moves *v)
{
	int n = 0;

	for (int i = 1; i < v->n; i++) {
		if (v->to[n] == v->to[i] * v->dim[i] && v->from[n] == v->from[i] * v->dim[i])
			v->dim[n] *= v->dim[i];
		else
			v->dim[++n] = v->dim[i];
		v->to[n] = v->to[i];
		v->from[n] = v->from[i];
	}
	v->n = v->n ? n + 1 : 0;
}

static struct moves moves_of(const struct kc_buf *dst, const struct kc_buf *src)
{
	struct moves v = {.n = 0};

	for (int i = 0; i < dst->type.ndim; i++) {
		if (dst->type.dim[i] == 1)
			continue;
		v.dim[v.n] = dst->type.dim[i];
		v.to[v.n] = dst->stride[i];
		v.from[v.n++] = src->stride[i];
	}
	sort_by_destination(&v);
	join(&v);
	return v;
}

/* Takes the innermost two dimensions off. */
static struct plane innermost(struct moves *v)
{
	struct plane p = {.m = 1, .n = 1, .to = 1, .from = 1};

	if (v->n) {
		v->n--;
		p.n = v->dim[v->n];
		p.to = v->to[v->n];
		p.from = v->from[v->n];
	}
	if (v->n) {
		v->n--;
		p.m = v->dim[v->n];
		p.to_row = v->to[v->n];
		p.from_row = v->from[v->n];
	}
	return p;
}

#define MOVE(name, to_type, from_type, convert) \
	static void name(const struct plane *p, void *to, const void *from) \
	{ \
		for (int64_t i = 0; i < p->m; i++) { \
			to_type *y = (to_type *)to + i * p->to_row; \
			const from_type *x = (const from_type *)from + i * p->from_row; \
\
			if (p->to == 1 && p->from == 1) \
				for (int64_t k = 0; k < p->n; k++) \
					y[k] = convert(x[k]); \
			else \
				for (int64_t k = 0; k < p->n; k++) \
					y[k * p->to] = convert(x[k * p->from]); \
		} \
	}
MOVE(move_1, uint8_t, uint8_t, )
MOVE(move_2, uint16_t, uint16_t, )
MOVE(move_4, uint32_t, uint32_t, )
MOVE(move_8, uint64_t, uint64_t, )
MOVE(narrow_f64, float, double, (float))
MOVE(widen_f32, double, float, (double))
MOVE(narrow_f32, uint16_t, float, kc_to_bf16)
MOVE(widen_bf16, float, uint16_t, kc_from_bf16)
MOVE(widen_u8, float, uint8_t, (float))

static void (*mover(int to, int from))(const struct plane *, void *, const void *)
{
	if (to == from)
		switch (kc_dtype_size((enum kc_dtype)to)) {
		case 1: return move_1;
		case 2: return move_2;
		case 4: return move_4;
		default: return move_8;
		}
	if (to == KC_F32)
		return from == KC_F64 ? narrow_f64 : from == KC_BF16 ? widen_bf16 :
		       from == KC_U8 ? widen_u8 : NULL;
	if (from == KC_F32)
		return to == KC_F64 ? widen_f32 : to == KC_BF16 ? narrow_f32 : NULL;
	return NULL;
}

static void move_any(const struct plane *p, const struct kc_buf *dst, int64_t to,
		     const struct kc_buf *src, int64_t from)
{
	for (int64_t i = 0; i < p->m; i++)
		for (int64_t k = 0; k < p->n; k++)
			kc_put(dst, to + i * p->to_row + k * p->to,
			       kc_get(src, from + i * p->from_row + k * p->from));
}

static void move_plane(const struct plane *p, const struct kc_buf *dst, int64_t to,
		       const struct kc_buf *src, int64_t from)
{
	void (*move)(const struct plane *, void *, const void *) = mover(dst->type.dtype,
									 src->type.dtype);

	if (move)
		move(p,
		     (char *)dst->data +
			     to * (int64_t)kc_dtype_size((enum kc_dtype)dst->type.dtype),
		     (const char *)src->data +
			     from * (int64_t)kc_dtype_size((enum kc_dtype)src->type.dtype));
	else
		move_any(p, dst, to, src, from);
}

/* One run without holes, cut for the threads. */
static void copy_run(const struct plane *p, const struct kc_buf *dst, const struct kc_buf *src)
{
	#pragma omp parallel for if (p->n > 4 * PIECE)
	for (int64_t i = 0; i < p->n; i += PIECE) {
		struct plane part = *p;

		part.n = KC_MIN(PIECE, p->n - i);
		move_plane(&part, dst, i * p->to, src, i * p->from);
	}
}

/* Some rows of one of the planes, from row `first` on. */
static void copy_rows(const struct moves *outer, int64_t plane, const struct plane *p,
		      int64_t first, const struct kc_buf *dst, const struct kc_buf *src)
{
	int64_t to = first * p->to_row, from = first * p->from_row;

	for (int d = outer->n - 1; d >= 0; d--) {
		to += plane % outer->dim[d] * outer->to[d];
		from += plane % outer->dim[d] * outer->from[d];
		plane /= outer->dim[d];
	}
	move_plane(p, dst, to, src, from);
}

void kc_copy(const struct kc_buf *dst, const struct kc_buf *src)
{
	struct moves outer = moves_of(dst, src);
	struct plane p = innermost(&outer);
	int64_t rows = KC_MAX(1, PIECE / KC_MAX(p.n, 1)), pieces = (p.m + rows - 1) / rows,
		planes = 1;

	KC_ASSERT(kc_same_dims(&dst->type, &src->type));
	for (int i = 0; i < outer.n; i++)
		planes *= outer.dim[i];
	if (planes == 1 && p.m == 1) {
		copy_run(&p, dst, src);
		return;
	}
	#pragma omp parallel for if (planes * p.m * p.n > 4 * PIECE)
	for (int64_t i = 0; i < planes * pieces; i++) {
		int64_t first = i % pieces * rows;
		struct plane part = p;

		part.m = KC_MIN(rows, p.m - first);
		copy_rows(&outer, i / pieces, &part, first, dst, src);
	}
}
