/* Crops and symmetries by operators equal those of the loader, bit for bit, on every device. */
#include "core/plan.h"
#include "core/random.h"
#include "data/pack.h"
#include "data/symmetry.h"
#include "layers/cut.h"
#include "layers/layers.h"
#include "tests/emulator/device.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <stdlib.h>

_Static_assert((int)KC_CUT_MIRROR_X == KC_MIRROR_X && (int)KC_CUT_MIRROR_Y == KC_MIRROR_Y &&
		       (int)KC_CUT_TRANSPOSE == KC_TRANSPOSE,
	       "a symmetry has one number");

/* Images of as many samples, one table for both kinds. */
struct trial {
	struct kc_device *device;
	struct kc_random random;
	int samples, repeats, width, height, side;
	int32_t table[16][3];
	uint8_t *frames, *want_frames, *got_frames;
	int16_t *flows;
	float *want_flows, *got_flows;
};

static int below(struct trial *t, int n)
{
	return (int)kc_random_below(&t->random, (uint64_t)n);
}

static void trial_init(struct trial *t)
{
	size_t n = (size_t)(t->samples * t->repeats), whole = n * (size_t)(t->width * t->height);
	size_t cut = n * (size_t)(t->side * t->side);

	t->frames = kc_alloc(3 * whole);
	t->flows = kc_alloc(2 * whole * sizeof *t->flows);
	t->want_frames = kc_alloc(3 * cut);
	t->got_frames = kc_calloc(3, cut);
	t->want_flows = kc_alloc(2 * cut * sizeof(float));
	t->got_flows = kc_calloc(2 * cut, sizeof(float));
	KC_ASSERT(t->frames && t->flows && t->want_frames && t->got_frames && t->want_flows &&
		  t->got_flows);
	for (size_t i = 0; i < 3 * whole; i++)
		t->frames[i] = (uint8_t)below(t, 256);
	/* Zeros among them: turned they are negative. */
	for (size_t i = 0; i < 2 * whole; i++)
		t->flows[i] = (int16_t)(below(t, 4) ? below(t, 1 << 16) - (1 << 15) : 0);
	for (int i = 0; i < t->samples; i++) {
		t->table[i][0] = below(t, t->width - t->side + 1);
		t->table[i][1] = below(t, t->height - t->side + 1);
		t->table[i][2] = i % 8;
	}
}

static void trial_release(struct trial *t)
{
	free(t->frames);
	free(t->flows);
	free(t->want_frames);
	free(t->got_frames);
	free(t->want_flows);
	free(t->got_flows);
}

static void cut_on_host(struct trial *t)
{
	const size_t whole = (size_t)(t->width * t->height), cut = (size_t)(t->side * t->side);

	for (size_t n = 0; n < (size_t)(t->samples * t->repeats); n++) {
		const int32_t *row = t->table[n % (size_t)t->samples];
		const struct kc_crop crop = {t->width, row[0], row[1], t->side, t->side};

		kc_crop_pixels(t->frames + 3 * n * whole, &crop, (unsigned)row[2], 3,
			       t->want_frames + 3 * n * cut);
		kc_crop_flow16(t->flows + 2 * n * whole, &crop, (unsigned)row[2],
			       KC_PACK_FLOW_UNIT, t->want_flows + 2 * n * cut);
	}
}

static int run(struct trial *t, struct kc_graph *g)
{
	const struct kc_plan_opts opts = {.real = KC_F32};
	int64_t n = t->samples * t->repeats;
	struct kc_tensor *frames = kc_input(g, "frames", KC_TYPE(KC_U8, n, 3, t->height, t->width));
	struct kc_tensor *flows = kc_input(g, "flows", KC_TYPE(KC_I32, n, 1, t->height, t->width));
	struct kc_tensor *table = kc_input(g, "table", KC_TYPE(KC_I32, t->samples, 3));
	struct kc_tensor *out[2] = {kc_cut_frames(g, frames, table, t->side),
				    kc_cut_flows(g, flows, table, t->side, KC_PACK_FLOW_UNIT)};
	struct kc_buf b = kc_buf_of(t->frames, &frames->type, KC_CLAST);
	struct kc_plan *p;
	int rc;

	KC_TRY(kc_plan_build(&p, g, t->device, out, 2, &opts));
	rc = kc_plan_feed(p, frames, &b);
	b = kc_buf_of(t->flows, &flows->type, KC_CLAST);
	rc = rc ? rc : kc_plan_feed(p, flows, &b);
	b = kc_buf_of(t->table, &table->type, KC_PLAIN);
	rc = rc ? rc : kc_plan_feed(p, table, &b);
	rc = rc ? rc : kc_plan_run(p);
	b = kc_buf_of(t->got_frames, &out[0]->type, KC_CLAST);
	rc = rc ? rc : kc_plan_read(p, out[0], &b);
	b = kc_buf_of(t->got_flows, &out[1]->type, KC_CLAST);
	rc = rc ? rc : kc_plan_read(p, out[1], &b);
	kc_plan_free(p);
	return rc;
}

