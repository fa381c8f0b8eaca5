/*
 * The best checkpoint, by a rule that the user writes: the score of a validation is the sum of its
 * numbers, each times its weight in best.*; the highest is best.  Which one that is, is read from
 * metrics.jsonl, so it is the same behind a resumption.
 */
#ifndef KC_TRAIN_BEST_H
#define KC_TRAIN_BEST_H

#include "train/config.h"
#include "train/measure.h"

/* The score's name in logs. */
#define KC_BEST_NAME "val_score"

/* False when no weight is set; a number that is not finite and counts makes the score NAN. */
bool kc_best_score(const struct kc_config *, const double values[KC_MEASURED], double *score);

/*
 * The iteration with the highest score in a metrics file, the first of equals; -1: none.  Scores
 * are those of its numbers by the weights of now: a run may be resumed with others.
 */
int64_t kc_best_iter(const struct kc_config *, const char *metrics_path);

#endif
