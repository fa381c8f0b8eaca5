/* Warping and resizing of channels-last images: every output pixel blends rows of channels. */
#include "layers/sample.h"

#include "layers/cpu/rows.h"
#include "layers/cpu/vec.h"
#include "layers/resample.h"

#include <omp.h>
#include <stdlib.h>

enum { SOME = 16 };

static bool is_image(const struct kc_buf *b)
{
	return b->type.ndim == 4 && kc_cpu_is_float(b) && kc_is_dense(b, KC_CLAST);
}

static const void *pixel(const struct kc_buf *b, int64_t at)
{
	return (const char *)b->data + at * (b->type.dtype == KC_BF16 ? 2 : 4);
}

static bool is_low(const struct kc_buf *b)
{
	return b->type.dtype == KC_BF16;
}

/* ---- warping ---- */

struct warp { const struct kc_vec_image *vec; int threads; };

static bool fits_sample(const struct kc_step_info *info)
{
	return is_image(&info->in[0]) && is_image(&info->out[0]) && kc_cpu_is_float(&info->in[1]);
}

static bool fits_sample_back(const struct kc_step_info *info)
{
	return fits_sample(info) && info->out[0].type.dtype == KC_F32;
}

static int prepare_warp(struct kc_step_info *info)
{
	struct warp *w = kc_calloc(1, sizeof *w);

	if (!w)
		return KC_ENOMEM;
	w->vec = KC_VEC_PICK(kc_vec_image);
	w->threads = info->device->threads;
	info->prepared = w;
	return 0;
}

/* Offsets and weights of the neighbours inside the image; returns how many. */
static int neighbours(const struct kc_call *call, const struct kc_buf *image, int64_t n, int64_t i,
		      int64_t j, int64_t offset[4], float weight[4])
{
	const struct kc_sample_attr *a = call->attr;
	const struct kc_buf *at = &call->in[1];
	int64_t from = n * at->stride[0] + i * at->stride[2] + j * at->stride[3];
	double x = kc_get(at, from), y = kc_get(at, from + at->stride[1]);
	struct kc_corners k = kc_sample_corners(a, a->relative ? x + (double)j : x,
						a->relative ? y + (double)i : y);
	int count = 0;

	for (int q = 0; q < 4; q++) {
		if (k.x[q & 1] < 0 || k.y[q >> 1] < 0)
			continue;
		offset[count] = n * image->stride[0] + k.y[q >> 1] * image->stride[2] +
				k.x[q & 1] * image->stride[3];
		weight[count++] = (float)(k.wx[q & 1] * k.wy[q >> 1]);
	}
	return count;
}

/* The common case, neighbours clamped to the image, goes row by row. */
static bool is_plain_warp(const struct kc_step_info *info)
{
	const struct kc_sample_attr *a = info->attr;

	return a->border && !a->dx && !a->dy;
}

static bool fits_rows(const struct kc_step_info *info)
{
	return fits_sample(info) && is_plain_warp(info) &&
	       info->in[0].type.dtype == info->out[0].type.dtype;
}

/* A row of positions of each thread, when they come in bf16. */
static int prepare_rows(struct kc_step_info *info)
{
	if (is_low(&info->in[1]))
		info->workspace = (size_t)info->device->threads * 2 *
				  (size_t)info->in[1].type.dim[3] * sizeof(float);
	return prepare_warp(info);
}

static const float *positions(const struct kc_call *call, int64_t n, int64_t i)
{
	const struct kc_buf *at = &call->in[1];
	int64_t first = n * at->stride[0] + i * at->stride[2], columns = at->type.dim[3];
	float *row = (float *)call->workspace + omp_get_thread_num() * 2 * columns;

	if (!is_low(at))
		return (const float *)at->data + first;
	for (int64_t j = 0; j < columns; j++)
		for (int64_t k = 0; k < 2; k++)
			row[k * columns + j] = kc_from_bf16(((const uint16_t *)at->data)[
				first + j * at->stride[3] + k * at->stride[1]]);
	return row;
}

