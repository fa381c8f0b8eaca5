/*
 * Training whose step crops and mirrors: the same bits as with the loader's crops, on the
 * processor, on the emulated device, and over a change from one to the other.
 */
#include "data/pack_build.h"
#include "tests/clips.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/runs.h"
#include "tests/test.h"
#include "train/crops.h"

#include <stdio.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { ROOM = 24 };

static char root[512];                  /* "datasets.train.dataroot_GT=..." of the pack file */

/* The clips of kc_test_clips with their flows. */
static void make_pack(void)
{
	struct kc_dataset *d;
	struct kc_pack_job job = {.output = kc_test_path("clips.h5"), .width = 40, .height = 36,
				  .offsets = {1, 2, 4}, .n_offsets = 3, .dis = KC_DIS_ULTRAFAST,
				  .workers = 1};

	kc_test_clips();
	if (!KC_CHECK_OK(kc_dataset_open(kc_test_path("clips"), &d)))
		return;
	job.dataset = d;
	KC_CHECK_OK(kc_pack_build(&job));
	kc_dataset_close(d);
	snprintf(root, sizeof root, "datasets.train.dataroot_GT=%s", job.output);
}

/* set, then these. */
static void join(const char *all[ROOM], const char *const *set, const char *const *more)
{
	int n = 0;

	for (; *set; set++)
		all[n++] = *set;
	for (; *more; more++)
		all[n++] = *more;
	KC_ASSERT(n < ROOM);
	all[n] = NULL;
}

static const char *const *const *recipes(size_t *n)
{
	static const char *const tcvc[] = {root, "flow=pack", "precision=float32", NULL};
	static const char *const idc[] = {root, "model=idc", "network_G.which_model_G=siggraph17",
					  "datasets.train.batch_size=3", "precision=float32",
					  "network_G.global_hints=true", "train.drop_grey=1", NULL};
	static const char *const cic[] = {root, "model=cic", "network_G.which_model_G=eccv16",
					  "network_G.init=random", "train.rebalance=false",
					  "datasets.train.batch_size=2", "precision=bf16", NULL};
	static const char *const *const all[] = {tcvc, idc, cic};

	*n = KC_COUNT(all);
	return all;
}

/* ---- steps on the emulated device ---- */

struct side {
	struct kc_run run;              /* data and first weights; takes no step */
	struct kc_config config;
	struct kc_device device;
	struct kc_training training;
};

static int next(void *own, const struct kc_batch **out)
{
	struct kc_run *r = own;

	if (r->held)
		kc_loader_release(r->loader, r->held);
	r->held = NULL;
	KC_TRY(kc_loader_get(r->loader, &r->held));
	*out = r->held;
	return 0;
}

static int open_training(struct side *s)
{
	struct kc_training *t = &s->training;
	const struct kc_params *from = s->run.training.params;
	struct kc_loader_opts unused;

	KC_TRY(kc_emulator_open(&s->device));
	t->config = &s->config;
	t->fed.width = s->run.whole_width;
	t->fed.height = s->run.whole_height;
	KC_TRY(kc_recipe_of(&s->config)->samples(t, &unused));
	KC_TRY(kc_training_open(t, &s->config, &s->device));
	for (size_t i = 0; i < from->count; i++)
		kc_params_put(t->params, t->params->master, i,
			      kc_params_at(from, from->master, i));
	for (size_t i = 0; i < t->params->n; i++)
		kc_param_changed(t->params->v[i]);
	return 0;
}

static bool side_open(struct side *s, const char *const *set, const char *where)
{
	const char *all[ROOM];

	*s = (struct side){.config = {0}};
	join(all, set, SET(where));
	emu_seed(1);
	return KC_CHECK_OK(kc_test_open(&s->run, &s->config, all)) &&
	       KC_CHECK_OK(open_training(s));
}

static void side_close(struct side *s)
{
	kc_training_close(&s->training);
	kc_device_release(&s->device);
	kc_test_close(&s->run, &s->config);
}

static void side_step(struct side *s, int iter)
{
	struct kc_step_args args = {.iter = iter, .lr = {1e-3, 1e-3},
				    .updates = {iter - 1, iter - 1}, .next = next,
				    .own = &s->run};

	KC_CHECK_OK(kc_training_step(&s->training, &args));
}

static void compare(struct side *a, struct side *b)
{
	struct kc_params *x = a->training.params, *y = b->training.params;

	for (int i = 0; i < a->training.n_terms; i++)
		KC_CHECK(a->training.terms[i].last == b->training.terms[i].last);
	KC_CHECK(a->training.finite && a->training.grad_norm == b->training.grad_norm);
	KC_CHECK_OK(kc_params_to_host(x));
	KC_CHECK_OK(kc_params_to_host(y));
	for (size_t i = 0; i < x->count; i++)
		if (kc_params_at(x, x->master, i) != kc_params_at(y, y->master, i)) {
			kc_test_fail(__FILE__, __LINE__, "%s: parameter %zu differs",
				     a->training.recipe->name, i);
			return;
		}
}

static void test_emulated(void)
{
	enum { STEPS = 4 };             /* some are recorded and replayed */
	size_t n;
	const char *const *const *all = recipes(&n);

	make_pack();
	for (size_t i = 0; i < n; i++) {
		struct side host, device;

		if (side_open(&host, all[i], "datasets.train.augment_on=host") &
		    side_open(&device, all[i], "datasets.train.augment_on=device")) {
			KC_CHECK(!host.training.fed.cuts && device.training.fed.cuts &&
				 device.training.fed.width == 40);
			for (int k = 1; k <= STEPS; k++) {
				side_step(&host, k);
				side_step(&device, k);
				compare(&host, &device);
			}
		}
		side_close(&host);
		side_close(&device);
	}
}

