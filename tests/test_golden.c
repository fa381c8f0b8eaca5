/* The committed fixtures, and that the checker does refuse what is wrong. */
#include "core/file.h"
#include "tests/golden.h"
#include "tests/test.h"

#include <stdlib.h>

static void check(const char *fixture, enum golden_mode mode, const char *device_name)
{
	struct kc_device device;
	struct golden g = {.mode = mode, .device = &device, .print = GOLDEN_PRINT_FAILURES};

	if (!KC_CHECK_OK(test_device(device_name, &device)))
		return;
	golden_file(&g, kc_test_fixture(fixture));
	KC_CHECK(g.failed == 0);
	KC_CHECK(g.passed > 0);
	kc_device_release(&device);
}

static void test_ops_reference(void)
{
	check("golden/ops.safetensors", GOLDEN_F64, "reference");
}

static void test_ops_cpu(void)
{
	check("golden/ops.safetensors", GOLDEN_F32, "cpu");
}

static void test_ops_low(void)
{
	check("golden/ops.safetensors", GOLDEN_BF16, "cpu");
}

static void test_siggraph17(void)
{
	check("golden/siggraph17.safetensors", GOLDEN_F32, "cpu");
}

static void test_eccv16(void)
{
	check("golden/eccv16_eval.safetensors", GOLDEN_F32, "cpu");
	check("golden/eccv16_train.safetensors", GOLDEN_F32, "cpu");
}

/* Not among the committed fixtures, which they would outgrow. */
static void test_discriminators(void)
{
	static const char *const names[] = {"nlayer_bn_eval", "nlayer_bn_train", "nlayer_in",
					    "pixel_bn_train", "sn_patch"};
	struct kc_device device;
	struct golden g = {.device = &device, .print = GOLDEN_PRINT_FAILURES};

	if (!KC_CHECK_OK(test_device("cpu", &device)))
		return;
	for (size_t i = 0; i < KC_COUNT(names); i++) {
		char *path = kc_format("../shared/golden/patchgan_%s.safetensors", names[i]);

		KC_ASSERT(path);
		for (g.mode = GOLDEN_F32; g.mode <= GOLDEN_BF16 && kc_file_exists(path); g.mode++)
			golden_file(&g, path);
		free(path);
	}
	kc_device_release(&device);
	if (!g.passed && !g.failed)
		kc_test_skip("the fixtures are not here");
	else
		KC_CHECK(g.passed == 15 && !g.failed);
}

static void test_tcvc_forward(void)
{
	check("golden/tcvc_forward_net.safetensors", GOLDEN_F32, "cpu");
}

static void test_tcvc_grad(void)
{
	check("golden/tcvc_grad_net.safetensors", GOLDEN_F32, "cpu");
}

static void test_tcvc_train(void)
{
	check("golden/tcvc_train.safetensors", GOLDEN_F32, "cpu");
}

static void test_colour(void)
{
	check("golden/colour_data/colour_data.safetensors", GOLDEN_F32, "cpu");
	check("golden/colour_data/colour_data.safetensors", GOLDEN_F64, "cpu");
}

static void test_json(void)
{
	check("golden/schedules.json", GOLDEN_F64, "reference");
	check("golden/metrics/metrics.json", GOLDEN_F64, "reference");
}

/* ---- files of the test's own ---- */

/* A file of one case, x -> y with gradients g and d of 3 values. */
static int write_case(const char *path, const char *cases, const float y[3], const float d[3])
{
	static const float x[3] = {-1, 0.5f, 2}, g[3] = {1, 2, 3};
	const struct kc_st_item items[] = {
		{"one/in.x", KC_ST_F32, 1, {3}, x}, {"one/out.y", KC_ST_F32, 1, {3}, y},
		{"one/g.y", KC_ST_F32, 1, {3}, g}, {"one/d.x", KC_ST_F32, 1, {3}, d},
	};
	const struct kc_st_pair meta[] = {{"cases", cases}};

	return kc_st_save(path, items, KC_COUNT(items), meta, 1);
}

