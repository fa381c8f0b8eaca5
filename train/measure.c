#include "train/measure.h"

#include "losses/consistency.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const kc_measured_names[KC_MEASURED] = {
	[KC_MEASURED_PSNR] = "val_psnr",	     [KC_MEASURED_CDC] = "val_cdc",
	[KC_MEASURED_COLOUR] = "val_colour",	     [KC_MEASURED_COLOUR_GAP] = "val_colour_gap",
	[KC_MEASURED_WARP] = "val_warp",
};

/* What a pair of frames needs beside them. */
struct pair {
	uint8_t *grey, *occluded;
	float *forward, *backward;
};

static int pair_init(struct pair *p, size_t pixels)
{
	p->grey = kc_alloc(pixels);
	p->occluded = kc_alloc(pixels);
	p->forward = kc_calloc(pixels, 2 * sizeof(float));
	p->backward = kc_calloc(pixels, 2 * sizeof(float));
	return p->grey && p->occluded && p->forward && p->backward ? 0 : KC_ENOMEM;
}

static void pair_release(struct pair *p)
{
	free(p->grey);
	free(p->occluded);
	free(p->forward);
	free(p->backward);
}

static int measure_warp(struct kc_measure *m, struct pair *p, const uint8_t *result)
{
	int w = m->width, h = m->height;

	KC_TRY(kc_dis_run(m->dis, m->grey, p->grey, w, h, p->forward));
	KC_TRY(kc_dis_run(m->dis, p->grey, m->grey, w, h, p->backward));
	kc_occlusion(p->forward, p->backward, w, h, p->occluded);
	kc_mean_add(&m->warp, kc_warp_error(m->result, result, p->forward, p->occluded, w, h));
	return 0;
}

/* The frame becomes the one before; takes its luma over. */
static int keep(struct kc_measure *m, const uint8_t *result, uint8_t **grey, int width, int height)
{
	size_t bytes = 3 * (size_t)width * (size_t)height;

	free(m->grey);
	m->grey = *grey;
	*grey = NULL;
	if (m->width != width || m->height != height) {
		free(m->result);
		m->result = kc_alloc(bytes);
	}
	m->width = m->result ? width : 0;
	m->height = m->result ? height : 0;
	if (!m->result)
		return KC_ENOMEM;
	memcpy(m->result, result, bytes);
	return 0;
}

static int add_with_truth(struct kc_measure *m, const uint8_t *result, const struct kc_image *truth,
			  int width, int height)
{
	size_t pixels = (size_t)width * (size_t)height;
	struct pair p;
	int rc = pair_init(&p, pixels);

	if (!rc) {
		kc_grey_from_rgb(truth->rgb, pixels, p.grey);
		kc_mean_add(&m->psnr, kc_psnr_frame(result, truth->rgb, pixels));
		kc_mean_add(&m->truth_colour, kc_colourfulness(truth->rgb, pixels));
		if (m->width == width && m->height == height &&
		    KC_MIN(width, height) >= KC_DIS_LEAST)
			rc = measure_warp(m, &p, result);
	}
	if (!rc)
		rc = keep(m, result, &p.grey, width, height);
	pair_release(&p);
	return rc;
}

int kc_measure_add(struct kc_measure *m, const uint8_t *result, const struct kc_image *truth,
		   int width, int height)
{
	size_t pixels = (size_t)width * (size_t)height;

	kc_cdc_add(&m->cdc, result, pixels);
	kc_mean_add(&m->colour, kc_colourfulness(result, pixels));
	if (truth && truth->width == width && truth->height == height)
		return add_with_truth(m, result, truth, width, height);
	m->width = m->height = 0;
	return 0;
}

void kc_measure_get(const struct kc_measure *m, double values[KC_MEASURED])
{
	values[KC_MEASURED_PSNR] = kc_mean_get(&m->psnr);
	values[KC_MEASURED_CDC] = kc_cdc_get(&m->cdc).cdc;
	values[KC_MEASURED_COLOUR] = kc_mean_get(&m->colour);
	values[KC_MEASURED_COLOUR_GAP] =
		fabs(kc_mean_get(&m->colour) - kc_mean_get(&m->truth_colour));
	values[KC_MEASURED_WARP] = kc_mean_get(&m->warp);
}

void kc_measure_release(struct kc_measure *m)
{
	free(m->result);
	free(m->grey);
	m->result = m->grey = NULL;
	m->width = m->height = 0;
}
