/*
 * Means over the ranks of a training step (core/ranks.h), as nodes of its plan.
 *
 * all_reduce packs values into one flat bucket and starts its mean; the plan runs it as soon as
 * its inputs are there.  all_reduce_wait stands where the means are first needed, so the messages
 * travel while the rest of the backward pass runs.  Both know nothing but the bucket: a device that
 * moves it on its own (NCCL on a stream beside) has a kernel row for each.
 */
#ifndef KC_LAYERS_RANKS_H
#define KC_LAYERS_RANKS_H

#include "core/graph.h"
#include "core/ranks.h"

/*
 * Each of the n values becomes its mean over the ranks, the same bits on all of them.  Buckets
 * hold a few MB, in the order in which the graph computes the values.  ranks NULL, or alone:
 * nothing changes.  Every rank must build the same graph; ranks must outlive the plan, whose
 * options name them.
 *
 * The gradient is a mean over the ranks, too: right where the loss is the mean of the ranks'
 * losses, as it is in training, so batch norm takes moments of the whole batch this way.
 */
void kc_mean_over_ranks(struct kc_graph *, struct kc_ranks *, struct kc_tensor **value, int n);

/* Attributes of both operators, for kernel rows.  all_reduce's second output is scratch memory. */
struct kc_all_reduce_attr {
	struct kc_ranks *ranks;
	int64_t channel;
};
extern const struct kc_op kc_op_all_reduce, kc_op_all_reduce_wait;

#endif
