/*
 * The adversary of a training run: a discriminator that learns to tell the recipe's output from
 * the truth, and the losses that it adds for the generator.  Keys gan.* and network_D.*.
 *
 * What it sees is what the recipe hands over (kc_training_output): chroma or Lab, with luma
 * beside it where gan.condition says so; the temporal discriminator sees windows, the others
 * frames.  TCVC hands over its anchors only when they are trained.
 *
 * A step in which both networks are trained is one plan.  The generator runs once, and so does
 * the discriminator on either input: one network's gradient is that of its own loss with respect
 * to its own parameters alone, both at the parameters from before the step.  With d_steps n the
 * discriminator first makes n - 1 updates of its own, on batches of their own, in a plan without
 * the generator's backward pass.  Through iteration start_iter the generator is trained without
 * it, in a plan that does not hold it.
 *
 * Spectral norm takes one power iteration per update of the discriminator: real, fake and mixed
 * inputs of a step see the same weights.  Batch norm takes real before fake inputs.
 */
#ifndef KC_TRAIN_ADVERSARY_H
#define KC_TRAIN_ADVERSARY_H

#include "train/training.h"

/* Whether the configuration has one. */
bool kc_adversary_wanted(const struct kc_config *);

/* Do its keys fit together, and to the rest?  KC_ECONFIG names the key. */
int kc_adversary_check(const struct kc_config *);

/*
 * Adds it to a graph whose recipe has been built: parameters with their initial values, stages,
 * and the terms l_g_gan and l_fm (weighted), l_d, d_acc (share of right decisions, of vanilla
 * and hinge), l_gp or l_r1 (weighted).
 */
int kc_adversary_build(struct kc_training *);
void kc_adversary_free(struct kc_adversary *);

/* Draws what a batch needs, keyed by (seed, index of the batch, sample). */
int kc_adversary_feed(const struct kc_training *, struct kc_plan *, int64_t index);

/* The discriminator's rate in iteration k >= 1: the schedule of the run, from gan.lr_D. */
double kc_adversary_rate(const struct kc_config *, int64_t k);

#endif
