#include "models/eccv16.h"

#include "models/width.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct block { const char *name; int n, out, stride, dilation; };

/* n convolutions with ReLU, the last of which may shrink, then batch norm. */
static struct kc_tensor *block(struct kc_model *m, struct kc_tensor *x, const struct block *b,
			       double width)
{
	char layer[12];

	KC_SCOPE(m->g, b->name) {
		for (int i = 0; i < b->n; i++) {
			snprintf(layer, sizeof layer, "%d", 2 * i);
			x = kc_conv(m, layer, x, .out = kc_width(width, b->out), .act = KC_RELU,
				    .dilation = b->dilation,
				    .stride = i == b->n - 1 ? b->stride : 1);
		}
		snprintf(layer, sizeof layer, "%d", 2 * b->n);
		x = kc_batch_norm(m, layer, x);
	}
	return x;
}

static struct kc_tensor *enlarge(struct kc_model *m, struct kc_tensor *x, double width)
{
	int c = kc_width(width, 256);

	KC_SCOPE(m->g, "model8") {
		x = kc_deconv(m, "0", x, .out = c, .act = KC_RELU);
		x = kc_conv(m, "2", x, .out = c, .act = KC_RELU);
		x = kc_conv(m, "4", x, .out = c, .act = KC_RELU);
	}
	return x;
}

struct kc_eccv16 kc_eccv16_out(struct kc_model *m, struct kc_tensor *feature, double temperature)
{
	struct kc_graph *g = m->g;
	struct kc_eccv16 out = {.feature = feature};
	struct kc_tensor *x;
	bool frozen = m->frozen;

	KC_SCOPE(g, "model8")
		out.logits = kc_conv(m, "6", feature, .out = KC_BINS, .k = 1);
	x = kc_softmax(g, kc_scale(g, out.logits, 1 / (temperature > 0 ? temperature : 1)), 1);
	m->frozen = true;
	x = kc_conv(m, "model_out", x, .out = 2, .k = 1, .no_bias = true);
	m->frozen = frozen;
	out.ab = kc_is_poison(x) ? x
		: kc_resize_bilinear(g, x, 4 * x->type.dim[2], 4 * x->type.dim[3], false);
	return out;
}

static bool sides_fit(struct kc_graph *g, const struct kc_tensor *l)
{
	char text[96];

	if (kc_is_poison(l))
		return false;
	if (l->type.ndim == 4 && l->type.dim[1] == 1 &&
	    l->type.dim[2] % KC_ECCV16_SIDE == 0 && l->type.dim[3] % KC_ECCV16_SIDE == 0)
		return true;
	kc_graph_fail(g, "eccv16 takes luma Nx1xHxW, sides multiples of %d, got %s",
		      KC_ECCV16_SIDE, kc_dims_text(&l->type, text));
	return false;
}

struct kc_eccv16 kc_eccv16(struct kc_model *m, struct kc_tensor *l,
			   const struct kc_eccv16_args *args)
{
	static const struct kc_eccv16_args usual = {0};
	static const struct block blocks[] = {
		{"model1", 2, 64, 2, 1}, {"model2", 2, 128, 2, 1}, {"model3", 3, 256, 2, 1},
		{"model4", 3, 512, 1, 1}, {"model5", 3, 512, 1, 2}, {"model6", 3, 512, 1, 2},
		{"model7", 3, 512, 1, 1},
	};
	const struct kc_eccv16_args *a = args ? args : &usual;
	struct kc_tensor *x = l;

	if (!sides_fit(m->g, l)) {
		x = kc_graph_fail(m->g, "eccv16: no input");
		return (struct kc_eccv16){x, x, x};
	}
	for (size_t i = 0; i < KC_COUNT(blocks); i++)
		x = block(m, x, &blocks[i], a->width);
	return kc_eccv16_out(m, enlarge(m, x, a->width), a->temperature);
}

/* ---- initial values ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n >= k && !strcmp(text + n - k, end);
}

static int write_decoder(struct kc_param *p)
{
	struct kc_buf b = kc_param_master(p);

	for (int q = 0; q < KC_BINS; q++) {
		kc_put(&b, q, kc_bins_a[q] / 110);
		kc_put(&b, KC_BINS + q, kc_bins_b[q] / 110);
	}
	return 0;
}

int kc_eccv16_init(struct kc_param *p, const struct kc_init *init)
{
	if (ends_with(p->name, "model_out.weight") && kc_numel(&p->type) == 2 * KC_BINS)
		return write_decoder(p);
	return kc_init_he(p, init);
}

/* ---- imported weights ---- */

/* n 0: any number of elements. */
static int find(const struct kc_params *s, const char *name, int64_t n, struct kc_buf *b)
{
	const struct kc_param *p = kc_params_find(s, name);
	char text[96];

	if (!p)
		return KC_FAIL(KC_EFORMAT, "eccv16: no parameter %s", name);
	if (n && kc_numel(&p->type) != n)
		return KC_FAIL(KC_EFORMAT, "eccv16: %s is %s, expected %lld elements", name,
			       kc_dims_text(&p->type, text), (long long)n);
	*b = kc_param_master(p);
	return 0;
}

static double column_deviation(const struct kc_buf *w, int64_t columns, int64_t column)
{
	double sum = 0, squares = 0, variance;

	for (int64_t q = 0; q < KC_BINS; q++) {
		double v = kc_get(w, q * columns + column);

		sum += v;
		squares += v * v;
	}
	sum /= KC_BINS;
	variance = squares / KC_BINS - sum * sum;
	return variance < 0 ? 0 : sqrt(variance);       /* NaN stays NaN */
}

int kc_eccv16_measure(const struct kc_params *s, struct kc_eccv16_weights *out)
{
	struct kc_buf decoder, last;
	int64_t inputs;

	*out = (struct kc_eccv16_weights){0};
	KC_TRY(find(s, "model_out.weight", 2 * KC_BINS, &decoder));
	KC_TRY(find(s, "model8.6.weight", 0, &last));
	inputs = kc_numel(&last.type) / KC_BINS;
	for (int64_t q = 0; q < KC_BINS; q++) {
		double a = fabs(kc_get(&decoder, q) - kc_bins_a[q] / 110);
		double b = fabs(kc_get(&decoder, KC_BINS + q) - kc_bins_b[q] / 110);

		out->decoder_error = a <= out->decoder_error ? out->decoder_error : a;
		out->decoder_error = b <= out->decoder_error ? out->decoder_error : b;
	}
	for (int64_t i = 0; i < inputs; i++)
		out->sharpness += column_deviation(&last, inputs, i) / (double)inputs;
	return 0;
}

int kc_eccv16_check(const struct kc_params *s, struct kc_eccv16_weights *out)
{
	KC_TRY(kc_eccv16_measure(s, out));
	if (!(out->decoder_error <= 0.01))
		return KC_FAIL(KC_EFORMAT, "eccv16: model_out.weight is off the table of bin "
			       "centres / 110 by %.3g, expected at most 0.01", out->decoder_error);
	if (!isfinite(out->sharpness) || out->sharpness == 0)
		return KC_FAIL(KC_EFORMAT, "eccv16: model8.6.weight does not tell bins apart");
	return 0;
}
