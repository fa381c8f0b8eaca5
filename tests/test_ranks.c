/* Several processes: messages, sums, failures, parameters. */
#include "core/plan.h"
#include "core/ranks.h"
#include "layers/cpu/cpu.h"
#include "layers/layers.h"
#include "layers/ranks.h"
#include "tests/in_ranks.h"
#include "tests/test.h"
#include "train/ranks.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			kc_test_fail(__FILE__, __LINE__, "rank %d: %s (%s)", r->rank, #cond, \
				     kc_errmsg()); \
			return 1; \
		} \
	} while (0)

/* ---- small things ---- */

static int small_things(struct kc_ranks *r)
{
	enum { LARGE = 3000001 };
	double x[3] = {r->rank + 0.5, -r->rank, 1e-3}, y[2] = {r->rank, -r->rank};
	unsigned char *bytes = kc_calloc(LARGE, 1);
	char *all = NULL;

	MUST(bytes && r->size == 3 && r->local_rank == r->rank);
	MUST(!kc_ranks_barrier(r));
	MUST(!kc_ranks_sum(r, x, 3) && x[0] == 4.5 && x[1] == -3 && x[2] == 1e-3 + 1e-3 + 1e-3);
	MUST(!kc_ranks_max(r, y, 2) && y[0] == 2 && y[1] == 0);
	for (int i = 0; !r->rank && i < LARGE; i++)
		bytes[i] = (unsigned char)(i * 7 + i / 1000);
	MUST(!kc_ranks_broadcast(r, bytes, LARGE));
	for (int i = 0; i < LARGE; i++)
		MUST(bytes[i] == (unsigned char)(i * 7 + i / 1000));
	free(bytes);
	MUST(!kc_ranks_gather(r, r->rank == 1 ? "" : r->rank ? "two" : "zero ", &all));
	MUST(r->rank ? !all : !strcmp(all, "zero two"));
	free(all);
	return 0;
}

static void test_small_things(void)
{
	test_in_ranks(3, small_things);
}

static int alone(struct kc_ranks *r)
{
	double x = 3;
	char *all;

	MUST(r->size == 1 && !r->rank && !kc_ranks_barrier(r) && !kc_ranks_poll(r));
	MUST(!kc_ranks_sum(r, &x, 1) && !kc_ranks_max(r, &x, 1) && x == 3);
	MUST(!kc_ranks_gather(r, "me", &all) && !strcmp(all, "me"));
	free(all);
	MUST(!kc_ranks_agree(r, 0) && !kc_ranks_compare(r, "things", "x"));
	MUST(kc_ranks_agree(r, KC_FAIL(KC_EIO, "no disk")) == KC_EIO);
	return 0;
}

static void test_alone(void)
{
	struct kc_ranks r;

	if (KC_CHECK_OK(kc_ranks_open(&r)))
		KC_CHECK(!alone(&r));
	kc_ranks_close(&r, 0);
}

/* ---- means ---- */

static double element(int rank, size_t i)
{
	return sin(0.37 * (double)i + rank) * (rank == 1 ? 1e4 : 1);
}

static int start_mean(struct kc_ranks *r, int channel, enum kc_dtype dtype, size_t n, void **x,
		      void **scratch)
{
	size_t size = kc_dtype_size(dtype);

	*x = kc_calloc(n, size);
	*scratch = kc_calloc(kc_mean_scratch(r, n), size);
	MUST(*x && *scratch);
	for (size_t i = 0; i < n; i++) {
		if (dtype == KC_F64)
			((double *)*x)[i] = element(r->rank, i);
		else
			((float *)*x)[i] = (float)element(r->rank, i);
	}
	MUST(!kc_mean_start(r, channel, dtype, *x, n, *scratch));
	return 0;
}

static int check_mean(struct kc_ranks *r, int channel, enum kc_dtype dtype, size_t n, void *x,
		      void *scratch)
{
	MUST(!kc_mean_wait(r, channel));
	for (size_t i = 0; i < n; i++) {
		double sum = 0;

		for (int rank = 0; rank < r->size; rank++)
			sum += dtype == KC_F64 ? element(rank, i)
					       : (double)(float)element(rank, i);
		MUST(dtype == KC_F64 ? ((double *)x)[i] == sum / r->size
				     : ((float *)x)[i] == (float)(sum / r->size));
	}
	free(x);
	free(scratch);
	return 0;
}

