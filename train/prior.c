#include "train/prior.h"

#include "core/json.h"
#include "core/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char format[] = "kinemacolor-prior";
static const double sigma = 5;          /* of the smoothing, in ab */
enum { STEP = 4, GREY = 5 };

/* ---- counting ---- */

/* Nearest bin of every fourth pixel, and the largest |a| or |b| of these, for one frame size. */
struct counter {
	struct kc_device *device;
	int width, height;
	struct kc_graph *graph;
	struct kc_plan *plan;
	struct kc_tensor *frame, *bin, *most;
	int32_t *bins;
};

static void counter_release(struct counter *c)
{
	kc_plan_free(c->plan);
	kc_graph_free(c->graph);
	free(c->bins);
	*c = (struct counter){.device = c->device};
}

static int counter_build(struct counter *c, int width, int height)
{
	const struct kc_plan_opts opts = {.real = KC_F32, .deterministic = true};
	struct kc_graph *g = c->graph = kc_graph_new(&kc_layers);
	struct kc_tensor *ab;

	if (!g)
		return KC_ENOMEM;
	c->frame = kc_input(g, "frame", KC_TYPE(KC_U8, 1, 3, height, width));
	ab = kc_slice(g, kc_rgb_to_lab(g, kc_to_real(g, c->frame, 1.0 / 255)), 1, 1, 2, 1);
	ab = kc_subsample(g, ab, STEP);
	c->bin = kc_argmax(g, kc_soft_encode(g, ab), 1);
	c->most = kc_abs(g, ab);
	for (int axis = 1; axis < 4; axis++)
		c->most = kc_max_axis(g, c->most, axis);
	KC_TRY(kc_plan_build(&c->plan, g, c->device, (struct kc_tensor *[]){c->bin, c->most}, 2,
			     &opts));
	c->bins = kc_calloc((size_t)kc_numel(&c->bin->type), sizeof *c->bins);
	c->width = width;
	c->height = height;
	return c->bins ? 0 : KC_ENOMEM;
}

static int count_frame(struct counter *c, const struct kc_image *image, struct kc_prior *sum)
{
	int64_t n;
	struct kc_buf b;

	if (c->width != image->width || c->height != image->height) {
		counter_release(c);
		KC_TRY(counter_build(c, image->width, image->height));
	}
	b = kc_buf_of(image->rgb, &c->frame->type, KC_CLAST);
	KC_TRY(kc_plan_feed(c->plan, c->frame, &b));
	KC_TRY(kc_plan_run(c->plan));
	sum->frames++;
	if (!(kc_plan_scalar(c->plan, c->most) > GREY)) {
		sum->grey_frames++;
		return 0;
	}
	b = kc_buf_of(c->bins, &c->bin->type, KC_PLAIN);
	KC_TRY(kc_plan_read(c->plan, c->bin, &b));
	n = kc_numel(&c->bin->type);
	for (int64_t i = 0; i < n; i++)
		sum->p[c->bins[i]]++;
	sum->pixels += n;
	return 0;
}

static int count_clip(struct counter *c, const struct kc_clip *clip, struct kc_prior *sum,
		      int64_t frames, int (*progress)(void *, int64_t, int64_t), void *own)
{
	struct kc_image image = {0};
	int rc = 0;

	for (int64_t i = 0; !rc && i < clip->n; i++) {
		rc = kc_clip_load(clip, i, &image);
		if (!rc)
			rc = count_frame(c, &image, sum);
		if (!rc && progress && progress(own, sum->frames, frames))
			rc = KC_FAIL(KC_ESTOP, "stopped; nothing is written");
	}
	kc_image_release(&image);
	return rc;
}

static double gauss(int q, int r)
{
	double da = kc_bins_a[q] - kc_bins_a[r], db = kc_bins_b[q] - kc_bins_b[r];

	return exp(-(da * da + db * db) / (2 * sigma * sigma));
}

