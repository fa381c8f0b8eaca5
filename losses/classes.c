#include "losses/classes.h"

#include <math.h>

struct kc_tensor *kc_cross_entropy(struct kc_graph *g, struct kc_tensor *logits,
				   struct kc_tensor *target)
{
	struct kc_tensor *p = kc_mul(g, target, kc_log_softmax(g, logits, 1));

	return kc_scale(g, kc_sum_axis(g, p, 1), -1);
}

/* log softmax(logits) at the right class. */
static struct kc_tensor *log_right(struct kc_graph *g, struct kc_tensor *logits,
				   struct kc_tensor *index)
{
	const int64_t *d = logits->type.dim;
	struct kc_tensor *at = kc_reshape(g, index, 4, (int64_t[]){d[0], 1, d[2], d[3]});

	return kc_take(g, kc_log_softmax(g, logits, 1), at, 1);
}

struct kc_tensor *kc_hard_cross_entropy(struct kc_graph *g, struct kc_tensor *logits,
					struct kc_tensor *index)
{
	return kc_scale(g, log_right(g, logits, index), -1);
}

struct kc_tensor *kc_loss_hard_ce(struct kc_graph *g, struct kc_tensor *logits,
				  struct kc_tensor *index)
{
	return kc_scale(g, kc_mean(g, log_right(g, logits, index)), -1);
}

void kc_rebalance(const double *prior, int n, double lambda, double alpha, double *v)
{
	double mean = 0;

	for (int q = 0; q < n; q++) {
		double mix = (1 - lambda) * prior[q] + lambda / n;

		v[q] = mix > 0 ? pow(mix, -alpha) : 0;
		mean += prior[q] * v[q];
	}
	for (int q = 0; q < n; q++)
		v[q] /= mean;
}

/* 1 for each image with some colour, else 0: [N,1,1,1]. */
static struct kc_tensor *has_colour(struct kc_graph *g, struct kc_tensor *ab)
{
	struct kc_tensor *most = kc_abs(g, ab);

	for (int axis = 1; axis < 4; axis++)
		most = kc_max_axis(g, most, axis);
	return kc_pw1(g, KC_PW_step, 0, 5, most);
}

struct kc_rebalanced kc_loss_rebalanced(struct kc_graph *g, struct kc_tensor *logits,
					struct kc_tensor *ab, struct kc_tensor *v)
{
	struct kc_rebalanced r = {.target = kc_soft_encode(g, ab)};
	struct kc_tensor *factor = kc_reshape(g, v, 4, (int64_t[]){1, KC_BINS, 1, 1});

	factor = kc_expand_to(g, factor, &r.target->type);
	factor = kc_take(g, factor, kc_argmax(g, r.target, 1), 1);
	r.weight = kc_mul(g, factor, has_colour(g, ab));
	r.loss = kc_mean(g, kc_mul(g, r.weight, kc_cross_entropy(g, logits, r.target)));
	return r;
}
