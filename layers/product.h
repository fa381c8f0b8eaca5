/*
 * For reference kernels: rows of any dtype and stride read into doubles, and a matrix
 * product over elements that the caller fetches, so that one loop serves convolutions, their
 * gradients and matrix products in every layout.
 */
#ifndef KC_LAYERS_PRODUCT_H
#define KC_LAYERS_PRODUCT_H

#include "core/tensor.h"

/* to[i] = element at + i * stride, for i in 0..n-1. */
void kc_row_read(const struct kc_buf *, int64_t at, int64_t stride, int64_t n, double *to);
void kc_row_write(const struct kc_buf *, int64_t at, int64_t stride, int64_t n, const double *from);

/*
 * C = A B, with A of m x depth and B of depth x n.  Sums are in double and in the order of
 * depth, whatever the number of threads.  The callbacks run in several threads at once.
 */
struct kc_product {
	const void *own;
	int64_t m, n, depth;
	/* count elements of row i of A, from column d. */
	void (*a)(const void *own, int64_t i, int64_t d, int64_t count, double *to);
	/* count elements of row d of B, from column j. */
	void (*b)(const void *own, int64_t d, int64_t j, int64_t count, double *to);
	/* count finished elements of row i of C, from column j. */
	void (*store)(const void *own, int64_t i, int64_t j, int64_t count, double *c);
};
void kc_product_run(const struct kc_product *);

#endif
