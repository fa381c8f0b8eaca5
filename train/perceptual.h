/*
 * Perceptual and style losses of a training run: distances of VGG's features of the recipe's
 * output and of the truth, as RGB.  Keys perceptual.* and path.pretrain_vgg.
 *
 * Without a file of weights the losses are left out, and the log says so.
 */
#ifndef KC_TRAIN_PERCEPTUAL_H
#define KC_TRAIN_PERCEPTUAL_H

#include "train/training.h"

/* Where the parameters of VGG are in the store; they are not saved with the model. */
#define KC_VGG_PREFIX "vgg."

/* Do its keys fit together?  KC_ECONFIG names the key. */
int kc_perceptual_check(const struct kc_config *);
/* Asked for, and there are weights for it. */
bool kc_perceptual_wanted(const struct kc_config *);
/* Adds the terms l_percep and l_style, weighted, to a graph whose recipe has been built. */
int kc_perceptual_build(struct kc_training *);

#endif
