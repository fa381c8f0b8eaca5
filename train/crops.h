/*
 * Where batches are cropped and mirrored (datasets.train.augment_on): by the loader's workers, or
 * by the step itself, from whole frames and stored flows, which spares the host that work and
 * costs larger batches on their way to the device.  The pixels are the same.
 */
#ifndef KC_TRAIN_CROPS_H
#define KC_TRAIN_CROPS_H

#include "train/training.h"

/* Whether that hangs on the data for this configuration and device. */
bool kc_crops_need_data(const struct kc_config *, const struct kc_device *);

/*
 * Decides; *width and *height are those of the frames that the step gets, 0 where the loader cuts.
 * `why` gets a reason why it must, or NULL.  KC_ECONFIG: it must, and augment_on is device.
 */
int kc_crops_choose(const struct kc_config *, const struct kc_device *, const struct kc_dataset *,
		    int *width, int *height, const char **why);

#endif
