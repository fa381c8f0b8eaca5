/*
 * A device: where buffers live and which kernels it has.  Kernel rows are tried in order when
 * a plan is built; the first that fits wins.  On the host's own memory the operator's reference
 * kernel is the last row, so every model runs there; other devices need a row for every operator.
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

/* Pads of channels (kc_buf.pads): what a row can do with them.  Any row may be handed inputs that
 * have some, as strides; those that say so are as fast as without. */
enum {
	KC_PADS_READ = 1,
	KC_PADS_WRITE = 2       /* writes zeros into those of its outputs */
};

struct kc_kernel {
	const struct kc_op *op;
	const char *name;
	bool (*fits)(const struct kc_step_info *);
	int (*prepare)(struct kc_step_info *); /* may be NULL; KC_ENOSUP: try the next row */
	int (*run)(const struct kc_call *);             /* no allocation, no lookup */
	void (*release)(void *prepared);                /* may be NULL */
	unsigned pads;                                  /* KC_PADS_ */
	/* May be NULL.  What it wants the channels of its bf16 images to be a multiple of, pads
	 * included; 0: nothing. */
	int64_t (*pitch)(const void *attr);
};

/* There, a plan has its input slots so many times, and its steps as many sets of pointers. */
enum { KC_RING = 2 };

/* Where work is enqueued: runs of plans; what is sent to the device beside them. */
enum kc_lane { KC_LANE_RUNS, KC_LANE_SENDS };

/*
 * Memory that the processor does not reach, and the order of work on it.  Each of the two lanes
 * does its work in the order of the calls; a fence orders one behind the other.  Only put, get,
 * wait and await wait for the device.
 */
struct kc_memory {
	int (*alloc)(struct kc_device *, size_t, void **);
	void (*free)(struct kc_device *, void *);
	/* Memory of the host that send and fetch reach. */
	int (*host_alloc)(struct kc_device *, size_t, void **);
	void (*host_free)(struct kc_device *, void *);
	/* To the device and from there, behind the runs so far; done when they return. */
	int (*put)(struct kc_device *, void *dst, const void *src, size_t);
	int (*get)(struct kc_device *, void *dst, const void *src, size_t);
	/* The same, enqueued: a send among the sends, a fetch among the runs.  The host's side is
	 * memory of host_alloc, which is left alone until a fence behind it is awaited. */
	int (*send)(struct kc_device *, void *dst, const void *src, size_t);
	int (*fetch)(struct kc_device *, void *dst, const void *src, size_t);
	/* Among the runs. */
	int (*zero)(struct kc_device *, void *, size_t);
	/* For everything. */
	int (*wait)(struct kc_device *);
	/* Bytes of the whole device in use, by whomever, and in all. */
	int (*usage)(struct kc_device *, size_t *used, size_t *all);

	/* A fence stands behind what its lane had when it was last marked; a new one behind
	 * nothing. */
	int (*fence)(struct kc_device *, void **fence);
	void (*fence_free)(struct kc_device *, void *fence);
	int (*mark)(struct kc_device *, enum kc_lane, void *fence);
	/* What the lane gets from now on comes behind the fence. */
	int (*follow)(struct kc_device *, enum kc_lane, void *fence);
	int (*await)(struct kc_device *, void *fence);
	/* Whether await would return at once; errors, too, are told by await. */
	bool (*passed)(struct kc_device *, void *fence);
	/* Seconds of the device's clock between two that it has passed. */
	int (*between)(struct kc_device *, void *from, void *to, double *seconds);

	/* The runs enqueued between record and recorded are kept, not run; replay runs them.
	 * launches: of kernels, copies and fills in them. */
	int (*record)(struct kc_device *);
	int (*recorded)(struct kc_device *, void **recording, int *launches);
	int (*replay)(struct kc_device *, void *recording);
	void (*forget)(struct kc_device *, void *recording);
	/* For checks of order; or NULL: the step that is enqueued next uses these bytes; the host
	 * uses these of host_alloc now. */
	void (*touch)(struct kc_device *, const void *, size_t, bool write, const char *step);
	void (*touch_host)(struct kc_device *, const void *, size_t, bool write, const char *what);
	/* For checks; or NULL: what is enqueued next expects nothing in these bytes. */
	void (*spoil)(struct kc_device *, void *, size_t);
};

struct kc_device {
	const char *name;                               /* "cpu", "reference", "cuda:0" */
	const char *about;                              /* for people; or NULL */
	const struct kc_memory *memory;                 /* NULL: the host's own */
	void *own;                                      /* of whoever opened it */
	void (*close)(struct kc_device *);              /* or NULL */
	bool record;                                    /* runs are recorded and replayed */
	char *unrecorded;       /* why a recording failed, since when they are not; else NULL */
	bool strided;   /* pointwise kernels read parts of a tensor where they lie, at full speed */
	bool sums;      /* chains of pointwise operators sum a result over all but its channels */
	bool roomy;     /* in bf16, results are kept where computing them again would cost time */
	const struct kc_kernel *const *kernels;         /* rows in order, NULL-terminated */
	bool fast_bf16;                                 /* precision: auto means bf16 here */
	int threads;
	double peak_flops;                              /* measured matmul peak, 0 if not known */
	/* One arena, as large as the largest plan: grown by kc_device_reserve. */
	void *arena;
	size_t arena_bytes, arena_used;
	size_t library_bytes;           /* of its memory that libraries take for themselves */
	/* What packing needs while it runs: grown by kc_device_scratch. */
	void *scratch;
	size_t scratch_bytes;
	/* Packed copies of frozen parameters, shared between plans. */
	struct kc_packed *packed;
	size_t packed_bytes;
	/* Copies of parameter stores in its own memory (core/mirror.c). */
	struct kc_mirror *mirrors;
};

/* Makes the arena at least that large (2 MB pages where the system has them).  Moving it is
 * allowed: plans resolve their pointers against device->arena before each run. */
int kc_device_reserve(struct kc_device *, size_t bytes);
/* Any memory of the device, aligned at 256 bytes, and what fills it from the host. */
int kc_device_alloc(struct kc_device *, size_t bytes, void **);
void kc_device_free(struct kc_device *, void *);
int kc_device_put(struct kc_device *, void *dst, const void *src, size_t bytes);
int kc_device_get(struct kc_device *, void *dst, const void *src, size_t bytes);
/* Memory for the time of one call; NULL when there is none.  The next call may move it. */
void *kc_device_scratch(struct kc_device *, size_t bytes);
/* Gives back the packed copies of frozen parameters; plans of the device must be gone. */
void kc_device_unpack(struct kc_device *);
/* Gives everything back; plans of the device must be gone.  It can be used again, once opened
 * again where somebody has opened it. */
void kc_device_release(struct kc_device *);

/* The device that has reference kernels only: the oracle.  (layers/cpu/cpu.h has the fast one.) */
void kc_device_reference(struct kc_device *);

#endif
