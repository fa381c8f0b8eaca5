/* Means over ranks by NCCL: of bin/gpu_check. */
#ifndef KC_TESTS_GPU_RANKS_H
#define KC_TESTS_GPU_RANKS_H

#include "core/ranks.h"

/*
 * Means of two arrays of a million numbers, some of which are made while the others travel: run,
 * recorded and replayed, and compared with what they must be.  Alone, a rank meets nobody but makes
 * the same calls of NCCL.  KC_ENOSUP where there is none.
 */
int ranks_check(struct kc_ranks *, const char *device);

#endif
