#include "losses/metrics.h"

#include <math.h>
#include <string.h>

static const int dilations[KC_CDC_DILATIONS] = {1, 2, 4};

void kc_mean_add(struct kc_mean *m, double x)
{
	if (isfinite(x)) {
		m->sum += x;
		m->n++;
	} else {
		m->left_out++;
	}
}

double kc_mean_get(const struct kc_mean *m)
{
	return m->n ? m->sum / (double)m->n : NAN;
}

uint64_t kc_squared_error(const uint8_t *a, const uint8_t *b, size_t pixels)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < 3 * pixels; i++) {
		int d = a[i] - b[i];

		sum += (uint64_t)(d * d);
	}
	return sum;
}

double kc_psnr(uint64_t error, size_t values)
{
	return error ? 20 * log10(255 / sqrt((double)error / (double)values)) : INFINITY;
}

double kc_psnr_frame(const uint8_t *a, const uint8_t *b, size_t pixels)
{
	return kc_psnr(kc_squared_error(a, b, pixels), 3 * pixels);
}

bool kc_is_anchor(int64_t i, int64_t n, int64_t interval)
{
	return i % (interval + 1) == 0 || i == n - 1;
}

double kc_colourfulness(const uint8_t *rgb, size_t pixels)
{
	int64_t sum_rg = 0, sum_yb = 0, squares_rg = 0, squares_yb = 0;
	double n = (double)pixels, rg, yb, variance;

	for (size_t i = 0; i < pixels; i++, rgb += 3) {
		int a = rgb[0] - rgb[1], b = rgb[0] + rgb[1] - 2 * rgb[2];     /* rg, twice yb */

		sum_rg += a;
		sum_yb += b;
		squares_rg += a * a;
		squares_yb += b * b;
	}
	rg = (double)sum_rg / n;
	yb = (double)sum_yb / n / 2;
	variance = (double)squares_rg / n - rg * rg + (double)squares_yb / n / 4 - yb * yb;
	return sqrt(fmax(variance, 0)) + 0.3 * sqrt(rg * rg + yb * yb);
}

static double divergence(const double p[256], const double q[256])
{
	double sum = 0;

	for (int i = 0; i < 256; i++) {
		double m = (p[i] + q[i]) / 2;

		if (p[i] > 0)
			sum += p[i] * log(p[i] / m);
		if (q[i] > 0)
			sum += q[i] * log(q[i] / m);
	}
	return sum / 2;
}

static void count_colours(const uint8_t *rgb, size_t pixels, double histogram[3][256])
{
	uint32_t count[3][256] = {0};

	for (size_t i = 0; i < pixels; i++)
		for (int c = 0; c < 3; c++)
			count[c][rgb[3 * i + (size_t)c]]++;
	for (int c = 0; c < 3; c++)
		for (int v = 0; v < 256; v++)
			histogram[c][v] = count[c][v] / (double)pixels;
}

void kc_cdc_add(struct kc_cdc *s, const uint8_t *rgb, size_t pixels)
{
	int64_t i = s->frames++;
	int now = (int)(i % KC_CDC_FRAMES);

	count_colours(rgb, pixels, s->histogram[now]);
	for (int d = 0; d < KC_CDC_DILATIONS; d++) {
		int then = (int)((i - dilations[d] + KC_CDC_FRAMES) % KC_CDC_FRAMES);

		if (i < dilations[d])
			continue;
		for (int c = 0; c < 3; c++)
			s->sum[d][c] += divergence(s->histogram[then][c], s->histogram[now][c]);
		s->pairs[d]++;
	}
}

struct kc_cdc_result kc_cdc_get(const struct kc_cdc *s)
{
	struct kc_mean rgb[3] = {0}, all = {0};
	struct kc_cdc_result r;

	for (int c = 0; c < 3; c++) {
		for (int d = 0; d < KC_CDC_DILATIONS; d++) {
			double n = (double)s->pairs[d];

			r.by_dilation[d][c] = n > 0 ? s->sum[d][c] / n : NAN;
			kc_mean_add(&rgb[c], r.by_dilation[d][c]);
		}
		r.rgb[c] = kc_mean_get(&rgb[c]);
		kc_mean_add(&all, r.rgb[c]);
	}
	r.cdc = kc_mean_get(&all);
	return r;
}
