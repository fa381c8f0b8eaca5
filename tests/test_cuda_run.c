/*
 * Whole training runs on the emulated CUDA device, where batches are fed ahead: the same bits as
 * without that, also when they are resumed, and one wait a step.
 */
#include "tests/emulator/emulator.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <stdlib.h>
#include <time.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { ITERATIONS = 5 };

static int train(const char *name, const char *const *set, const char **said)
{
	const char *all[20] = {name, "device=cuda:0", "autotune=false", "train.niter=5",
			       "logger.save_checkpoint_freq=2", "datasets.train.n_workers=0"};
	int n = 6;

	for (; *set; set++)
		all[n++] = *set;
	return kc_test_train(all, said);
}

static void compare(const char *a, const char *b)
{
	static const char *const files[] = {"models/5_G.safetensors", "training_state/5.state"};
	char *x = kc_test_metrics(a), *y = kc_test_metrics(b);

	for (size_t i = 0; i < KC_COUNT(files); i++) {
		char *p = kc_format("experiments/%s/%s", a, files[i]);
		char *q = kc_format("experiments/%s/%s", b, files[i]);

		KC_ASSERT(p && q);
		kc_test_same_file(p, q);
		free(p);
		free(q);
	}
	KC_CHECK(strlen(x) > 100 && !strcmp(x, y));
	free(x);
	free(y);
}

/* Against the same run that is fed within each step alone, and as that goes on from a state that
 * was saved while a batch was ahead. */
static void check_run(const char *const *set)
{
	const char *again[16] = {NULL};
	char *state = kc_format("path.resume_state=%s",
				kc_test_path("experiments/turns/training_state/2.state"));

	KC_ASSERT(state);
	again[0] = state;
	for (int i = 0; set[i]; i++)
		again[i + 1] = set[i];
	KC_CHECK_OK(train("name=ahead", set, NULL));
	kc_test_refuse(true);
	KC_CHECK_OK(train("name=turns", set, NULL));
	KC_CHECK(kc_test_refused() >= ITERATIONS - 1);
	kc_test_refuse(false);
	compare("ahead", "turns");
	KC_CHECK_OK(train("name=turns", again, NULL));
	compare("ahead", "turns");
	free(state);
}

/* The third batch is not finite: of the discriminator's own update, behind which its step ends. */
static void test_runs(void)
{
	kc_test_clips();
	kc_test_poison_runs(2, 2);
	check_run(SET("gan.type=wgangp", "gan.d_steps=2", "gan.start_iter=2",
		      "network_D.which_model_D=patchgan", "network_D.width=0.125"));
	kc_test_poison_runs(-1, -1);
	check_run(SET("train.accumulate=2", "model=cic", "network_G.which_model_G=eccv16",
		      "network_G.init=random", "train.rebalance=false"));
}

/* The fourth step is not finite: the run goes back to the second, and on with the fifth batch. */
static void test_hints(void)
{
	kc_test_clips();
	kc_test_poison_runs(3, 3);
	check_run(SET("model=idc", "network_G.which_model_G=siggraph17",
		      "datasets.train.batch_size=2", "train.nan_policy=rollback"));
	kc_test_poison_runs(-1, -1);
}

/* The first two runs of a place set up tables and are recorded. */
static void test_waits(void)
{
	const char *const *set = SET("device=cuda:0", "autotune=false", "train.niter=99",
				     "datasets.train.n_workers=0");
	struct kc_config c = {0};
	struct kc_run r;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, set)))
		for (int i = 0; i < 7; i++) {
			uint64_t before = emu_waits();
			double seconds, waited;

			KC_CHECK_OK(kc_run_step(&r, &seconds, &waited));
			KC_CHECK(i < 4 || emu_waits() == before + 1);
			KC_CHECK(waited > 0 && waited < seconds);
			KC_CHECK(r.progress.cursor == i + 1 && r.ahead->index == i + 1);
		}
	kc_test_close(&r, &c);
}

/* ---- time without data ---- */

enum { NAP = 20000000 };        /* ns */

static int slow_batch(void *own, const struct kc_batch **out)
{
	const struct timespec nap = {.tv_nsec = NAP};

	nanosleep(&nap, NULL);
	*out = own;
	return 0;
}

static bool never(void *own)
{
	(void)own;
	return false;
}

/* In naps, as far as they are part of a step's time without data. */
static int naps_of(struct kc_training *t, const struct kc_step_args *a)
{
	KC_CHECK_OK(kc_training_step(t, a));
	return (int)(t->starved * 1e9 / NAP);
}

static void test_starving(void)
{
	struct kc_step_args a = {.iter = 1, .next = slow_batch};
	const struct kc_batch *batch;
	struct kc_config c = {0};
	struct kc_run r;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET("device=cuda:0", "autotune=false"))) &&
	    KC_CHECK_OK(kc_loader_get(r.loader, &batch))) {
		struct kc_training *t = &r.training;

		a.own = (void *)(uintptr_t)batch;
		a.ready = never;        /* none is there before the run is over */
		KC_CHECK(naps_of(t, &a) >= 1 && !t->ahead.batch);
		a.ready = NULL;         /* one for this step, one ahead of the next, too late */
		KC_CHECK(naps_of(t, &a) >= 2 && t->ahead.batch == batch);
		a.last = true;
		KC_CHECK(naps_of(t, &a) == 0 && !t->ahead.batch);
		kc_loader_release(r.loader, batch);
	}
	kc_test_close(&r, &c);
}

const struct kc_test kc_tests_cuda_run[] = {
	{"runs that are fed ahead have the bits of those that are not", test_runs},
	{"so have those that draw on the processor and go back", test_hints},
	{"a step waits for the device once, with the next batch on its way", test_waits},
	{"the time that the device is without data is told", test_starving},
	{0}};
