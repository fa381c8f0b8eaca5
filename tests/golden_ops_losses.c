/* Builders: losses, colour, recurrent cells, second derivatives, optimizers. */
#include "losses/adversarial.h"
#include "losses/classes.h"
#include "losses/perceptual.h"
#include "losses/pixel.h"
#include "tests/golden_optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define G (c->g)

/* ---- losses ---- */

/* The kind is in the case's name, its number behind a keyword. */
static void image_loss(struct op_case *c, struct kc_tensor *x, struct kc_tensor *y)
{
	static const struct {
		const char *keyword, *number;
		enum kc_pixel_kind kind;
		enum kc_reduction reduction;
	} kinds[] = {
		{"charbonnier_sum", "eps", KC_PIXEL_CHARBONNIER, KC_REDUCE_SUM},
		{"charbonnier", "eps", KC_PIXEL_CHARBONNIER, KC_REDUCE_MEAN},
		{"smooth_l1", "beta", KC_PIXEL_SMOOTH_L1, KC_REDUCE_MEAN},
		{"huber", "delta_", KC_PIXEL_SMOOTH_L1, KC_REDUCE_PIXELS},
		{"l1", "", KC_PIXEL_L1, KC_REDUCE_MEAN},
		{"mse", "", KC_PIXEL_MSE, KC_REDUCE_MEAN},
	};

	for (size_t i = 0; i < KC_COUNT(kinds); i++) {
		struct kc_pixel_args a = {.kind = kinds[i].kind, .reduction = kinds[i].reduction};

		if (!strstr(c->name, kinds[i].keyword))
			continue;
		if (kinds[i].number[0])
			op_number_after(c->name, kinds[i].number, &a.p);
		op_out(c, "loss", kc_loss_pixel(G, x, y, &a));
		return;
	}
	kc_graph_fail(G, "no known loss in the name");
}

static void loss(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *y = op_in(c, "y"), *m;

	if (strstr(c->name, "loss_tv")) {
		op_out(c, "loss", kc_loss_tv(G, x));
	} else if (op_has(c, "in.m")) {
		m = op_in(c, "m");
		image_loss(c, kc_mul(G, m, x), kc_mul(G, m, y));
	} else {
		image_loss(c, x, y);
	}
}

static void bce_logits(struct op_case *c)
{
	op_out(c, "loss", kc_bce_logits(G, op_in(c, "x"), op_attr(c, "target", 0, NAN)));
}

static void lsgan(struct op_case *c)
{
	op_out(c, "loss", kc_lsgan(G, op_in(c, "x"), op_attr(c, "target", 0, NAN)));
}

static void hinge(struct op_case *c)
{
	op_out(c, "loss", kc_hinge_d(G, op_in(c, "real"), op_in(c, "fake")));
}

static void wgan(struct op_case *c)
{
	op_out(c, "loss", kc_wgan_d(G, op_in(c, "real"), op_in(c, "fake")));
}

static void ralsgan(struct op_case *c)
{
	op_out(c, "loss", kc_ralsgan_d(G, NULL, op_in(c, "real"), op_in(c, "fake")));
}

static void gram(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x");
	const int64_t *d = x->type.dim;

	op_out(c, "y", kc_scale(G, kc_gram(G, x), (double)(d[1] * d[2] * d[3])));
}

/* sum (G - A)^2 / (4 N^2 M^2) with N channels of M pixels. */
static void style(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x");
	const int64_t *d = x->type.dim;
	double n = (double)d[1], m = (double)(d[2] * d[3]);
	struct kc_tensor *a = kc_scale(G, op_in(c, "A"), 1 / (n * m));
	struct kc_tensor *e = kc_sub(G, kc_gram(G, x), a);

	op_out(c, "loss", kc_scale(G, kc_sum(G, kc_square(G, e)), 1.0 / 4));
}

/* ---- colour and its classes ---- */

static void rgb2lab(struct op_case *c)
{
	op_out(c, "y", kc_rgb_to_lab(G, op_in(c, "x")));
}

static void lab2rgb(struct op_case *c)
{
	op_out(c, "y", kc_lab_to_rgb(G, op_in(c, "x")));
}

static void table(struct op_case *c)
{
	struct kc_type column = KC_TYPE(KC_REAL, KC_BINS, 1);

	op_out(c, "y", KC_CONCAT(G, 1, kc_constant(G, kc_bins_a, column),
				 kc_constant(G, kc_bins_b, column)));
}

static void soft_encode(struct op_case *c)
{
	if (op_attr(c, "K", 0, 10) != 10 || op_attr(c, "sigma", 0, 5) != 5)
		kc_graph_fail(G, "soft encoding takes 10 bins with sigma 5 only");
	op_out(c, "y", kc_soft_encode(G, op_in(c, "ab")));
}

