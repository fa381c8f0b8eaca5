/* What users say about colour, on its way to the anchors; and what can be suggested to them. */
#include "models/colorizer_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- hints ---- */

int kc_colorizer_tell(struct kc_colorizer *c, const float *histogram, const float *saturation)
{
	if (!c->args.global_hints)
		return KC_FAIL(KC_ECONFIG, "the network has no part for global hints");
	memset(c->histogram, 0, sizeof c->histogram);
	memset(c->saturation, 0, sizeof c->saturation);
	if (histogram)
		memcpy(c->histogram, histogram, sizeof c->histogram);
	if (saturation)
		memcpy(c->saturation, saturation, sizeof c->saturation);
	return 0;
}

static int feed(struct kc_plan *p, const struct kc_tensor *t, float *data)
{
	struct kc_buf b = kc_buf_of(data, &t->type, KC_CLAST);

	return kc_plan_feed(p, t, &b);
}

static int feed_hints(struct kc_colorizer *c, struct kc_plan *p,
		      const struct kc_colorizer_clip *clip, int64_t frame)
{
	size_t pixels = (size_t)c->args.size * (size_t)c->args.size;

	memset(c->hint, 0, 2 * pixels * sizeof *c->hint);
	memset(c->mask, 0, pixels * sizeof *c->mask);
	if (clip->hints)
		KC_TRY(clip->hints(clip->own, frame, c->args.size, c->hint, c->mask));
	KC_TRY(feed(p, c->anchor.hint, c->hint));
	return feed(p, c->anchor.mask, c->mask);
}

int kc_colorizer_feed_anchor(struct kc_colorizer *c, struct kc_plan *p,
			     const struct kc_colorizer_clip *clip, int64_t frame, float *l)
{
	const struct kc_anchor_plan *a = &c->anchor;

	KC_ASSERT(c->hint || !clip->hints);
	KC_TRY(feed(p, a->l, l));
	if (c->hint)
		KC_TRY(feed_hints(c, p, clip, frame));
	if (!a->histogram)
		return 0;
	KC_TRY(feed(p, a->histogram, c->histogram));
	return feed(p, a->saturation, c->saturation);
}

/* ---- suggestions ---- */

/* Luma of a frame as the networks see it; the caller frees. */
static int luma_of(struct kc_colorizer *c, const struct kc_picture *from, float **l)
{
	struct kc_colour_plan *p;
	struct kc_buf b;
	int rc;

	KC_TRY(kc_colorizer_colour(c, from->width, from->height, &p));
	b = kc_buf_of((void *)from->rgb, &p->frame->type, KC_CLAST);
	KC_TRY(kc_plan_feed(p->split, p->frame, &b));
	KC_TRY(kc_plan_run(p->split));
	*l = kc_calloc((size_t)kc_numel(&p->l->type), sizeof **l);
	if (!*l)
		return KC_ENOMEM;
	b = kc_buf_of(*l, &p->l->type, KC_CLAST);
	rc = kc_plan_read(p->split, p->l, &b);
	if (rc < 0)
		free(*l);
	return rc;
}

/*
 * The logits stand for the pixels 0, 4, 8, ... of the networks' input, as the targets that they
 * are trained with do; between them they are interpolated.  at: in those pixels.
 */
static void interpolate(const struct kc_buf *logits, const double at[2], double *out)
{
	int64_t low[2], high[2];
	double part[2];

	for (int k = 0; k < 2; k++) {
		int64_t last = logits->type.dim[k + 2] - 1;
		double x = fmin(fmax(at[k] / 4, 0), (double)last);

		low[k] = (int64_t)x;
		high[k] = KC_MIN(low[k] + 1, last);
		part[k] = x - (double)low[k];
	}
	for (int64_t q = 0; q < logits->type.dim[1]; q++) {
		const int64_t y0 = low[0] * logits->stride[2], y1 = high[0] * logits->stride[2];
		const int64_t x0 = low[1] * logits->stride[3], x1 = high[1] * logits->stride[3];
		int64_t from = q * logits->stride[1];
		double top = (1 - part[1]) * kc_get(logits, from + y0 + x0) +
			     part[1] * kc_get(logits, from + y0 + x1);
		double bottom = (1 - part[1]) * kc_get(logits, from + y1 + x0) +
				part[1] * kc_get(logits, from + y1 + x1);

		out[q] = (1 - part[0]) * top + part[0] * bottom;
	}
}

/* The bins' places; 529 are a grid, 313 those of it that sRGB has. */
static void bin_places(int n, double *a, double *b)
{
	for (int q = 0; q < n; q++) {
		a[q] = n == KC_BINS ? kc_bins_a[q] : 10 * (q / 23) - 110;
		b[q] = n == KC_BINS ? kc_bins_b[q] : 10 * (q % 23) - 110;
	}
}

static int suggest_from(struct kc_anchor_plan *plan, const double at[2], struct kc_suggestion *out,
			int most)
{
	double logits[KC_SIGGRAPH17_CLASSES], a[KC_SIGGRAPH17_CLASSES], b[KC_SIGGRAPH17_CLASSES];
	const struct kc_type *type = &plan->logits->type;
	int n = (int)type->dim[1], rc;
	struct kc_buf all = kc_buf_of(kc_calloc((size_t)kc_numel(type), sizeof(float)), type,
				      KC_CLAST);

	if (!all.data)
		return KC_ENOMEM;
	rc = kc_plan_read(plan->suggest, plan->logits, &all);
	if (!rc) {
		interpolate(&all, at, logits);
		bin_places(n, a, b);
		rc = kc_suggest(logits, a, b, n, kc_suggestion_scale, out, most);
	}
	free(all.data);
	return rc;
}

int kc_colorizer_suggest(struct kc_colorizer *c, const struct kc_colorizer_clip *clip,
			 int64_t frame, int x, int y, struct kc_suggestion *out, int most)
{
	struct kc_anchor_plan *a;
	struct kc_picture from;
	double at[2];
	float *l;
	int rc;

	KC_TRY(kc_colorizer_suggest_plan(c, &a));
	if (frame < 0 || frame >= clip->frames)
		return KC_FAIL(KC_EINVAL, "frame %lld: the clip has %lld frames, counted from 0",
			       (long long)frame, (long long)clip->frames);
	rc = clip->source(clip->own, frame, &from);
	KC_TRY(rc);
	if (rc == KC_DAMAGED)
		return KC_FAIL(KC_EIO, "frame %lld cannot be read", (long long)frame);
	if (x < 0 || y < 0 || x >= from.width || y >= from.height)
		return KC_FAIL(KC_EINVAL, "pixel %d,%d is outside of the frame, %d x %d", x, y,
			       from.width, from.height);
	at[0] = (y + 0.5) * c->args.size / from.height - 0.5;
	at[1] = (x + 0.5) * c->args.size / from.width - 0.5;
	KC_TRY(luma_of(c, &from, &l));
	rc = kc_colorizer_feed_anchor(c, a->suggest, clip, frame, l);
	free(l);
	KC_TRY(rc);
	KC_TRY(kc_plan_run(a->suggest));
	return suggest_from(a, at, out, most);
}
