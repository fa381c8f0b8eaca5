/* Attributes of the correlation operators, for kernels. */
#ifndef KC_LAYERS_MOTION_H
#define KC_LAYERS_MOTION_H

#include "layers/ops.h"

/*
 * correlation: a, b (N,C,H,W) -> (N,D^2,H,W) with D = 2 floor(max_displacement / step) + 1:
 *     y[n, (tj + D/2) D + ti + D/2, i, j]
 *         = 1/C sum over c of a[n, c, i, j] b[n, c, i + tj step, j + ti step]
 * and 0 outside.  correlation_a: g, b -> the gradient of a; correlation_b: g, a -> that of b.
 */
struct kc_correlation_attr { int64_t max_displacement, step; };

#endif
