/*
 * Pass 4: merges steps.
 *
 * A convolution absorbs the activation that is the only user of its output.  Chains of
 * pointwise steps over the same elements become one step that reads each input and writes each
 * result once.  A producer joins the chain of its user when everybody else who reads it stands
 * behind the chain's last member: the chain then runs at that place, and no cycle can arise.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

struct fusion {
	struct kc_plan *p;
	int *first_use, *last_use, *n_uses; /* per value: steps that read it */
	int *group;			    /* per step: index of the chain's last member, or -1 */
};

struct chain {
	struct kc_fused_attr code;
	int in[KC_FUSED_IN]; /* values of the input registers */
	int out[KC_FUSED_OUT];
	int *reg; /* per value: register, or -1 */
};

static void count_uses(struct fusion *f)
{
	struct kc_plan *p = f->p;

	for (int v = 0; v < p->n_values; v++) {
		f->first_use[v] = f->last_use[v] = -1;
		f->n_uses[v] = p->values[v].fetched;
	}
	for (int i = 0; i < p->n_steps; i++)
		for (int k = 0; !p->steps[i].dead && k < p->steps[i].n_in; k++) {
			int v = p->steps[i].in[k];

			if (f->first_use[v] < 0)
				f->first_use[v] = i;
			f->last_use[v] = i;
			f->n_uses[v]++;
		}
	/* What reads a view reads what it views. */
	for (int v = p->n_values - 1; v >= 0; v--)
		if (p->values[v].home == KC_HOME_ALIAS) {
			int of = p->values[v].alias_of;

			f->n_uses[of] += f->n_uses[v] ? 1 : 0;
			if (f->first_use[v] >= 0 &&
			    (f->first_use[of] < 0 || f->first_use[v] < f->first_use[of]))
				f->first_use[of] = f->first_use[v];
			f->last_use[of] = KC_MAX(f->last_use[of], f->last_use[v]);
		}
}

/* ---- an operator with the activation behind it ---- */

static int absorb_activations(struct fusion *f)
{
	struct kc_plan *p = f->p;
	int merged = 0;

	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i], *next;
		int v = s->n_out ? s->out[0] : -1;
		void *attr;

		if (!s->op->absorb || s->dead || f->n_uses[v] != 1 || f->first_use[v] < 0)
			continue;
		next = &p->steps[f->first_use[v]];
		if (next->dead || next->n_in != 1 || next->in[0] != v ||
		    !(next->op->flags & KC_OP_POINTWISE) ||
		    p->values[next->out[0]].buf.type.dtype != p->values[v].buf.type.dtype)
			continue;
		attr = kc_arena_alloc(&p->memory, s->op->attr_size);
		if (!attr)
			return KC_ENOMEM;
		memcpy(attr, s->attr, s->op->attr_size);
		if (!s->op->absorb(s->attr, next->op, next->attr, attr))
			continue;
		s->attr = attr;
		s->out[0] = next->out[0];
		p->values[s->out[0]].producer = i;
		next->dead = true;
		merged++;
	}
	return merged;
}

/* ---- pointwise chains ---- */

static bool is_pointwise(const struct kc_plan *p, const struct kc_step *s)
{
	if (s->dead)
		return false;
	if (s->op != &kc_op_copy)
		return (s->op->flags & KC_OP_POINTWISE) != 0;
	return p->values[s->in[0]].layout == p->values[s->out[0]].layout &&
	       p->values[s->in[0]].home != KC_HOME_MASTER;
}

static bool same_space(const struct kc_plan *p, int a, int b)
{
	const struct kc_value *x = &p->values[a], *y = &p->values[b];

	return kc_same_dims(&x->buf.type, &y->buf.type) &&
	       (x->layout == y->layout || x->buf.type.ndim < 4);
}

/* May step i join the chain that ends at step `last`? */
static bool may_join(const struct fusion *f, int i, int last)
{
	const struct kc_step *s = &f->p->steps[i];

	for (int j = i + 1; j <= last; j++) {
		const struct kc_step *user = &f->p->steps[j];

		for (int k = 0; !user->dead && k < user->n_in; k++) {
			int v = user->in[k];

			/* In the chain itself only direct reads are registers; a view is not. */
			if (kc_ir_root(f->p, v) == s->out[0] &&
			    (f->group[j] != last || v != s->out[0]))
				return false;
		}
	}
	return true;
}

/* Collects members of the chain that ends at `last`, walking backwards from it. */
static int collect(struct fusion *f, int last, int *members)
{
	struct kc_plan *p = f->p;
	int n = 1, inputs = p->steps[last].n_in;

	members[0] = last;
	f->group[last] = last;
	for (int i = last - 1; i >= 0 && last - i < 512 && n < KC_FUSED_MAX; i--) {
		const struct kc_step *s = &p->steps[i];
		bool feeds = false;

		if (!is_pointwise(p, s) || f->group[i] >= 0 ||
		    !same_space(p, s->out[0], p->steps[last].out[0]))
			continue;
		for (int m = 0; m < n && !feeds; m++)
			for (int k = 0; k < p->steps[members[m]].n_in; k++)
				feeds |= p->steps[members[m]].in[k] == s->out[0];
		if (!feeds || inputs + s->n_in - 1 > KC_FUSED_IN || !may_join(f, i, last))
			continue;
		inputs += s->n_in - 1;
		f->group[i] = last;
		members[n++] = i;
	}
	return n;
}

static int input_register(struct chain *c, int v)
{
	for (int r = 0; r < c->code.n_in; r++)
		if (c->in[r] == v)
			return r;
	KC_ASSERT(c->code.n_in < KC_FUSED_IN);
	c->in[c->code.n_in] = v;
	return (int)c->code.n_in++;
}

