#include "train/perceptual.h"

#include "losses/perceptual.h"
#include "models/vgg.h"

enum { MOST_LAYERS = 16 };

static enum kc_vgg_depth depth_of(const struct kc_config *c)
{
	return c->perceptual.network == KC_PERCEPTUAL_VGG19 ? KC_VGG19 : KC_VGG16;
}

static bool asked_for(const struct kc_config *c)
{
	return c->perceptual.weight > 0 || c->perceptual.style_weight > 0;
}

bool kc_perceptual_wanted(const struct kc_config *c)
{
	return asked_for(c) &&
	       (c->path.pretrain_vgg || c->network.initial == KC_INITIAL_FORMULA);
}

int kc_perceptual_check(const struct kc_config *c)
{
	const struct kc_ints *layers = &c->perceptual.layers;
	size_t n_weights = c->perceptual.layer_weights.n;

	if (layers->n < 1 || layers->n > MOST_LAYERS)
		return KC_FAIL(KC_ECONFIG, "perceptual.layers: expected 1 to %d layers",
			       MOST_LAYERS);
	for (size_t i = 0; i < layers->n; i++)
		if (!kc_vgg_has(depth_of(c), layers->v[i]) ||
		    (i && layers->v[i] <= layers->v[i - 1]))
			return KC_FAIL(KC_ECONFIG, "perceptual.layers: %lld is not the number of "
				       "a ReLU of VGG%d, or not above the one before",
				       (long long)layers->v[i], (int)depth_of(c));
	if (n_weights && n_weights != layers->n)
		return KC_FAIL(KC_ECONFIG, "perceptual.layer_weights: %zu weights for %zu layers",
			       n_weights, layers->n);
	return 0;
}

/* Features of ab / 110 with the recipe's luma; what sRGB does not have is clipped. */
static void features(struct kc_training *t, struct kc_tensor *ab, struct kc_tensor **out)
{
	const struct kc_config *c = t->config;
	struct kc_graph *g = t->graph;
	struct kc_tensor *l = kc_shift(g, kc_scale(g, t->output.l, 100), 50);
	struct kc_tensor *rgb = kc_lab_to_rgb(g, KC_CONCAT(g, 1, l, kc_scale(g, ab, 110)));
	struct kc_model m = {.g = g, .params = t->params, .frozen = true};

	rgb = kc_pw1(g, KC_PW_clamp, 0, 1, rgb);
	KC_SCOPE(g, "vgg")
		kc_vgg(&m, kc_vgg_input(g, rgb), depth_of(c), c->perceptual.layers.v,
		       (int)c->perceptual.layers.n, out);
	kc_model_release(&m);
}

static void add_terms(struct kc_training *t)
{
	const struct kc_config_perceptual *p = &t->config->perceptual;
	enum kc_pixel_kind kind = p->criterion == KC_FEATURES_MSE ? KC_PIXEL_MSE : KC_PIXEL_L1;
	struct kc_tensor *x[MOST_LAYERS], *y[MOST_LAYERS];
	double weight[MOST_LAYERS];
	int n = (int)p->layers.n;

	features(t, t->output.ab, x);
	features(t, t->output.truth, y);
	for (int i = 0; i < n; i++)
		weight[i] = p->layer_weights.n ? p->layer_weights.v[i] : 1;
	if (p->weight > 0)
		kc_training_term(t, "l_percep",
				 kc_loss_features(t->graph, x, y, weight, n, kind), p->weight);
	if (p->style_weight > 0)
		kc_training_term(t, "l_style", kc_loss_style(t->graph, x, y, weight, n, kind),
				 p->style_weight);
}

int kc_perceptual_build(struct kc_training *t)
{
	if (!asked_for(t->config))
		return 0;
	if (!kc_perceptual_wanted(t->config)) {
		kc_training_remark(t, "path.pretrain_vgg names no weights: the perceptual losses "
				      "are left out");
		return 0;
	}
	add_terms(t);
	return kc_graph_status(t->graph);
}
