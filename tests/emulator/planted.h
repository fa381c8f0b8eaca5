/* Kernels with and without a planted fault, to see that the emulator finds it. */
#ifndef KC_TESTS_EMULATOR_PLANTED_H
#define KC_TESTS_EMULATOR_PLANTED_H

#include "tests/emulator/emulator.h"

enum planted {
	PLANTED_NOTHING,
	PLANTED_NO_BARRIER,             /* a neighbour's shared element is read too early */
	PLANTED_DIVERGENT,              /* half of the block skips a barrier */
	PLANTED_PLAIN,                  /* a barrier in a kernel of KC_LAUNCH */
	PLANTED_SHARED,                 /* one element behind a shared array is written */
	PLANTED_SHUFFLE                 /* a lane leaves before a shuffle of all */
};

#ifdef __cplusplus
extern "C" {
#endif
/* y[i] = x[i] + the sum of x in the block of 64; n is a multiple of 64. */
int planted_sums(float *y, const float *x, int n, int fault, cudaStream_t);
/* y[i] = x[i + shift] */
int planted_shift(float *y, const float *x, int n, int shift, cudaStream_t);
/* y = x, n times sixteen bytes */
int planted_packs(float *y, const float *x, int n, cudaStream_t);
/* A block with that much dynamic shared memory, asked for or not. */
int planted_shared(int bytes, int ask, cudaStream_t);
/* Bins of 0 .. 7 in dynamic shared memory; counts[8] */
int planted_count(int *counts, const int *x, int n, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
