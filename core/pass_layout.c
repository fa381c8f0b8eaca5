/*
 * Pass 3: decides how every value lies in memory, and which values need no memory of their own:
 * broadcasts are views with strides of 0, slices of whole frames and reshapes are views where
 * the elements lie right already, and slices of channels where their readers take them so.
 */
#include "core/plan_ir.h"

static enum kc_layout step_layout(const struct kc_plan *p, const struct kc_step *s)
{
	if (s->op->layout != KC_LAYOUT_FOLLOW)
		return s->op->layout == KC_LAYOUT_CLAST ? KC_CLAST : KC_PLAIN;
	for (int k = 0; k < s->n_in; k++) {
		const struct kc_value *x = &p->values[s->in[k]];

		if (x->buf.type.ndim >= 4 && x->layout == KC_CLAST && x->home != KC_HOME_CONSTANT)
			return KC_CLAST;
	}
	return KC_PLAIN;
}

static void set_layout(struct kc_value *v, enum kc_layout layout)
{
	v->layout = layout;
	kc_strides(&v->buf.type, layout, v->buf.stride);
	v->bytes = (size_t)kc_numel(&v->buf.type) * kc_dtype_size((enum kc_dtype)v->buf.type.dtype);
	if (v->home == KC_HOME_CONSTANT) {
		memset(v->buf.stride, 0, sizeof v->buf.stride);
		v->bytes = sizeof(double);
	}
}

static void broadcast(struct kc_plan *p, struct kc_step *s)
{
	struct kc_value *y = &p->values[s->out[0]];
	const struct kc_value *x = &p->values[s->in[0]];
	int shift = y->buf.type.ndim - x->buf.type.ndim;

	for (int i = 0; i < y->buf.type.ndim; i++) {
		bool same = i >= shift && x->buf.type.dim[i - shift] == y->buf.type.dim[i];

		y->buf.stride[i] = same ? x->buf.stride[i - shift] : 0;
	}
	y->home = KC_HOME_ALIAS;
	y->alias_of = s->in[0];
	y->buf.type.dtype = x->buf.type.dtype;
	s->dead = true;
}

/* Does everybody who reads v, by the steps behind i, read it element by element? */
static bool only_pointwise(const struct kc_plan *p, int i, int v)
{
	if (p->values[v].fetched)
		return false;
	for (int j = i + 1; j < p->n_steps; j++)
		for (int k = 0; k < p->steps[j].n_in; k++)
			if (p->steps[j].in[k] == v && !(p->steps[j].op->flags & KC_OP_POINTWISE))
				return false;
	return true;
}

/* The strides that the output has as a view; false: it must be dense, and would not be. */
static bool view_strides(const struct kc_plan *p, int i, int v, int64_t *stride)
{
	const struct kc_step *s = &p->steps[i];
	const struct kc_buf *x = &p->values[s->in[0]].buf, *y = &p->values[v].buf;
	bool dense = true;

	memcpy(stride, y->stride, sizeof y->stride);
	if (!(s->op->flags & KC_OP_WINDOW))
		return true;
	for (int d = 0; d < y->type.ndim; d++)
		dense &= y->type.dim[d] == 1 || x->stride[d] == y->stride[d];
	if (!dense)
		memcpy(stride, x->stride, sizeof x->stride);
	return dense || (p->device->strided && only_pointwise(p, i, v));
}

static void try_view(struct kc_plan *p, int i)
{
	struct kc_step *s = &p->steps[i];
	const struct kc_value *x = &p->values[s->in[0]];
	int64_t at[KC_MAX_OUT], stride[KC_MAX_OUT][KC_MAX_DIM];

	if (!kc_is_dense(&x->buf, x->layout) || x->home == KC_HOME_CONSTANT)
		return;
	for (int k = 0; k < s->n_out; k++) {
		const struct kc_value *y = &p->values[s->out[k]];

		at[k] = s->op->view(s->attr, &x->buf, &y->buf.type, k);
		if (at[k] < 0 || y->buf.type.dtype != x->buf.type.dtype ||
		    !view_strides(p, i, s->out[k], stride[k]))
			return;
	}
	for (int k = 0; k < s->n_out; k++) {
		struct kc_value *y = &p->values[s->out[k]];

		memcpy(y->buf.stride, stride[k], sizeof y->buf.stride);
		y->home = KC_HOME_ALIAS;
		y->alias_of = s->in[0];
		y->alias_at = at[k] * (int64_t)kc_dtype_size((enum kc_dtype)x->buf.type.dtype);
	}
	s->dead = true;
}

int kc_pass_layout(struct kc_plan *p)
{
	int views = 0;

	for (int v = 0; v < p->n_values; v++)
		if (p->values[v].producer < 0)
			set_layout(&p->values[v],
				   p->values[v].home == KC_HOME_SLOT ? KC_CLAST : KC_PLAIN);
	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i];

		for (int k = 0; k < s->n_out; k++)
			set_layout(&p->values[s->out[k]], step_layout(p, s));
		if (s->op->flags & KC_OP_BROADCAST)
			broadcast(p, s);
		else if (s->op->flags & KC_OP_VIEW)
			try_view(p, i);
		views += s->dead;
	}
	kc_ir_trace(p, "layout: channels-last activations, %d views", views);
	return 0;
}
