/*
 * VGG: the convolutions of an image classifier, whose features tell how alike two pictures look.
 *
 * Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
 * recognition", ICLR 2015, configurations D (16 layers) and E (19); names as in the published
 * PyTorch weights: features.N.weight, features.N.bias.  14,714,688 and 20,024,384 parameters,
 * 20.0 and 25.5 GMAC for a picture of 256x256.
 */
#ifndef KC_MODELS_VGG_H
#define KC_MODELS_VGG_H

#include "layers/layers.h"

enum kc_vgg_depth { KC_VGG16 = 16, KC_VGG19 = 19 };

/* RGB in [0, 1] as the published weights expect it: minus the mean of ImageNet, over its standard
 * deviation, channel by channel. */
struct kc_tensor *kc_vgg_input(struct kc_graph *, struct kc_tensor *rgb);

/* Whether features.N is a rectified convolution: what features can be taken from. */
bool kc_vgg_has(enum kc_vgg_depth, int64_t layer);

/*
 * out[i]: what features.layer[i] gives, a ReLU; layers rise.  x: [N,3,H,W] of kc_vgg_input.  Layers
 * behind the last one asked for are not made.  An error of the graph where kc_vgg_has says no.
 */
void kc_vgg(struct kc_model *, struct kc_tensor *x, enum kc_vgg_depth, const int64_t *layer, int n,
	    struct kc_tensor **out);

#endif