static void hard_encode(struct op_case *c)
{
	op_out(c, "index", kc_hard_encode(G, op_in(c, "ab")));
}

static void annealed(struct op_case *c)
{
	op_out(c, "y", kc_annealed_mean(G, op_in(c, "logits"), op_attr(c, "T", 0, 0.38)));
}

static void cross_entropy(struct op_case *c)
{
	op_out(c, "loss", kc_loss_hard_ce(G, op_in(c, "logits"), op_in(c, "target")));
}

/* The factors v that follow from in.prior, as a constant. */
static struct kc_tensor *factors(struct op_case *c)
{
	struct kc_type t = op_type(c, "in.prior");
	double *prior = op_data(c, "in.prior"), *v = kc_calloc((size_t)kc_numel(&t), sizeof *v);
	struct kc_tensor *out;

	if (prior && v) {
		kc_rebalance(prior, (int)kc_numel(&t), op_attr(c, "lambda", 0, 0.5),
			     op_attr(c, "alpha", 0, 1), v);
		out = op_constant(c, "v", t, v);
	} else {
		out = kc_graph_fail(G, "%s", kc_errmsg());
	}
	free(prior);
	free(v);
	return out;
}

static void rebalanced(struct op_case *c)
{
	struct kc_tensor *logits = op_in(c, "logits"), *v = factors(c), *each;
	struct kc_rebalanced r = kc_loss_rebalanced(G, logits, op_in(c, "ab"), v);

	each = kc_mul(G, r.weight, kc_cross_entropy(G, logits, r.target));
	op_out(c, "loss", r.loss);
	op_out(c, "per_pixel", op_reshape(c, each, op_type(c, "out.per_pixel")));
	op_out(c, "v", v);
	op_out(c, "Z", r.target);
	op_out(c, "weight", op_reshape(c, r.weight, op_type(c, "out.weight")));
}

/* ---- recurrent cells, attention ---- */

/* Slice t of the leading time axis, without that axis. */
static struct kc_tensor *at_time(struct op_case *c, struct kc_tensor *x, int64_t t)
{
	struct kc_type type = {.ndim = x->type.ndim - 1, .dtype = KC_REAL};

	for (int i = 0; i < type.ndim; i++)
		type.dim[i] = x->type.dim[i + 1];
	return op_reshape(c, kc_slice(G, x, 0, t, 1, 1), type);
}

static struct kc_tensor *with_time(struct op_case *c, struct kc_tensor *h)
{
	struct kc_type type = {.ndim = h->type.ndim + 1, .dtype = KC_REAL, .dim = {1}};

	for (int i = 0; i < h->type.ndim && i + 1 < KC_MAX_DIM; i++)
		type.dim[i + 1] = h->type.dim[i];
	return op_reshape(c, h, type);
}

static void recurrent(struct op_case *c, const struct kc_lstm *vector)
{
	struct kc_tensor *x = op_in(c, "x"), *h = op_in(c, "h0"), *s = op_in(c, "c0");
	struct kc_tensor *hs[OP_VALUES];
	int n = (int)x->type.dim[0];

	if (n < 1 || n > OP_VALUES) {
		kc_graph_fail(G, "%d time steps", n);
		return;
	}
	for (int t = 0; t < n; t++) {
		if (vector)
			kc_lstm_step(G, vector, at_time(c, x, t), &h, &s);
		else
			kc_conv_lstm_step(G, op_weight(c, "w"), op_weight(c, "b"), at_time(c, x, t),
					  &h, &s);
		hs[t] = with_time(c, h);
	}
	op_out(c, "h", kc_concat(G, 0, hs, n));
	op_out(c, "c_last", s);
}

static void lstm(struct op_case *c)
{
	struct kc_lstm l = {.w_ih = op_weight(c, "w_ih"), .w_hh = op_weight(c, "w_hh"),
			    .b_ih = op_weight(c, "b_ih"), .b_hh = op_weight(c, "b_hh")};

	recurrent(c, &l);
}

static void convlstm(struct op_case *c)
{
	recurrent(c, NULL);
}

static void self_attention(struct op_case *c)
{
	struct kc_attention a = {
		.wq = op_weight(c, "wq"), .bq = op_weight(c, "bq"), .wk = op_weight(c, "wk"),
		.bk = op_weight(c, "bk"), .wv = op_weight(c, "wv"), .bv = op_weight(c, "bv"),
		.gain = op_weight(c, "gamma"),
	};

	op_out(c, "y", kc_self_attention(G, &a, op_in(c, "x")));
}

