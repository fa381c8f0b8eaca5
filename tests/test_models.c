/*
 * Networks as they are built: names, shapes and counts of parameters, shapes of results, who is
 * trained, and what is drawn at random.  Their numbers are checked by the program golden.
 */
#include "losses/pixel.h"
#include "models/eccv16.h"
#include "models/flownet2.h"
#include "models/hints.h"
#include "models/init.h"
#include "models/tcvc.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

struct net {
	struct kc_graph *g;
	struct kc_params *params;
	struct kc_model m;
};

static void net_open(struct net *n)
{
	n->g = kc_graph_new(&kc_layers);
	n->params = kc_params_new(KC_F32);
	n->m = (struct kc_model){.g = n->g, .params = n->params};
}

static void net_close(struct net *n)
{
	kc_model_release(&n->m);
	kc_graph_free(n->g);
	kc_params_free(n->params);
}

/* Learned values of the parameters whose name starts so. */
static int64_t count(const struct net *n, const char *prefix)
{
	int64_t sum = 0;

	for (size_t i = 0; i < n->params->n; i++)
		if (!n->params->v[i]->statistic &&
		    !strncmp(n->params->v[i]->name, prefix, strlen(prefix)))
			sum += kc_numel(&n->params->v[i]->type);
	return sum;
}

static int64_t count_trainable(const struct net *n)
{
	int64_t sum = 0;

	for (size_t i = 0; i < n->params->n; i++)
		if (n->params->v[i]->trainable)
			sum += kc_numel(&n->params->v[i]->type);
	return sum;
}

static bool is_dims(const struct kc_type *t, const char *dims)
{
	char text[96];

	if (!strcmp(kc_dims_text(t, text), dims))
		return true;
	kc_test_fail(__FILE__, __LINE__, "shape %s, expected %s", text, dims);
	return false;
}

static bool has_param(const struct net *n, const char *name, const char *dims)
{
	const struct kc_param *p = kc_params_find(n->params, name);

	if (!p)
		kc_test_fail(__FILE__, __LINE__, "no parameter %s", name);
	return p && is_dims(&p->type, dims);
}

static struct kc_tensor *image(struct net *n, const char *name, int64_t rows, int64_t c,
			       int64_t side)
{
	return kc_input(n->g, name, KC_TYPE(KC_REAL, rows, c, side, side));
}

/* ---- siggraph17 ---- */

static void test_siggraph17(void)
{
	struct net n;
	struct kc_siggraph17 out;

	net_open(&n);
	out = kc_siggraph17(&n.m, image(&n, "l", 2, 1, 64), NULL);
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&out.ab->type, "2x2x64x64");
		is_dims(&out.feature->type, "2x128x64x64");
		is_dims(&out.logits->type, "2x529x16x16");
		KC_CHECK(count(&n, "") == 34187027);
		KC_CHECK(count(&n, "") - count(&n, "model_class") == 34051074);
		KC_CHECK(n.params->n == 107);
		has_param(&n, "model1.0.weight", "64x4x3x3");
		has_param(&n, "model8up.0.weight", "512x256x4x4");
		has_param(&n, "model8.5.running_var", "256");
		has_param(&n, "model10.1.bias", "128");
		has_param(&n, "model_class.0.weight", "529x256x1x1");
	}
	net_close(&n);
}

static void test_siggraph17_narrow(void)
{
	static const double width[] = {0.5, 0.25, 0.125};
	static const char *const feature[] = {"1x64x32x32", "1x32x32x32", "1x16x32x32"};

	for (size_t i = 0; i < KC_COUNT(width); i++) {
		struct kc_siggraph17_args a = {.width = width[i], .mask_cent = 0.5};
		struct kc_siggraph17 out;
		struct net n;

		net_open(&n);
		a.hint = image(&n, "hint", 1, 2, 32);
		a.mask = image(&n, "mask", 1, 1, 32);
		out = kc_siggraph17(&n.m, image(&n, "l", 1, 1, 32), &a);
		if (KC_CHECK_OK(kc_graph_status(n.g))) {
			is_dims(&out.ab->type, "1x2x32x32");
			is_dims(&out.feature->type, feature[i]);
			is_dims(&out.logits->type, "1x529x8x8");
		}
		net_close(&n);
	}
}

