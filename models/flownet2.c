#include "models/flownet2.h"

#include <stdio.h>
#include <stdlib.h>

static const double DIV_FLOW = 20;      /* flow in pixels / flow as the networks predict it */

/* ---- the layers, named as published ---- */

static struct kc_tensor *conv(struct kc_model *m, const char *name, struct kc_tensor *x, int out,
			      int k, int stride)
{
	KC_SCOPE(m->g, name)
		x = kc_conv(m, "0", x, .out = out, .k = k, .stride = stride, .act = KC_LEAKY,
			    .slope = 0.1f);
	return x;
}

static struct kc_tensor *conv_at(struct kc_model *m, const char *format, int level,
				 struct kc_tensor *x, int out, int stride)
{
	char name[24];

	snprintf(name, sizeof name, format, level);
	return conv(m, name, x, out, 3, stride);
}

static struct kc_tensor *predict_flow(struct kc_model *m, int level, struct kc_tensor *x)
{
	char name[24];

	snprintf(name, sizeof name, "predict_flow%d", level);
	return kc_conv(m, name, x, .out = 2);
}

static struct kc_tensor *upsample_flow(struct kc_model *m, int level, struct kc_tensor *flow,
				       bool bias)
{
	char name[48];

	snprintf(name, sizeof name, "upsampled_flow%d_to_%d", level + 1, level);
	return kc_deconv(m, name, flow, .out = 2, .no_bias = !bias);
}

static struct kc_tensor *deconv(struct kc_model *m, int level, struct kc_tensor *x, int out)
{
	char name[24];

	snprintf(name, sizeof name, "deconv%d.0", level);
	return kc_deconv(m, name, x, .out = out, .act = KC_LEAKY, .slope = 0.1f);
}

static struct kc_tensor *inter_conv(struct kc_model *m, int level, struct kc_tensor *x, int out)
{
	char name[24];

	snprintf(name, sizeof name, "inter_conv%d.0", level);
	return kc_conv(m, name, x, .out = out);
}

/* ---- what the networks share ---- */

struct decoder { bool inter, bias; };

/* From level `top` down to `bottom`: skip[i] are the encoder's values, flow[i] the results. */
static void decode(struct kc_model *m, struct decoder d, struct kc_tensor *const *skip, int top,
		   int bottom, struct kc_tensor **flow)
{
	static const int out[] = {16, 32, 64, 128, 256, 512};
	struct kc_tensor *x = skip[top], *up, *finer;

	flow[top] = predict_flow(m, top, x);
	for (int i = top - 1; i >= bottom; i--) {
		finer = deconv(m, i, x, out[i]);
		up = upsample_flow(m, i, flow[i + 1], d.bias);
		x = KC_CONCAT(m->g, 1, skip[i], finer, up);
		flow[i] = predict_flow(m, i, d.inter ? inter_conv(m, i, x, out[i]) : x);
	}
}

/* Levels 4 to 6 of the encoder, from level 3. */
static void descend(struct kc_model *m, struct kc_tensor **skip)
{
	static const int out[] = {[4] = 512, [5] = 512, [6] = 1024};

	for (int i = 4; i <= 6; i++) {
		skip[i] = conv_at(m, "conv%d", i, skip[i - 1], out[i], 2);
		skip[i] = conv_at(m, "conv%d_1", i, skip[i], out[i], 1);
	}
}

/* ---- the networks ---- */

/* FlowNetC: both frames through the same three layers, then a correlation layer. */
static void flownet_c(struct kc_model *m, struct kc_tensor *first, struct kc_tensor *second,
		      struct kc_flownet2_parts *p)
{
	struct kc_graph *g = m->g;
	struct kc_tensor *skip[KC_FLOWNET2_LEVELS], *conv2[2], *conv3[2], *x, *redir;

	x = conv(m, "conv1", KC_CONCAT(g, 0, first, second), 64, 7, 2);
	x = conv(m, "conv2", x, 128, 5, 2);
	kc_split(g, x, 0, 2, conv2);
	x = conv(m, "conv3", x, 256, 5, 2);
	kc_split(g, x, 0, 2, conv3);
	p->corr = kc_correlation(g, conv3[0], conv3[1], 20, 2);
	redir = conv(m, "conv_redir", conv3[0], 32, 1, 1);
	x = KC_CONCAT(g, 1, redir, kc_leaky(g, p->corr, 0.1));
	skip[2] = conv2[0];
	skip[3] = conv(m, "conv3_1", x, 256, 3, 1);
	descend(m, skip);
	decode(m, (struct decoder){.bias = true}, skip, 6, 2, p->c);
}

