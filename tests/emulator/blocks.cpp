/*
 * Blocks of threads.  Threads that do not talk are plain calls.  Others are fibers: each runs
 * until it waits for its warp or its block; when all wait, whoever is complete goes on.
 */
#include "tests/emulator/private.h"

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

struct emu_index threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

enum {
	MAX_THREADS = 1024,
	STACK = 256 << 10,
	GUARD = 4096,
	SHARED = 99 << 10,              /* of a block, compute capabilities 8.9 and 12.0 */
	SHARED_FIXED = 48 << 10,        /* without asking for more */
	SHARED_GAP = 64,
	MAX_FIXED = 32
};

enum state { READY, AT_WARP, AT_BLOCK, DONE };

struct fiber {
#ifdef __x86_64__
	void *sp;
#else
	ucontext_t context;
#endif
	char *stack;
	void *fake;                     /* of the address sanitizer */
	enum state state;
	int line;                       /* where it waits */
	unsigned mask;
	uint64_t bits, published;
};

struct variable { const char *file; int line; size_t at, bytes; };

const struct emu_kernel *kernel;        /* that runs, or NULL */
struct fiber fibers[MAX_THREADS];
struct fiber scheduler;
unsigned current, n_threads;
int votes[3];
uint64_t random_state = 1;

/* Dynamic memory first, then the block's variables, with gaps that must not be touched. */
alignas(128) unsigned char shared[SHARED + (MAX_FIXED + 1) * 2 * SHARED_GAP];
struct variable variables[MAX_FIXED];
int n_variables;
size_t shared_used, shared_fixed;

unsigned draw(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33);
}

/* A random order of 0 .. n - 1: from a random start in steps that reach all. */
struct order { uint64_t n, at, step; };

uint64_t common(uint64_t a, uint64_t b)
{
	return b ? common(b, a % b) : a;
}

struct order any_order(uint64_t n)
{
	struct order o = {n, draw() % n, draw() % n};

	while (common(o.step, n) != 1)
		o.step = (o.step + 1) % (n + 1);
	return o;
}

uint64_t next(struct order *o)
{
	o->at = (o->at + o->step) % o->n;
	return o->at;
}

void become(unsigned t)
{
	current = t;
	threadIdx.x = t % blockDim.x;
	threadIdx.y = t / blockDim.x % blockDim.y;
	threadIdx.z = t / blockDim.x / blockDim.y;
}

/* ---- switching ---- */

#ifdef __x86_64__

/* Keeps what a called function must keep, and returns on the other stack. */
extern "C" void emu_switch(void **save, void *to);
__asm__(".text\n"
	".globl emu_switch\n"
	".type emu_switch, @function\n"
	"emu_switch:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp, (%rdi)\n"
	"mov %rsi, %rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\n"
	"ret\n"
	".size emu_switch, . - emu_switch\n");

void switch_stack(struct fiber *from, struct fiber *to)
{
	emu_switch(&from->sp, to->sp);
}

void fiber_start(struct fiber *f, void (*entry)(void))
{
	void **top = (void **)(f->stack + STACK) - 2;   /* aligned as after a call */

	top[0] = (void *)entry;
	top[1] = NULL;
	f->sp = top - 6;
}

#else

void switch_stack(struct fiber *from, struct fiber *to)
{
	swapcontext(&from->context, &to->context);
}

void fiber_start(struct fiber *f, void (*entry)(void))
{
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK;
	f->context.uc_link = NULL;
	makecontext(&f->context, entry, 0);
}

#endif

#ifdef __SANITIZE_ADDRESS__

const void *host_stack;                 /* where the scheduler runs */
size_t host_bytes;

void switch_to(struct fiber *from, struct fiber *to)
{
	const void *old;
	size_t bytes;

	__sanitizer_start_switch_fiber(&from->fake, to == &scheduler ? host_stack : to->stack,
				       to == &scheduler ? host_bytes : (size_t)STACK);
	switch_stack(from, to);
	__sanitizer_finish_switch_fiber(from->fake, &old, &bytes);
	if (from != &scheduler) {
		host_stack = old;
		host_bytes = bytes;
	}
}

void arrive(void)
{
	__sanitizer_finish_switch_fiber(NULL, &host_stack, &host_bytes);
}

#else

void switch_to(struct fiber *from, struct fiber *to)
{
	switch_stack(from, to);
}

void arrive(void)
{
}

#endif

/* A fiber lives as long as the program and runs one thread after the other. */
void thread_main(void)
{
	arrive();
	for (;;) {
		struct fiber *me = &fibers[current];

		kernel->body();
		me->state = DONE;
		switch_to(me, &scheduler);
	}
}

