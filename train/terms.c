/* What recipes hand to the training step: terms of the loss, lines for the log, frames as Lab. */
#include "train/training.h"

void kc_training_term(struct kc_training *t, const char *name, struct kc_tensor *x, double weight)
{
	struct kc_tensor *part = kc_scale(t->graph, x, weight);

	kc_training_show(t, name, part);
	if (weight != 0)
		t->loss = t->loss ? kc_add(t->graph, t->loss, part) : part;
}

void kc_training_show(struct kc_training *t, const char *name, struct kc_tensor *x)
{
	KC_ASSERT(t->n_terms < KC_MAX_TERMS);
	t->terms[t->n_terms++] = (struct kc_term){.name = name, .value = x};
}

void kc_training_remark(struct kc_training *t, const char *text)
{
	KC_ASSERT(t->n_remarks < KC_MAX_REMARKS);
	t->remark[t->n_remarks++] = text;
}

void kc_training_output(struct kc_training *t, struct kc_tensor *l, struct kc_tensor *ab,
			struct kc_tensor *truth, int n)
{
	t->output.l = l;
	t->output.ab = ab;
	t->output.truth = truth;
	t->output.frames = n;
}

void kc_training_lab(struct kc_training *t, struct kc_tensor **l, struct kc_tensor **ab)
{
	struct kc_graph *g = t->graph;
	struct kc_tensor *lab = kc_rgb_to_lab(g, kc_to_real(g, t->frames, 1.0 / 255));

	*l = kc_scale(g, kc_shift(g, kc_slice(g, lab, 1, 0, 1, 1), -50), 1.0 / 100);
	*ab = kc_scale(g, kc_slice(g, lab, 1, 1, 2, 1), 1.0 / 110);
}
