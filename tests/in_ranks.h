/* Work in several processes of this machine (tests/test_ranks.c). */
#ifndef KC_TESTS_IN_RANKS_H
#define KC_TESTS_IN_RANKS_H

#include "core/ranks.h"

/*
 * Work in `size` processes, each with its ranks open; it returns 0 when all is well.  Threads of
 * OpenMP do not come along into children, so they keep to one.
 */
void test_in_ranks(int size, int (*work)(struct kc_ranks *));

#endif