/* Failures among the cases of the file. */
static int failures(const char *path)
{
	struct kc_device device;
	struct golden g = {.mode = GOLDEN_F64, .device = &device, .print = GOLDEN_PRINT_NOTHING};

	if (!KC_CHECK_OK(test_device("reference", &device)))
		return -1;
	golden_file(&g, path);
	kc_device_release(&device);
	KC_CHECK(g.passed + g.failed == 1);
	return g.failed;
}

static void test_detects(void)
{
	static const char loss[] = "{\"one\": {\"op\": \"loss\", \"attrs\": {}}}";
	static const char mul[] = "{\"one\": {\"op\": \"mul\", \"attrs\": {}}}";
	static const char stop[] = "{\"one\": {\"op\": \"stop\", \"attrs\": {}}}";
	static const char unknown[] = "{\"one\": {\"op\": \"fold\", \"attrs\": {}}}";
	static const char softmax[] = "{\"one\": {\"op\": \"softmax\", \"attrs\": {\"axis\": 0}}}";
	static const char round[] = "{\"one\": {\"op\": \"round\", \"attrs\": {}}}";
	static const float y[3] = {-1, 0, 2}, wrong[3] = {-1, 1, 2}, zero[3] = {0};
	const char *path = kc_test_path("one.safetensors");

	KC_CHECK_OK(write_case(path, round, y, zero));
	KC_CHECK(failures(path) == 0);
	KC_CHECK_OK(write_case(path, round, wrong, zero));
	KC_CHECK(failures(path) == 1);
	KC_CHECK_OK(write_case(path, round, y, y));
	KC_CHECK(failures(path) == 1);
	KC_CHECK_OK(write_case(path, softmax, y, zero));
	KC_CHECK(failures(path) == 1);
	KC_CHECK_OK(write_case(path, unknown, y, zero));
	KC_CHECK(failures(path) == 1);
	for (int i = 0; i < 3; i++) {           /* inputs that the case does not have */
		KC_CHECK_OK(write_case(path, (const char *[]){loss, mul, stop}[i], y, zero));
		KC_CHECK(failures(path) == 1);
	}
}

static void test_unknown_files(void)
{
	static const float x[3] = {0};
	const struct kc_st_item item = {"x", KC_ST_F32, 1, {3}, x};
	const char *path = kc_test_path("other.safetensors");

	KC_CHECK(failures(kc_test_path("missing.safetensors")) == 1);
	KC_CHECK_OK(kc_st_save(path, &item, 1, NULL, 0));
	KC_CHECK(failures(path) == 1);
	KC_CHECK_OK(kc_st_save(path, &item, 1, &(struct kc_st_pair){"weights", "alexnet"}, 1));
	KC_CHECK(failures(path) == 1);
	KC_CHECK_OK(kc_st_save(path, &item, 1, &(struct kc_st_pair){"weights", "siggraph17"}, 1));
	KC_CHECK(failures(path) == 1);
	KC_CHECK_OK(kc_st_save(path, &item, 1, &(struct kc_st_pair){"optimizer", "Adam"}, 1));
	KC_CHECK(failures(path) == 1);
}

const struct kc_test kc_tests_golden[] = {
	{"the checker finds a wrong value, gradient or operator", test_detects},
	{"files of no known kind fail", test_unknown_files},
	{"operators, float64, reference kernels", test_ops_reference},
	{"operators, float32", test_ops_cpu},
	{"operators, bfloat16", test_ops_low},
	{"siggraph17", test_siggraph17},
	{"eccv16, evaluated and trained", test_eccv16},
	{"discriminators", test_discriminators},
	{"TCVC with FlowNet 2.0, forward", test_tcvc_forward},
	{"TCVC with FlowNet 2.0, gradients", test_tcvc_grad},
	{"TCVC, 20 training steps", test_tcvc_train},
	{"images, symmetries, Lab, resizing", test_colour},
	{"schedules and metrics", test_json},
	{0}};
