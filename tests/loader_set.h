/* The clips and options that tests of the loader begin with. */
#ifndef KC_TESTS_LOADER_SET_H
#define KC_TESTS_LOADER_SET_H

#include "data/loader.h"

/* Three clips of 10, 6 and 3 frames of 40x32, in the test's folder.  Close it. */
struct kc_dataset *kc_test_set(void);
/* Windows of 3 in crops of 24, turned and shuffled, batches of 2, three DIS flows. */
struct kc_loader_opts kc_test_loader_opts(void);

#endif
