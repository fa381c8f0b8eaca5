/* Pointwise formulas of layers/pointwise.def as loops over blocks. */
#include "layers/cpu/vec.h"
#include "layers/cpu/vec_math.h"

#define KC_PW_EXP kc_vec_exp
#define KC_PW_EXPM1 kc_vec_expm1
#define KC_PW_LOG kc_vec_log
#define KC_PW_LOG1P kc_vec_log1p
#define KC_PW_TANH kc_vec_tanh
#define KC_PW_SQRT __builtin_sqrtf
#define KC_PW_POW powf
#define KC_PW_ABS __builtin_fabsf
#define KC_PW_FLOOR __builtin_floorf
#define KC_PW_RINT __builtin_rintf

#define LOOP(name, formula) \
	static void loop_##name(float *to, const float *u_, const float *v_, const float *w_, \
				float p, float q, int64_t n) \
	{ \
		(void)v_, (void)w_, (void)p, (void)q; \
		_Pragma("omp simd") \
		for (int64_t i = 0; i < n; i++) { \
			READ \
			to[i] = (formula); \
		} \
	}
#define READ float u = u_[i];
#define KC_PW1(name, formula, ...) LOOP(name, formula)
#define KC_PW2(name, formula, ...)
#define KC_PW3(name, formula, ...)
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
#undef READ
#define READ float u = u_[i], v = v_[i];
#define KC_PW1(name, formula, ...)
#define KC_PW2(name, formula, ...) LOOP(name, formula)
#define KC_PW3(name, formula, ...)
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
#undef READ
#define READ float u = u_[i], v = v_[i], w = w_[i];
#define KC_PW1(name, formula, ...)
#define KC_PW2(name, formula, ...)
#define KC_PW3(name, formula, ...) LOOP(name, formula)
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3

static void widen(float *to, const uint16_t *from, int64_t n)
{
	#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		to[i] = kc_vec_float((int32_t)((uint32_t)from[i] << 16));
}

static void narrow(uint16_t *to, const float *from, int64_t n)
{
	#pragma omp simd
	for (int64_t i = 0; i < n; i++) {
		uint32_t u = (uint32_t)kc_vec_bits(from[i]);
		uint32_t even = u + 0x7fff + (u >> 16 & 1), nan = u | 0x400000;

		to[i] = (uint16_t)(((u & 0x7fffffff) > 0x7f800000 ? nan : even) >> 16);
	}
}

static void bytes(float *to, const uint8_t *from, float scale, int64_t n)
{
	#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		to[i] = scale * (float)from[i];
}

const struct kc_vec_pointwise KC_VEC(kc_vec_pointwise) = {
	.op = {
#define KC_PW1(name, ...) [KC_PW_##name] = loop_##name,
#define KC_PW2(name, ...) [KC_PW_##name] = loop_##name,
#define KC_PW3(name, ...) [KC_PW_##name] = loop_##name,
#include "layers/pointwise.def"
#undef KC_PW1
#undef KC_PW2
#undef KC_PW3
	},
	.widen = widen, .narrow = narrow, .bytes = bytes,
};
