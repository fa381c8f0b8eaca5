/* Means over the ranks on emulated CUDA devices, one per process. */
#include "core/plan.h"
#include "layers/cuda/nccl.h"
#include "layers/layers.h"
#include "layers/ranks.h"
#include "tests/emulator/device.h"
#include "tests/in_ranks.h"
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

enum { RANKS = 2, N = 70000, M = 24, RUNS = 4 };

static double value(int rank, int run, int64_t i)
{
	return (double)((i * 31 + 17 * rank + 5 * run) % 101) / 64;
}

static int feed(struct kc_plan *p, struct kc_tensor *x, int rank, int run)
{
	struct kc_buf slot;

	KC_TRY(kc_plan_slot(p, x, &slot));
	for (int64_t i = 0; i < kc_numel(&slot.type); i++)
		((float *)slot.data)[i] = (float)value(rank, run, i);
	return 0;
}

/* Twice the mean of x, and the mean of y's square, which lies turned in memory. */
static int check_run(struct kc_plan *p, struct kc_tensor *const *out, int run)
{
	static float a[N], b[M * M];
	struct kc_buf to[2] = {kc_buf_of(a, &out[0]->type, KC_PLAIN),
			       kc_buf_of(b, &out[1]->type, KC_PLAIN)};

	for (int k = 0; k < 2; k++)
		KC_TRY(kc_plan_read(p, out[k], &to[k]));
	for (int64_t i = 0; i < N; i++)
		if (fabs(a[i] - (value(0, run, i) + value(1, run, i))) > 1e-6)
			return KC_FAIL(KC_ENUMERIC, "run %d, element %d", run, (int)i);
	for (int i = 0; i < M * M; i++) {
		int from = i % M * M + i / M;
		double want = 0;

		for (int r = 0; r < RANKS; r++)
			want += pow(value(r, run, from), 2) / RANKS;
		if (fabs(b[i] - want) > 1e-5)
			return KC_FAIL(KC_ENUMERIC, "run %d, turned element %d", run, i);
	}
	return 0;
}

static int build(struct kc_graph *g, struct kc_ranks *r, struct kc_device *d, struct kc_plan **p,
		 struct kc_tensor **in, struct kc_tensor **out)
{
	static const int turned[] = {1, 0};
	struct kc_tensor *mean[2];

	in[0] = kc_input(g, "x", KC_TYPE(KC_REAL, N));
	in[1] = kc_input(g, "y", KC_TYPE(KC_REAL, M, M));
	mean[0] = in[0];
	mean[1] = kc_permute(g, kc_square(g, in[1]), turned);
	kc_mean_over_ranks(g, r, mean, 2);
	out[0] = kc_scale(g, mean[0], 2);
	out[1] = kc_scale(g, mean[1], 1);
	return kc_plan_build(p, g, d, out, 2, &(struct kc_plan_opts){.ranks = r});
}

/* The second run is recorded, later ones are replayed. */
static int means(struct kc_ranks *r)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *in[2], *out[2];
	struct kc_plan *p = NULL;
	struct kc_device d = {0};
	int rc = kc_emulator_open(&d);

	if (!rc)
		rc = build(g, r, &d, &p, in, out);
	for (int run = 0; !rc && run < RUNS; run++) {
		rc = feed(p, in[0], r->rank, run);
		if (!rc)
			rc = feed(p, in[1], r->rank, run);
		if (!rc)
			rc = kc_plan_run(p);
		if (!rc)
			rc = check_run(p, out, run);
	}
	if (rc < 0)
		kc_test_fail(__FILE__, __LINE__, "rank %d: %s", r->rank, kc_errmsg());
	kc_plan_free(p);
	kc_graph_free(g);
	kc_device_release(&d);
	return rc < 0;
}

/* The run goes on behind the call, so it is the wait that finds the other rank lost. */
static int lost(struct kc_ranks *r)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *in[2], *out[2];
	struct kc_plan *p = NULL;
	struct kc_device d = {0};
	int rc = kc_emulator_open(&d);

	if (!rc)
		rc = build(g, r, &d, &p, in, out);
	for (int run = 0; !rc && run < RUNS - r->rank; run++) {
		rc = kc_plan_run(p);
		if (!rc)
			rc = d.memory->wait(&d);
	}
	if (r->rank)
		kc_ranks_tell(r, KC_FAIL(KC_EIO, "no disk"));
	else if (rc >= 0)
		kc_test_fail(__FILE__, __LINE__, "a mean without the other rank passes");
	kc_plan_free(p);
	kc_graph_free(g);
	kc_device_release(&d);
	return r->rank ? rc < 0 : rc >= 0;
}

static void test_lost(void)
{
	test_in_ranks(RANKS, lost);
}

/* Rank 1 dies while NCCL's meeting waits for it. */
static int lost_on_the_way(struct kc_ranks *r)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *in[2], *out[2];
	struct kc_plan *p = NULL;
	struct kc_device d = {0};
	struct kc_nccl_id id;
	double start = kc_now();

	if (r->rank) {
		kc_ranks_agree(r, 0);
		kc_ranks_broadcast(r, &id, sizeof id);
		_exit(0);
	}
	KC_CHECK_OK(kc_emulator_open(&d));
	KC_CHECK_ERR(build(g, r, &d, &p, in, out), KC_EBACKEND, "rank 1");
	KC_CHECK(kc_now() - start < 30);
	return strstr(kc_errmsg(), "rank 1") == NULL;
}

static void test_lost_early(void)
{
	test_in_ranks(RANKS, lost_on_the_way);
}

static void test_means(void)
{
	test_in_ranks(RANKS, means);
}

const struct kc_test kc_tests_cuda_ranks[] = {
	{"cuda: means over the ranks of two emulated devices, recorded too", test_means},
	{"cuda: a rank that is lost while NCCL meets ends the others", test_lost_early},
	{"cuda: a rank that is lost in a run is found by waiting for it", test_lost},
	{0}};
