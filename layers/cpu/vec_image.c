/* Rows of channels: weighted sums, maxima, softmax, products. */
#include "layers/cpu/vec.h"

#include "layers/cpu/vec_math.h"

#define INLINE static inline __attribute__((always_inline))

enum { ROWS = KC_VEC_TILE_ROWS, COLUMNS = KC_VEC_TILE_COLUMNS, BLOCK = 256, SOME = 64 };

static inline float get(const void *x, bool low, int64_t i)
{
	if (low)
		return kc_vec_float((int32_t)((uint32_t)((const uint16_t *)x)[i] << 16));
	return ((const float *)x)[i];
}

static inline void put(void *y, bool low, int64_t i, float v)
{
	uint32_t u = (uint32_t)kc_vec_bits(v), even = u + 0x7fff + (u >> 16 & 1),
		 nan = u | 0x400000;

	if (low)
		((uint16_t *)y)[i] = (uint16_t)(((u & 0x7fffffff) > 0x7f800000 ? nan : even) >> 16);
	else
		((float *)y)[i] = v;
}

/* The loops are written once and compiled for each combination of dtypes. */
INLINE void blend4(void *y, bool y_low, const void *const *x, bool x_low, const float *w, int64_t n)
{
	const void *a = x[0], *b = x[1], *c = x[2], *d = x[3];
	float wa = w[0], wb = w[1], wc = w[2], wd = w[3];

	#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		put(y, y_low, i, (wa * get(a, x_low, i) + wb * get(b, x_low, i)) +
		    (wc * get(c, x_low, i) + wd * get(d, x_low, i)));
}

INLINE void add_to(float *y, const void *x, bool x_low, float w, int64_t n)
{
	#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		y[i] += w * get(x, x_low, i);
}

static void add(float *y, const void *x, bool x_low, float w, int64_t n)
{
	if (x_low)
		add_to(y, x, true, w, n);
	else
		add_to(y, x, false, w, n);
}

static inline const void *at_element(const void *x, bool low, int64_t i)
{
	return (const char *)x + i * (low ? 2 : 4);
}

static void blend_block(float *sum, const void *const *x, bool x_low, const float *w, int taps,
			int64_t from, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		sum[i] = 0;
	for (int k = 0; k < taps; k++)
		add(sum, at_element(x[k], x_low, from), x_low, w[k], n);
}

static void blend(void *y, bool y_low, const void *const *x, bool x_low, const float *w, int taps,
		  int64_t n)
{
	float sum[BLOCK];

	if (taps == 4 && !y_low && !x_low) {
		blend4(y, false, x, false, w, n);
	} else if (taps == 4 && y_low && x_low) {
		blend4(y, true, x, true, w, n);
	} else {
		for (int64_t b = 0; b < n; b += BLOCK) {
			int64_t some = n - b < BLOCK ? n - b : BLOCK;

			blend_block(sum, x, x_low, w, taps, b, some);
			for (int64_t i = 0; i < some; i++)
				put(y, y_low, b + i, sum[i]);
		}
	}
}

/* Neighbours of some positions along one axis: the two places and the weight of the second. */
INLINE void split(const float *at, int64_t step, int64_t n, double first, double pace, int64_t size,
		  int32_t *a, int32_t *b, float *part)
{
	double most = (double)(size - 1);

	#pragma omp simd
	for (int64_t k = 0; k < n; k++) {
		double x = (double)at[k * step] + first + pace * (double)k;
		double left = __builtin_floor(x), right = left + 1;

		part[k] = (float)(x - left);
		left = left > 0 ? left : 0;
		right = right > 0 ? right : 0;
		a[k] = (int32_t)(left < most ? left : most);
		b[k] = (int32_t)(right < most ? right : most);
	}
}

INLINE void warp_some(const struct kc_vec_warp *g, void *y, const void *image, bool low,
		      const float *at, int64_t i, int64_t j, int64_t n)
{
	int32_t xa[SOME], xb[SOME], ya[SOME], yb[SOME];
	float alpha[SOME], beta[SOME];
	int64_t c = g->channels;

	split(at, g->step, n, g->relative ? (double)j : 0, g->relative, g->w, xa, xb, alpha);
	split(at + g->y, g->step, n, g->relative ? (double)i : 0, 0, g->h, ya, yb, beta);
	for (int64_t k = 0; k < n; k++) {
		int64_t top = ya[k] * g->w, bottom = yb[k] * g->w;
		const void *from[4] = {at_element(image, low, (top + xa[k]) * c),
				       at_element(image, low, (top + xb[k]) * c),
				       at_element(image, low, (bottom + xa[k]) * c),
				       at_element(image, low, (bottom + xb[k]) * c)};
		float w[4] = {(1 - alpha[k]) * (1 - beta[k]), alpha[k] * (1 - beta[k]),
			      (1 - alpha[k]) * beta[k], alpha[k] * beta[k]};
		void *to = (char *)y + (j + k) * c * (low ? 2 : 4);

		if (c >= 16)
			blend4(to, low, from, low, w, c);
		else
			for (int64_t q = 0; q < c; q++)
				put(to, low, q, (w[0] * get(from[0], low, q) +
						 w[1] * get(from[1], low, q)) +
						(w[2] * get(from[2], low, q) +
						 w[3] * get(from[3], low, q)));
	}
}

