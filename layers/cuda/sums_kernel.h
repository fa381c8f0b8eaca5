/* layers/cuda/sums.h for kernels. */
#ifndef KC_LAYERS_CUDA_SUMS_KERNEL_H
#define KC_LAYERS_CUDA_SUMS_KERNEL_H

#include "layers/cuda/image_kernel.h"
#include "layers/cuda/sums.h"

/* How many integer steps 1.0 has.  The largest input is below 2^(its biased exponent - 126). */
KC_DEVICE double kc_cu_sums_scale(const kc_cu_sums &s)
{
	return s.most ? ldexp(1.0, s.bits + 126 - (int)(*s.most >> 23)) : 1;
}

/* No term is larger than the largest input.  Whole displacements have three weights of 0. */
KC_DEVICE void kc_cu_sums_add(const kc_cu_sums &s, double scale, int64_t at, float term)
{
	if (term == 0)
		return;
	if (s.most)
		atomicAdd((unsigned long long *)s.sum + at,
			  (unsigned long long)__double2ll_rn(scale * term));
	else
		atomicAdd((float *)s.sum + at, term);
}

#endif
