/*
 * The device "cuda:N".  Everything below layers/cuda is a plugin, libkc_cuda.so, that programs
 * load when such a device is asked for (layers/devices.h), so a machine without CUDA needs no
 * part of it.
 *
 * What the plugin's files share: the state of a device, and how a kernel row is written.
 *
 *  - Memory of the device holds the arena, input slots, constants, parameters and their packed
 *    forms; a struct kc_buf that reaches a kernel row points into it.  Layouts are those of
 *    core/tensor.h: activations channels-last, parameters row-major.
 *  - Element types are float32, bf16 (two bytes, the upper half of a float32) and the integers.
 *    Sums are kept in float32 or better.
 *  - A row's run only enqueues work on kc_cuda_stream(): it neither allocates nor waits, because
 *    a run of a plan is recorded, once for each place of its slots, and replayed (CUDA graphs).
 *    What changes from step to step is read from device memory.  Uploads of a row's own tables
 *    happen in its prepare, or in its run when a pointer it was told has changed, which then has
 *    a table for each place (many.h): a plan runs at least once unrecorded in either.
 *  - With info->deterministic equal inputs give equal bits: no floating-point atomics.
 *  - .cu files hold kernels and extern "C" launchers only; the rows are in .c files.  A header of
 *    the family's name (move.h, sample.h) declares the launchers to both; .cu files include it and
 *    layers/cuda/kernel.h, or image_kernel.h for images.
 *
 * The same files, compiled by the host's compiler against tests/emulator/cuda_runtime.h, are the
 * device "emulator" of the tests.
 */
#ifndef KC_LAYERS_CUDA_CUDA_H
#define KC_LAYERS_CUDA_CUDA_H

#include "core/device.h"
#include "layers/cuda/cudnn_conv.h"
#include "layers/layers.h"
#include "layers/ops.h"

#include <cuda_runtime_api.h>

struct kc_cublas;

struct kc_cuda {
	int index;
	char name[24];                  /* "cuda:0" */
	char about[320];                /* "NVIDIA H200, compute capability 9.0" */
	struct cudaDeviceProp properties;
	cudaStream_t stream;            /* of all kernels */
	cudaStream_t sends;             /* of what travels to the device beside them */
	bool tf32;                      /* float32 products may round their factors to TF32 */
	bool autotune;                  /* time the library's candidates when a plan is built */
	struct kc_cudnn *cudnn;         /* opened when they are first used */
	struct kc_cublas *cublas;
	struct kc_cudnn_cache *timed, *guessed; /* choices of engines; or NULL */
	struct kc_cudnn_budget budget;  /* for timed ones */
	size_t allocated;               /* bytes asked for so far */
	/* Of training over several devices (layers/cuda/ranks.c); NULL alone. */
	struct kc_ranks *ranks;
	struct kc_nccl *nccl;
	cudaStream_t messages;          /* what the ranks send each other travels here */
};

struct kc_device_choice;

/* Opens device `index` (layers/devices.h); KC_ENOSUP when CUDA cannot be used, KC_ENOENT when
 * there is no such device. */
int kc_cuda_open(struct kc_device *, int index, const struct kc_device_choice *);
/* One line per device, or why there is none; the caller frees it. */
char *kc_cuda_list(void);

/* cuDNN and cuBLAS (layers/cuda/libraries.c); the emulator has its own in their place.  Opening
 * costs memory of the device and time, so it is done by the first plan that needs them. */
int kc_cuda_use_cudnn(struct kc_cuda *);
int kc_cuda_use_cublas(struct kc_cuda *);
void kc_cuda_libraries_close(struct kc_cuda *);
extern const struct kc_kernel *const kc_cuda_library_rows[];

/* All rows, NULL-terminated. */
const struct kc_kernel *const *kc_cuda_rows(void);

static inline struct kc_cuda *kc_cuda_of(const struct kc_device *d)
{
	return d->own;
}

static inline cudaStream_t kc_cuda_stream(const struct kc_call *c)
{
	return kc_cuda_of(c->device)->stream;
}

/* 0, or KC_EBACKEND with the runtime's words; what: "copy to the device". */
int kc_cuda_check(cudaError_t, const char *what);
/* What a launcher of a .cu file returned. */
int kc_cuda_launched(int error, const char *kernel);

/* Wait for the stream or the event; fail within seconds when another rank is lost, for whom any
 * waiting call of the runtime would wait for ever. */
int kc_cuda_wait(struct kc_cuda *, cudaStream_t);
int kc_cuda_wait_event(struct kc_cuda *, cudaEvent_t);
void kc_cuda_ranks_close(struct kc_cuda *);

/* Device memory that lives as long as the plan's step: tables of prepare.  Freed by the row. */
int kc_cuda_table(void **out, const void *bytes, size_t n);
void kc_cuda_table_free(void *);

/* ---- tensors for kernels ---- */

#include "layers/cuda/view.h"

struct kc_view kc_view_of(const struct kc_buf *);

/* Elements; 1 of a view without dimensions. */
int64_t kc_view_count(const struct kc_view *);

/*
 * Dimensions ordered as they lie in the first view's memory, slowest first, sizes of 1 dropped
 * and neighbours joined where every one of the n views allows it: what is left is as few
 * dimensions as possible.  All views have equal dimensions (strides of 0 repeat).
 */
void kc_view_join(struct kc_view *v, int n);

/* Elements from one buffer to another: any types, any strides.  Where `to` has more of them along
 * a dimension, zeros are behind those of `from`. */
int kc_cuda_copy(const struct kc_call *, const struct kc_buf *to, const struct kc_buf *from);

/* to[i] becomes from[i] times scale: n pairs of equal dimensions in a few launches. */
int kc_cuda_move(const struct kc_buf *to, const struct kc_buf *from, int n, double scale,
		 cudaStream_t);

static inline bool kc_cuda_is_float(const struct kc_buf *b)
{
	return b->type.dtype == KC_F32 || b->type.dtype == KC_BF16;
}

#endif
