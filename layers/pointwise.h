/*
 * Pointwise operators: formula and gradient are one line each in layers/pointwise.def, from
 * which the descriptors, the reference kernel and every device's kernels are compiled.
 * p and q are the operator's two numbers (a slope, an exponent, bounds).
 */
#ifndef KC_LAYERS_POINTWISE_H
#define KC_LAYERS_POINTWISE_H

#include "core/op.h"

struct kc_pw_attr { double p, q; };

enum kc_pw {
#define KC_PW1(name, formula, ...) KC_PW_##name,
#define KC_PW2(name, formula, ...) KC_PW_##name,
#define KC_PW3(name, formula, ...) KC_PW_##name,
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
	KC_PW_COUNT
};

/* Descriptor of each; kc_op.pointwise is its index. */
extern const struct kc_op kc_pw_ops[KC_PW_COUNT];

/* Exporter of all of them (core/onnx.h). */
const char *kc_pointwise_onnx(struct kc_onnx *, const struct kc_tensor *);

/* Runs a chain of them (core/op.h, struct kc_fused_attr). */
extern const struct kc_op kc_op_fused;

#endif
