/*
 * A device: where buffers live and which kernels it has.  Kernel rows are tried in order when
 * a plan is built; the first that fits wins, and the operator's reference kernel is the last
 * row of every device, so every model runs everywhere.
 */
#ifndef KC_CORE_DEVICE_H
#define KC_CORE_DEVICE_H

#include "core/op.h"

struct kc_plan;
struct kc_device;

enum { KC_MAX_PACK = 3 };

/* An input that a kernel wants in a form of its own: packed weights. */
struct kc_pack {
	int input; /* which input of the step; its buffer arrives packed, type unchanged */
	size_t bytes;           /* of the packed form */
	char key[64];           /* equal keys over the same value share one packed copy */
	/* Writes the packed form; runs whenever the source changes. */
	int (*run)(const struct kc_pack *, const struct kc_buf *src, void *dst);
	void *own;              /* kept until release */
	void (*release)(struct kc_pack *);
};

/* What a kernel sees of the step it may run: types, layouts and attributes, no data yet. */
struct kc_step_info {
	const struct kc_op *op;
	const void *attr;
	const struct kc_buf *in, *out;  /* data NULL */
	int n_in, n_out;
	struct kc_device *device;
	bool deterministic;
	/* Filled by prepare. */
	size_t workspace;               /* bytes, live during the step only */
	void *prepared;
	struct kc_pack pack[KC_MAX_PACK];
	int n_pack;
};

struct kc_kernel {
	const struct kc_op *op;
	const char *name;
	bool (*fits)(const struct kc_step_info *);
	int (*prepare)(struct kc_step_info *); /* may be NULL; KC_ENOSUP: try the next row */
	int (*run)(const struct kc_call *);             /* no allocation, no lookup */
	void (*release)(void *prepared);                /* may be NULL */
};

struct kc_device {
	const char *name;                               /* "cpu", "reference" */
	const struct kc_kernel *const *kernels;         /* rows in order, NULL-terminated */
	bool fast_bf16;                                 /* precision: auto means bf16 here */
	int threads;
	double peak_flops;                              /* measured matmul peak, 0 if not known */
	/* One arena, as large as the largest plan: grown by kc_device_reserve. */
	void *arena;
	size_t arena_bytes, arena_used;
	/* What packing needs while it runs: grown by kc_device_scratch. */
	void *scratch;
	size_t scratch_bytes;
	/* Packed copies of frozen parameters, shared between plans. */
	struct kc_packed *packed;
	size_t packed_bytes;
};

/* Makes the arena at least that large (2 MB pages where the system has them).  Moving it is
 * allowed: plans resolve their pointers against device->arena before each run. */
int kc_device_reserve(struct kc_device *, size_t bytes);
/* Memory for the time of one call; NULL when there is none.  The next call may move it. */
void *kc_device_scratch(struct kc_device *, size_t bytes);
/* Gives everything back; plans of the device must be gone.  It can be used again. */
void kc_device_release(struct kc_device *);

/* The device that has reference kernels only: the oracle.  (layers/cpu/cpu.h has the fast one.) */
void kc_device_reference(struct kc_device *);

#endif
