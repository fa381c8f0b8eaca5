#include "tests/golden_metrics.h"

#include "core/file.h"
#include "data/image.h"
#include "losses/consistency.h"
#include "losses/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FRAMES = 256, FRAME_NAME = 64 };

static const char *const no_metrics[] = {"source", "psnr_uint8_wrap"};

struct clip {
	struct kc_image gt[MOST_FRAMES], out[MOST_FRAMES];
	int64_t n, interval;
	size_t pixels;
};

/* --- frames and flows --------------------------------------------------------------- */

static int read_frames(const char *dir, const char *clip, const char *side, struct kc_image *frames,
		       int64_t *n)
{
	char *folder = kc_format("%s/%s/%s", dir, clip, side);
	struct kc_names names = {0};
	int rc = folder ? kc_dir_list(folder, ".png", KC_ORDER_NATURAL, &names) : KC_ENOMEM;

	if (rc >= 0 && (!names.n || names.n > MOST_FRAMES))
		rc = KC_FAIL(KC_EFORMAT, "%s: %zu frames", folder, names.n);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		char *path = kc_format("%s/%s", folder, names.v[i]);

		rc = path ? kc_image_read(path, &frames[i]) : KC_ENOMEM;
		free(path);
		if (rc >= 0 && (frames[i].width != frames[0].width ||
				frames[i].height != frames[0].height))
			rc = KC_FAIL(KC_ESHAPE, "%s: frames of several sizes", folder);
	}
	*n = (int64_t)names.n;
	kc_names_free(&names);
	free(folder);
	return rc;
}

static void clip_free(struct clip *c)
{
	for (int64_t i = 0; c && i < MOST_FRAMES; i++) {
		kc_image_release(&c->gt[i]);
		kc_image_release(&c->out[i]);
	}
	free(c);
}

static int clip_read(const char *dir, const char *name, int64_t interval, struct clip **clip)
{
	struct clip *c = kc_calloc(1, sizeof *c);
	int64_t n = 0;
	int rc = c ? read_frames(dir, name, "gt", c->gt, &c->n) : KC_ENOMEM;

	if (rc >= 0)
		rc = read_frames(dir, name, "out", c->out, &n);
	if (rc >= 0 && (n != c->n || c->out[0].width != c->gt[0].width ||
			c->out[0].height != c->gt[0].height))
		rc = KC_FAIL(KC_ESHAPE, "%s/%s: gt and out differ in number or size", dir, name);
	if (rc < 0) {
		clip_free(c);
		return rc;
	}
	c->interval = interval;
	c->pixels = (size_t)c->gt[0].width * (size_t)c->gt[0].height;
	*clip = c;
	return 0;
}

/* Field i of a stored flow (n, 2, height, width) as pairs. */
static int read_flow(const struct kc_st *st, const char *clip, const char *kind,
		     const struct clip *c, int64_t i, float *pairs)
{
	char *name = kc_format("%s.flow_%s", clip, kind);
	const struct kc_st_tensor *t = name ? kc_st_find(st, name) : NULL;
	size_t n = (size_t)(c->n - 1) * 2 * c->pixels;
	float *all = kc_calloc(n, sizeof *all), *planes;
	int rc = t && all ? kc_st_read_f32(t, all, n)
			  : KC_FAIL(KC_ENOENT, "%s: no flow of %s", st->path, clip);

	planes = all ? all + (size_t)i * 2 * c->pixels : NULL;
	for (size_t k = 0; rc >= 0 && k < c->pixels; k++) {
		pairs[2 * k] = planes[k];
		pairs[2 * k + 1] = planes[c->pixels + k];
	}
	free(all);
	free(name);
	return rc;
}

/* --- computing ---------------------------------------------------------------------- */

static void put(struct golden_values *v, const char *name, double x)
{
	double *slot = golden_add(v, name, 1);

	KC_ASSERT(slot);
	*slot = x;
}

/* A list of n values, to be filled in. */
static double *put_list(struct golden_values *v, const char *name, int64_t n)
{
	double *list = golden_add(v, name, (size_t)n);

	KC_ASSERT(list);
	return list;
}

static void compute_psnr(const struct clip *c, struct golden_values *v)
{
	double *psnr = put_list(v, "psnr_per_frame", c->n), *list;
	struct kc_mean all = {0}, anchor = {0}, internal = {0};
	uint64_t error = 0;
	int64_t anchors = 0;

	for (int64_t i = 0; i < c->n; i++) {
		psnr[i] = kc_psnr_frame(c->out[i].rgb, c->gt[i].rgb, c->pixels);
		error += kc_squared_error(c->out[i].rgb, c->gt[i].rgb, c->pixels);
		kc_mean_add(&all, psnr[i]);
		kc_mean_add(kc_is_anchor(i, c->n, c->interval) ? &anchor : &internal, psnr[i]);
		anchors += kc_is_anchor(i, c->n, c->interval);
	}
	put(v, "psnr_mean_of_finite_frames", kc_mean_get(&all));
	put(v, "psnr_anchor_mean", kc_mean_get(&anchor));
	put(v, "psnr_internal_mean", kc_mean_get(&internal));
	put(v, "psnr_of_whole_clip_pooled_mse", kc_psnr(error, (size_t)c->n * c->pixels * 3));
	list = put_list(v, "anchors", anchors);
	for (int64_t i = 0; i < c->n; i++)
		if (kc_is_anchor(i, c->n, c->interval))
			*list++ = (double)i;
}

