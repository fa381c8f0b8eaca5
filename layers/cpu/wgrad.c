/*
 * Weight gradients of convolutions with stride 1 as products of matrices that lie right already:
 * channels-last images are rows of pixels for both factors.  Rows are packed into panels that
 * stay in the caches, and the taps along a row only shift where the panel is read.
 *
 * Work is divided over output rows (each share has sums of its own, added in order at the end)
 * and, with many threads, over input channels.
 */
#include "layers/cpu/rows.h"
#include "layers/cpu/vec.h"

#include <omp.h>
#include <stdlib.h>

enum { PIXELS = 128, MAX_WINDOW = 7, MOST_SPLITS = 8 };

struct wgrad {
	const struct kc_vec_wgrad *vec;
	bool low;
	int splits, groups;             /* shares of rows, shares of input channels */
	int rows;                       /* output channels of one tile */
	kc_vec_outer *wide, *narrow;
	int64_t n, c, k, h, w;          /* w, h: of the input */
	int64_t oh, ow, kh, kw, ph, pw;
	int64_t tiles_c, tiles_k;       /* tiles_c: wide ones, the last may be narrow */
	int64_t width;                  /* steps of a packed row of x, padding included */
	int64_t steps;                  /* of a packed row of gy: pixels, or pairs of them */
	/* Sizes in elements of 4 bytes. */
	size_t sums, x_row, g_row;
};

static int64_t columns(const struct wgrad *g)
{
	return 2 * g->vec->lanes;
}

static bool is_narrow(const struct wgrad *g, int64_t tile)
{
	return g->c - tile * columns(g) <= g->vec->lanes;
}

static int64_t tile_width(const struct wgrad *g, int64_t tile)
{
	return is_narrow(g, tile) ? g->vec->lanes : columns(g);
}

/* With AMX the library's own kernel is the faster one for bf16. */
static bool fits(const struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;
	const struct kc_buf *x = &info->in[0], *gy = &info->in[1], *gw = &info->out[0];
	bool low = x->type.dtype == KC_BF16;

	if (a->nd != 2 || a->groups != 1 || !kc_cpu_is_float(x) ||
	    gy->type.dtype != x->type.dtype || gw->type.dtype != KC_F32 ||
	    (low && !kc_cpu_has_dot_bf16()) || !kc_is_dense(x, KC_CLAST) ||
	    !kc_is_dense(gy, KC_CLAST) || !kc_is_dense(gw, KC_PLAIN))
		return false;
	for (int i = 0; i < 2; i++)
		if (a->stride[i] != 1 || a->dilation[i] != 1 || gw->type.dim[2 + i] > MAX_WINDOW ||
		    a->pad[i] >= gw->type.dim[2 + i])
			return false;
	/* Packing pays when every packed row is read several times. */
	return x->type.dim[1] >= 16 && gy->type.dim[1] >= 16 && gy->type.dim[3] >= 24 &&
	       gw->type.dim[2] * gw->type.dim[3] > 1;
}

/* The row count that wastes least; of equal ones the larger. */
static void choose_tile(struct wgrad *g)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < g->vec->n; i++) {
		int64_t rows = g->vec->tile[i].rows, padded = (g->k + rows - 1) / rows * rows;

		if (padded > least)
			continue;
		least = padded;
		g->rows = (int)rows;
		g->wide = g->low ? g->vec->tile[i].low_wide : g->vec->tile[i].wide;
		g->narrow = g->low ? g->vec->tile[i].low_narrow : g->vec->tile[i].narrow;
	}
	g->tiles_k = (g->k + g->rows - 1) / g->rows;
}

static void divide(struct wgrad *g, int threads)
{
	g->splits = KC_MIN(threads, MOST_SPLITS);
	g->groups = (int)KC_MIN((int64_t)threads / g->splits, g->tiles_c);
}

static void measure(struct wgrad *g)
{
	int64_t channels = (g->tiles_c - 1) * columns(g) + tile_width(g, g->tiles_c - 1);
	int64_t forms = g->low ? 2 : 1;

	g->steps = g->low ? (g->ow + 1) / 2 : g->ow;
	g->width = g->steps + (g->low ? g->kw / 2 + 1 : g->kw);
	g->sums = (size_t)(g->kh * g->kw * channels * g->tiles_k * g->rows);
	g->x_row = (size_t)(forms * g->width * channels);
	g->g_row = (size_t)(g->steps * g->tiles_k * g->rows);
}

