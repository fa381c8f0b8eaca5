/* A function of the host as work of a stream: what stands in for a library's kernels. */
#include "layers/cuda/kernel.h"

#include <string.h>

struct host_call {
	void (*run)(const void *);
	alignas(16) unsigned char argument[128];
};

KC_KERNEL void run_on_host(struct host_call c)
{
	c.run(c.argument);
}

/* Runs run(copy of the n bytes) in the stream's order. */
extern "C" int emu_call(void (*run)(const void *), const void *argument, size_t n,
			cudaStream_t stream)
{
	struct host_call c = {run, {0}};

	if (n > sizeof c.argument)
		return (int)cudaErrorInvalidValue;
	memcpy(c.argument, argument, n);
	KC_LAUNCH(run_on_host, 1, 1, 0, stream, c);
	return kc_cu_status();
}
