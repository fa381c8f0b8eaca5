/*
 * Sums over axes, and sums of squares.  Elements are taken in memory order: every row of the
 * fastest axis is either summed to a number or added to a row of sums.
 */
#include "layers/cpu/rows.h"
#include "layers/cpu/vec.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { PIECE = 1 << 14 };

struct axes { int n; int64_t dim[KC_MAX_DIM], x[KC_MAX_DIM], y[KC_MAX_DIM]; };

struct sum {
	const struct kc_vec_reduce *vec;
	int threads;
	bool low;
	bool across;                    /* the fastest axis stays: columns are summed */
	struct axes kept, summed;       /* the others */
	int64_t n_kept, n_summed;
	int64_t length;                 /* of the fastest axis */
	int64_t y_step;                 /* along it, if it stays */
	int64_t piece;                  /* of it, if it is summed */
};

static int64_t volume(const struct axes *a)
{
	int64_t n = 1;

	for (int i = 0; i < a->n; i++)
		n *= a->dim[i];
	return n;
}

static void axes_add(struct axes *a, int64_t dim, int64_t x, int64_t y)
{
	int last = a->n - 1;

	if (a->n && a->x[last] == x * dim && a->y[last] == y * dim) {
		a->dim[last] *= dim;
		a->x[last] = x;
		a->y[last] = y;
		return;
	}
	a->dim[a->n] = dim;
	a->x[a->n] = x;
	a->y[a->n++] = y;
}

/* Axes of x in memory order, slowest first; those of size 1 left out. */
static int memory_order(const struct kc_buf *x, int axis[KC_MAX_DIM])
{
	int n = 0;

	for (int i = 0; i < x->type.ndim; i++) {
		int at = n;

		if (x->type.dim[i] == 1)
			continue;
		for (; at > 0 && x->stride[axis[at - 1]] < x->stride[i]; at--)
			axis[at] = axis[at - 1];
		axis[at] = i;
		n++;
	}
	return n;
}

static bool stays(const struct kc_buf *x, const struct kc_buf *y, int axis)
{
	int shift = x->type.ndim - y->type.ndim;

	return axis >= shift && y->type.dim[axis - shift] == x->type.dim[axis];
}

static bool fits_sum(const struct kc_step_info *info)
{
	const struct kc_buf *x = &info->in[0];

	return kc_cpu_is_float(x) && info->out[0].type.dtype == KC_F32 && kc_numel(&x->type) > 1 &&
	       (kc_is_dense(x, KC_PLAIN) || kc_is_dense(x, KC_CLAST));
}

/* The fastest run of axes of one fate, then the others. */
static void divide(struct sum *s, const struct kc_buf *x, const struct kc_buf *y)
{
	int axis[KC_MAX_DIM], n = memory_order(x, axis), shift = x->type.ndim - y->type.ndim;
	struct axes inner = {0};
	int first = n - 1;

	s->across = stays(x, y, axis[n - 1]);
	while (first > 0 && stays(x, y, axis[first - 1]) == s->across)
		first--;
	for (int i = first; i < n; i++)
		axes_add(&inner, x->type.dim[axis[i]], x->stride[axis[i]],
			 s->across ? y->stride[axis[i] - shift] : 0);
	if (s->across && inner.n > 1) { /* places in y differ: only the last axis is a row */
		first = n - 1;
		inner.n = 0;
		axes_add(&inner, x->type.dim[axis[first]], 1, y->stride[axis[first] - shift]);
	}
	s->length = inner.dim[0];
	if (!s->across)
		for (int i = 1; i < inner.n; i++)
			s->length *= inner.dim[i];
	s->y_step = inner.y[0];
	for (int i = 0; i < first; i++) {
		bool keep = stays(x, y, axis[i]);

		axes_add(keep ? &s->kept : &s->summed, x->type.dim[axis[i]], x->stride[axis[i]],
			 keep ? y->stride[axis[i] - shift] : 0);
	}
}

