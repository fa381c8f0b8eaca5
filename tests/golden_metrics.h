/*
 * Checks losses/metrics and losses/consistency against a metrics.json: clips of PNG frames in
 * <folder of the json>/<clip>/{gt,out}, flows in flows.safetensors beside it.
 */
#ifndef KC_TESTS_GOLDEN_METRICS_H
#define KC_TESTS_GOLDEN_METRICS_H

#include "tests/golden.h"

/*
 * One case per clip and one for the means over clips.  Every entry of the file must be
 * computed here, or be one of the few that are no metric; an unknown one is a failure.
 */
void golden_metrics(struct golden *, const char *path, const struct kc_json *root);

#endif
