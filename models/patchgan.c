#include "models/patchgan.h"

#include "models/width.h"

#include <stdio.h>

static const float slope = 0.2f;

/* A network while it is written: the value that goes on, and what is collected on the way. */
struct writer {
	struct kc_model *m;
	const struct kc_patchgan_args *a;
	struct kc_tensor *x;
	struct kc_patchgan out;
	int index;                      /* of the next module in a list of modules */
};

static int layers_of(const struct kc_patchgan_args *a)
{
	return a->n_layers ? a->n_layers : 3;
}

static int channels(const struct kc_patchgan_args *a, int times)
{
	return kc_width(a->width, times * (a->nf ? a->nf : 64));
}

static struct kc_tensor *normalise(struct writer *w, const char *name)
{
	switch (w->a->norm) {
	case KC_PATCHGAN_BATCH: return kc_batch_norm(w->m, name, w->x);
	case KC_PATCHGAN_INSTANCE: return kc_instance_norm(w->m->g, w->x, NULL, NULL);
	default: return w->x;
	}
}

static void activate(struct writer *w)
{
	w->x = kc_leaky(w->m->g, w->x, slope);
	KC_ASSERT(w->out.n_features < KC_PATCHGAN_LAYERS);
	w->out.feature[w->out.n_features++] = w->x;
}

/* ---- self-attention ---- */

static struct kc_tensor *attention_part(struct kc_model *m, const char *name, int64_t in,
					int64_t out, struct kc_tensor **bias)
{
	const struct kc_param weight = {
		.type = KC_TYPE(KC_REAL, out, in, 1, 1), .kind = KC_PARAM_CONV, .fan = in};
	const struct kc_param offset = {
		.type = KC_TYPE(KC_REAL, out), .kind = KC_PARAM_BIAS, .fan = in};
	struct kc_tensor *w = NULL;

	KC_SCOPE(m->g, name) {
		w = kc_parameter(m, "weight", &weight);
		*bias = kc_parameter(m, "bias", &offset);
	}
	return w;
}

/* Over all positions of a picture, or of all pictures of a clip. */
static void attend(struct writer *w)
{
	const struct kc_param gain = {.type = KC_TYPE(KC_REAL, 1), .kind = KC_PARAM_SCALAR};
	struct kc_type t = w->x->type;
	struct kc_graph *g = w->m->g;
	int64_t flat[] = {t.dim[0], t.dim[1], t.dim[2] * t.dim[3], t.dim[4]};
	struct kc_attention p;
	struct kc_tensor *x = w->x;

	if (!w->a->attention || kc_is_poison(x))
		return;
	KC_SCOPE(g, "attention") {
		p.wq = attention_part(w->m, "query_conv", t.dim[1], (t.dim[1] + 7) / 8, &p.bq);
		p.wk = attention_part(w->m, "key_conv", t.dim[1], (t.dim[1] + 7) / 8, &p.bk);
		p.wv = attention_part(w->m, "value_conv", t.dim[1], t.dim[1], &p.bv);
		p.gain = kc_parameter(w->m, "gamma", &gain);
		x = t.ndim == 5 ? kc_reshape(g, x, 4, flat) : x;
		x = kc_self_attention(g, &p, x);
		w->x = t.ndim == 5 ? kc_reshape(g, x, 5, t.dim) : x;
	}
}

/* ---- PatchGAN and its 1x1 variant: a list of modules with running numbers ---- */

static const char *next_module(struct writer *w, char name[16])
{
	snprintf(name, 16, "%d", w->index++);
	return name;
}

static void list_conv(struct writer *w, int out, int k, int stride, bool bias)
{
	char name[16];

	w->x = kc_conv(w->m, next_module(w, name), w->x, .out = out, .k = k, .stride = stride,
		       .pad = k > 1 ? 1 : 0, .no_bias = !bias, .spectral = w->a->spectral);
}

/* A norm without parameters, and none at all, have a number too. */
static void list_norm(struct writer *w)
{
	char name[16];

	w->x = normalise(w, next_module(w, name));
}

static void list_activation(struct writer *w)
{
	w->index++;
	activate(w);
}

/* A norm with an offset makes the one of the convolution before it idle. */
static bool has_bias(const struct kc_patchgan_args *a)
{
	return a->norm != KC_PATCHGAN_BATCH;
}

