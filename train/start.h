/* What a run starts from: files of weights, the formula, or random numbers. */
#ifndef KC_TRAIN_START_H
#define KC_TRAIN_START_H

#include "train/config.h"
#include "core/param.h"

/*
 * Writes every parameter.  say receives lines for the log (what was filled how); messages are
 * borrowed for the call.  Frozen networks come from path.pretrain_key_net and
 * path.pretrain_flow, unless network_G.init is formula or random; trained parameters are drawn
 * at random; path.pretrain_model_G is read over all of them.  KC_ECONFIG: the metadata of the
 * keyframe network say another mask_cent than network_G.mask_cent.
 */
int kc_start(const struct kc_config *, struct kc_params *, void (*say)(void *own, const char *text),
	     void *own);

#endif
