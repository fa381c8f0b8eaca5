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

/* One kind of global hint as 512 channels. */
static struct kc_tensor *told(struct kc_model *m, const char *name, struct kc_tensor *x, int64_t n,
			      int64_t channels, int out)
{
	if (!x)
		x = kc_fill(m->g, 0, KC_TYPE(KC_REAL, n, channels, 1, 1));
	return kc_conv(m, name, x, .out = out, .k = 1);
}

/* What the global hints add to every pixel of block 4: [N,512,1,1]. */
static struct kc_tensor *global_branch(struct kc_model *m, const struct kc_siggraph17_args *a,
				       int64_t n, int out)
{
	struct kc_tensor *x = told(m, "global_hist.0", a->histogram, n, KC_BINS + 1, out);
	char layer[12];

	x = kc_relu(m->g, kc_add(m->g, x, told(m, "global_sat.0", a->saturation, n, 2, out)));
	KC_SCOPE(m->g, "global") {
		x = kc_batch_norm(m, "1", x);
		for (int i = 2; i <= 8; i += 3) {
			snprintf(layer, sizeof layer, "%d", i);
			x = kc_conv(m, layer, x, .out = out, .k = 1, .act = KC_RELU);
			snprintf(layer, sizeof layer, "%d", i + 2);
			x = kc_batch_norm(m, layer, x);
		}
	}
	return x;
}

enum { FIRST_PROJECTED = 3, LAST_PROJECTED = 8 };

/* conv[i]: block i's output; only 3 and 8 have a quarter of the frame's size already. */
static struct kc_tensor *distribution(struct kc_model *m, struct kc_tensor *const *conv, int out)
{
	struct kc_tensor *sum = NULL, *x;
	char layer[12];

	KC_SCOPE(m->g, "dist") {
		for (int i = FIRST_PROJECTED; i <= LAST_PROJECTED; i++) {
			snprintf(layer, sizeof layer, "conv%d", i);
			x = kc_stop(m->g, conv[i]);
			if (i == FIRST_PROJECTED || i == LAST_PROJECTED)
				x = kc_conv(m, layer, x, .out = out);
			else
				x = kc_deconv(m, layer, x, .out = out);
			sum = sum ? kc_add(m->g, sum, x) : x;
		}
		sum = kc_conv(m, "out", kc_relu(m->g, sum), .out = KC_BINS, .k = 1);
	}
	return sum;
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
	int classes = a->classes ? a->classes : KC_SIGGRAPH17_CLASSES;
	struct kc_tensor *x, *conv[LAST_PROJECTED + 1];
	struct kc_siggraph17 out = {0};

	if (!sides_fit(g, l)) {
		x = kc_graph_fail(g, "siggraph17: no input");
		return (struct kc_siggraph17){x, x, x, x};
	}
	conv[1] = block(m, "model1", input(g, l, a), 2, 0, c64, 1);
	conv[2] = block(m, "model2", kc_subsample(g, conv[1], 2), 2, 0, c128, 1);
	conv[3] = block(m, "model3", kc_subsample(g, conv[2], 2), 3, 0, c256, 1);
	conv[4] = block(m, "model4", kc_subsample(g, conv[3], 2), 3, 0, c512, 1);
	if (a->global_hints)
		conv[4] = kc_add(g, conv[4], global_branch(m, a, l->type.dim[0], c512));
	conv[5] = block(m, "model5", conv[4], 3, 0, c512, 2);
	conv[6] = block(m, "model6", conv[5], 3, 0, c512, 2);
	conv[7] = block(m, "model7", conv[6], 3, 0, c512, 1);
	x = up(m, "model8up.0", conv[7], "model3short8.0", conv[3], c256);
	conv[8] = block(m, "model8", x, 2, 1, c256, 1);

	x = a->route == KC_ROUTE_COLOUR ? kc_stop(g, conv[8]) : conv[8];
	out.logits = kc_conv(m, "model_class.0", x, .out = classes, .k = 1);
	if (a->distribution)
		out.distribution = distribution(m, conv, kc_width(a->width, 384));
	if (a->route == KC_ROUTE_CLASSES) {
		conv[1] = kc_stop(g, conv[1]);
		conv[2] = kc_stop(g, conv[2]);
		conv[8] = kc_stop(g, conv[8]);
	}
	x = up(m, "model9up.0", conv[8], "model2short9.0", conv[2], c128);
	x = block(m, "model9", x, 1, 1, c128, 1);
	x = up(m, "model10up.0", x, "model1short10.0", conv[1], c128);
	out.feature = kc_conv(m, "model10.1", x, .out = c128, .act = KC_LEAKY, .slope = 0.2f);
	out.ab = kc_siggraph17_out(m, out.feature);
	return out;
}