static int64_t at(const struct axes *a, const int64_t *stride, int64_t index)
{
	int64_t offset = 0;

	for (int i = a->n - 1; i > 0; i--) {
		offset += index % a->dim[i] * stride[i];
		index /= a->dim[i];
	}
	return a->n ? offset + index * stride[0] : 0;
}

/* Rows that a thread adds up: over all of `summed`, or over its share of it. */
static bool by_kept(const struct sum *s)
{
	return s->n_kept >= 4 * s->threads || s->threads == 1;
}

/* One sum, or one row of sums. */
static int64_t width(const struct sum *s)
{
	return s->across ? s->length : 1;
}

static int prepare_sum(struct kc_step_info *info)
{
	struct sum *s = kc_calloc(1, sizeof *s);

	if (!s)
		return KC_ENOMEM;
	s->vec = KC_VEC_PICK(kc_vec_reduce);
	s->threads = kc_cpu_is_big(&info->in[0]) ? info->device->threads : 1;
	s->low = info->in[0].type.dtype == KC_BF16;
	divide(s, &info->in[0], &info->out[0]);
	s->n_kept = volume(&s->kept);
	s->piece = s->across ? s->length : PIECE;
	s->n_summed = volume(&s->summed) * ((s->length + s->piece - 1) / s->piece);
	info->workspace = sizeof(double) * (size_t)(s->threads * width(s) *
						    (by_kept(s) ? 1 : s->n_kept));
	info->prepared = s;
	return 0;
}

static const void *element(const struct sum *s, const struct kc_buf *x, int64_t i)
{
	return (const char *)x->data + i * (s->low ? 2 : 4);
}

/* The rows first..end - 1 of `summed` at place k of `kept`, added to acc. */
static void add_rows(const struct sum *s, const struct kc_buf *x, int64_t k, int64_t first,
		     int64_t end, double *acc)
{
	int64_t base = at(&s->kept, s->kept.x, k);
	int64_t pieces = (s->length + s->piece - 1) / s->piece;
	const struct axes *a = &s->summed;

	if (!s->across) {
		for (int64_t i = first; i < end; i++) {
			int64_t start = i % pieces * s->piece;
			int64_t n = KC_MIN(s->length - start, s->piece);

			*acc += s->vec->sum(element(s, x, base + at(a, a->x, i / pieces) + start),
					    s->low, n);
		}
		return;
	}
	while (first < end) {
		int64_t last = a->n ? a->dim[a->n - 1] : 1, step = a->n ? a->x[a->n - 1] : 0;
		int64_t run = KC_MIN(last - first % last, end - first);

		for (int64_t c = 0; c < s->length; c += KC_VEC_COLUMNS)
			s->vec->columns(acc + c, element(s, x, base + at(a, a->x, first) + c),
					s->low, step, run, KC_MIN(s->length - c, KC_VEC_COLUMNS));
		first += run;
	}
}

static void put_sums(const struct sum *s, const struct kc_buf *y, int64_t k, const double *acc)
{
	float *to = (float *)y->data + at(&s->kept, s->kept.y, k);

	for (int64_t i = 0; i < width(s); i++)
		to[i * s->y_step] = (float)acc[i];
}

static void sum_shares(const struct sum *s, const struct kc_call *call)
{
	double *work = call->workspace;
	int64_t w = width(s), size = w * s->n_kept;
	int team = 1;

	#pragma omp parallel num_threads(s->threads)
	{
		int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
		double *acc = work + me * size;

		if (!me)
			team = (int)all;
		memset(acc, 0, (size_t)size * sizeof *acc);
		for (int64_t k = 0; k < s->n_kept; k++)
			add_rows(s, &call->in[0], k, s->n_summed * me / all,
				 s->n_summed * (me + 1) / all, acc + k * w);
	}
	for (int64_t i = 0; i < size; i++)
		for (int t = 1; t < team; t++)
			work[i] += work[t * size + i];
	for (int64_t k = 0; k < s->n_kept; k++)
		put_sums(s, &call->out[0], k, work + k * w);
}

