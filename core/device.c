#include "core/device.h"

#include "core/plan_ir.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, ALIGN = 256 };

int kc_device_alloc(struct kc_device *d, size_t bytes, void **out)
{
	if (d->memory)
		return d->memory->alloc(d, bytes, out);
	*out = aligned_alloc(ALIGN, (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1));
	return *out ? 0 : KC_FAIL(KC_ENOMEM, "out of memory: %zu bytes", bytes);
}

void kc_device_free(struct kc_device *d, void *p)
{
	if (p && d->memory)
		d->memory->free(d, p);
	else
		free(p);
}

int kc_device_put(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	if (d->memory)
		return d->memory->put(d, dst, src, bytes);
	memcpy(dst, src, bytes);
	return 0;
}

int kc_device_get(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	if (d->memory)
		return d->memory->get(d, dst, src, bytes);
	memcpy(dst, src, bytes);
	return 0;
}

static void free_arena(struct kc_device *d)
{
	if (d->arena && d->memory)
		d->memory->free(d, d->arena);
	else if (d->arena)
		munmap(d->arena, d->arena_bytes);
	d->arena = NULL;
	d->arena_bytes = 0;
}

int kc_device_reserve(struct kc_device *d, size_t bytes)
{
	size_t size = (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
	void *p;

	if (size <= d->arena_bytes)
		return 0;
	free_arena(d);
	if (d->memory) {
		KC_TRY(d->memory->alloc(d, size, &d->arena));
		d->arena_bytes = size;
		return 0;
	}
	p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return KC_FAIL(KC_ENOMEM, "out of memory: the plan needs %.1f MB",
			       (double)bytes / 1e6);
	d->arena = p;
	d->arena_bytes = size + HUGE_PAGE;
	madvise(p, d->arena_bytes, MADV_HUGEPAGE);
	return 0;
}

void *kc_device_scratch(struct kc_device *d, size_t bytes)
{
	if (bytes <= d->scratch_bytes)
		return d->scratch;
	free(d->scratch);
	d->scratch = kc_alloc(bytes);
	d->scratch_bytes = d->scratch ? bytes : 0;
	return d->scratch;
}

void kc_device_unpack(struct kc_device *d)
{
	for (struct kc_packed *k = d->packed, *next; k; k = next) {
		next = k->next;
		if (k->pack.release)
			k->pack.release(&k->pack);
		kc_device_free(d, k->data);
		free(k);
	}
	d->packed = NULL;
	d->packed_bytes = 0;
}

void kc_device_release(struct kc_device *d)
{
	free_arena(d);
	free(d->scratch);
	free(d->unrecorded);
	kc_device_unpack(d);
	d->scratch = NULL;
	d->unrecorded = NULL;
	d->scratch_bytes = 0;
	if (d->close)
		d->close(d);
}

void kc_device_reference(struct kc_device *d)
{
	*d = (struct kc_device){.name = "reference", .threads = 1};
}

int kc_packed_refresh(struct kc_packed *k, struct kc_device *d)
{
	struct kc_buf src = kc_param_master(k->param);

	if (k->version == k->param->version + 1)
		return 0;
	KC_TRY(kc_params_to_device(k->param->store, d));
	src.data = kc_param_on(k->param, d, KC_ARRAY_MASTER);
	KC_TRY(k->pack.run(&k->pack, &src, k->data));
	k->version = k->param->version + 1;
	return 0;
}

int kc_packed_get(struct kc_device *d, struct kc_param *param, struct kc_pack *want,
		  struct kc_packed **out)
{
	struct kc_packed *k;

	for (k = d->packed; k; k = k->next)
		if (k->serial == param->serial && !strcmp(k->pack.key, want->key)) {
			if (want->release)
				want->release(want);
			*out = k;
			return 0;
		}
	k = kc_calloc(1, sizeof *k);
	if (!k || kc_device_alloc(d, want->bytes, &k->data) < 0) {
		free(k);
		if (want->release)
			want->release(want);
		return kc_cause(KC_ENOMEM, "packed parameters");
	}
	k->param = param;
	k->serial = param->serial;
	k->pack = *want;
	k->next = d->packed;
	d->packed = k;
	d->packed_bytes += want->bytes;
	*out = k;
	return 0;
}
