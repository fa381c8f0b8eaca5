/*
 * Streams, events and graphs of the emulator.  Work is done when it is enqueued, in an
 * order that is legal; whether it was the only legal one is checked by clocks (order.cpp).
 */
#include "tests/emulator/private.h"

#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <string>

enum { HOST, FIRST_STREAM, SHARED_DEFAULT = 48 << 10, SHARED_MOST = 99 << 10 };

struct emu_node {
	size_t stream;                  /* of the capture */
	emu_work work;
};

struct emu_graph {
	std::vector<emu_node> nodes;
	size_t n_streams = 0, n_events = 0;
};

struct emu_capture {
	struct emu_graph *graph;
	bool relaxed, invalid;
	std::vector<struct emu_stream *> streams;       /* the first began it */
	std::vector<emu_clock> before;                  /* what they knew then */
};

struct emu_stream {
	size_t id;
	bool blocking;                  /* ordered with the default stream */
	emu_clock clock;
	struct emu_capture *capture;
	size_t captured_as;
	bool busy;                      /* nobody has asked since it got work */
};

struct emu_event {
	bool timed;
	size_t who;                     /* recorded on; 0: never */
	emu_clock clock;
	double seconds;
	bool captured;                  /* recorded last in a capture */
	struct emu_capture *capture;    /* which still goes on */
	size_t captured_as;
	bool busy;
};

/* A graph's own streams and events, for one launch after the other. */
struct emu_graph_exec {
	struct emu_graph graph;
	std::vector<struct emu_stream> streams;
};

int emu_failing_captures;

static cudaError_t last_error;
static size_t n_ids = FIRST_STREAM + 1;
static uint64_t n_launches, n_waits;
static struct emu_stream default_stream = {FIRST_STREAM, true, {}, NULL, 0, false};
static emu_clock host;
static std::vector<struct emu_stream *> streams{&default_stream};
static std::vector<struct emu_capture *> captures;
static std::vector<emu_clock> replay_events;            /* of the graph that is launched */
static std::vector<struct emu_event *> events;
static std::map<const void *, size_t> shared_limits;

