/*
 * Plans on a device with memory of its own are fed while they run: values, order, waits, on the
 * emulated device.
 */
#include "core/plan.h"
#include "layers/devices.h"
#include "layers/layers.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/fault.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

enum { N = 40, RUNS = 9 };

/* y = a * b * c, its sum, and the norm of y and b; a always changes, b at times, c once. */
struct feeding {
	struct kc_device device;
	struct kc_graph *g;
	struct kc_plan *plan;
	struct kc_tensor *a, *b, *c, *y, *sum, *norm;
};

static int open_device(struct feeding *f, const char *name)
{
	const struct kc_device_choice choice = {.no_autotune = true,
						.no_record = !strcmp(name, "unrecorded")};

	if (strcmp(name, "reference"))
		return kc_emulator_open_as(&f->device, &choice);
	kc_device_reference(&f->device);
	return 0;
}

static bool begin(struct feeding *f, const char *name)
{
	struct kc_tensor *all[3];

	*f = (struct feeding){.g = kc_graph_new(&kc_layers)};
	KC_ASSERT(f->g);
	f->a = kc_input(f->g, "a", KC_TYPE(KC_U8, N));
	f->b = kc_input(f->g, "b", KC_TYPE(KC_REAL, N));
	f->c = kc_input(f->g, "c", KC_TYPE(KC_REAL, N));
	f->y = kc_mul(f->g, kc_mul(f->g, kc_to_real(f->g, f->a, 1), f->b), f->c);
	all[0] = f->y;
	all[1] = f->b;                  /* its address is kept in a table of the kernel */
	f->norm = kc_global_norm(f->g, all, 2);
	f->sum = kc_sum(f->g, f->y);
	all[1] = f->norm;
	all[2] = f->sum;
	return KC_CHECK_OK(open_device(f, name)) &&
	       KC_CHECK_OK(kc_plan_build(&f->plan, f->g, &f->device, all, 3,
					 &(struct kc_plan_opts){.real = KC_F32}));
}

static void end(struct feeding *f)
{
	kc_plan_free(f->plan);
	kc_graph_free(f->g);
	kc_device_release(&f->device);
}

static void feed_bytes(struct feeding *f, int step)
{
	uint8_t bytes[N];
	struct kc_buf b = kc_buf_of(bytes, &f->a->type, KC_PLAIN);

	for (int i = 0; i < N; i++)
		bytes[i] = (uint8_t)(7 * i + 31 * step);
	KC_CHECK_OK(kc_plan_feed(f->plan, f->a, &b));
}

/* Half of b is written every third time; c at the start alone. */
static void feed(struct feeding *f, int step)
{
	struct kc_buf b;

	feed_bytes(f, step);
	if (step % 3 == 0 && KC_CHECK_OK(kc_plan_slot(f->plan, f->b, &b)))
		for (int i = step % 2; i < N; i += 2)
			((float *)b.data)[i] = (float)(step + 1) / (float)(i + 1);
	if (!step && KC_CHECK_OK(kc_plan_slot(f->plan, f->c, &b)))
		for (int i = 0; i < N; i++)
			((float *)b.data)[i] = (float)(i + 1);
}

struct seen { double norm, sum; float y[N]; };

static void look(struct feeding *f, struct seen *s)
{
	struct kc_type t = KC_TYPE(KC_F32, N);
	struct kc_buf b = kc_buf_of(s->y, &t, KC_PLAIN);

	s->norm = kc_plan_scalar(f->plan, f->norm);
	s->sum = kc_plan_scalar(f->plan, f->sum);
	KC_CHECK_OK(kc_plan_read(f->plan, f->y, &b));
}

/* One run after the other. */
static void in_turn(const char *device, struct seen *seen)
{
	struct feeding f;

	if (begin(&f, device))
		for (int i = 0; i < RUNS; i++) {
			feed(&f, i);
			KC_CHECK_OK(kc_plan_run(f.plan));
			look(&f, &seen[i]);
		}
	end(&f);
}

/* What is fed behind a run is for the next. */
static void ahead(const char *device, bool send, struct seen *seen)
{
	struct feeding f;

	if (begin(&f, device)) {
		feed(&f, 0);
		for (int i = 0; i < RUNS; i++) {
			KC_CHECK_OK(kc_plan_run(f.plan));
			if (i + 1 < RUNS)
				feed(&f, i + 1);
			if (send)
				KC_CHECK_OK(kc_plan_send(f.plan));
			look(&f, &seen[i]);
		}
	}
	end(&f);
}

static bool near(double got, double want)
{
	return want > 0 && fabs(got - want) <= 1e-6 * want;
}