static size_t share_size(const struct wgrad *g)
{
	return (size_t)g->kh * g->x_row + g->g_row + (size_t)columns(g);
}

static int prepare(struct kc_step_info *info)
{
	const struct kc_conv_attr *a = info->attr;
	const int64_t *x = info->in[0].type.dim, *y = info->in[1].type.dim;
	const int64_t *w = info->out[0].type.dim;
	struct wgrad *g = kc_calloc(1, sizeof *g);

	if (!g)
		return KC_ENOMEM;
	*g = (struct wgrad){
		.vec = KC_VEC_PICK(kc_vec_wgrad), .low = info->in[0].type.dtype == KC_BF16,
		.n = x[0], .c = x[1], .h = x[2], .w = x[3], .k = y[1], .oh = y[2], .ow = y[3],
		.kh = w[2], .kw = w[3], .ph = a->pad[0], .pw = a->pad[1]};
	g->tiles_c = (g->c + columns(g) - 1) / columns(g);
	choose_tile(g);
	divide(g, kc_cpu_is_big(&info->in[0]) ? info->device->threads : 1);
	measure(g);
	info->workspace = sizeof(float) * ((size_t)g->splits * g->sums +
					   (size_t)(g->splits * g->groups) * share_size(g));
	info->prepared = g;
	return 0;
}

/* ---- packing ---- */

/* Channels c0.. of pixel j of a row of the image; zeros outside.  blank: a row of zeros. */
static const void *pixel(const struct wgrad *g, const void *row, int64_t j, int64_t c0,
			 const void *blank)
{
	if (j < 0 || j >= g->w)
		return blank;
	return (const char *)row + (j * g->c + c0) * (g->low ? 2 : 4);
}

/* Padded place u of the row is pixel u - pw; of pairs, place q is pixels 2q + odd and the next. */
static void pack_x_tile(const struct wgrad *g, const void *row, int64_t tile, int64_t odd,
			float *to, const void *blank)
{
	int64_t c0 = tile * columns(g), width = tile_width(g, tile);
	int64_t count = KC_MIN(g->c - c0, width);

	for (int64_t u = 0; u < g->width; u++, to += width) {
		if (g->low)
			g->vec->pair((uint32_t *)to, pixel(g, row, 2 * u + odd - g->pw, c0, blank),
				     pixel(g, row, 2 * u + odd + 1 - g->pw, c0, blank), count);
		else
			memcpy(to, pixel(g, row, u - g->pw, c0, blank), (size_t)count * sizeof *to);
		if (count < width)
			memset(to + count, 0, (size_t)(width - count) * sizeof *to);
	}
}

/* Where the panel of a tile begins in a packed row. */
static size_t x_panel(const struct wgrad *g, int64_t tile, int64_t odd)
{
	int64_t forms = g->low ? 2 : 1;

	return (size_t)(g->width * (forms * tile * columns(g) + odd * tile_width(g, tile)));
}

static void pack_x(const struct wgrad *g, const void *row, int64_t first, int64_t end, float *to,
		   const void *blank)
{
	for (int64_t t = first; t < end; t++)
		for (int64_t odd = 0; odd < (g->low ? 2 : 1); odd++)
			pack_x_tile(g, row, t, odd, to + x_panel(g, t, odd), blank);
}

static void pack_g(const struct wgrad *g, const void *row, float *to, const void *blank)
{
	int64_t last = g->low ? g->ow - 1 : 0;

	for (int64_t t = 0; t < g->tiles_k; t++) {
		int64_t k0 = t * g->rows, count = KC_MIN(g->k - k0, g->rows);

		for (int64_t p = 0; p < g->steps; p++, to += g->rows) {
			const uint16_t *low = (const uint16_t *)row + 2 * p * g->k + k0;
			const float *full = (const float *)row + p * g->k + k0;

			if (g->low)
				g->vec->pair((uint32_t *)to, low, 2 * p < last ? low + g->k : blank,
					     count);
			else
				memcpy(to, full, (size_t)count * sizeof *to);
			for (int64_t i = count; i < g->rows; i++)
				to[i] = 0;
		}
	}
}

/* ---- products ---- */

static float *sums_of(const struct wgrad *g, float *sums, int64_t tap, int64_t tile)
{
	int64_t channels = (g->tiles_c - 1) * columns(g) + tile_width(g, g->tiles_c - 1);

	return sums + (tap * channels + tile * columns(g)) * g->tiles_k * g->rows;
}