static void warp(const struct kc_vec_warp *g, void *y, const void *image, const float *at,
		 int64_t i)
{
	for (int64_t j = 0; j < g->columns; j += SOME) {
		int64_t n = g->columns - j < SOME ? g->columns - j : SOME;

		if (g->low)
			warp_some(g, y, image, true, at + j * g->step, i, j, n);
		else
			warp_some(g, y, image, false, at + j * g->step, i, j, n);
	}
}

INLINE void unwarp_some(const struct kc_vec_warp *g, const void *y, bool low, float *image,
			const float *at, int64_t i, int64_t j, int64_t n, int64_t top, int64_t end)
{
	int32_t xs[2][SOME], ys[2][SOME];
	float alpha[SOME], beta[SOME];
	int64_t c = g->channels;

	split(at, g->step, n, g->relative ? (double)j : 0, g->relative, g->w, xs[0], xs[1], alpha);
	split(at + g->y, g->step, n, g->relative ? (double)i : 0, 0, g->h, ys[0], ys[1], beta);
	for (int64_t k = 0; k < n; k++)
		for (int q = 0; q < 4; q++) {
			int64_t row = ys[q >> 1][k];
			float w = (q & 1 ? alpha[k] : 1 - alpha[k]) *
				  (q >> 1 ? beta[k] : 1 - beta[k]);

			if (row >= top && row < end)
				add_to(image + (row * g->w + xs[q & 1][k]) * c,
				       at_element(y, low, (j + k) * c), low, w, c);
		}
}

static void unwarp(const struct kc_vec_warp *g, const void *y, float *image, const float *at,
		   int64_t i, int64_t top, int64_t end)
{
	for (int64_t j = 0; j < g->columns; j += SOME) {
		int64_t n = g->columns - j < SOME ? g->columns - j : SOME;

		if (g->low)
			unwarp_some(g, y, true, image, at + j * g->step, i, j, n, top, end);
		else
			unwarp_some(g, y, false, image, at + j * g->step, i, j, n, top, end);
	}
}

static double squares(const float *x, int64_t n)
{
	double s = 0;

	#pragma omp simd reduction(+ : s)
	for (int64_t i = 0; i < n; i++)
		s += (double)x[i] * (double)x[i];
	return s;
}

INLINE void keep(float *max, int32_t *place, const void *x, bool x_low, int32_t where, int64_t n)
{
	#pragma omp simd
	for (int64_t i = 0; i < n; i++) {
		float v = get(x, x_low, i), m = max[i];
		int take = (v > m) | ((v != v) & (m == m));

		max[i] = take ? v : m;
		place[i] = take ? where : place[i];
	}
}

static void keep_max(float *max, int32_t *place, const void *x, bool x_low, int32_t where,
		     int64_t n)
{
	if (x_low)
		keep(max, place, x, true, where, n);
	else
		keep(max, place, x, false, where, n);
}

static void softmax(float *x, int64_t n, bool logs)
{
	float most = -INFINITY, sum = 0, scale;

	#pragma omp simd reduction(max : most)
	for (int64_t i = 0; i < n; i++)
		most = x[i] > most ? x[i] : most;
	if (logs) {
		#pragma omp simd reduction(+ : sum)
		for (int64_t i = 0; i < n; i++)
			sum += kc_vec_exp(x[i] - most);
		scale = most + logf(sum);
		for (int64_t i = 0; i < n; i++)
			x[i] -= scale;
		return;
	}
	#pragma omp simd reduction(+ : sum)
	for (int64_t i = 0; i < n; i++) {
		x[i] = kc_vec_exp(x[i] - most);
		sum += x[i];
	}
	scale = 1 / sum;
	for (int64_t i = 0; i < n; i++)
		x[i] *= scale;
}

static void tile(float *y, const float *a, const float *bt, int64_t step, int64_t n)
{
	float s[ROWS][COLUMNS] = {{0}};

	for (int64_t k = 0; k < n; k++, bt += step)
		for (int r = 0; r < ROWS; r++) {
			float v = a[r * n + k];

			#pragma omp simd
			for (int j = 0; j < COLUMNS; j++)
				s[r][j] += v * bt[j];
		}
	memcpy(y, s, sizeof s);
}

const struct kc_vec_image KC_VEC(kc_vec_image) = {.blend = blend,
						  .warp = warp,
						  .unwarp = unwarp,
						  .add = add,
						  .squares = squares,
						  .keep_max = keep_max,
						  .softmax = softmax,
						  .tile = tile};
