/* The emulator of CUDA itself: right kernels give right results, planted faults are found. */
#include "core/plan.h"
#include "layers/layers.h"
#include "tests/emulator/device.h"
#include "tests/emulator/planted.h"
#include "tests/fault.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT = 256, BLOCK = 64 };

static float *device_floats(int n)
{
	void *p;

	KC_ASSERT(!cudaMalloc(&p, (size_t)n * sizeof(float)));
	return p;
}

static float *ramp(int n)
{
	float *x = device_floats(n);

	for (int i = 0; i < n; i++)
		x[i] = (float)(i % 61);
	return x;
}

static bool right_sums(int fault)
{
	float *x = ramp(COUNT), *y = device_floats(COUNT);
	bool right = true;

	KC_ASSERT(!planted_sums(y, x, COUNT, fault, NULL));
	for (int b = 0; b < COUNT; b += BLOCK) {
		float sum = 0;

		for (int i = b; i < b + BLOCK; i++)
			sum += x[i];
		for (int i = b; i < b + BLOCK; i++)
			right &= y[i] == x[i] + sum;
	}
	cudaFree(x);
	cudaFree(y);
	return right;
}

static void test_blocks(void)
{
	int *x, *counts, n = 1000;
	void *p;

	for (uint64_t seed = 0; seed < 20; seed++) {
		emu_seed(seed);
		KC_CHECK(right_sums(PLANTED_NOTHING));
		KC_CHECK(!right_sums(PLANTED_NO_BARRIER));
	}
	KC_ASSERT(!cudaMalloc(&p, (size_t)n * sizeof(int)));
	x = p;
	KC_ASSERT(!cudaMalloc(&p, 8 * sizeof(int)));
	counts = p;
	for (int i = 0; i < n; i++)
		x[i] = i * i % 8;
	cudaMemset(counts, 0, 8 * sizeof(int));
	KC_CHECK(!planted_count(counts, x, n, NULL));
	KC_CHECK(counts[0] == 250 && counts[1] == 500 && counts[4] == 250 && !counts[2]);
	cudaFree(x);
	cudaFree(counts);
	KC_CHECK(emu_allocations() == 0);
}

static void divergent(void)
{
	right_sums(PLANTED_DIVERGENT);
}

static void plain(void)
{
	right_sums(PLANTED_PLAIN);
}

static void shuffle(void)
{
	right_sums(PLANTED_SHUFFLE);
}

static void test_divergence(void)
{
	kc_test_fault(divergent, "barrier not reached by all");
	kc_test_fault(plain, "in a kernel of KC_LAUNCH");
	kc_test_fault(shuffle, "barrier not reached by all");
}

static void outside(void)
{
	float *x = ramp(COUNT), *y = device_floats(COUNT);

	planted_shift(y, x, COUNT, 1, NULL);
}

static void behind_shared(void)
{
	right_sums(PLANTED_SHARED);
}

static void test_bounds(void)
{
#ifdef __SANITIZE_ADDRESS__
	kc_test_fault(outside, "heap-buffer-overflow");
	kc_test_fault(behind_shared, "use-after-poison");
#else
	(void)outside, (void)behind_shared;
	kc_test_skip("needs the address sanitizer");
#endif
}

static void unaligned(void)
{
	float *x = ramp(COUNT), *y = device_floats(COUNT);

	planted_packs(y, x + 2, COUNT / 8, NULL);
}

static void test_alignment(void)
{
	float *x = ramp(COUNT), *y = device_floats(COUNT);

	KC_CHECK(!planted_packs(y, x + 4, COUNT / 8, NULL) && y[5] == x[9]);
	cudaFree(x);
	cudaFree(y);
#ifdef __SANITIZE_ADDRESS__
	kc_test_fault(unaligned, "misaligned address");
#else
	kc_test_fault(unaligned, "is not a multiple of what is read");
#endif
}

static void empty_grid(void)
{
	float *x = ramp(COUNT);

	planted_sums(x, x, 0, PLANTED_NOTHING, NULL);
}

static void shared_not_asked_for(void)
{
	planted_shared(64 << 10, 0, NULL);
}

