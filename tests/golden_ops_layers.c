/* Builders: convolutions, norms, activations, shapes, pooling, resampling, motion. */
#include "losses/warp.h"
#include "tests/golden_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define G (c->g)

/* ---- convolutions and products ---- */

static struct kc_conv_attr conv_attr(const struct op_case *c, int nd)
{
	struct kc_conv_attr a = {.nd = nd, .groups = (int64_t)op_attr(c, "groups", 0, 1)};

	for (int i = 0; i < nd; i++) {
		a.stride[i] = (int64_t)op_attr(c, "stride", i, 1);
		a.pad[i] = (int64_t)op_attr(c, "pad", i, 0);
		a.dilation[i] = (int64_t)op_attr(c, "dilation", i, 1);
	}
	return a;
}

static struct kc_tensor *bias(struct op_case *c)
{
	return op_has(c, "in.b") ? op_weight(c, "b") : NULL;
}

/* gx and gw for the upstream gradient gy, and the gradient of <hx, gx> + <hw, gw>. */
static void double_backward(struct op_case *c, struct kc_tensor *y, struct kc_tensor *x,
			    struct kc_tensor *w)
{
	struct kc_tensor *wrt[2] = {x, w}, *grad[2];

	if (kc_grad(G, y, op_in(c, "gy"), wrt, 2, grad) < 0)
		return;
	op_out(c, "gx", grad[0]);
	op_out(c, "gw", grad[1]);
	op_seed(c, grad[0], op_in(c, "hx"));
	op_seed(c, grad[1], op_in(c, "hw"));
}

static void conv(struct op_case *c, int nd)
{
	struct kc_conv_attr a = conv_attr(c, nd);
	struct kc_tensor *x = op_in(c, "x"), *w = op_weight(c, "w");
	struct kc_tensor *y = kc_conv_op(G, x, w, bias(c), &a);

	if (op_has(c, "in.hx"))
		double_backward(c, y, x, w);
	else
		op_out(c, "y", y);
}

static void conv1d(struct op_case *c)
{
	conv(c, 1);
}

static void conv2d(struct op_case *c)
{
	conv(c, 2);
}

static void conv3d(struct op_case *c)
{
	conv(c, 3);
}

static void deconv2d(struct op_case *c)
{
	struct kc_conv_attr a = conv_attr(c, 2);
	int64_t more[2];

	for (int i = 0; i < 2; i++)
		more[i] = (int64_t)op_attr(c, "output_padding", i, 0);
	op_out(c, "y", kc_deconv_op(G, op_in(c, "x"), op_weight(c, "w"), bias(c), &a, more));
}

static void linear(struct op_case *c)
{
	op_out(c, "y", kc_linear_op(G, op_in(c, "x"), op_weight(c, "w"), bias(c)));
}

static void matmul(struct op_case *c)
{
	op_out(c, "y", kc_matmul(G, op_in(c, "x"), op_in(c, "y")));
}

/* ---- norms ---- */

static void batchnorm(struct op_case *c)
{
	static const char *const names[][2] = {
		{"w", "bn.weight"}, {"b", "bn.bias"}, {"running_mean", "bn.running_mean"},
		{"running_var", "bn.running_var"},
	};

	if (op_attr(c, "eps", 0, 1e-5) != 1e-5 || op_attr(c, "momentum", 0, 0.1) != 0.1)
		kc_graph_fail(G, "batch norm has eps 1e-5 and momentum 0.1 only");
	c->model.train = op_has(c, "out.running_mean");
	op_out(c, "y", kc_batch_norm(&c->model, "bn", op_in(c, "x")));
	for (size_t i = 0; i < KC_COUNT(names); i++)
		op_bind(c, names[i][0], names[i][1]);
	for (int i = 0; i < c->model.n_updates; i++)
		for (size_t k = 2; k < KC_COUNT(names); k++)
			if (!strcmp(c->model.updates[i].param->name, names[k][1]))
				op_out(c, names[k][0], c->model.updates[i].value);
}

static void instancenorm(struct op_case *c)
{
	bool affine = op_has(c, "in.w");

	if (op_attr(c, "eps", 0, 1e-5) != 1e-5)
		kc_graph_fail(G, "instance norm has eps 1e-5 only");
	op_out(c, "y", kc_instance_norm(G, op_in(c, "x"), affine ? op_weight(c, "w") : NULL,
					affine ? op_weight(c, "b") : NULL));
}

