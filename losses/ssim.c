#include "losses/metrics.h"

#include <math.h>
#include <stdlib.h>

enum { TAPS = 11, MOMENTS = 5 };

/* A separable window; covariances are multiplied by correction. */
struct window {
	int taps;
	double weight[TAPS], correction;
};

static struct window make_window(enum kc_ssim_window kind)
{
	struct window w = {.taps = kind == KC_SSIM_GAUSS ? 11 : 7, .correction = 1};
	double sum = 0;

	for (int i = 0; i < w.taps; i++) {
		double x = i - w.taps / 2;

		w.weight[i] = kind == KC_SSIM_GAUSS ? exp(-x * x / (2 * 1.5 * 1.5)) : 1;
		sum += w.weight[i];
	}
	for (int i = 0; i < w.taps; i++)
		w.weight[i] /= sum;
	if (kind == KC_SSIM_UNIFORM)
		w.correction = 49.0 / 48.0;
	return w;
}

/* Window sums along a row: of x, y, x^2, y^2 and x y, one after another per position. */
static void filter_row(const struct window *w, const uint8_t *a, const uint8_t *b, int columns,
		       double *out)
{
	for (int i = 0; i < columns; i++, out += MOMENTS) {
		for (int m = 0; m < MOMENTS; m++)
			out[m] = 0;
		for (int k = 0; k < w->taps; k++) {
			double x = a[3 * (i + k)], y = b[3 * (i + k)], g = w->weight[k];

			out[0] += g * x;
			out[1] += g * y;
			out[2] += g * x * x;
			out[3] += g * y * y;
			out[4] += g * x * y;
		}
	}
}

static double similarity(const double m[MOMENTS], double correction)
{
	const double c1 = 0.01 * 255 * 0.01 * 255, c2 = 0.03 * 255 * 0.03 * 255;
	double xx = correction * (m[2] - m[0] * m[0]), yy = correction * (m[3] - m[1] * m[1]);
	double xy = correction * (m[4] - m[0] * m[1]);

	return (2 * m[0] * m[1] + c1) * (2 * xy + c2) /
	       ((m[0] * m[0] + m[1] * m[1] + c1) * (xx + yy + c2));
}

/* The sum of the map over one channel, whose filtered rows are in `rows`. */
static double sum_map(const struct window *w, const double *rows, int columns, int lines)
{
	size_t pitch = (size_t)columns * MOMENTS;
	double sum = 0;

	for (int y = 0; y < lines; y++)
		for (int x = 0; x < columns; x++) {
			const double *p = rows + (size_t)y * pitch + (size_t)x * MOMENTS;
			double m[MOMENTS] = {0};

			for (int k = 0; k < w->taps; k++)
				for (int i = 0; i < MOMENTS; i++)
					m[i] += w->weight[k] * p[(size_t)k * pitch + (size_t)i];
			sum += similarity(m, w->correction);
		}
	return sum;
}

int kc_ssim(const uint8_t *a, const uint8_t *b, int width, int height, enum kc_ssim_window kind,
	    double *ssim)
{
	const struct window w = make_window(kind);
	int columns = width - w.taps + 1, lines = height - w.taps + 1;
	double *rows, sum = 0;

	if (columns < 1 || lines < 1)
		return KC_FAIL(KC_ESHAPE, "SSIM needs frames of at least %d x %d, not %d x %d",
			       w.taps, w.taps, width, height);
	rows = kc_calloc((size_t)height * (size_t)columns, MOMENTS * sizeof *rows);
	if (!rows)
		return KC_ENOMEM;
	for (int c = 0; c < 3; c++) {
		for (int y = 0; y < height; y++) {
			size_t at = (size_t)y * (size_t)width * 3 + (size_t)c;

			filter_row(&w, a + at, b + at, columns,
				   rows + (size_t)y * (size_t)columns * MOMENTS);
		}
		sum += sum_map(&w, rows, columns, lines);
	}
	free(rows);
	*ssim = sum / (3.0 * columns * lines);
	return 0;
}
