/* Pooling, norm over channels, softmax and correlation of channels-last images. */
#include "layers/cpu/rows.h"
#include "layers/cpu/vec.h"
#include "layers/motion.h"
#include "layers/pool.h"
#include "layers/shape.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { SOME = 16, MAX_CHANNELS = 4096 };

struct image {
	const struct kc_vec_image *vec;
	const struct kc_vec_pointwise *pw;
	int threads;
};

static bool is_image(const struct kc_buf *b)
{
	return b->type.ndim == 4 && kc_is_dense(b, KC_CLAST);
}

static bool is_low(const struct kc_buf *b)
{
	return b->type.dtype == KC_BF16;
}

static char *element(const struct kc_buf *b, int64_t at)
{
	return (char *)b->data + at * (is_low(b) ? 2 : 4);
}

static int prepare(struct kc_step_info *info)
{
	struct image *m = kc_calloc(1, sizeof *m);

	if (!m)
		return KC_ENOMEM;
	m->vec = KC_VEC_PICK(kc_vec_image);
	m->pw = KC_VEC_PICK(kc_vec_pointwise);
	m->threads = info->device->threads;
	info->prepared = m;
	return 0;
}

static void load(const struct image *m, float *to, const struct kc_buf *x, int64_t at, int64_t n)
{
	if (is_low(x))
		m->pw->widen(to, (const uint16_t *)x->data + at, n);
	else
		memcpy(to, (const float *)x->data + at, (size_t)n * sizeof *to);
}

static void save(const struct image *m, const struct kc_buf *y, int64_t at, const float *from,
		 int64_t n)
{
	if (is_low(y))
		m->pw->narrow((uint16_t *)y->data + at, from, n);
	else
		memcpy((float *)y->data + at, from, (size_t)n * sizeof *from);
}

/* ---- max pooling ---- */

static bool fits_pool(const struct kc_step_info *info)
{
	return is_image(&info->in[0]) && is_image(&info->out[0]) && is_image(&info->out[1]) &&
	       kc_cpu_is_float(&info->in[0]) && kc_cpu_is_float(&info->out[0]) &&
	       info->out[1].type.dtype == KC_I32;
}

/* Channels c0.. of one window; the first place of the largest wins. */
static void pool_window(const struct image *m, const struct kc_call *call, int64_t n, int64_t i,
			int64_t j, int64_t c0, int64_t count)
{
	const struct kc_pool_attr *a = call->attr;
	const struct kc_buf *x = &call->in[0], *y = &call->out[0], *places = &call->out[1];
	int64_t h = x->type.dim[2], w = x->type.dim[3];
	int64_t top = i * a->stride - a->pad, left = j * a->stride - a->pad;
	int64_t to = n * y->stride[0] + i * y->stride[2] + j * y->stride[3] + c0;
	int32_t *place = (int32_t *)places->data + to;
	float max[SOME * 16];
	bool first = true;

	for (int64_t p = KC_MAX(top, 0); p < KC_MIN(top + a->k, h); p++)
		for (int64_t q = KC_MAX(left, 0); q < KC_MIN(left + a->k, w); q++) {
			int64_t at = n * x->stride[0] + p * x->stride[2] + q * x->stride[3] + c0;

			if (first) {
				load(m, max, x, at, count);
				for (int64_t c = 0; c < count; c++)
					place[c] = (int32_t)(p * w + q);
			} else {
				m->vec->keep_max(max, place, element(x, at), is_low(x),
						 (int32_t)(p * w + q), count);
			}
			first = false;
		}
	save(m, y, to, max, count);
}

static int run_pool(const struct kc_call *call)
{
	const struct image *m = call->prepared;
	const int64_t *d = call->out[0].type.dim;

	#pragma omp parallel for num_threads(m->threads) schedule(static) \
		if (kc_cpu_is_big(&call->in[0]))
	for (int64_t r = 0; r < d[0] * d[2]; r++)
		for (int64_t j = 0; j < d[3]; j++)
			for (int64_t c = 0; c < d[1]; c += SOME * 16)
				pool_window(m, call, r / d[2], r % d[2], j, c,
					    KC_MIN(d[1] - c, SOME * 16));
	return 0;
}

