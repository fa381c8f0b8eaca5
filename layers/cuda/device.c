/* A device of the CUDA runtime: its memory, the order of work on it, recording. */
#include "layers/cuda/cuda.h"

#include "layers/devices.h"

#include <stdio.h>
#include <stdlib.h>

int kc_cuda_check(cudaError_t e, const char *what)
{
	if (e == cudaSuccess)
		return 0;
	cudaGetLastError();
	return KC_FAIL(e == cudaErrorMemoryAllocation ? KC_ENOMEM : KC_EBACKEND, "%s: %s", what,
		       cudaGetErrorString(e));
}

int kc_cuda_launched(int error, const char *kernel)
{
	return kc_cuda_check((cudaError_t)error, kernel);
}

/* ---- memory ---- */

static int alloc(struct kc_device *d, size_t bytes, void **out)
{
	struct kc_cuda *c = kc_cuda_of(d);
	cudaError_t e = cudaMalloc(out, bytes ? bytes : 1);
	size_t unused = 0, all = 0;

	if (e == cudaSuccess) {
		c->allocated += bytes;
		return 0;
	}
	*out = NULL;
	cudaGetLastError();
	cudaMemGetInfo(&unused, &all);
	return KC_FAIL(KC_ENOMEM,
		       "out of memory on %s: %.1f MB are wanted, %.1f of %.1f MB are unused",
		       d->name, (double)bytes / 1e6, (double)unused / 1e6, (double)all / 1e6);
}

/* The runtime waits for the whole device, too. */
static void release(struct kc_device *d, void *p)
{
	struct kc_cuda *c = kc_cuda_of(d);

	kc_cuda_wait(c, c->stream);
	cudaFree(p);
}

static int usage(struct kc_device *d, size_t *used, size_t *all)
{
	size_t unused;

	(void)d;
	KC_TRY(kc_cuda_check(cudaMemGetInfo(&unused, all), "memory"));
	*used = *all - unused;
	return 0;
}

static int host_alloc(struct kc_device *d, size_t bytes, void **out)
{
	(void)d;
	return kc_cuda_check(cudaHostAlloc(out, bytes ? bytes : 1, cudaHostAllocDefault),
			     "pinned memory");
}

static void host_release(struct kc_device *d, void *p)
{
	(void)d;
	cudaFreeHost(p);
}

/* ---- order ---- */

/* A copy from or to memory that is not pinned may wait for its stream inside the call. */
static bool waits(const void *host)
{
	struct cudaPointerAttributes a;

	if (cudaPointerGetAttributes(&a, host) == cudaSuccess)
		return a.type != cudaMemoryTypeHost;
	cudaGetLastError();
	return true;
}

static int put(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_check(cudaStreamWaitEvent(c->copy, c->done, 0), "upload"));
	if (c->nccl && waits(src))
		KC_TRY(kc_cuda_wait(c, c->copy));
	KC_TRY(kc_cuda_check(
		cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, c->copy), "upload"));
	return kc_cuda_check(cudaEventRecord(c->uploaded, c->copy), "upload");
}

static int put_done(struct kc_device *d)
{
	struct kc_cuda *c = kc_cuda_of(d);

	return kc_cuda_wait_event(c, c->uploaded);
}

static int get(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_check(cudaStreamWaitEvent(c->stream, c->uploaded, 0), "download"));
	KC_TRY(kc_cuda_wait(c, c->stream));
	KC_TRY(kc_cuda_check(
		cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, c->stream), "download"));
	return kc_cuda_check(cudaStreamSynchronize(c->stream), "download");
}

static int run_end(struct kc_device *d)
{
	struct kc_cuda *c = kc_cuda_of(d);

	return kc_cuda_check(cudaEventRecord(c->done, c->stream), "run");
}

static int zero(struct kc_device *d, void *p, size_t bytes)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_check(cudaStreamWaitEvent(c->stream, c->uploaded, 0), "fill"));
	KC_TRY(kc_cuda_check(cudaMemsetAsync(p, 0, bytes, c->stream), "fill"));
	return run_end(d);
}

static int wait(struct kc_device *d)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_wait(c, c->copy));
	return kc_cuda_wait(c, c->stream);
}

static int run_begin(struct kc_device *d)
{
	struct kc_cuda *c = kc_cuda_of(d);

	return kc_cuda_check(cudaStreamWaitEvent(c->stream, c->uploaded, 0), "run");
}

/* ---- recording ---- */

static int record(struct kc_device *d)
{
	return kc_cuda_check(cudaStreamBeginCapture(kc_cuda_of(d)->stream,
						    cudaStreamCaptureModeThreadLocal),
			     "recording");
}

static int recorded(struct kc_device *d, void **recording)
{
	cudaGraph_t graph = NULL;
	cudaGraphExec_t exec = NULL;
	int rc = kc_cuda_check(cudaStreamEndCapture(kc_cuda_of(d)->stream, &graph), "recording");

	if (!rc)
		rc = kc_cuda_check(cudaGraphInstantiate(&exec, graph, 0), "recording");
	if (graph)
		cudaGraphDestroy(graph);
	*recording = exec;
	return rc;
}

static int replay(struct kc_device *d, void *recording)
{
	return kc_cuda_check(cudaGraphLaunch(recording, kc_cuda_of(d)->stream), "replay");
}

static void forget(struct kc_device *d, void *recording)
{
	wait(d);
	cudaGraphExecDestroy(recording);
}

