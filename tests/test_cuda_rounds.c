/* Kernels on more elements than their largest grid has threads, called without a plan. */
#include "layers/cuda/cuda.h"
#include "layers/cuda/divide.h"
#include "layers/cuda/finish.h"
#include "layers/cuda/pointwise.h"
#include "layers/layers.h"
#include "layers/pointwise.h"
#include "tests/emulator/device.h"
#include "tests/test.h"

#include <math.h>

static void test_divide(void)
{
	static const uint32_t by[] = {1,   2,    3,     5,       7,         41,        49,
				      196, 1024, 65537, 1 << 30, INT32_MAX, INT32_MAX - 1};

	for (size_t k = 0; k < KC_COUNT(by); k++) {
		struct kc_divisor d = kc_divisor_of(by[k]);
		uint32_t most = INT32_MAX / by[k] * by[k];

		for (uint32_t i = 0; i < 1000; i++) {
			uint32_t at[] = {i, i * 2147483u, most - 1 - i % most, most};

			for (size_t j = 0; j < KC_COUNT(at); j++)
				KC_CHECK(at[j] > INT32_MAX ||
					 kc_divide(at[j], &d) == at[j] / by[k]);
		}
	}
}

static void *device_memory(struct kc_device *d, size_t bytes)
{
	void *p = NULL;

	KC_CHECK_OK(kc_device_alloc(d, bytes, &p));
	return p;
}

/* ---- bias and activation ---- */

static double value(int64_t i)
{
	return (double)((i * 37 + i / 1000) % 64 - 32) / 8;
}

static double bias_of(int64_t c)
{
	return (double)(c % 16 - 8) / 4;
}

/* shift: elements from an address that is a multiple of 16. */
static void check_finish(struct kc_device *d, enum kc_dtype dtype, int64_t channels, int64_t pads,
			 int64_t pixels, int64_t shift)
{
	int64_t pitch = channels + pads, n = pitch * pixels, wrong = 0;
	const struct kc_type type = KC_TYPE(dtype, n), of_bias = KC_TYPE(KC_F32, channels);
	struct kc_cu_ending e = {.dtype = dtype, .pixels = pixels, .channels = channels,
				 .pitch = pitch, .act = KC_LEAKY, .slope = 0.25f};
	char *memory = device_memory(d, (size_t)(n + shift) * kc_dtype_size(dtype));
	struct kc_buf y = kc_buf_of(memory + (size_t)shift * kc_dtype_size(dtype), &type, KC_PLAIN);
	struct kc_buf b = kc_buf_of(device_memory(d, (size_t)channels * 4), &of_bias, KC_PLAIN);

	for (int64_t c = 0; c < channels; c++)
		kc_put(&b, c, bias_of(c));
	for (int64_t i = 0; i < n; i++)
		kc_put(&y, i, value(i));
	e.y = y.data;
	e.bias = b.data;
	KC_CHECK(!kc_cu_finish(&e, kc_cuda_of(d)->stream));
	for (int64_t i = 0; i < n; i++) {
		double x = i % pitch < channels ? value(i) + bias_of(i % pitch) : 0;

		wrong += kc_get(&y, i) != (x > 0 ? x : 0.25 * x);
	}
	if (wrong)
		kc_test_fail(__FILE__, __LINE__, "%s, %d channels: %d of %d are wrong",
			     kc_dtype_name(dtype), (int)channels, (int)wrong, (int)n);
	kc_device_free(d, b.data);
	kc_device_free(d, memory);
}

static void test_finish(void)
{
	struct kc_device d;

	KC_CHECK_OK(kc_emulator_open(&d));
	check_finish(&d, KC_BF16, 196, 0, 7001, 0);
	check_finish(&d, KC_BF16, 3, 5, 101, 0);
	check_finish(&d, KC_BF16, 473, 7, 3001, 0);
	check_finish(&d, KC_BF16, 313, 7, 900, 1);
	check_finish(&d, KC_F32, 3, 0, 260001, 0);
	check_finish(&d, KC_F32, 1, 0, 7, 0);
	check_finish(&d, KC_F32, 1000003, 0, 1, 0);
	kc_device_release(&d);
}

/* ---- boxes ---- */

/* Whole pixels between images of more channels. */
static void check_boxes(struct kc_device *d, int64_t channels, int64_t wide, int64_t pixels)
{
	const struct kc_type part = KC_TYPE(KC_BF16, pixels, channels),
			     all = KC_TYPE(KC_BF16, pixels, wide);
	uint16_t *x = device_memory(d, (size_t)(pixels * channels) * 2);
	uint16_t *y = device_memory(d, (size_t)(pixels * wide) * 2);
	struct kc_buf from = kc_buf_of(x, &part, KC_PLAIN), to = kc_buf_of(y, &all, KC_PLAIN);
	int64_t wrong = 0;

	for (int64_t i = 0; i < pixels * channels; i++)
		x[i] = (uint16_t)(i * 31 + i / 65536);
	memset(y, 0, (size_t)(pixels * wide) * 2);
	to.type = part;
	KC_CHECK_OK(kc_cuda_move(&to, &from, 1, 1, kc_cuda_of(d)->stream));
	for (int64_t p = 0; p < pixels; p++)
		for (int64_t c = 0; c < wide; c++)
			wrong += y[p * wide + c] != (c < channels ? x[p * channels + c] : 0);
	if (wrong)
		kc_test_fail(__FILE__, __LINE__, "%d of %d channels: %d elements are wrong",
			     (int)channels, (int)wide, (int)wrong);
	kc_device_free(d, x);
	kc_device_free(d, y);
}

