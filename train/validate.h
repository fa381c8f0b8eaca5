/* Validation: clips that are not trained on, colorized with the weights as they are now. */
#ifndef KC_TRAIN_VALIDATE_H
#define KC_TRAIN_VALIDATE_H

#include "train/run.h"

/*
 * PSNR and CDC over the clips of datasets.val into the log, and with save_img the first, middle
 * and last frame of each clip into val_images/<clip>/<iteration>_<frame>.png.  Each rank takes
 * its share of the clips; the values are those of one.
 */
int kc_validate(struct kc_run *);

#endif
