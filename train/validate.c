#include "train/validate.h"

#include "models/colorizer.h"
#include "train/best.h"
#include "train/measure.h"

#include <stdio.h>
#include <stdlib.h>

/* One clip being colorized and measured. */
struct check {
	struct kc_run *run;
	const struct kc_clip *clip;
	int64_t frames;
	struct kc_image truth, frame;
	struct kc_dis *dis;
	struct kc_measure measure;
};

static int source(void *own, int64_t frame, struct kc_picture *out)
{
	struct check *c = own;

	if (kc_clip_read(c->clip, frame, &c->frame) < 0)
		return KC_DAMAGED;
	*out = (struct kc_picture){c->frame.width, c->frame.height, c->frame.rgb};
	return 0;
}

static int flows(void *own, const uint8_t *grey, int size, const struct kc_pair *pairs, int n,
		 float *flow)
{
	struct check *c = own;
	size_t pixels = (size_t)size * (size_t)size;

	for (int p = 0; p < n; p++)
		KC_TRY(kc_dis_run(c->dis, grey + (size_t)pairs[p].from * pixels,
				  grey + (size_t)pairs[p].to * pixels, size, size,
				  flow + 2 * pixels * (size_t)p));
	return 0;
}

/* First, middle and last frame of each clip, side by side with the run's others by name. */
static int keep_sample(struct check *c, int64_t frame, const struct kc_picture *result)
{
	struct kc_run *r = c->run;
	struct kc_image image = {0};
	char *dir = kc_format("%s/%s", r->experiment.images, c->clip->name);
	char *path = dir ? kc_format("%s/%lld_%05lld.png", dir, (long long)r->progress.iter,
				     (long long)frame)
			 : NULL;
	int rc = path ? kc_dir_make(dir) : KC_ENOMEM;

	if (!rc)
		rc = kc_image_resize_buffer(&image, result->width, result->height);
	if (!rc) {
		memcpy(image.rgb, result->rgb, 3 * (size_t)result->width * (size_t)result->height);
		rc = kc_image_write(path, &image, 0);
	}
	kc_image_release(&image);
	free(path);
	free(dir);
	return rc;
}

static int sink(void *own, int64_t frame, const struct kc_picture *result)
{
	struct check *c = own;
	bool known = kc_clip_read(c->clip, frame, &c->truth) >= 0;

	KC_TRY(kc_measure_add(&c->measure, result->rgb, known ? &c->truth : NULL, result->width,
			      result->height));
	if (c->run->config->save_images &&
	    (frame == 0 || frame == c->frames / 2 || frame == c->frames - 1))
		return keep_sample(c, frame, result);
	return 0;
}

static struct kc_colorizer_args colorizer_args(const struct kc_run *r)
{
	static const enum kc_colorizer_network networks[] = {
		[KC_RECIPE_TCVC] = KC_COLORIZE_TCVC,
		[KC_RECIPE_IDC] = KC_COLORIZE_FRAMES,
		[KC_RECIPE_CIC] = KC_COLORIZE_BINS,
	};
	const struct kc_config *c = r->config;

	return (struct kc_colorizer_args){
		.network = networks[c->recipe],
		.intervals = {(int)c->val.keyframe_interval},
		.n_intervals = 1,
		.size = (int)c->val.size,
		.width = c->network.width,
		.mask_cent = c->network.mask_cent,
		.temperature = c->network.temperature,
		.global_hints = c->network.global_hints,
		.distribution = c->network.distribution,
		.classes = c->network.class_bins == KC_CLASS_SOFT_313 ? KC_BINS : 0,
		.key = (enum kc_tcvc_key)c->network.key_net,
		.flownet = c->flow == KC_FLOW_FLOWNET2,
		.low = r->training.low,
		.published = c->published,
	};
}

static int check_clip(struct check *c, struct kc_colorizer *colorizer, double values[KC_MEASURED])
{
	const struct kc_colorizer_clip clip = {
		.frames = c->frames, .source = source, .flows = flows, .sink = sink, .own = c};
	int rc = kc_colorizer_run(colorizer, &clip, NULL);

	if (rc < 0)
		return kc_cause(rc, "validation clip %s", c->clip->name);
	kc_measure_get(&c->measure, values);
	return 0;
}

