/* A device of the CUDA runtime: its memory, the order of work on it, recording. */
#include "layers/cuda/cublas.h"
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

static cudaStream_t stream_of(const struct kc_device *d, enum kc_lane lane)
{
	struct kc_cuda *c = kc_cuda_of(d);

	return lane == KC_LANE_SENDS ? c->sends : c->stream;
}

static int send(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	return kc_cuda_check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice,
					     kc_cuda_of(d)->sends),
			     "upload");
}

static int fetch(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	return kc_cuda_check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost,
					     kc_cuda_of(d)->stream),
			     "download");
}

/* A copy from or to memory that is not pinned may wait for its stream inside the call, where the
 * loss of another rank is not seen. */
static int put(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_wait(c, c->stream));
	KC_TRY(kc_cuda_check(
		cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, c->stream), "upload"));
	return kc_cuda_check(cudaStreamSynchronize(c->stream), "upload");
}

static int get(struct kc_device *d, void *dst, const void *src, size_t bytes)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_wait(c, c->stream));
	KC_TRY(fetch(d, dst, src, bytes));
	return kc_cuda_check(cudaStreamSynchronize(c->stream), "download");
}

static int zero(struct kc_device *d, void *p, size_t bytes)
{
	return kc_cuda_check(cudaMemsetAsync(p, 0, bytes, kc_cuda_of(d)->stream), "fill");
}

static int wait(struct kc_device *d)
{
	struct kc_cuda *c = kc_cuda_of(d);

	KC_TRY(kc_cuda_wait(c, c->sends));
	return kc_cuda_wait(c, c->stream);
}

/* ---- fences ---- */

static int fence(struct kc_device *d, void **out)
{
	cudaEvent_t event;

	(void)d;
	KC_TRY(kc_cuda_check(cudaEventCreateWithFlags(&event, cudaEventDefault), "event"));
	*out = event;
	return 0;
}

static void fence_free(struct kc_device *d, void *event)
{
	(void)d;
	cudaEventDestroy(event);
}

static int mark(struct kc_device *d, enum kc_lane lane, void *event)
{
	return kc_cuda_check(cudaEventRecord(event, stream_of(d, lane)), "order of the lanes");
}

static int follow(struct kc_device *d, enum kc_lane lane, void *event)
{
	return kc_cuda_check(cudaStreamWaitEvent(stream_of(d, lane), event, 0),
			     "order of the lanes");
}

static int await(struct kc_device *d, void *event)
{
	return kc_cuda_wait_event(kc_cuda_of(d), event);
}

static bool passed(struct kc_device *d, void *event)
{
	(void)d;
	if (cudaEventQuery(event) != cudaErrorNotReady)
		return true;
	cudaGetLastError();             /* the check of the next launch would find it */
	return false;
}

static int between(struct kc_device *d, void *from, void *to, double *seconds)
{
	float ms = 0;

	(void)d;
	KC_TRY(kc_cuda_check(cudaEventElapsedTime(&ms, from, to), "time of a run"));
	*seconds = 1e-3 * (double)ms;
	return 0;
}

/* ---- recording ---- */

static int record(struct kc_device *d)
{
	return kc_cuda_check(cudaStreamBeginCapture(kc_cuda_of(d)->stream,
						    cudaStreamCaptureModeThreadLocal),
			     "recording");
}

static int recorded(struct kc_device *d, void **recording, int *launches)
{
	cudaGraph_t graph = NULL;
	cudaGraphExec_t exec = NULL;
	size_t n = 0;
	int rc = kc_cuda_check(cudaStreamEndCapture(kc_cuda_of(d)->stream, &graph), "recording");

	if (!rc)
		rc = kc_cuda_check(cudaGraphGetNodes(graph, NULL, &n), "recording");
	if (!rc)
		rc = kc_cuda_check(cudaGraphInstantiate(&exec, graph, 0), "recording");
	if (graph)
		cudaGraphDestroy(graph);
	*recording = exec;
	*launches = (int)n;
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
	.put = put, .get = get, .send = send, .fetch = fetch, .zero = zero, .wait = wait,
	.usage = usage, .fence = fence, .fence_free = fence_free, .mark = mark,
	.follow = follow, .await = await, .passed = passed, .between = between,
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
	if (c->sends)
		cudaStreamDestroy(c->sends);
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
	return kc_cuda_check(cudaStreamCreateWithFlags(&c->sends, cudaStreamNonBlocking),
			     "opening");
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
				.strided = true, .sums = true, .roomy = true,
				.kernels = kc_cuda_rows(),
				.library_bytes = KC_CUBLAS_WORKSPACE};
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
