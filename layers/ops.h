/* Every operator of layers/ops.def by name: kc_op_conv, kc_op_matmul, ... */
#ifndef KC_LAYERS_OPS_H
#define KC_LAYERS_OPS_H

#include "core/op.h"

#define KC_OP(name) extern const struct kc_op kc_op_##name;
#include "layers/ops.def"
#undef KC_OP

#endif