/* Inputs first: their registers come before those of the results. */
static void number_inputs(const struct fusion *f, struct chain *c, const int *members, int n)
{
	for (int m = n - 1; m >= 0; m--)
		for (int k = 0; k < f->p->steps[members[m]].n_in; k++) {
			int v = f->p->steps[members[m]].in[k], by = f->p->values[v].producer;

			if (by >= 0 && f->p->values[v].home != KC_HOME_ALIAS &&
			    f->group[by] == members[0])
				continue;
			c->reg[v] = input_register(c, v);
		}
}

static void write_code(const struct fusion *f, struct chain *c, const int *members, int n)
{
	for (int m = n - 1; m >= 0; m--) {
		const struct kc_step *s = &f->p->steps[members[m]];
		struct kc_fused_code *code = &c->code.code[c->code.n_code];

		if (s->op == &kc_op_copy) { /* conversions happen where values are stored */
			c->reg[s->out[0]] = c->reg[s->in[0]];
			continue;
		}
		code->op = s->op->pointwise;
		if (s->attr && s->op->attr_size)
			memcpy(&code->p, s->attr, 2 * sizeof(double));
		for (int k = 0; k < s->n_in; k++)
			code->arg[k] = c->reg[s->in[k]];
		c->reg[s->out[0]] = (int)(c->code.n_in + c->code.n_code++);
	}
}

/* Results that somebody outside the chain reads. */
static int store_results(const struct fusion *f, struct chain *c, const int *members, int n)
{
	for (int m = 0; m < n; m++) {
		int v = f->p->steps[members[m]].out[0], inside = 0;

		for (int k = 0; k < n; k++)
			for (int j = 0; j < f->p->steps[members[k]].n_in; j++)
				inside += f->p->steps[members[k]].in[j] == v;
		if (f->n_uses[v] == inside)
			continue;
		if (c->code.n_out == KC_FUSED_OUT)
			return -1;
		c->code.out[c->code.n_out] = c->reg[v];
		c->out[c->code.n_out++] = v;
	}
	return 0;
}

static int emit(struct fusion *f, struct chain *c, const int *members, int n)
{
	struct kc_plan *p = f->p;
	struct kc_step *s = &p->steps[members[0]];
	struct kc_fused_attr *attr = kc_arena_alloc(&p->memory, sizeof *attr);
	int *in = kc_arena_alloc(&p->memory, (size_t)c->code.n_in * sizeof *in);
	int *out = kc_arena_alloc(&p->memory, (size_t)c->code.n_out * sizeof *out);

	if (!attr || !in || !out)
		return KC_ENOMEM;
	*attr = c->code;
	memcpy(in, c->in, (size_t)c->code.n_in * sizeof *in);
	memcpy(out, c->out, (size_t)c->code.n_out * sizeof *out);
	for (int m = 1; m < n; m++)
		p->steps[members[m]].dead = true;
	for (int k = 0; k < c->code.n_out; k++)
		p->values[out[k]].producer = members[0];
	s->op = p->ops->fused;
	s->attr = attr;
	s->in = in;
	s->out = out;
	s->n_in = (int)c->code.n_in;
	s->n_out = (int)c->code.n_out;
	s->n_fused = n;
	return 0;
}

/* Makes the chain that ends at `last`, shortening it until it fits the limits. */
static int fuse_at(struct fusion *f, int last, int *reg)
{
	int members[KC_FUSED_MAX], n = f->p->opts.no_fuse ? 1 : collect(f, last, members);

	members[0] = last;
	f->group[last] = last;
	for (;; n--) {
		struct chain c = {.reg = reg};
		int rc;

		number_inputs(f, &c, members, n);
		write_code(f, &c, members, n);
		rc = store_results(f, &c, members, n);
		if (rc == 0 && c.code.n_code == 0) /* conversions alone stay what they are */
			return 0;
		if (rc == 0)
			return emit(f, &c, members, n);
		KC_ASSERT(n > 1);
		f->group[members[n - 1]] = -1;
	}
}

static int fuse_chains(struct fusion *f)
{
	struct kc_plan *p = f->p;
	int *reg = kc_arena_alloc(&p->memory, (size_t)p->n_values * sizeof *reg), before = 0,
	    after = 0;

	if (!reg)
		return KC_ENOMEM;
	for (int i = 0; i < p->n_steps; i++)
		f->group[i] = -1;
	for (int i = p->n_steps - 1; i >= 0; i--) {
		if (!is_pointwise(p, &p->steps[i]) || f->group[i] >= 0)
			continue;
		KC_TRY(fuse_at(f, i, reg));
		after++;
	}
	for (int i = 0; i < p->n_steps; i++)
		before += f->group[i] >= 0;
	kc_ir_trace(p, "fuse: %d pointwise steps in %d chains", before, after);
	return 0;
}

int kc_pass_fuse(struct kc_plan *p)
{
	struct fusion f = {.p = p};
	size_t nv = (size_t)p->n_values;
	int rc = KC_ENOMEM, merged = 0;

	f.first_use = kc_calloc(nv, sizeof(int));
	f.last_use = kc_calloc(nv, sizeof(int));
	f.n_uses = kc_calloc(nv, sizeof(int));
	f.group = kc_calloc((size_t)p->n_steps, sizeof(int));
	if (f.first_use && f.last_use && f.n_uses && f.group) {
		count_uses(&f);
		merged = p->opts.no_fuse ? 0 : absorb_activations(&f);
		rc = merged < 0 ? merged : fuse_chains(&f);
		if (!rc)
			rc = kc_ir_sort(p);
		kc_ir_trace(p, "fuse: %d activations into the operator before them", merged);
	}
	free(f.first_use);
	free(f.last_use);
	free(f.n_uses);
	free(f.group);
	return rc;
}