/* Every count is spread over the bins near it, and none of it is lost outside of the gamut. */
void kc_prior_smooth(const double *count, double *p)
{
	double total = 0;

	memset(p, 0, KC_BINS * sizeof *p);
	for (int r = 0; r < KC_BINS; r++) {
		double reach = 0;

		for (int s = 0; s < KC_BINS; s++)
			reach += gauss(s, r);
		for (int q = 0; q < KC_BINS; q++)
			p[q] += count[r] * gauss(q, r) / reach;
		total += count[r];
	}
	for (int q = 0; q < KC_BINS; q++)
		p[q] /= total;
}

int kc_prior_count(struct kc_prior *out, const struct kc_dataset *data, struct kc_device *device,
		   int (*progress)(void *, int64_t, int64_t), void *own)
{
	struct counter c = {.device = device};
	struct kc_prior sum = {0};
	int64_t frames = 0;
	int rc = 0;

	for (size_t i = 0; i < data->n; i++)
		frames += data->clip[i].n;
	for (size_t i = 0; !rc && i < data->n; i++)
		rc = count_clip(&c, &data->clip[i], &sum, frames, progress, own);
	counter_release(&c);
	KC_TRY(rc);
	if (!sum.pixels)
		return KC_FAIL(KC_EFORMAT, "%s: all %lld frames are grey, expected some colour",
			       data->path, (long long)sum.frames);
	*out = sum;
	kc_prior_smooth(sum.p, out->p);
	return 0;
}

/* ---- the file ---- */

static char *text_of(const struct kc_prior *p, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	if (!f)
		return NULL;
	fprintf(f, "{\"format\": \"%s\", \"bins\": %d, \"smoothing\": %g,\n", format, KC_BINS,
		sigma);
	fprintf(f, " \"frames\": %lld, \"grey_frames\": %lld, \"pixels\": %lld, \"prior\": [\n",
		(long long)p->frames, (long long)p->grey_frames, (long long)p->pixels);
	for (int q = 0; q < KC_BINS; q++) {
		kc_json_put_number(f, p->p[q]);
		fputs(q < KC_BINS - 1 ? ",\n" : "\n]}\n", f);
	}
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

int kc_prior_save(const struct kc_prior *p, const char *path)
{
	size_t size;
	char *text = text_of(p, &size);
	int rc = text ? kc_file_write(path, text, size) : KC_ENOMEM;

	free(text);
	return rc;
}

static int read_shares(const char *path, const struct kc_json *v, double p[KC_BINS])
{
	double sum = 0;
	int q = 0;

	for (const struct kc_json *e = v->first; e; e = e->next, q++) {
		if (e->kind != KC_JSON_NUMBER || !(e->number >= 0))
			return KC_FAIL(KC_EFORMAT,
				       "%s: share of bin %d: expected a number from 0 on", path, q);
		p[q] = e->number;
		sum += e->number;
	}
	if (!(fabs(sum - 1) <= 1e-6))
		return KC_FAIL(KC_EFORMAT, "%s: the shares add up to %.9g, expected 1", path, sum);
	return 0;
}

static int read_prior(const char *path, const struct kc_json *root, double p[KC_BINS])
{
	const struct kc_json *kind = kc_json_get(root, "format"), *v = kc_json_get(root, "prior");

	if (!kind || kind->kind != KC_JSON_TEXT || strcmp(kind->text, format) || !v ||
	    v->kind != KC_JSON_ARRAY)
		return KC_FAIL(KC_EFORMAT, "%s: no prior of colours, expected what pack --prior "
			       "writes", path);
	if (v->n != KC_BINS)
		return KC_FAIL(KC_EFORMAT, "%s: a prior of %zu bins, expected %d", path, v->n,
			       KC_BINS);
	return read_shares(path, v, p);
}

int kc_prior_load(const char *path, double p[KC_BINS])
{
	struct kc_json *root;
	int rc;

	KC_TRY(kc_json_load(path, &root));
	rc = read_prior(path, root, p);
	kc_json_free(root);
	return rc;
}