static void test_siggraph17_size(void)
{
	struct net n;

	net_open(&n);
	kc_siggraph17(&n.m, kc_input(n.g, "l", KC_TYPE(KC_REAL, 1, 1, 60, 64)), NULL);
	KC_CHECK_ERR(kc_graph_status(n.g), KC_ESHAPE, "multiples of 8, got 1x1x60x64");
	net_close(&n);
}

/* ---- eccv16 ---- */

static void test_eccv16(void)
{
	struct net n;
	struct kc_eccv16 out;

	net_open(&n);
	out = kc_eccv16(&n.m, image(&n, "l", 2, 1, 64), NULL);
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&out.ab->type, "2x2x64x64");
		is_dims(&out.logits->type, "2x313x16x16");
		KC_CHECK(count(&n, "") == 32236011);
		has_param(&n, "model1.0.weight", "64x1x3x3");
		has_param(&n, "model7.6.running_var", "512");
		has_param(&n, "model8.0.weight", "512x256x4x4");
		has_param(&n, "model8.6.weight", "313x256x1x1");
		has_param(&n, "model_out.weight", "2x313x1x1");
		KC_CHECK(!kc_params_find(n.params, "model_out.bias"));
		KC_CHECK(!kc_params_find(n.params, "model_out.weight")->trainable);
	}
	net_close(&n);
}

/* A quarter of the hidden channels; initial values that keep the variance; the fixed decoder. */
static void test_eccv16_width(void)
{
	const struct kc_eccv16_args args = {.width = 0.25};
	struct kc_eccv16_weights w;
	struct kc_buf b;
	struct net n;
	double sum = 0;

	net_open(&n);
	is_dims(&kc_eccv16(&n.m, image(&n, "l", 1, 1, 32), &args).feature->type, "1x64x8x8");
	has_param(&n, "model7.0.weight", "128x128x3x3");
	has_param(&n, "model8.6.weight", "313x64x1x1");
	KC_CHECK_OK(kc_params_alloc(n.params, false, false));
	KC_CHECK_OK(kc_params_init(n.params, &(struct kc_init){kc_eccv16_init, 1}));
	KC_CHECK_OK(kc_eccv16_check(n.params, &w));
	KC_CHECK(w.decoder_error < 1e-6);
	b = kc_param_master(kc_params_find(n.params, "model7.0.weight"));
	for (int64_t i = 0; i < kc_numel(&b.type); i++)
		sum += kc_get(&b, i) * kc_get(&b, i);
	KC_CHECK(fabs(sum / 128 - 2) < 0.05);
	net_close(&n);
}

static void test_eccv16_import(void)
{
	struct kc_eccv16_weights w, sharp;
	struct kc_buf decoder, last;
	struct net n;

	net_open(&n);
	KC_CHECK_ERR(kc_eccv16_check(n.params, &w), KC_EFORMAT, "no parameter model_out.weight");
	kc_eccv16(&n.m, image(&n, "l", 1, 1, 32), NULL);
	KC_CHECK_OK(kc_params_alloc(n.params, false, false));
	KC_CHECK_OK(kc_params_init(n.params, &(struct kc_init){kc_init_normal, 1}));
	KC_CHECK_ERR(kc_eccv16_check(n.params, &w), KC_EFORMAT, "bin centres");
	decoder = kc_param_master(kc_params_find(n.params, "model_out.weight"));
	for (int q = 0; q < KC_BINS; q++) {
		kc_put(&decoder, q, kc_bins_a[q] / 110);
		kc_put(&decoder, KC_BINS + q, kc_bins_b[q] / 110);
	}
	KC_CHECK_OK(kc_eccv16_check(n.params, &w));
	KC_CHECK(fabs(w.sharpness - 0.02) < 0.002 && w.decoder_error < 1e-6);
	last = kc_param_master(kc_params_find(n.params, "model8.6.weight"));
	for (int64_t i = 0; i < kc_numel(&last.type); i++)
		kc_put(&last, i, kc_get(&last, i) / 0.38);
	KC_CHECK_OK(kc_eccv16_check(n.params, &sharp));
	KC_CHECK(fabs(sharp.sharpness / w.sharpness - 1 / 0.38) < 1e-3);
	kc_put(&last, 5, NAN);
	KC_CHECK_ERR(kc_eccv16_check(n.params, &w), KC_EFORMAT, "model8.6.weight");
	net_close(&n);
}

