/*
 * The loader's draws: which window, turned and cropped how, sample i of the stream is.
 * Pure functions of the dataset's names and sizes, the options and i.
 */
#ifndef KC_DATA_SAMPLER_H
#define KC_DATA_SAMPLER_H

#include "core/random.h"
#include "data/loader.h"
#include "data/symmetry.h"

struct kc_sampler {
	const struct kc_dataset *dataset;
	struct kc_loader_opts opts;
	struct kc_window *window;       /* one per clip: all its starts; or one per key */
	uint64_t *first;                /* per clip: index of its first window; NULL with keys */
	size_t n;                       /* entries of window */
	uint64_t windows;               /* of an epoch */
	int64_t skipped;                /* clips too short */
	int height, width;              /* of a sample */
	int batch_height, batch_width;  /* of what a batch holds of it: these, or the frames' */
};

struct kc_draw {
	const struct kc_clip *clip;
	int64_t start;
	int64_t interval;
	bool reversed;
	unsigned symmetry;
	struct kc_random random;        /* where the crop is drawn from */
};

/* Checks the options against the dataset; errors as kc_loader_open. */
int kc_sampler_init(struct kc_sampler *, const struct kc_dataset *, const struct kc_loader_opts *);
void kc_sampler_release(struct kc_sampler *);

/* Draws sample i; attempt > 0 draws it again, with another window. */
void kc_sampler_draw(const struct kc_sampler *, uint64_t i, uint32_t attempt, struct kc_draw *);

/* The frame of the clip that is number f of the window. */
int64_t kc_draw_frame(const struct kc_sampler *, const struct kc_draw *, int f);

/* Places the crop in a frame of the size; KC_ESHAPE if it is too small.  Call once per draw. */
int kc_draw_crop(const struct kc_sampler *, struct kc_draw *, int width, int height,
		 struct kc_crop *);

/* Number of the stream's sample in place `slot` of this rank's batch. */
uint64_t kc_sampler_index(const struct kc_sampler *, int64_t batch, int slot);

#endif
