/*
 * The device "emulator": layers/cuda with the emulator in the place of CUDA, the reference
 * kernels in that of cuDNN (tests/emulator/cudnn.c) and plain loops in that of cuBLAS.  Plans on
 * it run every kernel of layers/cuda, are recorded and replayed, and every step's use of memory
 * is checked for its order.  The arena is filled with NaN before every run, workspaces before
 * every step: neither is zeroed on a GPU.
 */
#ifndef KC_TESTS_EMULATOR_DEVICE_H
#define KC_TESTS_EMULATOR_DEVICE_H

#include "core/device.h"

struct kc_device_choice;

/* Times nothing: the user's cache of choices is left alone. */
int kc_emulator_open(struct kc_device *);
/* The same, with another order of threads each time. */
int kc_emulator_open_in_turn(struct kc_device *);
int kc_emulator_open_as(struct kc_device *, const struct kc_device_choice *);
/* cuda:index; how many there are: tests/emulator/emulator.h. */
int kc_emulator_open_at(struct kc_device *, int index, const struct kc_device_choice *);

#endif