/* ---- whole runs ---- */

static void train(const char *const *set, const char *const *more, const char *expected)
{
	const char *all[ROOM], *said = "";

	join(all, set, more);
	KC_CHECK_OK(kc_test_train(all, &said));
	if (!strstr(said, expected))
		kc_test_fail(__FILE__, __LINE__, "\"%s\" is not said: %s", expected, said);
	KC_CHECK(!!strstr(said, "crops and mirrors") == !!strstr(said, "crops and mirrors on cpu"));
}

/* Four steps with the loader's crops; two with the step's, then two with either. */
static void test_runs(void)
{
	size_t n;
	const char *const *const *all = recipes(&n);

	make_pack();
	for (size_t i = 0; i < n; i++) {
		train(all[i], SET("name=host", "train.niter=4"), "");
		train(all[i], SET("name=device", "datasets.train.augment_on=device",
				  "datasets.train.n_workers=2"),
		      "crops and mirrors on cpu");
		train(all[i], SET("name=device", "train.niter=4", "path.resume_state=auto",
				  i ? "datasets.train.augment_on=device"
				    : "datasets.train.augment_on=host"),
		      "resumed behind iteration 2");
		kc_test_same_file("experiments/host/models/4_G.safetensors",
				"experiments/device/models/4_G.safetensors");
		kc_test_same_file("experiments/host/training_state/4.state",
				"experiments/device/training_state/4.state");
	}
}

/* ---- the choice ---- */

static const struct kc_memory some_memory = {0};

static void check_choice(const char *const *set, const char *data, bool own_memory,
			 const char *why, int width)
{
	struct kc_device device = {.name = "x", .memory = own_memory ? &some_memory : NULL};
	struct kc_config c = {0};
	struct kc_dataset *d = NULL;
	const char *reason;
	int w, h;

	KC_CHECK_OK(kc_test_config(&c, set));
	if (data)
		KC_CHECK_OK(kc_dataset_open(kc_test_path(data), &d));
	KC_CHECK_OK(kc_crops_choose(&c, &device, d, &w, &h, &reason));
	KC_CHECK(w == width && !w == !h && !reason == !why);
	if (reason && why && !strstr(reason, why))
		kc_test_fail(__FILE__, __LINE__, "\"%s\" instead of \"%s\"", reason, why);
	kc_dataset_close(d);
	kc_config_release(&c);
}

static void test_choice(void)
{
	static const char idc[] = "model=idc", net[] = "network_G.which_model_G=siggraph17";

	make_pack();
	kc_test_clip(kc_test_path("large"), "a", 6, 70, 80, 1);
	kc_test_clip(kc_test_path("mixed"), "a", 6, 40, 36, 1);
	kc_test_clip(kc_test_path("mixed"), "b", 6, 36, 40, 1);
	check_choice(SET("flow=pack"), "clips.h5", true, NULL, 40);
	check_choice(SET("flow=pack"), "clips.h5", false, NULL, 0);
	check_choice(SET("flow=pack", "datasets.train.augment_on=host"), "clips.h5", true, NULL, 0);
	check_choice(SET("flow=pack", "datasets.train.augment_on=device"), "clips.h5", false, NULL,
		     40);
	check_choice(SET("flow=flownet2"), "clips", true, NULL, 40);
	check_choice(SET("flow=flownet2"), NULL, true, "not there", 0);
	check_choice(SET("flow=flownet2"), "mixed", true, "differ in size", 0);
	check_choice(SET("flow=flownet2"), "large", true, "twice", 0);
	check_choice(SET("flow=flownet2", "datasets.train.augment_on=device"), "large", true, NULL,
		     70);
	check_choice(SET("flow=flownet2", "datasets.train.GT_size=48"), "clips", true, "smaller",
		     0);
	check_choice(SET("flow=dis"), "clips", true, "flow: dis", 0);
	check_choice(SET(idc, net), "clips.h5", true, NULL, 40);
	check_choice(SET(idc, net), "clips", true, "images of a folder", 0);
}

static void test_refused(void)
{
	kc_test_clips();
	KC_CHECK_ERR(kc_test_train(SET("datasets.train.augment_on=device"), NULL), KC_ECONFIG,
		     "datasets.train.augment_on: device: flow: dis is computed from the crops");
	KC_CHECK_ERR(kc_test_train(SET("datasets.train.augment_on=device", "model=cic",
				       "network_G.which_model_G=eccv16", "network_G.init=random",
				       "train.rebalance=false"),
				   NULL),
		     KC_ECONFIG, "augment_on: device: images of a folder may differ in size");
	KC_CHECK_ERR(kc_test_train(SET("datasets.train.augment_on=gpu"), NULL), KC_ECONFIG,
		     "datasets.train.augment_on: expected");
}

const struct kc_test kc_tests_crops[] = {
	{"steps that crop give the loader's bits on the emulated device", test_emulated},
	{"runs whose steps crop, and resumed ones, give the loader's bits", test_runs},
	{"where crops are made", test_choice},
	{"crops that the step cannot make", test_refused},
	{0}};
