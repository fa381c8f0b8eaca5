#include "train/adversary.h"

#include "core/random.h"
#include "losses/adversarial.h"
#include "models/init.h"
#include "models/patchgan.h"

#include <stdlib.h>

struct kc_adversary {
	struct kc_params *params;
	struct kc_model model;
	struct kc_patchgan_args network;
	struct kc_tensor *luma;         /* beside every input; or NULL */
	struct kc_tensor *mix;          /* [N,1,...] share of the real sample; or NULL */
	float *drawn;                   /* its values */
};

/* ---- configuration ---- */

bool kc_adversary_wanted(const struct kc_config *c)
{
	return c->gan.kind != KC_GAN_OFF;
}

static bool penalises(const struct kc_config *c)
{
	return c->gan.r1_weight > 0 || (c->gan.kind == KC_GAN_WGANGP && c->gan.gp_weight > 0);
}

static enum kc_patchgan_norm norm_of(const struct kc_config *c)
{
	switch (c->discriminator.norm) {
	case KC_NORM_BATCH: return KC_PATCHGAN_BATCH;
	case KC_NORM_INSTANCE: return KC_PATCHGAN_INSTANCE;
	case KC_NORM_NONE: return KC_PATCHGAN_PLAIN;
	default: break;
	}
	if (c->discriminator.kind == KC_DISCRIMINATOR_TEMPORAL)
		return KC_PATCHGAN_PLAIN;
	return c->discriminator.kind == KC_DISCRIMINATOR_SN_PATCH || penalises(c)
		       ? KC_PATCHGAN_INSTANCE
		       : KC_PATCHGAN_BATCH;
}

static struct kc_patchgan_args network_of(const struct kc_config *c)
{
	static const enum kc_patchgan_kind kinds[] = {
		[KC_DISCRIMINATOR_PATCHGAN] = KC_PATCHGAN,
		[KC_DISCRIMINATOR_PIXEL] = KC_PIXELGAN,
		[KC_DISCRIMINATOR_SN_PATCH] = KC_SN_PATCHGAN,
		[KC_DISCRIMINATOR_TEMPORAL] = KC_TPATCHGAN,
	};

	return (struct kc_patchgan_args){
		.kind = kinds[c->discriminator.kind],
		.nf = (int)c->discriminator.nf,
		.n_layers = (int)c->discriminator.n_layers,
		.norm = norm_of(c),
		.spectral = c->discriminator.spectral,
		.attention = c->discriminator.attention,
		.width = c->discriminator.width,
	};
}

static int check_network(const struct kc_config *c)
{
	const struct kc_patchgan_args a = network_of(c);
	int64_t least = kc_patchgan_least_side(&a);

	if (a.kind == KC_TPATCHGAN && c->recipe != KC_RECIPE_TCVC)
		return KC_FAIL(KC_ECONFIG,
			       "network_D.which_model_D: temporal needs windows of frames, which "
			       "this model does not have; expected patchgan, pixel or sn_patch");
	if (a.kind == KC_TPATCHGAN && a.norm != KC_PATCHGAN_PLAIN)
		return KC_FAIL(KC_ECONFIG, "network_D.norm: temporal has no norm besides the "
			       "spectral one; expected auto or none");
	if (a.kind == KC_PIXELGAN && a.attention)
		return KC_FAIL(KC_ECONFIG, "network_D.attention: pixel looks at pixels one by one; "
			       "expected false");
	if (penalises(c) && a.norm == KC_PATCHGAN_BATCH)
		return KC_FAIL(KC_ECONFIG, "network_D.norm: a penalty on the gradient of every "
			       "sample does not go with batch norm; expected instance or none");
	if (c->data.size < least)
		return KC_FAIL(KC_ECONFIG,
			       "network_D.n_layers: %lld layers need crops of at least %lld "
			       "pixels, datasets.train.GT_size is %lld",
			       (long long)c->discriminator.n_layers, (long long)least,
			       (long long)c->data.size);
	return 0;
}

int kc_adversary_check(const struct kc_config *c)
{
	if (c->discriminator.kind != KC_DISCRIMINATOR_NONE && !kc_adversary_wanted(c))
		return KC_FAIL(KC_ECONFIG, "gan.type: expected vanilla, lsgan, hinge, wgangp or "
			       "ralsgan, since network_D.which_model_D is given");
	if (!kc_adversary_wanted(c))
		return 0;
	if (c->discriminator.kind == KC_DISCRIMINATOR_NONE)
		return KC_FAIL(KC_ECONFIG, "network_D.which_model_D: expected patchgan, pixel, "
			       "sn_patch or temporal, since gan.type is given");
	if (c->gan.beta1 >= 1 || c->gan.beta2 >= 1)
		return KC_FAIL(KC_ECONFIG, "gan.beta1_D, beta2_D: expected less than 1");
	return check_network(c);
}