static bool is_zero(const struct kc_tensor *t)
{
	const struct kc_fill_attr *fill = t->node->attr;

	return t->node->op == &kc_op_fill && fill->value == 0;
}

/* Whether the loss of one head reaches the first layer and the layer of the other head. */
static void reaches(enum kc_siggraph17_route route, bool by_class, bool trunk, bool decoder)
{
	static const char *const names[] = {"model1.0.weight", "model9.1.weight"};
	struct net n;
	struct kc_siggraph17 out;
	struct kc_tensor *wrt[2], *grad[2], *loss;

	net_open(&n);
	out = kc_siggraph17(&n.m, image(&n, "l", 1, 1, 16),
			    &(struct kc_siggraph17_args){.route = route, .width = 0.125});
	loss = kc_mean(n.g, by_class ? out.logits : out.ab);
	for (int i = 0; i < 2; i++)
		wrt[i] = kc_param_value(n.g, kc_params_find(n.params, names[i]));
	if (KC_CHECK_OK(kc_grad(n.g, loss, NULL, wrt, 2, grad))) {
		KC_CHECK(is_zero(grad[0]) == !trunk);
		KC_CHECK(is_zero(grad[1]) == !decoder);
	}
	net_close(&n);
}

static void test_route(void)
{
	reaches(KC_ROUTE_BOTH, true, true, false);
	reaches(KC_ROUTE_BOTH, false, true, true);
	reaches(KC_ROUTE_CLASSES, true, true, false);
	reaches(KC_ROUTE_CLASSES, false, false, true);
	reaches(KC_ROUTE_COLOUR, true, false, false);
	reaches(KC_ROUTE_COLOUR, false, true, true);
}

/* ---- FlowNet 2.0 ---- */

static void test_flownet2(void)
{
	struct net n;
	struct kc_flownet2_parts p;

	net_open(&n);
	kc_flownet2_parts(&n.m, image(&n, "a", 2, 3, 64), image(&n, "b", 2, 3, 64), 255, &p);
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&p.flow->type, "2x2x64x64");
		is_dims(&p.corr->type, "2x441x8x8");
		is_dims(&p.c[6]->type, "2x2x1x1");
		is_dims(&p.sd[2]->type, "2x2x16x16");
		is_dims(&p.fusion_in->type, "2x11x64x64");
		KC_CHECK(count(&n, "") == 162518834);
		KC_CHECK(count(&n, "flownetc.") == 39175298);
		KC_CHECK(count(&n, "flownets_1.") == 38695322);
		KC_CHECK(count(&n, "flownets_2.") == 38695322);
		KC_CHECK(count(&n, "flownets_d.") == 45371666);
		KC_CHECK(count(&n, "flownetfusion.") == 581226);
		KC_CHECK(n.params->n == 220);
		has_param(&n, "flownetc.conv_redir.0.weight", "32x256x1x1");
		has_param(&n, "flownets_2.upsampled_flow6_to_5.weight", "2x2x4x4");
		has_param(&n, "flownets_d.inter_conv5.0.weight", "512x1026x3x3");
		has_param(&n, "flownetfusion.deconv0.0.weight", "162x16x4x4");
	}
	net_close(&n);
}

static void test_flownet2_sizes(void)
{
	struct net n;
	struct kc_type t = KC_TYPE(KC_REAL, 5, 3, 40, 100);
	struct kc_tensor *flow;
	int64_t learned;

	net_open(&n);
	flow = kc_flownet2(&n.m, kc_input(n.g, "a", t), kc_input(n.g, "b", t), 1, 2);
	learned = count(&n, "");
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&flow->type, "5x2x40x100");
		KC_CHECK(learned == 162518834);
	}
	net_close(&n);
}

/* ---- TCVC ---- */

