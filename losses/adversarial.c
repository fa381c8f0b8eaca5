#include "losses/adversarial.h"

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
static struct kc_tensor *relative(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *other,
				  double target)
{
	return kc_lsgan(g, kc_sub(g, x, kc_mean(g, other)), target);
}

struct kc_tensor *kc_ralsgan_d(struct kc_graph *g, struct kc_tensor *real, struct kc_tensor *fake)
{
	return kc_add(g, relative(g, real, fake, 1), relative(g, fake, real, -1));
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

struct kc_gradient_penalty kc_gradient_penalty(struct kc_graph *g, struct kc_tensor *y,
					       struct kc_tensor *x, double weight)
{
	/* Keeps the root differentiable at 0 and is lost in rounding elsewhere. */
	static const double TINY = 1e-30;
	struct kc_type per_sample = KC_TYPE(KC_REAL, x->type.dim[0], 1, 1, 1);
	struct kc_gradient_penalty p;
	struct kc_tensor *squares;

	if (kc_grad(g, y, NULL, &x, 1, &p.gx) < 0)
		p.gx = kc_graph_fail(g, "%s", kc_errmsg());
	squares = kc_sum_to(g, kc_square(g, p.gx), &per_sample);
	p.norm = kc_pw1(g, KC_PW_sqrt, 0, 0, kc_shift(g, squares, TINY));
	p.loss = kc_scale(g, kc_mean(g, kc_square(g, kc_shift(g, p.norm, -1))), weight);
	return p;
}
