/*
 * Elementary functions that compilers can vectorise: no branch, no call, no table.  Errors are
 * 1 to 3 units in the last place.  Infinities and NaN give what the C library gives; results
 * below the smallest normal float become 0.
 *
 * Polynomials: minimax fits on the reduced ranges stated at each.
 */
#ifndef KC_LAYERS_CPU_VEC_MATH_H
#define KC_LAYERS_CPU_VEC_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float kc_vec_float(int32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

static inline int32_t kc_vec_bits(float f)
{
	int32_t i;

	memcpy(&i, &f, sizeof i);
	return i;
}

/* 2^k for integers k of -126..127. */
static inline float kc_vec_exp2i(int32_t k)
{
	return kc_vec_float((k + 127) << 23);
}

/* x = k ln 2 + r with |r| <= ln 2 / 2; returns r.  ln 2 in two parts, the first of 9 bits. */
static inline float kc_vec_reduce(float x, int32_t *k)
{
	float n = __builtin_rintf(x * 1.44269504088896341f);

	*k = (int32_t)n;
	return (x - n * 0.693359375f) + n * 2.12194440e-4f;
}

/* exp(r) - 1 for |r| <= 0.36, by the Taylor series to r^8: its remainder is below 1e-9. */
static inline float kc_vec_expm1_small(float r)
{
	float p = 2.48015873e-5f;

	p = p * r + 1.98412698e-4f;
	p = p * r + 1.38888889e-3f;
	p = p * r + 8.33333333e-3f;
	p = p * r + 4.16666667e-2f;
	p = p * r + 1.66666667e-1f;
	p = p * r + 0.5f;
	return p * r * r + r;
}

static inline float kc_vec_exp(float x)
{
	float in = x > 88.8f ? 88.8f : x >= -87.3f ? x : -87.3f;        /* of NaN, too */
	int32_t k;
	float r = kc_vec_reduce(in, &k), y;

	/* 2^128 does not exist: two steps reach the largest floats. */
	y = (kc_vec_expm1_small(r) + 1) * kc_vec_exp2i(k >> 1) * kc_vec_exp2i(k - (k >> 1));
	y = x > 88.7228394f ? INFINITY : y;
	y = x < -87.3f ? 0 : y;
	return x != x ? x : y;
}

static inline float kc_vec_expm1(float x)
{
	float in = x > 88.8f ? 88.8f : x >= -60.f ? x : -60.f;
	int32_t k;
	float r = kc_vec_reduce(in, &k), half = kc_vec_exp2i(k - 1), y;

	y = 2 * (half * kc_vec_expm1_small(r) + (half - 0.5f));
	y = x > 88.7228394f ? INFINITY : y;
	return x != x ? x : y;
}

/* log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)], as 2 artanh(s) with s = f / (2 + f). */
static inline float kc_vec_log_near1(float f)
{
	float s = f / (2 + f), z = s * s, p = 0.24279079f;

	p = p * z + 0.28498787f;
	p = p * z + 0.4000972152f;
	p = p * z + 0.66666662693f;
	return f - s * (f - z * p);
}

static inline float kc_vec_log(float x)
{
	float tiny = x < 1.17549435e-38f ? x * 8388608.f : x;
	float shift = x < 1.17549435e-38f ? -23.f : 0.f;
	uint32_t bits = (uint32_t)kc_vec_bits(tiny);
	int32_t k = (int32_t)(bits - 0x3f3504f3u) >> 23;
	float f = kc_vec_float((int32_t)(bits - (uint32_t)k * 0x800000u)) - 1;
	float e = (float)k + shift, y;

	y = e * 0.693359375f + (kc_vec_log_near1(f) - e * 2.12194440e-4f);
	y = x == INFINITY ? x : y;
	y = x == 0 ? -INFINITY : y;
	y = x < 0 ? NAN : y;
	return x != x ? x : y;
}

static inline float kc_vec_log1p(float x)
{
	float u = 1 + x, d = u - 1, y = kc_vec_log(u) + (x - d) / u;

	y = u == 1 ? x : y;
	return u == INFINITY ? u : y;
}

/* From expm1(-2|x|), which loses nothing near 0. */
static inline float kc_vec_tanh(float x)
{
	float a = __builtin_fabsf(x), in = a > 15 ? 15 : a;
	float t = kc_vec_expm1(-2 * in), y = -t / (t + 2);

	return __builtin_copysignf(y, x);
}

#endif
