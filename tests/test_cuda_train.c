/*
 * Whole training steps on the emulated CUDA device against the reference kernels: every kernel of a
 * real plan, parameters on the device, recorded and replayed.
 */
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>

enum { STEPS = 3 };             /* the first is enqueued, then one is recorded, then replayed */

struct side { struct kc_device device; struct kc_training training; };

struct pair {
	struct kc_run run;              /* data and first weights; takes no step */
	struct kc_config config;
	struct side want, got;          /* reference kernels, emulated device */
};

static void copy_parameters(struct kc_params *to, const struct kc_params *from)
{
	KC_ASSERT(to->n == from->n && to->count == from->count);
	for (size_t i = 0; i < from->count; i++)
		kc_params_put(to, to->master, i, kc_params_at(from, from->master, i));
	for (size_t i = 0; i < to->n; i++)
		kc_param_changed(to->v[i]);
}

static int open_reference(struct kc_device *d)
{
	kc_device_reference(d);
	return 0;
}

static int side_open(struct pair *p, struct side *s, int (*open)(struct kc_device *))
{
	const struct kc_training *first = &p->run.training;
	struct kc_training *t = &s->training;
	struct kc_loader_opts opts;

	t->config = &p->config;
	KC_TRY(open(&s->device));
	KC_TRY(kc_recipe_of(&p->config)->samples(t, &opts));
	KC_TRY(kc_training_open(t, &p->config, &s->device));
	for (int k = 0; k < t->n_trainees; k++)
		copy_parameters(t->trainee[k].params, first->trainee[k].params);
	return 0;
}

static bool pair_open(struct pair *p, const char *const *set)
{
	*p = (struct pair){0};
	kc_test_clips();
	emu_seed(1);
	return KC_CHECK_OK(kc_test_open(&p->run, &p->config, set)) &&
	       KC_CHECK_OK(side_open(p, &p->want, open_reference)) &&
	       KC_CHECK_OK(side_open(p, &p->got, kc_emulator_open));
}

static void pair_close(struct pair *p)
{
	kc_training_close(&p->got.training);
	kc_training_close(&p->want.training);
	kc_device_release(&p->got.device);
	kc_device_release(&p->want.device);
	kc_test_close(&p->run, &p->config);
}

static int same_batch(void *own, const struct kc_batch **out)
{
	*out = own;
	return 0;
}

static void step(struct pair *p, int iter, double rate, const struct kc_batch *batch)
{
	struct kc_step_args args = {.iter = iter, .lr = {rate, rate},
				    .updates = {iter - 1, iter - 1}, .next = same_batch,
				    .own = (void *)(uintptr_t)batch};

	KC_CHECK_OK(kc_training_step(&p->want.training, &args));
	KC_CHECK_OK(kc_training_step(&p->got.training, &args));
}

static void check_near(const char *what, double got, double want, double allowed)
{
	if (!(fabs(got - want) <= allowed))
		kc_test_fail(__FILE__, __LINE__, "%s: %.7g, expected %.7g within %.2g", what, got,
			     want, allowed);
}

/* Gradients become small as a difference of large parts, which rounding leaves as they are: their
 * norm may be off by a share of the largest so far. */
static void check_losses(const struct pair *p, double allowed, double *norm)
{
	const struct kc_training *got = &p->got.training, *want = &p->want.training;

	KC_CHECK(got->finite && got->n_terms == want->n_terms);
	for (int i = 0; i < want->n_terms; i++)
		check_near(want->terms[i].name, got->terms[i].last, want->terms[i].last,
			   allowed * fabs(want->terms[i].last));
	*norm = fmax(*norm, want->grad_norm);
	check_near("norm of the gradient", got->grad_norm, want->grad_norm, allowed * *norm);
}

/* Lengths of a - b over what is trained, and over the rest: running statistics. */
static void distances(const struct kc_params *a, const struct kc_params *b, double d[2])
{
	d[0] = d[1] = 0;
	for (size_t i = 0; i < b->count; i++)
		d[i >= b->trainable] += pow(kc_params_at(a, a->master, i) -
					    kc_params_at(b, b->master, i), 2);
	for (int k = 0; k < 2; k++)
		d[k] = sqrt(d[k]);
}

/* How far they are from where they should be, as a share of the way from the first ones. */
static void check_parameters(struct kc_params *got, const struct kc_params *want,
			     const struct kc_params *first, double allowed)
{
	double off[2], moved[2];

	KC_CHECK_OK(kc_params_to_host(got));
	distances(got, want, off);
	distances(first, want, moved);
	KC_CHECK(moved[0] > 0);
	check_near("the way of the parameters", off[0] / moved[0], 0, allowed);
	check_near("statistics", off[1], 0, 1e-6 * moved[1]);
}

