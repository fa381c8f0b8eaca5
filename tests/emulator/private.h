/* What the emulator's files share. */
#ifndef KC_TESTS_EMULATOR_PRIVATE_H
#define KC_TESTS_EMULATOR_PRIVATE_H

#include "tests/emulator/cuda_runtime.h"
#include "tests/emulator/emulator.h"

#include <vector>

/* Prints where the device was and what went wrong, and aborts. */
void emu_fault(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Runs a kernel to its end (blocks.cpp). */
void emu_run(const struct emu_kernel &);

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
/* The memory is given back: nothing is known of it any more. */
void emu_order_forget(const void *, size_t);

#endif