void fiber_make(struct fiber *f)
{
	char *memory = (char *)mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE))
		emu_fault("no memory for stacks");
	f->stack = memory + GUARD;
	fiber_start(f, thread_main);
}

void wait(enum state s, int line)
{
	struct fiber *me = &fibers[current];

	me->state = s;
	me->line = line;
	switch_to(me, &scheduler);
}

/* ---- shared memory ---- */

void forbid(const void *p, size_t bytes, bool forbidden)
{
#ifdef __SANITIZE_ADDRESS__
	if (forbidden)
		__asan_poison_memory_region(p, bytes);
	else
		__asan_unpoison_memory_region(p, bytes);
#else
	(void)p, (void)bytes, (void)forbidden;
#endif
}

size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

void shared_start(void)
{
	forbid(shared, sizeof shared, false);
	memset(shared, 0xff, shared_used > kernel->shared ? shared_used : kernel->shared);
	forbid(shared + kernel->shared, sizeof shared - kernel->shared, true);
	shared_used = round_up(kernel->shared + 1, SHARED_GAP) + SHARED_GAP;
	shared_fixed = 0;
	n_variables = 0;
}

/* ---- a block ---- */

const char *place(const struct fiber *f)
{
	switch (f->state) {
	case AT_WARP: return "waits for its warp";
	case AT_BLOCK: return "waits for its block";
	default: return "has ended";
	}
}

void say_divergent(unsigned a, unsigned b)
{
	emu_fault("barrier not reached by all: thread %u %s (line %d), thread %u %s (line %d)", a,
		  place(&fibers[a]), fibers[a].line, b, place(&fibers[b]), fibers[b].line);
}

/* Lanes of one warp that met: all of the mask, at the same place. */
bool release_lanes(unsigned first)
{
	bool any = false;

	for (unsigned lane = 0; lane < 32 && first + lane < n_threads; lane++) {
		const struct fiber *f = &fibers[first + lane];
		bool complete = f->state == AT_WARP;

		for (unsigned k = 0; complete && k < 32; k++) {
			const struct fiber *o = &fibers[first + k];

			if (!(f->mask >> k & 1))
				continue;
			if (first + k >= n_threads)
				emu_fault("line %d: lane %u is in the mask and does not exist",
					  f->line, k);
			complete = o->state == AT_WARP && o->line == f->line && o->mask == f->mask;
		}
		if (!complete)
			continue;
		any = true;
		for (unsigned k = 0, mask = f->mask; k < 32; k++)
			if (mask >> k & 1) {
				fibers[first + k].published = fibers[first + k].bits;
				fibers[first + k].state = READY;
			}
	}
	return any;
}

bool release_warps(void)
{
	bool any = false;

	for (unsigned first = 0; first < n_threads; first += 32)
		any |= release_lanes(first);
	return any;
}

/* True when the block has ended. */
bool release_block(void)
{
	bool ended = true;

	for (unsigned t = 0; t < n_threads; t++)
		ended &= fibers[t].state == DONE;
	if (ended)
		return true;
	memset(votes, 0, sizeof votes);
	votes[1] = 1;
	for (unsigned t = 0; t < n_threads; t++) {
		if (fibers[t].state != AT_BLOCK || fibers[t].line != fibers[0].line)
			say_divergent(0, fibers[0].state == AT_BLOCK || t ? t : n_threads - 1);
		votes[0] |= fibers[t].bits != 0;
		votes[1] &= fibers[t].bits != 0;
		votes[2] += fibers[t].bits != 0;
	}
	for (unsigned t = 0; t < n_threads; t++)
		fibers[t].state = READY;
	return false;
}

/* Every thread that can go on does, but for those of warps that are left behind for once. */
bool run_ready(void)
{
	struct order o = any_order(n_threads);
	unsigned behind = draw() & draw();
	bool any = false;

	for (unsigned i = 0; i < n_threads; i++) {
		unsigned t = (unsigned)next(&o);

		if (fibers[t].state != READY)
			continue;
		any = true;
		if (n_threads > 32 && (behind >> (t / 32) & 1))
			continue;
		become(t);
		switch_to(&scheduler, &fibers[t]);
	}
	return any;
}

void run_fibers(void)
{
	shared_start();
	for (unsigned t = 0; t < n_threads; t++) {
		if (!fibers[t].stack)
			fiber_make(&fibers[t]);
		fibers[t].state = READY;
		fibers[t].line = 0;
	}
	for (;;)
		if (!run_ready() && !release_warps() && release_block())
			return;
		else
			release_warps();
}