/* Sizes below and above the number of ranks; some ranks have no share of the small ones. */
static int means(struct kc_ranks *r)
{
	static const size_t sizes[] = {1, 16, 17, 33, 1000, 300001};
	int a = kc_ranks_channel(r), b = kc_ranks_channel(r);
	void *x[2], *scratch[2];

	MUST(a == 0 && b == 1);
	for (size_t i = 0; i < KC_COUNT(sizes); i++) {
		MUST(!start_mean(r, a, KC_F32, sizes[i], &x[0], &scratch[0]));
		MUST(!start_mean(r, b, KC_F64, sizes[i], &x[1], &scratch[1]));
		if (r->rank == 1)
			usleep(20000);
		MUST(!check_mean(r, a, KC_F32, sizes[i], x[0], scratch[0]));
		MUST(!check_mean(r, b, KC_F64, sizes[i], x[1], scratch[1]));
	}
	return 0;
}

static void test_means(void)
{
	test_in_ranks(2, means);
	test_in_ranks(3, means);
}

/* ---- the plan ---- */

static struct kc_param *matrix(struct kc_params *s, const char *name, int64_t n)
{
	struct kc_param like = {.type = KC_TYPE(KC_REAL, n, n),
				.kind = KC_PARAM_LINEAR,
				.fan = n,
				.trainable = true};

	return kc_params_get(s, name, &like);
}

/* The line of a printed plan on which an operator stands for the last, or first, time. */
static int line_of(const char *text, const char *op, bool last)
{
	int found = -1, line = 0;

	for (const char *at = text; *at && (last || found < 0); line++) {
		size_t n = strcspn(at, "\n");
		const char *hit = memmem(at, n, op, strlen(op));

		if (hit && !isalnum((unsigned char)hit[strlen(op)]) && hit[strlen(op)] != '_')
			found = line;
		at += n + (at[n] != 0);
	}
	return found;
}

/* y = sum(W2 W1 x): the gradient of W2 is known while that of W1 is still to come. */
static int reduced_gradients(struct kc_ranks *r)
{
	enum { N = 1100 };
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_params *s = kc_params_new(KC_F32);
	struct kc_param *w1 = matrix(s, "w1", N), *w2 = matrix(s, "w2", N);
	struct kc_tensor *w[2] = {kc_param_value(g, w1), kc_param_value(g, w2)}, *grad[2], *y;
	struct kc_tensor *x = kc_fill(g, r->rank + 1, KC_TYPE(KC_REAL, N, 2));
	struct kc_plan *p = NULL;
	struct kc_device d;
	float *got = kc_alloc((size_t)N * N * sizeof *got);
	struct kc_buf b;
	char *text = NULL;
	size_t size;
	FILE *f;

	MUST(got && !kc_device_cpu(&d, 1) && !kc_params_alloc(s, false, false));
	for (int64_t i = 0; i < N; i++)
		((float *)kc_param_master(w1).data)[i * N + i] =
			((float *)kc_param_master(w2).data)[i * N + i] = 1;
	y = kc_sum(g, kc_matmul(g, w[1], kc_matmul(g, w[0], x)));
	MUST(!kc_grad(g, y, NULL, w, 2, grad));
	kc_mean_over_ranks(g, r, grad, 2);
	MUST(!kc_plan_build(&p, g, &d, grad, 2, &(struct kc_plan_opts){.ranks = r}));
	MUST(!kc_plan_run(p));
	/* With W1 = W2 = 1 each element is the sum of a row of x, 2 (rank + 1); its mean is 3. */
	for (int k = 0; k < 2; k++) {
		b = kc_buf_of(got, &grad[k]->type, KC_PLAIN);
		MUST(!kc_plan_read(p, grad[k], &b));
		for (int64_t i = 0; i < (int64_t)N * N; i++)
			MUST(got[i] == 3);
	}
	f = open_memstream(&text, &size);
	kc_plan_print(p, f);
	fclose(f);
	MUST(line_of(text, "all_reduce", false) < line_of(text, "matmul", true));
	MUST(line_of(text, "all_reduce_wait", false) > line_of(text, "matmul", true));
	free(text);
	free(got);
	kc_plan_free(p);
	kc_params_free(s);
	kc_graph_free(g);
	kc_device_release(&d);
	return 0;
}

static char *text_of(const struct kc_plan *p, void (*print)(const struct kc_plan *, FILE *))
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	KC_ASSERT(f);
	print(p, f);
	fclose(f);
	return text;
}