static void check_near(const struct seen *got, const struct seen *want)
{
	for (int i = 0; i < RUNS; i++) {
		KC_CHECK(near(got[i].norm, want[i].norm));
		KC_CHECK(near(got[i].sum, want[i].sum));
		for (int k = 0; k < N; k++)
			KC_CHECK(got[i].y[k] == want[i].y[k] || near(got[i].y[k], want[i].y[k]));
	}
}

static void test_values(void)
{
	struct seen want[RUNS], got[RUNS], one[RUNS];

	in_turn("reference", want);
	in_turn("recorded", one);
	check_near(one, want);
	in_turn("unrecorded", got);
	KC_CHECK(!memcmp(got, one, sizeof one));
	for (int send = 0; send < 2; send++) {
		ahead("recorded", send, got);
		KC_CHECK(!memcmp(got, one, sizeof one));
		ahead("unrecorded", send, got);
		KC_CHECK(!memcmp(got, one, sizeof one));
	}
}

/* A run that nothing was fed for has the values of the last; so has what is read late. */
static void test_again(void)
{
	struct seen one, other;
	struct feeding f;

	if (begin(&f, "recorded")) {
		feed(&f, 0);
		KC_CHECK_OK(kc_plan_run(f.plan));
		look(&f, &one);
		for (int i = 0; i < 3; i++) {
			KC_CHECK_OK(kc_plan_run(f.plan));
			look(&f, &other);
			KC_CHECK(!memcmp(&one, &other, sizeof one));
		}
		feed(&f, 1);
		feed(&f, 2);
		KC_CHECK_OK(kc_plan_send(f.plan));
		look(&f, &other);
		KC_CHECK(!memcmp(&one, &other, sizeof one));
		feed(&f, 0);            /* again, though it was sent */
		KC_CHECK_OK(kc_plan_run(f.plan));
		look(&f, &other);
		KC_CHECK(!memcmp(&one, &other, sizeof one));
	}
	end(&f);
}

static void test_waits(void)
{
	struct feeding f;
	uint64_t before;

	if (begin(&f, "recorded")) {
		feed(&f, 0);
		for (int i = 1; i < RUNS; i++) {
			before = emu_waits();
			KC_CHECK_OK(kc_plan_run(f.plan));
			feed(&f, i);
			KC_CHECK_OK(kc_plan_send(f.plan));
			KC_CHECK_OK(kc_plan_wait(f.plan));
			KC_CHECK(kc_plan_scalar(f.plan, f.norm) > 0);
			KC_CHECK(kc_plan_scalar(f.plan, f.sum) > 0);
			KC_CHECK(emu_waits() == before + 1);
		}
	}
	end(&f);
}

/* Numbers that lie in one value, as means over ranks do, one of them fetched twice. */
static void test_parts(void)
{
	struct feeding f = {.g = kc_graph_new(&kc_layers)};
	struct kc_tensor *x = kc_input(f.g, "x", KC_TYPE(KC_REAL, 4)), *y = kc_exp(f.g, x);
	struct kc_tensor *all[4];
	struct kc_buf slot;
	uint64_t before;

	for (int i = 0; i < 3; i++)
		all[i] = kc_slice(f.g, y, 0, i, 1, 1);
	all[3] = all[1];
	if (KC_CHECK_OK(open_device(&f, "recorded")) &&
	    KC_CHECK_OK(kc_plan_build(&f.plan, f.g, &f.device, all, 4,
				      &(struct kc_plan_opts){.real = KC_F32})) &&
	    KC_CHECK_OK(kc_plan_slot(f.plan, x, &slot))) {
		for (int i = 0; i < 4; i++)
			((float *)slot.data)[i] = (float)i;
		KC_CHECK_OK(kc_plan_run(f.plan));
		before = emu_waits();
		for (int i = 0; i < 3; i++)
			KC_CHECK(near(kc_plan_scalar(f.plan, all[i]), exp(i)));
		KC_CHECK(emu_waits() == before + 1);
	}
	end(&f);
}

/* Both places are planned for. */
static void test_planned(void)
{
	struct kc_plan_stats s;
	struct feeding f;

	if (begin(&f, "recorded")) {
		kc_plan_stats(f.plan, &s);
		KC_CHECK(s.slots == KC_RING * (N + 2 * N * sizeof(float)));
	}
	end(&f);
}

/* ---- what is left out is found ---- */

static enum kc_lane broken_lane;
static int (*whole_follow)(struct kc_device *, enum kc_lane, void *);

static int follow_badly(struct kc_device *d, enum kc_lane lane, void *fence)
{
	return lane == broken_lane ? 0 : whole_follow(d, lane, fence);
}

