#include "eval/guide.h"

#include "data/resize.h"
#include "models/global.h"

#include <math.h>
#include <stdlib.h>

/* ---- hints at places ---- */

int kc_guide_load(struct kc_guide *g, const struct kc_dataset *data)
{
	if ((g->hints || g->suggest) && data->n != 1)
		return KC_FAIL(KC_ECONFIG, "%s is for one clip; the input has %zu",
			       g->hints ? "--hints" : "--suggest", data->n);
	return g->hints ? kc_hint_list_load(&g->list, g->hints) : 0;
}

static int check_hints(const struct kc_guide *g, const struct kc_clip *clip,
		       const struct kc_colorizer_args *a)
{
	int intervals[KC_COLORIZER_INTERVALS] = {KC_COLORIZER_INTERVAL};
	struct kc_hint_clip c = {.frames = clip->n, .width = clip->width, .height = clip->height};

	if (!g->hints)
		return 0;
	if (a->network == KC_COLORIZE_BINS || a->key == KC_TCVC_ECCV16)
		return KC_FAIL(KC_ECONFIG, "--hints: eccv16 takes none; expected a model of "
			       "siggraph17 or of TCVC with it");
	if (a->network == KC_COLORIZE_TCVC) {
		c.intervals = intervals;
		c.n_intervals = KC_MAX(a->n_intervals, 1);
		for (int i = 0; i < a->n_intervals; i++)
			intervals[i] = a->intervals[i];
	}
	return kc_hint_list_check(&g->list, &c);
}

void kc_guide_release(struct kc_guide *g)
{
	kc_hint_list_release(&g->list);
}

int kc_guide_draw(const struct kc_guide *g, const struct kc_clip *clip, int64_t frame, int size,
		  float *hint, float *mask)
{
	kc_hint_list_draw(&g->list, frame, clip->width, clip->height, size, hint, mask);
	return 0;
}

/* ---- hints about the whole ---- */

static int histogram_of(const struct kc_image *image, float *histogram)
{
	size_t n = (size_t)image->width * (size_t)image->height;
	float *ab = kc_calloc(n, 2 * sizeof *ab);
	int rc;

	if (!ab)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = image->rgb + 3 * i;
		double lab[3];

		kc_lab_of_rgb((const double[]){p[0] / 255.0, p[1] / 255.0, p[2] / 255.0}, lab);
		ab[2 * i] = (float)(lab[1] / 110);
		ab[2 * i + 1] = (float)(lab[2] / 110);
	}
	rc = kc_global_histogram(ab, image->height, image->width, histogram);
	free(ab);
	return rc;
}

static int read_reference(const char *path, int size, float *histogram)
{
	struct kc_image image = {0}, resized = {0};
	int rc = kc_image_read(path, &image);

	if (!rc)
		rc = kc_image_resize(&image, size, size, KC_FILTER_AREA, &resized);
	if (!rc)
		rc = histogram_of(&resized, histogram);
	kc_image_release(&image);
	kc_image_release(&resized);
	return rc;
}

static int tell(const struct kc_guide *g, struct kc_colorizer *c, int size)
{
	float histogram[KC_GLOBAL_HISTOGRAM];
	const float saturation[KC_GLOBAL_SATURATION] = {(float)g->saturation, 1};
	const bool saturated = g->saturation >= 0;
	int rc = 0;

	if (!g->reference && !saturated)
		return 0;
	if (g->reference)
		rc = read_reference(g->reference, size, histogram);
	if (rc < 0)
		return kc_cause(rc, "--global-hist");
	rc = kc_colorizer_tell(c, g->reference ? histogram : NULL, saturated ? saturation : NULL);
	if (rc < 0)
		return kc_cause(rc, "%s", g->reference ? "--global-hist" : "--saturation");
	return 0;
}

int kc_guide_apply(const struct kc_guide *g, const struct kc_clip *clip,
		   const struct kc_colorizer_args *args, struct kc_colorizer *c)
{
	KC_TRY(check_hints(g, clip, args));
	return tell(g, c, args->size ? args->size : KC_COLORIZER_SIZE);
}

/* ---- suggestions ---- */

static int lightness_at(const struct kc_guide *g, const struct kc_colorizer_clip *clip, double *l)
{
	struct kc_picture from;
	const uint8_t *p;
	double lab[3];

	KC_TRY(clip->source(clip->own, g->frame, &from));
	p = from.rgb + 3 * ((size_t)g->y * (size_t)from.width + (size_t)g->x);
	kc_lab_of_rgb((const double[]){p[0] / 255.0, p[1] / 255.0, p[2] / 255.0}, lab);
	*l = lab[0];
	return 0;
}

int kc_guide_suggest(const struct kc_guide *g, struct kc_colorizer *c,
		     const struct kc_colorizer_clip *clip, FILE *out)
{
	struct kc_suggestion s[KC_SUGGESTIONS];
	double lightness = 0;
	int n = kc_colorizer_suggest(c, clip, g->frame, g->x, g->y, s, KC_SUGGESTIONS);

	if (n < 0)
		return kc_cause(n, "--suggest");
	KC_TRY(lightness_at(g, clip, &lightness));
	for (int i = 0; i < n; i++) {
		double rgb[3];

		kc_rgb_of_lab_fit((const double[]){lightness, s[i].a, s[i].b}, rgb);
		fprintf(out, "%d %.3f %.1f,%.1f #%02lx%02lx%02lx\n", i + 1, s[i].probability,
			s[i].a, s[i].b, lrint(255 * rgb[0]), lrint(255 * rgb[1]),
			lrint(255 * rgb[2]));
	}
	return 0;
}
