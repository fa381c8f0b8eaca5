/* Work in several processes of this machine. */
#ifndef KC_TESTS_IN_RANKS_H
#define KC_TESTS_IN_RANKS_H

#include "core/ranks.h"

#include <sys/types.h>

/*
 * Work in `size` processes, each with its ranks open; it returns 0 when all is well.  Threads of
 * OpenMP do not come along into children, so they keep to one.
 */
void test_in_ranks(int size, int (*work)(struct kc_ranks *));

/* A port that was free a moment ago. */
int test_free_port(void);
/* The environment of one of `size` ranks that meet there. */
void test_set_variables(int rank, int size, int port);
/* The status with which a child ended; 256 and its signal when one ended it. */
int test_status_of(pid_t);

#endif