double kc_adversary_rate(const struct kc_config *c, int64_t k)
{
	struct kc_schedule s = c->schedule;

	s.lr = c->gan.lr;
	return kc_schedule_lr(&s, k);
}

/* ---- what it sees ---- */

/*
 * Frames [T * B,C,H,W] as clips [B,C,T,H,W].  Not by a permutation, whose result is row-major:
 * the fast convolutions want channels last.
 */
static struct kc_tensor *as_clips(struct kc_graph *g, struct kc_tensor *x, int frames)
{
	struct kc_tensor **frame = kc_calloc((size_t)frames, sizeof(struct kc_tensor *)), *clip;
	const int64_t *d = x->type.dim;
	int64_t n = d[0] / frames, one[] = {n, d[1], 1, d[2], d[3]};

	if (!frame)
		return kc_graph_fail(g, "%s", kc_errmsg());
	for (int i = 0; i < frames; i++)
		frame[i] = kc_reshape(g, kc_slice(g, x, 0, i * n, n, 1), 5, one);
	clip = kc_concat(g, 2, frame, frames);
	free(frame);
	return clip;
}

static struct kc_tensor *arrange(const struct kc_training *t, struct kc_tensor *x)
{
	bool clips = t->adversary->network.kind == KC_TPATCHGAN;

	return clips ? as_clips(t->graph, x, t->output.frames) : x;
}

/* The picture that is judged, whose gradient is penalised. */
static struct kc_tensor *picture(const struct kc_training *t, struct kc_tensor *ab)
{
	if (t->config->gan.space == KC_SPACE_LAB)
		ab = KC_CONCAT(t->graph, 1, t->output.l, ab);
	return arrange(t, ab);
}

static struct kc_patchgan judge(struct kc_training *t, struct kc_tensor *x)
{
	struct kc_adversary *a = t->adversary;

	if (a->luma)
		x = KC_CONCAT(t->graph, 1, a->luma, x);
	return kc_patchgan(&a->model, x, &a->network);
}

/* ---- losses ---- */

/* What both networks' losses are made of. */
struct judged {
	struct kc_tensor *real_x, *fake_x;
	struct kc_patchgan real, fake;
};

static enum kc_gan kind_of(const struct kc_config *c)
{
	static const enum kc_gan kinds[] = {
		[KC_GAN_BY_VANILLA] = KC_GAN_VANILLA, [KC_GAN_BY_LSGAN] = KC_GAN_LSGAN,
		[KC_GAN_BY_HINGE] = KC_GAN_HINGE, [KC_GAN_WGANGP] = KC_GAN_WGAN,
		[KC_GAN_BY_RALSGAN] = KC_GAN_RALSGAN,
	};

	return kinds[c->gan.kind];
}

/* At a random point between every real sample and its fake one. */
static struct kc_tensor *mixed_penalty(struct kc_training *t, const struct judged *j)
{
	struct kc_type per_sample = j->real_x->type;
	struct kc_graph *g = t->graph;
	struct kc_tensor *x;

	for (int i = 1; i < per_sample.ndim; i++)
		per_sample.dim[i] = 1;
	t->adversary->mix = kc_input(g, "mix", per_sample);
	x = kc_pw3(g, KC_PW_blend, 0, 0, t->adversary->mix, j->real_x, kc_stop(g, j->fake_x));
	return kc_gradient_penalty(g, judge(t, x).score, x, t->config->gan.gp_weight).loss;
}

static struct kc_tensor *loss_of_discriminator(struct kc_training *t, const struct judged *j)
{
	const struct kc_config_gan *c = &t->config->gan;
	enum kc_gan kind = kind_of(t->config);
	struct kc_graph *g = t->graph;
	struct kc_tensor *loss = kc_gan_d(g, t->ranks, kind, j->real.score, j->fake.score);
	struct kc_tensor *penalty;

	kc_training_show(t, "l_d", loss);
	if (kind == KC_GAN_VANILLA || kind == KC_GAN_HINGE)
		kc_training_show(t, "d_acc", kc_gan_accuracy(g, j->real.score, j->fake.score));
	if (c->kind == KC_GAN_WGANGP && c->gp_weight > 0) {
		penalty = mixed_penalty(t, j);
		kc_training_show(t, "l_gp", penalty);
		loss = kc_add(g, loss, penalty);
	}
	if (c->r1_weight > 0) {
		penalty = kc_r1_penalty(g, j->real.score, j->real_x, c->r1_weight);
		kc_training_show(t, "l_r1", penalty);
		loss = kc_add(g, loss, penalty);
	}
	return loss;
}

