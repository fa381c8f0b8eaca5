#include "data/ycbcr.h"

#include <stdlib.h>

static uint8_t clamp(int v)
{
	return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/*
 * One row of a chroma plane at full width.  `near` is the nearest row, `far` the other
 * neighbour; halved axes are interpolated with weights 3/4 and 1/4.  The rounding
 * alternates between positions so that it does not shift the mean.
 */
static void chroma_row(const struct kc_ycbcr *p, int c, int y, int16_t *sum, uint8_t *out)
{
	int rows = p->half_y ? (p->height + 1) / 2 : p->height;
	int columns = p->half_x ? (p->width + 1) / 2 : p->width;
	int i = p->half_y ? y / 2 : y;
	int other = KC_MIN(KC_MAX(i + (y & 1 ? 1 : -1), 0), rows - 1);
	const uint8_t *near = p->plane[c] + i * p->stride[c];
	const uint8_t *far = p->plane[c] + other * p->stride[c];

	for (int x = 0; x < columns; x++)
		sum[x] = (int16_t)(p->half_y ? 3 * near[x] + far[x] : near[x]);
	if (!p->half_x) {
		for (int x = 0; x < p->width; x++)
			out[x] = (uint8_t)(p->half_y ? (sum[x] + 1 + (y & 1)) >> 2 : sum[x]);
		return;
	}
	for (int x = 0; x < p->width; x++) {
		int here = sum[x / 2];
		int next = sum[KC_MIN(KC_MAX(x / 2 + (x & 1 ? 1 : -1), 0), columns - 1)];

		out[x] = (uint8_t)(p->half_y ? (3 * here + next + (x & 1 ? 7 : 8)) >> 4
					     : (3 * here + next + 1 + (x & 1)) >> 2);
	}
}

/* Rounded products of a sample with the weights of its plane. */
struct tables {
	int luma[256], cr_r[256], cr_g[256], cb_g[256], cb_b[256];
};

static void make_tables(struct tables *t, bool limited)
{
	double y_gain = limited ? 255.0 / 219 : 1, c_gain = limited ? 255.0 / 224 : 1;

	for (int i = 0; i < 256; i++) {
		int c = i - 128;

		t->luma[i] = (int)(y_gain * 65536 + 0.5) * (i - (limited ? 16 : 0)) + 32768;
		t->cr_r[i] = (int)(1.40200 * c_gain * 65536 + 0.5) * c;
		t->cb_b[i] = (int)(1.77200 * c_gain * 65536 + 0.5) * c;
		t->cr_g[i] = -(int)(0.71414 * c_gain * 65536 + 0.5) * c;
		t->cb_g[i] = -(int)(0.34414 * c_gain * 65536 + 0.5) * c;
	}
}

int kc_ycbcr_to_rgb(const struct kc_ycbcr *p, uint8_t *rgb)
{
	size_t w = (size_t)p->width;
	int16_t *sum = kc_alloc(w * (sizeof *sum + 2));
	uint8_t *cb = (uint8_t *)(sum + w), *cr = cb + w;
	struct tables t;

	if (!sum)
		return KC_ENOMEM;
	make_tables(&t, p->limited);
	for (int y = 0; y < p->height; y++) {
		const uint8_t *luma = p->plane[0] + y * p->stride[0];

		chroma_row(p, 1, y, sum, cb);
		chroma_row(p, 2, y, sum, cr);
		for (size_t x = 0; x < w; x++, rgb += 3) {
			int l = t.luma[luma[x]];

			rgb[0] = clamp((l + t.cr_r[cr[x]]) >> 16);
			rgb[1] = clamp((l + t.cb_g[cb[x]] + t.cr_g[cr[x]]) >> 16);
			rgb[2] = clamp((l + t.cb_b[cb[x]]) >> 16);
		}
	}
	free(sum);
	return 0;
}

void kc_ycbcr_from_rgb(const uint8_t *rgb, int width, int height, uint8_t *const plane[3],
		       const ptrdiff_t stride[3])
{
	const int middle = (128 << 16) + 32767;

	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++, rgb += 3) {
			int r = rgb[0], g = rgb[1], b = rgb[2];

			plane[0][y * stride[0] + x] =
				(uint8_t)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
			plane[1][y * stride[1] + x] =
				(uint8_t)((-11059 * r - 21709 * g + 32768 * b + middle) >> 16);
			plane[2][y * stride[2] + x] =
				(uint8_t)((32768 * r - 27439 * g - 5329 * b + middle) >> 16);
		}
}