static const struct kc_memory memory = {
	.alloc = alloc, .free = release, .host_alloc = host_alloc, .host_free = host_release,
	.put = put, .put_done = put_done, .get = get, .zero = zero, .wait = wait,
	.usage = usage, .run_begin = run_begin, .run_end = run_end,
	.record = record, .recorded = recorded, .replay = replay, .forget = forget,
};

/* ---- tables ---- */

int kc_cuda_table(void **out, const void *bytes, size_t n)
{
	KC_TRY(kc_cuda_check(cudaMalloc(out, n ? n : 1), "table of a kernel"));
	KC_TRY(kc_cuda_check(cudaMemcpy(*out, bytes, n, cudaMemcpyHostToDevice),
			     "table of a kernel"));
	/* It returns when the bytes have been staged; streams of ours do not wait for the rest. */
	return kc_cuda_check(cudaStreamSynchronize(NULL), "table of a kernel");
}

void kc_cuda_table_free(void *p)
{
	if (p)
		cudaFree(p);
}

/* ---- opening ---- */

static const char *why_none(cudaError_t e)
{
	static char text[160];
	int driver = 0, runtime = 0;

	cudaDriverGetVersion(&driver);
	cudaRuntimeGetVersion(&runtime);
	cudaGetLastError();
	if (e == cudaErrorNoDevice || e == cudaSuccess)
		snprintf(text, sizeof text, "the driver finds no GPU");
	else if (!driver)
		snprintf(text, sizeof text, "there is no NVIDIA driver on this machine");
	else if (driver < runtime)
		snprintf(text, sizeof text,
			 "the NVIDIA driver knows CUDA up to %d.%d, this build needs %d.%d",
			 driver / 1000, driver % 100 / 10, runtime / 1000, runtime % 100 / 10);
	else
		snprintf(text, sizeof text, "%s", cudaGetErrorString(e));
	return text;
}

static int count_devices(int *n)
{
	cudaError_t e = cudaGetDeviceCount(n);

	if (e != cudaSuccess || *n < 1)
		return KC_FAIL(KC_ENOSUP, "%s", why_none(e));
	return 0;
}

static void close_device(struct kc_device *d)
{
	struct kc_cuda *c = kc_cuda_of(d);

	if (!c)
		return;
	kc_cuda_ranks_close(c);
	kc_cuda_libraries_close(c);
	if (c->done)
		cudaEventDestroy(c->done);
	if (c->uploaded)
		cudaEventDestroy(c->uploaded);
	if (c->copy)
		cudaStreamDestroy(c->copy);
	if (c->stream)
		cudaStreamDestroy(c->stream);
	free(c);
	d->own = NULL;
}

static int open_streams(struct kc_cuda *c)
{
	KC_TRY(kc_cuda_check(cudaSetDevice(c->index), "opening"));
	KC_TRY(kc_cuda_check(cudaGetDeviceProperties(&c->properties, c->index), "opening"));
	KC_TRY(kc_cuda_check(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking),
			     "opening"));
	KC_TRY(kc_cuda_check(cudaStreamCreateWithFlags(&c->copy, cudaStreamNonBlocking),
			     "opening"));
	KC_TRY(kc_cuda_check(cudaEventCreateWithFlags(&c->uploaded, cudaEventDisableTiming),
			     "opening"));
	KC_TRY(kc_cuda_check(cudaEventCreateWithFlags(&c->done, cudaEventDisableTiming),
			     "opening"));
	return kc_cuda_libraries_open(c);
}

int kc_cuda_open(struct kc_device *d, int index, const struct kc_device_choice *choice)
{
	struct kc_cuda *c;
	int n = 0, rc;

	KC_TRY(count_devices(&n));
	if (index >= n)
		return KC_FAIL(KC_ENOENT, "there %s %d CUDA device%s on this machine, cuda:0%s",
			       n == 1 ? "is" : "are", n, n == 1 ? "" : "s",
			       n == 1 ? "" : " and up");
	c = kc_calloc(1, sizeof *c);
	if (!c)
		return KC_ENOMEM;
	c->index = index;
	c->tf32 = choice->tf32;
	c->autotune = !choice->no_autotune;
	snprintf(c->name, sizeof c->name, "cuda:%d", index);
	*d = (struct kc_device){.name = c->name, .memory = &memory, .own = c,
				.close = close_device, .record = !choice->no_record,
				.strided = true, .roomy = true,
				.kernels = kc_cuda_rows()};
	rc = open_streams(c);
	snprintf(c->about, sizeof c->about, "%s, compute capability %d.%d", c->properties.name,
		 c->properties.major, c->properties.minor);
	d->about = c->about;
	d->fast_bf16 = c->properties.major >= 8;
	if (rc < 0)
		kc_device_release(d);
	return rc;
}

char *kc_cuda_list(void)
{
	char *text = kc_strdup("");
	int n = 0, driver = 0;

	if (count_devices(&n) < 0) {
		free(text);
		return kc_format("cuda: none: %s\n", kc_errmsg());
	}
	cudaDriverGetVersion(&driver);
	for (int i = 0; text && i < n; i++) {
		struct cudaDeviceProp p;
		char *before = text;

		if (cudaGetDeviceProperties(&p, i) != cudaSuccess)
			text = kc_format("%scuda:%d: %s\n", before, i,
					 cudaGetErrorString(cudaGetLastError()));
		else
			text = kc_format("%scuda:%d: %s, %.0f GiB, compute capability %d.%d, "
					 "driver for CUDA %d.%d\n",
					 before, i, p.name,
					 (double)p.totalGlobalMem / (double)(1 << 30), p.major,
					 p.minor, driver / 1000, driver % 100 / 10);
		free(before);
	}
	return text;
}
