#include "tests/emulator/device.h"

#include "layers/cuda/cuda.h"
#include "layers/devices.h"
#include "tests/emulator/emulator.h"

static void touch(struct kc_device *d, const void *p, size_t bytes, bool write, const char *step)
{
	/* It reads what another stream has written, behind which it puts itself. */
	if (strcmp(step, "all_reduce_wait"))
		emu_touch(kc_cuda_of(d)->stream, p, bytes, write, step);
}

static void spoil(struct kc_device *d, void *p, size_t bytes)
{
	cudaMemsetAsync(p, 0xff, bytes, kc_cuda_of(d)->stream);
}

static void touch_host(struct kc_device *d, const void *p, size_t bytes, bool write,
		       const char *what)
{
	(void)d;
	emu_touch_host(p, bytes, write, what);
}

int kc_emulator_open_at(struct kc_device *d, int index, const struct kc_device_choice *choice)
{
	static struct kc_memory checked;

	KC_TRY(kc_cuda_open(d, index, choice));
	checked = *d->memory;
	checked.touch = touch;
	checked.touch_host = touch_host;
	checked.spoil = spoil;
	d->memory = &checked;
	return 0;
}

int kc_emulator_open_as(struct kc_device *d, const struct kc_device_choice *choice)
{
	return kc_emulator_open_at(d, 0, choice);
}

int kc_emulator_open(struct kc_device *d)
{
	return kc_emulator_open_as(d, &(struct kc_device_choice){.no_autotune = true});
}

int kc_emulator_open_in_turn(struct kc_device *d)
{
	static uint64_t seed;

	emu_seed(++seed);
	return kc_emulator_open(d);
}
