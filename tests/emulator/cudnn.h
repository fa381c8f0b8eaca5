/* What tests tell the emulated cuDNN (tests/emulator/cudnn.c), and what it counts. */
#ifndef KC_TESTS_EMULATOR_CUDNN_H
#define KC_TESTS_EMULATOR_CUDNN_H

#include <stdbool.h>

/* Engines that are compiled at run time can be used: there is a driver. */
extern bool emu_cudnn_compiles;
/* A convolution that nothing is fused with takes half a millisecond more. */
extern bool emu_cudnn_prefers_fused;

/* That engine takes graphs and fails when it runs; -1: none does. */
extern int emu_cudnn_broken;

/* Plans built per engine (0: not deterministic, 1: TF32, 2: neither, and without workspace, 3: adds
 * with fewer bits), and runs. */
struct emu_cudnn_count { int engine[4]; long runs; };
extern struct emu_cudnn_count emu_cudnn;

#endif
