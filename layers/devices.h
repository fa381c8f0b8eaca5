/*
 * Devices by name: "cpu", "cuda" (the first), "cuda:1".  A device "cuda:N" comes from the plugin
 * libkc_cuda.so (layers/cuda/cuda.h), which is loaded when it is asked for.
 */
#ifndef KC_LAYERS_DEVICES_H
#define KC_LAYERS_DEVICES_H

#include "core/device.h"
#include "core/param.h"
#include "layers/pointwise.h"

struct kc_device_choice {
	const char *name;               /* NULL: "cpu" */
	int threads;                    /* of the CPU; 0: as many as the process may use */
	bool tf32;                      /* CUDA: float32 products may round factors to TF32 */
	bool no_record;                 /* CUDA: enqueue every step of every run anew */
	/* CUDA: take the library's first guess, try and time nothing.  Timing takes up to 40 s of a
	 * process; what it did not come to is timed by the next (layers/cuda/cudnn_cache.h). */
	bool no_autotune;
};

/* The CPU's threads are set up in any case: data are prepared there. */
int kc_device_open(struct kc_device *, const struct kc_device_choice *);
/* "NVIDIA H200, compute capability 9.0": for logs and reports. */
const char *kc_device_describe(const struct kc_device *);

/* One line per device, and one that says why there is no other.  The caller frees it; NULL
 * without memory. */
char *kc_devices_list(void);

/*
 * Measures the device's peak of matrix products, in FLOP/s; low: of bf16.  0 when it cannot be
 * measured.  On a device with memory of its own: of random square matrices that lie there, up to
 * 8192 x 8192, of which three must fit.
 */
double kc_device_peak(struct kc_device *, bool low);

/* What the plugin gives to programs: what `kc_cuda_plugin`, its only symbol, points to. */
struct kc_cuda_plugin {
	size_t build;                   /* kc_plugin_build() of the program it was built with */
	int (*open)(struct kc_device *, int index, const struct kc_device_choice *);
	char *(*list)(void);
};
/* Tells builds apart whose structs differ: compiled into the program and into the plugin. */
static inline size_t kc_plugin_build(void)
{
	const size_t parts[] = {sizeof(struct kc_device), sizeof(struct kc_memory),
				sizeof(struct kc_step_info), sizeof(struct kc_call),
				sizeof(struct kc_op), sizeof(struct kc_params),
				sizeof(struct kc_param), sizeof(struct kc_fused_attr),
				KC_PW_COUNT, KC_DTYPES};
	size_t build = 0;

	for (size_t i = 0; i < KC_COUNT(parts); i++)
		build = build * 1021 + parts[i];
	return build;
}

#endif
