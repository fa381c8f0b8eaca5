/* Outer products of rows of channels, kept in registers over a block of pixels. */
#include "layers/cpu/vec.h"

#ifdef __AVX512F__
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define OUTER(name, rows, vectors) \
	static void name(float *acc, const void *x_, const void *g_, int64_t n) \
	{ \
		const float *g = g_; \
		const vec *x = x_; \
		vec s[rows][vectors] = {{{0}}}; \
		for (int64_t p = 0; p < n; p++, x += vectors, g += rows) \
			for (int r = 0; r < rows; r++) \
				for (int v = 0; v < vectors; v++) \
					s[r][v] += g[r] * x[v]; \
		for (int r = 0; r < rows; r++) \
			for (int v = 0; v < vectors; v++) \
				((vec *)acc)[r * vectors + v] += s[r][v]; \
	}

#ifdef __AVX512F__

/* bf16 pairs: two products and their sum per lane.  Only called where the machine has it. */
#define OUTER_LOW(name, rows, vectors) \
	__attribute__((target("avx512bf16"))) static void name(float *acc, const void *x_, \
							       const void *g_, int64_t n) \
	{ \
		const int32_t *g = g_; \
		const int32_t *x = x_; \
		__m512 s[rows][vectors]; \
		for (int r = 0; r < rows; r++) \
			for (int v = 0; v < vectors; v++) \
				s[r][v] = _mm512_setzero_ps(); \
		for (int64_t p = 0; p < n; p++, x += 16 * vectors, g += rows) \
			for (int r = 0; r < rows; r++) \
				for (int v = 0; v < vectors; v++) \
					s[r][v] = _mm512_dpbf16_ps( \
						s[r][v], (__m512bh)_mm512_loadu_si512(x + 16 * v), \
						(__m512bh)_mm512_set1_epi32(g[r])); \
		for (int r = 0; r < rows; r++) \
			for (int v = 0; v < vectors; v++) { \
				float *to = acc + (r * vectors + v) * 16; \
				_mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), s[r][v])); \
			} \
	}

#define TILE(rows) \
	OUTER(wide##rows, rows, 2) \
	OUTER(narrow##rows, rows, 1) \
	OUTER_LOW(low_wide##rows, rows, 2) \
	OUTER_LOW(low_narrow##rows, rows, 1)
#define ENTRY(rows) {rows, wide##rows, narrow##rows, low_wide##rows, low_narrow##rows}

/* 32 registers: two of x, and an accumulator for each row of each. */
TILE(8)
TILE(11)
TILE(13)
TILE(14)
#define TILES 4, {ENTRY(8), ENTRY(11), ENTRY(13), ENTRY(14)}

#else

#define TILE(rows) \
	OUTER(wide##rows, rows, 2) \
	OUTER(narrow##rows, rows, 1)
#define ENTRY(rows) {rows, wide##rows, narrow##rows, NULL, NULL}

/* 16 registers. */
TILE(4)
TILE(6)
#define TILES 2, {ENTRY(4), ENTRY(6)}

#endif

static void pair(uint32_t *to, const uint16_t *a, const uint16_t *b, int64_t n)
{
	#pragma omp simd
	for (int64_t i = 0; i < n; i++)
		to[i] = (uint32_t)a[i] | (uint32_t)b[i] << 16;
}

const struct kc_vec_wgrad KC_VEC(kc_vec_wgrad) = {LANES, TILES, pair};