static int compute_ssim(const struct clip *c, struct golden_values *v)
{
	double *gauss = put_list(v, "ssim_gauss11_per_frame", c->n);
	double *same = put_list(v, "ssim_skimage_gaussian_per_frame", c->n);
	double *uniform = put_list(v, "ssim_skimage_default_per_frame", c->n);

	for (int64_t i = 0; i < c->n; i++) {
		const struct kc_image *a = &c->out[i], *b = &c->gt[i];

		KC_TRY(kc_ssim(a->rgb, b->rgb, a->width, a->height, KC_SSIM_GAUSS, &gauss[i]));
		KC_TRY(kc_ssim(a->rgb, b->rgb, a->width, a->height, KC_SSIM_UNIFORM, &uniform[i]));
		same[i] = gauss[i];
	}
	return 0;
}

/* Colourfulness and colour consistency of one side, "out" or "gt". */
static void compute_colours(const struct clip *c, const struct kc_image *frames, const char *side,
			    struct golden_values *v)
{
	struct kc_cdc *cdc = kc_calloc(1, sizeof *cdc);
	struct kc_cdc_result r;
	char name[FRAME_NAME];
	double *list;

	KC_ASSERT(cdc);
	snprintf(name, sizeof name, "colourfulness_%s", side);
	list = put_list(v, name, c->n);
	for (int64_t i = 0; i < c->n; i++) {
		list[i] = kc_colourfulness(frames[i].rgb, c->pixels);
		kc_cdc_add(cdc, frames[i].rgb, c->pixels);
	}
	r = kc_cdc_get(cdc);
	free(cdc);
	snprintf(name, sizeof name, "cdc_%s", side);
	put(v, name, r.cdc);
	snprintf(name, sizeof name, "cdc_rgb_%s", side);
	memcpy(put_list(v, name, 3), r.rgb, sizeof r.rgb);
	snprintf(name, sizeof name, "cdc_%s_by_dilation", side);
	memcpy(put_list(v, name, 9), r.by_dilation, sizeof r.by_dilation);
}

/* Buffers of one pair's flows and mask. */
struct pair {
	float *forward, *backward;
	uint8_t *occluded;
};

static int compute_pairs(const struct clip *c, const char *name, const struct kc_st *flows,
			 const struct pair *p, struct golden_values *v)
{
	double *out = put_list(v, "warp_error_out_per_pair", c->n - 1);
	double *gt = put_list(v, "warp_error_gt_per_pair", c->n - 1);
	double *fraction = put_list(v, "occluded_fraction", c->n - 1);
	struct kc_mean mean_out = {0}, mean_gt = {0};
	int w = c->gt[0].width, h = c->gt[0].height;

	for (int64_t i = 0; i + 1 < c->n; i++) {
		size_t count = 0;

		KC_TRY(read_flow(flows, name, "forward", c, i, p->forward));
		KC_TRY(read_flow(flows, name, "backward", c, i, p->backward));
		kc_occlusion(p->forward, p->backward, w, h, p->occluded);
		for (size_t k = 0; k < c->pixels; k++)
			count += p->occluded[k];
		fraction[i] = (double)count / (double)c->pixels;
		out[i] = kc_warp_error(c->out[i].rgb, c->out[i + 1].rgb, p->forward, p->occluded,
				       w, h);
		gt[i] = kc_warp_error(c->gt[i].rgb, c->gt[i + 1].rgb, p->forward, p->occluded,
				      w, h);
		kc_mean_add(&mean_out, out[i]);
		kc_mean_add(&mean_gt, gt[i]);
	}
	put(v, "warp_error_out", kc_mean_get(&mean_out));
	put(v, "warp_error_gt", kc_mean_get(&mean_gt));
	return 0;
}

static int compute_warp_errors(const struct clip *c, const char *dir, const char *name,
			       struct golden_values *v)
{
	char *path = kc_format("%s/flows.safetensors", dir);
	struct pair p = {kc_calloc(c->pixels, 2 * sizeof(float)),
			 kc_calloc(c->pixels, 2 * sizeof(float)), kc_alloc(c->pixels)};
	struct kc_st flows;
	int rc = KC_ENOMEM;

	if (path && p.forward && p.backward && p.occluded)
		rc = kc_st_open(path, &flows);
	if (rc >= 0) {
		rc = compute_pairs(c, name, &flows, &p, v);
		kc_st_close(&flows);
	}
	free(p.forward);
	free(p.backward);
	free(p.occluded);
	free(path);
	return rc;
}

