/* Copies of parameter stores in the memory of a device, and who is newer. */
#include "core/device.h"
#include "core/param.h"

#include <stdlib.h>

struct kc_mirror {
	struct kc_device *device;
	struct kc_mirror *next;         /* of the device's others */
	struct kc_params *params;
	void *array[KC_PARAM_ARRAYS];
	uint64_t version;               /* of the host's arrays when they were copied */
	bool newer;                     /* a plan has changed the copy since */
};

void *kc_params_array(const struct kc_params *s, enum kc_param_array which)
{
	void *const arrays[KC_PARAM_ARRAYS] = {
		[KC_ARRAY_MASTER] = s->master,	 [KC_ARRAY_GRAD] = s->grad,
		[KC_ARRAY_MOMENT1] = s->moment1, [KC_ARRAY_MOMENT2] = s->moment2,
		[KC_ARRAY_MOMENT_MAX] = s->moment_max, [KC_ARRAY_EMA] = s->ema,
	};

	return arrays[which];
}

size_t kc_params_length(const struct kc_params *s, enum kc_param_array which)
{
	return which == KC_ARRAY_MASTER ? s->count : s->trainable;
}

static size_t bytes_of(const struct kc_params *s, int which)
{
	return kc_params_length(s, (enum kc_param_array)which) * kc_dtype_size(s->dtype);
}

static int make(struct kc_params *s, struct kc_device *d)
{
	struct kc_mirror *m = kc_calloc(1, sizeof *m);

	if (!m)
		return KC_ENOMEM;
	m->device = d;
	m->params = s;
	m->version = s->version - 1;
	m->next = d->mirrors;
	d->mirrors = m;
	s->mirror = m;
	return 0;
}

/* The arrays that the host has got since the last time, too: amsgrad's comes late. */
static int upload(struct kc_mirror *m)
{
	struct kc_params *s = m->params;

	for (int i = 0; i < KC_PARAM_ARRAYS; i++) {
		const void *host = kc_params_array(s, (enum kc_param_array)i);
		size_t bytes = bytes_of(s, i);

		if (!host || !bytes)
			continue;
		if (!m->array[i])
			KC_TRY(kc_device_alloc(m->device, bytes, &m->array[i]));
		KC_TRY(kc_device_put(m->device, m->array[i], host, bytes));
	}
	m->version = s->version;
	m->newer = false;
	return 0;
}

int kc_params_to_device(struct kc_params *s, struct kc_device *d)
{
	if (!d->memory)
		return 0;
	if (!s->mirror)
		KC_TRY(make(s, d));
	KC_ASSERT(s->mirror->device == d);
	return s->mirror->version == s->version ? 0 : upload(s->mirror);
}

int kc_mirrors_refresh(struct kc_device *d)
{
	for (struct kc_mirror *m = d->mirrors; m; m = m->next)
		KC_TRY(kc_params_to_device(m->params, d));
	return 0;
}

void kc_mirrors_written(struct kc_device *d)
{
	for (struct kc_mirror *m = d->mirrors; m; m = m->next)
		m->newer = true;
}

int kc_params_to_host(struct kc_params *s)
{
	struct kc_mirror *m = s->mirror;

	if (!m || !m->newer || m->version != s->version)
		return 0;
	for (int i = 0; i < KC_PARAM_ARRAYS; i++)
		if (m->array[i])
			KC_TRY(kc_device_get(m->device,
					     kc_params_array(s, (enum kc_param_array)i),
					     m->array[i], bytes_of(s, i)));
	m->newer = false;
	return 0;
}

/* The host's array stays as it is where the copy counts, and is brought up to date from there. */
int kc_params_zero(struct kc_params *s, enum kc_param_array which)
{
	struct kc_mirror *m = s->mirror;
	void *host = kc_params_array(s, which);

	if (!host)
		return 0;
	if (!m || !m->array[which] || m->version != s->version) {
		memset(host, 0, bytes_of(s, (int)which));
		return 0;
	}
	m->newer = true;
	return m->device->memory->zero(m->device, m->array[which], bytes_of(s, (int)which));
}

void *kc_param_on(const struct kc_param *p, const struct kc_device *d, enum kc_param_array which)
{
	const struct kc_params *s = p->store;
	void *array = kc_params_array(s, which);

	if (d->memory) {
		KC_ASSERT(s->mirror && s->mirror->device == d);
		array = s->mirror->array[which];
	}
	return array ? (char *)array + p->offset * kc_dtype_size(s->dtype) : NULL;
}

void kc_mirror_free(struct kc_params *s)
{
	struct kc_mirror *m = s->mirror;

	if (!m)
		return;
	for (struct kc_mirror **at = &m->device->mirrors; *at; at = &(*at)->next)
		if (*at == m) {
			*at = m->next;
			break;
		}
	for (int i = 0; i < KC_PARAM_ARRAYS; i++)
		kc_device_free(m->device, m->array[i]);
	free(m);
	s->mirror = NULL;
}
