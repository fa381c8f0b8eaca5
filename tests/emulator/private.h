/* What the emulator's files share. */
#ifndef KC_TESTS_EMULATOR_PRIVATE_H
#define KC_TESTS_EMULATOR_PRIVATE_H

#include "tests/emulator/cuda_runtime.h"
#include "tests/emulator/emulator.h"

#include <vector>

/* Work; it is told on which stream it runs. */
typedef std::function<void(struct emu_stream *)> emu_work;

/* Prints where the device was and what went wrong, and aborts. */
void emu_fault(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Runs a kernel to its end (blocks.cpp). */
void emu_run(const struct emu_kernel &);

/* ---- streams (runtime.cpp) ---- */

/* Keeps it as the last error; returns it. */
cudaError_t emu_report(cudaError_t);
/* Something is captured, and will now fail. */
bool emu_is_forbidden(void);
bool emu_is_captured(cudaStream_t);
void emu_enqueue_work(cudaStream_t, emu_work);
/* The host waits for every stream; that call may wait for one. */
void emu_wait_all(const char *call);
void emu_may_wait(cudaStream_t, const char *call);
/* All n bytes lie in one allocation of the device's memory, or of no bytes. */
bool emu_is_device(const void *, size_t n);
/* The running work reads or writes these bytes. */
void emu_use(struct emu_stream *, const void *, size_t, bool write, const char *what);

/* ---- order (order.cpp) ---- */

/* How far each stream had come, as far as the clock's owner knows (order.cpp). */
struct emu_clock {
	std::vector<uint64_t> time;

	uint64_t at(size_t who) const
	{
		return who < time.size() ? time[who] : 0;
	}
	void join(const emu_clock &);
	void tick(size_t who);
};

/* An access by `who` at the time of its clock: faults where it is not ordered after another. */
void emu_order_access(const emu_clock &, size_t who, const void *, size_t, bool write,
		      const char *what);
/* Work at that time of `who` is ended by another process (emu_foreign). */
void emu_foreign_note(size_t who, uint64_t time);
/* Faults where the host, which has that clock, would wait for it without a way out. */
void emu_foreign_check(const emu_clock &waited_for, const emu_clock &host, const char *call);
/* The memory is given back: nothing is known of it any more. */
void emu_order_forget(const void *, size_t);

/* For scripts (emulator.h, script.cpp): devices there are; a kernel is launched, or recorded. */
int emu_script_devices(void);
void emu_script_launch(bool recorded);
/* Bytes that a device has; so many of them are in use now. */
size_t emu_script_memory(void);
void emu_script_in_use(size_t bytes);

#endif
