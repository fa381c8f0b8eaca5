/* What a device keeps between plans. */
#include "core/plan.h"
#include "layers/cpu/cpu.h"
#include "layers/layers.h"
#include "tests/test.h"

#include <stdlib.h>

enum { SIDE = 8, CHANNELS = 16 };

static void fill(struct kc_params *params, float x)
{
	for (size_t i = 0; i < params->n; i++) {
		struct kc_buf b = kc_param_master(params->v[i]);

		for (int64_t k = 0; k < kc_numel(&b.type); k++)
			((float *)b.data)[k] = x;
	}
}

/* A frozen 1x1 convolution of ones whose weights and biases all are x, on the device. */
static double run_once(struct kc_device *device, float x)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_params *params = kc_params_new(KC_F32);
	struct kc_model m = {.g = g, .params = params, .frozen = true};
	struct kc_tensor *in = kc_input(g, "x", KC_TYPE(KC_REAL, 1, CHANNELS, SIDE, SIDE));
	struct kc_tensor *y = kc_mean(g, kc_conv(&m, "conv", in, .out = CHANNELS, .k = 1));
	struct kc_plan *plan = NULL;
	struct kc_buf slot;
	double mean = -1;

	if (KC_CHECK_OK(kc_params_alloc(params, false, false))) {
		fill(params, x);
		if (KC_CHECK_OK(
			    kc_plan_build(&plan, g, device, &y, 1, &(struct kc_plan_opts){0})) &&
		    KC_CHECK_OK(kc_plan_slot(plan, in, &slot))) {
			for (int64_t k = 0; k < kc_numel(&slot.type); k++)
				((float *)slot.data)[k] = 1;
			if (KC_CHECK_OK(kc_plan_run(plan)))
				mean = kc_plan_scalar(plan, y);
		}
	}
	kc_plan_free(plan);
	kc_params_free(params);
	kc_model_release(&m);
	kc_graph_free(g);
	return mean;
}

/* The second store's parameters usually get the addresses of the first one's. */
static void test_packed(void)
{
	struct kc_device device;

	if (!KC_CHECK_OK(kc_device_cpu(&device, 1)))
		return;
	for (int i = 1; i <= 20; i++) {
		double mean = run_once(&device, (float)i);

		KC_CHECK(mean == i * (CHANNELS + 1.0));
	}
	kc_device_release(&device);
	KC_CHECK(run_once(&device, 2) == 2 * (CHANNELS + 1.0));
	kc_device_release(&device);
}

const struct kc_test kc_tests_device[] = {
	{"packed parameters die with their store", test_packed},
	{0},
};
