/* Sums along and across rows. */
#include "layers/cpu/vec.h"

#include "layers/cpu/vec_math.h"

enum { BLOCK = 1024, ROWS = 64 };

static inline float get_full(const void *x, int64_t i)
{
	return ((const float *)x)[i];
}

static inline float get_low(const void *x, int64_t i)
{
	return kc_vec_float((int32_t)((uint32_t)((const uint16_t *)x)[i] << 16));
}

#define SUMS(get) \
	static double sum_##get(const void *x, int64_t n) \
	{ \
		double all = 0; \
		for (int64_t b = 0; b < n; b += BLOCK) { \
			int64_t end = n - b < BLOCK ? n : b + BLOCK; \
			float s = 0; \
			_Pragma("omp simd reduction(+ : s)") \
			for (int64_t i = b; i < end; i++) \
				s += get(x, i); \
			all += (double)s; \
		} \
		return all; \
	} \
	static double squares_##get(const void *x, int64_t n) \
	{ \
		double s = 0; \
		_Pragma("omp simd reduction(+ : s)") \
		for (int64_t i = 0; i < n; i++) { \
			double v = (double)get(x, i); \
			s += v * v; \
		} \
		return s; \
	} \
	static void block_##get(double *acc, const void *x, int64_t at, int64_t step, int64_t rows, \
				int64_t n) \
	{ \
		float s[KC_VEC_COLUMNS]; \
		int64_t r = 0; \
		for (int64_t i = 0; i < n; i++) \
			s[i] = 0; \
		for (; r + 4 <= rows; r += 4, at += 4 * step) \
			_Pragma("omp simd") \
			for (int64_t i = 0; i < n; i++) \
				s[i] += (get(x, at + i) + get(x, at + step + i)) + \
					(get(x, at + 2 * step + i) + get(x, at + 3 * step + i)); \
		for (; r < rows; r++, at += step) \
			_Pragma("omp simd") \
			for (int64_t i = 0; i < n; i++) \
				s[i] += get(x, at + i); \
		_Pragma("omp simd") \
		for (int64_t i = 0; i < n; i++) \
			acc[i] += (double)s[i]; \
	} \
	static void columns_##get(double *acc, const void *x, int64_t step, int64_t rows, int64_t n) \
	{ \
		for (int64_t r = 0; r < rows; r += ROWS) \
			block_##get(acc, x, r * step, step, rows - r < ROWS ? rows - r : ROWS, n); \
	}
SUMS(get_full)
SUMS(get_low)

static double sum(const void *x, bool low, int64_t n)
{
	return low ? sum_get_low(x, n) : sum_get_full(x, n);
}

static double squares(const void *x, bool low, int64_t n)
{
	return low ? squares_get_low(x, n) : squares_get_full(x, n);
}

static void columns(double *acc, const void *x, bool low, int64_t step, int64_t rows, int64_t n)
{
	if (low)
		columns_get_low(acc, x, step, rows, n);
	else
		columns_get_full(acc, x, step, rows, n);
}

const struct kc_vec_reduce KC_VEC(kc_vec_reduce) = {
	.sum = sum, .squares = squares, .columns = columns};
