/*
 * The emulator of a CUDA device: what tests tell it and what it checks.
 *
 *  - Threads of a block run one at a time, in an order that emu_seed chooses, as do blocks.
 *  - Kernels of KC_LAUNCH_BLOCK run as fibers: barriers, shuffles, votes and shared memory
 *    work.  A barrier that part of a block never reaches, or reaches somewhere else, is a fault;
 *    so is any of these in a kernel of KC_LAUNCH.
 *  - Shared memory is filled with NaN before every block, fresh memory of the device too.
 *  - Limits of a launch (threads, grid, shared memory, arguments) are the least of those of
 *    compute capabilities 8.0 to 12.0.
 *  - An address that is not a multiple of what is read or written there at once is a fault.
 *  - Copies and fills stay inside memory that was allocated, on the side they are said to be.
 *  - A stream and an event are not ready when they are first asked, and that is the last error
 *    then, as any call's that failed.
 *  - Work of different streams that touches the same memory must be ordered by events, by
 *    waiting, or by the graph it was captured in: emu_touch says what a step reads or writes.
 *
 * A fault prints one line and aborts.  One host thread at a time.
 *
 * Scripts tell a program by variables:
 *	KC_EMULATED_DEVICES     how many there are (1); each process has a memory of its own
 *	KC_EMULATED_MB          of memory that each has (16384)
 *	KC_EMULATED_KILL        the program kills itself at the launch of that number, from 1; those
 *				that are recorded count too; 0: where NCCL meets
 *	KC_EMULATED_NCCL        its version ("emulated NCCL"); none: it is not found; broken: its
 *				meeting fails at once
 *	KC_EMULATED_REPORT      a file that gets one line at the end: launches, the first and the
 *				last of them that were recorded first, and the bytes of the device
 *				that were in use when most were
 */
#ifndef KC_TESTS_EMULATOR_H
#define KC_TESTS_EMULATOR_H

#include "tests/emulator/cuda_runtime_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Order of threads and blocks from now on. */
void emu_seed(uint64_t);

/*
 * Work of that stream is about to read or write these bytes; conflicting work that is not
 * ordered before it is a fault that names both, and so are bytes outside the device's memory.
 * Recorded with the stream when it is captured.
 * Copies and fills of the runtime report themselves.
 */
void emu_touch(cudaStream_t, const void *, size_t, int write, const char *what);
/* The same for the host, which is ordered after what it waited for. */
void emu_touch_host(const void *, size_t, int write, const char *what);

/*
 * The stream's work so far ends when another process has done its part.  From now on it may be
 * asked for (cudaStreamQuery, cudaEventQuery), while calls that would wait for it are faults;
 * until it was found done, or over.
 */
void emu_foreign(cudaStream_t);
void emu_foreign_over(void);

/* The next so many captures end in an error. */
extern int emu_failing_captures;

/* The host has waited for all the stream's work. */
int emu_is_done(cudaStream_t);

/* Runs run(copy of the n <= 128 bytes) on the host in the order of the stream; a cudaError_t. */
int emu_call(void (*run)(const void *), const void *argument, size_t n, cudaStream_t);

/* Allocations of the device; launches of kernels, replayed ones included; calls that wait. */
size_t emu_allocations(void);
uint64_t emu_launches(void);
uint64_t emu_waits(void);

#ifdef __cplusplus
}
#endif
#endif
