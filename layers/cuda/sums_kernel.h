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

/* Four neighbours, aligned at 16 bytes, at once. */
KC_DEVICE void kc_cu_add_four(float *p, const float *x)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
	asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};\n" ::"l"(
			     __cvta_generic_to_global(p)),
		     "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3])
		     : "memory");
#else
#pragma unroll
	for (int k = 0; k < 4; k++)
		atomicAdd(p + k, x[k]);
#endif
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

/* weight v to N neighbours; in packs of four only to float32 sums. */
template <int N>
KC_DEVICE void kc_cu_sums_add(const kc_cu_sums &s, double scale, int64_t at, float weight,
			      const float *v)
{
	float term[N];
	bool any = false;

#pragma unroll
	for (int k = 0; k < N; k++) {
		term[k] = weight * v[k];
		any |= term[k] != 0;
	}
	if (N % 4) {
#pragma unroll
		for (int k = 0; k < N; k++)
			kc_cu_sums_add(s, scale, at + k, term[k]);
	} else {
#pragma unroll
		for (int k = 0; k < N && any; k += 4)
			kc_cu_add_four((float *)s.sum + at + k, term + k);
	}
}

#endif
