#include "models/vgg.h"

#include <stdio.h>

enum { BLOCKS = 5 };

static const int channels[BLOCKS] = {64, 128, 256, 512, 512};

static int convolutions(enum kc_vgg_depth depth, int block)
{
	return block < 2 ? 2 : depth == KC_VGG19 ? 4 : 3;
}

bool kc_vgg_has(enum kc_vgg_depth depth, int64_t layer)
{
	int64_t at = 0;

	for (int b = 0; b < BLOCKS; b++, at++)
		for (int i = 0; i < convolutions(depth, b); i++, at += 2)
			if (layer == at + 1)
				return true;
	return false;
}

struct kc_tensor *kc_vgg_input(struct kc_graph *g, struct kc_tensor *rgb)
{
	static const double mean[3] = {0.485, 0.456, 0.406};
	static const double scale[3] = {1 / 0.229, 1 / 0.224, 1 / 0.225};
	struct kc_type t = KC_TYPE(KC_REAL, 1, 3, 1, 1);

	rgb = kc_sub(g, rgb, kc_constant(g, mean, t));
	return kc_mul(g, rgb, kc_constant(g, scale, t));
}

static struct kc_tensor *convolve(struct kc_model *m, struct kc_tensor *x, int64_t at, int out)
{
	char name[24];

	snprintf(name, sizeof name, "%lld", (long long)at);
	return kc_conv(m, name, x, .out = out, .act = KC_RELU);
}

void kc_vgg(struct kc_model *m, struct kc_tensor *x, enum kc_vgg_depth depth, const int64_t *layer,
	    int n, struct kc_tensor **out)
{
	int64_t at = 0;
	int done = 0;

	KC_SCOPE(m->g, "features")
		for (int b = 0; b < BLOCKS && done < n; b++, at++) {
			for (int i = 0; i < convolutions(depth, b) && done < n; i++, at += 2) {
				x = convolve(m, x, at, channels[b]);
				if (layer[done] == at + 1)
					out[done++] = x;
			}
			if (done < n)
				x = kc_max_pool(m->g, x, .k = 2);
		}
	while (done < n)
		out[done++] = kc_graph_fail(m->g, "VGG%d has no rectified convolution in its "
					    "rising layers that ends with %lld", (int)depth,
					    (long long)layer[n - 1]);
}
