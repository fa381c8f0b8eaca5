/*
 * Making a pack file of a dataset: frames resized to one size (bicubic, aspect not kept, as
 * the published sets were), and optionally DIS flow between them.
 */
#ifndef KC_DATA_PACK_BUILD_H
#define KC_DATA_PACK_BUILD_H

#include "data/clip.h"
#include "data/dis.h"

struct kc_pack_job {
	const struct kc_dataset *dataset;
	const char *output;
	int width, height;
	bool jpeg;              /* store JPEG of `quality` (chroma not subsampled), else raw RGB */
	int quality;
	int offsets[KC_PACK_OFFSETS];   /* store the flows over so many frames, both ways */
	int n_offsets;
	enum kc_dis_preset dis;
	int workers;            /* threads, at least 1 */
	/* Called now and then; a non-zero result ends the work with KC_ESTOP.  May be NULL. */
	int (*progress)(void *own, int64_t frames_done, int64_t frames);
	void *own;
};

/* All or nothing: the file is there, complete, when 0 is returned.  A damaged frame is an error. */
int kc_pack_build(const struct kc_pack_job *);

#endif
