/*
 * Every operator of the table on the emulated CUDA device: the kernels of layers/cuda against the
 * reference, in any order of threads, however the inputs lie in memory.
 */
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/golden.h"
#include "tests/op_check.h"
#include "tests/test.h"

#include <stdlib.h>

static const struct op_config configs[] = {
	{"float32", kc_emulator_open_in_turn, KC_F32, false, false, true, OP_DENSE, 1e-5},
	{"float32, not fused, sliced", kc_emulator_open_in_turn, KC_F32, false, true, false,
	 OP_SLICED, 1e-5},
	{"float32, turned", kc_emulator_open_in_turn, KC_F32, false, false, true, OP_TURNED, 1e-5},
	{"bfloat16", kc_emulator_open_in_turn, KC_F32, true, false, true, OP_DENSE, 2e-2},
	{"bfloat16, turned", kc_emulator_open_in_turn, KC_F32, true, true, false, OP_TURNED, 2e-2},
};

static void check_table(const struct op_row *row, FILE *used)
{
	for (; row->op; row++) {
		struct kc_device device;
		struct trial t;

		if (KC_CHECK_OK(op_check_want(&t, &device, row)))
			for (size_t i = 0; i < KC_COUNT(configs); i++)
				op_check(&t, &configs[i], used);
		trial_release(&t);
		kc_device_release(&device);
	}
}

static void test_operators(void)
{
	struct kc_device device;
	char *used;
	size_t size;
	FILE *file = open_memstream(&used, &size);

	KC_ASSERT(file);
	check_table(op_rows, file);
	check_table(op_pointwise_rows, file);
	fclose(file);
	if (KC_CHECK_OK(kc_emulator_open_in_turn(&device))) {
		op_check_used(&device, used);
		kc_device_release(&device);
	}
	free(used);
}

/* Committed numbers of an independent implementation. */
static void check_fixture(const char *name, enum golden_mode mode)
{
	struct kc_device device;
	struct golden g = {.mode = mode, .device = &device, .print = GOLDEN_PRINT_FAILURES};

	if (!KC_CHECK_OK(kc_emulator_open_in_turn(&device)))
		return;
	golden_file(&g, kc_test_fixture(name));
	KC_CHECK(g.failed == 0 && g.passed > 0);
	kc_device_release(&device);
}

static void test_fixtures(void)
{
	check_fixture("golden/ops.safetensors", GOLDEN_F32);
	check_fixture("golden/ops.safetensors", GOLDEN_BF16);
}

/* With all gradients.  The other networks take minutes: make emulated-fixtures. */
static void test_networks(void)
{
	check_fixture("golden/siggraph17.safetensors", GOLDEN_F32);
	check_fixture("golden/eccv16_train.safetensors", GOLDEN_F32);
}

const struct kc_test kc_tests_cuda_ops[] = {
	{"every operator on the emulated device equals the reference", test_operators},
	{"the fixtures of operators on the emulated device", test_fixtures},
	{"siggraph17 and eccv16 on the emulated device", test_networks},
	{0}};