static int run_sum(const struct kc_call *call)
{
	const struct sum *s = call->prepared;
	int64_t w = width(s);

	if (!by_kept(s)) {
		sum_shares(s, call);
		return 0;
	}
	#pragma omp parallel for num_threads(s->threads) schedule(static)
	for (int64_t k = 0; k < s->n_kept; k++) {
		double *acc = (double *)call->workspace + omp_get_thread_num() * w;

		memset(acc, 0, (size_t)w * sizeof *acc);
		add_rows(s, &call->in[0], k, 0, s->n_summed, acc);
		put_sums(s, &call->out[0], k, acc);
	}
	return 0;
}

/* ---- sums of squares of many values ---- */

struct squares {
	const struct kc_vec_reduce *vec;
	int threads;
	int64_t pieces;                 /* of all inputs together */
};

static bool fits_squares(const struct kc_step_info *info)
{
	for (int k = 0; k < info->n_in; k++) {
		const struct kc_buf *x = &info->in[k];

		if (!kc_cpu_is_float(x) || (!kc_is_dense(x, KC_PLAIN) && !kc_is_dense(x, KC_CLAST)))
			return false;
	}
	return info->out[0].type.dtype == KC_F32;
}

static int64_t pieces_of(const struct kc_buf *x)
{
	return (kc_numel(&x->type) + PIECE - 1) / PIECE;
}

static int prepare_squares(struct kc_step_info *info)
{
	struct squares *s = kc_calloc(1, sizeof *s);

	if (!s)
		return KC_ENOMEM;
	s->vec = KC_VEC_PICK(kc_vec_reduce);
	s->threads = info->device->threads;
	for (int k = 0; k < info->n_in; k++)
		s->pieces += pieces_of(&info->in[k]);
	info->workspace = sizeof(double) * (size_t)s->pieces;
	info->prepared = s;
	return 0;
}

static double square_piece(const struct squares *s, const struct kc_call *call, int64_t piece)
{
	const struct kc_buf *x = call->in;
	bool low;
	int64_t first;

	for (; piece >= pieces_of(x); x++)
		piece -= pieces_of(x);
	first = piece * PIECE;
	low = x->type.dtype == KC_BF16;
	return s->vec->squares((const char *)x->data + first * (low ? 2 : 4), low,
			       KC_MIN(kc_numel(&x->type) - first, PIECE));
}

static double sum_squares(const struct kc_call *call)
{
	const struct squares *s = call->prepared;
	double *part = call->workspace, all = 0;

	#pragma omp parallel for num_threads(s->threads) schedule(static) if (s->pieces > 1)
	for (int64_t i = 0; i < s->pieces; i++)
		part[i] = square_piece(s, call, i);
	for (int64_t i = 0; i < s->pieces; i++)
		all += part[i];
	return all;
}

static int run_norm(const struct kc_call *call)
{
	*(float *)call->out[0].data = (float)sqrt(sum_squares(call));
	return 0;
}

/* A sum of squares is finite unless an element is not: doubles do not overflow on floats. */
static int run_finite(const struct kc_call *call)
{
	*(float *)call->out[0].data = isfinite(sum_squares(call)) ? 1 : 0;
	return 0;
}

static const struct kc_kernel sum_row = {
	.op = &kc_op_sum_to, .name = "vector sums", .fits = fits_sum, .prepare = prepare_sum,
	.run = run_sum, .release = free};
static const struct kc_kernel norm_row = {
	.op = &kc_op_norm, .name = "vector squares", .fits = fits_squares,
	.prepare = prepare_squares, .run = run_norm, .release = free};
static const struct kc_kernel finite_row = {
	.op = &kc_op_all_finite, .name = "vector squares", .fits = fits_squares,
	.prepare = prepare_squares, .run = run_finite, .release = free};

const struct kc_kernel *const kc_cpu_reduce_rows[] = {&sum_row, &norm_row, &finite_row, NULL};
