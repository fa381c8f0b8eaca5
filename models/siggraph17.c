#include "models/siggraph17.h"

#include "models/width.h"

#include <stdio.h>

/*
 * n convolutions with ReLU, then batch norm.  The published names count the layers of a block
 * and the ReLUs between them: first, first + 2, ...
 */
static struct kc_tensor *block(struct kc_model *m, const char *name, struct kc_tensor *x, int n,
			       int first, int out, int dilation)
{
	char layer[12];

	KC_SCOPE(m->g, name) {
		for (int i = 0; i < n; i++) {
			snprintf(layer, sizeof layer, "%d", first + 2 * i);
			x = kc_conv(m, layer, x, .out = out, .dilation = dilation, .act = KC_RELU);
		}
		snprintf(layer, sizeof layer, "%d", first + 2 * n);
		x = kc_batch_norm(m, layer, x);
	}
	return x;
}

/* Twice the size, plus the shortcut from the encoder. */
static struct kc_tensor *up(struct kc_model *m, const char *name, struct kc_tensor *x,
			    const char *shortcut, struct kc_tensor *skip, int out)
{
	x = kc_deconv(m, name, x, .out = out);
	skip = kc_conv(m, shortcut, skip, .out = out);
	return kc_relu(m->g, kc_add(m->g, x, skip));
}

static struct kc_tensor *input(struct kc_graph *g, struct kc_tensor *l,
			       const struct kc_siggraph17_args *a)
{
	int64_t n = l->type.dim[0], h = l->type.dim[2], w = l->type.dim[3];
	struct kc_tensor *hint = a->hint, *mask = a->mask;

	if (!hint)
		hint = kc_fill(g, 0, KC_TYPE(KC_REAL, n, 2, h, w));
	if (!mask)
		mask = kc_fill(g, 0, KC_TYPE(KC_REAL, n, 1, h, w));
	if (a->mask_cent != 0)
		mask = kc_shift(g, mask, -a->mask_cent);
	return KC_CONCAT(g, 1, l, hint, mask);
}

struct kc_tensor *kc_siggraph17_out(struct kc_model *m, struct kc_tensor *feature)
{
	return kc_conv(m, "model_out.0", feature, .out = 2, .k = 1, .act = KC_TANH);
}

static bool sides_fit(struct kc_graph *g, const struct kc_tensor *l)
{
	char text[96];

	if (kc_is_poison(l))
		return false;
	if (l->type.ndim == 4 && l->type.dim[1] == 1 &&
	    l->type.dim[2] % KC_SIGGRAPH17_SIDE == 0 && l->type.dim[3] % KC_SIGGRAPH17_SIDE == 0)
		return true;
	kc_graph_fail(g, "siggraph17 takes luma Nx1xHxW, sides multiples of %d, got %s",
		      KC_SIGGRAPH17_SIDE, kc_dims_text(&l->type, text));
	return false;
}

struct kc_siggraph17 kc_siggraph17(struct kc_model *m, struct kc_tensor *l,
				   const struct kc_siggraph17_args *args)
{
	static const struct kc_siggraph17_args plain = {0};
	const struct kc_siggraph17_args *a = args ? args : &plain;
	struct kc_graph *g = m->g;
	int c64 = kc_width(a->width, 64), c128 = kc_width(a->width, 128);
	int c256 = kc_width(a->width, 256), c512 = kc_width(a->width, 512);
	struct kc_tensor *x, *conv1, *conv2, *conv3, *conv8;
	struct kc_siggraph17 out;

	if (!sides_fit(g, l)) {
		x = kc_graph_fail(g, "siggraph17: no input");
		return (struct kc_siggraph17){x, x, x};
	}
	conv1 = block(m, "model1", input(g, l, a), 2, 0, c64, 1);
	conv2 = block(m, "model2", kc_subsample(g, conv1, 2), 2, 0, c128, 1);
	conv3 = block(m, "model3", kc_subsample(g, conv2, 2), 3, 0, c256, 1);
	x = block(m, "model4", kc_subsample(g, conv3, 2), 3, 0, c512, 1);
	x = block(m, "model5", x, 3, 0, c512, 2);
	x = block(m, "model6", x, 3, 0, c512, 2);
	x = block(m, "model7", x, 3, 0, c512, 1);
	x = up(m, "model8up.0", x, "model3short8.0", conv3, c256);
	conv8 = block(m, "model8", x, 2, 1, c256, 1);

	x = a->route == KC_ROUTE_COLOUR ? kc_stop(g, conv8) : conv8;
	out.logits = kc_conv(m, "model_class.0", x, .out = KC_SIGGRAPH17_CLASSES, .k = 1);
	if (a->route == KC_ROUTE_CLASSES) {
		conv1 = kc_stop(g, conv1);
		conv2 = kc_stop(g, conv2);
		conv8 = kc_stop(g, conv8);
	}
	x = up(m, "model9up.0", conv8, "model2short9.0", conv2, c128);
	x = block(m, "model9", x, 1, 1, c128, 1);
	x = up(m, "model10up.0", x, "model1short10.0", conv1, c128);
	out.feature = kc_conv(m, "model10.1", x, .out = c128, .act = KC_LEAKY, .slope = 0.2f);
	out.ab = kc_siggraph17_out(m, out.feature);
	return out;
}