static int64_t limit(int64_t n, int64_t most)
{
	return most > 0 ? KC_MIN(n, most) : n;
}

/* Every size-th clip is this rank's; the values of the others stay 0. */
static int check_own(struct kc_run *r, const struct kc_dataset *data,
		     struct kc_colorizer *colorizer, struct kc_dis *dis, int64_t n, double *values)
{
	int rc = 0;

	for (int64_t i = r->ranks->rank; !rc && i < n; i += r->ranks->size) {
		struct check c = {.run = r, .clip = &data->clip[i], .dis = dis,
				  .measure.dis = dis};

		c.frames = limit(c.clip->n, r->config->val.max_frames);
		rc = check_clip(&c, colorizer, values + KC_MEASURED * i);
		kc_measure_release(&c.measure);
		kc_image_release(&c.truth);
		kc_image_release(&c.frame);
	}
	return rc;
}

static int log_means(struct kc_run *r, const double *values, int64_t n)
{
	struct kc_metric means[KC_MEASURED + 1];
	double x[KC_MEASURED], score = 0;
	size_t count = KC_MEASURED;

	for (int k = 0; k < KC_MEASURED; k++) {
		struct kc_mean mean = {0};

		for (int64_t i = 0; i < n; i++)
			kc_mean_add(&mean, values[KC_MEASURED * i + k]);
		x[k] = kc_mean_get(&mean);
		means[k] = (struct kc_metric){kc_measured_names[k], x[k]};
	}
	kc_log_say(&r->log, "validation behind iteration %lld: PSNR %.3f dB, CDC %.6f, "
		   "colourfulness %.2f (off by %.2f), warp error %.6f",
		   (long long)r->progress.iter, x[KC_MEASURED_PSNR], x[KC_MEASURED_CDC],
		   x[KC_MEASURED_COLOUR], x[KC_MEASURED_COLOUR_GAP], x[KC_MEASURED_WARP]);
	if (kc_best_score(r->config, x, &score))
		means[count++] = (struct kc_metric){KC_BEST_NAME, score};
	return kc_log_values(&r->log, r->progress.iter, means, count);
}

/* A sum with zeros is exact, and means are taken in the order of the clips. */
static int check_all(struct kc_run *r, const struct kc_dataset *data,
		     struct kc_colorizer *colorizer, struct kc_dis *dis)
{
	int64_t n = limit((int64_t)data->n, r->config->val.max_clips);
	double *values = kc_calloc(KC_MEASURED * (size_t)n, sizeof *values);
	int rc = values ? check_own(r, data, colorizer, dis, n, values) : KC_ENOMEM;

	rc = kc_ranks_agree(r->ranks, rc);
	if (!rc)
		rc = kc_ranks_sum(r->ranks, values, KC_MEASURED * (size_t)n);
	if (!rc)
		rc = log_means(r, values, n);
	free(values);
	return rc;
}

static int open_all(struct kc_run *r, const struct kc_colorizer_args *args,
		    struct kc_dataset **data, struct kc_colorizer **colorizer, struct kc_dis **dis)
{
	int rc = kc_dataset_open(r->config->val.root, data);

	if (rc < 0)
		return kc_cause(rc, "datasets.val.dataroot_GT");
	KC_TRY(kc_dis_open(KC_DIS_MEDIUM, dis));
	return kc_colorizer_open(colorizer, args, &r->device, r->training.params);
}

int kc_validate(struct kc_run *r)
{
	const struct kc_colorizer_args args = colorizer_args(r);
	struct kc_colorizer *colorizer = NULL;
	struct kc_dataset *data = NULL;
	struct kc_dis *dis = NULL;
	int rc = kc_ranks_agree(r->ranks, open_all(r, &args, &data, &colorizer, &dis));

	if (!rc)
		rc = check_all(r, data, colorizer, dis);
	kc_colorizer_close(colorizer);
	kc_dis_close(dis);
	kc_dataset_close(data);
	return rc;
}
