/*
 * libkc_cuda.so of a machine without CUDA: programs beside it (make emulated) find the emulated
 * devices as cuda:N.  It times nothing, so the user's cache of choices is left alone.
 */
#include "layers/cuda/cuda.h"
#include "layers/devices.h"
#include "tests/emulator/device.h"

static int open_device(struct kc_device *d, int index, const struct kc_device_choice *choice)
{
	struct kc_device_choice c = *choice;

	c.no_autotune = true;
	return kc_emulator_open_at(d, index, &c);
}

/* The build is filled in when the plugin is loaded. */
__attribute__((visibility("default"))) struct kc_cuda_plugin kc_cuda_plugin = {
	.open = open_device, .list = kc_cuda_list,
};

__attribute__((constructor)) static void set_build(void)
{
	kc_cuda_plugin.build = kc_plugin_build();
}
