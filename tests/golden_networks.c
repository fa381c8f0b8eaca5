/* The networks of fixtures, with the losses whose gradients these have. */
#include "losses/adversarial.h"
#include "losses/classes.h"
#include "losses/pixel.h"
#include "models/eccv16.h"
#include "models/flownet2.h"
#include "models/patchgan.h"
#include "models/siggraph17.h"
#include "models/vgg.h"
#include "tests/golden_net.h"

#include <stdio.h>

static void build_siggraph17(struct net *n)
{
	struct kc_tensor *lab = net_input(n, "lab"), *mask = net_input(n, "mask"), *ab, *index;
	struct kc_siggraph17_args hints = {.mask = mask};
	struct kc_siggraph17 plain, hinted;
	struct kc_tensor *l = kc_slice(n->g, lab, 1, 0, 1, 1);

	hints.hint = kc_mul(n->g, net_input(n, "hint"), mask);
	plain = kc_siggraph17(&n->m, l, NULL);
	hinted = kc_siggraph17(&n->m, l, &hints);
	net_out(n, "ab", plain.ab);
	net_out(n, "feature", plain.feature);
	net_out(n, "class_logits", plain.logits);
	net_out(n, "ab_with_hints", hinted.ab);
	ab = kc_slice(n->g, lab, 1, 1, 2, 1);
	index = kc_hard_encode(n->g, kc_subsample(n->g, ab, 4));
	n->loss = kc_loss_pixel(n->g, plain.ab, ab, &(struct kc_pixel_args){
		.kind = KC_PIXEL_L1, .reduction = KC_REDUCE_PIXELS});
	n->loss = kc_add(n->g, kc_loss_hard_ce(n->g, plain.logits, index),
			 kc_scale(n->g, n->loss, 10));
	net_out(n, "loss", n->loss);
}

/* Statistics that the file has behind the training step. */
static void net_statistics(struct net *n)
{
	for (int i = 0; i < n->m.n_updates; i++) {
		const struct kc_update *u = &n->m.updates[i];
		char name[160];

		snprintf(name, sizeof name, "after.%s", u->param->name);
		if (kc_st_find(n->st, name))
			net_out(n, kc_scope_path(n->g, name), u->value);
	}
}

static bool trains(const struct net *n)
{
	const char *mode = kc_st_meta(n->st, "mode");

	return mode && !strcmp(mode, "train");
}

static void build_eccv16(struct net *n)
{
	struct kc_graph *g = n->g;
	struct kc_tensor *lab = net_input(n, "lab"), *ab, *target;
	struct kc_eccv16 out;

	n->m.train = trains(n);
	out = kc_eccv16(&n->m, kc_slice(g, lab, 1, 0, 1, 1), NULL);
	ab = kc_subsample(g, kc_scale(g, kc_slice(g, lab, 1, 1, 2, 1), 110), 4);
	target = kc_soft_encode(g, ab);
	net_out(n, "ab", kc_scale(g, out.ab, 110));
	net_out(n, "logits", out.logits);
	net_out(n, "logits_up", kc_resize_bilinear(g, out.logits, lab->type.dim[2],
						   lab->type.dim[3], false));
	net_out(n, "Z", target);
	n->loss = kc_mean(g, kc_cross_entropy(g, out.logits, target));
	net_out(n, "loss", n->loss);
	net_statistics(n);
}

static void build_flownet2(struct net *n)
{
	static const char *const names[4][7] = {
		{0, 0, "flownetc.flow2", "flownetc.flow3", "flownetc.flow4", "flownetc.flow5",
		 "flownetc.flow6"},
		{0, 0, "flownets_1.flow2", "flownets_1.flow3", "flownets_1.flow4",
		 "flownets_1.flow5", "flownets_1.flow6"},
		{0, 0, "flownets_2.flow2", "flownets_2.flow3", "flownets_2.flow4",
		 "flownets_2.flow5", "flownets_2.flow6"},
		{0, 0, "flownets_d.flow2", "flownets_d.flow3", "flownets_d.flow4",
		 "flownets_d.flow5", "flownets_d.flow6"},
	};
	struct kc_flownet2_parts p = {0};
	struct kc_tensor **flows[4] = {p.c, p.s1, p.s2, p.sd};

	kc_flownet2_parts(&n->m, net_frames(n, "rgb0"), net_frames(n, "rgb1"), 255, &p);
	if (kc_graph_status(n->g) < 0)
		return;
	net_out(n, "flownetc.corr_first_frame", kc_slice(n->g, p.corr, 0, 0, 1, 1));
	for (int i = 0; i < 4; i++)
		for (int level = 2; level < 7; level++)
			net_out(n, names[i][level], flows[i][level]);
	net_out(n, "flownets_2.in", p.s2_in);
	net_out(n, "flownets_d.in", p.sd_in);
	net_out(n, "flownetfusion.in", p.fusion_in);
	net_out(n, "flow", p.flow);
}

