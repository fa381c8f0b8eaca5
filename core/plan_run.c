/* Running a plan. */
#include "core/plan_ir.h"

#include <stdlib.h>

static int run_step(struct kc_plan *p, struct kc_step *s)
{
	struct kc_call call = {.attr = s->attr,
			       .in = s->bufs,
			       .out = s->bufs + s->n_in,
			       .n_in = s->n_in,
			       .n_out = s->n_out,
			       .prepared = s->prepared,
			       .device = p->device};

	if (s->workspace >= 0)
		call.workspace = p->values[s->workspace].buf.data;
	if (s->pack)
		return s->pack->run(s->pack, &s->bufs[0], s->bufs[1].data);
	if (s->kernel)
		return s->kernel->run(&call);
	s->op->ref(&call);
	return 0;
}

/* Packed forms may be smaller than the type that they stand for. */
static size_t bytes_used(const struct kc_plan *p, const struct kc_step *s, int k)
{
	const struct kc_value *x = &p->values[k < s->n_in ? s->in[k] : s->out[k - s->n_in]];

	if (x->home == KC_HOME_PACKED)
		return x->packed->pack.bytes;
	return x->home == KC_HOME_ARENA ? KC_MIN(x->bytes, kc_ir_extent(&s->bufs[k]))
					: kc_ir_extent(&s->bufs[k]);
}

/* Tells a device that checks the order of work what the step is going to use. */
static void touch(const struct kc_plan *p, const struct kc_step *s)
{
	const struct kc_memory *m = p->device->memory;

	if (!m || !m->touch)
		return;
	for (int k = 0; k < s->n_in + s->n_out; k++)
		m->touch(p->device, s->bufs[k].data, bytes_used(p, s, k), k >= s->n_in,
			 s->op->name);
}

static void spoil(const struct kc_plan *p, void *at, size_t bytes)
{
	if (p->device->memory && p->device->memory->spoil && bytes)
		p->device->memory->spoil(p->device, at, bytes);
}

static int mark(struct kc_plan *p, int i)
{
	const struct kc_memory *m = p->device->memory;

	if (!p->marks) {
		p->marks = kc_calloc((size_t)p->n_steps + 1, sizeof *p->marks);
		if (!p->marks)
			return KC_ENOMEM;
	}
	if (!p->marks[i])
		KC_TRY(m->fence(p->device, &p->marks[i]));
	return m->mark(p->device, KC_LANE_RUNS, p->marks[i]);
}

static int collect_marks(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;

	KC_TRY(m->await(p->device, p->marks[p->n_steps]));
	for (int i = 0; i < p->n_steps; i++) {
		double seconds;

		KC_TRY(m->between(p->device, p->marks[i], p->marks[i + 1], &seconds));
		p->steps[i].seconds += seconds;
	}
	return 0;
}

void kc_plan_profile_start(struct kc_plan *p)
{
	p->opts.profile = true;
}

static int run_steps(struct kc_plan *p)
{
	bool timed = p->opts.profile, marked = timed && p->device->memory;

	spoil(p, p->device->arena, p->arena_bytes);
	if (marked)
		KC_TRY(mark(p, 0));
	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i];
		double start = timed ? kc_now() : 0;
		int rc;

		touch(p, s);
		if (s->workspace >= 0)
			spoil(p, p->values[s->workspace].buf.data, p->values[s->workspace].bytes);
		rc = run_step(p, s);
		if (!rc && marked)
			rc = mark(p, i + 1);
		if (rc < 0)
			return kc_cause(rc, "%s (%s)", s->node ? s->node->path : "packing",
					s->op->name);
		if (p->opts.ranks)
			KC_TRY(kc_ranks_poll(p->opts.ranks));
		if (timed && !marked)
			s->seconds += kc_now() - start;
	}
	p->profiled += timed;
	return marked ? collect_marks(p) : 0;
}

static int get_ready(struct kc_plan *p)
{
	KC_TRY(kc_device_reserve(p->device, p->arena_bytes));
	for (int v = 0; v < p->n_values; v++) {
		if (p->values[v].home == KC_HOME_PACKED)
			KC_TRY(kc_packed_refresh(p->values[v].packed, p->device));
		if (p->values[v].home == KC_HOME_MASTER)
			KC_TRY(kc_params_to_device(p->values[v].param->store, p->device));
	}
	KC_TRY(kc_mirrors_refresh(p->device));
	if (!p->runs || p->resolved_arena != p->device->arena) {
		kc_plan_forget(p);
		return kc_pass_resolve(p);
	}
	return p->resolved_place == p->fed ? 0 : kc_pass_resolve(p);
}

/* What a run is on a device with memory of its own. */
static int run_and_fetch(struct kc_plan *p)
{
	KC_TRY(run_steps(p));
	return kc_results_fetch(p);
}

static int record(struct kc_plan *p, struct kc_place *at)
{
	const struct kc_memory *m = p->device->memory;
	char *why = NULL;
	int rc, end;

	KC_TRY(m->record(p->device));
	rc = run_and_fetch(p);
	if (rc < 0)
		why = kc_strdup(kc_errmsg());
	end = m->recorded(p->device, &at->recording, &p->launches);
	if (rc < 0 && at->recording) {          /* of some of the steps */
		m->forget(p->device, at->recording);
		at->recording = NULL;
	}
	if (why)                                /* the end says less */
		KC_FAIL(rc, "%s", why);
	free(why);
	return rc < 0 ? rc : end;
}

/*
 * A run that cannot be recorded may still run; its failure then is told.  Not among ranks, whose
 * messages would no longer be the same.
 */
static int run_unrecorded(struct kc_plan *p, int rc)
{
	if (p->opts.ranks && p->opts.ranks->size > 1)
		return rc;
	p->device->unrecorded = kc_strdup(kc_errmsg());
	p->device->record = false;
	return run_and_fetch(p);
}

/* The first run with these pointers is not recorded: kernels may set up tables in it. */
static int enqueue(struct kc_plan *p)
{
	struct kc_place *at = &p->place[p->fed];
	int rc;

	if (!p->device->record || p->opts.profile || !at->tables) {
		KC_TRY(run_and_fetch(p));
		at->tables = true;
		return 0;
	}
	rc = at->recording ? 0 : record(p, at);
	if (rc < 0)
		return run_unrecorded(p, rc);
	return p->device->memory->replay(p->device, at->recording);
}

static int run_on_device(struct kc_plan *p)
{
	int rc, end;

	KC_TRY(kc_slots_begin(p));
	rc = enqueue(p);
	if (p->stores)
		kc_mirrors_written(p->device);
	end = kc_slots_end(p);
	return rc < 0 ? rc : end;
}

int kc_plan_run(struct kc_plan *p)
{
	KC_TRY(get_ready(p));
	KC_TRY(p->device->memory ? run_on_device(p) : run_steps(p));
	p->runs++;
	return 0;
}
