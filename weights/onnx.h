/*
 * A graph as an ONNX file (opset 16): nodes, parameters under their own names, inputs and
 * outputs, metadata.  No code, no external data; one file of less than 2 GB.
 *
 * Source: github.com/onnx/onnx, onnx/onnx.proto (message and field numbers), docs/Operators.md.
 */
#ifndef KC_WEIGHTS_ONNX_H
#define KC_WEIGHTS_ONNX_H

#include "core/graph.h"

struct kc_onnx_port {
	const char *name;               /* of an output; of an input NULL: as in the graph */
	struct kc_tensor *value;
};

struct kc_onnx_pair { const char *key, *value; };

struct kc_onnx_args {
	const char *name;               /* of the graph */
	const struct kc_onnx_port *inputs, *outputs;
	int n_inputs, n_outputs;
	/*
	 * Height and width of all inputs, which are equal, are the caller's ("height", "width");
	 * outputs may have a multiple of them.  KC_ENOSUP where an operator holds on to them.
	 */
	bool free_sides;
	const struct kc_onnx_pair *meta;
	int n_meta;
};

/*
 * Writes the file atomically.  The parameters must be filled; the graph holds no training step.
 * KC_ENOSUP names the first operator that has no counterpart; KC_EINVAL: an input is missing.
 */
int kc_onnx_save(const char *path, struct kc_graph *, const struct kc_onnx_args *);

#endif
