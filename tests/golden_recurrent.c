/* Small recurrent networks, whose form the files of their fixtures tell in words. */
#include "losses/classes.h"
#include "losses/pixel.h"
#include "tests/golden_net.h"

enum { TIMES = 16 };

/* Entry t of the second axis, without that axis. */
static struct kc_tensor *at_time(struct net *n, struct kc_tensor *x, int64_t t)
{
	int64_t dim[KC_MAX_DIM] = {x->type.dim[0]};

	for (int i = 2; i < x->type.ndim; i++)
		dim[i - 1] = x->type.dim[i];
	return kc_reshape(n->g, kc_slice(n->g, x, 1, t, 1, 1), x->type.ndim - 1, dim);
}

/* The steps as a new second axis. */
static struct kc_tensor *over_time(struct net *n, struct kc_tensor **x, int count)
{
	int64_t dim[KC_MAX_DIM] = {x[0]->type.dim[0], 1};
	struct kc_tensor *y[TIMES];

	for (int i = 1; i < x[0]->type.ndim; i++)
		dim[i + 1] = x[0]->type.dim[i];
	for (int t = 0; t < count; t++)
		y[t] = kc_reshape(n->g, x[t], x[0]->type.ndim + 1, dim);
	return kc_concat(n->g, 1, y, count);
}

static struct kc_tensor *weight(struct net *n, const char *name, int64_t rows, int64_t columns)
{
	return kc_parameter(&n->m, name, &(struct kc_param){
		.type = KC_TYPE(KC_REAL, rows, columns), .kind = KC_PARAM_LINEAR, .fan = columns});
}

static struct kc_tensor *bias(struct net *n, const char *name, int64_t rows)
{
	return kc_parameter(&n->m, name, &(struct kc_param){.type = KC_TYPE(KC_REAL, rows),
							    .kind = KC_PARAM_BIAS, .fan = rows});
}

/* Colour of a clip from its luma: a convolution, the cell, a transposed convolution. */
void net_conv_lstm(struct net *n)
{
	enum { IN = 12, HIDDEN = 10 };
	struct kc_tensor *lab = net_input(n, "lab"), *w, *b, *h, *c, *y[TIMES];
	struct kc_type state;
	int times = (int)lab->type.dim[1];

	if (kc_is_poison(lab) || lab->type.ndim != 5 || times > TIMES) {
		kc_graph_fail(n->g, "expected a short clip");
		return;
	}
	state = KC_TYPE(KC_REAL, lab->type.dim[0], HIDDEN, lab->type.dim[3] / 2,
			lab->type.dim[4] / 2);
	h = c = kc_fill(n->g, 0, state);
	w = kc_parameter(&n->m, "convlstm.Gates.weight", &(struct kc_param){
		.type = KC_TYPE(KC_REAL, 4 * HIDDEN, IN + HIDDEN, 3, 3), .kind = KC_PARAM_CONV,
		.fan = 9 * (IN + HIDDEN)});
	b = bias(n, "convlstm.Gates.bias", 4 * HIDDEN);
	for (int t = 0; t < times; t++) {
		struct kc_tensor *l = kc_slice(n->g, at_time(n, lab, t), 1, 0, 1, 1);

		kc_conv_lstm_step(n->g, w, b, kc_conv(&n->m, "stem", l, .out = IN, .stride = 2,
						      .act = KC_LEAKY, .slope = 0.2f), &h, &c);
		y[t] = kc_deconv(&n->m, "head", h, .out = 2, .act = KC_TANH);
	}
	net_out(n, "y", over_time(n, y, times));
	net_out(n, "h", h);
	net_out(n, "c", c);
	n->loss = kc_loss_mse(n->g, n->out[0].t, kc_slice(n->g, lab, 2, 1, 2, 1));
	net_out(n, "loss", n->loss);
}

/* One layer over all steps, from zeros; its last state to h and c. */
static void lstm_layer(struct net *n, int layer, struct kc_tensor **x, int times,
		       struct kc_tensor **h, struct kc_tensor **c)
{
	enum { HIDDEN = 12 };
	static const char *const names[2][4] = {
		{"lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.bias_ih_l0", "lstm.bias_hh_l0"},
		{"lstm.weight_ih_l1", "lstm.weight_hh_l1", "lstm.bias_ih_l1", "lstm.bias_hh_l1"}};
	const char *const *name = names[layer];
	struct kc_lstm w = {
		.w_ih = weight(n, name[0], 4 * HIDDEN, x[0]->type.dim[1]),
		.w_hh = weight(n, name[1], 4 * HIDDEN, HIDDEN),
		.b_ih = bias(n, name[2], 4 * HIDDEN), .b_hh = bias(n, name[3], 4 * HIDDEN)};

	*h = *c = kc_fill(n->g, 0, KC_TYPE(KC_REAL, x[0]->type.dim[0], HIDDEN));
	for (int t = 0; t < times; t++) {
		kc_lstm_step(n->g, &w, x[t], h, c);
		x[t] = *h;
	}
}

/* Element i belongs to class i modulo the number of classes. */
static struct kc_tensor *classes(struct net *n, int64_t count, int64_t classes)
{
	double *data = kc_calloc((size_t)count, sizeof *data);

	for (int64_t i = 0; data && i < count; i++)
		data[i] = (double)(i % classes);
	return data ? net_feed(n, "classes", KC_TYPE(KC_I32, count, 1, 1), data) : net_fail(n);
}

/* Two layers and a classifier of every step. */
void net_lstm(struct net *n)
{
	enum { CLASSES = 5 };
	struct kc_tensor *in = net_input(n, "x"), *x[TIMES], *h[2], *c[2], *z;
	int64_t rows = in->type.dim[0];
	int times = (int)in->type.dim[1];

	if (kc_is_poison(in) || in->type.ndim != 3 || times > TIMES) {
		kc_graph_fail(n->g, "expected short sequences");
		return;
	}
	for (int t = 0; t < times; t++)
		x[t] = at_time(n, in, t);
	for (int i = 0; i < 2; i++)
		lstm_layer(n, i, x, times, &h[i], &c[i]);
	net_out(n, "h", over_time(n, x, times));
	net_out(n, "h_n", kc_permute(n->g, over_time(n, h, 2), (int[]){1, 0, 2}));
	net_out(n, "c_n", kc_permute(n->g, over_time(n, c, 2), (int[]){1, 0, 2}));
	for (int t = 0; t < times; t++)
		x[t] = kc_linear(&n->m, "out", x[t], CLASSES);
	z = over_time(n, x, times);
	net_out(n, "z", z);
	n->loss = kc_loss_hard_ce(n->g, kc_reshape(n->g, z, 4, (int64_t[]){rows * times, CLASSES, 1,
									   1}),
				  classes(n, rows * times, CLASSES));
	net_out(n, "loss", n->loss);
}
