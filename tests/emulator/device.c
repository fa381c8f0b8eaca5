#include "tests/emulator/device.h"

#include "layers/cuda/cuda.h"
#include "layers/devices.h"
#include "tests/emulator/emulator.h"

/* ---- the libraries' part: memory of the emulated device is the host's ---- */

static bool always(const struct kc_step_info *info)
{
	(void)info;
	return true;
}

int emu_call(void (*run)(const void *), const void *argument, size_t n, cudaStream_t);

#define BY_REFERENCE(operator) \
	static void call_##operator(const void *c) \
	{ \
		kc_op_##operator.ref(c); \
	} \
	static int run_##operator(const struct kc_call *c) \
	{ \
		return kc_cuda_launched(emu_call(call_##operator, c, sizeof *c, \
						 kc_cuda_stream(c)), "reference"); \
	} \
	static const struct kc_kernel operator##_row = { \
		.op = &kc_op_##operator, .name = "emulated library", .fits = always, \
		.run = run_##operator, \
	};
BY_REFERENCE(conv)
BY_REFERENCE(conv_dgrad)
BY_REFERENCE(conv_wgrad)
BY_REFERENCE(matmul)

const struct kc_kernel *const kc_cuda_library_rows[] = {
	&conv_row, &conv_dgrad_row, &conv_wgrad_row, &matmul_row, NULL,
};

int kc_cuda_libraries_open(struct kc_cuda *c)
{
	(void)c;
	return 0;
}

void kc_cuda_libraries_close(struct kc_cuda *c)
{
	(void)c;
}

/* ---- the device ---- */

static void touch(struct kc_device *d, const void *p, size_t bytes, bool write, const char *step)
{
	emu_touch(kc_cuda_of(d)->stream, p, bytes, write, step);
}

int kc_emulator_open(struct kc_device *d)
{
	static struct kc_memory checked;

	KC_TRY(kc_cuda_open(d, 0, &(struct kc_device_choice){0}));
	checked = *d->memory;
	checked.touch = touch;
	d->memory = &checked;
	return 0;
}
