/*
 * A plan: the compiled form of what leads to the fetched values, run as a whole.  Forward,
 * backward and update of a training step are one plan.
 *
 * Passes, each in its own file and each able to print what it did: prune, precision, layout,
 * fuse, sums, join, pitch, schedule, again, kernels (and packing), memory.
 */
#ifndef KC_CORE_PLAN_H
#define KC_CORE_PLAN_H

#include "core/device.h"
#include "core/graph.h"
#include "core/ranks.h"

struct kc_plan_opts {
	enum kc_dtype real;     /* what KC_REAL is: KC_F32 (default) or KC_F64 */
	bool low;               /* bf16 where operators allow it; needs real KC_F32 */
	bool deterministic;
	bool no_fuse;           /* checks: run the graph as it was written */
	bool profile;
	FILE *trace;            /* passes print here; NULL for silence */
	struct kc_ranks *ranks; /* polled between steps; NULL: no others */
};

/*
 * Fetched values can be read after a run; nodes flagged STATE among them are run for their
 * effect.  The graph, the device and the parameters must outlive the plan.
 */
int kc_plan_build(struct kc_plan **, struct kc_graph *, struct kc_device *,
		  struct kc_tensor *const *fetch, int n, const struct kc_plan_opts *);
void kc_plan_free(struct kc_plan *);

/*
 * The slot of an input: channels-last, dtype of the plan.  Write it before the next run, or before
 * kc_plan_send, and ask again behind it.  What is not written stays what it was.
 */
int kc_plan_slot(struct kc_plan *, const struct kc_tensor *input, struct kc_buf *);
/* Converts from any buffer of the same dimensions into the slot.  An input that the plan does not
 * use is ignored. */
int kc_plan_feed(struct kc_plan *, const struct kc_tensor *input, const struct kc_buf *);

/*
 * On a device with memory of its own a run goes on behind the call.  What is fed then is for the
 * next run; send starts it on its way while the last one goes on.
 *
 *	run, feed, send, wait, read, run, ...
 *
 * Numbers (fetched values of one element) come with the run.  All else is read by waiting again.
 */
int kc_plan_run(struct kc_plan *);
int kc_plan_send(struct kc_plan *);
/* For the last run; reading does it, too.  What fails within a run, as when another rank is lost,
 * fails here. */
int kc_plan_wait(struct kc_plan *);
/* Whether that would return at once. */
bool kc_plan_ended(const struct kc_plan *);
/* Of the last run, behind kc_plan_wait, by the clock of a device with memory of its own. */
int kc_plan_seconds(const struct kc_plan *, double *seconds);
/* Converts a fetched value into any buffer of the same dimensions. */
int kc_plan_read(struct kc_plan *, const struct kc_tensor *, const struct kc_buf *);
/* The same for one number. */
double kc_plan_scalar(struct kc_plan *, const struct kc_tensor *);

struct kc_plan_stats {
	int nodes, steps, fused;
	size_t arena, slots, packed, params;    /* bytes */
	size_t unshared;                        /* arena bytes if no buffer were shared */
	double flops;                           /* of one run */
	int launches;           /* of work in a run's recording; 0: there is none */
};
void kc_plan_stats(const struct kc_plan *, struct kc_plan_stats *);
/* One line per step: operator, path, kernel, shapes, dtype, offset. */
void kc_plan_print(const struct kc_plan *, FILE *);
/* What is computed, in which order; not by which kernels, from what packed forms and where: these
 * are timed, and may be others on a device of the same kind. */
void kc_plan_outline(const struct kc_plan *, FILE *);
/* What is alive where the arena is fullest, the largest first. */
void kc_plan_print_peak(const struct kc_plan *, FILE *);
/* From now on as with opts.profile: runs are not recorded, and each of their steps is timed. */
void kc_plan_profile_start(struct kc_plan *);
/*
 * Time, GFLOP/s and GB/s per operator, per path and per shape, over the runs with opts.profile so
 * far.  On a device with memory of its own by the device's clock, from the end of one step to that
 * of the next.
 */
void kc_plan_profile(const struct kc_plan *, FILE *);

#endif
