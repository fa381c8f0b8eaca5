/*
 * Plans of random graphs: what the passes make of them, where everything is allowed that devices
 * may be able to, computes the same bits as the graph as it was written, with NaN in the arena.
 */
#include "core/plan.h"
#include "core/random.h"
#include "layers/layers.h"
#include "layers/ops.h"
#include "tests/golden_run.h"
#include "tests/test.h"

#include <math.h>

/* ---- any graph ---- */

enum { SIDE = 4, INPUTS = 3, STEPS = 24, FETCH = 4, LARGEST = 2048, GRAPHS = 1000 };

struct random_graph {
	struct kc_graph *g;
	struct kc_random r;
	struct kc_tensor *x[INPUTS + STEPS];
	int n;
	struct test_feed feed[INPUTS];
	double values[INPUTS][LARGEST];
	struct kc_tensor *fetch[FETCH];
};

/* From 0 to n - 1. */
static int below(struct random_graph *a, int n)
{
	return (int)(kc_random_unit(&a->r) * n);
}

static struct kc_tensor *any(struct random_graph *a)
{
	int late = below(a, 2) ? KC_MIN(a->n, 4) : a->n;

	return a->x[a->n - 1 - below(a, late)];
}

/* One of the same dimensions as x: another, if there is one. */
static struct kc_tensor *like(struct random_graph *a, const struct kc_tensor *x)
{
	for (int tries = 0; tries < 16; tries++) {
		struct kc_tensor *y = a->x[below(a, a->n)];

		if (y != x && kc_same_dims(&x->type, &y->type))
			return y;
	}
	return kc_flip(a->g, (struct kc_tensor *)x, 3);
}

static struct kc_tensor *part(struct random_graph *a, struct kc_tensor *x, int axis)
{
	int64_t size = x->type.dim[axis], first, count;

	if (size < 2)
		return kc_tanh(a->g, x);
	first = below(a, (int)size);
	count = 1 + below(a, (int)(size - first));
	return kc_slice(a->g, x, axis, first, count, 1);
}

static struct kc_tensor *joined(struct random_graph *a, struct kc_tensor *x, int axis)
{
	struct kc_tensor *y = like(a, x);

	if (2 * kc_numel(&x->type) > LARGEST)
		return kc_sub(a->g, x, y);
	return below(a, 3) ? KC_CONCAT(a->g, axis, x, y)
			   : KC_CONCAT(a->g, axis, x, kc_tanh(a->g, y));
}

/* Numbers per channel, and something that they scale. */
static struct kc_tensor *of_channels(struct random_graph *a, struct kc_tensor *x)
{
	struct kc_type channels = KC_TYPE(KC_REAL, 1, x->type.dim[1], 1, 1);
	struct kc_tensor *sum = kc_tanh(a->g, kc_sum_to(a->g, x, &channels));

	return kc_mul(a->g, below(a, 2) ? x : like(a, x), sum);
}

static struct kc_tensor *next(struct random_graph *a)
{
	struct kc_tensor *x = any(a);

	switch (below(a, 10)) {
	case 0: return kc_tanh(a->g, x);
	case 1: return kc_mul(a->g, x, like(a, x));
	case 2: return kc_sub(a->g, x, kc_tanh(a->g, like(a, x)));
	case 3: return part(a, x, 0);
	case 4: return part(a, x, 1);
	case 5: return kc_square(a->g, kc_slice(a->g, part(a, x, 1), 1, 0, 1, 1));
	case 6: return joined(a, x, 0);
	case 7: return joined(a, x, 1);
	case 8: return kc_flip(a->g, x, below(a, 4));
	default: return of_channels(a, x);
	}
}

static void make(struct random_graph *a, uint64_t number)
{
	static const char *const names[INPUTS] = {"a", "b", "c"};
	const int64_t n = 1 + (int64_t)(number % 2);

	a->g = kc_graph_new(&kc_layers);
	KC_ASSERT(a->g);
	kc_random_init(&a->r, number, KC_STREAM_NOISE, 0, 0);
	for (int i = 0; i < INPUTS; i++) {
		a->x[i] = kc_input(a->g, names[i], KC_TYPE(KC_REAL, n, 4, SIDE, SIDE + 1));
		for (int64_t k = 0; k < kc_numel(&a->x[i]->type); k++)
			a->values[i][k] = 2 * kc_random_unit(&a->r) - 1;
		a->feed[i] = (struct test_feed){a->x[i], a->values[i]};
	}
	for (a->n = INPUTS; a->n < INPUTS + STEPS; a->n++) {
		struct kc_tensor *y = next(a);

		KC_ASSERT(!kc_is_poison(y));
		a->x[a->n] = y;
	}
	a->fetch[0] = a->x[a->n - 1];
	for (int i = 1; i < FETCH; i++)
		a->fetch[i] = a->x[INPUTS + below(a, STEPS)];
}

