/*
 * The device "emulator": layers/cuda with the emulator in the place of CUDA, and the reference
 * kernels in the place of cuDNN and cuBLAS.  Plans on it run every kernel of layers/cuda, are
 * recorded and replayed, and every step's use of memory is checked for its order.
 */
#ifndef KC_TESTS_EMULATOR_DEVICE_H
#define KC_TESTS_EMULATOR_DEVICE_H

#include "core/device.h"

int kc_emulator_open(struct kc_device *);

#endif
