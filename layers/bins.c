/* Colour bins: constants, encodings of targets, and the mean that decodes a distribution. */
#include "layers/bins.h"

#include "core/onnx.h"
#include "layers/layers.h"
#include "layers/ops.h"
#include "layers/ref.h"

#include <math.h>
#include <stdio.h>

const double kc_bins_a[KC_BINS] = {
	-90, -90, -90, -90, -90, -80, -80, -80, -80, -80, -80, -80, -80, -70, -70, -70, -70,
	-70, -70, -70, -70, -70, -70, -60, -60, -60, -60, -60, -60, -60, -60, -60, -60, -60,
	-60, -50, -50, -50, -50, -50, -50, -50, -50, -50, -50, -50, -50, -50, -50, -40, -40,
	-40, -40, -40, -40, -40, -40, -40, -40, -40, -40, -40, -40, -40, -30, -30, -30, -30,
	-30, -30, -30, -30, -30, -30, -30, -30, -30, -30, -30, -30, -20, -20, -20, -20, -20,
	-20, -20, -20, -20, -20, -20, -20, -20, -20, -20, -20, -10, -10, -10, -10, -10, -10,
	-10, -10, -10, -10, -10, -10, -10, -10, -10, -10, -10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
	10, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 30, 30, 30,
	30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 40, 40, 40, 40, 40, 40,
	40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 50, 50, 50, 50, 50, 50, 50, 50,
	50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60,
	60, 60, 60, 60, 60, 60, 60, 60, 60, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70,
	70, 70, 70, 70, 70, 70, 70, 80, 80, 80, 80, 80, 80, 80, 80, 80, 80, 80, 80, 80, 80, 80,
	80, 80, 80, 80, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90,
	90, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100,
};

const double kc_bins_b[KC_BINS] = {
	50, 60, 70, 80, 90, 20, 30, 40, 50, 60, 70, 80, 90, 0, 10, 20, 30, 40, 50, 60, 70, 80,
	90, -20, -10, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, -30, -20, -10, 0, 10, 20, 30, 40,
	50, 60, 70, 80, 90, 100, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100,
	-50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, -50, -40, -30, -20,
	-10, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, -60, -50, -40, -30, -20, -10, 0, 10,
	20, 30, 40, 50, 60, 70, 80, 90, 100, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30,
	40, 50, 60, 70, 80, 90, 100, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40,
	50, 60, 70, 80, 90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50, 60,
	70, 80, 90, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50, 60, 70,
	80, 90, -100, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50, 60,
	70, 80, 90, -100, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50,
	60, 70, 80, -110, -100, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40,
	50, 60, 70, 80, -110, -100, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30,
	40, 50, 60, 70, 80, -110, -100, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20,
	30, 40, 50, 60, 70, -110, -100, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0, 10, 20,
	30, 40, 50, 60, 70, -90, -80, -70, -60, -50, -40, -30, -20, -10, 0,
};

/* ---- tables as values ---- */

static int constant_infer(struct kc_infer *f)
{
	const struct kc_constant_attr *a = f->attr;

	f->out[0] = kc_type_of(KC_REAL, (int)a->ndim, a->dim);
	return 0;
}

static void constant_ref(const struct kc_call *call)
{
	const struct kc_constant_attr *a = call->attr;
	struct kc_type t = kc_type_of(KC_F64, (int)a->ndim, a->dim);
	struct kc_buf from = {.type = t};

	from.data = (void *)(uintptr_t)a->table;
	kc_strides(&t, KC_PLAIN, from.stride);
	kc_copy(&call->out[0], &from);
}

static const char *constant_onnx(struct kc_onnx *x, const struct kc_tensor *t)
{
	const struct kc_constant_attr *a = t->node->attr;
	int64_t n = kc_numel(&t->type);
	float *data = kc_onnx_alloc(x, (size_t)n * sizeof *data);
	char *name = kc_onnx_alloc(x, 32);

	if (!data || !name)
		return "";
	for (int64_t i = 0; i < n; i++)
		data[i] = (float)a->table[i];
	snprintf(name, 32, "table_%d", t->node->id);
	return kc_onnx_const(x, name, KC_ONNX_FLOAT, &t->type, data, (size_t)n * sizeof *data);
}

const struct kc_op kc_op_constant = {
	.name = "constant", .flags = KC_OP_NONDIFF, .precision = KC_PREC_FULL,
	.layout = KC_LAYOUT_PLAIN, .attr_size = sizeof(struct kc_constant_attr),
	.infer = constant_infer, .ref = constant_ref, .onnx = constant_onnx,
};

struct kc_tensor *kc_constant(struct kc_graph *g, const double *table, struct kc_type t)
{
	struct kc_constant_attr a = {.table = table, .ndim = t.ndim};

	memcpy(a.dim, t.dim, sizeof a.dim);
	return kc_apply(g, &kc_op_constant, &a, NULL, 0);
}

/* ---- encodings ---- */

/* Offset of pixel p, counted over every dimension but the channels. */
static int64_t pixel(const struct kc_buf *b, int64_t p)
{
	int64_t at = 0;

	for (int k = b->type.ndim - 1; k >= 0; k--) {
		if (k == 1)
			continue;
		at += p % b->type.dim[k] * b->stride[k];
		p /= b->type.dim[k];
	}
	return at;
}