/* "added to the norm, 1e-8" */
static void l2_normalise(struct op_case *c)
{
	double term = 1e-8;

	op_number_after(op_text(c, "eps"), "norm, ", &term);
	op_out(c, "y", kc_l2_normalise(G, op_in(c, "x"), term));
}

static void weight_norm(struct op_case *c)
{
	op_out(c, "y", kc_weight_norm(G, op_in(c, "v"), op_in(c, "g")));
}

static void spectral_norm(struct op_case *c)
{
	struct kc_tensor *w = op_weight(c, "w");
	int dim = (int)op_attr(c, "dim", 0, 0);
	struct kc_spectral s;

	if (dim < 0 || dim >= w->type.ndim) {
		kc_graph_fail(G, "no dimension %d", dim);
		return;
	}
	kc_spectral_norm(G, w, op_in(c, "u"), NULL, dim, &s);
	op_out(c, "w", s.w);
	op_out(c, "sigma", s.sigma);
	op_out(c, "u", s.u);
	op_out(c, "v", s.v);
}

/* ---- pointwise ---- */

/* The first keyword that the case's name contains. */
static const struct {
	const char *keyword;
	enum kc_pw pw;
	double p, q;
	bool p_follows;                 /* p is the number behind the keyword */
} activations[] = {
	{"leaky_", KC_PW_leaky, 0, 0, true}, {"relu", KC_PW_relu, 0, 0, false},
	{"sigmoid", KC_PW_sigmoid, 0, 0, false}, {"tanh", KC_PW_tanh, 0, 0, false},
	{"abs", KC_PW_abs, 0, 0, false}, {"softplus", KC_PW_softplus, 0, 0, false},
	{"clamp01", KC_PW_clamp, 0, 1, false}, {"square", KC_PW_square, 0, 0, false},
	{"exp", KC_PW_exp, 0, 0, false}, {"elu", KC_PW_elu, 1, 0, false},
	{"log", KC_PW_log, 0, 0, false}, {"rsqrt", KC_PW_rsqrt, 0, 0, false},
	{"sqrt", KC_PW_sqrt, 0, 0, false}, {"pow_", KC_PW_pow, 0, 0, true},
	{"recip", KC_PW_recip, 0, 0, false},
};

/* sigmoid_range_LOW_HIGH: LOW + (HIGH - LOW) sigmoid(x). */
static bool sigmoid_range(struct op_case *c, struct kc_tensor *x)
{
	const char *at = strstr(c->name, "sigmoid_range_");
	double low, high;
	char *end;

	if (!at)
		return false;
	low = strtod(at + strlen("sigmoid_range_"), &end);
	high = *end == '_' ? strtod(end + 1, NULL) : NAN;
	op_out(c, "y", kc_shift(G, kc_scale(G, kc_sigmoid(G, x), high - low), low));
	return true;
}

static void pointwise(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x");

	if (sigmoid_range(c, x))
		return;
	if (strstr(c->name, "neg_relu_hinge")) {
		op_out(c, "y", kc_relu(G, kc_shift(G, kc_scale(G, x, -1), 1)));
		return;
	}
	for (size_t i = 0; i < KC_COUNT(activations); i++) {
		double p = activations[i].p;

		if (!strstr(c->name, activations[i].keyword))
			continue;
		if (activations[i].p_follows && !op_number_after(c->name, activations[i].keyword,
								 &p))
			break;
		op_out(c, "y", kc_pw1(G, activations[i].pw, p, activations[i].q, x));
		return;
	}
	kc_graph_fail(G, "no known activation in the name");
}

static void prelu(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *above = kc_relu(G, x);

	op_out(c, "y", kc_add(G, above, kc_mul(G, op_weight(c, "a"), kc_sub(G, x, above))));
}

static void round_even(struct op_case *c)
{
	op_out(c, "y", kc_pw1(G, KC_PW_round, 0, 0, op_in(c, "x")));
}

static void add(struct op_case *c)
{
	op_out(c, "y", kc_add(G, op_in(c, "x"), op_in(c, "y")));
}