static void test_pairs(void)
{
	static const int steps[] = {1, 2}, odd[] = {2, 1, 2}, one[] = {1};
	struct kc_pair p[64];
	int n = kc_tcvc_pairs(12, steps, 2, p);

	KC_CHECK(n == 31);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			KC_CHECK(p[i].from != p[j].from || p[i].to != p[j].to);
	KC_CHECK(p[0].from == 1 && p[0].to == 2 && p[9].from == 10 && p[9].to == 11);
	KC_CHECK(p[10].from == 1 && p[10].to == 0 && p[20].from == 11 && p[20].to == 10);
	KC_CHECK(p[21].from == 2 && p[21].to == 0 && p[30].from == 11 && p[30].to == 9);
	KC_CHECK(kc_tcvc_pairs(6, steps, 2, NULL) == 13);
	KC_CHECK(kc_tcvc_pairs(6, odd, 3, NULL) == 13);
	KC_CHECK(kc_tcvc_pairs(12, NULL, 0, NULL) == 20);
	KC_CHECK(kc_tcvc_pairs(2, steps, 2, NULL) == 1);
	KC_CHECK(kc_tcvc_pairs(1, one, 1, NULL) == 0);
}

static void test_tcvc(void)
{
	static const int steps[] = {1, 2};
	struct kc_tcvc_args a = {.frames = 5, .steps = steps, .n_steps = 2};
	struct net n;
	struct kc_tcvc out;

	net_open(&n);
	a.flows = image(&n, "flows", 2 * kc_tcvc_pairs(5, steps, 2, NULL), 2, 16);
	out = kc_tcvc(&n.m, image(&n, "l", 10, 1, 16), &a);
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&out.ab->type, "10x2x16x16");
		is_dims(&kc_tcvc_step_flows(n.g, out.flows, 1, &a)->type, "8x2x16x16");
		is_dims(&kc_tcvc_step_flows(n.g, out.flows, 2, &a)->type, "6x2x16x16");
		KC_CHECK(!kc_tcvc_step_flows(n.g, out.flows, 3, &a));
		KC_CHECK(count_trainable(&n) == 1675305);
		KC_CHECK(count(&n, "fea_key.") == 34187027);
		KC_CHECK(n.params->n == 22 + 107);
		has_param(&n, "L_fea_extractor.2.weight", "32x32x3x3");
		has_param(&n, "weigting.conv1.weight", "196x352x3x3");
		has_param(&n, "feature_refine.conv1.weight", "196x288x3x3");
		has_param(&n, "channel_reduction.conv2.weight", "64x64x3x3");
		KC_CHECK(n.m.n_updates == 0 && !n.m.frozen);
	}
	net_close(&n);
}

static void test_tcvc_inside(void)
{
	static const int steps[] = {1, 2};
	struct kc_tcvc_args a = {.frames = 3, .steps = steps, .n_steps = 2, .pairs_per_call = 3};
	struct net n;
	struct kc_tcvc out;

	net_open(&n);
	n.m.train = true;
	out = kc_tcvc(&n.m, image(&n, "l", 3, 1, 64), &a);
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&out.ab->type, "3x2x64x64");
		is_dims(&out.flows->type, "4x2x64x64");
		KC_CHECK(count(&n, "flow.") == 162518834);
		KC_CHECK(count_trainable(&n) == 1675305);
		KC_CHECK(n.params->n == 349);
		KC_CHECK(n.m.n_updates == 0 && n.m.train);
	}
	net_close(&n);
}

static void test_tcvc_variants(void)
{
	static const double width[] = {0.5, 0.25};
	static const int64_t trained[] = {441761, 118169};

	for (size_t i = 0; i < KC_COUNT(width); i++) {
		struct kc_tcvc_args a = {.frames = 4, .width = width[i]};
		struct net n;

		net_open(&n);
		a.flows = image(&n, "flows", kc_tcvc_pairs(4, NULL, 0, NULL), 2, 16);
		is_dims(&kc_tcvc(&n.m, image(&n, "l", 4, 1, 16), &a).ab->type, "4x2x16x16");
		KC_CHECK_OK(kc_graph_status(n.g));
		KC_CHECK(count_trainable(&n) == trained[i]);
		net_close(&n);
	}
}