static struct kc_vec_warp describe(const struct kc_call *call, const struct kc_buf *image)
{
	const struct kc_buf *at = &call->in[1];

	return (struct kc_vec_warp){
		.h = image->type.dim[2], .w = image->type.dim[3], .channels = image->type.dim[1],
		.columns = at->type.dim[3], .step = is_low(at) ? 1 : at->stride[3],
		.y = is_low(at) ? at->type.dim[3] : at->stride[1], .low = is_low(&call->in[0]),
		.relative = ((const struct kc_sample_attr *)call->attr)->relative != 0};
}

static int run_rows(const struct kc_call *call)
{
	const struct warp *s = call->prepared;
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	const struct kc_vec_warp g = describe(call, x);
	const int64_t *d = y->type.dim;

	#pragma omp parallel for num_threads(s->threads) schedule(static) if (kc_cpu_is_big(y))
	for (int64_t r = 0; r < d[0] * d[2]; r++) {
		int64_t n = r / d[2], i = r % d[2];

		s->vec->warp(&g, (void *)(uintptr_t)pixel(y, r * d[3] * d[1]),
			     pixel(x, n * g.h * g.w * d[1]), positions(call, n, i), i);
	}
	return 0;
}

/*
 * Every thread has bands of the image's rows and adds to them in the order of the positions, so
 * sums do not depend on the number of threads.
 */
static bool fits_bands(const struct kc_step_info *info)
{
	return fits_sample(info) && is_plain_warp(info) && info->out[0].type.dtype == KC_F32;
}

static int run_bands(const struct kc_call *call)
{
	const struct warp *s = call->prepared;
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	const struct kc_vec_warp g = describe(call, y);
	int64_t images = y->type.dim[0], bands = (s->threads + images - 1) / images;

	#pragma omp parallel for num_threads(s->threads) schedule(static) if (kc_cpu_is_big(y))
	for (int64_t b = 0; b < images * bands; b++) {
		int64_t n = b / bands, k = b % bands;
		int64_t top = g.h * k / bands, end = g.h * (k + 1) / bands;
		float *image = (float *)y->data + n * y->stride[0];

		memset(image + top * g.w * g.channels, 0,
		       (size_t)((end - top) * g.w * g.channels) * sizeof *image);
		for (int64_t i = 0; i < x->type.dim[2]; i++)
			s->vec->unwarp(&g,
				       pixel(x, (n * x->type.dim[2] + i) * g.columns * g.channels),
				       image, positions(call, n, i), i, top, end);
	}
	return 0;
}

static int run_sample(const struct kc_call *call)
{
	const struct warp *s = call->prepared;
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	const int64_t *d = y->type.dim;

	#pragma omp parallel for num_threads(s->threads) schedule(static) if (kc_cpu_is_big(y))
	for (int64_t r = 0; r < d[0] * d[2]; r++)
		for (int64_t j = 0; j < d[3]; j++) {
			int64_t n = r / d[2], i = r % d[2], offset[4];
			const void *from[4];
			float w[4];
			int taps = neighbours(call, x, n, i, j, offset, w);

			for (int k = 0; k < taps; k++)
				from[k] = pixel(x, offset[k]);
			s->vec->blend((void *)(uintptr_t)pixel(y, (r * d[3] + j) * d[1]), is_low(y),
				      from, is_low(x), w, taps, d[1]);
		}
	return 0;
}

/*
 * Threads share out images and blocks of channels, so every sum has one order: that of the
 * positions.
 */
static void scatter(const struct warp *s, const struct kc_call *call, int64_t n, int64_t c0,
		    int64_t c1)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	const int64_t *d = x->type.dim;
	float *out = y->data;

	for (int64_t p = 0; p < y->type.dim[2] * y->type.dim[3]; p++)
		memset(out + n * y->stride[0] + p * d[1] + c0, 0, (size_t)(c1 - c0) * sizeof *out);
	for (int64_t p = 0; p < d[2] * d[3]; p++) {
		const void *from = pixel(x, n * x->stride[0] + p * d[1] + c0);
		int64_t offset[4];
		float w[4];
		int taps = neighbours(call, y, n, p / d[3], p % d[3], offset, w);

		for (int k = 0; k < taps; k++)
			s->vec->add(out + offset[k] + c0, from, is_low(x), w[k], c1 - c0);
	}
}