/* ---- second derivatives ---- */

/* Convolution with a spectrally normalised weight. */
static struct kc_tensor *spectral_conv(struct op_case *c, struct kc_tensor *x, const char *w,
				       const char *b,
				       int64_t stride)
{
	struct kc_conv_attr a = {.nd = 2, .stride = {stride, stride}, .pad = {1, 1},
				 .dilation = {1, 1}, .groups = 1};
	struct kc_spectral s;
	char u[8];

	snprintf(u, sizeof u, "u_%s", w);
	kc_spectral_norm(G, op_weight(c, w), op_in(c, u), NULL, 0, &s);
	return kc_conv_op(G, x, s.w, b ? op_weight(c, b) : NULL, &a);
}

/* The penalty's x is an input of the case in all but name: "d.x" is asked for. */
static void gradient_penalty(struct op_case *c)
{
	struct kc_tensor *real = op_in(c, "real"), *fake = op_in(c, "fake"), *y;
	struct kc_tensor *alpha = kc_expand_to(G, op_in(c, "alpha"), &real->type);
	struct kc_tensor *x = kc_pw3(G, KC_PW_blend, 0, 0, alpha, real, fake);
	struct kc_gradient_penalty p;

	y = kc_leaky(G, spectral_conv(c, x, "w1", "b1", 2), 0.2);
	y = kc_leaky(G, kc_instance_norm(G, spectral_conv(c, y, "w2", NULL, 1), NULL, NULL), 0.2);
	y = spectral_conv(c, y, "w3", "b3", 1);
	p = kc_gradient_penalty(G, y, x, 10);
	op_out(c, "y", y);
	op_out(c, "gx", p.gx);
	op_out(c, "norm", OP_RESHAPE(c, p.norm, real->type.dim[0]));
	op_out(c, "gp", p.loss);
	op_seed(c, p.loss, kc_fill(G, 1, KC_TYPE(KC_REAL, 1)));
	op_wrt(c, "x", x);
}

/* z = leaky(instnorm(x), .2); y = sigmoid(z) tanh(z) + softmax_c(z); gx = d<g, y>/dx. */
static void double_backward(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *y, *gx;
	struct kc_tensor *z = kc_leaky(G, kc_instance_norm(G, x, NULL, NULL), 0.2);

	y = kc_add(G, kc_mul(G, kc_sigmoid(G, z), kc_tanh(G, z)), kc_softmax(G, z, 1));
	if (kc_grad(G, y, op_in(c, "g"), &x, 1, &gx) < 0)
		return;
	op_out(c, "gx", gx);
	op_seed(c, gx, op_in(c, "h"));
}

/* ---- training step ---- */

/* Every input is a gradient. */
static void clip(struct op_case *c)
{
	const char *names[OP_VALUES];
	struct kc_tensor *g[OP_VALUES], *norm, *factor;
	int n = op_inputs(c, names);

	if (op_attr(c, "eps", 0, 1e-6) != 1e-6)
		kc_graph_fail(G, "clipping has eps 1e-6 only");
	if (!n) {
		kc_graph_fail(G, "no gradients");
		return;
	}
	for (int i = 0; i < n; i++)
		g[i] = op_in(c, names[i]);
	norm = kc_global_norm(G, g, n);
	factor = kc_clip_factor(G, norm, op_attr(c, "max_norm", 0, NAN));
	op_out(c, "norm", norm);
	for (int i = 0; i < n; i++)
		op_out(c, names[i], kc_mul(G, g[i], factor));
}

const struct op_builder op_builders_losses[] = {
	{"loss", loss, NULL}, {"bce_logits", bce_logits, NULL}, {"lsgan", lsgan, NULL},
	{"hinge", hinge, NULL}, {"wgan", wgan, NULL}, {"ralsgan", ralsgan, NULL},
	{"gram", gram, NULL}, {"style", style, NULL}, {"rgb2lab", rgb2lab, NULL},
	{"lab2rgb", lab2rgb, NULL}, {"table", table, NULL}, {"soft_encode", soft_encode, NULL},
	{"encode529", hard_encode, NULL}, {"annealed", annealed, NULL},
	{"cross_entropy", cross_entropy, NULL}, {"rebalanced", rebalanced, NULL},
	{"lstm", lstm, NULL}, {"convlstm", convlstm, NULL}, {"self", self_attention, NULL},
	{"gradient_penalty", gradient_penalty, NULL}, {"double_backward", double_backward, NULL},
	{"clip", clip, NULL}, {"optimizer", NULL, golden_rule_case}, {0},
};