static void mul(struct op_case *c)
{
	op_out(c, "y", kc_mul(G, op_in(c, "x"), op_in(c, "y")));
}

static void blend(struct op_case *c)
{
	struct kc_tensor *p = op_in(c, "p"), *w = kc_expand_to(G, op_in(c, "w"), &p->type);

	op_out(c, "y", kc_pw3(G, KC_PW_blend, 0, 0, w, p, op_in(c, "q")));
}

static void stop(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *y = op_in(c, "y");

	op_out(c, "y", kc_add(G, kc_mul(G, x, kc_stop(G, y)),
			      kc_mul(G, kc_stop(G, x), kc_square(G, y))));
}

static void mask(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *y = op_in(c, "y");

	if (!strcmp(op_text(c, "form"), "square of the channel sum")) {
		x = kc_sum_axis(G, x, 1);
		y = kc_sum_axis(G, y, 1);
	}
	op_out(c, "y", kc_warp_mask(G, x, y, 50));
}

static void softmax(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x");
	int axis = (int)op_attr(c, "axis", 0, 1);

	if (axis < 0)
		axis += x->type.ndim;
	op_out(c, "y", kc_softmax(G, kc_scale(G, x, 1 / op_attr(c, "T", 0, 1)), axis));
}

static void log_softmax(struct op_case *c)
{
	op_out(c, "y", kc_log_softmax(G, op_in(c, "x"), (int)op_attr(c, "axis", 0, 1)));
}

/* ---- shape ---- */

/* Whether every step-th of `from` elements are more than `to`. */
static bool too_many(int64_t from, int64_t to, double step)
{
	return ceil((double)from / step) > (double)to;
}

/* The step is in the name, or else the smallest that fits the shapes. */
static void slice(struct op_case *c)
{
	struct kc_type x = op_type(c, "in.x"), y = op_type(c, "out.y");
	double step = 1;

	if (!op_number_after(c->name, "::", &step))
		while (step < (double)x.dim[2] && (too_many(x.dim[2], y.dim[2], step) ||
						   too_many(x.dim[3], y.dim[3], step)))
			step++;
	op_out(c, "y", kc_subsample(G, op_in(c, "x"), (int64_t)step));
}

/* The inputs in the order of the attribute, else in that of the letters from x on. */
static int parts_in_order(struct op_case *c, struct kc_tensor *parts[OP_VALUES])
{
	const char *order = op_text(c, "order"), *p;
	int n = 0;

	for (p = order[0] ? order : "x,y,z,u,v,w"; *p; p++)
		if (*p != ',' && n < OP_VALUES &&
		    (order[0] || op_has(c, (char[]){'i', 'n', '.', *p, 0})))
			parts[n++] = op_in(c, (char[]){*p, 0});
	if (!n)
		kc_graph_fail(G, "nothing to join");
	return n;
}

static void concat(struct op_case *c)
{
	struct kc_tensor *parts[OP_VALUES];
	int n = parts_in_order(c, parts);

	op_out(c, "y", kc_concat(G, (int)op_attr(c, "axis", 0, 1), parts, n));
}

static void stack(struct op_case *c)
{
	struct kc_tensor *parts[OP_VALUES];
	int axis = (int)op_attr(c, "axis", 0, 1), n = parts_in_order(c, parts);

	for (int k = 0; k < n; k++) {
		struct kc_type t = {.ndim = parts[k]->type.ndim + 1, .dtype = KC_REAL};

		for (int i = 0; i < t.ndim && i < KC_MAX_DIM; i++)
			t.dim[i] = i == axis ? 1 : parts[k]->type.dim[i - (i > axis)];
		parts[k] = op_reshape(c, parts[k], t);
	}
	op_out(c, "y", kc_concat(G, axis, parts, n));
}

static void chunk(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *part[26];
	int axis = (int)op_attr(c, "axis", 0, 1), n = 0;
	char name[8] = "out.a";

	for (; n < 26 && op_has(c, name); name[4]++)
		n++;
	if (!n) {
		kc_graph_fail(G, "no outputs a, b, ...");
		return;
	}
	kc_split(G, x, axis, n, part);
	for (int i = 0; i < n; i++)
		op_out(c, (char[]){(char)('a' + i), 0}, part[i]);
}

