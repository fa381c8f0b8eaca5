/* The formulas of layers/pointwise.def on packs of floats: included by pointwise.cu alone. */
#ifndef KC_LAYERS_CUDA_FORMULAS_H
#define KC_LAYERS_CUDA_FORMULAS_H

#include "layers/cuda/kernel.h"

#define KC_PW_EXP expf
#define KC_PW_EXPM1 expm1f
#define KC_PW_LOG logf
#define KC_PW_LOG1P log1pf
#define KC_PW_TANH tanhf
#define KC_PW_SQRT sqrtf
#define KC_PW_POW powf
#define KC_PW_ABS fabsf
#define KC_PW_FLOOR floorf
#define KC_PW_RINT rintf

/* The order of enum kc_pw (layers/pointwise.h). */
enum {
#define KC_PW1(name, ...) FORMULA_##name,
#define KC_PW2(name, ...) FORMULA_##name,
#define KC_PW3(name, ...) FORMULA_##name,
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
};

#define KC_PW1(name, formula, ...) \
	KC_DEVICE float formula_##name(float p, float q, float u, float, float) \
	{ \
		(void)p, (void)q; \
		return formula; \
	}
#define KC_PW2(name, formula, ...) \
	KC_DEVICE float formula_##name(float p, float q, float u, float v, float) \
	{ \
		(void)p, (void)q; \
		return formula; \
	}
#define KC_PW3(name, formula, ...) \
	KC_DEVICE float formula_##name(float p, float q, float u, float v, float w) \
	{ \
		(void)p, (void)q; \
		return formula; \
	}
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3

/* u = formula(u, v, w), eight times. */
KC_DEVICE void kc_cu_formula(int op, float p, float q, float *u, const float *v, const float *w)
{
	switch (op) {
#define APPLY(name) \
	case FORMULA_##name: \
		_Pragma("unroll") for (int k = 0; k < 8; k++) \
			u[k] = formula_##name(p, q, u[k], v[k], w[k]); \
		break;
#define KC_PW1(name, ...) APPLY(name)
#define KC_PW2(name, ...) APPLY(name)
#define KC_PW3(name, ...) APPLY(name)
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
#undef APPLY
	}
}

#endif
