/*
 * Networks as ONNX models: which inputs and outputs each has, and whether another runtime
 * computes what we compute.
 *
 *	siggraph17      l -> ab, feature, logits                height and width are free
 *	eccv16          l -> ab, logits                         height and width are free
 *	tcvc            one step of the propagation (models/tcvc.h, kc_tcvc_step), free sides:
 *	                l_before, l, l_after, feature_before, feature_after, flow_before,
 *	                flow_after -> ab, feature, feature_back
 *	flownet2        first, second (RGB in [0,1]) -> flow    sides as exported
 *
 * Luma is (L - 50) / 100, ab is in units of 110, flow in pixels.
 */
#ifndef KC_EVAL_ONNX_MODEL_H
#define KC_EVAL_ONNX_MODEL_H

#include "core/plan.h"
#include "layers/layers.h"

enum { KC_ONNX_PORTS = 8 };

struct kc_onnx_model {
	const char *name;               /* of the network */
	struct kc_graph *graph;
	struct kc_params *params;       /* to be filled before it is saved or run */
	struct kc_model model;
	bool free_sides;
	struct kc_tensor *in[KC_ONNX_PORTS], *out[KC_ONNX_PORTS];
	const char *out_name[KC_ONNX_PORTS];
	int n_in, n_out;
};

struct kc_onnx_model_args {
	const char *network;
	int64_t height, width;          /* while it is built; of flownet2 for good */
	double factor;                  /* of channels (models/width.h); 0: 1 */
	double mask_cent;               /* models/siggraph17.h */
	double temperature;             /* models/eccv16.h; 0: 1 */
};

/*
 * Builds a network and lays out its parameters.  KC_ENOENT: it has no ONNX form.  To be closed
 * even when it fails.
 */
int kc_onnx_model_open(struct kc_onnx_model *, const struct kc_onnx_model_args *);
void kc_onnx_model_close(struct kc_onnx_model *);

int kc_onnx_model_save(const struct kc_onnx_model *, const char *path);

/*
 * Runs the network on reproducible inputs and writes inputs ("in.NAME") and outputs
 * ("out.NAME") as a safetensors file.
 */
int kc_onnx_model_case(const struct kc_onnx_model *, struct kc_device *, const char *path);

/*
 * Runs an ONNX file in ONNX Runtime (node with the package onnxruntime-node, which is looked for
 * as node does, NODE_PATH included) on the inputs of such a file; *worst becomes the largest
 * |difference| of an output.  KC_ENOSUP: node or the package is not there.
 */
int kc_onnx_verify(const char *onnx, const char *file, double *worst);

#endif