/* The same from float32 to bf16 and back, whose numbers are whole. */
static void check_conversion(struct kc_device *d, int64_t channels, int64_t wide, int64_t pixels)
{
	const struct kc_type part = KC_TYPE(KC_F32, pixels, channels),
			     low = KC_TYPE(KC_BF16, pixels, channels),
			     all = KC_TYPE(KC_BF16, pixels, wide);
	struct kc_buf x = kc_buf_of(device_memory(d, (size_t)(pixels * channels) * 4), &part,
				    KC_PLAIN);
	struct kc_buf y = kc_buf_of(device_memory(d, (size_t)(pixels * wide) * 2), &all, KC_PLAIN);
	struct kc_buf back = kc_buf_of(device_memory(d, (size_t)(pixels * channels) * 4), &part,
				       KC_PLAIN);
	const float *u = x.data, *v = back.data;
	int64_t wrong = 0;

	for (int64_t i = 0; i < pixels * channels; i++)
		((float *)x.data)[i] = (float)(i % 199);
	y.type = low;
	KC_CHECK_OK(kc_cuda_move(&y, &x, 1, 1, kc_cuda_of(d)->stream));
	KC_CHECK_OK(kc_cuda_move(&back, &y, 1, 1, kc_cuda_of(d)->stream));
	for (int64_t i = 0; i < pixels * channels; i++)
		wrong += u[i] != v[i];
	if (wrong)
		kc_test_fail(__FILE__, __LINE__, "%d of %d channels: %d elements are wrong",
			     (int)channels, (int)wide, (int)wrong);
	kc_device_free(d, x.data);
	kc_device_free(d, y.data);
	kc_device_free(d, back.data);
}

static void test_boxes(void)
{
	struct kc_device d;

	KC_CHECK_OK(kc_emulator_open(&d));
	check_boxes(&d, 3, 5, 1500000);
	check_boxes(&d, 64, 82, 150000);
	check_boxes(&d, 64, 72, 300001);
	check_boxes(&d, 7, 9, 3);
	check_conversion(&d, 3, 16, 250001);
	check_conversion(&d, 8, 12, 100001);
	kc_device_release(&d);
}

/* ---- chains ---- */

/* y = a + b, with room for as many values as a chain can keep. */
static void check_chain(struct kc_device *d, int64_t n, int slots)
{
	struct kc_cu_chain c = {.n = n, .dim = {n}, .by = {kc_divisor_of((uint32_t)n)}, .nd = 1,
				.n_in = 2, .n_out = 1, .n_code = 1, .slots = slots};
	int64_t wrong = 0;
	float *y;

	for (int k = 0; k < 2; k++) {
		float *x = device_memory(d, (size_t)n * 4);

		for (int64_t i = 0; i < n; i++)
			x[i] = (float)value(k ? i : i + 5);
		c.in[k] = (struct kc_cu_operand){.data = x, .dtype = KC_F32, .stride = {1}};
	}
	y = device_memory(d, (size_t)n * 4);
	c.out[0] = (struct kc_cu_operand){.data = y, .dtype = KC_F32, .stride = {1}};
	c.code[0] = (struct kc_cu_code){.op = KC_PW_add, .n = 2, .arg = {0, 1},
					.to = KC_CU_NOWHERE, .stores = 1};
	kc_cu_divide_chain(&c);
	KC_CHECK(!kc_cu_run_chain(&c, kc_cuda_of(d)->stream));
	for (int64_t i = 0; i < n; i++)
		wrong += y[i] != (float)(value(i + 5) + value(i));
	if (wrong)
		kc_test_fail(__FILE__, __LINE__, "%d slots: %d of %d are wrong", slots, (int)wrong,
			     (int)n);
	for (int k = 0; k < 2; k++)
		kc_device_free(d, c.in[k].data);
	kc_device_free(d, y);
}

static void test_chain(void)
{
	struct kc_device d;

	KC_CHECK_OK(kc_emulator_open(&d));
	check_chain(&d, 1100003, KC_CU_CHAIN_IN + KC_CU_CHAIN_CODE + 1);
	check_chain(&d, 5000, 24);
	check_chain(&d, 5000, 3);
	kc_device_release(&d);
}

const struct kc_test kc_tests_cuda_rounds[] = {
	{"division by a product and a shift", test_divide},
	{"bias and activation over all channels of many pixels", test_finish},
	{"boxes of millions of units", test_boxes},
	{"chains of up to as many values as they can keep", test_chain},
	{0}};