/* y[place] += x in planes; every thread has its own channels, so sums have one order. */
static bool fits_put(const struct kc_step_info *info)
{
	return is_image(&info->in[0]) && is_image(&info->in[1]) && is_image(&info->out[0]) &&
	       kc_cpu_is_float(&info->in[0]) && info->in[1].type.dtype == KC_I32 &&
	       kc_cpu_is_float(&info->out[0]);
}

static void put_block(const struct kc_call *call, int64_t n, int64_t c0, int64_t c1)
{
	const struct kc_buf *x = &call->in[0], *places = &call->in[1], *y = &call->out[0];
	int64_t area = x->type.dim[2] * x->type.dim[3], whole = y->type.dim[2] * y->type.dim[3];
	int64_t channels = x->type.dim[1];
	const int32_t *place = (const int32_t *)places->data + n * places->stride[0];

	for (int64_t p = 0; p < whole; p++)
		memset(element(y, n * y->stride[0] + p * channels + c0), 0,
		       (size_t)(c1 - c0) * (is_low(y) ? 2 : 4));
	for (int64_t p = 0; p < area; p++)
		for (int64_t c = c0; c < c1; c++) {
			int64_t to = n * y->stride[0] + place[p * channels + c] * channels + c;

			kc_put(y, to, kc_get(y, to) +
			       kc_get(x, n * x->stride[0] + p * channels + c));
		}
}

static int run_put(const struct kc_call *call)
{
	const struct image *m = call->prepared;
	int64_t channels = call->out[0].type.dim[1], blocks = (channels + SOME - 1) / SOME;

	#pragma omp parallel for num_threads(m->threads) schedule(static) \
		if (kc_cpu_is_big(&call->in[0]))
	for (int64_t b = 0; b < call->out[0].type.dim[0] * blocks; b++)
		put_block(call, b / blocks, b % blocks * SOME,
			  KC_MIN((b % blocks + 1) * SOME, channels));
	return 0;
}

/* ---- along channels ---- */

static bool fits_norm(const struct kc_step_info *info)
{
	return is_image(&info->in[0]) && kc_cpu_is_float(&info->in[0]) &&
	       info->in[0].type.dim[1] <= MAX_CHANNELS && info->out[0].type.dtype == KC_F32 &&
	       (kc_is_dense(&info->out[0], KC_CLAST) || kc_is_dense(&info->out[0], KC_PLAIN));
}

static int run_norm(const struct kc_call *call)
{
	const struct image *m = call->prepared;
	int64_t channels = call->in[0].type.dim[1], pixels = kc_numel(&call->out[0].type);
	float *y = call->out[0].data;

	#pragma omp parallel for num_threads(m->threads) schedule(static) \
		if (kc_cpu_is_big(&call->in[0]))
	for (int64_t p = 0; p < pixels; p++) {
		float x[MAX_CHANNELS];

		load(m, x, &call->in[0], p * channels, channels);
		y[p] = (float)sqrt(m->vec->squares(x, channels));
	}
	return 0;
}

/* Lines that are contiguous on both sides. */
static bool fits_softmax(const struct kc_step_info *info)
{
	const struct kc_buf *x = &info->in[0], *y = &info->out[0];
	int64_t axis = ((const struct kc_axis_attr *)info->attr)->axis;
	bool clast = kc_is_dense(x, KC_CLAST) && kc_is_dense(y, KC_CLAST);
	bool plain = kc_is_dense(x, KC_PLAIN) && kc_is_dense(y, KC_PLAIN);

	return kc_cpu_is_float(x) && y->type.dtype == KC_F32 && x->type.dim[axis] > 1 &&
	       x->stride[axis] == 1 && y->stride[axis] == 1 && (clast || plain);
}