static int check_ab(const struct kc_type *x)
{
	char text[96];

	if (x->ndim < 2 || x->dim[1] != 2)
		return KC_FAIL(KC_ESHAPE, "expected a and b, got %s", kc_dims_text(x, text));
	return 0;
}

static int soft_encode_infer(struct kc_infer *f)
{
	KC_TRY(check_ab(&f->in[0]->type));
	f->out[0] = f->in[0]->type;
	f->out[0].dtype = KC_REAL;
	f->out[0].dim[1] = KC_BINS;
	return 0;
}

/* Bins by distance; of equal distances the lower index comes first. */
static void nearest_bins(double a, double b, int bin[KC_SOFT_NEAREST],
			 double distance[KC_SOFT_NEAREST])
{
	int n = 0;

	for (int q = 0; q < KC_BINS; q++) {
		double da = a - kc_bins_a[q], db = b - kc_bins_b[q], d = da * da + db * db;
		int at = n < KC_SOFT_NEAREST ? n++ : KC_SOFT_NEAREST;

		for (; at > 0 && distance[at - 1] > d; at--)
			if (at < KC_SOFT_NEAREST) {
				bin[at] = bin[at - 1];
				distance[at] = distance[at - 1];
			}
		if (at < KC_SOFT_NEAREST) {
			bin[at] = q;
			distance[at] = d;
		}
	}
}

static void soft_encode_ref(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];
	const double sigma = KC_SOFT_SIGMA;

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < kc_numel(&x->type) / 2; p++) {
		int bin[KC_SOFT_NEAREST];
		double d[KC_SOFT_NEAREST], sum = 0;

		nearest_bins(kc_get(x, pixel(x, p)), kc_get(x, pixel(x, p) + x->stride[1]), bin, d);
		for (int q = 0; q < KC_BINS; q++)
			kc_put(y, pixel(y, p) + q * y->stride[1], 0);
		/* Relative to the nearest, so that far colours do not vanish. */
		for (int k = KC_SOFT_NEAREST - 1; k >= 0; k--)
			sum += exp((d[0] - d[k]) / (2 * sigma * sigma));
		for (int k = 0; k < KC_SOFT_NEAREST; k++)
			kc_put(y, pixel(y, p) + bin[k] * y->stride[1],
			       exp((d[0] - d[k]) / (2 * sigma * sigma)) / sum);
	}
}

static int hard_encode_infer(struct kc_infer *f)
{
	const struct kc_type *x = &f->in[0]->type;

	KC_TRY(check_ab(x));
	f->out[0].dtype = KC_I32;
	f->out[0].ndim = x->ndim - 1;
	f->out[0].dim[0] = x->dim[0];
	for (int k = 2; k < x->ndim; k++)
		f->out[0].dim[k - 1] = x->dim[k];
	return 0;
}

/* One axis of the 23 x 23 grid in steps of 10; what is beyond it counts as its edge. */
static int grid_index(double normalised)
{
	return (int)fmin(fmax(rint((normalised * 110 + 110) / 10), 0), KC_HARD_SIDE - 1);
}

static void hard_encode_ref(const struct kc_call *call)
{
	const struct kc_buf *x = &call->in[0], *y = &call->out[0];

	#pragma omp parallel for if (kc_is_large(&call->out[0].type))
	for (int64_t p = 0; p < kc_numel(&y->type); p++) {
		int64_t rest = p, to = 0;
		int ia = grid_index(kc_get(x, pixel(x, p)));
		int ib = grid_index(kc_get(x, pixel(x, p) + x->stride[1]));

		for (int k = y->type.ndim - 1; k >= 0; k--) {
			to += rest % y->type.dim[k] * y->stride[k];
			rest /= y->type.dim[k];
		}
		kc_put(y, to, ia * KC_HARD_SIDE + ib);
	}
}

const struct kc_op kc_op_soft_encode = {
	.name = "soft_encode", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .infer = soft_encode_infer, .ref = soft_encode_ref,
};
const struct kc_op kc_op_hard_encode = {
	.name = "hard_encode", .n_in_min = 1, .n_in_max = 1, .flags = KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .infer = hard_encode_infer, .ref = hard_encode_ref,
};

struct kc_tensor *kc_soft_encode(struct kc_graph *g, struct kc_tensor *ab)
{
	return kc_apply(g, &kc_op_soft_encode, NULL, &ab, 1);
}

struct kc_tensor *kc_hard_encode(struct kc_graph *g, struct kc_tensor *ab)
{
	return kc_apply(g, &kc_op_hard_encode, NULL, &ab, 1);
}

struct kc_tensor *kc_annealed_mean(struct kc_graph *g, struct kc_tensor *logits, double temperature)
{
	struct kc_tensor *p = kc_softmax(g, kc_scale(g, logits, 1 / temperature), 1);
	struct kc_type t = {.ndim = p->type.ndim, .dtype = KC_REAL};

	for (int i = 0; i < t.ndim; i++)
		t.dim[i] = i == 1 ? KC_BINS : 1;
	return KC_CONCAT(g, 1, kc_sum_axis(g, kc_mul(g, p, kc_constant(g, kc_bins_a, t)), 1),
			 kc_sum_axis(g, kc_mul(g, p, kc_constant(g, kc_bins_b, t)), 1));
}