/* The features of eccv16 travel at a quarter of the size, and the heads follow them. */
static void test_tcvc_eccv16(void)
{
	struct kc_tcvc_args a = {.frames = 4, .key = KC_TCVC_ECCV16};
	struct net n;
	struct kc_tcvc out;

	net_open(&n);
	n.m.train = true;
	a.flows = image(&n, "flows", 2 * kc_tcvc_pairs(4, NULL, 0, NULL), 2, 32);
	out = kc_tcvc(&n.m, image(&n, "l", 8, 1, 32), &a);
	if (KC_CHECK_OK(kc_graph_status(n.g))) {
		is_dims(&out.ab->type, "8x2x32x32");
		is_dims(&out.logits->type, "8x313x8x8");
		is_dims(&out.flows->type, "8x2x32x32");
		KC_CHECK(count(&n, "fea_key.") == 32236011 && n.m.n_updates == 0);
		has_param(&n, "weigting.conv1.weight", "196x608x3x3");
		has_param(&n, "feature_refine.conv1.weight", "196x288x3x3");
		has_param(&n, "feature_refine.conv3.weight", "256x256x3x3");
		has_param(&n, "channel_reduction.conv1.weight", "64x256x1x1");
		KC_CHECK(!kc_params_find(n.params, "class_head.weight"));
	}
	net_close(&n);
	net_open(&n);
	a.flows = NULL;
	kc_tcvc(&n.m, image(&n, "l", 4, 1, 36), &a);
	KC_CHECK_ERR(kc_graph_status(n.g), KC_ESHAPE, "sides multiples of 8, got 2x1x36x36");
	net_close(&n);
}

/* A flow of 4 pixels moves features by 1. */
static void test_tcvc_quarter_flow(void)
{
	enum { C = 32, SIDE = 16, FLOW = 64 };
	static double next[C * SIDE * SIDE], flow[2 * FLOW * FLOW], moved[C * SIDE * SIDE];
	static const struct kc_plan_opts opts = {.real = KC_F64};
	const struct kc_tcvc_args a = {.width = 0.125, .key = KC_TCVC_ECCV16};
	struct kc_tensor *l[3];
	struct kc_tcvc_neighbours from;
	struct kc_tcvc_step step;
	struct kc_device device;
	struct net n;

	net_open(&n);
	kc_device_reference(&device);
	for (int i = 0; i < 3; i++)
		l[i] = image(&n, (const char *[]){"l0", "l1", "l2"}[i], 1, 1, FLOW);
	from.previous = image(&n, "previous", 1, C, SIDE);
	from.next = image(&n, "next", 1, C, SIDE);
	from.to_previous = image(&n, "to_previous", 1, 2, FLOW);
	from.to_next = image(&n, "to_next", 1, 2, FLOW);
	step = kc_tcvc_step(&n.m, l, &from, &a);
	is_dims(&step.ab->type, "1x2x64x64");
	for (int i = 0; i < C * SIDE * SIDE; i++)
		next[i] = i;
	for (int i = 0; i < FLOW * FLOW; i++)
		flow[i] = 4;
	if (KC_CHECK_OK(test_run(n.g, &device, &opts,
				 (struct test_feed[]){{from.next, next}, {from.to_next, flow}}, 2,
				 &step.backward, 1, &(double *){moved})))
		for (int i = 0; i < C * SIDE * SIDE; i++)
			KC_CHECK(moved[i] == next[i % SIDE == SIDE - 1 ? i : i + 1]);
	kc_device_release(&device);
	net_close(&n);
}

/* The new head sees every frame, and is trained. */
static void test_tcvc_classes(void)
{
	struct kc_tcvc_args a = {.frames = 4, .width = 0.25, .class_head = true};
	struct net n;

	net_open(&n);
	a.flows = image(&n, "flows", kc_tcvc_pairs(4, NULL, 0, NULL), 2, 16);
	is_dims(&kc_tcvc(&n.m, image(&n, "l", 4, 1, 16), &a).logits->type, "4x313x4x4");
	KC_CHECK_OK(kc_graph_status(n.g));
	has_param(&n, "class_head.weight", "313x32x1x1");
	KC_CHECK(kc_params_find(n.params, "class_head.weight")->trainable);
	KC_CHECK(count_trainable(&n) == 118169 + 313 * 33);
	net_close(&n);
}