static void patch_list(struct writer *w)
{
	int n = layers_of(w->a);

	list_conv(w, channels(w->a, 1), 4, 2, true);
	list_activation(w);
	for (int i = 1; i <= n; i++) {
		if (i == n)
			attend(w);
		list_conv(w, channels(w->a, 1 << KC_MIN(i, 3)), 4, i < n ? 2 : 1, has_bias(w->a));
		list_norm(w);
		list_activation(w);
	}
	list_conv(w, 1, 4, 1, true);
}

static void pixel_list(struct writer *w)
{
	list_conv(w, channels(w->a, 1), 1, 1, true);
	list_activation(w);
	list_conv(w, channels(w->a, 2), 1, 1, has_bias(w->a));
	list_norm(w);
	list_activation(w);
	list_conv(w, 1, 1, 1, has_bias(w->a));
}

/* ---- networks of layers conv1, conv2, ... ---- */

static void sn_conv(struct writer *w, int i, int out, int stride, bool bias)
{
	char name[16];

	snprintf(name, sizeof name, "conv%d", i);
	w->x = kc_conv(w->m, name, w->x, .out = out, .k = 4, .stride = stride, .pad = 1,
		       .no_bias = !bias, .spectral = true);
}

static void sn_layers(struct writer *w)
{
	int n = layers_of(w->a);
	char norm[16];

	sn_conv(w, 1, channels(w->a, 1), 2, true);
	activate(w);
	for (int i = 1; i <= n; i++) {
		if (i == n)
			attend(w);
		sn_conv(w, i + 1, channels(w->a, 2), i < n ? 2 : 1,
			w->a->norm == KC_PATCHGAN_PLAIN);
		snprintf(norm, sizeof norm, "norm%d", i + 1);
		w->x = normalise(w, norm);
		activate(w);
	}
	sn_conv(w, n + 2, 1, 1, true);
}

enum { TEMPORAL = 6 };

static void temporal_conv(struct writer *w, int i, bool last)
{
	static const int times[TEMPORAL] = {1, 2, 4, 4, 4, 4};
	int pad = i == 0 ? 1 : 2;
	char name[16];

	snprintf(name, sizeof name, "conv%d", i + 1);
	KC_SCOPE(w->m->g, name)
		w->x = kc_conv(w->m, "featureConv", w->x, .out = channels(w->a, times[i]),
			       .k = 5, .stride = 2, .pad = pad, .k_time = 3, .pad_time = 1,
			       .spectral = !last);
}

static void temporal_layers(struct writer *w)
{
	for (int i = 0; i < TEMPORAL; i++) {
		if (i == TEMPORAL - 2)
			attend(w);
		temporal_conv(w, i, i == TEMPORAL - 1);
		if (i < TEMPORAL - 1)
			activate(w);
	}
}

/* ---- the whole ---- */

static bool fits(struct kc_model *m, const struct kc_tensor *x, const struct kc_patchgan_args *a)
{
	int ndim = a->kind == KC_TPATCHGAN ? 5 : 4;

	if (kc_is_poison(x))
		return false;
	if (x->type.ndim != ndim || layers_of(a) >= KC_PATCHGAN_LAYERS) {
		kc_graph_fail(m->g, "discriminator: expected %s and at most %d layers",
			      ndim == 5 ? "clips N, C, T, H, W" : "pictures N, C, H, W",
			      KC_PATCHGAN_LAYERS - 1);
		return false;
	}
	return true;
}

struct kc_patchgan kc_patchgan(struct kc_model *m, struct kc_tensor *x,
			       const struct kc_patchgan_args *a)
{
	struct writer w = {.m = m, .a = a, .x = x};

	if (!fits(m, x, a)) {
		w.out.score = kc_graph_fail(m->g, "discriminator: no input");
		return w.out;
	}
	switch (a->kind) {
	case KC_PATCHGAN:
		KC_SCOPE(m->g, "model")
			patch_list(&w);
		break;
	case KC_PIXELGAN:
		KC_SCOPE(m->g, "net")
			pixel_list(&w);
		break;
	case KC_SN_PATCHGAN:
		sn_layers(&w);
		break;
	case KC_TPATCHGAN:
		temporal_layers(&w);
		break;
	}
	w.out.score = w.x;
	return w.out;
}

int64_t kc_patchgan_least_side(const struct kc_patchgan_args *a)
{
	/* The last two 4x4 windows with a border of 1 leave 1 pixel of 3. */
	switch (a->kind) {
	case KC_PIXELGAN: return 1;
	case KC_TPATCHGAN: return 3;
	default: return INT64_C(3) << layers_of(a);
	}
}
