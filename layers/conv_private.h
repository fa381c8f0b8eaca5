/* What layers/conv.c and layers/conv_ref.c share; nobody else includes this. */
#ifndef KC_LAYERS_CONV_PRIVATE_H
#define KC_LAYERS_CONV_PRIVATE_H

#include "layers/layers.h"

/* Reference kernels: x, w, [bias] -> y; gy, w, [bias] -> gx; x, gy -> gw. */
void kc_conv_ref(const struct kc_call *);
void kc_conv_dgrad_ref(const struct kc_call *);
void kc_conv_wgrad_ref(const struct kc_call *);

#endif
