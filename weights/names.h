/*
 * What other projects call the parameters of networks that are known here.
 *
 * siggraph17 and eccv16: richzhang/colorization, colorization-pytorch and InstColorization use
 * the same names, some behind wrappers' prefixes (kc_weights_bare).
 *
 * FlowNet 2.0: those of NVIDIA/flownet2-pytorch are ours.  Other ports are built of the same
 * modules, which the Caffe models named (conv3_1, deconv5, inter_conv2, predict_flow6,
 * upsampled_flow6_to_5), so their names are taken by structure, which is an assumption:
 * - the five parts in any spelling that, without case, underscores and a "FlowNet" or "net" in
 *   front, is C, S1, S2, SD or Fusion;
 * - a convolution with its leaky ReLU as one module of two ("conv1.0.weight") or by itself
 *   ("conv1.weight"); the same of flows, which no ReLU follows.
 * What else differs, shapes or an order of channels, is not guessed.
 */
#ifndef KC_WEIGHTS_NAMES_H
#define KC_WEIGHTS_NAMES_H

#include "weights/safetensors.h"

/*
 * The name of a tensor without what wrappers put in front of it: DataParallel's "module.",
 * torch.compile's "_orig_mod." and "netG." of files that hold a generator so, any number of
 * them.  A part of name.
 */
const char *kc_weights_bare(const char *name);

/* A file's tensors under the names that are used here. */
struct kc_renamed {
	struct kc_st_tensor *tensors;   /* n of them, sorted by name (strcmp); NULL: none renamed */
	char **names;                   /* of the tensors in the file's order; NULL: kept */
	size_t n;
	char *about;                    /* which convention it was, with an example */
};

/*
 * When the names, without wrappers' prefixes, are another project's, *r receives copies of the
 * tensors, which borrow their data.  KC_ENOMEM.
 */
int kc_names_adapt(const struct kc_st_tensor *tensors, size_t n, struct kc_renamed *r);
void kc_renamed_release(struct kc_renamed *);

#endif
