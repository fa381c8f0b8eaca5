/* Weights of a known network as an ONNX model, for the program export. */
#ifndef KC_EVAL_EXPORT_ONNX_H
#define KC_EVAL_EXPORT_ONNX_H

#include "weights/weights.h"

struct kc_export_onnx_args {
	const char *network;            /* eval/onnx_model.h */
	double factor;                  /* of channels */
	int height, width;
	bool verify;                    /* run it in ONNX Runtime too, print the difference */
};

/*
 * mask_cent and temperature are those of the file's metadata.  KC_ENOSUP: the network has no such
 * form, or --verify is not possible here; KC_ENUMERIC: results differ by 1e-4 or more, and the
 * written file is left to be looked at.
 */
int kc_export_onnx(const char *path, const struct kc_weights *, const struct kc_export_onnx_args *);

#endif