static void test_limits(void)
{
	float *x = device_floats(7);

	kc_test_fault(empty_grid, "a grid of 0 x 1 x 1 blocks");
	kc_test_fault(shared_not_asked_for, "65536 bytes of shared memory were not asked for");
	KC_CHECK(!planted_shared(99 << 10, 1, NULL));
	KC_CHECK(planted_shared((99 << 10) + 16, 1, NULL) == cudaErrorInvalidValue);
	for (int i = 0; i < 7; i++)
		KC_CHECK(x[i] != x[i]);
	cudaFree(x);
}

/* What a kernel finds where nothing was written: also in a run that is replayed. */
static void test_unwritten(void)
{
	static const double one[] = {1, 2, 3, 4};
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", KC_TYPE(KC_REAL, 4)), *y = kc_square(g, x);
	struct kc_plan_opts opts = {0};
	struct kc_type type = KC_TYPE(KC_F64, 4);
	struct kc_buf in = kc_buf_of((void *)one, &type, KC_PLAIN);
	struct kc_device d;
	struct kc_plan *p;

	KC_CHECK_OK(kc_emulator_open(&d));
	KC_CHECK_OK(kc_plan_build(&p, g, &d, &y, 1, &opts));
	KC_CHECK_OK(kc_plan_feed(p, x, &in));
	for (int run = 0; run < 4; run++) {
		float *arena;

		KC_CHECK_OK(kc_plan_run(p));
		arena = d.arena;
		KC_CHECK(arena[0] == 1 && arena[3] == 16 && arena[4] != arena[4]);
		for (int i = 0; i < 8; i++)
			arena[i] = 0;
	}
	kc_plan_free(p);
	kc_device_release(&d);
	kc_graph_free(g);
}

/* ---- streams ---- */

struct two { cudaStream_t a, b; cudaEvent_t done; float *x, *y; void *pinned; };

static struct two two_streams(void)
{
	struct two s;

	cudaStreamCreateWithFlags(&s.a, cudaStreamNonBlocking);
	cudaStreamCreateWithFlags(&s.b, cudaStreamNonBlocking);
	cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming);
	s.x = ramp(COUNT);
	s.y = device_floats(COUNT);
	KC_ASSERT(!cudaHostAlloc(&s.pinned, COUNT * sizeof(float), cudaHostAllocDefault));
	return s;
}

static void two_release(struct two *s)
{
	cudaStreamDestroy(s->a);
	cudaStreamDestroy(s->b);
	cudaEventDestroy(s->done);
	cudaFree(s->x);
	cudaFree(s->y);
	cudaFreeHost(s->pinned);
}

/* One stream writes y, the other reads it. */
static void hand_over(struct two *s, bool with_event)
{
	size_t bytes = COUNT * sizeof(float);

	cudaMemcpyAsync(s->y, s->x, bytes, cudaMemcpyDeviceToDevice, s->a);
	cudaEventRecord(s->done, s->a);
	if (with_event)
		KC_CHECK(!cudaStreamWaitEvent(s->b, s->done, 0));
	emu_touch(s->b, s->y, bytes, 0, "the reader");
}

static void missing_event(void)
{
	struct two s = two_streams();

	hand_over(&s, false);
}

/* The host writes again while a copy may still read. */
static void early_host(void)
{
	struct two s = two_streams();

	cudaMemcpyAsync(s.y, s.pinned, 64, cudaMemcpyHostToDevice, s.a);
	emu_touch_host(s.pinned, 64, 1, "the loader");
}

/* One element behind what was allocated. */
static void touch_outside(void)
{
	struct two s = two_streams();

	emu_touch(s.a, s.y, (COUNT + 1) * sizeof(float), 0, "a step");
}

static void test_order(void)
{
	struct two s = two_streams();

	hand_over(&s, true);
	KC_CHECK(!cudaMemcpyAsync(s.pinned, s.y, 64, cudaMemcpyDeviceToHost, s.b));
	cudaStreamSynchronize(s.b);
	emu_touch_host(s.pinned, 64, 0, "the host");
	two_release(&s);
	kc_test_fault(missing_event, "the reader reads what a copy of another stream uses");
	kc_test_fault(touch_outside, "a step uses 1028 bytes that are not all the device's");
	kc_test_fault(early_host, "the loader writes what a copy of another stream uses");
}