static void flownet_s(struct kc_model *m, struct kc_tensor *x, struct kc_tensor **flow)
{
	struct kc_tensor *skip[KC_FLOWNET2_LEVELS];

	x = conv(m, "conv1", x, 64, 7, 2);
	skip[2] = conv(m, "conv2", x, 128, 5, 2);
	x = conv(m, "conv3", skip[2], 256, 5, 2);
	skip[3] = conv(m, "conv3_1", x, 256, 3, 1);
	descend(m, skip);
	decode(m, (struct decoder){0}, skip, 6, 2, flow);
}

static void flownet_sd(struct kc_model *m, struct kc_tensor *x, struct kc_tensor **flow)
{
	struct kc_tensor *skip[KC_FLOWNET2_LEVELS];

	x = conv(m, "conv0", x, 64, 3, 1);
	x = conv(m, "conv1", x, 64, 3, 2);
	x = conv(m, "conv1_1", x, 128, 3, 1);
	x = conv(m, "conv2", x, 128, 3, 2);
	skip[2] = conv(m, "conv2_1", x, 128, 3, 1);
	x = conv(m, "conv3", skip[2], 256, 3, 2);
	skip[3] = conv(m, "conv3_1", x, 256, 3, 1);
	descend(m, skip);
	decode(m, (struct decoder){.inter = true, .bias = true}, skip, 6, 2, flow);
}

static struct kc_tensor *flownet_fusion(struct kc_model *m, struct kc_tensor *x)
{
	struct kc_tensor *skip[3], *flow[3];

	skip[0] = conv(m, "conv0", x, 64, 3, 1);
	x = conv(m, "conv1", skip[0], 64, 3, 2);
	skip[1] = conv(m, "conv1_1", x, 128, 3, 1);
	x = conv(m, "conv2", skip[1], 128, 3, 2);
	skip[2] = conv(m, "conv2_1", x, 128, 3, 1);
	decode(m, (struct decoder){.inter = true, .bias = true}, skip, 2, 0, flow);
	return flow[0];
}

/* ---- the stack ---- */

/* (x - mean) / rgb_max, the mean per sample and channel over both frames together. */
static void normalise(struct kc_graph *g, struct kc_tensor **first, struct kc_tensor **second,
		      double rgb_max)
{
	struct kc_type t = (*first)->type;
	struct kc_type each = KC_TYPE(KC_REAL, t.dim[0], t.dim[1], 1, 1);
	struct kc_tensor *sum, *mean;

	sum = kc_add(g, kc_sum_to(g, *first, &each), kc_sum_to(g, *second, &each));
	mean = kc_scale(g, sum, 0.5 / (double)(t.dim[2] * t.dim[3]));
	*first = kc_scale(g, kc_sub(g, *first, mean), 1 / rgb_max);
	*second = kc_scale(g, kc_sub(g, *second, mean), 1 / rgb_max);
}

/* Length of the difference between the first frame and the second one seen through the flow. */
static struct kc_tensor *brightness_error(struct kc_graph *g, struct kc_tensor *first,
					  struct kc_tensor *warped)
{
	return kc_channel_norm(g, kc_sub(g, first, warped));
}

/* Input of a refining FlowNetS: both frames, the warped second one, the flow and the error. */
static struct kc_tensor *refine_input(struct kc_graph *g, struct kc_tensor *first,
				      struct kc_tensor *second, struct kc_tensor *coarse)
{
	int64_t h = first->type.dim[2], w = first->type.dim[3];
	struct kc_tensor *flow = kc_resize_bilinear(g, kc_scale(g, coarse, DIV_FLOW), h, w, false);
	struct kc_tensor *warped = kc_warp(g, second, flow);
	struct kc_tensor *error = brightness_error(g, first, warped);

	return KC_CONCAT(g, 1, first, second, warped, kc_scale(g, flow, 1 / DIV_FLOW), error);
}

