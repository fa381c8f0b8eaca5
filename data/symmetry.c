#include "data/symmetry.h"

#include <string.h>

/* Where output row 0, column 0 lies in src, and the steps from there, in pixels. */
struct walk {
	ptrdiff_t start, per_row, per_column;
	int rows, columns;
};

static struct walk plan_walk(const struct kc_crop *c, unsigned symmetry)
{
	bool mirror_x = symmetry & KC_MIRROR_X, mirror_y = symmetry & KC_MIRROR_Y;
	ptrdiff_t left = mirror_x ? c->x + c->width - 1 : c->x;
	ptrdiff_t top = mirror_y ? c->y + c->height - 1 : c->y;
	struct walk w = {
		.start = top * c->src_width + left,
		.per_row = mirror_y ? -(ptrdiff_t)c->src_width : c->src_width,
		.per_column = mirror_x ? -1 : 1,
		.rows = c->height, .columns = c->width,
	};

	if (symmetry & KC_TRANSPOSE) {
		ptrdiff_t step = w.per_row;

		w.per_row = w.per_column;
		w.per_column = step;
		w.rows = c->width;
		w.columns = c->height;
	}
	return w;
}

void kc_crop_pixels(const void *src, const struct kc_crop *c, unsigned symmetry, size_t size,
		    void *dst)
{
	const struct walk w = plan_walk(c, symmetry);
	const ptrdiff_t step = w.per_column * (ptrdiff_t)size;
	unsigned char *out = dst;

	for (int y = 0; y < w.rows; y++) {
		const unsigned char *in = src;

		in += (w.start + y * w.per_row) * (ptrdiff_t)size;
		if (w.per_column == 1) {
			memcpy(out, in, (size_t)w.columns * size);
			out += (size_t)w.columns * size;
			continue;
		}
		for (int x = 0; x < w.columns; x++, in += step, out += size)
			memcpy(out, in, size);
	}
}

/* u and v of dst come from component `swap` and its other, with these signs. */
struct turn {
	int swap;
	float sign_u, sign_v;
};

static struct turn plan_turn(unsigned symmetry)
{
	float u = symmetry & KC_MIRROR_X ? -1.0f : 1.0f, v = symmetry & KC_MIRROR_Y ? -1.0f : 1.0f;

	if (symmetry & KC_TRANSPOSE)
		return (struct turn){1, v, u};
	return (struct turn){0, u, v};
}

void kc_crop_flow(const float *src, const struct kc_crop *c, unsigned symmetry, float *dst)
{
	const struct walk w = plan_walk(c, symmetry);
	const struct turn t = plan_turn(symmetry);

	for (int y = 0; y < w.rows; y++) {
		const float *in = src + 2 * (w.start + y * w.per_row);

		for (int x = 0; x < w.columns; x++, in += 2 * w.per_column, dst += 2) {
			dst[0] = t.sign_u * in[t.swap];
			dst[1] = t.sign_v * in[!t.swap];
		}
	}
}

void kc_crop_flow16(const int16_t *src, const struct kc_crop *c, unsigned symmetry, float unit,
		    float *dst)
{
	const struct walk w = plan_walk(c, symmetry);
	const struct turn t = plan_turn(symmetry);

	for (int y = 0; y < w.rows; y++) {
		const int16_t *in = src + 2 * (w.start + y * w.per_row);

		for (int x = 0; x < w.columns; x++, in += 2 * w.per_column, dst += 2) {
			dst[0] = t.sign_u * unit * in[t.swap];
			dst[1] = t.sign_v * unit * in[!t.swap];
		}
	}
}