/* ---- graphs ---- */

/* Two branches from one stream, and back. */
static cudaGraph_t captured(struct two *s, bool with_event, bool joined)
{
	size_t bytes = COUNT * sizeof(float);
	cudaGraph_t graph;

	KC_CHECK(!cudaStreamBeginCapture(s->a, cudaStreamCaptureModeGlobal));
	if (!with_event) {      /* the other stream joins too early */
		cudaEventRecord(s->done, s->a);
		cudaStreamWaitEvent(s->b, s->done, 0);
	}
	emu_touch(s->a, s->x, bytes, 0, "sums");
	emu_touch(s->a, s->y, bytes, 1, "sums");
	KC_CHECK(!planted_sums(s->y, s->x, COUNT, PLANTED_NOTHING, s->a));
	cudaEventRecord(s->done, s->a);
	if (with_event)
		cudaStreamWaitEvent(s->b, s->done, 0);
	cudaMemcpyAsync(s->x, s->y, bytes, cudaMemcpyDeviceToDevice, s->b);
	if (joined) {
		cudaEventRecord(s->done, s->b);
		cudaStreamWaitEvent(s->a, s->done, 0);
	}
	KC_CHECK(cudaStreamEndCapture(s->a, &graph) ==
		 (joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined));
	cudaGetLastError();
	return graph;
}

static void replay(struct two *s, cudaGraph_t graph, int times)
{
	cudaGraphExec_t exec;

	KC_CHECK(!cudaGraphInstantiate(&exec, graph, 0));
	for (int i = 0; i < times; i++)
		KC_CHECK(!cudaGraphLaunch(exec, s->a));
	KC_CHECK(!cudaStreamSynchronize(s->a));
	cudaGraphExecDestroy(exec);
	cudaGraphDestroy(graph);
}

static void race_in_graph(void)
{
	struct two s = two_streams();

	replay(&s, captured(&s, false, true), 1);
}

static void test_graphs(void)
{
	struct two s = two_streams();
	uint64_t launches = emu_launches();
	cudaGraph_t graph;

	KC_CHECK(!captured(&s, true, false));
	graph = captured(&s, true, true);
	KC_CHECK(emu_launches() == launches);
	KC_CHECK(s.x[0] == 0);
	replay(&s, graph, 3);
	KC_CHECK(emu_launches() == launches + 3);
	KC_CHECK(s.x[1] - s.x[0] == 1 && s.x[0] > 64 * 64 * 64);
	two_release(&s);
	KC_CHECK(emu_allocations() == 0);
	kc_test_fault(race_in_graph, "a copy");
}

/* ---- what the real one refuses ---- */

static cudaError_t try_malloc(struct two *s)
{
	void *p;

	(void)s;
	return cudaMalloc(&p, 8);
}

static cudaError_t try_free(struct two *s)
{
	return cudaFree(s->y);
}

static cudaError_t try_wait(struct two *s)
{
	return cudaStreamSynchronize(s->b);
}

static cudaError_t try_query(struct two *s)
{
	return cudaStreamQuery(s->a);
}

static cudaError_t try_event(struct two *s)
{
	return cudaEventQuery(s->done);
}

static cudaError_t try_pageable(struct two *s)
{
	float x[4] = {0};

	return cudaMemcpyAsync(s->x, x, sizeof x, cudaMemcpyHostToDevice, s->a);
}

