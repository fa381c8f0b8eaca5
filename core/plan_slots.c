/*
 * A plan's data on the way in and out: slots, constants, fetched values.  On a device with memory
 * of its own there are two of each slot, so that the host feeds one while a run reads the other.
 */
#include "core/plan_ir.h"

#include <math.h>
#include <stdlib.h>

enum { ALIGN = 256, PADDING = 64 };     /* kernels may read a little past a slot */

/* ---- memory ---- */

static bool is_own(const struct kc_value *x)
{
	return x->home == KC_HOME_SLOT || x->home == KC_HOME_CONSTANT;
}

static size_t room_of(const struct kc_value *x)
{
	return (x->bytes + PADDING + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* A constant is one element that every place of the value repeats. */
static int write_constant(struct kc_plan *p, struct kc_value *x, void *at)
{
	struct kc_buf b = x->buf;
	double element = 0;

	b.data = &element;
	kc_put(&b, 0, x->constant);
	x->buf.data = at;
	return kc_device_put(p->device, at, &element, sizeof element);
}

static int alloc_on_host(struct kc_plan *p)
{
	for (int v = 0; v < p->n_values; v++) {
		struct kc_value *x = &p->values[v];
		struct kc_slot *s = &x->slot[0];

		if (!is_own(x))
			continue;
		s->staging = s->data = kc_calloc(x->bytes + PADDING, 1);
		if (!s->data)
			return KC_ENOMEM;
		if (x->home == KC_HOME_CONSTANT)
			KC_TRY(write_constant(p, x, s->data));
	}
	return 0;
}

/* The bytes of slots, in each place of the ring; of constants. */
static void count_room(const struct kc_plan *p, size_t *slots, size_t *constants)
{
	*slots = *constants = 0;
	for (int v = 0; v < p->n_values; v++)
		if (is_own(&p->values[v]))
			*(p->values[v].home == KC_HOME_SLOT ? slots : constants) +=
				room_of(&p->values[v]);
}

static int place_slots(struct kc_plan *p, char *at, char *staging)
{
	for (int v = 0; v < p->n_values; v++) {
		struct kc_value *x = &p->values[v];

		if (!is_own(x))
			continue;
		if (x->home == KC_HOME_CONSTANT) {
			KC_TRY(write_constant(p, x, at));
			at += room_of(x);
			continue;
		}
		for (int i = 0; i < KC_RING; i++, at += room_of(x), staging += room_of(x))
			x->slot[i] = (struct kc_slot){
				.staging = staging, .data = at, .written = p->contents};
	}
	p->results = staging;
	return 0;
}

static int make_fences(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;

	for (int i = 0; i < KC_RING; i++) {
		KC_TRY(m->fence(p->device, &p->place[i].sent));
		KC_TRY(m->fence(p->device, &p->place[i].began));
		KC_TRY(m->fence(p->device, &p->place[i].ended));
	}
	return 0;
}

static size_t result_bytes(const struct kc_plan *p)
{
	return p->result < 0 ? 0 : p->values[p->result].bytes;
}

static int alloc_on_device(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;
	size_t slots, constants, staging;
	void *pinned;

	count_room(p, &slots, &constants);
	staging = KC_RING * slots + result_bytes(p);
	p->contents = 1;
	if (slots + constants)
		KC_TRY(kc_device_alloc(p->device, KC_RING * slots + constants, &p->own_memory));
	if (staging) {
		KC_TRY(m->host_alloc(p->device, staging, &pinned));
		memset(pinned, 0, staging);
		p->staging = pinned;
	}
	KC_TRY(make_fences(p));
	return place_slots(p, p->own_memory, p->staging);
}

int kc_plan_alloc(struct kc_plan *p)
{
	for (int i = 0; i < p->n_steps; i++)
		p->stores |= (p->steps[i].op->flags & KC_OP_STATE) != 0;
	if (!p->device->memory)
		return alloc_on_host(p);
	p->ran = KC_RING - 1;           /* place 0 is fed first */
	return alloc_on_device(p);
}

void kc_plan_forget(struct kc_plan *p)
{
	for (int i = 0; i < KC_RING; i++) {
		struct kc_place *at = &p->place[i];

		if (at->recording)
			p->device->memory->forget(p->device, at->recording);
		at->recording = NULL;
		at->tables = false;
	}
}

static void free_on_device(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;

	m->wait(p->device);
	kc_plan_forget(p);
	for (int i = 0; i < KC_RING; i++) {
		void *const fences[] = {p->place[i].sent, p->place[i].began, p->place[i].ended};

		for (size_t k = 0; k < KC_COUNT(fences); k++)
			if (fences[k])
				m->fence_free(p->device, fences[k]);
	}
	if (p->staging)
		m->host_free(p->device, p->staging);
	kc_device_free(p->device, p->own_memory);
}

void kc_plan_dealloc(struct kc_plan *p)
{
	if (p->device->memory) {
		for (int i = 0; p->marks && i <= p->n_steps; i++)
			if (p->marks[i])
				p->device->memory->fence_free(p->device, p->marks[i]);
		free(p->marks);
		free_on_device(p);
		return;
	}
	for (int v = 0; v < p->n_values; v++)
		free(p->values[v].slot[0].data);
}

/* ---- the ring ---- */

static void touch_host(struct kc_plan *p, const void *at, size_t bytes, bool write,
		       const char *what)
{
	const struct kc_memory *m = p->device->memory;

	if (m->touch_host)
		m->touch_host(p->device, at, bytes, write, what);
}

/* The host may write the slot's staging memory of the place that is fed. */
static int await_slot(struct kc_plan *p, struct kc_value *x)
{
	struct kc_place *at = &p->place[p->fed];
	struct kc_slot *s = &x->slot[p->fed];

	if (s->sending > at->arrived) {
		KC_TRY(p->device->memory->await(p->device, at->sent));
		at->arrived = at->sends;
	}
	touch_host(p, s->staging, x->bytes, true, "feeding");
	return 0;
}

/* What was fed before the last run holds on. */
static int bring_over(struct kc_plan *p, struct kc_value *x)
{
	struct kc_slot *s = &x->slot[p->fed];
	const struct kc_slot *other = &x->slot[(p->fed + 1) % KC_RING];

	if (s->written >= other->written)
		return 0;
	KC_TRY(await_slot(p, x));
	touch_host(p, other->staging, x->bytes, false, "feeding");
	memcpy(s->staging, other->staging, x->bytes);
	s->written = other->written;
	return 0;
}

/* The first feeding behind a run goes to the other place. */
static void turn(struct kc_plan *p)
{
	if (p->fed == p->ran)
		p->fed = (p->ran + 1) % KC_RING;
}

static int send_slot(struct kc_plan *p, struct kc_value *x)
{
	const struct kc_memory *m = p->device->memory;
	struct kc_place *at = &p->place[p->fed];
	struct kc_slot *s = &x->slot[p->fed];

	if (s->sent == s->written)
		return 0;
	KC_TRY(m->follow(p->device, KC_LANE_SENDS, at->ended));
	KC_TRY(m->send(p->device, s->data, s->staging, x->bytes));
	s->sent = s->written;
	s->sending = ++at->sends;
	return m->mark(p->device, KC_LANE_SENDS, at->sent);
}

static bool is_slot(const struct kc_value *x)
{
	return x->home == KC_HOME_SLOT;
}

int kc_plan_send(struct kc_plan *p)
{
	if (!p->device->memory || p->fed == p->ran)
		return 0;
	for (int v = 0; v < p->n_values; v++) {
		struct kc_value *x = &p->values[v];

		/* What is old in this place may yet be fed. */
		if (is_slot(x) && x->slot[p->fed].written > x->slot[p->ran].written)
			KC_TRY(send_slot(p, x));
	}
	return 0;
}

int kc_slots_begin(struct kc_plan *p)
{
	const struct kc_memory *m = p->device->memory;
	struct kc_place *at = &p->place[p->fed];

	for (int v = 0; v < p->n_values; v++) {
		struct kc_value *x = &p->values[v];

		if (!is_slot(x))
			continue;
		KC_TRY(bring_over(p, x));
		KC_TRY(send_slot(p, x));
	}
	KC_TRY(m->mark(p->device, KC_LANE_RUNS, at->began));
	return m->follow(p->device, KC_LANE_RUNS, at->sent);
}

int kc_slots_end(struct kc_plan *p)
{
	p->ran = p->fed;
	p->ended = false;
	return p->device->memory->mark(p->device, KC_LANE_RUNS, p->place[p->ran].ended);
}

int kc_plan_wait(struct kc_plan *p)
{
	struct kc_place *at = &p->place[p->ran];

	if (!p->device->memory || p->ended)
		return 0;
	KC_TRY(p->device->memory->await(p->device, at->ended));
	at->arrived = at->sends;
	p->ended = true;
	return 0;
}

bool kc_plan_ended(const struct kc_plan *p)
{
	return !p->device->memory || p->ended ||
	       p->device->memory->passed(p->device, p->place[p->ran].ended);
}

int kc_plan_seconds(const struct kc_plan *p, double *seconds)
{
	const struct kc_place *at = &p->place[p->ran];

	KC_ASSERT(p->device->memory && p->ended);
	return p->device->memory->between(p->device, at->began, at->ended, seconds);
}

/* ---- in ---- */

static int stage(struct kc_plan *p, struct kc_value *x, bool whole)
{
	if (!p->device->memory)
		return 0;
	turn(p);
	if (!whole)
		KC_TRY(bring_over(p, x));
	KC_TRY(await_slot(p, x));
	x->slot[p->fed].written = ++p->contents;
	return 0;
}

int kc_plan_slot(struct kc_plan *p, const struct kc_tensor *input, struct kc_buf *b)
{
	int v = kc_ir_find(p, input);

	if (v < 0 || !is_slot(&p->values[v]))
		return KC_FAIL(KC_ENOENT, "the plan has no input %s",
			       kc_input_name(input) ? kc_input_name(input) : "of that kind");
	KC_TRY(stage(p, &p->values[v], false));
	*b = p->values[v].buf;
	b->data = p->values[v].slot[p->fed].staging;
	return 0;
}

int kc_plan_feed(struct kc_plan *p, const struct kc_tensor *input, const struct kc_buf *src)
{
	struct kc_value *x;
	struct kc_buf slot;
	int v = kc_ir_find(p, input);

	if (v < 0)
		return 0;
	x = &p->values[v];
	KC_ASSERT(is_slot(x));
	if (!kc_same_dims(&x->buf.type, &src->type))
		return KC_FAIL(KC_ESHAPE, "input %s is fed with another shape",
			       kc_input_name(input));
	KC_TRY(stage(p, x, true));
	slot = x->buf;
	slot.data = x->slot[p->fed].staging;
	kc_copy(&slot, src);
	return 0;
}

/* ---- out ---- */

size_t kc_ir_extent(const struct kc_buf *b)
{
	int64_t last = 0;

	if (!kc_numel(&b->type))
		return 0;
	for (int i = 0; i < b->type.ndim; i++)
		last += (b->type.dim[i] - 1) * b->stride[i];
	return (size_t)(last + 1) * kc_dtype_size((enum kc_dtype)b->type.dtype);
}

int kc_results_fetch(struct kc_plan *p)
{
	if (p->result < 0)
		return 0;
	return p->device->memory->fetch(p->device, p->results, p->values[p->result].buf.data,
					result_bytes(p));
}

/* Where the last run left that number for the host; NULL: it is on the device alone. */
static void *result_of(const struct kc_plan *p, int v)
{
	int64_t at = 0;

	if (p->result < 0 || kc_ir_root(p, v) != p->result)
		return NULL;
	for (; v != p->result; v = p->values[v].alias_of)
		at += p->values[v].alias_at;
	return p->results + at;
}

static int read_from_device(struct kc_plan *p, const struct kc_buf *b, const struct kc_buf *dst)
{
	size_t bytes = kc_ir_extent(b);
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

static int read_result(struct kc_plan *p, int v, const struct kc_buf *dst)
{
	struct kc_buf here = p->values[v].buf;

	KC_TRY(kc_plan_wait(p));
	here.data = result_of(p, v);
	touch_host(p, here.data, kc_ir_extent(&here), false, "reading");
	kc_copy(dst, &here);
	return 0;
}

int kc_plan_read(struct kc_plan *p, const struct kc_tensor *t, const struct kc_buf *dst)
{
	int v = kc_ir_find(p, t);
	const struct kc_buf *b = v < 0 ? NULL : &p->values[v].buf;

	KC_ASSERT(b && p->values[v].fetched && p->runs);
	if (!kc_same_dims(&b->type, &dst->type))
		return KC_FAIL(KC_ESHAPE, "a value is read into another shape");
	if (result_of(p, v))
		return read_result(p, v, dst);
	if (p->device->memory)
		return read_from_device(p, b, dst);
	kc_copy(dst, b);
	return 0;
}

double kc_plan_scalar(struct kc_plan *p, const struct kc_tensor *t)
{
	double x;
	struct kc_type one = t->type;
	struct kc_buf b;

	KC_ASSERT(kc_numel(&t->type) == 1);
	one.dtype = KC_F64;
	b = kc_buf_of(&x, &one, KC_PLAIN);
	return kc_plan_read(p, t, &b) < 0 ? (double)NAN : x;
}
