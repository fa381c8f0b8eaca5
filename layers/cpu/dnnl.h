/*
 * oneDNN behind a signature: the only way to it.  Works with the API of 2.6 and of 3.x.
 *
 * Equal signatures share one primitive (creating one takes 0.3-0.7 ms).  A struct kc_dnn is one
 * user's handle: it holds the arguments, so it belongs to one step of one plan.
 */
#ifndef KC_LAYERS_CPU_DNNL_H
#define KC_LAYERS_CPU_DNNL_H

#include "core/tensor.h"

enum kc_dnn_kind {
	KC_DNN_CONV,            /* dst = conv(src, weights) + bias, then act */
	KC_DNN_DGRAD,           /* src = data gradient of conv from dst and weights */
	KC_DNN_WGRAD,           /* weights = weight gradient of conv from src and dst */
	KC_DNN_DECONV,          /* dst = transposed conv(src, weights) + bias, then act */
	KC_DNN_MATMUL           /* dst = src weights + bias */
};

/* One argument.  ndim 0: absent.  any: the library chooses the format, strides are ignored. */
struct kc_dnn_mem {
	int64_t dtype, ndim, any;
	int64_t dim[KC_MAX_DIM], stride[KC_MAX_DIM];
};

/* Zero what is not used: signatures are compared bytewise.  Grouped weights have a leading
 * dimension of groups; pads are those of the left side, the right one follows from the sizes. */
struct kc_dnn_spec {
	int64_t kind;
	struct kc_dnn_mem src, weights, bias, dst;
	int64_t stride[3], pad[3], dilation[3];
	int64_t act;            /* enum kc_act */
	double slope;
};

struct kc_dnn;

/* KC_ENOSUP when the library has nothing better than its reference loops. */
int kc_dnn_open(struct kc_dnn **, const struct kc_dnn_spec *);
void kc_dnn_close(struct kc_dnn *);
/* "brgconv:avx512_core_bf16": what the library took. */
const char *kc_dnn_name(const struct kc_dnn *);
size_t kc_dnn_scratch(const struct kc_dnn *);           /* bytes of workspace */
size_t kc_dnn_weights_bytes(const struct kc_dnn *);
/* The weights' format as text: equal texts are equal formats. */
void kc_dnn_weights_key(const struct kc_dnn *, char *text, size_t size);
/* Whether that format is the given one, so that no packing is needed. */
bool kc_dnn_weights_are(const struct kc_dnn *, const struct kc_dnn_mem *);
/* scratch may be NULL when kc_dnn_scratch is 0; absent arguments are NULL. */
int kc_dnn_run(struct kc_dnn *, void *src, void *weights, void *bias, void *dst, void *scratch);

/*
 * Conversion between plain weights and the format of that primitive's weights.
 * unpack: from the primitive's format to the plain one.
 */
int kc_dnn_reorder_open(struct kc_dnn **, const struct kc_dnn *of, const struct kc_dnn_mem *plain,
			bool unpack);
int kc_dnn_run_reorder(struct kc_dnn *, const void *from, void *to);

/* "oneDNN 2.6.3" */
const char *kc_dnn_version(void);

#endif