static int run_sample_back(const struct kc_call *call)
{
	const struct warp *s = call->prepared;
	int64_t images = call->out[0].type.dim[0], channels = call->out[0].type.dim[1];
	int64_t wanted = (s->threads + images - 1) / images;
	int64_t size = KC_MAX((channels + wanted - 1) / wanted, 1), blocks;

	size = (size + SOME - 1) / SOME * SOME;
	blocks = (channels + size - 1) / size;
	#pragma omp parallel for num_threads(s->threads) schedule(static) \
		if (kc_cpu_is_big(&call->out[0]))
	for (int64_t b = 0; b < images * blocks; b++)
		scatter(s, call, b / blocks, b % blocks * size,
			KC_MIN((b % blocks + 1) * size, channels));
	return 0;
}

/* ---- resizing: for each place of an axis, the places that it reads and their weights ---- */

struct taps { int64_t first, count, weight; };  /* weight: index into the table of weights */

struct resize {
	const struct kc_vec_image *vec;
	int threads;
	struct taps *axis[2];
	float *weights;
};

static void resize_release(void *prepared)
{
	struct resize *r = prepared;

	if (!r)
		return;
	free(r->axis[0]);
	free(r->axis[1]);
	free(r->weights);
	free(r);
}

/* The table of the map itself: n output places. */
static void forward_taps(const struct kc_resample_attr *a, int axis, struct taps *t, float *weights,
			 int64_t *used)
{
	for (int64_t i = 0; i < a->out[axis]; i++) {
		struct kc_taps k = kc_resample_taps(a, axis, i);

		t[i] = (struct taps){k.first, k.count, *used};
		for (int64_t j = 0; j < k.count; j++, ++*used)
			if (weights)
				weights[*used] = (float)kc_tap_weight(&k, j);
	}
}

/* That of its transpose: taps never go back, so the readers of a place are a range. */
static void backward_taps(const struct kc_resample_attr *a, int axis, struct taps *t,
			  float *weights, int64_t *used)
{
	int64_t start = 0;

	for (int64_t i = 0; i < a->in[axis]; i++) {
		struct kc_taps k = {0};

		for (; start < a->out[axis]; start++) {
			k = kc_resample_taps(a, axis, start);
			if (k.first + k.count > i)
				break;
		}
		t[i] = (struct taps){start, 0, *used};
		for (int64_t o = start; o < a->out[axis]; o++, ++t[i].count, ++*used) {
			k = kc_resample_taps(a, axis, o);
			if (k.first > i)
				break;
			if (weights)
				weights[*used] = i < k.first + k.count ?
							 (float)kc_tap_weight(&k, i - k.first) : 0;
		}
	}
}

static bool fits_resize(const struct kc_step_info *info)
{
	return is_image(&info->in[0]) && is_image(&info->out[0]);
}

static int fill_tables(struct resize *r, const struct kc_resample_attr *a, bool back)
{
	void (*fill)(const struct kc_resample_attr *, int, struct taps *, float *, int64_t *) =
		back ? backward_taps : forward_taps;

	for (int pass = 0; pass < 2; pass++) {
		int64_t used = 0;

		for (int axis = 0; axis < 2; axis++) {
			if (!r->axis[axis])
				r->axis[axis] = kc_calloc((size_t)(back ? a->in : a->out)[axis],
							  sizeof(struct taps));
			if (!r->axis[axis])
				return KC_ENOMEM;
			fill(a, axis, r->axis[axis], r->weights, &used);
		}
		if (!r->weights)
			r->weights = kc_calloc((size_t)used + 1, sizeof *r->weights);
		if (!r->weights)
			return KC_ENOMEM;
	}
	return 0;
}

