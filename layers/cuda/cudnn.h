/*
 * cuDNN's graph API: the only way to it.
 *
 * A graph describes a small computation on tensors (a convolution, bias and activation behind
 * it), the library names engine configurations for it, best guess first, and one of them is
 * made into a plan, which runs on the device.  All of it but running works without a device and
 * without a driver, on the description of one: that is how support is tested.
 *
 * Building a graph has sticky errors, as in core/graph.h: the first is kept, and
 * kc_cudnn_graph_close reports it.  Messages carry cuDNN's own words.
 */
#ifndef KC_LAYERS_CUDA_CUDNN_H
#define KC_LAYERS_CUDA_CUDNN_H

#include "core/tensor.h"

struct kc_cudnn;        /* the library on one device */
struct kc_cudnn_graph;
struct kc_cudnn_plan;

/* On the calling thread's device; plans run on that stream (a cudaStream_t). */
int kc_cudnn_open(struct kc_cudnn **, void *stream);
/* On a device that is only described: cuDNN's JSON of device properties. */
int kc_cudnn_open_described(struct kc_cudnn **, const char *properties);
void kc_cudnn_close(struct kc_cudnn *);
/* "cuDNN 9.19.0" */
const char *kc_cudnn_version(void);

/* ---- graphs ---- */

/* Convolution and its gradients: x, w, y are the forward one's input, weights and result. */
enum kc_cudnn_pass { KC_CUDNN_FPROP, KC_CUDNN_DGRAD, KC_CUDNN_WGRAD };

/* Dimensions in the order N, C, (T,) H, W; of weights Cout, Cin/groups, window. */
struct kc_cudnn_tensor {
	enum kc_dtype dtype;            /* KC_F32 or KC_BF16 */
	int ndim;
	int64_t dim[KC_MAX_DIM], stride[KC_MAX_DIM];
	int64_t align;                  /* bytes that addresses are multiples of */
	bool inner;                     /* lives inside the plan only: has no address */
};

struct kc_cudnn_window {
	int nd;                         /* spatial dimensions: 2 or 3 */
	int64_t stride[3], pad[3], dilation[3]; /* pad at both ends */
};

enum kc_cudnn_pointwise {
	KC_CUDNN_COPY,                  /* y = a: converts */
	KC_CUDNN_ADD,                   /* y = a + b, b repeated where its dimension is 1 */
	KC_CUDNN_RELU,                  /* slope: of the negative side */
	KC_CUDNN_TANH,
	KC_CUDNN_SIGMOID
};

int kc_cudnn_graph_open(struct kc_cudnn_graph **, struct kc_cudnn *);
/* The tensor's number, to be used below. */
int kc_cudnn_graph_tensor(struct kc_cudnn_graph *, const struct kc_cudnn_tensor *);
/* Sums are float32.  The number of groups follows from the channels of x and w. */
void kc_cudnn_graph_conv(struct kc_cudnn_graph *, enum kc_cudnn_pass,
			 const struct kc_cudnn_window *, int x, int w, int y);
/* Of one operand: b is ignored. */
void kc_cudnn_graph_pointwise(struct kc_cudnn_graph *, enum kc_cudnn_pointwise, int a, int b,
			      int y, double slope);
/* Ends the description.  KC_ENOSUP when cuDNN does not take such a graph. */
int kc_cudnn_graph_close(struct kc_cudnn_graph *);
void kc_cudnn_graph_free(struct kc_cudnn_graph *);

/* ---- engine configurations ---- */

/* What an engine says of itself. */
enum {
	KC_CUDNN_TENSOR_CORE = 1,       /* of float32 values: their TF32 form is multiplied */
	KC_CUDNN_DOWN_CONVERT = 2,
	KC_CUDNN_REDUCED_SUMS = 4,
	KC_CUDNN_FFT = 8,
	KC_CUDNN_NONDETERMINISTIC = 16,
	KC_CUDNN_WINOGRAD = 32 + 64 + 128 + 256,        /* with a tile of any size */
	KC_CUDNN_RUN_TIME_COMPILED = 1 << 16
};

enum { KC_CUDNN_KNOBS = 24 };

/* Numbers that mean the same for the same graph, library version and device. */
struct kc_cudnn_config {
	int64_t engine;
	int64_t n_knobs;
	struct { int64_t type, value; } knob[KC_CUDNN_KNOBS];
	unsigned notes;
};

/* The library's heuristics. */
enum kc_cudnn_mode {
	KC_CUDNN_MODE_A,                /* fast */
	KC_CUDNN_MODE_B,                /* more accurate, slower */
	KC_CUDNN_FALLBACK               /* works more often, slow engines */
};

/* Best guess first.  Returns how many there are (at most `room`); none is no error. */
int kc_cudnn_graph_configs(struct kc_cudnn_graph *, enum kc_cudnn_mode,
			   struct kc_cudnn_config *, int room);

/* ---- plans ---- */

/* KC_ENOSUP when the engine refuses.  The graph may be freed afterwards. */
int kc_cudnn_plan_build(struct kc_cudnn_plan **, struct kc_cudnn_graph *,
			const struct kc_cudnn_config *);
void kc_cudnn_plan_free(struct kc_cudnn_plan *);
size_t kc_cudnn_plan_workspace(const struct kc_cudnn_plan *);   /* bytes */
/* Launches; data: addresses of the graph's tensors that are not inner, in order. */
int kc_cudnn_plan_run(struct kc_cudnn_plan *, void *const *data, void *workspace);

#endif
