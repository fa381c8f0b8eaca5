/* Compares train/schedule with learning rates that an independent implementation computed. */
#ifndef KC_TESTS_GOLDEN_SCHEDULES_H
#define KC_TESTS_GOLDEN_SCHEDULES_H

#include <stddef.h>

/*
 * Checks every rate of every schedule in a schedules.json: used and logged, to 1e-12
 * relative.  KC_ENUMERIC names the schedule and the iteration that differ; otherwise the
 * number of schedules that agree, and the greatest relative difference in *worst.
 */
int kc_golden_check_schedules(const char *path, double *worst);

#endif