/* Ranks compare what is computed: kernels, packed forms and places may be each one's own. */
static void test_outline(void)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *w = kc_input(g, "w", KC_TYPE(KC_REAL, 64, 64)), *y;
	struct kc_plan *p[2] = {NULL, NULL};
	char *outline[2], *all[2];
	struct kc_device d[2];

	y = kc_sum(g, kc_matmul(g, kc_input(g, "x", KC_TYPE(KC_REAL, 8, 64)), w));
	kc_device_reference(&d[0]);
	KC_CHECK_OK(kc_device_cpu(&d[1], 1));
	for (int i = 0; i < 2; i++) {
		if (!KC_CHECK_OK(kc_plan_build(&p[i], g, &d[i], &y, 1, &(struct kc_plan_opts){0})))
			return;
		outline[i] = text_of(p[i], kc_plan_outline);
		all[i] = text_of(p[i], kc_plan_print);
	}
	KC_CHECK(strcmp(all[0], all[1]) && !strcmp(outline[0], outline[1]));
	KC_CHECK(strstr(outline[0], "matmul - 8x64 float32\n"));
	for (int i = 0; i < 2; i++) {
		free(outline[i]);
		free(all[i]);
		kc_plan_free(p[i]);
		kc_device_release(&d[i]);
	}
	kc_graph_free(g);
}

static void test_reduced_gradients(void)
{
	test_in_ranks(2, reduced_gradients);
}

/*
 * Gradients of mean((norm(x) - x0)^2) with respect to x, weight and bias, in float64.  first and
 * n: which images of the batch; ranks: who has the others, NULL: nobody.
 */
static int norm_gradients(struct kc_ranks *r, struct kc_ranks *ranks, int64_t first, int64_t n,
			  double *out)
{
	enum { C = 3, PIXELS = 10 };
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *x = kc_input(g, "x", KC_TYPE(KC_REAL, n, C, 2, 5)), *y, *mean, *var;
	struct kc_tensor *w = kc_input(g, "w", KC_TYPE(KC_REAL, C));
	struct kc_tensor *b = kc_input(g, "b", KC_TYPE(KC_REAL, C)), *wrt[3] = {w, b, x}, *grad[3];
	struct kc_plan *p = NULL;
	struct kc_device d;
	struct kc_buf slot;

	kc_device_reference(&d);
	y = kc_batch_norm_train(g, ranks, x, w, b, &mean, &var);
	y = kc_mean(g, kc_square(g, kc_sub(g, y, kc_slice(g, x, 1, 0, 1, 1))));
	MUST(!kc_grad(g, y, NULL, wrt, 3, grad));
	kc_mean_over_ranks(g, ranks, grad, 2);
	MUST(!kc_plan_build(&p, g, &d, grad, 3,
			    &(struct kc_plan_opts){.real = KC_F64, .ranks = ranks}));
	for (int k = 0; k < 3; k++) {
		MUST(!kc_plan_slot(p, wrt[k], &slot));
		for (int64_t i = 0; i < kc_numel(&slot.type); i++)
			kc_put(&slot, i, k < 2 ? 0.5 + (double)i
					       : sin((double)(i + first * C * PIXELS)));
	}
	MUST(!kc_plan_run(p));
	for (int k = 0; k < 3; k++) {
		slot = kc_buf_of(out, &grad[k]->type, KC_CLAST);
		slot.type.dtype = KC_F64;
		MUST(!kc_plan_read(p, grad[k], &slot));
		out += kc_numel(&grad[k]->type);
	}
	kc_plan_free(p);
	kc_graph_free(g);
	kc_device_release(&d);
	return 0;
}

/* Each rank has half of a batch: the norm is that of the whole, and so are its gradients. */
static int shared_norm(struct kc_ranks *r)
{
	enum { PARAMS = 6, HALF = 60 };
	double whole[PARAMS + 2 * HALF], half[PARAMS + HALF];

	MUST(!norm_gradients(r, NULL, 0, 4, whole));
	MUST(!norm_gradients(r, r, 2 * r->rank, 2, half));
	for (int i = 0; i < PARAMS; i++)
		MUST(fabs(whole[i] - half[i]) < 1e-14 && fabs(whole[i]) > 1e-3);
	/* A rank's own gradient is with respect to its own mean loss, twice as large. */
	for (int i = 0; i < HALF; i++)
		MUST(fabs(2 * whole[PARAMS + r->rank * HALF + i] - half[PARAMS + i]) < 1e-14);
	return 0;
}

static void test_shared_norm(void)
{
	test_in_ranks(2, shared_norm);
}

/* ---- failures ---- */

static bool says(const char *text)
{
	return strstr(kc_errmsg(), text) != NULL;
}

