/*
 * What the passes of a plan work on.  Nobody outside core/plan*.c and core/pass_*.c includes
 * this.  A step runs one operator; a value is what a step writes, an input slot, a parameter,
 * or a constant.  Steps and values refer to each other by index.
 */
#ifndef KC_CORE_PLAN_IR_H
#define KC_CORE_PLAN_IR_H

#include "core/arena.h"
#include "core/param.h"
#include "core/plan.h"

enum kc_home {
	KC_HOME_ARENA,          /* a range of the device's arena while it lives */
	KC_HOME_SLOT,           /* an input: memory of the plan's own */
	KC_HOME_MASTER,         /* a parameter: the flat store */
	KC_HOME_CONSTANT,       /* one number, repeated by strides of 0 */
	KC_HOME_PACKED,         /* packed form of a frozen parameter, shared on the device */
	KC_HOME_ALIAS           /* inside another value */
};

enum { KC_MAX_JOIN = 128 };

/* An input in one place of the ring. */
struct kc_slot {
	char *staging;                  /* where the host writes it; data itself where the device's
					 * memory is the host's, which has one place */
	char *data;                     /* where steps read it */
	uint64_t written, sent;         /* which contents they have, counted up by the plan */
	uint64_t sending;               /* of the place's sends, the last that reads staging */
};

struct kc_value {
	struct kc_buf buf;              /* data is resolved before a run */
	struct kc_slot slot[KC_RING];   /* KC_HOME_SLOT, and the first for KC_HOME_CONSTANT */
	const struct kc_tensor *tensor; /* what it holds; NULL for values made by passes */
	enum kc_home home;
	enum kc_layout layout;
	bool real;                      /* precision was the plan's choice */
	bool fetched;
	int producer;                   /* step, or -1 */
	int alias_of;                   /* KC_HOME_ALIAS */
	int64_t alias_at;               /* bytes into it */
	size_t bytes;                   /* memory it needs */
	int first, last;                /* steps between which its memory is in use */
	size_t offset;                  /* KC_HOME_ARENA */
	struct kc_param *param;         /* KC_HOME_MASTER */
	double constant;                /* KC_HOME_CONSTANT */
	struct kc_packed *packed;       /* KC_HOME_PACKED */
};

struct kc_step {
	const struct kc_op *op;
	const struct kc_node *node;     /* the graph's node; of a fused chain, its last */
	const void *attr;
	int *in, *out;                  /* values */
	int n_in, n_out;
	int64_t order;                  /* sort key of the schedule */
	bool dead;                      /* merged into another step */
	/* Filled by the selection of kernels. */
	const struct kc_kernel *kernel; /* NULL: the reference kernel */
	struct kc_pack *pack;           /* of a packing step */
	void *prepared;
	int workspace;                  /* value, or -1 */
	struct kc_buf *bufs;            /* n_in inputs, then n_out outputs */
	int n_fused;
	/* Filled while running with opts.profile. */
	double seconds;
};

/* Packed form of a frozen parameter. */
struct kc_packed {
	struct kc_packed *next;
	const struct kc_param *param;
	uint64_t serial, version;
	struct kc_pack pack;
	void *data;
};

/* One set of the input slots, and the runs that read it. */
struct kc_place {
	void *sent, *began, *ended;     /* fences: behind its sends; around the last run */
	uint64_t sends, arrived;        /* how many there were; and so many the host knows of */
	void *recording;                /* the steps as the device keeps them; or NULL */
	bool tables;                    /* a run has set up what kernels keep of these pointers */
};

struct kc_plan {
	struct kc_graph *graph;
	struct kc_device *device;
	struct kc_plan_opts opts;
	const struct kc_op_set *ops;
	struct kc_arena memory;         /* of steps, values and attributes */
	struct kc_step *steps;
	int n_steps, room_steps;
	struct kc_value *values;
	int n_values, room_values;
	int *value_of;                  /* graph output (first_out[node] + out) -> value, or -1 */
	int *first_out;
	size_t arena_bytes;
	const void *resolved_arena;     /* the arena the pointers were resolved against */
	long runs;
	bool stores;                    /* a step writes parameters, moments or statistics */
	int resolved_place;             /* and the place of the slots */
	/*
	 * On a device with memory of its own: the host feeds one place of the ring while a run
	 * reads the other.  Elsewhere there is place 0 alone.
	 */
	struct kc_place place[KC_RING];
	int fed, ran;                   /* place of the next run; of the last one */
	uint64_t contents;              /* of slots, counted */
	void *own_memory;               /* slots and constants */
	char *staging;                  /* of the slots, then results */
	char *results;                  /* fetched numbers, as the last run left them */
	int result;                     /* the value that holds them on the device; -1: none */
	bool ended;                     /* the host knows that the last run is over */
	int launches;                   /* in a recording */
	/* Of runs with opts.profile. */
	long profiled;
	void **marks;                   /* fences around the steps, on such a device */
};

/* Appends; return the index or a negative error. */
int kc_ir_value(struct kc_plan *, const struct kc_value *);
int kc_ir_step(struct kc_plan *, const struct kc_op *, const struct kc_node *, const void *attr,
	       int n_in, int n_out);
/* The value of a graph's tensor, or -1 when the plan does not compute it. */
int kc_ir_find(const struct kc_plan *, const struct kc_tensor *);
/* The value whose memory v lies in. */
int kc_ir_root(const struct kc_plan *, int v);
/* Sorts the steps by their order and drops the dead ones. */
int kc_ir_sort(struct kc_plan *);
void kc_ir_trace(const struct kc_plan *, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The passes, in order. */
int kc_pass_import(struct kc_plan *, struct kc_tensor *const *fetch, int n);  /* prunes, too */
int kc_pass_precision(struct kc_plan *);
int kc_pass_layout(struct kc_plan *);
int kc_pass_fuse(struct kc_plan *);
int kc_pass_sums(struct kc_plan *);
int kc_pass_join(struct kc_plan *);
int kc_pass_pitch(struct kc_plan *);
int kc_pass_schedule(struct kc_plan *);
int kc_pass_again(struct kc_plan *);
int kc_pass_kernels(struct kc_plan *);          /* chooses kernels, inserts packing steps */
int kc_pass_memory(struct kc_plan *);
int kc_pass_resolve(struct kc_plan *);          /* pointers; again whenever the arena moved */

/* Bytes between the first and the last element. */
size_t kc_ir_extent(const struct kc_buf *);

/* Memory of slots, constants and results (core/plan_slots.c), and giving it back. */
int kc_plan_alloc(struct kc_plan *);
void kc_plan_dealloc(struct kc_plan *);
/* On a device with memory of its own: before and behind the steps of a run, which are enqueued. */
int kc_slots_begin(struct kc_plan *);
int kc_slots_end(struct kc_plan *);
/* The fetched numbers to the host: the last of the steps. */
int kc_results_fetch(struct kc_plan *);
/* Drops recordings whose pointers are no more. */
void kc_plan_forget(struct kc_plan *);

/* The packed form of a frozen parameter for that request, made when needed.  Takes the request
 * over, also when it fails. */
int kc_packed_get(struct kc_device *, struct kc_param *, struct kc_pack *, struct kc_packed **);
int kc_packed_refresh(struct kc_packed *, struct kc_device *);

#endif
