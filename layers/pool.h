/* Attributes of max pooling and of its gradients, for kernels. */
#ifndef KC_LAYERS_POOL_H
#define KC_LAYERS_POOL_H

#include <stdint.h>

struct kc_pool_attr { int64_t k, stride, pad; };        /* max_pool -> maxima, places (int32) */
/*
 * plane_take: y[n,c,i] = x[n,c,index[n,c,i]]; plane_put is its transpose.  A place is counted
 * row by row in a plane of h x w, which are x's for plane_take and y's for plane_put.
 */
struct kc_plane_attr { int64_t h, w; };

#endif