static struct kc_tensor *fusion_input(struct kc_graph *g, struct kc_tensor *first,
				      struct kc_tensor *second, struct kc_tensor *s2,
				      struct kc_tensor *sd)
{
	int64_t h = first->type.dim[2], w = first->type.dim[3];
	struct kc_tensor *large = kc_resize_nearest(g, kc_scale(g, s2, DIV_FLOW), h, w);
	/* FlowNetSD alone predicts in units of 1/20 pixel. */
	struct kc_tensor *small = kc_resize_nearest(g, kc_scale(g, sd, 1 / DIV_FLOW), h, w);
	struct kc_tensor *large_error = brightness_error(g, first, kc_warp(g, second, large));
	struct kc_tensor *small_error = brightness_error(g, first, kc_warp(g, second, small));

	return KC_CONCAT(g, 1, first, small, large, kc_channel_norm(g, small),
			 kc_channel_norm(g, large), small_error, large_error);
}

void kc_flownet2_parts(struct kc_model *m, struct kc_tensor *first, struct kc_tensor *second,
		       double rgb_max, struct kc_flownet2_parts *p)
{
	struct kc_graph *g = m->g;

	memset(p, 0, sizeof *p);
	normalise(g, &first, &second, rgb_max);
	KC_SCOPE(g, "flownetc")
		flownet_c(m, first, second, p);
	p->s1_in = refine_input(g, first, second, p->c[2]);
	KC_SCOPE(g, "flownets_1")
		flownet_s(m, p->s1_in, p->s1);
	p->s2_in = refine_input(g, first, second, p->s1[2]);
	KC_SCOPE(g, "flownets_2")
		flownet_s(m, p->s2_in, p->s2);
	p->sd_in = KC_CONCAT(g, 1, first, second);
	KC_SCOPE(g, "flownets_d")
		flownet_sd(m, p->sd_in, p->sd);
	p->fusion_in = fusion_input(g, first, second, p->s2[2], p->sd[2]);
	KC_SCOPE(g, "flownetfusion")
		p->flow = flownet_fusion(m, p->fusion_in);
}

/* ---- any size, any number of pairs ---- */

static int64_t round_up(int64_t side)
{
	return (side + KC_FLOWNET2_SIDE - 1) / KC_FLOWNET2_SIDE * KC_FLOWNET2_SIDE;
}

static struct kc_tensor *resize(struct kc_graph *g, struct kc_tensor *x, int64_t h, int64_t w)
{
	if (x->type.dim[2] == h && x->type.dim[3] == w)
		return x;
	return kc_resize_bilinear(g, x, h, w, false);
}

/* Vectors shrink with the image: u by w / flow width, v by h / flow height. */
static struct kc_tensor *resize_flow(struct kc_graph *g, struct kc_tensor *flow, int64_t h,
				     int64_t w)
{
	double fh = (double)flow->type.dim[2], fw = (double)flow->type.dim[3];
	struct kc_type one = KC_TYPE(KC_REAL, 1, 1, 1, 1);
	struct kc_tensor *factor, *small = resize(g, flow, h, w);

	if (small == flow)
		return flow;
	factor = KC_CONCAT(g, 1, kc_fill(g, (double)w / fw, one), kc_fill(g, (double)h / fh, one));
	return kc_mul(g, small, factor);
}

static struct kc_tensor *one_call(struct kc_model *m, struct kc_tensor *first,
				  struct kc_tensor *second, double rgb_max)
{
	int64_t h = first->type.dim[2], w = first->type.dim[3];
	struct kc_flownet2_parts p;

	first = resize(m->g, first, round_up(h), round_up(w));
	second = resize(m->g, second, round_up(h), round_up(w));
	kc_flownet2_parts(m, first, second, rgb_max, &p);
	return resize_flow(m->g, p.flow, h, w);
}

struct kc_tensor *kc_flownet2(struct kc_model *m, struct kc_tensor *first, struct kc_tensor *second,
			      double rgb_max, int pairs_per_call)
{
	struct kc_graph *g = m->g;
	int64_t n = first->type.dim[0], call = pairs_per_call > 0 ? pairs_per_call : n, count;
	struct kc_tensor *a, *b, *flow, **part;
	int calls = 0;

	if (call >= n)
		return one_call(m, first, second, rgb_max);
	part = kc_calloc((size_t)n, sizeof(struct kc_tensor *));
	if (!part)
		return kc_graph_fail(g, "out of memory");
	for (int64_t at = 0; at < n; at += count) {
		count = KC_MIN(call, n - at);
		a = kc_slice(g, first, 0, at, count, 1);
		b = kc_slice(g, second, 0, at, count, 1);
		part[calls++] = one_call(m, a, b, rgb_max);
	}
	flow = kc_concat(g, 0, part, calls);
	free(part);
	return flow;
}