static int64_t most_taps(const struct taps *t, int64_t n)
{
	int64_t most = 0;

	for (int64_t i = 0; i < n; i++)
		most = KC_MAX(most, t[i].count);
	return most;
}

/* Windows too large for one blend are left to the next row. */
static int tables(struct resize *r, const struct kc_step_info *info, bool back)
{
	const int64_t *d = info->out[0].type.dim;

	KC_TRY(fill_tables(r, info->attr, back));
	if (most_taps(r->axis[0], d[2]) * most_taps(r->axis[1], d[3]) > KC_VEC_TAPS)
		return KC_FAIL(KC_ENOSUP, "resize reads too many pixels at once");
	return 0;
}

static int prepare_tables(struct kc_step_info *info, bool back)
{
	struct resize *r = kc_calloc(1, sizeof *r);
	int rc;

	if (!r)
		return KC_ENOMEM;
	r->vec = KC_VEC_PICK(kc_vec_image);
	r->threads = info->device->threads;
	rc = tables(r, info, back);
	if (rc < 0) {
		resize_release(r);
		return rc;
	}
	info->prepared = r;
	return 0;
}

static int prepare_resize(struct kc_step_info *info)
{
	return prepare_tables(info, false);
}

static int prepare_resize_back(struct kc_step_info *info)
{
	return prepare_tables(info, true);
}

static void blend_pixel(const struct resize *r, const struct kc_call *call, int64_t n,
			const struct taps *ty, const struct taps *tx, int64_t to)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	const void *from[KC_VEC_TAPS];
	float w[KC_VEC_TAPS];
	int count = 0;

	for (int64_t p = 0; p < ty->count; p++)
		for (int64_t q = 0; q < tx->count; q++, count++) {
			from[count] = pixel(x, n * x->stride[0] + (ty->first + p) * x->stride[2] +
					    (tx->first + q) * x->stride[3]);
			w[count] = r->weights[ty->weight + p] * r->weights[tx->weight + q];
		}
	r->vec->blend((void *)(uintptr_t)pixel(y, to), is_low(y), from, is_low(x), w, count,
		      y->type.dim[1]);
}

static int run_resize(const struct kc_call *call)
{
	const struct resize *r = call->prepared;
	const int64_t *d = call->out[0].type.dim;

	#pragma omp parallel for num_threads(r->threads) schedule(static) \
		if (kc_cpu_is_big(&call->out[0]))
	for (int64_t row = 0; row < d[0] * d[2]; row++)
		for (int64_t j = 0; j < d[3]; j++)
			blend_pixel(r, call, row / d[2], &r->axis[0][row % d[2]], &r->axis[1][j],
				    (row * d[3] + j) * d[1]);
	return 0;
}

static const struct kc_kernel rows_row = {
	.op = &kc_op_sample, .name = "vector warp by rows", .fits = fits_rows,
	.prepare = prepare_rows, .run = run_rows, .release = free};
static const struct kc_kernel bands_row = {
	.op = &kc_op_sample_back, .name = "vector warp by bands", .fits = fits_bands,
	.prepare = prepare_rows, .run = run_bands, .release = free};
static const struct kc_kernel sample_row = {
	.op = &kc_op_sample, .name = "vector warp", .fits = fits_sample, .prepare = prepare_warp,
	.run = run_sample, .release = free};
static const struct kc_kernel sample_back_row = {
	.op = &kc_op_sample_back, .name = "vector warp", .fits = fits_sample_back,
	.prepare = prepare_warp, .run = run_sample_back, .release = free};
static const struct kc_kernel resize_row = {
	.op = &kc_op_resample, .name = "vector resize", .fits = fits_resize,
	.prepare = prepare_resize, .run = run_resize, .release = resize_release};
static const struct kc_kernel resize_back_row = {
	.op = &kc_op_resample_back, .name = "vector resize", .fits = fits_resize,
	.prepare = prepare_resize_back, .run = run_resize, .release = resize_release};

const struct kc_kernel *const kc_cpu_sample_rows[] = {
	&rows_row, &bands_row, &sample_row, &sample_back_row, &resize_row, &resize_back_row, NULL};
