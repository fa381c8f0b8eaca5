/*
 * NCCL, which is loaded when several GPUs train together and never linked: a machine with one GPU
 * needs no NCCL.  What is needed of its interface (stable since 2.4) is declared here.
 */
#ifndef KC_LAYERS_CUDA_NCCL_H
#define KC_LAYERS_CUDA_NCCL_H

#include "core/base.h"

enum { KC_NCCL_ID = 128 };

struct kc_nccl;         /* one rank's part of a communicator */

/* Made by one rank and brought to all others: what they find each other by. */
struct kc_nccl_id { char bytes[KC_NCCL_ID]; };

/* KC_ENOSUP, in one line, when libnccl.so.2 is not found: it is looked for beside CUDA's
 * libraries and where LD_LIBRARY_PATH says. */
int kc_nccl_id_make(struct kc_nccl_id *);
/* "NCCL 2.28.3" */
int kc_nccl_version(char *text, size_t size);

/* On the calling thread's device; returns when all ranks have come. */
int kc_nccl_open(struct kc_nccl **, const struct kc_nccl_id *, int rank, int ranks);
/* Waits for the others. */
void kc_nccl_close(struct kc_nccl *);
/* Gives up without waiting, when another rank is lost. */
void kc_nccl_abort(struct kc_nccl *);

/*
 * Enqueued on the stream (a cudaStream_t); data lie on the device.  Every element becomes
 * the sum over the ranks, in place.
 */
int kc_nccl_sum(struct kc_nccl *, float *data, size_t n, void *stream);
/* What went wrong since, in work that was enqueued without error; 0: nothing. */
int kc_nccl_check(struct kc_nccl *);

#endif
