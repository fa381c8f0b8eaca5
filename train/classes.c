/* The class loss that recipes share, and where its factors come from. */
#include "losses/classes.h"
#include "train/prior.h"
#include "train/training.h"

#include <stdlib.h>

/* They live as long as the plan. */
static int fill_factors(struct kc_training *t)
{
	const struct kc_config_classes *c = &t->config->classes;
	double prior[KC_BINS];
	int rc;

	if (t->factors)
		return 0;
	t->factors = kc_calloc(KC_BINS, sizeof *t->factors);
	if (!t->factors)
		return KC_ENOMEM;
	for (int q = 0; q < KC_BINS; q++)
		t->factors[q] = 1;
	if (!c->rebalance || !c->prior) {
		kc_training_remark(t, "the class loss is not rebalanced: every colour counts "
				      "alike");
		return 0;
	}
	rc = kc_prior_load(c->prior, prior);
	if (rc < 0)
		return kc_cause(rc, "train.prior");
	kc_rebalance(prior, KC_BINS, c->lambda, c->alpha, t->factors);
	return 0;
}

int kc_training_factors(struct kc_training *t, struct kc_tensor **out)
{
	KC_TRY(fill_factors(t));
	*out = kc_constant(t->graph, t->factors, KC_TYPE(KC_REAL, KC_BINS));
	return 0;
}

int kc_training_classes(struct kc_training *t, struct kc_tensor *logits, struct kc_tensor *ab,
			double weight)
{
	struct kc_graph *g = t->graph;
	struct kc_tensor *truth = kc_scale(g, kc_subsample(g, ab, 4), 110), *factors;

	KC_TRY(kc_training_factors(t, &factors));
	kc_training_term(t, "l_class", kc_loss_rebalanced(g, logits, truth, factors).loss, weight);
	return 0;
}
