/* What the files of layers/cpu share; nobody else includes this. */
#ifndef KC_LAYERS_CPU_ROWS_H
#define KC_LAYERS_CPU_ROWS_H

#include "core/device.h"
#include "layers/layers.h"
#include "layers/ops.h"

/* The level of vector kernels in use: KC_ISA_V2... of cpu.h. */
int kc_cpu_isa(void);
/* Products of bf16 pairs are the machine's best way to multiply bf16 (there is no AMX). */
bool kc_cpu_has_dot_bf16(void);

/* Kernel rows, best first within one operator; each table ends with NULL. */
extern const struct kc_kernel *const kc_cpu_deconv_rows[];
extern const struct kc_kernel *const kc_cpu_wgrad_rows[];
extern const struct kc_kernel *const kc_cpu_conv_rows[];
extern const struct kc_kernel *const kc_cpu_matmul_rows[];
extern const struct kc_kernel *const kc_cpu_pointwise_rows[];
extern const struct kc_kernel *const kc_cpu_shape_rows[];
extern const struct kc_kernel *const kc_cpu_reduce_rows[];
extern const struct kc_kernel *const kc_cpu_sample_rows[];
extern const struct kc_kernel *const kc_cpu_image_rows[];

static inline bool kc_cpu_is_float(const struct kc_buf *b)
{
	return b->type.dtype == KC_F32 || b->type.dtype == KC_BF16;
}

enum {
	KC_CPU_ALIGN = 64,
	KC_CPU_PARALLEL = 1 << 15       /* elements below which waking other threads costs more */
};

static inline bool kc_cpu_is_big(const struct kc_buf *b)
{
	return kc_numel(&b->type) >= KC_CPU_PARALLEL;
}

static inline size_t kc_cpu_round(size_t bytes)
{
	return (bytes + KC_CPU_ALIGN - 1) / KC_CPU_ALIGN * KC_CPU_ALIGN;
}

#endif