static int one_fails(struct kc_ranks *r)
{
	int rc = r->rank == 1 ? KC_FAIL(KC_ENOENT, "no clips") : 0;

	MUST(!kc_ranks_agree(r, 0));
	MUST(kc_ranks_agree(r, rc) == KC_ENOENT);
	MUST(says(r->rank == 1 ? "no clips" : "rank 1: no clips"));
	return 0;
}

static int one_differs(struct kc_ranks *r)
{
	MUST(!kc_ranks_compare(r, "settings", "a: 1\nb: 2\n"));
	MUST(kc_ranks_compare(r, "settings", r->rank == 2 ? "a: 1\nb: 3\n" : "a: 1\nb: 2\n") ==
	     KC_ECONFIG);
	MUST(says("settings are not those of rank 0: 'b: 2' there, 'b: 3' here"));
	MUST(r->rank == 2 || says("rank 2: "));
	return 0;
}

/* Rank 1 ends without a word. */
static int one_is_gone(struct kc_ranks *r)
{
	double start = kc_now(), x = 0;

	if (r->rank == 1)
		_exit(0);
	MUST(kc_ranks_sum(r, &x, 1) == KC_EBACKEND && says("gone"));
	MUST(kc_ranks_barrier(r) == KC_EBACKEND && kc_ranks_poll(r) == KC_EBACKEND);
	MUST(kc_ranks_agree(r, 0) == KC_EBACKEND);
	MUST(kc_now() - start < 30);
	return 0;
}

static int one_tells(struct kc_ranks *r)
{
	int channel = kc_ranks_channel(r);
	void *x, *scratch;

	if (r->rank == 1) {
		MUST(kc_ranks_tell(r, KC_FAIL(KC_EIO, "the disk is full")) == KC_EIO);
		MUST(kc_ranks_barrier(r) == KC_EBACKEND);
		return 0;
	}
	MUST(!start_mean(r, channel, KC_F32, 100, &x, &scratch) || says("full"));
	MUST(kc_mean_wait(r, channel) == KC_EBACKEND && says("rank 1: the disk is full"));
	free(x);
	free(scratch);
	return 0;
}

/* Rank 1 fails before it comes to the inner agreement, and meets the others there all the same. */
static int nested(struct kc_ranks *r)
{
	int rc;

	for (int i = 0; i < 2; i++) {
		rc = r->rank == 1 ? KC_FAIL(KC_ENOMEM, "no memory") : kc_ranks_agree(r, 0);
		MUST(kc_ranks_agree(r, rc) == KC_ENOMEM);
		MUST(says(r->rank == 1 ? "no memory" : "rank 1: no memory"));
		/* What fails next is news again. */
		MUST(!kc_ranks_agree(r, 0));
	}
	return kc_ranks_barrier(r) < 0;
}

/* Channels of plans that are gone are those of the next. */
static int channels(struct kc_ranks *r)
{
	int first = kc_ranks_channel(r);

	MUST(first >= 0);
	for (int i = 0; i < 20000; i++) {
		MUST(kc_ranks_channel(r) == first + 1);
		kc_ranks_keep_channels(r, first + 1);
	}
	MUST(kc_mean_scratch(r, 1000) > 1);
	r->by_device = true;
	MUST(kc_mean_scratch(r, 1000) == 1);
	return 0;
}

