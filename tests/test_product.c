/* Matrix products of the reference kernels: every machine computes the same bits. */
#include "core/random.h"
#include "layers/product.h"
#include "tests/test.h"

#include <stdlib.h>

struct matrices {
	double *a, *b, *c;
	int64_t depth, columns;
};

static void get_a(const void *own, int64_t i, int64_t d, int64_t count, double *to)
{
	const struct matrices *m = own;

	memcpy(to, m->a + i * m->depth + d, (size_t)count * sizeof *to);
}

static void get_b(const void *own, int64_t d, int64_t j, int64_t count, double *to)
{
	const struct matrices *m = own;

	memcpy(to, m->b + d * m->columns + j, (size_t)count * sizeof *to);
}

static void store(const void *own, int64_t i, int64_t j, int64_t count, double *c)
{
	const struct matrices *m = own;

	memcpy(m->c + i * m->columns + j, c, (size_t)count * sizeof *c);
}

static double *numbers(struct kc_random *r, int64_t n)
{
	double *v = kc_calloc((size_t)n, sizeof *v);

	KC_ASSERT(v);
	for (int64_t i = 0; i < n; i++)
		v[i] = kc_random_unit(r) - 0.5;
	return v;
}

static void check(int64_t rows, int64_t columns, int64_t depth)
{
	struct matrices m = {.depth = depth, .columns = columns};
	struct kc_random r;
	int64_t wrong = 0;

	kc_random_init(&r, 5, KC_STREAM_TEST, (uint64_t)depth, 1);
	m.a = numbers(&r, rows * depth);
	m.b = numbers(&r, depth * columns);
	m.c = numbers(&r, rows * columns);
	kc_product_run(&(struct kc_product){.own = &m, .m = rows, .n = columns, .depth = depth,
					    .a = get_a, .b = get_b, .store = store});
	for (int64_t i = 0; i < rows * columns; i++) {
		double sum = 0;

		for (int64_t d = 0; d < depth; d++)
			sum += m.a[i / columns * depth + d] * m.b[d * columns + i % columns];
		wrong += m.c[i] != sum;
	}
	KC_CHECK(!wrong);
	free(m.a);
	free(m.b);
	free(m.c);
}

static void test_order(void)
{
	static const int64_t size[] = {1, 3, 15, 17, 64, 67, 130};

	for (size_t i = 0; i < KC_COUNT(size); i++)
		for (size_t k = 0; k < KC_COUNT(size); k++)
			check(size[i], size[k], size[(i + 3 * k + 1) % KC_COUNT(size)]);
}

const struct kc_test kc_tests_product[] = {
	{"elements are summed one by one, in order", test_order},
	{0},
};
