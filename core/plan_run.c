/* Running a plan, and its data on the way in and out. */
#include "core/plan_ir.h"

#include <math.h>
#include <stdlib.h>

enum { ALIGN = 256, PADDING = 64 };     /* kernels may read a little past a slot */

/* ---- memory of slots and constants ---- */

static bool is_own(const struct kc_value *x)
{
	return x->home == KC_HOME_SLOT || x->home == KC_HOME_CONSTANT;
}

static size_t room_of(const struct kc_value *x)
{
	return (x->bytes + PADDING + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static int host_alloc(struct kc_device *d, size_t bytes, void **out)
{
	if (d->memory)
		return d->memory->host_alloc(d, bytes, out);
	*out = kc_calloc(bytes, 1);
	return *out ? 0 : KC_ENOMEM;
}

static void host_free(struct kc_device *d, void *p)
{
	if (p && d->memory)
		d->memory->host_free(d, p);
	else
		free(p);
}

/* A constant is one element that every place of the value repeats. */
static int place(struct kc_plan *p, struct kc_value *x, char *at)
{
	struct kc_buf b = x->buf;
	double element = 0;

	if (x->home == KC_HOME_SLOT) {
		KC_TRY(host_alloc(p->device, x->bytes + PADDING, &x->staging));
		if (p->device->memory)
			memset(x->staging, 0, x->bytes + PADDING);
		x->buf.data = at ? at : x->staging;
		return 0;
	}
	b.data = &element;
	kc_put(&b, 0, x->constant);
	if (!at) {
		KC_TRY(host_alloc(p->device, x->bytes + PADDING, &x->staging));
		at = x->staging;
	}
	x->buf.data = at;
	return kc_device_put(p->device, at, &element, sizeof element);
}

int kc_plan_alloc(struct kc_plan *p)
{
	size_t bytes = 0;
	char *at = NULL;

	for (int v = 0; v < p->n_values; v++)
		if (is_own(&p->values[v]))
			bytes += room_of(&p->values[v]);
	if (p->device->memory && bytes) {
		KC_TRY(kc_device_alloc(p->device, bytes, &p->own_memory));
		at = p->own_memory;
	}
	for (int v = 0; v < p->n_values; v++) {
		struct kc_value *x = &p->values[v];

		if (!is_own(x))
			continue;
		KC_TRY(place(p, x, at));
		if (at)
			at += room_of(x);
	}
	for (int i = 0; i < p->n_steps; i++)
		p->stores |= (p->steps[i].op->flags & KC_OP_STATE) != 0;
	return 0;
}

static void forget_recording(struct kc_plan *p)
{
	if (p->recording)
		p->device->memory->forget(p->device, p->recording);
	p->recording = NULL;
}

void kc_plan_dealloc(struct kc_plan *p)
{
	if (p->device->memory)
		p->device->memory->wait(p->device);
	forget_recording(p);
	for (int v = 0; v < p->n_values; v++)
		if (is_own(&p->values[v]))
			host_free(p->device, p->values[v].staging);
	kc_device_free(p->device, p->own_memory);
}

/* ---- running ---- */

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

/* Bytes between the first and the last element. */
static size_t extent(const struct kc_buf *b)
{
	int64_t last = 0;

	if (!kc_numel(&b->type))
		return 0;
	for (int i = 0; i < b->type.ndim; i++)
		last += (b->type.dim[i] - 1) * b->stride[i];
	return (size_t)(last + 1) * kc_dtype_size((enum kc_dtype)b->type.dtype);
}

/* Tells a device that checks the order of work what the step is going to use. */
static void touch(const struct kc_plan *p, const struct kc_step *s)
{
	const struct kc_memory *m = p->device->memory;

	if (!m || !m->touch)
		return;
	for (int k = 0; k < s->n_in + s->n_out; k++)
		m->touch(p->device, s->bufs[k].data, extent(&s->bufs[k]), k >= s->n_in,
			 s->op->name);
}

static int run_steps(struct kc_plan *p)
{
	bool timed = p->opts.profile;

	for (int i = 0; i < p->n_steps; i++) {
		struct kc_step *s = &p->steps[i];
		double start = timed ? kc_now() : 0;
		int rc;

		touch(p, s);
		rc = run_step(p, s);
		if (!rc && timed && p->device->memory)
			rc = p->device->memory->wait(p->device);
		if (rc < 0)
			return kc_cause(rc, "%s (%s)", s->node ? s->node->path : "packing",
					s->op->name);
		if (p->opts.ranks)
			KC_TRY(kc_ranks_poll(p->opts.ranks));
		if (timed)
			s->seconds += kc_now() - start;
	}
	return 0;
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
		KC_TRY(kc_pass_resolve(p));
		p->runs_since_resolve = 0;
		if (p->device->memory)
			forget_recording(p);
	}
	return 0;
}

static int upload_slots(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;

	for (int v = 0; v < p->n_values; v++) {
		const struct kc_value *x = &p->values[v];

		if (x->home == KC_HOME_SLOT)
			KC_TRY(m->put(p->device, x->buf.data, x->staging, x->bytes));
	}
	p->staged = true;
	return 0;
}

/* The first run after pointers were resolved is not recorded: kernels may set up tables in it. */
static int record(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;
	int rc, end;

	KC_TRY(m->record(p->device));
	rc = run_steps(p);
	end = m->recorded(p->device, &p->recording);
	if (rc < 0) {
		forget_recording(p);            /* of some of the steps */
		return rc;
	}
	return end;
}

static int run_on_device(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;
	bool recorded = p->device->record && !p->opts.profile && p->runs_since_resolve > 0;

	KC_TRY(upload_slots(p));
	KC_TRY(m->run_begin(p->device));
	if (recorded && !p->recording)
		KC_TRY(record(p));
	KC_TRY(recorded ? m->replay(p->device, p->recording) : run_steps(p));
	if (p->stores)
		kc_mirrors_written(p->device);
	return m->run_end(p->device);
}

int kc_plan_run(struct kc_plan *p)
{
	KC_TRY(get_ready(p));
	KC_TRY(p->device->memory ? run_on_device(p) : run_steps(p));
	p->runs++;
	p->runs_since_resolve++;
	return 0;
}

/* ---- data in and out ---- */

/* The slot's memory of the host is free to be written. */
static int unstage(struct kc_plan *p)
{
	if (!p->staged)
		return 0;
	p->staged = false;
	return p->device->memory->put_done(p->device);
}

int kc_plan_slot(struct kc_plan *p, const struct kc_tensor *input, struct kc_buf *b)
{
	int v = kc_ir_find(p, input);

	if (v < 0 || p->values[v].home != KC_HOME_SLOT)
		return KC_FAIL(KC_ENOENT, "the plan has no input %s",
			       kc_input_name(input) ? kc_input_name(input) : "of that kind");
	KC_TRY(unstage(p));
	*b = p->values[v].buf;
	b->data = p->values[v].staging;
	return 0;
}

int kc_plan_feed(struct kc_plan *p, const struct kc_tensor *input, const struct kc_buf *src)
{
	struct kc_buf slot;
	int v = kc_ir_find(p, input);

	if (v < 0)
		return 0;
	KC_ASSERT(p->values[v].home == KC_HOME_SLOT);
	if (!kc_same_dims(&p->values[v].buf.type, &src->type))
		return KC_FAIL(KC_ESHAPE, "input %s is fed with another shape",
			       kc_input_name(input));
	KC_TRY(kc_plan_slot(p, input, &slot));
	kc_copy(&slot, src);
	return 0;
}

static int read_from_device(struct kc_plan *p, const struct kc_buf *b, const struct kc_buf *dst)
{
	size_t bytes = extent(b);
	struct kc_buf here = *b;
	int rc;

	here.data = kc_alloc(bytes);
	if (!here.data)
		return KC_ENOMEM;
	rc = kc_device_get(p->device, here.data, b->data, bytes);
	if (!rc)
		kc_copy(dst, &here);
	free(here.data);
	return rc;
}

int kc_plan_read(struct kc_plan *p, const struct kc_tensor *t, const struct kc_buf *dst)
{
	int v = kc_ir_find(p, t);
	const struct kc_buf *b = v < 0 ? NULL : &p->values[v].buf;

	KC_ASSERT(b && p->values[v].fetched && p->runs);
	if (!kc_same_dims(&b->type, &dst->type))
		return KC_FAIL(KC_ESHAPE, "a value is read into another shape");
	if (p->device->memory)
		return read_from_device(p, b, dst);
	kc_copy(dst, b);
	return 0;
}

double kc_plan_scalar(struct kc_plan *p, const struct kc_tensor *t)
{
	int v = kc_ir_find(p, t);
	struct kc_buf b;
	double element = 0;

	KC_ASSERT(v >= 0 && p->values[v].fetched && kc_numel(&t->type) == 1);
	b = p->values[v].buf;
	if (kc_device_get(p->device, &element, b.data,
			  kc_dtype_size((enum kc_dtype)b.type.dtype)) < 0)
		return (double)NAN;
	b.data = &element;
	return kc_get(&b, 0);
}
