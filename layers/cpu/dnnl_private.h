/*
 * Shared by the files that see oneDNN; nobody else includes it.  What 2.x and 3.x do differently
 * is the business of dnnl_desc.c alone.
 */
#ifndef KC_LAYERS_CPU_DNNL_PRIVATE_H
#define KC_LAYERS_CPU_DNNL_PRIVATE_H

#include "layers/cpu/dnnl.h"

#include <dnnl.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "oneDNN 2.6 or newer is needed"
#endif

/* In 2.x a memory descriptor is a value, in 3.x a handle: this is 3.x's name of a borrowed one. */
#if DNNL_VERSION_MAJOR < 3
typedef const dnnl_memory_desc_t *const_dnnl_memory_desc_t;
#endif

/* A descriptor that we made; used is false for an absent argument. */
struct kc_dnn_desc {
	bool used;
	dnnl_memory_desc_t d;
};

/* An absent argument is no error. */
dnnl_status_t kc_dnn_desc_make(struct kc_dnn_desc *, const struct kc_dnn_mem *);
void kc_dnn_desc_free(struct kc_dnn_desc *);
/* Borrowed; NULL for an absent argument. */
const_dnnl_memory_desc_t kc_dnn_desc_get(const struct kc_dnn_desc *);

/* Of type, sizes, strides and inner blocks. */
uint64_t kc_dnn_desc_hash(const_dnnl_memory_desc_t);
/* Whether it is plain and that one; strides of dimensions of 1 do not count. */
bool kc_dnn_desc_is(const_dnnl_memory_desc_t, const struct kc_dnn_mem *);

/* What the library would run for that signature; the caller destroys *pd. */
dnnl_status_t kc_dnn_describe(dnnl_primitive_desc_t *pd, dnnl_engine_t, const struct kc_dnn_spec *);

#endif
