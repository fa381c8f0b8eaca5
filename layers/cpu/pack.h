/*
 * Weights of a convolution in the format that a primitive of oneDNN wants: a request to the
 * plan (struct kc_pack), made from float32 masters or from whatever the plan holds.
 */
#ifndef KC_LAYERS_CPU_PACK_H
#define KC_LAYERS_CPU_PACK_H

#include "core/device.h"
#include "layers/cpu/dnnl.h"

/* How the primitive's weights follow from (Cout, Cin/groups, k...). */
enum kc_cpu_turn {
	KC_TURN_NONE,
	KC_TURN_SWAP, /* input and output channels change places */
	KC_TURN_FLIP, /* they do, and every axis of the window is reversed */
	/*
	 * Of a 4x4 window with stride 2 and pad 1: (4 Cin, Cout, 2, 2).  Channel (2a + b) Cin + i
	 * at tap (p, q) is tap (3 - a - 2p, 3 - b - 2q) of input channel i: what output phase (a,
	 * b) of the transposed convolution reads.  One group.
	 */
	KC_TURN_PHASES
};

/* The weights of that buffer as an argument of dtype `dtype`, groups split off; any format. */
void kc_cpu_weights_mem(struct kc_dnn_mem *, const struct kc_buf *w, int64_t groups,
			enum kc_cpu_turn, int64_t dtype);

/* Adds the request for input `input` of the step to info->pack. */
int kc_cpu_pack_add(struct kc_step_info *info, int input, const struct kc_dnn_spec *,
		    const struct kc_dnn *, int64_t groups, enum kc_cpu_turn);

#endif
