#include "losses/adversarial.h"

#include "layers/ranks.h"

/* mean of max(0, 1 - sign * x) */
static struct kc_tensor *margin(struct kc_graph *g, struct kc_tensor *x, double sign)
{
	return kc_mean(g, kc_relu(g, kc_shift(g, kc_scale(g, x, -sign), 1)));
}

struct kc_tensor *kc_hinge_d(struct kc_graph *g, struct kc_tensor *real, struct kc_tensor *fake)
{
	return kc_add(g, margin(g, real, 1), margin(g, fake, -1));
}

struct kc_tensor *kc_wgan_d(struct kc_graph *g, struct kc_tensor *real, struct kc_tensor *fake)
{
	return kc_sub(g, kc_mean(g, fake), kc_mean(g, real));
}

struct kc_tensor *kc_score_g(struct kc_graph *g, struct kc_tensor *fake)
{
	return kc_scale(g, kc_mean(g, fake), -1);
}

/* mean of (x - mean(other) - target)^2 */
static struct kc_tensor *relative(struct kc_graph *g, struct kc_ranks *ranks, struct kc_tensor *x,
				  struct kc_tensor *other, double target)
{
	struct kc_tensor *mean = kc_mean(g, other);

	kc_mean_over_ranks(g, ranks, &mean, 1);
	return kc_lsgan(g, kc_sub(g, x, mean), target);
}

struct kc_tensor *kc_ralsgan_d(struct kc_graph *g, struct kc_ranks *ranks, struct kc_tensor *real,
			       struct kc_tensor *fake)
{
	return kc_add(g, relative(g, ranks, real, fake, 1), relative(g, ranks, fake, real, -1));
}

struct kc_tensor *kc_lsgan(struct kc_graph *g, struct kc_tensor *x, double target)
{
	return kc_mean(g, kc_square(g, kc_shift(g, x, -target)));
}

/* -t log s(x) - (1 - t) log (1 - s(x)) = softplus(x) - t x */
struct kc_tensor *kc_bce_logits(struct kc_graph *g, struct kc_tensor *x, double target)
{
	return kc_mean(g, kc_sub(g, kc_pw1(g, KC_PW_softplus, 0, 0, x), kc_scale(g, x, target)));
}

static struct kc_tensor *half(struct kc_graph *g, struct kc_tensor *a, struct kc_tensor *b)
{
	return kc_scale(g, kc_add(g, a, b), 0.5);
}

struct kc_tensor *kc_gan_d(struct kc_graph *g, struct kc_ranks *ranks, enum kc_gan kind,
			   struct kc_tensor *real, struct kc_tensor *fake)
{
	switch (kind) {
	case KC_GAN_VANILLA:
		return half(g, kc_bce_logits(g, real, 1), kc_bce_logits(g, fake, 0));
	case KC_GAN_LSGAN: return half(g, kc_lsgan(g, real, 1), kc_lsgan(g, fake, 0));
	case KC_GAN_HINGE: return kc_hinge_d(g, real, fake);
	case KC_GAN_WGAN: return kc_wgan_d(g, real, fake);
	default: return kc_ralsgan_d(g, ranks, real, fake);
	}
}

struct kc_tensor *kc_gan_g(struct kc_graph *g, struct kc_ranks *ranks, enum kc_gan kind,
			   struct kc_tensor *real, struct kc_tensor *fake)
{
	switch (kind) {
	case KC_GAN_VANILLA: return kc_bce_logits(g, fake, 1);
	case KC_GAN_LSGAN: return kc_lsgan(g, fake, 1);
	case KC_GAN_RALSGAN: return kc_ralsgan_d(g, ranks, fake, real);
	default: return kc_score_g(g, fake);
	}
}

struct kc_tensor *kc_gan_accuracy(struct kc_graph *g, struct kc_tensor *real,
				  struct kc_tensor *fake)
{
	struct kc_tensor *right = kc_mean(g, kc_pw1(g, KC_PW_step, 0, 0, real));
	struct kc_tensor *wrong = kc_mean(g, kc_pw1(g, KC_PW_step, 0, 0, fake));

	return kc_scale(g, kc_shift(g, kc_sub(g, right, wrong), 1), 0.5);
}

struct kc_tensor *kc_feature_match(struct kc_graph *g, struct kc_tensor *const *real,
				   struct kc_tensor *const *fake, int n)
{
	struct kc_tensor *sum = NULL;

	for (int i = 0; i < n; i++) {
		struct kc_tensor *one = kc_mean(g, kc_abs(g, kc_sub(g, fake[i], real[i])));

		sum = sum ? kc_add(g, sum, one) : one;
	}
	return kc_scale(g, sum, 1.0 / n);
}

/* d sum(y) / dx, and the sum of its squares per sample. */
static struct kc_tensor *squared_slope(struct kc_graph *g, struct kc_tensor *y, struct kc_tensor *x,
				       struct kc_tensor **gx)
{
	struct kc_type per_sample = x->type;

	for (int i = 1; i < per_sample.ndim; i++)
		per_sample.dim[i] = 1;
	if (kc_grad(g, y, NULL, &x, 1, gx) < 0)
		*gx = kc_graph_fail(g, "%s", kc_errmsg());
	return kc_sum_to(g, kc_square(g, *gx), &per_sample);
}

struct kc_gradient_penalty kc_gradient_penalty(struct kc_graph *g, struct kc_tensor *y,
					       struct kc_tensor *x, double weight)
{
	/* Keeps the root differentiable at 0 and is lost in rounding elsewhere. */
	static const double TINY = 1e-30;
	struct kc_gradient_penalty p;
	struct kc_tensor *squares = squared_slope(g, y, x, &p.gx);

	p.norm = kc_pw1(g, KC_PW_sqrt, 0, 0, kc_shift(g, squares, TINY));
	p.loss = kc_scale(g, kc_mean(g, kc_square(g, kc_shift(g, p.norm, -1))), weight);
	return p;
}

struct kc_tensor *kc_r1_penalty(struct kc_graph *g, struct kc_tensor *y, struct kc_tensor *x,
				double weight)
{
	struct kc_tensor *gx;

	return kc_scale(g, kc_mean(g, squared_slope(g, y, x, &gx)), weight / 2);
}
