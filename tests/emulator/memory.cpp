/* Memory of the emulator: the device's, the host's that is pinned, and what moves between them. */
#include "tests/emulator/private.h"

#include <cstdlib>
#include <map>

enum { ALIGN = 256 };

struct emu_memory { size_t bytes; bool pinned; };

static std::map<const void *, emu_memory> memory;       /* by its first byte */
static size_t n_allocations;

/* Bytes of the device. */
static size_t in_use(void)
{
	size_t bytes = 0;

	for (const auto &m : memory)
		bytes += m.second.pinned ? 0 : m.second.bytes;
	return bytes;
}

static cudaError_t allocate(void **p, size_t n, bool pinned)
{
	*p = NULL;
	if (emu_is_forbidden())
		return emu_report(cudaErrorStreamCaptureUnsupported);
	if (!n)
		return cudaSuccess;
	if ((!pinned && in_use() + n > emu_script_memory()) || posix_memalign(p, ALIGN, n))
		return emu_report(cudaErrorMemoryAllocation);
	memset(*p, 0xff, n);
	memory[*p] = {n, pinned};
	n_allocations++;
	emu_script_in_use(in_use());
	return cudaSuccess;
}

static cudaError_t release(void *p, bool pinned, const char *call)
{
	auto m = memory.find(p);

	if (!p)
		return cudaSuccess;
	if (m == memory.end() || m->second.pinned != pinned)
		return emu_report(cudaErrorInvalidValue);
	if (emu_is_forbidden())
		return emu_report(cudaErrorStreamCaptureUnsupported);
	emu_wait_all(call);
	emu_order_forget(p, m->second.bytes);
	memory.erase(m);
	n_allocations--;
	free(p);
	return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t n)
{
	return allocate(p, n, false);
}

cudaError_t cudaFree(void *p)
{
	return release(p, false, "cudaFree");
}

cudaError_t cudaHostAlloc(void **p, size_t n, unsigned)
{
	return allocate(p, n, true);
}

cudaError_t cudaFreeHost(void *p)
{
	return release(p, true, "cudaFreeHost");
}

/* What was allocated around that address, or NULL. */
static const emu_memory *around(const void *p, const void **first)
{
	auto m = memory.upper_bound(p);

	if (m == memory.begin())
		return NULL;
	--m;
	*first = m->first;
	return (const char *)p < (const char *)m->first + m->second.bytes ? &m->second : NULL;
}

/* All n bytes are the device's, or all are the host's. */
static bool lies_on(const void *p, size_t n, bool device)
{
	const void *first;
	const emu_memory *m = around(p, &first);

	if (!device)
		return !m || m->pinned;
	return m && !m->pinned && (const char *)p + n <= (const char *)first + m->bytes;
}

bool emu_is_device(const void *p, size_t n)
{
	return !n || lies_on(p, n, true);
}

static bool is_pageable(const void *p)
{
	const void *first;

	return !around(p, &first);
}

cudaError_t cudaMemGetInfo(size_t *unused, size_t *total)
{
	*total = emu_script_memory();
	*unused = *total - in_use();
	return cudaSuccess;
}

/* Copies of memory that is not pinned are not captured, and may wait for their stream. */
static cudaError_t check_copy(const void *to, const void *from, size_t n, enum cudaMemcpyKind kind,
			      cudaStream_t s)
{
	bool pageable = is_pageable(to) || is_pageable(from);

	if (!lies_on(to, n, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) ||
	    !lies_on(from, n, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice))
		return emu_report(cudaErrorInvalidValue);
	if (pageable && emu_is_captured(s))
		return emu_report(cudaErrorStreamCaptureUnsupported);
	if (pageable)
		emu_may_wait(s, "a copy of memory that is not pinned");
	return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind,
			    cudaStream_t s)
{
	cudaError_t e = n ? check_copy(to, from, n, kind, s) : cudaSuccess;

	if (e || !n)
		return e;
	emu_enqueue_work(s, [=](struct emu_stream *on) {
		emu_use(on, from, n, false, "a copy");
		emu_use(on, to, n, true, "a copy");
		memmove(to, from, n);
	});
	return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind)
{
	cudaError_t e;

	if (emu_is_forbidden())
		return emu_report(cudaErrorStreamCaptureUnsupported);
	e = cudaMemcpyAsync(to, from, n, kind, NULL);
	return e ? e : cudaStreamSynchronize(NULL);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s)
{
	if (!n)
		return cudaSuccess;
	if (!lies_on(p, n, true))
		return emu_report(cudaErrorInvalidValue);
	emu_enqueue_work(s, [=](struct emu_stream *on) {
		emu_use(on, p, n, true, "a fill");
		memset(p, value, n);
	});
	return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int value, size_t n)
{
	if (emu_is_forbidden())
		return emu_report(cudaErrorStreamCaptureUnsupported);
	return cudaMemsetAsync(p, value, n, NULL);
}

size_t emu_allocations(void)
{
	return n_allocations;
}