static int await_nothing(struct kc_device *d, void *fence)
{
	(void)d, (void)fence;
	return 0;
}

/* Enough turns to come back to each place; the host knows of no run's end but by waiting. */
static void run_broken(void (*spoil)(struct kc_memory *))
{
	struct kc_memory memory;
	struct feeding f;

	KC_ASSERT(begin(&f, "recorded"));
	memory = *f.device.memory;
	whole_follow = memory.follow;
	spoil(&memory);
	f.device.memory = &memory;
	for (int i = 0; i < RUNS; i++) {
		feed_bytes(&f, i);
		kc_plan_send(f.plan);
		kc_plan_run(f.plan);
	}
	kc_plan_scalar(f.plan, f.sum);
	end(&f);
}

static void nothing(struct kc_memory *m)
{
	(void)m;
}

static void follow_spoilt(struct kc_memory *m)
{
	m->follow = follow_badly;
}

static void await_spoilt(struct kc_memory *m)
{
	m->await = await_nothing;
}

static void early_send(void)
{
	broken_lane = KC_LANE_SENDS;
	run_broken(follow_spoilt);
}

static void early_run(void)
{
	broken_lane = KC_LANE_RUNS;
	run_broken(follow_spoilt);
}

static void early_feed(void)
{
	run_broken(await_spoilt);
}

static void early_read(void)
{
	struct kc_memory memory;
	struct feeding f;

	KC_ASSERT(begin(&f, "recorded"));
	memory = *f.device.memory;
	memory.await = await_nothing;
	f.device.memory = &memory;
	kc_plan_run(f.plan);
	kc_plan_scalar(f.plan, f.sum);
}

static void test_order(void)
{
	run_broken(nothing);
	kc_test_fault(early_send, "a copy writes what");
	kc_test_fault(early_run, "reads what a copy of another stream uses");
	kc_test_fault(early_feed, "feeding writes what a copy of another stream uses");
	kc_test_fault(early_read, "reading reads what a copy of another stream uses");
}

/* ---- figures ---- */

/* Milliseconds of a run in the last line of the profile's first table; of how many steps. */
static double profiled(const struct kc_plan *p, int *steps)
{
	char *text = NULL, *all, *line;
	double ms = 0;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	KC_ASSERT(f);
	kc_plan_profile(p, f);
	fclose(f);
	KC_CHECK(strstr(text, " fused [chain]\n"));
	KC_CHECK(strstr(text, " fused [chain]: 40 40 -> 40 float32\n"));
	all = strstr(text, "  all\n");
	KC_ASSERT(all);
	for (line = all; line > text && line[-1] != '\n'; line--)
		;
	KC_CHECK(sscanf(line, "%d %lf", steps, &ms) == 2);
	free(text);
	return ms;
}

/* A plan that ran is profiled from then on, and computes the same. */
static void test_profile(void)
{
	struct kc_plan_stats s;
	struct seen before, after;
	struct feeding f;
	int steps = 0;

	if (begin(&f, "recorded")) {
		feed(&f, 0);
		for (int i = 0; i < 2 * KC_RING + 1; i++)
			KC_CHECK_OK(kc_plan_run(f.plan));
		look(&f, &before);
		kc_plan_stats(f.plan, &s);
		KC_CHECK(s.launches >= s.steps);
		kc_plan_profile_start(f.plan);
		for (int i = 0; i < 3; i++)
			KC_CHECK_OK(kc_plan_run(f.plan));
		look(&f, &after);
		KC_CHECK(!memcmp(&before, &after, sizeof before));
		KC_CHECK(profiled(f.plan, &steps) > 0);
		KC_CHECK(steps == s.steps);
	}
	end(&f);
}

/* Of any device; and what it took is given back. */
static void test_peak(void)
{
	struct kc_device d;
	size_t held = emu_allocations();

	if (!KC_CHECK_OK(kc_emulator_open(&d)))
		return;
	KC_CHECK(kc_device_peak(&d, false) > 1e5);
	KC_CHECK(kc_device_peak(&d, true) > 1e5);
	kc_device_release(&d);
	KC_CHECK(emu_allocations() == held);
}

const struct kc_test kc_tests_cuda_feed[] = {
	{"what is fed during a run is for the next one", test_values},
	{"what is not fed stays", test_again},
	{"a run that is fed ahead is waited for once", test_waits},
	{"numbers within one value come with the run, too", test_parts},
	{"both places of a slot are planned for", test_planned},
	{"every place where one lane waits for another is needed", test_order},
	{"cuda: a plan that ran can be profiled, and says how much it launches", test_profile},
	{"cuda: the peak of matrix products is measured", test_peak},
	{0}};