/* Scores that should be 1; the gradient of the input counts per element. */
static void build_discriminator(struct net *n, const struct kc_patchgan_args *a)
{
	struct kc_tensor *x = net_input(n, "x"), *dx;

	n->m.train = trains(n);
	net_out(n, "y", kc_patchgan(&n->m, x, a).score);
	n->loss = kc_lsgan(n->g, n->out[0].t, 1);
	net_out(n, "loss", n->loss);
	if (kc_grad(n->g, n->loss, NULL, &x, 1, &dx) < 0)
		dx = net_fail(n);
	net_out(n, "dx", kc_scale(n->g, dx, (double)kc_numel(&x->type)));
	net_statistics(n);
}

static void build_nlayer_bn(struct net *n)
{
	build_discriminator(n, &(struct kc_patchgan_args){.norm = KC_PATCHGAN_BATCH});
}

static void build_nlayer_in(struct net *n)
{
	build_discriminator(n, &(struct kc_patchgan_args){.norm = KC_PATCHGAN_INSTANCE});
}

static void build_pixel_bn(struct net *n)
{
	build_discriminator(n, &(struct kc_patchgan_args){.kind = KC_PIXELGAN,
							  .norm = KC_PATCHGAN_BATCH});
}

static void build_sn_patch(struct net *n)
{
	build_discriminator(n, &(struct kc_patchgan_args){.kind = KC_SN_PATCHGAN, .nf = 32,
							  .n_layers = 2,
							  .norm = KC_PATCHGAN_INSTANCE});
}

/* Every eighth channel of wide layers, every fourth of the others, and fewer pixels. */
static struct kc_tensor *thin(struct kc_graph *g, struct kc_tensor *x)
{
	int64_t wide = x->type.dim[3], channels = wide > 16 ? 8 : 4;

	x = kc_slice(g, x, 1, 0, x->type.dim[1] / channels, channels);
	return kc_subsample(g, x, wide > 16 ? 4 : wide > 8 ? 2 : 1);
}

static void build_vgg(struct net *n, enum kc_vgg_depth depth)
{
	static const int64_t layers[2][6] = {{3, 8, 15, 22, 29}, {3, 8, 17, 22, 26, 35}};
	const int64_t *layer = layers[depth == KC_VGG19];
	int count = depth == KC_VGG19 ? 6 : 5;
	struct kc_tensor *x, *out[6], *dx, *loss = NULL;
	char name[160];

	x = kc_vgg_input(n->g, kc_scale(n->g, net_frames(n, "rgb"), 1.0 / 255));
	kc_vgg(&n->m, x, depth, layer, count, out);
	for (int i = 0; i < count && kc_graph_status(n->g) >= 0; i++) {
		snprintf(name, sizeof name, "features.%lld", (long long)layer[i]);
		out[i] = thin(n->g, out[i]);
		net_out(n, kc_scope_path(n->g, name), out[i]);
		if (layer[i] == 22)
			loss = kc_mean(n->g, kc_square(n->g, out[i]));
	}
	if (!loss || kc_grad(n->g, loss, NULL, &x, 1, &dx) < 0)
		dx = net_fail(n);
	net_out(n, "dx", kc_scale(n->g, dx, 1e4));
}

static void build_vgg16(struct net *n)
{
	build_vgg(n, KC_VGG16);
}

static void build_vgg19(struct net *n)
{
	build_vgg(n, KC_VGG19);
}

/* The room of bf16: eccv16 has gains of 12 and 6 behind ReLUs, its gradients are 0.04 off on the
 * reference device and 0.05 on others; each ReLU of vgg that rounding turns takes all of its part
 * of an input's gradient, which is 0.26 off on the reference device.  Spreads: the batch norms of
 * eccv16 in training see a handful of pixels; with convolutions that add one by one in float32, as
 * those of a GPU do, a gradient is 9.6 times the spread off (0.8 to 3 when they add in pieces),
 * and a flow 7 times. */
#define USUAL {5e-2, 5e-2, 15e-2}, 10
static const struct net_kind kinds[] = {
	{"siggraph17", build_siggraph17, USUAL},
	{"eccv16", build_eccv16, {5e-2, 1e-1, 15e-2}, 30},
	{"flownet2", build_flownet2, {5e-2, 5e-2, 15e-2}, 20},
	{"nlayer_bn_eval", build_nlayer_bn, USUAL}, {"nlayer_bn_train", build_nlayer_bn, USUAL},
	{"nlayer_in", build_nlayer_in, USUAL}, {"pixel_bn_train", build_pixel_bn, USUAL},
	{"sn_patch", build_sn_patch, USUAL}, {"vgg16", build_vgg16, {5e-2, 5e-2, 4e-1}, 10},
	{"vgg19", build_vgg19, {5e-2, 5e-2, 4e-1}, 10},
	{"convlstm_net", net_conv_lstm, USUAL}, {"lstm_net", net_lstm, USUAL},
};

const struct net_kind *net_find(const char *name)
{
	for (size_t i = 0; i < KC_COUNT(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}