static void softmax_lines(const struct kc_call *call, bool logs)
{
	const struct image *m = call->prepared;
	int64_t axis = ((const struct kc_axis_attr *)call->attr)->axis;
	int64_t n = call->in[0].type.dim[axis], lines = kc_numel(&call->in[0].type) / n;

	#pragma omp parallel for num_threads(m->threads) schedule(static) \
		if (kc_cpu_is_big(&call->in[0]))
	for (int64_t i = 0; i < lines; i++) {
		float *y = (float *)call->out[0].data + i * n;

		load(m, y, &call->in[0], i * n, n);
		m->vec->softmax(y, n, logs);
	}
}

static int run_softmax(const struct kc_call *call)
{
	softmax_lines(call, false);
	return 0;
}

static int run_log_softmax(const struct kc_call *call)
{
	softmax_lines(call, true);
	return 0;
}

/*
 * ---- correlation: products of the rows of a with rows of b, transposed beforehand ----
 * All pairs of columns are multiplied and those at a wanted displacement are kept: half of the
 * work is wasted, and none of it waits.
 */

static int64_t wide(int64_t w)
{
	return (w + KC_VEC_TILE_COLUMNS - 1) / KC_VEC_TILE_COLUMNS * KC_VEC_TILE_COLUMNS;
}

static bool fits_correlation(const struct kc_step_info *info)
{
	return is_image(&info->in[0]) && is_image(&info->in[1]) && is_image(&info->out[0]) &&
	       kc_cpu_is_float(&info->in[0]) && kc_cpu_is_float(&info->in[1]) &&
	       kc_cpu_is_float(&info->out[0]) && info->in[0].type.dim[3] <= 1024;
}

/* Of b: every row as channels x columns.  Per thread: rows of a, one tile, one pixel of y. */
struct plan { size_t transposed, rows, line; };

static struct plan correlation_plan(const struct kc_type *a, const struct kc_type *y)
{
	int64_t w = wide(a->dim[3]);

	return (struct plan){
		.transposed = (size_t)(a->dim[0] * a->dim[2] * a->dim[1] * w),
		.rows = (size_t)((a->dim[3] + KC_VEC_TILE_ROWS) * a->dim[1]),
		.line = (size_t)(a->dim[3] * y->dim[1]),
	};
}

static int prepare_correlation(struct kc_step_info *info)
{
	struct plan p = correlation_plan(&info->in[0].type, &info->out[0].type);

	KC_TRY(prepare(info));
	info->workspace = sizeof(float) *
			  (p.transposed + (size_t)info->device->threads * (p.rows + p.line));
	return 0;
}

/* Row r of b (counted over images) with its columns behind each other, zeros behind them. */
static void transpose_row(const struct kc_buf *b, int64_t r, float *to)
{
	int64_t channels = b->type.dim[1], w = b->type.dim[3], step = wide(w);

	memset(to, 0, (size_t)(channels * step) * sizeof *to);
	for (int64_t j = 0; j < w; j++)
		for (int64_t c = 0; c < channels; c++)
			to[c * step + j] = (float)kc_get(b, (r * w + j) * channels + c);
}

/* What one row of a has in common with one row of b, into the line of y. */
static void correlate_rows(const struct image *m, const struct kc_call *call, const float *a,
			   const float *bt, int64_t dy, float *line)
{
	const struct kc_correlation_attr *attr = call->attr;
	const struct kc_type *t = &call->in[0].type, *out = &call->out[0].type;
	int64_t side = 2 * (attr->max_displacement / attr->step) + 1, half = side / 2,
		w = t->dim[3];
	float tile[KC_VEC_TILE_ROWS * KC_VEC_TILE_COLUMNS], scale = 1 / (float)t->dim[1];

	for (int64_t j = 0; j < w; j += KC_VEC_TILE_ROWS)
		for (int64_t q = 0; q < w; q += KC_VEC_TILE_COLUMNS) {
			if (q > j + KC_VEC_TILE_ROWS + half * attr->step ||
			    q + KC_VEC_TILE_COLUMNS <= j - half * attr->step)
				continue;
			m->vec->tile(tile, a + j * t->dim[1], bt + q, wide(w), t->dim[1]);
			for (int64_t r = 0; r < KC_MIN(KC_VEC_TILE_ROWS, w - j); r++)
				for (int64_t k = -half; k <= half; k++) {
					int64_t at = j + r + k * attr->step;

					if (at < q || at >= KC_MIN(q + KC_VEC_TILE_COLUMNS, w))
						continue;
					line[(j + r) * out->dim[1] + dy * side + k + half] =
						scale * tile[r * KC_VEC_TILE_COLUMNS + at - q];
				}
		}
}