/* Windows too short for a frame between anchors, and inputs that do not fit. */
static void test_tcvc_short(void)
{
	struct kc_tcvc_args a = {.frames = 1, .width = 0.25};
	struct net n;
	struct kc_tensor *l;

	net_open(&n);
	l = image(&n, "l", 2, 1, 16);
	is_dims(&kc_tcvc(&n.m, l, &a).ab->type, "2x2x16x16");
	a.frames = 2;
	is_dims(&kc_tcvc(&n.m, l, &a).ab->type, "2x2x16x16");
	KC_CHECK(!kc_tcvc_between(&n.m, l, l, l, NULL, &a).ab);
	a.train_anchors = true;
	KC_CHECK_OK(kc_graph_status(n.g));
	a.frames = 3;
	kc_tcvc(&n.m, l, &a);
	KC_CHECK_ERR(kc_graph_status(n.g), KC_ESHAPE, "whole number of windows of 3 frames");
	net_close(&n);
	net_open(&n);
	a.flows = image(&n, "flows", 5, 2, 16);
	kc_tcvc(&n.m, image(&n, "l", 3, 1, 16), &a);
	KC_CHECK_ERR(kc_graph_status(n.g), KC_ESHAPE, "expected 2 of them");
	net_close(&n);
}

static void test_train_anchors(void)
{
	struct kc_tcvc_args a = {.frames = 3, .width = 0.25, .train_anchors = true};
	struct net n;

	net_open(&n);
	a.flows = image(&n, "flows", 2, 2, 16);
	kc_tcvc(&n.m, image(&n, "l", 3, 1, 16), &a);
	KC_CHECK_OK(kc_graph_status(n.g));
	KC_CHECK(count_trainable(&n) == count(&n, ""));
	net_close(&n);
}

/* ---- initial values ---- */

static double value_of(const struct net *n, const char *name, int64_t i)
{
	struct kc_buf b = kc_param_master(kc_params_find(n->params, name));

	return kc_get(&b, i);
}

static void test_init(void)
{
	static const char *const shared = "model_out.0.weight";
	struct kc_init init = {kc_init_default, 7};
	struct net n, other;
	double most = 0, sum = 0;

	net_open(&n);
	net_open(&other);
	kc_siggraph17(&n.m, image(&n, "l", 1, 1, 16), &(struct kc_siggraph17_args){.width = 0.125});
	/* The same parameter in another company gets the same values. */
	kc_siggraph17_out(&other.m, image(&other, "f", 1, 16, 16));
	KC_CHECK_OK(kc_params_alloc(n.params, false, false));
	KC_CHECK_OK(kc_params_alloc(other.params, false, false));
	KC_CHECK_OK(kc_params_init(n.params, &init));
	KC_CHECK_OK(kc_params_init(other.params, &init));
	for (int64_t i = 0; i < 8 * 4 * 9; i++) {
		double x = value_of(&n, "model1.0.weight", i);

		most = KC_MAX(most, fabs(x));
		sum += x;
	}
	KC_CHECK(most <= 1 / sqrt(36.0) && most > 0.95 / sqrt(36.0) && fabs(sum / 288) < 0.02);
	KC_CHECK(fabs(value_of(&n, "model1.0.bias", 3)) <= 1 / sqrt(36.0));
	KC_CHECK(value_of(&n, "model1.4.weight", 1) == 1 && value_of(&n, "model1.4.bias", 1) == 0);
	KC_CHECK(value_of(&n, "model1.4.running_var", 1) == 1);
	KC_CHECK(value_of(&n, shared, 5) == value_of(&other, shared, 5));
	init.seed = 8;
	KC_CHECK_OK(kc_params_init(other.params, &init));
	KC_CHECK(value_of(&n, shared, 5) != value_of(&other, shared, 5));
	init.write = kc_init_normal;
	KC_CHECK_OK(kc_params_init(n.params, &init));
	KC_CHECK(fabs(value_of(&n, "model1.0.weight", 5)) < 0.12);
	KC_CHECK(fabs(value_of(&n, "model1.4.weight", 1) - 1) < 0.12);
	KC_CHECK(value_of(&n, "model1.0.bias", 3) == 0);
	net_close(&n);
	net_close(&other);
}

/* ---- hints ---- */

enum { SIDE = 24, PIXELS = SIDE * SIDE };