/* --- comparing ---------------------------------------------------------------------- */

static double number_of(const struct kc_json *v)
{
	if (v->kind == KC_JSON_NULL)
		return INFINITY;
	return v->kind == KC_JSON_NUMBER ? v->number : NAN;
}

/* The numbers of a value, nested ones too, in their order; null stands for infinity. */
static size_t flatten(const struct kc_json *v, double *list, size_t room, size_t n)
{
	if (v->kind == KC_JSON_ARRAY || v->kind == KC_JSON_OBJECT) {
		for (const struct kc_json *e = v->first; e; e = e->next)
			n = flatten(e, list, room, n);
		return n;
	}
	if (n < room)
		list[n] = number_of(v);
	return n + 1;
}

static void compare_entry(struct golden_case *gc, const struct kc_json *entry,
			  const struct golden_value *got)
{
	double expected[4 * MOST_FRAMES];
	size_t n = flatten(entry, expected, KC_COUNT(expected), 0);

	if (n != got->n) {
		golden_fail(gc, "%s has %zu values, computed were %zu", entry->key, n, got->n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (isinf(expected[i]) && isinf(got->v[i]))
			golden_number(gc, entry->key, 0, 0, 1e-9);
		else
			golden_number(gc, entry->key, got->v[i], expected[i],
				      1e-10 * fmax(1e-2, fabs(expected[i])));
}

static bool is_metric(const char *key)
{
	for (size_t i = 0; i < KC_COUNT(no_metrics); i++)
		if (!strcmp(key, no_metrics[i]))
			return false;
	return true;
}

static void compare_all(struct golden_case *gc, const struct kc_json *entries,
			const struct golden_values *v)
{
	for (const struct kc_json *e = entries->first; e; e = e->next) {
		const struct golden_value *got = golden_get(v, e->key);

		if (got)
			compare_entry(gc, e, got);
		else if (is_metric(e->key))
			golden_fail(gc, "\"%s\" is not computed here", e->key);
	}
}

/* The means over clips of what has one value per clip. */
struct means {
	const char *name;
	struct kc_mean mean;
};

static void check_clip(struct golden *g, const char *dir, const struct kc_json *entry,
		       int64_t interval, struct means *means, size_t n_means)
{
	struct golden_values v = {0};
	struct golden_case gc;
	struct clip *c = NULL;
	char name[FRAME_NAME];
	bool wanted;
	int rc = clip_read(dir, entry->key, interval, &c);

	snprintf(name, sizeof name, "metrics %s", entry->key);
	wanted = golden_begin(g, &gc, name);
	if (rc >= 0) {
		compute_psnr(c, &v);
		compute_colours(c, c->out, "out", &v);
		compute_colours(c, c->gt, "gt", &v);
		rc = compute_ssim(c, &v);
	}
	if (rc >= 0)
		rc = compute_warp_errors(c, dir, entry->key, &v);
	for (size_t i = 0; rc >= 0 && i < n_means; i++)
		kc_mean_add(&means[i].mean, golden_get(&v, means[i].name)->v[0]);
	if (wanted) {
		golden_error(&gc, rc);
		compare_all(&gc, entry, &v);
		golden_end(&gc);
	}
	golden_release(&v);
	if (rc >= 0)
		clip_free(c);
}

static void check_means(struct golden *g, const struct kc_json *entries, const struct means *means,
			size_t n_means)
{
	struct golden_values v = {0};
	struct golden_case gc;

	if (!golden_begin(g, &gc, "metrics of all clips"))
		return;
	for (size_t i = 0; i < n_means; i++)
		put(&v, means[i].name, kc_mean_get(&means[i].mean));
	compare_all(&gc, entries, &v);
	golden_end(&gc);
	golden_release(&v);
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? kc_format("%.*s", (int)(slash - path), path) : kc_strdup(".");
}

void golden_metrics(struct golden *g, const char *path, const struct kc_json *root)
{
	struct means means[] = {
		{.name = "psnr_mean_of_finite_frames"}, {.name = "psnr_anchor_mean"},
		{.name = "psnr_internal_mean"}, {.name = "cdc_out"}, {.name = "cdc_gt"},
		{.name = "warp_error_out"}, {.name = "warp_error_gt"}};
	const struct kc_json *interval = kc_json_get(root, "interval");
	const struct kc_json *all = kc_json_get(root, "all_clips");
	char *dir = folder_of(path);

	KC_ASSERT(dir);
	for (const struct kc_json *e = root->first; e; e = e->next)
		if (e->kind == KC_JSON_OBJECT && e != all)
			check_clip(g, dir, e, interval && interval->is_int ? interval->integer : 0,
				   means, KC_COUNT(means));
	if (all)
		check_means(g, all, means, KC_COUNT(means));
	free(dir);
}