static void losses_of_generator(struct kc_training *t, const struct judged *j)
{
	const struct kc_config_gan *c = &t->config->gan;

	kc_training_term(t, "l_g_gan",
			 kc_gan_g(t->graph, t->ranks, kind_of(t->config), j->real.score,
				  j->fake.score),
			 c->weight);
	if (c->feature_weight > 0)
		kc_training_term(t, "l_fm",
				 kc_feature_match(t->graph, j->real.feature, j->fake.feature,
						  j->real.n_features),
				 c->feature_weight);
}

static struct judged judge_both(struct kc_training *t)
{
	struct judged j = {.real_x = picture(t, t->output.truth),
			   .fake_x = picture(t, t->output.ab)};

	if (t->config->gan.condition)
		t->adversary->luma = arrange(t, t->output.l);
	j.real = judge(t, j.real_x);
	j.fake = judge(t, j.fake_x);
	return j;
}

/* ---- the whole ---- */

static void set_discriminator(struct kc_training *t)
{
	const struct kc_config_gan *c = &t->config->gan;

	t->trainee[KC_DISCRIMINATOR] = (struct kc_trainee){
		.params = t->adversary->params,
		.model = &t->adversary->model,
		.optimizer = {.kind = KC_ADAM, .beta1 = c->beta1, .beta2 = c->beta2,
			      .eps = t->config->optimizer.eps},
	};
	t->n_trainees = KC_DISCRIMINATOR + 1;
}

static int build_stages(struct kc_training *t)
{
	struct kc_stage *alone = &t->stage[KC_STAGE_ALONE], *both = &t->stage[KC_STAGE_BOTH];
	struct kc_stage *rival = &t->stage[KC_STAGE_DISCRIMINATOR];
	struct judged j;

	alone->loss[KC_GENERATOR] = t->loss;
	alone->n_terms = t->n_terms;
	j = judge_both(t);
	KC_TRY(kc_graph_status(t->graph));
	losses_of_generator(t, &j);
	both->loss[KC_GENERATOR] = t->loss;
	both->loss[KC_DISCRIMINATOR] = loss_of_discriminator(t, &j);
	both->n_terms = t->n_terms;
	if (t->config->gan.d_steps > 1)
		rival->loss[KC_DISCRIMINATOR] = both->loss[KC_DISCRIMINATOR];
	if (!t->config->gan.start_iter)
		alone->loss[KC_GENERATOR] = NULL;
	return kc_graph_status(t->graph);
}

int kc_adversary_build(struct kc_training *t)
{
	const struct kc_init init = {kc_init_normal, (uint64_t)t->config->seed};
	struct kc_adversary *a = t->adversary = kc_calloc(1, sizeof *a);

	if (!a)
		return KC_ENOMEM;
	KC_ASSERT(t->output.l && t->output.ab && t->output.truth);
	a->params = kc_params_new(KC_F32);
	if (!a->params)
		return KC_ENOMEM;
	a->model = (struct kc_model){.g = t->graph, .params = a->params, .train = true,
				      .ranks = t->ranks};
	a->network = network_of(t->config);
	KC_TRY(build_stages(t));
	if (a->mix && !(a->drawn = kc_calloc((size_t)a->mix->type.dim[0], sizeof *a->drawn)))
		return KC_ENOMEM;
	set_discriminator(t);
	KC_TRY(kc_params_alloc(a->params, true, false));
	return kc_params_init(a->params, &init);
}

void kc_adversary_free(struct kc_adversary *a)
{
	if (!a)
		return;
	kc_model_release(&a->model);
	kc_params_free(a->params);
	free(a->drawn);
	free(a);
}

/* Where row i of this rank's part, frame by frame, stands in the whole batch. */
static int64_t row_of_batch(const struct kc_training *t, int64_t i)
{
	int64_t first = t->ranks ? t->ranks->rank * t->batch : 0;

	return i / t->batch * t->config->data.batch_size + first + i % t->batch;
}

int kc_adversary_feed(const struct kc_training *t, struct kc_plan *p, int64_t index)
{
	const struct kc_adversary *a = t->adversary;
	struct kc_random r;
	struct kc_buf b;

	if (!a->mix)
		return 0;
	for (int64_t i = 0; i < a->mix->type.dim[0]; i++) {
		kc_random_init(&r, (uint64_t)t->config->seed, KC_STREAM_NOISE, (uint64_t)index,
			       (uint32_t)row_of_batch(t, i));
		a->drawn[i] = (float)kc_random_unit(&r);
	}
	b = kc_buf_of(a->drawn, &a->mix->type, KC_PLAIN);
	return kc_plan_feed(p, a->mix, &b);
}
