#include "layers/product.h"

enum { TILE = 64, MICRO = 4 };

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

/* Two doubles: what every 64-bit machine can multiply at once. */
typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));

/* A 4 x 4 piece of the tile of C, kept in registers: c += a b over the depth. */
static void micro(const double *a, const double *b, int64_t depth, double *c)
{
	pair s[MICRO][2];

	#pragma GCC unroll 4
	for (int i = 0; i < MICRO; i++)
		for (int j = 0; j < 2; j++)
			s[i][j] = *(const pair *)(c + i * TILE + 2 * j);
	for (int64_t d = 0; d < depth; d++) {
		pair b0 = *(const pair *)(b + d * TILE), b1 = *(const pair *)(b + d * TILE + 2);

		#pragma GCC unroll 4
		for (int i = 0; i < MICRO; i++) {
			double x = a[i * TILE + d];

			s[i][0] += x * b0;
			s[i][1] += x * b1;
		}
	}
	#pragma GCC unroll 4
	for (int i = 0; i < MICRO; i++)
		for (int j = 0; j < 2; j++)
			*(pair *)(c + i * TILE + 2 * j) = s[i][j];
}

static int64_t up(int64_t n)
{
	return (n + MICRO - 1) / MICRO * MICRO;
}

/* Rows and columns beyond the matrices stay 0 in a and b; nobody reads their products. */
static void tile(const struct kc_product *p, int64_t i0, int64_t j0)
{
	double a[TILE * TILE] = {0}, b[TILE * TILE] = {0}, c[TILE * TILE] = {0};
	int64_t m = KC_MIN(p->m - i0, TILE), n = KC_MIN(p->n - j0, TILE);

	for (int64_t d0 = 0; d0 < p->depth; d0 += TILE) {
		int64_t depth = KC_MIN(p->depth - d0, TILE);

		for (int64_t i = 0; i < m; i++)
			p->a(p->own, i0 + i, d0, depth, a + i * TILE);
		for (int64_t d = 0; d < depth; d++)
			p->b(p->own, d0 + d, j0, n, b + d * TILE);
		for (int64_t i = 0; i < up(m); i += MICRO)
			for (int64_t j = 0; j < up(n); j += MICRO)
				micro(a + i * TILE, b + j, depth, c + i * TILE + j);
	}
	for (int64_t i = 0; i < m; i++)
		p->store(p->own, i0 + i, j0, n, c + i * TILE);
}

void kc_product_run(const struct kc_product *p)
{
	int64_t rows = (p->m + TILE - 1) / TILE, columns = (p->n + TILE - 1) / TILE;

	#pragma omp parallel for schedule(dynamic) if (p->m * p->n * p->depth > 1 << 20)
	for (int64_t t = 0; t < rows * columns; t++)
		tile(p, t / columns * TILE, t % columns * TILE);
}
