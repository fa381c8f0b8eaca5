#include "models/global.h"

#include "core/random.h"

#include <string.h>

enum { SQUARE = 4 };

static int nearest_bin(double a, double b)
{
	double least = 0;
	int best = -1;

	for (int q = 0; q < KC_BINS; q++) {
		double da = a - kc_bins_a[q], db = b - kc_bins_b[q], d = da * da + db * db;

		if (best < 0 || d < least) {
			least = d;
			best = q;
		}
	}
	return best;
}

/* Mean ab in Lab units of the square whose corner is (x, y). */
static void square_mean(const float *ab, int w, int y, int x, double mean[2])
{
	const double part = 110.0 / (SQUARE * SQUARE);

	mean[0] = mean[1] = 0;
	for (int i = y; i < y + SQUARE; i++)
		for (int j = x; j < x + SQUARE; j++) {
			const float *pixel = ab + 2 * ((size_t)i * (size_t)w + (size_t)j);

			mean[0] += part * pixel[0];
			mean[1] += part * pixel[1];
		}
}

int kc_global_histogram(const float *ab, int h, int w, float out[KC_GLOBAL_HISTOGRAM])
{
	int squares = h / SQUARE * (w / SQUARE), count[KC_BINS] = {0};

	if (!squares)
		return KC_FAIL(KC_EINVAL,
			       "a histogram of %d x %d pixels, expected at least %d x %d",
			       w, h, SQUARE, SQUARE);
	for (int y = 0; y + SQUARE <= h; y += SQUARE)
		for (int x = 0; x + SQUARE <= w; x += SQUARE) {
			double mean[2];

			square_mean(ab, w, y, x, mean);
			count[nearest_bin(mean[0], mean[1])]++;
		}
	for (int q = 0; q < KC_BINS; q++)
		out[q] = (float)count[q] / (float)squares;
	out[KC_BINS] = 1;
	return 0;
}

void kc_global_saturation(const uint8_t *rgb, size_t pixels, float out[KC_GLOBAL_SATURATION])
{
	double sum = 0;

	for (size_t i = 0; i < pixels; i++, rgb += 3) {
		int most = KC_MAX(rgb[0], KC_MAX(rgb[1], rgb[2]));
		int least = KC_MIN(rgb[0], KC_MIN(rgb[1], rgb[2]));

		if (most > 0)
			sum += (double)(most - least) / most;
	}
	out[0] = (float)(sum / (double)KC_MAX(pixels, (size_t)1));
	out[1] = 1;
}

/* Draws of their own (b = 1), so that the places of hints do not depend on global ones. */
void kc_global_forget(uint64_t seed, uint64_t sample, float histogram[KC_GLOBAL_HISTOGRAM],
		      float saturation[KC_GLOBAL_SATURATION])
{
	struct kc_random r;

	kc_random_init(&r, seed, KC_STREAM_HINTS, sample, 1);
	if (kc_random_unit(&r) < 0.5)
		memset(histogram, 0, KC_GLOBAL_HISTOGRAM * sizeof *histogram);
	if (kc_random_unit(&r) < 0.5)
		memset(saturation, 0, KC_GLOBAL_SATURATION * sizeof *saturation);
}
