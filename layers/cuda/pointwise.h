/* A fused chain as the kernel of layers/cuda/pointwise.cu takes it: in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_POINTWISE_H
#define KC_LAYERS_CUDA_POINTWISE_H

#include "layers/cuda/divide.h"
#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

/* A thread takes this many neighbouring elements of the output at a time. */
enum {
	KC_CU_PACK = 8, KC_CU_CHAIN_IN = 12, KC_CU_CHAIN_OUT = 6, KC_CU_CHAIN_CODE = 32,
	KC_CU_CHAIN_THREADS = 256       /* of a block, at most */
};

/* Where the elements of a pack are. */
enum kc_cu_place {
	KC_CU_DENSE,            /* as in the output, aligned */
	KC_CU_ROW,              /* neighbours and aligned, at an offset to be computed */
	KC_CU_SAME,             /* one for all of the pack, at an offset to be computed */
	KC_CU_ONE,              /* one for all */
	KC_CU_WALK              /* each at an offset of its own */
};

struct kc_cu_operand {
	void *data;
	int32_t dtype, place;
	int64_t stride[KC_VIEW_DIMS];
};

/* Arguments and results are slots: a thread's packs in shared memory. */
enum { KC_CU_LAST = 255 /* argument: the last result */, KC_CU_NOWHERE = 255 /* result */ };

struct kc_cu_code {
	uint8_t op, n;                  /* enum kc_pw; arguments */
	uint8_t arg[3], to;
	uint8_t stores;                 /* bit k: also written to output k */
	uint8_t sums;                   /* what is written to output sums - 1 is summed */
	float p, q;
};

struct kc_cu_chain {
	int64_t n;                      /* elements */
	/* Of the sum over everything but the channels: elements from pixel to pixel, pads included;
	 * 0: there is none. */
	int64_t row;
	float *part, *sum;              /* such a row for each block; the result, without pads */
	int64_t dim[KC_VIEW_DIMS];      /* of all operands, slowest first */
	struct kc_divisor by[KC_VIEW_DIMS];     /* the same, of fewer than 2^31 elements */
	/* Of every `pitch` elements, a multiple of KC_CU_PACK, those behind `channels` become
	 * zeros; 0: of none. */
	int64_t pitch, channels;
	int32_t nd, n_in, n_out, n_code, slots;
	int32_t threads, blocks;        /* with a sum, all of them step by whole pixels */
	uint8_t stores[KC_CU_CHAIN_IN]; /* bit k: that input, in its own slot, is output k */
	struct kc_cu_operand in[KC_CU_CHAIN_IN], out[KC_CU_CHAIN_OUT];
	struct kc_cu_code code[KC_CU_CHAIN_CODE];
};

#ifdef __cplusplus
extern "C" {
#endif
/* Chooses threads and blocks. */
void kc_cu_divide_chain(struct kc_cu_chain *);
int kc_cu_run_chain(const struct kc_cu_chain *, cudaStream_t);
#ifdef __cplusplus
}
#endif

#endif
