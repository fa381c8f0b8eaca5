/*
 * Pass 10: gives every step the first kernel row of the device that fits, else the reference
 * kernel, and inserts the packing steps that kernels ask for.
 */
#include "core/plan_ir.h"

#include <stdlib.h>

static struct kc_step_info describe(const struct kc_plan *p, const struct kc_step *s,
				    struct kc_buf *bufs)
{
	for (int k = 0; k < s->n_in; k++)
		bufs[k] = p->values[s->in[k]].buf;
	for (int k = 0; k < s->n_out; k++)
		bufs[s->n_in + k] = p->values[s->out[k]].buf;
	return (struct kc_step_info){.op = s->op,
				     .attr = s->attr,
				     .in = bufs,
				     .out = bufs + s->n_in,
				     .n_in = s->n_in,
				     .n_out = s->n_out,
				     .device = p->device,
				     .deterministic = p->opts.deterministic};
}

static bool has_pads(const struct kc_step_info *info)
{
	bool any = false;

	for (int k = 0; k < info->n_out; k++)
		any |= info->out[k].pads != 0;
	return any;
}

/* NULL: none; *why is the error of the last row that would have fitted, or 0. */
static const struct kc_kernel *choose(const struct kc_plan *p, const struct kc_step *s,
				      struct kc_step_info *info, int *why)
{
	*why = 0;
	for (const struct kc_kernel *const *row = p->device->kernels; row && *row; row++) {
		const struct kc_kernel *k = *row;
		struct kc_step_info before = *info;
		int rc;

		if (k->op != s->op || (has_pads(info) && !(k->pads & KC_PADS_WRITE)) ||
		    !k->fits(info))
			continue;
		rc = k->prepare ? k->prepare(info) : 0;
		if (rc >= 0)
			return k;
		*why = rc;
		*info = before;
	}
	return NULL;
}

static int find_packed(const struct kc_plan *p, int first, int v, const char *key)
{
	for (int s = first; s < p->n_steps; s++)
		if (p->steps[s].in[0] == v && !strcmp(p->steps[s].pack->key, key))
			return p->steps[s].out[0];
	return -1;
}

static void release_pack(struct kc_pack *pack)
{
	if (pack->release)
		pack->release(pack);
}

/* A step that packs value v each run, at that place in the order; it owns the request. */
static int pack_each_run(struct kc_plan *p, int v, struct kc_value *out, const struct kc_pack *want,
			 int64_t order)
{
	int s = kc_ir_step(p, &kc_op_copy, NULL, NULL, 1, 1), at;
	struct kc_pack *pack = s < 0 ? NULL : kc_arena_alloc(&p->memory, sizeof *pack);

	if (!pack)
		return KC_ENOMEM;
	out->home = KC_HOME_ARENA;
	out->producer = s;
	at = kc_ir_value(p, out);
	KC_TRY(at);
	*pack = *want;
	p->steps[s].in[0] = v;
	p->steps[s].out[0] = at;
	p->steps[s].order = order - 1;
	p->steps[s].pack = pack;
	return at;
}

/* The packed form of value v, for a step at that place in the order.  Takes the request over. */
static int packed_value(struct kc_plan *p, int first, int v, struct kc_pack *want, int64_t order)
{
	struct kc_value out = p->values[v];
	int at;

	out.tensor = NULL;
	out.fetched = false;
	out.bytes = want->bytes;
	out.producer = -1;
	if (out.home == KC_HOME_MASTER && !out.param->trainable && !out.param->statistic) {
		out.home = KC_HOME_PACKED;
		at = kc_packed_get(p->device, out.param, want, &out.packed);
		return at < 0 ? at : kc_ir_value(p, &out);
	}
	at = find_packed(p, first, v, want->key);
	if (at < 0)
		at = pack_each_run(p, v, &out, want, order);
	else
		release_pack(want);
	if (at < 0)
		release_pack(want);
	return at;
}

/* Feeds the step's inputs in the forms that its kernel asked for. */
static int add_packs(struct kc_plan *p, int i, int first, struct kc_step_info *info)
{
	int rc = 0;

	for (int k = 0; k < info->n_pack; k++) {
		struct kc_pack *want = &info->pack[k];
		int in = want->input;

		if (rc < 0) {
			release_pack(want);
			continue;
		}
		rc = packed_value(p, first, p->steps[i].in[in], want, p->steps[i].order);
		if (rc >= 0)
			p->steps[i].in[in] = rc;
	}
	return rc < 0 ? rc : 0;
}

static int add_workspace(struct kc_plan *p, int i, size_t bytes)
{
	struct kc_value ws = {.home = KC_HOME_ARENA, .producer = i, .bytes = bytes};
	int v;

	ws.buf.type = KC_TYPE(KC_U8, (int64_t)bytes);
	kc_strides(&ws.buf.type, KC_PLAIN, ws.buf.stride);
	v = kc_ir_value(p, &ws);
	KC_TRY(v);
	p->steps[i].workspace = v;
	return 0;
}

static int select_step(struct kc_plan *p, int i, int first)
{
	struct kc_step *s = &p->steps[i];
	struct kc_buf *bufs =
		kc_arena_alloc(&p->memory, (size_t)(s->n_in + s->n_out) * sizeof *bufs);
	struct kc_step_info info;
	int why;

	if (!bufs)
		return KC_ENOMEM;
	info = describe(p, s, bufs);
	s->bufs = bufs;
	s->kernel = choose(p, s, &info, &why);
	s->prepared = info.prepared;
	s->workspace = -1;
	if (!s->kernel && p->device->memory && why < 0)
		return kc_cause(why, "device %s: %s", p->device->name, s->op->name);
	if (!s->kernel && (!s->op->ref || p->device->memory))
		return KC_FAIL(KC_ENOSUP, "device %s has no kernel for %s", p->device->name,
			       s->op->name);
	KC_TRY(add_packs(p, i, first, &info));
	return info.workspace ? add_workspace(p, i, info.workspace) : 0;
}

int kc_pass_kernels(struct kc_plan *p)
{
	int n = p->n_steps, reference = 0;

	for (int i = 0; i < n; i++) {
		KC_TRY(select_step(p, i, n));
		reference += !p->steps[i].kernel;
	}
	for (int i = n; i < p->n_steps; i++) {
		p->steps[i].bufs = kc_arena_alloc(&p->memory, 2 * sizeof(struct kc_buf));
		p->steps[i].workspace = -1;
		if (!p->steps[i].bufs)
			return KC_ENOMEM;
	}
	kc_ir_trace(p, "kernels: %d steps, %d by reference kernels, %d packings each run", n,
		    reference, p->n_steps - n);
	return kc_ir_sort(p);
}
