#include "losses/consistency.h"

#include <math.h>

/* The four neighbours of a point, clamped to the frame, as pixel indices, and their weights. */
struct corners {
	size_t at[4];
	double weight[4];
};

static int clamp(double x, int n)
{
	return !(x > 0) ? 0 : x > n - 1 ? n - 1 : (int)x;
}

static struct corners find_corners(double x, double y, int width, int height)
{
	double left = floor(x), top = floor(y), a = x - left, b = y - top;
	size_t x0 = (size_t)clamp(left, width), x1 = (size_t)clamp(left + 1, width);
	size_t y0 = (size_t)clamp(top, height) * (size_t)width;
	size_t y1 = (size_t)clamp(top + 1, height) * (size_t)width;

	return (struct corners){{y0 + x0, y0 + x1, y1 + x0, y1 + x1},
				{(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b}};
}

static double square(double x)
{
	return x * x;
}

/* Squared forward differences of both components; zero across the border. */
static double boundary(const float *f, int x, int y, int width, int height)
{
	const float *p = f + 2 * ((size_t)y * (size_t)width + (size_t)x);
	double sum = 0;

	for (int c = 0; c < 2; c++) {
		if (x + 1 < width)
			sum += square((double)p[2 + c] - p[c]);
		if (y + 1 < height)
			sum += square((double)p[2 * width + c] - p[c]);
	}
	return sum;
}

static bool is_occluded(const float *forward, const float *backward, int x, int y, int width,
			int height)
{
	const float *f = forward + 2 * ((size_t)y * (size_t)width + (size_t)x);
	struct corners k = find_corners(x + (double)f[0], y + (double)f[1], width, height);
	double w[2] = {0}, length = square(f[0]) + square(f[1]);

	for (int i = 0; i < 4; i++)
		for (int c = 0; c < 2; c++)
			w[c] += k.weight[i] * backward[2 * k.at[i] + (size_t)c];
	return square(w[0] + f[0]) + square(w[1] + f[1]) >
		       0.01 * (square(w[0]) + square(w[1]) + length) + 0.5 ||
	       boundary(forward, x, y, width, height) > 0.01 * length + 0.002;
}

void kc_occlusion(const float *forward, const float *backward, int width, int height,
		  uint8_t *occluded)
{
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++)
			*occluded++ = is_occluded(forward, backward, x, y, width, height);
}

double kc_warp_error(const uint8_t *frame, const uint8_t *next, const float *forward,
		     const uint8_t *occluded, int width, int height)
{
	double sum = 0;
	int64_t n = 0;

	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++) {
			size_t at = (size_t)y * (size_t)width + (size_t)x;
			const float *f = forward + 2 * at;
			struct corners k;

			if (occluded[at])
				continue;
			k = find_corners(x + (double)f[0], y + (double)f[1], width, height);
			for (size_t c = 0; c < 3; c++) {
				double warped = 0;

				for (int i = 0; i < 4; i++)
					warped += k.weight[i] * next[3 * k.at[i] + c];
				sum += square((warped - frame[3 * at + c]) / 255);
			}
			n += 3;
		}
	return n ? sum / (double)n : NAN;
}
