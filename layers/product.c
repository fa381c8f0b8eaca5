#include "layers/product.h"

enum { TILE = 64, ROWS = 4, COLUMNS = 16 };

void kc_row_read(const struct kc_buf *b, int64_t at, int64_t stride, int64_t n, double *to)
{
	if (b->type.dtype == KC_F64) {
		const double *x = (const double *)b->data + at;

		for (int64_t i = 0; i < n; i++)
			to[i] = x[i * stride];
	} else if (b->type.dtype == KC_F32) {
		const float *x = (const float *)b->data + at;

		for (int64_t i = 0; i < n; i++)
			to[i] = x[i * stride];
	} else {
		for (int64_t i = 0; i < n; i++)
			to[i] = kc_get(b, at + i * stride);
	}
}

void kc_row_write(const struct kc_buf *b, int64_t at, int64_t stride, int64_t n, const double *from)
{
	for (int64_t i = 0; i < n; i++)
		kc_put(b, at + i * stride, from[i]);
}

/*
 * A 4 x 16 piece of the tile of C: c += a b over the depth, 4 rows and as many columns as two
 * registers hold at a time.  Products and sums are rounded one by one, so every machine computes
 * the same bits.
 */
#define MICRO(name, bytes, attributes) \
	typedef double name##_row __attribute__((vector_size(bytes), aligned(8), may_alias)); \
	attributes static void name(const double *a, const double *b, int64_t depth, double *c) \
	{ \
		enum { HALF = bytes / sizeof(double) }; \
		for (int j = 0; j < COLUMNS; j += 2 * HALF, b += 2 * HALF, c += 2 * HALF) { \
			name##_row s[ROWS][2]; \
			_Pragma("GCC unroll 4") for (int i = 0; i < ROWS; i++) { \
				s[i][0] = *(const name##_row *)(c + i * TILE); \
				s[i][1] = *(const name##_row *)(c + i * TILE + HALF); \
			} \
			for (int64_t d = 0; d < depth; d++) { \
				name##_row b0 = *(const name##_row *)(b + d * TILE); \
				name##_row b1 = *(const name##_row *)(b + d * TILE + HALF); \
				_Pragma("GCC unroll 4") for (int i = 0; i < ROWS; i++) { \
					s[i][0] += a[i * TILE + d] * b0; \
					s[i][1] += a[i * TILE + d] * b1; \
				} \
			} \
			_Pragma("GCC unroll 4") for (int i = 0; i < ROWS; i++) { \
				*(name##_row *)(c + i * TILE) = s[i][0]; \
				*(name##_row *)(c + i * TILE + HALF) = s[i][1]; \
			} \
		} \
	}

/* Two doubles: what every 64-bit machine can multiply at once. */
MICRO(micro_2, 16, )
#ifdef __x86_64__
MICRO(micro_4, 32, __attribute__((target("avx2"))))
MICRO(micro_8, 64, __attribute__((target("avx512f"))))
#endif

typedef void micro_fn(const double *, const double *, int64_t, double *);

static micro_fn *micro_of_machine(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512f"))
		return micro_8;
	if (__builtin_cpu_supports("avx2"))
		return micro_4;
#endif
	return micro_2;
}

static int64_t up(int64_t n, int64_t to)
{
	return (n + to - 1) / to * to;
}

/* Rows and columns beyond the matrices stay 0 in a and b; nobody reads their products. */
static void tile(const struct kc_product *p, micro_fn *micro, int64_t i0, int64_t j0)
{
	double a[TILE * TILE] = {0}, b[TILE * TILE] = {0}, c[TILE * TILE] = {0};
	int64_t m = KC_MIN(p->m - i0, TILE), n = KC_MIN(p->n - j0, TILE);

	for (int64_t d0 = 0; d0 < p->depth; d0 += TILE) {
		int64_t depth = KC_MIN(p->depth - d0, TILE);

		for (int64_t i = 0; i < m; i++)
			p->a(p->own, i0 + i, d0, depth, a + i * TILE);
		for (int64_t d = 0; d < depth; d++)
			p->b(p->own, d0 + d, j0, n, b + d * TILE);
		for (int64_t i = 0; i < up(m, ROWS); i += ROWS)
			for (int64_t j = 0; j < up(n, COLUMNS); j += COLUMNS)
				micro(a + i * TILE, b + j, depth, c + i * TILE + j);
	}
	for (int64_t i = 0; i < m; i++)
		p->store(p->own, i0 + i, j0, n, c + i * TILE);
}

void kc_product_run(const struct kc_product *p)
{
	micro_fn *micro = micro_of_machine();
	int64_t rows = (p->m + TILE - 1) / TILE, columns = (p->n + TILE - 1) / TILE;

	#pragma omp parallel for schedule(dynamic) if (p->m * p->n * p->depth > 1 << 20)
	for (int64_t t = 0; t < rows * columns; t++)
		tile(p, micro, t / columns * TILE, t % columns * TILE);
}