void run_calls(void)
{
	struct order o = any_order(n_threads);

	for (unsigned i = 0; i < n_threads; i++) {
		become((unsigned)next(&o));
		kernel->body();
	}
}

/* How the compiler's checks of alignment end (Makefile). */
void trapped(int)
{
	emu_fault("an address is not a multiple of what is read or written there");
}

void check_launch(const struct emu_kernel &k)
{
	if (!n_threads || n_threads > MAX_THREADS || k.threads.z > 64)
		emu_fault("a block of %u x %u x %u threads", k.threads.x, k.threads.y, k.threads.z);
	if (!k.grid.x || !k.grid.y || !k.grid.z || k.grid.x > 0x7fffffffu || k.grid.y > 65535 ||
	    k.grid.z > 65535)
		emu_fault("a grid of %u x %u x %u blocks", k.grid.x, k.grid.y, k.grid.z);
	if (k.shared > SHARED)
		emu_fault("%zu bytes of shared memory", k.shared);
}

} // namespace

void emu_fault(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "emulator: ");
	if (kernel)
		fprintf(stderr, "%s, block %u %u %u, thread %u %u %u: ", kernel->name, blockIdx.x,
			blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	abort();
}

void emu_seed(uint64_t seed)
{
	random_state = seed * 0x9e3779b97f4a7c15u + 1;
	draw();
}

void emu_run(const struct emu_kernel &k)
{
	uint64_t blocks = (uint64_t)k.grid.x * k.grid.y * k.grid.z;
	struct order o;

	kernel = &k;
	gridDim = k.grid;
	blockDim = k.threads;
	n_threads = blockDim.x * blockDim.y * blockDim.z;
	check_launch(k);
	signal(SIGILL, trapped);
	o = any_order(blocks);
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t b = next(&o);

		blockIdx.x = (unsigned)(b % gridDim.x);
		blockIdx.y = (unsigned)(b / gridDim.x % gridDim.y);
		blockIdx.z = (unsigned)(b / gridDim.x / gridDim.y);
		if (k.block)
			run_fibers();
		else
			run_calls();
	}
	forbid(shared, sizeof shared, false);
	kernel = NULL;
}

/* ---- what kernels call ---- */

static void need_fibers(const char *what, int line)
{
	if (!kernel->block)
		emu_fault("line %d: %s in a kernel of KC_LAUNCH", line, what);
}

void *emu_shared(const char *file, int line, size_t bytes, size_t align)
{
	struct variable *v = variables;

	need_fibers("shared memory", line);
	for (; v < variables + n_variables; v++)
		if (v->line == line && v->file == file && v->bytes == bytes)
			return shared + v->at;
	if (n_variables == MAX_FIXED)
		emu_fault("line %d: more than %d shared variables", line, MAX_FIXED);
	n_variables++;
	shared_fixed += bytes;
	if (shared_fixed > SHARED_FIXED || shared_fixed + kernel->shared > SHARED)
		emu_fault("line %d: %zu bytes of shared variables", line, shared_fixed);
	*v = variable{file, line, round_up(shared_used, align > 16 ? align : 16), bytes};
	shared_used = round_up(v->at + bytes, SHARED_GAP) + SHARED_GAP;
	forbid(shared + v->at, bytes, false);
	memset(shared + v->at, 0xff, bytes);
	return shared + v->at;
}

unsigned char *emu_shared_bytes(void)
{
	need_fibers("shared memory", 0);
	return shared;
}

void emu_barrier(int line)
{
	need_fibers("a barrier", line);
	wait(AT_BLOCK, line);
}

int emu_barrier_vote(int line, int value, int kind)
{
	need_fibers("a barrier", line);
	fibers[current].bits = value != 0;
	wait(AT_BLOCK, line);
	return votes[kind];
}

void emu_meet(unsigned mask, int line, uint64_t bits)
{
	struct fiber *me = &fibers[current];

	need_fibers("a shuffle", line);
	if (!(mask >> (current % 32) & 1))
		emu_fault("line %d: a lane that is not in its own mask", line);
	me->mask = mask;
	me->bits = bits;
	wait(AT_WARP, line);
}

uint64_t emu_lane(unsigned lane)
{
	return fibers[current / 32 * 32 + lane].published;
}

unsigned emu_my_lane(void)
{
	return current % 32;
}

bool emu_lane_met(unsigned mask, unsigned lane)
{
	return lane < 32 && (mask >> lane & 1);
}