/* "nchw_nhwc" in the name: letters of the axes before and after. */
static void permute(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x");
	const char *to = strrchr(c->name, '_'), *from = to ? to - x->type.ndim : NULL;
	int order[KC_MAX_DIM];

	if (!to || from < c->name || strlen(to + 1) != (size_t)x->type.ndim) {
		kc_graph_fail(G, "no order of axes in the name");
		return;
	}
	for (int i = 0; i < x->type.ndim; i++) {
		const char *at = memchr(from, to[1 + i], (size_t)x->type.ndim);

		if (!at) {
			kc_graph_fail(G, "no axis '%c' in the name", to[1 + i]);
			return;
		}
		order[i] = (int)(at - from);
	}
	op_out(c, "y", kc_permute(G, x, order));
}

static void pixel_shuffle(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x");
	int64_t r = op_type(c, "out.y").dim[2] / KC_MAX(x->type.dim[2], 1);

	op_out(c, "y", r > 0 ? kc_pixel_shuffle(G, x, r) : kc_graph_fail(G, "nothing to shuffle"));
}

/* Luma in -0.5..0.5 as grey RGB: what FlowNet2 is given. */
static void repeat(struct op_case *c)
{
	struct kc_type y = op_type(c, "out.y");

	op_out(c, "y", kc_expand_to(G, kc_shift(G, op_in(c, "x"), 0.5), &y));
}

static void flip_transpose(struct op_case *c)
{
	op_out(c, "y", op_transpose(c, kc_flip(G, kc_flip(G, op_in(c, "x"), 2), 3)));
}

static void unfold(struct op_case *c)
{
	op_out(c, "y", kc_unfold3x3(G, op_in(c, "x")));
}

static void pad(struct op_case *c)
{
	const char *key = "left,right,top,bottom", *mode = op_text(c, "mode");
	enum kc_pad_mode m = KC_PAD_CONSTANT;
	int by[4];

	if (!strcmp(mode, "reflect"))
		m = KC_PAD_REFLECT;
	else if (!strcmp(mode, "replicate"))
		m = KC_PAD_REPLICATE;
	for (int i = 0; i < 4; i++)
		by[i] = (int)op_attr(c, key, i, 0);
	op_out(c, "y", kc_pad(G, op_in(c, "x"), m, by[0], by[1], by[2], by[3]));
}

static void reduce(struct op_case *c)
{
	struct kc_tensor *x = op_in(c, "x"), *mean = kc_mean_axis(G, kc_mean_axis(G, x, 3), 2);
	const int64_t *d = x->type.dim;

	op_out(c, "sum_c", kc_sum_axis(G, x, 1));
	op_out(c, "mean_hw", OP_RESHAPE(c, mean, d[0], d[1]));
	op_out(c, "max_c", OP_RESHAPE(c, kc_max_axis(G, x, 1), d[0], d[2], d[3]));
	op_out(c, "mean_all", kc_mean(G, x));
}

static void gather(struct op_case *c)
{
	int64_t n = op_type(c, "out.y").dim[0];
	double index[OP_VALUES] = {0};
	struct kc_tensor *rows;

	if (n < 1 || n > OP_VALUES) {
		kc_graph_fail(G, "%lld rows to gather", (long long)n);
		return;
	}
	for (int i = 0; i < n; i++)
		index[i] = op_attr(c, "index", i, -1);
	rows = op_constant(c, "index", KC_TYPE(KC_I32, n), index);
	op_out(c, "y", kc_gather(G, op_in(c, "x"), rows));
}

/* ---- pooling ---- */

static struct kc_pool_args pool_args(const struct op_case *c)
{
	return (struct kc_pool_args){.k = (int64_t)op_attr(c, "k", 0, 2),
				     .stride = (int64_t)op_attr(c, "s", 0, 0),
				     .pad = (int64_t)op_attr(c, "pad", 0, 0),
				     .exclude_pad = !op_attr(c, "count_include_pad", 0, true)};
}

static void maxpool(struct op_case *c)
{
	struct kc_pool_args a = pool_args(c);

	op_out(c, "y", kc_max_pool_args(G, op_in(c, "x"), &a));
}

static void avgpool(struct op_case *c)
{
	struct kc_pool_args a = pool_args(c);

	op_out(c, "y", kc_avg_pool_args(G, op_in(c, "x"), &a));
}