static void cut_on_device(struct trial *t)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);

	KC_ASSERT(g);
	KC_CHECK_OK(run(t, g));
	kc_graph_free(g);
}

static void fail(const struct trial *t, const char *when, const char *what)
{
	kc_test_fail(__FILE__, __LINE__, "%s, %s of %d x %d, side %d: others than the host's",
		     when, what, t->width, t->height, t->side);
}

static void compare(const struct trial *t, const char *when)
{
	size_t cut = (size_t)(t->samples * t->repeats * t->side * t->side);

	if (memcmp(t->got_frames, t->want_frames, 3 * cut))
		fail(t, when, "frames");
	if (memcmp(t->got_flows, t->want_flows, 2 * cut * sizeof(float)))
		fail(t, when, "flows");
}

/* A square that does not lie inside is read as if it were moved inside; nothing else is read. */
static void place_outside(struct trial *t)
{
	const int32_t far[] = {INT32_MIN, -5, -1, t->width + t->height, INT32_MAX};

	for (int i = 0; i < t->samples; i++) {
		for (int k = 0; k < 2; k++)
			t->table[i][k] = far[below(t, KC_COUNT(far))];
		t->table[i][2] |= i % 2 ? INT32_MIN : 8;
	}
}

static void pull_inside(struct trial *t)
{
	for (int i = 0; i < t->samples; i++) {
		int32_t *v = t->table[i];

		v[0] = KC_MAX(KC_MIN(v[0], t->width - t->side), 0);
		v[1] = KC_MAX(KC_MIN(v[1], t->height - t->side), 0);
		v[2] &= 7;
	}
}

static void check(struct kc_device *d, uint64_t seed, int samples, int side, int more_wide,
		  int more_high)
{
	struct trial t = {.device = d, .samples = samples, .repeats = 2, .side = side,
			  .width = side + more_wide, .height = side + more_high};

	kc_random_init(&t.random, seed, KC_STREAM_TEST, 0, 0);
	trial_init(&t);
	cut_on_device(&t);
	cut_on_host(&t);
	compare(&t, d->name);
	place_outside(&t);
	cut_on_device(&t);
	pull_inside(&t);
	cut_on_host(&t);
	compare(&t, "outside");
	trial_release(&t);
}

static void check_sizes(struct kc_device *d)
{
	static const struct { int side, wide, high; } sizes[] = {
		{1, 0, 0}, {7, 4, 0}, {16, 0, 3}, {24, 13, 9}, {63, 1, 2}, {64, 5, 0},
		{80, 11, 7}, {130, 3, 1}, {96, 1, 0}};

	for (size_t i = 0; i < KC_COUNT(sizes); i++)
		check(d, i, 8, sizes[i].side, sizes[i].wide, sizes[i].high);
	for (uint64_t i = 0; i < 6; i++) {
		struct kc_random r;

		kc_random_init(&r, i, KC_STREAM_TEST, 1, 0);
		check(d, i, 9, 1 + (int)kc_random_below(&r, 90), (int)kc_random_below(&r, 40),
		      (int)kc_random_below(&r, 40));
	}
}

static void test_equal(void)
{
	static const char *const names[] = {"reference", "cpu"};
	struct kc_device d;

	for (size_t i = 0; i < KC_COUNT(names); i++)
		if (KC_CHECK_OK(test_device(names[i], &d))) {
			check_sizes(&d);
			kc_device_release(&d);
		}
	if (KC_CHECK_OK(kc_emulator_open_in_turn(&d))) {
		check_sizes(&d);
		kc_device_release(&d);
	}
}

static void check_refused(struct kc_type x, struct kc_type table, int side, bool flows,
			  const char *message)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *a = kc_input(g, "a", x), *b = kc_input(g, "b", table);

	if (flows)
		kc_cut_flows(g, a, b, side, 1);
	else
		kc_cut_frames(g, a, b, side);
	KC_CHECK_ERR(kc_graph_status(g), KC_ESHAPE, message);
	kc_graph_free(g);
}

static void test_refused(void)
{
	struct kc_type frames = KC_TYPE(KC_U8, 6, 3, 8, 9), table = KC_TYPE(KC_I32, 3, 3);

	check_refused(KC_TYPE(KC_REAL, 6, 3, 8, 9), table, 4, false, "expected frames of uint8");
	check_refused(frames, KC_TYPE(KC_I32, 4, 3), 4, false, "a table int32 4x3 for images");
	check_refused(frames, KC_TYPE(KC_REAL, 3, 3), 4, false, "expected int32 n x 3");
	check_refused(frames, KC_TYPE(KC_I32, 3, 2), 4, false, "a table int32 3x2");
	check_refused(frames, table, 9, false, "a square of 9 out of 6x3x8x9");
	check_refused(frames, table, 0, false, "a square of 0");
	check_refused(KC_TYPE(KC_I32, 6, 2, 8, 9), table, 4, true, "in one channel of int32");
}

const struct kc_test kc_tests_cut[] = {
	{"crops and symmetries by operators equal the loader's bit for bit", test_equal},
	{"shapes that cannot be cut are refused", test_refused},
	{0}};
