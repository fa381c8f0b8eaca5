/* Attributes and numbers of layers/bins.c, for kernels. */
#ifndef KC_LAYERS_BINS_H
#define KC_LAYERS_BINS_H

#include "layers/ops.h"

struct kc_constant_attr { const double *table; int64_t ndim, dim[KC_MAX_DIM]; };

/* soft_encode: bins that get a weight exp(-distance^2 / (2 sigma^2)), relative to the nearest. */
enum { KC_SOFT_NEAREST = 10, KC_SOFT_SIGMA = 5 };
/* hard_encode: index of a and of b in 0 .. side - 1, in steps of 10 from -110. */
enum { KC_HARD_SIDE = 23 };

#endif
