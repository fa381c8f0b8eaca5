/*
 * Discriminators: networks that score how real pictures or clips look, many scores each.
 *
 * KC_PATCHGAN   Isola et al., "Image-to-image translation with conditional adversarial
 *               networks", CVPR 2017, section 3.2.2, with the names of colorization-pytorch:
 *               a 4x4 convolution to nf channels, n_layers - 1 that halve the size and one
 *               that does not, each with twice the channels up to 8 nf and a norm, and a last
 *               one to scores.  Three layers see 70x70 pixels.
 * KC_PIXELGAN   the same authors' 1x1 variant: every pixel by itself.
 * KC_SN_PATCHGAN  as KC_PATCHGAN with at most 2 nf channels, all under spectral norm (Miyato
 *               et al., ICLR 2018), named conv1, conv2, ...
 * KC_TPATCHGAN  Chang et al., "Free-form video inpainting with 3D gated convolution and
 *               temporal PatchGAN", ICCV 2019, section 3.3: six convolutions of 3 frames and
 *               5x5 pixels that halve height and width, all but the last under spectral norm;
 *               every channel of the last is a score.
 *
 * Spectral norm takes one power iteration per training step, however many inputs the network
 * scores there: they see the same weights.
 */
#ifndef KC_MODELS_PATCHGAN_H
#define KC_MODELS_PATCHGAN_H

#include "layers/layers.h"

enum kc_patchgan_kind { KC_PATCHGAN, KC_PIXELGAN, KC_SN_PATCHGAN, KC_TPATCHGAN };
enum kc_patchgan_norm { KC_PATCHGAN_PLAIN, KC_PATCHGAN_BATCH, KC_PATCHGAN_INSTANCE };

enum { KC_PATCHGAN_LAYERS = 8 };

struct kc_patchgan_args {
	enum kc_patchgan_kind kind;
	int nf;                         /* channels of the first layer; 0: 64 */
	int n_layers;                   /* that halve the size; 0: 3; not of pixel and temporal */
	enum kc_patchgan_norm norm;     /* between the layers; not of KC_TPATCHGAN */
	bool spectral;                  /* spectral norm where the kind does not have it anyway */
	bool attention;                 /* self-attention behind the last layer that halves the
					 * size, of KC_TPATCHGAN the fourth and over all frames
					 * (Zhang et al., SAGAN, ICML 2019); not of KC_PIXELGAN */
	double width;                   /* models/width.h */
};

struct kc_patchgan {
	struct kc_tensor *score;        /* raw: [N,1,h,w], of KC_TPATCHGAN [N,4 nf,T,h,w] */
	struct kc_tensor *feature[KC_PATCHGAN_LAYERS]; /* behind each activation, from the first */
	int n_features;
};

/* x: [N,C,H,W], of KC_TPATCHGAN [N,C,T,H,W]. */
struct kc_patchgan kc_patchgan(struct kc_model *, struct kc_tensor *x,
			       const struct kc_patchgan_args *);

/* The least height and width that give a score. */
int64_t kc_patchgan_least_side(const struct kc_patchgan_args *);

#endif