/* One row of gy with one packed row of x: all taps of window row r. */
static void multiply(const struct wgrad *g, const float *x, const float *gy, int64_t r,
		     int64_t first, int64_t end, float *sums)
{
	for (int64_t t = first; t < end; t++) {
		kc_vec_outer *outer = is_narrow(g, t) ? g->narrow : g->wide;
		int64_t width = tile_width(g, t), panel = g->rows * width;

		for (int64_t p = 0; p < g->steps; p += PIXELS) {
			int64_t n = KC_MIN(g->steps - p, PIXELS);

			for (int64_t s = 0; s < g->kw; s++) {
				int64_t odd = g->low ? s % 2 : 0, shift = g->low ? s / 2 : s;
				const float *from = x + x_panel(g, t, odd) + (p + shift) * width;
				float *to = sums_of(g, sums, r * g->kw + s, t);

				for (int64_t k = 0; k < g->tiles_k; k++)
					outer(to + k * panel, from,
					      gy + (k * g->steps + p) * g->rows, n);
			}
		}
	}
}

/* Output rows first_row..end_row - 1, counted over images; input tiles first..end - 1. */
static void share(const struct wgrad *g, const struct kc_call *call, int64_t first_row,
		  int64_t end_row, int64_t first, int64_t end, float *sums, float *work)
{
	const char *x = call->in[0].data, *gy = call->in[1].data;
	size_t size = g->low ? 2 : 4;
	float *packed_g = work + (size_t)g->kh * g->x_row, *blank = packed_g + g->g_row;
	int64_t held[MAX_WINDOW];       /* which row of x each slot of the ring holds */

	for (int64_t i = 0; i < g->kh; i++)
		held[i] = -1;
	memset(blank, 0, (size_t)columns(g) * sizeof *blank);
	for (int64_t row = first_row; row < end_row; row++) {
		int64_t n = row / g->oh, i = row % g->oh;

		pack_g(g, gy + (size_t)(row * g->ow * g->k) * size, packed_g, blank);
		for (int64_t r = 0; r < g->kh; r++) {
			int64_t at = i + r - g->ph, source = n * g->h + at, slot = source % g->kh;
			float *ring = work + (size_t)(at < 0 || at >= g->h ? 0 : slot) * g->x_row;

			if (at < 0 || at >= g->h)
				continue;
			if (held[slot] != source)
				pack_x(g, x + (size_t)(source * g->w * g->c) * size, first, end,
				       ring, blank);
			held[slot] = source;
			multiply(g, ring, packed_g, r, first, end, sums);
		}
	}
}

/* Output channel k of the gradient from the sums of all splits. */
static void collect(const struct wgrad *g, const float *sums, float *gw, int64_t k)
{
	int64_t taps = g->kh * g->kw;

	for (int64_t c = 0; c < g->c; c++)
		for (int64_t tap = 0; tap < taps; tap++) {
			int64_t t = c / columns(g), width = tile_width(g, t);
			const float *from = sums_of(g, (float *)(uintptr_t)sums, tap, t) +
					    k * width + c % columns(g);
			float s = 0;

			for (int i = 0; i < g->splits; i++)
				s += from[(size_t)i * g->sums];
			gw[(k * g->c + c) * taps + tap] = s;
		}
}

static int run(const struct kc_call *call)
{
	const struct wgrad *g = call->prepared;
	float *sums = call->workspace, *work = sums + (size_t)g->splits * g->sums;
	int team = g->splits * g->groups;

	#pragma omp parallel num_threads(team)
	{
		#pragma omp for schedule(static)
		for (int i = 0; i < g->splits; i++)
			memset(sums + (size_t)i * g->sums, 0, g->sums * sizeof *sums);
		#pragma omp for schedule(static)
		for (int i = 0; i < team; i++) {
			int64_t s = i / g->groups, part = i % g->groups, all = g->n * g->oh;

			share(g, call, all * s / g->splits, all * (s + 1) / g->splits,
			      g->tiles_c * part / g->groups, g->tiles_c * (part + 1) / g->groups,
			      sums + (size_t)s * g->sums, work + (size_t)i * share_size(g));
		}
		#pragma omp for schedule(static)
		for (int64_t k = 0; k < g->k; k++)
			collect(g, sums, call->out[0].data, k);
	}
	return 0;
}

static const struct kc_kernel wgrad_row = {
	.op = &kc_op_conv_wgrad, .name = "outer products", .fits = fits, .prepare = prepare,
	.run = run, .release = free};

const struct kc_kernel *const kc_cpu_wgrad_rows[] = {&wgrad_row, NULL};