static void test_capture(void)
{
	static cudaError_t (*const tries[])(struct two *) = {try_malloc, try_free, try_wait,
							     try_query, try_event};
	struct two s = two_streams();
	cudaGraph_t graph;

	for (size_t i = 0; i < KC_COUNT(tries); i++) {
		KC_CHECK(!cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
		KC_CHECK(tries[i](&s) == cudaErrorStreamCaptureUnsupported);
		KC_CHECK(cudaStreamEndCapture(s.a, &graph) == cudaErrorStreamCaptureInvalidated);
		KC_CHECK(!graph && !cudaStreamSynchronize(s.a));
	}
	KC_CHECK(!cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
	KC_CHECK(try_pageable(&s) == cudaErrorStreamCaptureUnsupported);
	cudaEventRecord(s.done, s.a);
	KC_CHECK(cudaEventQuery(s.done) == cudaErrorCapturedEvent);
	KC_CHECK(!cudaStreamEndCapture(s.a, &graph));
	KC_CHECK(cudaStreamWaitEvent(s.b, s.done, 0) == cudaErrorCapturedEvent);
	cudaGraphDestroy(graph);
	KC_CHECK(!try_pageable(&s));
	cudaGetLastError();
	two_release(&s);
}

static void test_misuse(void)
{
	struct two s = two_streams();
	float x[2 * COUNT] = {0};
	cudaEvent_t timed;
	float ms;

	KC_CHECK(cudaMemcpyAsync(s.x, s.y, 4, cudaMemcpyHostToDevice, s.a));
	KC_CHECK(cudaMemcpyAsync(x, s.pinned, 4, cudaMemcpyDeviceToHost, s.a));
	KC_CHECK(cudaMemcpyAsync(s.x, x, sizeof x, cudaMemcpyHostToDevice, s.a));
	KC_CHECK(cudaMemsetAsync(s.pinned, 0, 4, s.a));
	KC_CHECK(cudaMemsetAsync(s.x + 1, 0, COUNT * sizeof(float), s.a));
	KC_CHECK(cudaFree(s.pinned) && cudaFreeHost(s.x));
	KC_CHECK(cudaGetLastError() == cudaErrorInvalidValue && !cudaGetLastError());
	KC_CHECK(!cudaMemsetAsync(s.x, 0, 4, s.a));
	KC_CHECK(cudaStreamQuery(s.a) == cudaErrorNotReady && !cudaStreamQuery(s.a));
	KC_CHECK(cudaGetLastError() == cudaErrorNotReady);
	KC_CHECK(!cudaEventCreate(&timed) && !cudaEventRecord(timed, s.a));
	cudaEventRecord(s.done, s.a);
	KC_CHECK(cudaEventElapsedTime(&ms, timed, s.done) == cudaErrorInvalidResourceHandle);
	KC_CHECK(cudaEventElapsedTime(&ms, timed, timed) == cudaErrorNotReady);
	KC_CHECK(!cudaEventSynchronize(timed) && !cudaEventElapsedTime(&ms, timed, timed));
	cudaEventDestroy(timed);
	cudaGetLastError();
	two_release(&s);
}

/* What another process ends may be asked for, not waited for. */
static void foreign_stream(void)
{
	struct two s = two_streams();

	emu_foreign(s.a);
	cudaStreamSynchronize(s.a);
}

static void foreign_copy(void)
{
	struct two s = two_streams();
	float x;

	emu_foreign(s.a);
	cudaMemcpyAsync(&x, s.x, sizeof x, cudaMemcpyDeviceToHost, s.a);
}

static void foreign_free(void)
{
	struct two s = two_streams();

	emu_foreign(s.a);
	cudaFree(s.y);
}

static void test_foreign(void)
{
	struct two s = two_streams();

	emu_foreign(s.a);
	while (cudaStreamQuery(s.a))
		;
	KC_CHECK(!cudaStreamSynchronize(s.a));
	emu_foreign(s.a);
	emu_foreign_over();
	KC_CHECK(!cudaStreamSynchronize(s.a));
	cudaGetLastError();
	two_release(&s);
	kc_test_fault(foreign_stream, "cudaStreamSynchronize waits for another process");
	kc_test_fault(foreign_copy, "not pinned waits for another process");
	kc_test_fault(foreign_free, "cudaFree waits for another process");
}

const struct kc_test kc_tests_emulator[] = {
	{"blocks of threads compute, and need their barriers", test_blocks},
	{"a barrier or shuffle that a thread misses is found", test_divergence},
	{"a read outside an array is found", test_bounds},
	{"sixteen bytes at an address that is no multiple of them are found", test_alignment},
	{"impossible launches are found, fresh memory is NaN", test_limits},
	{"arena and workspace are NaN until they are written", test_unwritten},
	{"a missing event is found", test_order},
	{"a captured graph replays, and its branches are checked", test_graphs},
	{"what may not be captured is refused, and ends the capture", test_capture},
	{"memory of the wrong side, events that were not to be timed", test_misuse},
	{"waiting for what another process ends is a fault", test_foreign},
	{0}};