static void run(const struct random_graph *a, struct kc_device *d, const struct kc_plan_opts *opts,
		double *const *to)
{
	struct kc_plan *p;

	if (!KC_CHECK_OK(kc_plan_build(&p, a->g, d, a->fetch, FETCH, opts)))
		return;
	KC_CHECK_OK(test_feed_all(p, a->feed, INPUTS));
	KC_CHECK_OK(kc_device_reserve(d, 1 << 20));
	memset(d->arena, 0xff, d->arena_bytes);
	KC_CHECK_OK(kc_plan_run(p));
	for (int i = 0; i < FETCH; i++)
		KC_CHECK_OK(test_read(p, a->fetch[i], to[i]));
	kc_plan_free(p);
}

static void test_random(void)
{
	static double written[FETCH][LARGEST], passed[FETCH][LARGEST];
	double *const to[2][FETCH] = {{written[0], written[1], written[2], written[3]},
				      {passed[0], passed[1], passed[2], passed[3]}};
	static struct random_graph a;

	for (uint64_t k = 0; k < GRAPHS; k++) {
		struct kc_plan_opts opts = {.real = KC_F64, .no_fuse = true};
		struct kc_device plain, able;

		make(&a, k);
		kc_device_reference(&plain);
		kc_device_reference(&able);
		plain.roomy = true;
		able.strided = able.sums = true;
		run(&a, &plain, &opts, to[0]);
		opts.no_fuse = false;
		run(&a, &able, &opts, to[1]);
		for (int i = 0; i < FETCH; i++)
			if (memcmp(to[0][i], to[1][i],
				   (size_t)kc_numel(&a.fetch[i]->type) * sizeof(double)))
				kc_test_fail(__FILE__, __LINE__, "graph %d, value %d", (int)k, i);
		kc_device_release(&plain);
		kc_device_release(&able);
		kc_graph_free(a.g);
	}
}

/* ---- order ---- */

/*
 * A slice of a slice moves down to its reader, behind another reader of the first slice: that one
 * must not move down with it.
 */
static void test_order(void)
{
	enum { ROW = 5, IMAGE = 2 * 4 * 4 * ROW };
	static double at[IMAGE], flipped[IMAGE / 2], twice[IMAGE / 2], late[IMAGE / 4];
	static double last[IMAGE / 2], other[IMAGE];
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", KC_TYPE(KC_REAL, 2, 4, 4, ROW)), *half, *quarter;
	struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_tensor *fetch[5];
	struct kc_device device;

	for (int i = 0; i < IMAGE; i++)
		at[i] = sin(i);
	half = kc_slice(g, x, 1, 0, 2, 1);
	fetch[4] = kc_flip(g, x, 2);
	quarter = kc_slice(g, half, 1, 1, 1, 1);
	fetch[0] = kc_flip(g, half, 3);
	fetch[1] = kc_flip(g, fetch[0], 3);
	fetch[2] = kc_flip(g, quarter, 3);
	fetch[3] = kc_flip(g, half, 2);
	kc_device_reference(&device);
	KC_CHECK_OK(test_run(g, &device, &opts, &(struct test_feed){x, at}, 1, fetch, 5,
			     (double *[]){flipped, twice, late, last, other}));
	for (int n = 0; n < 2; n++)
		KC_CHECK(!memcmp(twice + n * IMAGE / 4, at + n * IMAGE / 2,
				 IMAGE / 4 * sizeof *at));
	kc_device_release(&device);
	kc_graph_free(g);
}

const struct kc_test kc_tests_passes[] = {
	{"random graphs compute the same with all passes", test_random},
	{"a step stays in front of all its readers", test_order},
	{0}};
