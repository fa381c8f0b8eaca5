/*
 * The processes that train together: ranks 0 .. size - 1, one model and one plan in each.
 *
 *	kc_ranks_open         from the launcher's environment; alone without one
 *	kc_ranks_agree        did every rank come as far as this?
 *	kc_ranks_close        tells the others when this rank failed
 *
 * Started by mpirun or srun, messages go through MPI (libkc_mpi.so, loaded when it is needed);
 * with the variables of torchrun (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; LOCAL_RANK) they go
 * through TCP connections of our own.  Both move bytes only: sums are made here, in the order
 * of the ranks, so they are the same bits from run to run, on every rank and over either.
 *
 * All ranks must make the same calls in the same order.  A call fails on every rank when one has
 * failed or is gone (KC_EBACKEND; the message names it), and so does every later one.
 * Alone, every call succeeds at once.  Single-threaded: the thread that opened it.
 */
#ifndef KC_CORE_RANKS_H
#define KC_CORE_RANKS_H

#include "core/tensor.h"

struct kc_channel;
struct kc_transport;

struct kc_ranks {
	int rank, size;
	int local_rank, local_size;     /* among those of this machine: which device */
	/* Inside. */
	struct kc_transport *transport; /* NULL: alone */
	struct kc_channel *channel;
	int n_channels;
	bool agreed;                    /* on a failure: there is nobody to tell */
	bool passing;                   /* it is on its way up: callers do not agree on it again */
	bool by_device;                 /* it takes the means of arrays: they need no scratch */
	bool failed;
	char failure[512];
};

/* KC_ECONFIG: variables that make no sense.  KC_EBACKEND: the others did not come within 60 s. */
int kc_ranks_open(struct kc_ranks *);
/* Rank 0 of 1. */
void kc_ranks_alone(struct kc_ranks *);
/*
 * A failure that the others do not know of yet (rc < 0, with the thread's message): they are told
 * and will fail, and so does every later call of this rank, but for close.  Returns rc.
 */
int kc_ranks_tell(struct kc_ranks *, int rc);
/* rc: how this rank ended; told as above.  The thread's message stays. */
void kc_ranks_close(struct kc_ranks *, int rc);

/*
 * 0 when rc is 0 or more on every rank.  Else an error on all: a rank that failed gets its own rc
 * and keeps its message; the others get those of the first that failed, "rank 1: ...".
 *
 * May be nested: an rc below 0 that comes from an agreement is passed on, so a rank that fails
 * before it comes to the inner one, and goes to the outer one at once, meets the others there.
 */
int kc_ranks_agree(struct kc_ranks *, int rc);
/*
 * KC_ECONFIG on every rank unless all give the same text; the message tells what (a plural), and
 * the first line that differs.
 */
int kc_ranks_compare(struct kc_ranks *, const char *what, const char *text);

int kc_ranks_barrier(struct kc_ranks *);
/* Bytes of rank 0 to all. */
int kc_ranks_broadcast(struct kc_ranks *, void *data, size_t bytes);
/* x[i] becomes its sum over the ranks, or the largest. */
int kc_ranks_sum(struct kc_ranks *, double *x, size_t n);
int kc_ranks_max(struct kc_ranks *, double *x, size_t n);
/*
 * The texts of all ranks one behind the other, on rank 0; *all is NULL elsewhere.  The caller
 * frees it.
 */
int kc_ranks_gather(struct kc_ranks *, const char *text, char **all);

/*
 * Means of large arrays in the background, one at a time on each channel.  Every rank takes the
 * mean of its share of the elements, in double, ranks in order, and sends it to the others.  x
 * and scratch belong to the channel from start to wait.
 */
int kc_ranks_channel(struct kc_ranks *);        /* a new one, or an error */
/* Gives all but the first n back; no mean is under way on them. */
void kc_ranks_keep_channels(struct kc_ranks *, int n);
/* Elements that scratch needs; 1 where the device takes the means. */
size_t kc_mean_scratch(const struct kc_ranks *, size_t n);
/* dtype: KC_F32 or KC_F64. */
int kc_mean_start(struct kc_ranks *, int channel, enum kc_dtype, void *x, size_t n, void *scratch);
int kc_mean_wait(struct kc_ranks *, int channel);
/* Lets them progress; a plan calls it between its steps.  Fails soon when another rank failed. */
int kc_ranks_poll(struct kc_ranks *);

#endif