static void correlate_line(const struct image *m, const struct kc_call *call, int64_t r,
			   float *rows, float *line, size_t line_size)
{
	const struct kc_correlation_attr *attr = call->attr;
	const struct kc_type *t = &call->in[0].type;
	int64_t h = t->dim[2], w = t->dim[3], i = r % h;
	int64_t side = 2 * (attr->max_displacement / attr->step) + 1;

	load(m, rows, &call->in[0], r * w * t->dim[1], w * t->dim[1]);
	memset(rows + w * t->dim[1], 0, (size_t)(KC_VEC_TILE_ROWS * t->dim[1]) * sizeof *rows);
	memset(line, 0, line_size * sizeof *line);
	for (int64_t dy = 0; dy < side; dy++) {
		int64_t other = i + (dy - side / 2) * attr->step;

		if (other >= 0 && other < h)
			correlate_rows(m, call, rows,
				       (const float *)call->workspace +
					       (r - i + other) * t->dim[1] * wide(w), dy, line);
	}
	save(m, &call->out[0], r * w * call->out[0].type.dim[1], line, (int64_t)line_size);
}

static int run_correlation(const struct kc_call *call)
{
	const struct image *m = call->prepared;
	const struct kc_type *t = &call->in[0].type;
	struct plan p = correlation_plan(t, &call->out[0].type);
	int64_t lines = t->dim[0] * t->dim[2];
	float *work = call->workspace;

	#pragma omp parallel num_threads(m->threads)
	{
		float *rows =
			work + p.transposed + (size_t)omp_get_thread_num() * (p.rows + p.line);

#pragma omp for schedule(static)
		for (int64_t r = 0; r < lines; r++)
			transpose_row(&call->in[1], r, work + r * t->dim[1] * wide(t->dim[3]));
		#pragma omp for schedule(static)
		for (int64_t r = 0; r < lines; r++)
			correlate_line(m, call, r, rows, rows + p.rows, p.line);
	}
	return 0;
}

static const struct kc_kernel pool_row = {
	.op = &kc_op_max_pool, .name = "vector pool", .fits = fits_pool, .prepare = prepare,
	.run = run_pool, .release = free};
static const struct kc_kernel put_row = {
	.op = &kc_op_plane_put, .name = "channel blocks", .fits = fits_put, .prepare = prepare,
	.run = run_put, .release = free};
static const struct kc_kernel norm_row = {
	.op = &kc_op_channel_norm, .name = "vector norm", .fits = fits_norm, .prepare = prepare,
	.run = run_norm, .release = free};
static const struct kc_kernel softmax_row = {
	.op = &kc_op_softmax, .name = "vector lines", .fits = fits_softmax, .prepare = prepare,
	.run = run_softmax, .release = free};
static const struct kc_kernel log_softmax_row = {
	.op = &kc_op_log_softmax, .name = "vector lines", .fits = fits_softmax, .prepare = prepare,
	.run = run_log_softmax, .release = free};
static const struct kc_kernel correlation_row = {
	.op = &kc_op_correlation, .name = "products of rows", .fits = fits_correlation,
	.prepare = prepare_correlation, .run = run_correlation, .release = free};

const struct kc_kernel *const kc_cpu_image_rows[] = {
	&pool_row, &put_row, &norm_row, &softmax_row, &log_softmax_row, &correlation_row, NULL};