static void avgpool_adaptive(struct op_case *c)
{
	op_out(c, "y", kc_adaptive_avg_pool(G, op_in(c, "x"), (int64_t)op_attr(c, "out", 0, 1),
					    (int64_t)op_attr(c, "out", 1, 1)));
}

/* ---- resampling and motion ---- */

static void resize_nearest(struct op_case *c)
{
	op_out(c, "y", kc_resize_nearest(G, op_in(c, "x"), (int64_t)op_attr(c, "out", 0, 0),
					 (int64_t)op_attr(c, "out", 1, 0)));
}

static void resize_bilinear(struct op_case *c)
{
	op_out(c, "y", kc_resize_bilinear(G, op_in(c, "x"), (int64_t)op_attr(c, "out", 0, 0),
					  (int64_t)op_attr(c, "out", 1, 0),
					  op_attr(c, "align_corners", 0, false) != 0));
}

static void warp(struct op_case *c)
{
	op_out(c, "y", kc_warp(G, op_in(c, "img"), op_in(c, "flow")));
}

static void grid_sample(struct op_case *c)
{
	if (!op_attr(c, "align_corners", 0, false))
		kc_graph_fail(G, "corners are always aligned");
	op_out(c, "y", kc_grid_sample(G, op_in(c, "img"), op_in(c, "grid"),
				      !strcmp(op_text(c, "padding"), "border")));
}

static void correlation(struct op_case *c)
{
	struct kc_tensor *y = kc_correlation(G, op_in(c, "a"), op_in(c, "b"),
					     (int64_t)op_attr(c, "max_displacement", 0, 20),
					     (int64_t)op_attr(c, "stride2", 0, 2));
	long long s[3];
	const char *at = strstr(op_text(c, "note"), "[:, ::");

	/* "[:, ::40, ::3, ::3]": only part of the output is stored. */
	if (at && sscanf(at, "[:, ::%lld, ::%lld, ::%lld", &s[0], &s[1], &s[2]) == 3)
		for (int i = 0; i < 3; i++)
			y = kc_slice(G, y, i + 1, 0, (y->type.dim[i + 1] + s[i] - 1) / s[i], s[i]);
	op_out(c, "y", y);
}

static void channelnorm(struct op_case *c)
{
	op_out(c, "y", kc_channel_norm(G, op_in(c, "x")));
}

const struct op_builder op_builders_layers[] = {
	{"conv1d", conv1d, NULL}, {"conv2d", conv2d, NULL}, {"conv3d", conv3d, NULL},
	{"deconv2d", deconv2d, NULL}, {"linear", linear, NULL}, {"matmul", matmul, NULL},
	{"batchnorm", batchnorm, NULL}, {"instancenorm", instancenorm, NULL},
	{"l2", l2_normalise, NULL}, {"weight", weight_norm, NULL},
	{"spectral_norm", spectral_norm, NULL},
	{"pointwise", pointwise, NULL}, {"prelu", prelu, NULL}, {"round", round_even, NULL},
	{"add", add, NULL}, {"mul", mul, NULL}, {"blend", blend, NULL}, {"stop", stop, NULL},
	{"mask", mask, NULL}, {"softmax", softmax, NULL}, {"log_softmax", log_softmax, NULL},
	{"slice", slice, NULL}, {"concat", concat, NULL}, {"stack", stack, NULL},
	{"chunk", chunk, NULL}, {"permute", permute, NULL}, {"pixel_shuffle", pixel_shuffle, NULL},
	{"repeat", repeat, NULL}, {"flip", flip_transpose, NULL}, {"pad", pad, NULL},
	{"reduce", reduce, NULL}, {"gather", gather, NULL}, {"maxpool", maxpool, NULL},
	{"avgpool", avgpool, NULL}, {"avgpool_adaptive", avgpool_adaptive, NULL},
	{"unfold", unfold, NULL}, {"resize_nearest", resize_nearest, NULL},
	{"resize_bilinear", resize_bilinear, NULL}, {"warp", warp, NULL},
	{"grid_sample", grid_sample, NULL}, {"correlation", correlation, NULL},
	{"channelnorm", channelnorm, NULL}, {0},
};
