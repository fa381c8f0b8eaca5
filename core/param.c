#include "core/param.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct kc_params *kc_params_new(enum kc_dtype dtype)
{
	struct kc_params *s = kc_calloc(1, sizeof *s);

	KC_ASSERT(dtype == KC_F32 || dtype == KC_F64);
	if (s)
		s->dtype = dtype;
	return s;
}

static size_t array_bytes(const struct kc_params *s, size_t n)
{
	return n * kc_dtype_size(s->dtype);
}

/* Large arrays are mapped, so that pages nobody touches cost nothing. */
static void *map_array(struct kc_params *s, size_t n)
{
	size_t bytes = array_bytes(s, KC_MAX(n, (size_t)1));
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		KC_FAIL(KC_ENOMEM, "out of memory: %zu bytes of parameters", bytes);
		return NULL;
	}
	s->bytes += bytes;
	return p;
}

static void unmap_array(const struct kc_params *s, void *p, size_t n)
{
	if (p)
		munmap(p, array_bytes(s, KC_MAX(n, (size_t)1)));
}

void kc_params_free(struct kc_params *s)
{
	if (!s)
		return;
	kc_mirror_free(s);
	for (size_t i = 0; i < s->n; i++) {
		free((char *)s->v[i]->name);
		free(s->v[i]);
	}
	unmap_array(s, s->master, s->count);
	unmap_array(s, s->grad, s->trainable);
	unmap_array(s, s->moment1, s->trainable);
	unmap_array(s, s->moment2, s->trainable);
	unmap_array(s, s->moment_max, s->trainable);
	unmap_array(s, s->ema, s->trainable);
	free(s->v);
	free(s);
}

struct kc_param *kc_params_find(const struct kc_params *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i]->name, name))
			return s->v[i];
	return NULL;
}

static atomic_uint_fast64_t serials;

static struct kc_param *add_param(struct kc_params *s, const char *name,
				  const struct kc_param *like)
{
	struct kc_param *p;

	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct kc_param **v = kc_realloc(s->v, room, sizeof(struct kc_param *));

		if (!v)
			return NULL;
		s->v = v;
		s->room = room;
	}
	p = kc_calloc(1, sizeof *p);
	if (!p)
		return NULL;
	*p = *like;
	p->store = s;
	p->serial = atomic_fetch_add(&serials, 1) + 1;
	p->name = kc_strdup(name);
	if (!p->name) {
		free(p);
		return NULL;
	}
	return s->v[s->n++] = p;
}

struct kc_param *kc_params_get(struct kc_params *s, const char *name, const struct kc_param *like)
{
	struct kc_param *p = kc_params_find(s, name);
	char have[96], want[96];

	if (p && !kc_same_dims(&p->type, &like->type)) {
		KC_FAIL(KC_ESHAPE, "parameter %s has shape %s, asked for %s", name,
			kc_dims_text(&p->type, have), kc_dims_text(&like->type, want));
		return NULL;
	}
	if (p)
		return p;
	if (s->allocated) {
		KC_FAIL(KC_EINVAL, "parameter %s is not part of the allocated model", name);
		return NULL;
	}
	return add_param(s, name, like);
}

static void lay_out(struct kc_params *s, bool trainable)
{
	for (size_t i = 0; i < s->n; i++) {
		struct kc_param *p = s->v[i];

		if (p->trainable != trainable)
			continue;
		p->offset = s->count;
		/* Every parameter begins on a 64-byte line; the gaps stay zero. */
		s->count += ((size_t)kc_numel(&p->type) + 15) & ~(size_t)15;
	}
}

int kc_params_alloc(struct kc_params *s, bool with_moments, bool with_ema)
{
	KC_ASSERT(!s->allocated);
	lay_out(s, true);
	s->trainable = s->count;
	lay_out(s, false);
	s->master = map_array(s, s->count);
	s->grad = map_array(s, s->trainable);
	if (!s->master || !s->grad)
		return KC_ENOMEM;
	if (with_moments) {
		s->moment1 = map_array(s, s->trainable);
		s->moment2 = map_array(s, s->trainable);
		if (!s->moment1 || !s->moment2)
			return KC_ENOMEM;
	}
	if (with_ema && !(s->ema = map_array(s, s->trainable)))
		return KC_ENOMEM;
	s->allocated = true;
	return 0;
}

int kc_params_alloc_max(struct kc_params *s)
{
	KC_ASSERT(s->allocated && !s->moment_max);
	s->moment_max = map_array(s, s->trainable);
	return s->moment_max ? 0 : KC_ENOMEM;
}

struct kc_buf kc_param_array(const struct kc_param *p, void *array)
{
	struct kc_type t = p->type;

	t.dtype = (int)p->store->dtype;
	return kc_buf_of((char *)array + array_bytes(p->store, p->offset), &t, KC_PLAIN);
}

struct kc_buf kc_param_master(const struct kc_param *p)
{
	return kc_param_array(p, p->store->master);
}

size_t kc_param_bytes(const struct kc_param *p)
{
	return (size_t)kc_numel(&p->type) * kc_dtype_size(p->store->dtype);
}

void kc_param_changed(struct kc_param *p)
{
	p->version++;
	p->store->version++;
}

double kc_params_at(const struct kc_params *s, const void *array, size_t i)
{
	return s->dtype == KC_F64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

void kc_params_put(const struct kc_params *s, void *array, size_t i, double x)
{
	if (s->dtype == KC_F64)
		((double *)array)[i] = x;
	else
		((float *)array)[i] = (float)x;
}
