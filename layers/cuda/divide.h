/*
 * Division by a number that is known when a kernel is launched: a product and a shift
 * (Granlund and Montgomery, Division by Invariant Integers using Multiplication, 1994,
 * section 4).  In C and in CUDA.
 */
#ifndef KC_LAYERS_CUDA_DIVIDE_H
#define KC_LAYERS_CUDA_DIVIDE_H

#include <stdint.h>

struct kc_divisor { uint32_t by, factor, shift; };

/* by: 1 .. 2^31 - 1 */
static inline struct kc_divisor kc_divisor_of(uint32_t by)
{
	struct kc_divisor d = {by, 0, 0};

	while ((uint64_t)1 << d.shift < by)
		d.shift++;
	d.factor = (uint32_t)((((uint64_t)1 << (31 + d.shift)) + by - 1) / by);
	return d;
}

/* i / d.by, for i below 2^31 */
#ifdef __CUDACC__
__host__ __device__
#endif
static inline uint32_t kc_divide(uint32_t i, const struct kc_divisor *d)
{
	return (uint32_t)((uint64_t)(i << 1) * d->factor >> 32) >> d->shift;
}

#endif
