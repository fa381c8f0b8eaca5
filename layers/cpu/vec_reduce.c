/* Sums along and across rows. */
#include "layers/cpu/vec.h"

#include "layers/cpu/vec_math.h"

#define INLINE static inline __attribute__((always_inline))

enum { BLOCK = 1024, ROWS = 64 };

INLINE float get(const void *x, bool low, int64_t i)
{
	if (low)
		return kc_vec_float((int32_t)((uint32_t)((const uint16_t *)x)[i] << 16));
	return ((const float *)x)[i];
}

/* The loops are written once and compiled for each dtype. */
INLINE double sum_of(const void *x, bool low, int64_t n)
{
	double all = 0;

	for (int64_t b = 0; b < n; b += BLOCK) {
		int64_t end = n - b < BLOCK ? n : b + BLOCK;
		float s = 0;

		#pragma omp simd reduction(+ : s)
		for (int64_t i = b; i < end; i++)
			s += get(x, low, i);
		all += (double)s;
	}
	return all;
}

INLINE double squares_of(const void *x, bool low, int64_t n)
{
	double s = 0;

	#pragma omp simd reduction(+ : s)
	for (int64_t i = 0; i < n; i++) {
		double v = (double)get(x, low, i);

		s += v * v;
	}
	return s;
}

/* acc += the sum of a few rows, four at a time. */
INLINE void add_block(double *acc, const void *x, bool low, int64_t at, int64_t step, int64_t rows,
		      int64_t n)
{
	float s[KC_VEC_COLUMNS];
	int64_t r = 0;

	for (int64_t i = 0; i < n; i++)
		s[i] = 0;
	for (; r + 4 <= rows; r += 4, at += 4 * step) {
		#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			s[i] += (get(x, low, at + i) + get(x, low, at + step + i)) +
				(get(x, low, at + 2 * step + i) + get(x, low, at + 3 * step + i));
	}
	for (; r < rows; r++, at += step) {
		#pragma omp simd
		for (int64_t i = 0; i < n; i++)
			s[i] += get(x, low, at + i);
	}
	#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		acc[i] += (double)s[i];
}

INLINE void columns_of(double *acc, const void *x, bool low, int64_t step, int64_t rows, int64_t n)
{
	for (int64_t r = 0; r < rows; r += ROWS)
		add_block(acc, x, low, r * step, step, rows - r < ROWS ? rows - r : ROWS, n);
}

static double sum(const void *x, bool low, int64_t n)
{
	return low ? sum_of(x, true, n) : sum_of(x, false, n);
}

static double squares(const void *x, bool low, int64_t n)
{
	return low ? squares_of(x, true, n) : squares_of(x, false, n);
}

static void columns(double *acc, const void *x, bool low, int64_t step, int64_t rows, int64_t n)
{
	if (low)
		columns_of(acc, x, true, step, rows, n);
	else
		columns_of(acc, x, false, step, rows, n);
}

const struct kc_vec_reduce KC_VEC(kc_vec_reduce) = {
	.sum = sum, .squares = squares, .columns = columns};
