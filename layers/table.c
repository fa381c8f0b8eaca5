/* The table of operators: layers/pointwise.def and layers/ops.def, in that order. */
#include "layers/layers.h"
#include "layers/ops.h"

static const struct kc_op *const all[] = {
#define KC_PW1(name, ...) &kc_pw_ops[KC_PW_##name],
#define KC_PW2(name, ...) &kc_pw_ops[KC_PW_##name],
#define KC_PW3(name, ...) &kc_pw_ops[KC_PW_##name],
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
#define KC_OP(name) &kc_op_##name,
#include "layers/ops.def"
#undef KC_OP
};

const struct kc_op_set kc_layers = {
	.all = all, .n = KC_COUNT(all), .add = kc_add, .fused = &kc_op_fused,
};