static void test_nested(void)
{
	test_in_ranks(3, nested);
	test_in_ranks(2, channels);
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Opens one of two ranks; its n-th allocation fails when it is rank 1. */
static int open_without_memory(int rank, int port, int n)
{
	int before, rc;
	struct kc_ranks r;

	test_set_variables(rank, 2, port);
	before = open_files();
	kc_alloc_fail_after(rank ? n : 0);
	rc = kc_ranks_open(&r);
	kc_alloc_fail_after(0);
	if (rc >= 0)
		kc_ranks_close(&r, 0);
	return open_files() == before ? 0 : 1;
}

/* Sockets are closed, whichever allocation fails. */
static void test_no_memory(void)
{
	for (int n = 3; n <= 5; n++) {
		int port = test_free_port();
		pid_t pid[2];

		for (int rank = 0; rank < 2; rank++) {
			pid[rank] = fork();
			if (!pid[rank])
				_exit(open_without_memory(rank, port, n));
		}
		if (n == 3) {           /* rank 1 never calls: rank 0 is not waited for */
			KC_CHECK(!test_status_of(pid[1]));
			kill(pid[0], SIGKILL);
			test_status_of(pid[0]);
			continue;
		}
		KC_CHECK(!test_status_of(pid[0]) && !test_status_of(pid[1]));
	}
}

static void test_failures(void)
{
	test_in_ranks(3, one_fails);
	test_in_ranks(3, one_differs);
	test_in_ranks(3, one_is_gone);
	test_in_ranks(3, one_tells);
}

/* What RANK=... give, in a process of its own. */
static int open_with(int rank, int size, const char *port, const char *message)
{
	struct kc_ranks r;
	int rc;

	test_set_variables(rank, size, 1);
	if (port)
		setenv("MASTER_PORT", port, 1);
	else
		unsetenv("MASTER_PORT");
	rc = kc_ranks_open(&r);
	return rc < 0 && says(message) && r.size == 1 ? 0 : 1;
}

static void test_variables(void)
{
	static const struct {
		int rank, size;
		const char *port, *message;
	} cases[] = {
		{2, 2, "5000", "RANK: expected a number from 0 to 1, got '2'"},
		{0, 5000, "5000", "WORLD_SIZE: expected a number from 2 to 4096"},
		{0, 2, "0", "MASTER_PORT: expected a number from 1 to 65534"},
		{0, 2, "50 00", "MASTER_PORT"},
		{0, 2, NULL, "not MASTER_PORT"},
	};

	for (size_t i = 0; i < KC_COUNT(cases); i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(open_with(cases[i].rank, cases[i].size, cases[i].port,
					cases[i].message));
		if (test_status_of(pid))
			kc_test_fail(__FILE__, __LINE__, "not told: %s", cases[i].message);
	}
}

/* Two ranks of which each expects another number of them. */
static void test_numbers(void)
{
	static const char *const messages[] = {
		"rank 1 was started with WORLD_SIZE 3, rank 0 with 2",
		"meeting of the ranks at 127.0.0.1"};
	pid_t pid[2];
	char port[16];

	snprintf(port, sizeof port, "%d", test_free_port());
	for (int rank = 0; rank < 2; rank++) {
		pid[rank] = fork();
		if (!pid[rank])
			_exit(open_with(rank, 2 + rank, port, messages[rank]));
	}
	KC_CHECK(!test_status_of(pid[0]) && !test_status_of(pid[1]));
}

/* ---- parameters ---- */

/* One bit of a weight or of a moment is told; sharing takes rank 0's. */
static int shared_params(struct kc_ranks *r)
{
	struct kc_run run = {.ranks = r, .saved_iter = -1, .progress = {.iter = r->rank ? 0 : 7}};
	struct kc_params *s = kc_params_new(KC_F32);
	struct kc_param *p = matrix(s, "w", 20);
	float *moment, *weight;
	bool resumed = !r->rank;

	MUST(!kc_params_alloc(s, true, false));
	run.training.trainee[KC_GENERATOR].params = s;
	MUST(!kc_run_compare_params(&run));
	weight = kc_param_master(p).data;
	moment = kc_param_array(p, s->moment2).data;
	weight[399] = r->rank == 1 ? -0.0F : 0;
	MUST(kc_run_compare_params(&run) == KC_EBACKEND);
	MUST(says("iteration ") && says("parameters are not those of rank 0"));
	MUST(!kc_run_share(&run, &resumed));
	MUST(resumed && run.progress.iter == 7 && !kc_run_compare_params(&run));
	moment[0] = (float)r->rank;
	MUST(kc_run_compare_params(&run) == KC_EBACKEND);
	MUST(!kc_run_share(&run, &resumed));
	MUST(moment[0] == 0 && !kc_run_compare_params(&run));
	kc_params_free(s);
	return 0;
}

static void test_shared_params(void)
{
	test_in_ranks(2, shared_params);
}

const struct kc_test kc_tests_ranks[] = {
	{"sums, broadcasts and texts reach every rank", test_small_things},
	{"alone every call succeeds", test_alone},
	{"means are those in the order of the ranks", test_means},
	{"a plan starts a mean when its gradients are there", test_reduced_gradients},
	{"ranks compare what plans compute, not by which kernels", test_outline},
	{"batch norm sees the batches of all ranks", test_shared_norm},
	{"every rank hears of a failure", test_failures},
	{"agreements in agreements; channels are given back", test_nested},
	{"sockets are closed where there is no memory", test_no_memory},
	{"variables without sense are refused", test_variables},
	{"parameters that differ are told, and shared", test_shared_params},
	{"ranks that expect other numbers of them fail", test_numbers},
	{0}};
