/*
 * The device "cpu": oneDNN for convolutions and matrix products, vector kernels for the rest,
 * chosen for the instruction sets of the machine when the program starts.  What has no fast
 * kernel runs on the reference kernel.
 */
#ifndef KC_LAYERS_CPU_CPU_H
#define KC_LAYERS_CPU_CPU_H

#include "core/device.h"

/*
 * threads 0: as many as the process may use.  Sets the OpenMP thread count of the calling
 * thread, which is the one that plans of this device must run in.  Results depend on the
 * number of threads, and on nothing else that changes from run to run.
 */
int kc_device_cpu(struct kc_device *, int threads);

/*
 * To be called first in main.  OpenMP threads spin while they wait for each other; on cores that
 * are shared with other work (the loader's threads, another program) that costs many times what
 * it saves.  libgomp reads how long to spin when it is loaded, so the program starts itself
 * again with a short limit, unless the user has set GOMP_SPINCOUNT or OMP_WAIT_POLICY.
 */
void kc_cpu_share_cores(char **argv);

/*
 * Measures the machine's matrix-product peak with the library's own convolution, in FLOP/s, in
 * about 0.3 s; low: of bf16.  0 when it cannot be measured.
 */
double kc_cpu_peak(bool low);

/* "oneDNN 2.6.3, x86-64-v4, bf16, 2 threads": for logs and reports. */
const char *kc_cpu_describe(void);

/* Instruction set levels of the vector kernels. */
enum { KC_ISA_V2 = 2, KC_ISA_V3, KC_ISA_V4 };
/* The best level that the machine has, and the one in use from now on (for tests). */
int kc_cpu_isa_best(void);
void kc_cpu_isa_set(int level);

#endif