static void check_training(const char *const *set, double rate, double losses, double parameters)
{
	struct pair p;
	double norm = 0;

	if (pair_open(&p, set)) {
		const struct kc_batch *batch = NULL;

		for (int i = 1; i <= STEPS; i++) {
			if (!batch && !KC_CHECK_OK(kc_loader_get(p.run.loader, &batch)))
				break;
			step(&p, i, rate, batch);
			check_losses(&p, losses, &norm);
		}
		for (int k = 0; k < p.got.training.n_trainees; k++)
			check_parameters(p.got.training.trainee[k].params,
					 p.want.training.trainee[k].params,
					 p.run.training.trainee[k].params, parameters);
		kc_loader_release(p.run.loader, batch);
	}
	pair_close(&p);
}

struct once { const struct kc_batch *batch; int n; };

static int first_batch(void *own, const struct kc_batch **out)
{
	struct once *o = own;

	*out = o->batch;
	return o->n++ ? KC_FAIL(KC_EIO, "no second batch") : 0;
}

/* Running statistics are those from before the step, though its first batch changed them. */
static void check_failed_step(const char *const *set)
{
	struct kc_step_args args = {.iter = 1, .lr = {1e-3, 1e-3}, .next = first_batch};
	struct kc_training *t;
	struct once once = {0};
	struct pair p;
	double off[2];

	args.own = &once;
	if (pair_open(&p, set) && KC_CHECK_OK(kc_loader_get(p.run.loader, &once.batch))) {
		t = &p.got.training;
		KC_CHECK(t->model.n_updates > 0 && t->statistics);
		KC_CHECK_ERR(kc_training_step(t, &args), KC_EIO, "no second batch");
		KC_CHECK(!t->torn);
		KC_CHECK_OK(kc_params_to_host(t->params));
		distances(t->params, p.run.training.params, off);
		KC_CHECK(off[0] == 0 && off[1] == 0);
		kc_loader_release(p.run.loader, once.batch);
	}
	pair_close(&p);
}

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_tcvc(void)
{
	check_training(SET("precision=float32", "datasets.train.keyframe_interval=2"), 1e-3, 1e-6,
		       1e-5);
	/* The reference device rounds to bf16 once behind bias and activation, the emulated
	 * cuDNN, which compiles nothing, behind each of them: 0.4 % of the losses, and where
	 * gradients change sign Adam makes a whole step of it. */
	check_training(SET("precision=bf16"), 1e-3, 1e-2, 1e-1);
}

/*
 * At small rates: parameters whose true gradient is 0 go the way that rounding points, with Adam
 * a whole step of it, and the next losses follow.
 *
 * idc with a seed for which no value is beside the kink of its ReLU.  These networks are so
 * small that one ReLU more or less is 0.1 to 2 % of the gradient: with seed 0 the emulated device
 * and the processor's kernels are 1.6 % from float64 in the second step, with seed 2 the
 * float32 reference is 0.3 to 1 % from it and these are not.  Of the seeds 1 to 7, three give such
 * a step on the emulated device, 0.03 to 0.3 %; with 4, 6 and 7 all agree.
 */
static void test_recipes(void)
{
	check_training(SET("precision=float32", "model=idc", "network_G.which_model_G=siggraph17",
			   "datasets.train.batch_size=2", "manual_seed=4"), 1e-7, 2e-4, 1e-2);
	check_training(SET("precision=float32", "model=cic", "network_G.which_model_G=eccv16",
			   "network_G.init=random", "train.rebalance=false"), 1e-7, 2e-4, 1e-2);
}

static void test_accumulation(void)
{
	check_training(SET("precision=float32", "model=cic", "network_G.which_model_G=eccv16",
			   "network_G.init=random", "train.rebalance=false", "train.accumulate=2"),
		       1e-7, 2e-4, 1e-2);
	check_failed_step(SET("model=cic", "network_G.which_model_G=eccv16",
			      "network_G.init=random", "train.rebalance=false",
			      "train.accumulate=2"));
}

static void test_adversaries(void)
{
	check_training(SET("precision=float32", "gan.type=wgangp", "gan.d_steps=2",
			   "network_D.which_model_D=patchgan", "network_D.width=0.125"), 1e-7, 1e-5,
		       5e-2);
}

const struct kc_test kc_tests_cuda_train[] = {
	{"TCVC trains on the emulated device as with the reference kernels", test_tcvc},
	{"so do the other recipes", test_recipes},
	{"so do batches that are added up", test_accumulation},
	{"so does a discriminator", test_adversaries},
	{0}};