static void fill_ab(float *ab)
{
	for (int i = 0; i < PIXELS; i++) {
		ab[2 * i] = (float)(i % SIDE);
		ab[2 * i + 1] = -2;
	}
}

static void test_hint_statistics(void)
{
	float ab[2 * PIXELS], hint[2 * PIXELS], mask[PIXELS];
	double patches = 0, centre = 0, corner = 0;

	fill_ab(ab);
	for (uint64_t s = 0; s < 10000; s++) {
		int n = kc_hints_draw(&kc_hints_published, 3, s, ab, SIDE, SIDE, hint, mask);

		patches += n;
		centre += mask[SIDE / 2 * SIDE + SIDE / 2];
		corner += mask[0];
		for (int i = 0; i < PIXELS && n == 0; i++)
			KC_CHECK(mask[i] == 0 && hint[2 * i] == 0);
	}
	KC_CHECK(fabs(patches / 10000 - 7) < 0.3);
	KC_CHECK(centre > 3 * corner);
}

static void test_hints(void)
{
	struct kc_hint_args a = {.stop = 1, .min_side = 3, .max_side = 3};
	float ab[2 * PIXELS], hint[2 * PIXELS], mask[PIXELS], again[2 * PIXELS];
	int area = 0;

	fill_ab(ab);
	KC_CHECK(kc_hints_draw(&a, 1, 2, ab, SIDE, SIDE, hint, mask) == 0);
	a.count = 1;
	a.uniform = true;
	KC_CHECK(kc_hints_draw(&a, 1, 2, ab, SIDE, SIDE, hint, mask) == 1);
	KC_CHECK(kc_hints_draw(&a, 1, 2, ab, SIDE, SIDE, again, mask) == 1);
	KC_CHECK(!memcmp(hint, again, sizeof hint));
	for (int i = 0; i < PIXELS; i++) {
		area += mask[i] != 0;
		KC_CHECK(hint[2 * i + 1] == (mask[i] != 0 ? -2 : 0));
	}
	KC_CHECK(area == 9);
	a.reveal = 1;
	KC_CHECK(kc_hints_draw(&a, 1, 2, ab, SIDE, SIDE, hint, mask) == 1);
	KC_CHECK(!memcmp(hint, ab, sizeof ab) && mask[PIXELS - 1] == 1);
	KC_CHECK_ERR(kc_hints_draw(&a, 1, 2, ab, 2, SIDE, hint, mask), KC_EINVAL, "cannot hold");
	a.stop = 0;
	KC_CHECK_ERR(kc_hints_draw(&a, 1, 2, ab, SIDE, SIDE, hint, mask), KC_EINVAL, "stop 0");
}

const struct kc_test kc_tests_models[] = {
	{"siggraph17: names, shapes, 34,187,027 parameters", test_siggraph17},
	{"siggraph17: narrower variants with hints", test_siggraph17_narrow},
	{"siggraph17: sides that are no multiple of 8 are refused", test_siggraph17_size},
	{"siggraph17: routing of the two losses", test_route},
	{"eccv16: names, shapes, 32,236,011 parameters", test_eccv16},
	{"eccv16: narrower, and its initial values", test_eccv16_width},
	{"eccv16: decoder and temperature of imported weights", test_eccv16_import},
	{"FlowNet 2.0: names, shapes, 162,518,834 parameters", test_flownet2},
	{"FlowNet 2.0: any size, in chunks of pairs", test_flownet2_sizes},
	{"TCVC: the distinct pairs of a window", test_pairs},
	{"TCVC: names, shapes, 1,675,305 trained parameters", test_tcvc},
	{"TCVC: FlowNet 2.0 inside, frozen parts in evaluation mode", test_tcvc_inside},
	{"TCVC: narrower variants", test_tcvc_variants},
	{"TCVC on eccv16", test_tcvc_eccv16},
	{"TCVC on eccv16: flows fit the features", test_tcvc_quarter_flow},
	{"TCVC with a head of classes", test_tcvc_classes},
	{"TCVC: short windows, inputs that do not fit", test_tcvc_short},
	{"TCVC: anchors that are trained", test_train_anchors},
	{"initial values depend on seed and name alone", test_init},
	{"hints: count and place over 10,000 draws", test_hint_statistics},
	{"hints: patches, repeatable, bounds", test_hints},
	{0}
};
