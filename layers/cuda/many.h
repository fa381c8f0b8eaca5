/*
 * Kernels over many tensors at once: a table of items, one per tensor, in the device's memory,
 * and a table of pieces, each of one item, that blocks take in turn.  In C and in CUDA.
 */
#ifndef KC_LAYERS_CUDA_MANY_H
#define KC_LAYERS_CUDA_MANY_H

#include "layers/cuda/view.h"

#include <cuda_runtime_api.h>

enum { KC_CU_PIECE = 1 << 13 };

/* Elements first .. first + KC_CU_PIECE of an item, as far as it has them. */
struct kc_cu_piece { int32_t item, pad; int64_t first; };

/* A tensor to be read; its elements count in the order of the view. */
struct kc_cu_item { struct kc_view view; int64_t n; };

struct kc_cu_pieces { const struct kc_cu_piece *at; int64_t n; };

#ifdef __cplusplus
extern "C" {
#endif

/* root of the sum of all squares; part: one per piece */
int kc_cu_norm(const struct kc_cu_item *, struct kc_cu_pieces, double *part, float *y,
	       cudaStream_t);
/* 1 where all are finite, else 0 */
int kc_cu_finite(const struct kc_cu_item *, struct kc_cu_pieces, int32_t *part, float *y,
		 cudaStream_t);

/* A parameter and its gradient; arrays that the rule does not use are NULL. */
struct kc_cu_update {
	struct kc_view grad;            /* elements in the parameter's order */
	float *master, *moment1, *moment2, *moment_max, *ema, *sum;
	int64_t n;
};

struct kc_cu_rule {
	int32_t kind, amsgrad, nesterov, pad;   /* enum kc_optimizer */
	double beta1, beta2, eps, momentum, weight_decay, ema_decay;
	const double *hyper;            /* rate and step */
	int64_t hyper_step;             /* from one to the other */
	const float *scale, *finite;    /* or NULL */
	float *y;                       /* 1 where it wrote, else 0 */
};

int kc_cu_optimize(const struct kc_cu_update *, struct kc_cu_pieces, const struct kc_cu_rule *,
		   cudaStream_t);
/* sum += grad, y = 1 */
int kc_cu_accumulate(const struct kc_cu_update *, struct kc_cu_pieces, float *y, cudaStream_t);
/* to = x in the order of the view, unless finite is 0; y tells. */
int kc_cu_assign(float *to, const struct kc_view *x, int64_t n, const float *finite, float *y,
		 cudaStream_t);

#ifdef __cplusplus
}
#else

#include "core/device.h"

/* The tables of one step.  Its pointers may alternate between those of a plan's two recordings,
 * of which each keeps items of its own. */
struct kc_cuda_many {
	void *items, *pieces;           /* in the device's memory; items: as sent last */
	int64_t n_pieces;
	size_t bytes;                   /* of all items */
	void *next;                     /* items to be sent */
	struct { void *here, *there; } sent[KC_RING];
	int newest;                     /* of the sent ones */
};

/* Of n items with that many elements each; to be released in any case. */
int kc_cuda_many_init(struct kc_cuda_many *, const int64_t *elements, int n, size_t item);
struct kc_cuda;

/* Brings many->next to the device if it is not there, which may wait, and makes it many->items. */
int kc_cuda_many_send(struct kc_cuda_many *, struct kc_cuda *);
void kc_cuda_many_release(struct kc_cuda_many *);

static inline struct kc_cu_pieces kc_cuda_many_pieces(const struct kc_cuda_many *m)
{
	return (struct kc_cu_pieces){m->pieces, m->n_pieces};
}

#endif
#endif