cudaError_t emu_report(cudaError_t e)
{
	if (e)
		last_error = e;
	return e;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct emu_stream *stream_of(cudaStream_t s)
{
	return s ? s : &default_stream;
}

/* Waiting and allocating end a capture. */
bool emu_is_forbidden(void)
{
	bool forbidden = false;

	for (struct emu_capture *c : captures)
		if (!c->relaxed)
			forbidden = c->invalid = true;
	return forbidden;
}

/* The host will know what the clock knows, or never go on. */
static void wait_for(const emu_clock &clock, const char *call)
{
	emu_foreign_check(clock, host, call);
	host.join(clock);
}

/* The next piece of work knows what the host knows. */
static void advance(struct emu_stream *s)
{
	s->clock.join(host);
	if (s == &default_stream) {
		for (const struct emu_stream *o : streams)
			if (o->blocking)
				s->clock.join(o->clock);
	} else if (s->blocking) {
		s->clock.join(default_stream.clock);
	}
	s->clock.tick(s->id);
}

static void enqueue(struct emu_stream *s, emu_work work)
{
	advance(s);
	s->busy = true;
	if (s->capture)
		s->capture->graph->nodes.push_back({s->captured_as, work});
	else
		work(s);
}

void emu_enqueue_work(cudaStream_t s, emu_work work)
{
	enqueue(stream_of(s), work);
}

bool emu_is_captured(cudaStream_t s)
{
	return stream_of(s)->capture != NULL;
}

void emu_may_wait(cudaStream_t s, const char *call)
{
	emu_foreign_check(stream_of(s)->clock, host, call);
}

void emu_wait_all(const char *call)
{
	for (const struct emu_stream *s : streams)
		wait_for(s->clock, call);
}

void emu_use(struct emu_stream *s, const void *p, size_t n, bool write, const char *what)
{
	if (n)
		emu_order_access(s->clock, s->id, p, n, write, what);
}

/* ---- the device ---- */

cudaError_t cudaGetDeviceCount(int *n)
{
	*n = emu_script_devices();
	return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
	return emu_report(device < 0 || device >= emu_script_devices() ? cudaErrorInvalidDevice
								   : cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
	memset(p, 0, sizeof *p);
	if (device < 0 || device >= emu_script_devices())
		return emu_report(cudaErrorInvalidDevice);
	snprintf(p->name, sizeof p->name, "emulator");
	p->totalGlobalMem = (size_t)1 << 34;
	p->sharedMemPerBlock = SHARED_DEFAULT;
	p->sharedMemPerBlockOptin = SHARED_MOST;
	p->sharedMemPerMultiprocessor = SHARED_MOST + 1024;
	p->major = 9;
	p->warpSize = 32;
	p->multiProcessorCount = 4;
	p->maxThreadsPerBlock = 1024;
	p->l2CacheSize = 1 << 20;
	p->memoryBusWidth = 128;
	p->asyncEngineCount = 1;
	return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *v)
{
	*v = CUDART_VERSION;
	return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *v)
{
	*v = CUDART_VERSION;
	return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
	cudaError_t e = last_error;

	last_error = cudaSuccess;
	return e;
}

const char *cudaGetErrorString(cudaError_t e)
{
	switch (e) {
	case cudaSuccess: return "cudaSuccess";
	case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
	case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
	case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
	case cudaErrorNoDevice: return "cudaErrorNoDevice";
	case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
	case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
	case cudaErrorNotReady: return "cudaErrorNotReady";
	case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
	case cudaErrorStreamCaptureUnjoined: return "cudaErrorStreamCaptureUnjoined";
	case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
	case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
	case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
	}
	return "unknown error";
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
	*s = new emu_stream{n_ids++, !(flags & cudaStreamNonBlocking), {}, NULL, 0, false};
	streams.push_back(*s);
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
	for (size_t i = 1; i < streams.size(); i++)
		if (streams[i] == s) {
			streams.erase(streams.begin() + (long)i);
			delete s;
			return cudaSuccess;
		}
	return emu_report(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
	if (emu_is_forbidden() || stream_of(s)->capture)
		return emu_report(cudaErrorStreamCaptureUnsupported);
	n_waits++;
	wait_for(stream_of(s)->clock, "cudaStreamSynchronize");
	return cudaSuccess;
}

/* The first answer is always that it is not ready. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
	struct emu_stream *s = stream_of(stream);

	if (emu_is_forbidden() || s->capture)
		return emu_report(cudaErrorStreamCaptureUnsupported);
	if (s->busy) {
		s->busy = false;
		return emu_report(cudaErrorNotReady);
	}
	host.join(s->clock);
	return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
	*e = new emu_event{!(flags & cudaEventDisableTiming), 0, {}, 0, false, NULL, 0, false};
	events.push_back(*e);
	return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
	return cudaEventCreateWithFlags(e, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
	for (size_t i = 0; i < events.size(); i++)
		if (events[i] == e) {
			events.erase(events.begin() + (long)i);
			delete e;
			return cudaSuccess;
		}
	return emu_report(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream)
{
	struct emu_stream *s = stream_of(stream);
	struct emu_capture *c = s->capture;

	advance(s);
	e->who = s->id;
	e->clock = s->clock;
	e->seconds = now();
	e->capture = c;
	e->captured = c != NULL;
	e->busy = true;
	if (c) {
		size_t k = e->captured_as = c->graph->n_events++;

		c->graph->nodes.push_back({s->captured_as, [=](struct emu_stream *on) {
			replay_events[k] = on->clock;
		}});
	}
	return cudaSuccess;
}

static void join_capture(struct emu_capture *c, struct emu_stream *s)
{
	s->capture = c;
	s->captured_as = c->streams.size();
	c->streams.push_back(s);
	c->before.push_back(s->clock);
	c->graph->n_streams++;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned)
{
	struct emu_stream *s = stream_of(stream);
	size_t k = e->captured_as;

	if (s->capture != e->capture && s->capture)
		return emu_report(cudaErrorStreamCaptureIsolation);
	if (e->captured && !e->capture)
		return emu_report(cudaErrorCapturedEvent);
	if (e->capture) {
		if (!s->capture)
			join_capture(e->capture, s);
		s->capture->graph->nodes.push_back({s->captured_as, [=](struct emu_stream *on) {
			on->clock.join(replay_events[k]);
		}});
	}
	s->clock.join(e->clock);
	return cudaSuccess;
}

/* Asking a captured event, or any while this thread captures. */
static cudaError_t askable(const struct emu_event *e)
{
	if (e->captured)
		return cudaErrorCapturedEvent;
	return emu_is_forbidden() ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
	cudaError_t bad = askable(e);

	if (bad)
		return emu_report(bad);
	n_waits++;
	wait_for(e->clock, "cudaEventSynchronize");
	return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
	cudaError_t bad = askable(e);

	if (!bad && e->busy) {
		e->busy = false;
		bad = cudaErrorNotReady;
	}
	if (bad)
		return emu_report(bad);
	host.join(e->clock);
	return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	if (!from->timed || !to->timed || !from->who || !to->who)
		return emu_report(cudaErrorInvalidResourceHandle);
	if (askable(from) || askable(to))
		return emu_report(cudaErrorCapturedEvent);
	if (host.at(to->who) < to->clock.at(to->who))
		return emu_report(cudaErrorNotReady);
	*ms = (float)(1e3 * (to->seconds - from->seconds));
	return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
	struct emu_capture *c;

	if (!s || s->capture)
		return emu_report(cudaErrorStreamCaptureUnsupported);
	c = new emu_capture{new emu_graph, mode == cudaStreamCaptureModeRelaxed, false, {}, {}};
	join_capture(c, s);
	captures.push_back(c);
	return cudaSuccess;
}

/* The streams forget what they learnt while nothing ran. */
static void leave_capture(struct emu_capture *c)
{
	for (size_t i = 0; i < c->streams.size(); i++) {
		c->streams[i]->capture = NULL;
		c->streams[i]->clock = c->before[i];
		c->streams[i]->busy = false;
	}
	for (struct emu_event *e : events)
		if (e->capture == c)
			e->capture = NULL;
	for (size_t i = 0; i < captures.size(); i++)
		if (captures[i] == c)
			captures.erase(captures.begin() + (long)i);
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
	struct emu_capture *c = s ? s->capture : NULL;
	cudaError_t bad = cudaSuccess;

	*graph = NULL;
	if (!c || c->streams[0] != s)
		return emu_report(cudaErrorInvalidValue);
	for (const struct emu_stream *o : c->streams)
		if (s->clock.at(o->id) < o->clock.at(o->id))
			bad = cudaErrorStreamCaptureUnjoined;
	if (emu_failing_captures) {
		emu_failing_captures--;
		c->invalid = true;
	}
	if (c->invalid)
		bad = cudaErrorStreamCaptureInvalidated;
	leave_capture(c);
	if (bad)
		delete c->graph;
	else
		*graph = c->graph;
	delete c;
	return emu_report(bad);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n)
{
	if (!graph || nodes)
		return emu_report(cudaErrorInvalidValue);
	*n = graph->nodes.size();
	return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
	struct emu_graph_exec *e = new emu_graph_exec{*graph, {}};

	for (size_t i = 0; i < graph->n_streams; i++)
		e->streams.push_back({n_ids++, false, {}, NULL, 0, false});
	*exec = e;
	return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
	enqueue(stream_of(stream), [=](struct emu_stream *on) {
		replay_events.assign(exec->graph.n_events, emu_clock());
		exec->streams[0].clock.join(on->clock);
		for (const emu_node &node : exec->graph.nodes) {
			struct emu_stream *s = &exec->streams[node.stream];

			s->clock.tick(s->id);
			node.work(s);
		}
		on->clock.join(exec->streams[0].clock);
	});
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	delete exec;
	return cudaSuccess;
}

/* ---- kernels ---- */

cudaError_t emu_shared_limit(const void *kernel, enum cudaFuncAttribute a, int value)
{
	if (a != cudaFuncAttributeMaxDynamicSharedMemorySize)
		return cudaSuccess;
	if (value < 0 || value > SHARED_MOST)
		return emu_report(cudaErrorInvalidValue);
	shared_limits[kernel] = (size_t)value;
	return cudaSuccess;
}

void emu_enqueue(const struct emu_kernel &kernel, cudaStream_t s)
{
	auto limit = shared_limits.find(kernel.function);

	if (kernel.shared > SHARED_DEFAULT &&
	    (limit == shared_limits.end() || limit->second < kernel.shared))
		emu_fault("%s: %zu bytes of shared memory were not asked for", kernel.name,
			  kernel.shared);
	if (stream_of(s)->capture)
		emu_script_launch(true);
	enqueue(stream_of(s), [=](struct emu_stream *) {
		n_launches++;
		emu_script_launch(false);
		emu_run(kernel);
	});
}

/* ---- for tests ---- */

void emu_touch(cudaStream_t s, const void *p, size_t n, int write, const char *what)
{
	std::string name = what;

	if (!emu_is_device(p, n))
		emu_fault("%s uses %zu bytes that are not all the device's", what, n);
	enqueue(stream_of(s),
		[=](struct emu_stream *on) { emu_use(on, p, n, write, name.c_str()); });
}

int emu_is_done(cudaStream_t stream)
{
	const struct emu_stream *s = stream_of(stream);

	return host.at(s->id) >= s->clock.at(s->id);
}

void emu_foreign(cudaStream_t s)
{
	enqueue(stream_of(s),
		[](struct emu_stream *on) { emu_foreign_note(on->id, on->clock.at(on->id)); });
}

void emu_touch_host(const void *p, size_t n, int write, const char *what)
{
	host.tick(HOST);
	emu_order_access(host, HOST, p, n, write, what);
}

uint64_t emu_launches(void)
{
	return n_launches;
}

uint64_t emu_waits(void)
{
	return n_waits;
}
