/*
 * eccv16: colour for one frame from its luma, as a distribution over the 313 bins of the ab plane
 * that sRGB has, decoded by its annealed mean.
 *
 * Source: Zhang et al., "Colorful image colorization", ECCV 2016; names and sizes as in the
 * published PyTorch weights (colorization_release_v2-9b330a0b.pth).  32,236,011 parameters,
 * 41.8 GMAC for a frame of 256x256.
 */
#ifndef KC_MODELS_ECCV16_H
#define KC_MODELS_ECCV16_H

#include "layers/layers.h"
#include "models/init.h"

enum { KC_ECCV16_SIDE = 8 };            /* height and width are multiples of it */
#define KC_ECCV16_TEMPERATURE 0.38      /* as published */

struct kc_eccv16_args {
	/*
	 * Divides the logits before the softmax: 0.38 anneals as published (section 2.3), 1 (or
	 * 0, the default) takes the mean.  The published PyTorch network has no temperature: its
	 * last layer, model8.6, was multiplied by 1 / 0.38 instead, so imported weights want 1
	 * and weights trained here want 0.38.
	 */
	double temperature;
	double width;                   /* models/width.h */
};

struct kc_eccv16 {
	struct kc_tensor *ab;           /* [N,2,H,W] ab / 110 */
	struct kc_tensor *feature;      /* [N,256,H/4,W/4], what the logits are computed from */
	struct kc_tensor *logits;       /* [N,313,H/4,W/4], before the temperature */
};

/* l: [N,1,H,W], (L - 50) / 100.  The decoder model_out is a table and never trained. */
struct kc_eccv16 kc_eccv16(struct kc_model *, struct kc_tensor *l, const struct kc_eccv16_args *);

/* The last layer, the annealed mean and the enlargement alone, from a feature. */
struct kc_eccv16 kc_eccv16_out(struct kc_model *, struct kc_tensor *feature, double temperature);

/*
 * What it is trained from: weights N(0, 2 / fan in) (He et al., 2015), biases 0, the decoder
 * the bin centres / 110.  The published training started from k-means weights.
 */
int kc_eccv16_init(struct kc_param *, const struct kc_init *);

/* What tells imported weights from others. */
struct kc_eccv16_weights {
	double decoder_error;           /* largest |model_out.weight - bin centre / 110| */
	double sharpness;               /* standard deviation of model8.6.weight between bins, the
					 * mean over its inputs: 2.6 times as large with the
					 * temperature inside as without */
};

/* Measures a filled store; KC_EFORMAT when a layer is missing or has another shape. */
int kc_eccv16_measure(const struct kc_params *, struct kc_eccv16_weights *);

/*
 * The check of an import.  KC_EFORMAT: the decoder is not the table of bin centres (off by more
 * than 0.01), so a temperature may mean nothing, or a value is not finite.
 */
int kc_eccv16_check(const struct kc_params *, struct kc_eccv16_weights *);

#endif
