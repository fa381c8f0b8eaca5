/*
 * Linear maps of planes that are the same along rows and columns: nearest and bilinear resizing,
 * average pooling.  One operator applies the map, another one its transpose; each is the
 * other's gradient.
 */
#ifndef KC_LAYERS_RESAMPLE_H
#define KC_LAYERS_RESAMPLE_H

#include "layers/ops.h"

enum kc_resample_kind {
	KC_NEAREST,             /* floor(i in/out) */
	KC_BILINEAR,            /* half-pixel centres: (i + 0.5) in/out - 0.5, not below 0 */
	KC_BILINEAR_CORNERS,    /* i (in - 1)/(out - 1) */
	KC_AVERAGE,             /* windows of k, zeros of the padding count */
	KC_AVERAGE_INSIDE,      /* windows of k, divided by what lies inside */
	KC_ADAPTIVE             /* windows floor(i in/out) .. ceil((i + 1) in/out) - 1 */
};

/* in and out are (height, width) of the map's two sides; k, stride and pad serve averages. */
struct kc_resample_attr { int64_t kind, in[2], out[2], k, stride, pad; };

/* What element i of the out side reads along an axis (0 height, 1 width). */
struct kc_taps {
	int64_t first, count;
	double weight[2];       /* of averages every weight is weight[0] */
};
struct kc_taps kc_resample_taps(const struct kc_resample_attr *, int axis, int64_t i);

static inline double kc_tap_weight(const struct kc_taps *t, int64_t j)
{
	return t->weight[t->count == 2 ? j : 0];
}

#endif
