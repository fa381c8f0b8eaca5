/* Means over the ranks on emulated CUDA devices, one per process. */
#include "core/plan.h"
#include "layers/cuda/nccl.h"
#include "layers/layers.h"
#include "layers/ranks.h"
#include "tests/emulator/device.h"
#include "tests/in_ranks.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
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

/* Twice the mean of x, the mean of y's square, which lies turned in memory, and the length of
 * both means. */
static int check_run(struct kc_plan *p, struct kc_tensor *const *out, int run)
{
	static float a[N], b[M * M];
	struct kc_buf to[2] = {kc_buf_of(a, &out[0]->type, KC_PLAIN),
			       kc_buf_of(b, &out[1]->type, KC_PLAIN)};
	double squares = 0;

	for (int k = 0; k < 2; k++)
		KC_TRY(kc_plan_read(p, out[k], &to[k]));
	for (int64_t i = 0; i < N; i++)
		squares += a[i] * a[i] / 4;
	for (int i = 0; i < M * M; i++)
		squares += b[i] * b[i];
	if (fabs(kc_plan_scalar(p, out[2]) / sqrt(squares) - 1) > 1e-5)
		return KC_FAIL(KC_ENUMERIC, "run %d, length of the means", run);
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

/* What a rank has: a device, and the plan of two means on it. */
struct side {
	struct kc_device device;
	struct kc_graph *g;
	struct kc_plan *plan;
	struct kc_tensor *in[2], *out[3];
};

static int open_side(struct side *s, struct kc_ranks *r)
{
	static const int turned[] = {1, 0};
	struct kc_tensor *mean[2], **in = s->in, **out = s->out;
	struct kc_graph *g;

	*s = (struct side){.g = kc_graph_new(&kc_layers)};
	g = s->g;
	KC_TRY(g ? kc_emulator_open(&s->device) : KC_ENOMEM);
	in[0] = kc_input(g, "x", KC_TYPE(KC_REAL, N));
	in[1] = kc_input(g, "y", KC_TYPE(KC_REAL, M, M));
	mean[0] = in[0];
	mean[1] = kc_permute(g, kc_square(g, in[1]), turned);
	kc_mean_over_ranks(g, r, mean, 2);
	out[0] = kc_scale(g, mean[0], 2);
	out[1] = kc_scale(g, mean[1], 1);
	out[2] = kc_global_norm(g, mean, 2);
	return kc_plan_build(&s->plan, g, &s->device, out, 3, &(struct kc_plan_opts){.ranks = r});
}

static void close_side(struct side *s)
{
	kc_plan_free(s->plan);
	kc_graph_free(s->g);
	kc_device_release(&s->device);
}

/* The second run is recorded, later ones are replayed. */
static int means(struct kc_ranks *r)
{
	struct side s;
	int rc = open_side(&s, r);

	for (int run = 0; !rc && run < RUNS; run++) {
		rc = feed(s.plan, s.in[0], r->rank, run);
		if (!rc)
			rc = feed(s.plan, s.in[1], r->rank, run);
		if (!rc)
			rc = kc_plan_run(s.plan);
		if (!rc)
			rc = check_run(s.plan, s.out, run);
	}
	if (rc < 0)
		kc_test_fail(__FILE__, __LINE__, "rank %d: %s", r->rank, kc_errmsg());
	close_side(&s);
	return rc < 0;
}

/* The run goes on behind the call, so it is the wait that finds the other rank lost. */
static int lost(struct kc_ranks *r)
{
	struct side s;
	int rc = open_side(&s, r);

	for (int run = 0; !rc && run < RUNS - r->rank; run++) {
		rc = kc_plan_run(s.plan);
		if (!rc)
			rc = s.device.memory->wait(&s.device);
	}
	if (r->rank)
		kc_ranks_tell(r, KC_FAIL(KC_EIO, "no disk"));
	else if (rc >= 0)
		kc_test_fail(__FILE__, __LINE__, "a mean without the other rank passes");
	close_side(&s);
	return r->rank ? rc < 0 : rc >= 0;
}

static void test_lost(void)
{
	test_in_ranks(RANKS, lost);
}

/* Rank 1 dies while NCCL's meeting waits for it. */
static int lost_on_the_way(struct kc_ranks *r)
{
	double start = kc_now();
	struct kc_nccl_id id;
	char version[32];
	struct side s;

	if (r->rank) {
		kc_ranks_agree(r, kc_nccl_version(version, sizeof version));
		kc_ranks_compare(r, "versions", version);
		kc_ranks_agree(r, 0);
		kc_ranks_broadcast(r, &id, sizeof id);
		_exit(0);
	}
	KC_CHECK_ERR(open_side(&s, r), KC_EBACKEND, "rank 1");
	KC_CHECK(kc_now() - start < 30);
	return strstr(kc_errmsg(), "rank 1") == NULL;
}

static void test_lost_early(void)
{
	test_in_ranks(RANKS, lost_on_the_way);
}

/* Opening under an agreement around it, as a run has it; then all is as orderly as ever. */
static int told(struct kc_ranks *r, int failure, const char *message)
{
	double start = kc_now();
	struct side s = {0};
	int rc = kc_ranks_agree(r, failure < 0 ? failure : open_side(&s, r));
	bool right = rc < 0 && strstr(kc_errmsg(), message);

	if (!right || kc_now() - start > 20)
		kc_test_fail(__FILE__, __LINE__, "rank %d, %d: %s", r->rank, rc, kc_errmsg());
	close_side(&s);
	return !right;
}

/* Rank 1 has another NCCL than rank 0, or none, or one whose meeting fails. */
static int other_library(struct kc_ranks *r)
{
	if (r->rank)
		setenv("KC_EMULATED_NCCL", "NCCL 2.27.3", 1);
	return told(r, 0, "'emulated NCCL' there, 'NCCL 2.27.3' here");
}

static int no_library(struct kc_ranks *r)
{
	if (r->rank)
		setenv("KC_EMULATED_NCCL", "none", 1);
	return told(r, 0, r->rank ? "needs NCCL" : "rank 1: training on several GPUs needs NCCL");
}

static int broken_library(struct kc_ranks *r)
{
	if (r->rank)
		setenv("KC_EMULATED_NCCL", "broken", 1);
	return told(r, 0, r->rank ? "no such interface" : "rank 1: nccl: no such interface");
}

/* Rank 1 does not even come as far as the meeting. */
static int no_memory(struct kc_ranks *r)
{
	int rc = r->rank ? KC_FAIL(KC_ENOMEM, "out of memory on cuda:1") : 0;

	if (told(r, rc, r->rank ? "out of memory" : "rank 1: out of memory on cuda:1"))
		return 1;
	return !KC_CHECK_OK(kc_ranks_barrier(r));
}

static void test_told(void)
{
	test_in_ranks(RANKS, other_library);
	test_in_ranks(RANKS, no_library);
	test_in_ranks(RANKS, broken_library);
	test_in_ranks(RANKS, no_memory);
}

static void test_means(void)
{
	test_in_ranks(RANKS, means);
}

const struct kc_test kc_tests_cuda_ranks[] = {
	{"cuda: means over the ranks of two emulated devices, recorded too", test_means},
	{"cuda: a rank that is lost while NCCL meets ends the others", test_lost_early},
	{"cuda: every rank hears why one cannot meet the others", test_told},
	{"cuda: a rank that is lost in a run is found by waiting for it", test_lost},
	{0}};
