#include "data/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* For each output pixel the first input pixel and `most` weights. */
struct taps {
	int most;
	int *first;
	float *weight;
};

static double cubic(double t)
{
	t = fabs(t);
	if (t < 1)
		return (1.5 * t - 2.5) * t * t + 1;
	return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/* Half the width of the filter in input pixels. */
static double reach(enum kc_filter filter, double scale)
{
	switch (filter) {
	case KC_FILTER_BICUBIC: return 2 * KC_MAX(scale, 1.0);
	case KC_FILTER_AREA: return scale / 2;
	default: return 1;
	}
}

/* The weight of input pixel p for an output pixel centred at `centre`. */
static double weight_of(enum kc_filter filter, double scale, double centre, int p)
{
	switch (filter) {
	case KC_FILTER_BICUBIC:
		return cubic((p + 0.5 - centre) / KC_MAX(scale, 1.0));
	case KC_FILTER_AREA:
		return KC_MAX(KC_MIN(centre + scale / 2, p + 1.0) - KC_MAX(centre - scale / 2, p),
			      0);
	default:
		return KC_MAX(1 - fabs(p + 0.5 - centre), 0);
	}
}

static void fill_taps(struct taps *t, int in, int out, enum kc_filter filter)
{
	const double scale = (double)in / out, half = reach(filter, scale);

	for (int i = 0; i < out; i++) {
		const double centre = (i + 0.5) * scale;
		int low = (int)floor(centre - half - 0.5), high = (int)ceil(centre + half + 0.5);
		int first = KC_MIN(KC_MAX(low, 0), in - t->most);
		float *w = t->weight + (size_t)i * (size_t)t->most;
		double sum = 0;

		t->first[i] = first;
		for (int p = low; p <= high; p++) {
			int q = KC_MIN(KC_MAX(p, 0), in - 1);

			if (p != q && filter != KC_FILTER_BILINEAR)
				continue;
			w[q - first] += (float)weight_of(filter, scale, centre, p);
			sum += weight_of(filter, scale, centre, p);
		}
		for (int k = 0; k < t->most; k++)
			w[k] = (float)(w[k] / sum);
	}
}

static int taps_init(struct taps *t, int in, int out, enum kc_filter filter)
{
	double width = 2 * reach(filter, (double)in / out) + 4;

	t->most = width < in ? (int)width : in;
	t->first = kc_calloc((size_t)out, sizeof *t->first);
	t->weight = kc_calloc((size_t)out * (size_t)t->most, sizeof *t->weight);
	if (!t->first || !t->weight)
		return KC_ENOMEM;
	fill_taps(t, in, out, filter);
	return 0;
}

static void taps_release(struct taps *t)
{
	free(t->first);
	free(t->weight);
}

/* One row to its new width. */
static void resize_row(const uint8_t *src, const struct taps *t, int out, float *dst)
{
	for (int i = 0; i < out; i++, dst += 3) {
		const float *w = t->weight + (size_t)i * (size_t)t->most;
		const uint8_t *p = src + 3 * (size_t)t->first[i];
		float sum[3] = {0};

		for (int k = 0; k < t->most; k++, p += 3)
			for (int c = 0; c < 3; c++)
				sum[c] += w[k] * p[c];
		memcpy(dst, sum, sizeof sum);
	}
}

/* One output row from rows that already have their width. */
static void mix_rows(const float *rows, size_t row, const float *w, int most, uint8_t *dst)
{
	for (size_t x = 0; x < row; x++) {
		float sum = 0.5f;

		for (int k = 0; k < most; k++)
			sum += w[k] * rows[(size_t)k * row + x];
		dst[x] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
	}
}

int kc_image_resize(const struct kc_image *src, int width, int height, enum kc_filter filter,
		    struct kc_image *dst)
{
	struct taps across = {0}, down = {0};
	size_t row = (size_t)width * 3;
	float *rows = NULL;
	int rc = kc_image_resize_buffer(dst, width, height);

	if (rc >= 0)
		rc = taps_init(&across, src->width, width, filter);
	if (rc >= 0)
		rc = taps_init(&down, src->height, height, filter);
	if (rc >= 0 && !(rows = kc_calloc((size_t)src->height * row, sizeof *rows)))
		rc = KC_ENOMEM;
	if (rc >= 0) {
		for (int y = 0; y < src->height; y++)
			resize_row(src->rgb + (size_t)y * (size_t)src->width * 3, &across, width,
				   rows + (size_t)y * row);
		for (int y = 0; y < height; y++)
			mix_rows(rows + (size_t)down.first[y] * row, row,
				 down.weight + (size_t)y * (size_t)down.most, down.most,
				 dst->rgb + (size_t)y * row);
	}
	free(rows);
	taps_release(&across);
	taps_release(&down);
	return rc;
}
