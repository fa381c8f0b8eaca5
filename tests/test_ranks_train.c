/* Training over several processes: whole programs. */
#include "tests/in_ranks.h"
#include "tests/runs.h"
#include "tests/test.h"
#include "weights/safetensors.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *program;

/* Starts the program on that file, as one of `size` ranks or below mpirun (port 0). */
static pid_t start(const char *config, int rank, int size, int port)
{
	const char *const mpi[] = {"mpirun", "-np", "2", "bin/train", "-opt", config, NULL};
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	null = open("/dev/null", O_WRONLY);
	dup2(null, 1);
	dup2(null, 2);
	setenv("OMP_NUM_THREADS", "1", 1);
	if (port) {
		test_set_variables(rank, size, port);
		execl(program, program, "-opt", config, "--auto-resume", NULL);
	} else {
		setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
		setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
		setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
		execvp("mpirun", (char *const *)mpi);
	}
	_exit(127);
}

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The settings of a run in a folder of its own, as a file; more: one besides. */
static const char *write_config_with(const char *root, const char *more)
{
	char *folder = kc_format("path.root=%s/%s", kc_test_dir(), root);
	char *name = kc_format("%s.yml", root);
	const char *path = kc_test_path(name);
	struct kc_config c = {0};
	FILE *f = fopen(path, "w");

	KC_ASSERT(folder && f);
	KC_CHECK_OK(kc_test_config(&c, SET(folder, "datasets.train.batch_size=4", "train.niter=4",
					   "train.ema_decay=0.9", "train.clip_grad_norm=0.5",
					   "logger.save_checkpoint_freq=1", more)));
	KC_CHECK_OK(kc_config_dump(&c, f));
	fclose(f);
	kc_config_release(&c);
	free(folder);
	free(name);
	return path;
}

static const char *write_config(const char *root)
{
	return write_config_with(root, "device=cpu");
}

/* Distance of two files of weights, relative to the first; -1 without one of them. */
static double distance(const char *a, const char *b)
{
	struct kc_st x = {0}, y = {0};
	double sum = 0, of = 0;

	if (!KC_CHECK_OK(kc_st_open(a, &x)) || !KC_CHECK_OK(kc_st_open(b, &y)))
		return -1;
	for (size_t i = 0; i < x.n; i++) {
		const struct kc_st_tensor *u = &x.tensors[i], *v = kc_st_find(&y, u->name);
		float *p = kc_calloc(u->count, sizeof *p), *q = kc_calloc(u->count, sizeof *q);

		KC_ASSERT(v && p && q && !kc_st_read_f32(u, p, u->count) &&
			  !kc_st_read_f32(v, q, u->count));
		for (size_t k = 0; k < u->count; k++) {
			sum += ((double)p[k] - q[k]) * ((double)p[k] - q[k]);
			of += (double)p[k] * p[k];
		}
		free(p);
		free(q);
	}
	kc_st_close(&x);
	kc_st_close(&y);
	return sqrt(sum / of);
}

static const char *model_of(const char *root)
{
	char *name = kc_format("%s/experiments/run/models/4_G.safetensors", root);
	const char *path = kc_test_path(name);

	free(name);
	return path;
}

/* What two processes learn from halves of each batch is what one learns from the whole. */
static void test_training(void)
{
	const char *one = write_config("one"), *tcp = write_config("tcp"),
		   *mpi = write_config("mpi");
	int port = test_free_port(), status;
	pid_t pid[2];
	double d;

	program = "bin/train";
	if (access(program, X_OK)) {
		kc_test_skip("bin/train is not here");
		return;
	}
	kc_test_clips();
	KC_CHECK(!test_status_of(start(one, 0, 1, port)));
	for (int rank = 0; rank < 2; rank++)
		pid[rank] = start(tcp, rank, 2, port);
	KC_CHECK(!test_status_of(pid[0]));
	KC_CHECK(!test_status_of(pid[1]));
	d = distance(model_of("one"), model_of("tcp"));
	if (!(d >= 0 && d < 1e-6))
		kc_test_fail(__FILE__, __LINE__, "two ranks and one differ by %g", d);
	status = access("bin/libkc_mpi.so", R_OK) ? 127 : test_status_of(start(mpi, 0, 2, 0));
	if (status == 127)
		kc_test_skip("mpirun or libkc_mpi.so is not here");
	else if (status)
		kc_test_fail(__FILE__, __LINE__, "mpirun ended with %d", status);
	else
		KC_CHECK(distance(model_of("tcp"), model_of("mpi")) == 0);
}

/* ---- emulated GPUs ---- */

/* Both end with these statuses, within a minute. */
static void two_end_with(const char *config, int port, const char *kill1, int end0, int end1)
{
	double begin = kc_now();
	pid_t pid[2];
	int status[2];

	for (int rank = 0; rank < 2; rank++) {
		setenv("KC_EMULATED_KILL", rank ? kill1 : "", 1);
		pid[rank] = start(config, rank, 2, port);
	}
	for (int rank = 0; rank < 2; rank++)
		status[rank] = test_status_of(pid[rank]);
	if (status[0] != end0 || status[1] != end1)
		kc_test_fail(__FILE__, __LINE__, "ended with %d and %d", status[0], status[1]);
	KC_CHECK(kc_now() - begin < 60);
}

/*
 * A process that is killed in the middle of its second step, which it records, ends the other one;
 * resumed, they come to the bits that one run has.  (More of this: tests/ranks_cuda.sh.)
 */
static void test_gpus(void)
{
	const char *whole = write_config_with("whole", "device=cuda");
	const char *killed = write_config_with("killed", "device=cuda");
	int port = test_free_port();

	program = "build/emulated/bin/train";
	if (access(program, X_OK)) {
		kc_test_skip("build/emulated/bin/train is not here");
		return;
	}
	kc_test_clips();
	setenv("KC_EMULATED_DEVICES", "2", 1);
	two_end_with(whole, port, "", 0, 0);
	two_end_with(killed, port, "300", 1, 256 + SIGKILL);
	two_end_with(killed, port, "", 0, 0);
	KC_CHECK(distance(model_of("whole"), model_of("killed")) == 0);
}

const struct kc_test kc_tests_ranks_train[] = {
	{"two processes train as one, over TCP and MPI", test_training},
	{"a process that is killed on a GPU ends the other one", test_gpus},
	{0}};
