#include "core/device.h"

#include "core/plan_ir.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

int kc_device_reserve(struct kc_device *d, size_t bytes)
{
	size_t size = (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
	void *p;

	if (size <= d->arena_bytes)
		return 0;
	if (d->arena)
		munmap(d->arena, d->arena_bytes);
	d->arena = NULL;
	d->arena_bytes = 0;
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

void kc_device_release(struct kc_device *d)
{
	if (d->arena)
		munmap(d->arena, d->arena_bytes);
	free(d->scratch);
	for (struct kc_packed *k = d->packed, *next; k; k = next) {
		next = k->next;
		if (k->pack.release)
			k->pack.release(&k->pack);
		free(k->data);
		free(k);
	}
	d->arena = NULL;
	d->arena_bytes = 0;
	d->scratch = NULL;
	d->scratch_bytes = 0;
	d->packed = NULL;
	d->packed_bytes = 0;
}

void kc_device_reference(struct kc_device *d)
{
	*d = (struct kc_device){.name = "reference", .threads = 1};
}

int kc_packed_refresh(struct kc_packed *k)
{
	struct kc_buf src = kc_param_master(k->param);

	if (k->version == k->param->version + 1)
		return 0;
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
	if (k)
		k->data = aligned_alloc(64, (want->bytes + 63) & ~(size_t)63);
	if (!k || !k->data) {
		free(k);
		if (want->release)
			want->release(want);
		return KC_FAIL(KC_ENOMEM, "out of memory: %zu bytes of packed parameters",
			       want->bytes);
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
