/*
 * The flat parameter store.  One array of masters holds every parameter, the trainable ones
 * first, so gradient, moments, EMA, norm and checkpoint are ranges of flat arrays.
 *
 * Parameters appear by path while models are built; kc_params_alloc then lays them out and
 * later requests can only find existing ones.  Masters are float32 (float64 in checks) and
 * row-major in PyTorch's order of dimensions.
 */
#ifndef KC_CORE_PARAM_H
#define KC_CORE_PARAM_H

#include "core/tensor.h"

/* What a parameter is: decides its initial values. */
enum kc_param_kind {
	KC_PARAM_CONV,          /* (Cout, Cin/groups, k...) */
	KC_PARAM_DECONV,        /* (Cin, Cout/groups, k, k) */
	KC_PARAM_LINEAR,        /* (out, in) */
	KC_PARAM_BIAS,
	KC_PARAM_NORM_WEIGHT, KC_PARAM_NORM_BIAS,
	KC_PARAM_NORM_MEAN, KC_PARAM_NORM_VAR, KC_PARAM_NORM_COUNT,
	KC_PARAM_SCALAR,        /* a gain that starts at 0 */
	KC_PARAM_UNIT           /* a vector of length 1: spectral norm's u and v */
};

struct kc_param {
	const char *name;               /* path in the published checkpoints */
	struct kc_type type;
	enum kc_param_kind kind;
	int64_t fan;                    /* inputs that reach one output; of a bias: its layer's */
	int64_t stride;                 /* of a transposed convolution, else 1 */
	bool trainable;                 /* gets gradients; false when frozen */
	bool statistic;                 /* running statistics: saved, never differentiated */
	uint64_t serial;                /* of this parameter alone in the process: addresses are
					 * used again, serials are not */
	uint64_t version;               /* counts changes from outside a plan */
	size_t offset;                  /* elements into the flat arrays */
	struct kc_params *store;
};

struct kc_params {
	enum kc_dtype dtype;            /* KC_F32 or KC_F64 */
	struct kc_param **v;            /* in order of appearance */
	size_t n, room;
	size_t count, trainable; /* elements in all, and in the trainable range [0, trainable) */
	void *master;                   /* count elements */
	void *grad, *moment1, *moment2; /* trainable elements each */
	void *moment_max;               /* of amsgrad, or NULL */
	void *ema;                      /* trainable elements, or NULL */
	size_t bytes;                   /* of all arrays together */
	bool allocated;
	uint64_t version;               /* counts changes from outside a plan */
	struct kc_mirror *mirror;       /* the copy on a device with memory of its own; or NULL */
};

/* The arrays of a store by name. */
enum kc_param_array {
	KC_ARRAY_MASTER, KC_ARRAY_GRAD, KC_ARRAY_MOMENT1, KC_ARRAY_MOMENT2, KC_ARRAY_MOMENT_MAX,
	KC_ARRAY_EMA, KC_PARAM_ARRAYS
};

struct kc_params *kc_params_new(enum kc_dtype);
void kc_params_free(struct kc_params *);

/*
 * The parameter of that name, made if it is new.  NULL with a message when an existing one has
 * another shape, or when it is new after kc_params_alloc.
 */
struct kc_param *kc_params_get(struct kc_params *, const char *name, const struct kc_param *like);
struct kc_param *kc_params_find(const struct kc_params *, const char *name);

/* Lays out and zeroes the arrays; with_ema, with_moments say which are needed. */
int kc_params_alloc(struct kc_params *, bool with_moments, bool with_ema);
/* The array that amsgrad needs, after kc_params_alloc. */
int kc_params_alloc_max(struct kc_params *);

/* Master, gradient, ... of one parameter: KC_PLAIN buffers that borrow the store. */
struct kc_buf kc_param_master(const struct kc_param *);
struct kc_buf kc_param_array(const struct kc_param *, void *array);
size_t kc_param_bytes(const struct kc_param *);         /* of one such array */
/* To be called after the master was written from outside a plan (loading, initialising). */
void kc_param_changed(struct kc_param *);

/* ---- devices with memory of their own (core/mirror.c) ---- */

struct kc_device;

/*
 * Plans of such a device work on a copy of the arrays there.  It is made and brought up to date
 * before a run when the host's arrays were changed (kc_param_changed).
 */
int kc_params_to_device(struct kc_params *, struct kc_device *);
/* Brings the host's arrays up to date: before they are read or changed in part.  Does nothing
 * where plans work on the host's arrays, or have not changed theirs. */
int kc_params_to_host(struct kc_params *);
/* Zeroes the array wherever it is. */
int kc_params_zero(struct kc_params *, enum kc_param_array);
/* Address of that parameter's part of the array, for kernels of the device; NULL: no such array.
 * Valid from the first kc_params_to_device on, as long as the store. */
void *kc_param_on(const struct kc_param *, const struct kc_device *, enum kc_param_array);
void *kc_params_array(const struct kc_params *, enum kc_param_array);
/* Elements of it. */
size_t kc_params_length(const struct kc_params *, enum kc_param_array);
void kc_mirror_free(struct kc_params *);
/* For plans: brings every copy on the device up to date; a plan has changed them. */
int kc_mirrors_refresh(struct kc_device *);
void kc_mirrors_written(struct kc_device *);

/* One element of a flat array of the store's dtype. */
double kc_params_at(const struct kc_params *, const void *array, size_t i);
void kc_params_put(const struct kc_params *, void *array, size_t i, double x);

#endif
