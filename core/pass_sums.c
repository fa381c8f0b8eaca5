/*
 * Pass 5: the sum of a chain's result over everything but its channels, which is what the
 * gradient of a bias is, is made by the chain itself while it has the elements at hand; on devices
 * whose chains can.
 */
#include "core/plan_ir.h"

/* Is y what x, channels-last, is without everything but its channels? */
static bool leaves_channels(const struct kc_value *x, const struct kc_value *y)
{
	const struct kc_type *from = &x->buf.type, *to = &y->buf.type;

	if (to->ndim != from->ndim || to->ndim < 4 || to->dtype == KC_BF16 ||
	    !kc_is_dense(&x->buf, KC_CLAST) || y->home != KC_HOME_ARENA)
		return false;
	for (int d = 0; d < to->ndim; d++)
		if (to->dim[d] != (d == 1 ? from->dim[d] : 1))
			return false;
	return true;
}

/* The number, from 1 on, of the chain's output that is v; 0: it is an input that is only stored. */
static int64_t output_of(const struct kc_step *chain, int v)
{
	const struct kc_fused_attr *a = chain->attr;

	for (int k = 0; k < a->n_out; k++)
		if (chain->out[k] == v)
			return a->out[k] < a->n_in ? 0 : k + 1;
	return 0;
}

/* The chain that can make the sum of step i; NULL: none. */
static struct kc_step *chain_of(struct kc_plan *p, const struct kc_step *s)
{
	const struct kc_value *x = &p->values[s->in[0]];
	struct kc_step *chain = x->producer < 0 ? NULL : &p->steps[x->producer];

	if (!chain || chain->op != p->ops->fused || x->home != KC_HOME_ARENA ||
	    ((const struct kc_fused_attr *)chain->attr)->summed ||
	    !output_of(chain, s->in[0]) || !leaves_channels(x, &p->values[s->out[0]]))
		return NULL;
	return chain;
}

static int take_sum(struct kc_plan *p, struct kc_step *chain, struct kc_step *s)
{
	struct kc_fused_attr *attr = kc_arena_alloc(&p->memory, sizeof *attr);
	int *out = kc_arena_alloc(&p->memory, (size_t)(chain->n_out + 1) * sizeof *out);

	if (!attr || !out)
		return KC_ENOMEM;
	*attr = *(const struct kc_fused_attr *)chain->attr;
	attr->summed = output_of(chain, s->in[0]);
	memcpy(out, chain->out, (size_t)chain->n_out * sizeof *out);
	out[chain->n_out] = s->out[0];
	chain->attr = attr;
	chain->out = out;
	chain->n_out++;
	s->dead = true;
	return 0;
}

int kc_pass_sums(struct kc_plan *p)
{
	int done = 0;

	if (!p->device->sums || p->opts.no_fuse)
		return 0;
	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i], *chain;

		chain = s->op->flags & KC_OP_SUM ? chain_of(p, s) : NULL;
		if (!chain)
			continue;
		KC_TRY(take_sum(p, chain, s));
		done++;
	}
	kc_ir_trace(p, "sums: %d made by the chain in front of them", done);
	return kc_ir_sort(p);
}
