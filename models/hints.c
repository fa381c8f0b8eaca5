#include "models/hints.h"

#include "core/random.h"

#include <string.h>

const struct kc_hint_args kc_hints_published = {.stop = 0.125, .min_side = 1, .max_side = 9};

struct image {
	const float *ab;
	float *hint, *mask;
	int h, w;
};

/* First row or column of a patch: normal around the centre, or uniform. */
static int draw_place(struct kc_random *r, int length, int side, bool uniform)
{
	int room = length - side;
	double x;

	if (uniform)
		return (int)kc_random_below(r, (uint64_t)room + 1);
	x = (room + 1) / 2.0 + (room + 1) / 4.0 * kc_random_normal(r);
	return (int)KC_MIN(KC_MAX(x, 0.0), (double)room);
}

static void put_patch(const struct image *m, int y, int x, int h, int w)
{
	double sum[2] = {0, 0};

	for (int i = y; i < y + h; i++)
		for (int j = x; j < x + w; j++)
			for (int c = 0; c < 2; c++)
				sum[c] += m->ab[((size_t)i * m->w + j) * 2 + c];
	for (int i = y; i < y + h; i++)
		for (int j = x; j < x + w; j++) {
			for (int c = 0; c < 2; c++)
				m->hint[((size_t)i * m->w + j) * 2 + c] = (float)(sum[c] / h / w);
			m->mask[(size_t)i * m->w + j] = 1;
		}
}

static bool one_more(struct kc_random *r, const struct kc_hint_args *a, int n)
{
	return a->count > 0 ? n < a->count : kc_random_unit(r) < 1 - a->stop;
}

static int reveal_all(const struct image *m)
{
	size_t n = (size_t)m->h * (size_t)m->w;

	memcpy(m->hint, m->ab, 2 * n * sizeof *m->hint);
	for (size_t i = 0; i < n; i++)
		m->mask[i] = 1;
	return 1;
}

int kc_hints_draw(const struct kc_hint_args *a, uint64_t seed, uint64_t sample, const float *ab,
		  int h, int w, float *hint, float *mask)
{
	struct image m = {ab, hint, mask, h, w};
	struct kc_random r;
	int n = 0;

	if (!(a->stop > 0 && a->stop <= 1) || a->min_side < 1 || a->max_side < a->min_side)
		return KC_FAIL(KC_EINVAL, "hints: stop %g must be in (0,1], sides %d..%d above 0",
			       a->stop, a->min_side, a->max_side);
	if (h < a->max_side || w < a->max_side)
		return KC_FAIL(KC_EINVAL, "hints: an image of %dx%d cannot hold patches of side %d",
			       w, h, a->max_side);
	memset(hint, 0, 2 * (size_t)h * (size_t)w * sizeof *hint);
	memset(mask, 0, (size_t)h * (size_t)w * sizeof *mask);
	kc_random_init(&r, seed, KC_STREAM_HINTS, sample, 0);
	if (a->reveal > 0 && kc_random_unit(&r) < a->reveal)
		return reveal_all(&m);
	for (; one_more(&r, a, n); n++) {
		int side = a->min_side +
			   (int)kc_random_below(&r, (uint64_t)(a->max_side - a->min_side) + 1);
		int y = draw_place(&r, h, side, a->uniform);

		put_patch(&m, y, draw_place(&r, w, side, a->uniform), side, side);
	}
	return n;
}

bool kc_hints_grey(const float *ab, size_t pixels, double least)
{
	double sum = 0;

	for (int c = 0; c < 2; c++) {
		float low = ab[c], high = ab[c];

		for (size_t i = 1; i < pixels; i++) {
			low = KC_MIN(low, ab[2 * i + (size_t)c]);
			high = KC_MAX(high, ab[2 * i + (size_t)c]);
		}
		sum += (double)high - low;
	}
	return sum < least;
}
