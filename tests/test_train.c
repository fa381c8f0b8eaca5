/* The training step and the run: accumulation, averages, NaN policies, resuming. */
#include "tests/clips.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

static double norm(const float *x, const float *y, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)x[i] - (y ? (double)y[i] : 0);

		sum += d * d;
	}
	return sqrt(sum);
}

static float *copy(const void *array, size_t n)
{
	float *c = kc_alloc(n * sizeof *c);

	KC_ASSERT(c);
	memcpy(c, array, n * sizeof *c);
	return c;
}

/* ---- one step ---- */

/* Weights before a step and after it; the caller frees both. */
static size_t one_step(const char *const *set, float **before, float **after)
{
	struct kc_config c = {0};
	struct kc_run r;
	size_t n = 0;

	*before = *after = NULL;
	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		n = r.training.params->trainable;
		*before = copy(r.training.params->master, n);
		KC_CHECK(kc_test_step(&r) && r.training.finite && r.training.grad_norm > 0);
		*after = copy(r.training.params->master, n);
	}
	kc_test_close(&r, &c);
	return n;
}

/* With SGD at rate 1 the step is the gradient. */
static void test_accumulation(void)
{
	float *start, *one, *start2, *four;
	size_t n;

	kc_test_clips();
	n = one_step(SET("train.optimizer=sgd", "train.momentum=0", "train.lr_G=1",
			 "datasets.train.batch_size=4"),
		     &start, &one);
	KC_CHECK(n == one_step(SET("train.optimizer=sgd", "train.momentum=0", "train.lr_G=1",
				   "train.accumulate=4"),
			       &start2, &four));
	KC_CHECK(norm(start, start2, n) == 0);
	KC_CHECK(norm(start, one, n) > 1e-3);
	if (!(norm(one, four, n) < 1e-5 * norm(start, one, n)))
		kc_test_fail(__FILE__, __LINE__, "the steps differ by %g of their length %g",
			     norm(one, four, n), norm(start, one, n));
	free(start);
	free(one);
	free(start2);
	free(four);
}

static void test_clip(void)
{
	float *before, *after;
	size_t n;

	kc_test_clips();
	n = one_step(SET("train.optimizer=sgd", "train.momentum=0", "train.lr_G=1",
			 "train.clip_grad_norm=1e-3"),
		     &before, &after);
	KC_CHECK(fabs(norm(before, after, n) - 1e-3) < 2e-5);
	free(before);
	free(after);
}

static void test_average(void)
{
	struct kc_config c = {0};
	struct kc_run r;
	float *first, *ema;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET("train.ema_decay=0.75")))) {
		const struct kc_params *s = r.training.params;
		const float *master = s->master, *now = s->ema;
		double worst = 0;

		first = copy(s->master, s->trainable);
		KC_CHECK(!memcmp(s->ema, first, s->trainable * sizeof(float)));
		KC_CHECK(kc_test_step(&r));
		ema = copy(s->ema, s->trainable);
		for (size_t i = 0; i < s->trainable; i++)
			worst = kc_test_worse(worst, fabs(0.75 * first[i] + 0.25 * master[i] -
							  ema[i]));
		KC_CHECK(worst < 1e-7);
		KC_CHECK(kc_test_step(&r));
		for (size_t i = 0; i < s->trainable; i++)
			worst = kc_test_worse(worst, fabs(0.75 * ema[i] + 0.25 * master[i] -
							  now[i]));
		KC_CHECK(worst < 1e-7);
		free(first);
		free(ema);
	}
	kc_test_close(&r, &c);
}

/* Each of them learns: the loss of one repeated window falls. */
static void test_optimizers(void)
{
	static const char *const kinds[] = {"train.optimizer=adam", "train.optimizer=adamw",
					    "train.optimizer=sgd"};
	static const char *const rates[] = {"train.lr_G=1e-3", "train.lr_G=1e-3", "train.lr_G=1"};

	kc_test_clip(kc_test_path("clips"), "a", 3, 32, 32, 1);
	for (size_t i = 0; i < KC_COUNT(kinds); i++) {
		struct kc_config c = {0};
		struct kc_run r;
		double first = 0;

		if (KC_CHECK_OK(kc_test_open(&r, &c,
					     SET(kinds[i], rates[i], "train.srl_steps=[1]",
						 "datasets.train.interval_list=[1]",
						 "datasets.train.use_flip=false",
						 "datasets.train.use_rot=false")))) {
			for (int k = 0; k < 8 && kc_test_step(&r); k++)
				first = k ? first : r.training.terms[1].last;
			KC_CHECK(!strcmp(r.training.terms[1].name, "warp_loss"));
			KC_CHECK(r.training.terms[1].last < 0.99 * first);
			KC_CHECK(r.progress.updates == 8 && r.progress.cursor == 8);
		}
		kc_test_close(&r, &c);
	}
}

/* ---- non-finite steps ---- */

/* Everything that a step may write, one after another. */
static float *everything(const struct kc_params *s, size_t *bytes)
{
	const void *arrays[] = {s->moment1, s->moment2, s->ema};
	size_t part = s->trainable * sizeof(float), at = s->count * sizeof(float);
	char *all = kc_alloc(at + 3 * part);

	KC_ASSERT(all);
	memcpy(all, s->master, at);
	for (size_t i = 0; i < KC_COUNT(arrays); i++) {
		if (!arrays[i])
			continue;
		memcpy(all + at, arrays[i], part);
		at += part;
	}
	*bytes = at;
	return (float *)all;
}

static void check_unchanged(const struct kc_params *s, const float *before)
{
	size_t bytes;
	float *after = everything(s, &bytes);

	KC_CHECK(!memcmp(before, after, bytes));
	free(after);
}

/* The batch that is poisoned is the last of the second step. */
static void check_skip(const char *const *set, int64_t accumulate)
{
	struct kc_config c = {0};
	struct kc_run r;
	float *before;
	size_t bytes;

	if (KC_CHECK_OK(kc_test_open(&r, &c, set))) {
		kc_test_poison(&r, 2 * accumulate - 1);
		KC_CHECK(kc_test_step(&r) && r.training.finite);
		before = everything(r.training.params, &bytes);
		KC_CHECK(kc_test_step(&r) && !r.training.finite);
		check_unchanged(r.training.params, before);
		KC_CHECK(r.progress.iter == 2 && r.progress.updates == 1);
		KC_CHECK(r.progress.nan_total == 1 && r.progress.nan_row == 1);
		KC_CHECK(kc_test_step(&r) && r.training.finite && r.progress.nan_row == 0);
		KC_CHECK(memcmp(before, r.training.params->master, 4096));
		free(before);
	}
	kc_test_close(&r, &c);
}

static void test_skip(void)
{
	kc_test_clips();
	check_skip(SET("train.ema_decay=0.9"), 1);
	check_skip(SET("train.ema_decay=0.9", "train.accumulate=3", "train.optimizer=adamw"), 3);
	check_skip(SET("train.optimizer=sgd", "train.accumulate=2"), 2);
}

#define IDC "model=idc", "network_G.which_model_G=siggraph17", "datasets.train.batch_size=2"

/* The keyframe network trains its batch norms: their running statistics are state too. */
static void test_skip_statistics(void)
{
	kc_test_clips();
	check_skip(SET(IDC), 1);
	check_skip(SET(IDC, "train.accumulate=2", "train.ema_decay=0.9"), 2);
}

static void test_poisoned_weight(void)
{
	struct kc_config c = {0};
	struct kc_run r;
	float *before;
	size_t bytes;

	kc_test_clips();
	if (KC_CHECK_OK(kc_test_open(&r, &c, NULL))) {
		float *w = r.training.params->master, good = w[0];

		w[0] = INFINITY;
		before = everything(r.training.params, &bytes);
		KC_CHECK(kc_test_step(&r) && !r.training.finite);
		check_unchanged(r.training.params, before);
		KC_CHECK_ERR(kc_progress_save(&r.save, r.training.params, &r.progress),
			     KC_ENUMERIC, "is not finite");
		w[0] = good;
		KC_CHECK(kc_test_step(&r) && r.training.finite);
		free(before);
	}
	kc_test_close(&r, &c);
}

static void test_policies(void)
{
	const char *said;

	kc_test_clips();
	kc_test_poison_runs(4, 4);
	KC_CHECK_OK(kc_test_train(SET("train.niter=6"), &said));
	KC_CHECK(strstr(said, "iteration 5 is not finite: clip ") && kc_test_has_state(6));

	KC_CHECK_ERR(kc_test_train(SET("train.niter=6", "train.nan_policy=stop"), &said),
		     KC_ENUMERIC, "not finite in iteration 5 (1 in a row)");
	KC_CHECK(kc_test_has_state(5) && !kc_test_has_state(6));

	kc_test_poison_runs(4, 99);
	KC_CHECK_ERR(kc_test_train(SET("train.niter=20", "train.nan_limit=3"), &said), KC_ENUMERIC,
		     "iteration 7 (3 in a row)");

	kc_test_poison_runs(4, 4);
	KC_CHECK_OK(kc_test_train(SET("train.niter=6", "train.nan_policy=rollback"), &said));
	KC_CHECK(strstr(said, "rolled back to iteration 4") && kc_test_has_state(6));
	kc_test_poison_runs(-1, -1);
}

/* After a rollback the weights are the checkpoint's and the data go on. */
static void test_rollback(void)
{
	struct kc_config c = {0};
	struct kc_run r;
	struct kc_progress g;

	kc_test_clips();
	kc_test_poison_runs(5, 5);
	KC_CHECK_OK(kc_test_train(SET("train.niter=6", "train.nan_policy=rollback"), NULL));
	kc_test_poison_runs(-1, -1);
	if (KC_CHECK_OK(kc_test_open(&r, &c, SET("train.nan_policy=rollback")))) {
		KC_CHECK_OK(kc_progress_load(&r.save, 6, r.training.params, &g, NULL));
		/* Six steps, the sixth twice, and the fifth once more. */
		KC_CHECK(g.iter == 6 && g.cursor == 8 && g.updates == 6 && g.nan_total == 1);
	}
	kc_test_close(&r, &c);

	/* Always the same failure: it ends, though finite steps lie between. */
	kc_test_poison_runs(5, 99);
	KC_CHECK_ERR(kc_test_train(SET("name=other", "train.niter=99", "train.nan_policy=rollback",
				       "logger.save_checkpoint_freq=4", "train.nan_limit=4"),
				   NULL),
		     KC_ENUMERIC, "(4 in a row)");
	kc_test_poison_runs(-1, -1);
}

/* ---- resuming ---- */

/* Six steps at once; three, then three more with other workers. */
static void check_resume(const char *const *set, bool ema)
{
	const char *all[16] = {"name=whole", "train.niter=6", "logger.save_checkpoint_freq=3",
			       "datasets.train.n_workers=0"};
	const char *said;
	char *a, *b;

	for (int i = 0; set[i]; i++)
		all[i + 5] = set[i];
	all[4] = "use_tb_logger=true";
	KC_CHECK_OK(kc_test_train(all, NULL));
	all[0] = "name=parts";
	all[1] = "train.niter=3";
	KC_CHECK_OK(kc_test_train(all, NULL));
	all[1] = "train.niter=6";
	all[3] = "datasets.train.n_workers=2";
	all[4] = "path.resume_state=auto";
	KC_CHECK_OK(kc_test_train(all, &said));
	KC_CHECK(strstr(said, "resumed behind iteration 3"));
	kc_test_same_file("experiments/whole/models/6_G.safetensors",
			"experiments/parts/models/6_G.safetensors");
	kc_test_same_file("experiments/whole/training_state/6.state",
			"experiments/parts/training_state/6.state");
	if (ema)
		kc_test_same_file("experiments/whole/models/6_Gema.safetensors",
				"experiments/parts/models/6_Gema.safetensors");
	a = kc_test_metrics("whole");
	b = kc_test_metrics("parts");
	KC_CHECK(strlen(a) > 100 && !strcmp(a, b));
	free(a);
	free(b);
}

static void test_resume(void)
{
	kc_test_clips();
	check_resume(SET("train.ema_decay=0.9", "datasets.train.random_reverse=true"), true);
	check_resume(SET("train.accumulate=2", "train.optimizer=adamw", "train.clip_grad_norm=0.1",
			 "datasets.train.batch_size=2"),
		     false);
	check_resume(SET("train.optimizer=sgd", "threads=2", "train.warmup_iter=5"), false);
	check_resume(SET(IDC, "train.ema_decay=0.5"), true);
	check_resume(SET("gan.type=wgangp", "gan.d_steps=2", "gan.start_iter=1",
			 "network_D.which_model_D=temporal", "network_D.width=0.125"),
		     false);
	kc_test_poison_runs(1, 1);
	check_resume(SET("train.nan_policy=skip"), false);
	kc_test_poison_runs(-1, -1);
}

/* Lines of metrics.jsonl that tell a validation. */
static int count_validations(const char *name)
{
	char *text = kc_test_metrics(name);
	int n = 0;

	for (const char *p = text; (p = strstr(p, "val_psnr")); p++)
		n++;
	free(text);
	return n;
}

static void drop_last_line(const char *path)
{
	char *text;
	size_t size;

	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &text, &size)))
		return;
	while (size > 1 && text[size - 2] != '\n')
		size--;
	KC_CHECK_OK(kc_file_write(path, text, size - 1));
	free(text);
}

/* Validations change nothing, and none is missing when a run is killed in the middle of one. */
static void test_validation(void)
{
	char val[512];
	const char *set[] = {"name=whole", "train.niter=4", "train.val_freq=2",
			     "datasets.val.GT_size=32", val, NULL, NULL};
	const char *said;

	kc_test_clips();
	snprintf(val, sizeof val, "datasets.val.dataroot_GT=%s", kc_test_path("clips"));
	KC_CHECK_OK(kc_test_train(SET("name=blind", "train.niter=4"), NULL));
	KC_CHECK_OK(kc_test_train(set, &said));
	KC_CHECK(strstr(said, "validation behind iteration 4: PSNR "));
	KC_CHECK(count_validations("whole") == 2);
	kc_test_same_file("experiments/blind/models/4_G.safetensors",
			"experiments/whole/models/4_G.safetensors");
	KC_CHECK(kc_file_exists(kc_test_path("experiments/whole/val_images/a/4_00000.png")));

	set[5] = "path.resume_state=auto";
	drop_last_line(kc_test_path("experiments/whole/metrics.jsonl"));
	KC_CHECK(count_validations("whole") == 1);
	for (int i = 0; i < 2; i++) {
		KC_CHECK_OK(kc_test_train(set, NULL));
		KC_CHECK(count_validations("whole") == 2);
	}
}

/* Of this run alone, and under the configuration that computes the same. */
static void test_resume_state(void)
{
	const char *said;
	char text[512];

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET("train.niter=4"), NULL));
	snprintf(text, sizeof text, "path.resume_state=%s",
		 kc_test_path("experiments/run/training_state/2.state"));
	KC_CHECK_OK(kc_test_train(SET("train.niter=3", text), &said));
	KC_CHECK(strstr(said, "resumed behind iteration 2") && kc_test_has_state(3));
	KC_CHECK_ERR(kc_test_train(SET("name=other", text), NULL), KC_ECONFIG,
		     "no state of this run");
	KC_CHECK_ERR(kc_test_train(SET("path.resume_state=nowhere/2.state"), NULL), KC_ENOENT,
		     "path.resume_state: nowhere/2.state");
	KC_CHECK_ERR(kc_test_train(SET("path.resume_state=-1.state"), NULL), KC_ECONFIG,
		     "path.resume_state: expected auto or");
	KC_CHECK_ERR(kc_test_train(SET("path.resume_state=auto", "network_G.width=0.25"), NULL),
		     KC_ECONFIG, "was trained under another configuration");
	/* None there yet: a new run. */
	KC_CHECK_OK(kc_test_train(SET("name=new", "path.resume_state=auto"), &said));
	KC_CHECK(!strstr(said, "resumed"));
}

/* ---- whole configurations ---- */

static void test_authors(void)
{
	struct kc_config c = {0};
	struct kc_run_args args = {0};
	struct kc_run r = {0};
	struct kc_plan_stats s;

	KC_CHECK_OK(kc_config_init(&c));
	KC_CHECK_OK(kc_config_load(&c, kc_test_fixture("data/authors_tcvc.yml")));
	KC_CHECK_OK(kc_config_set(&c, "network_G.init=formula"));
	KC_CHECK_OK(kc_config_set(&c, "network_G.width=0.125"));
	KC_CHECK_OK(kc_config_set(&c, "datasets.train.GT_size=64"));
	KC_CHECK_OK(kc_config_set(&c, "datasets.train.batch_size=1"));
	KC_CHECK_OK(kc_config_set(&c, "flow=dis"));
	KC_CHECK_OK(kc_config_resolve(&c));
	if (KC_CHECK_OK(kc_run_open(&r, &c, &args))) {
		kc_training_stats(&r.training, &s);
		KC_CHECK(r.training.window == 12 && r.training.n_pairs == 31);
		KC_CHECK(s.flops > 1e9 && s.arena > 0 && s.steps > 500);
	}
	kc_run_close(&r);
	kc_config_release(&c);
}

static void test_variants(void)
{
	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET("network_G.train_flow_keyNet=true"), NULL));
	KC_CHECK_OK(kc_test_train(SET("published=true", "datasets.train.name=DAVIS_videvo_300"),
				  NULL));
	KC_CHECK_OK(kc_test_train(SET(IDC, "train.classification=true"), NULL));
	KC_CHECK_OK(kc_test_train(SET("datasets.val.dataroot_GT=~", "train.pixel_weight=1",
				      "train.pixel_criterion=charbonnier"), NULL));
	KC_CHECK_OK(kc_test_train(SET("precision=bf16"), NULL));
}

const struct kc_test kc_tests_train[] = {
	{"a batch of four equals four accumulated batches", test_accumulation},
	{"gradients are clipped to their norm", test_clip},
	{"the average of the weights follows them", test_average},
	{"every optimizer learns", test_optimizers},
	{"a non-finite step changes no bit", test_skip},
	{"a non-finite step changes no running statistics", test_skip_statistics},
	{"a poisoned weight changes no other and is not saved", test_poisoned_weight},
	{"non-finite steps follow the policy", test_policies},
	{"a rollback goes on with the data that come", test_rollback},
	{"a resumed run equals an undisturbed one", test_resume},
	{"validations change nothing and are made up for", test_validation},
	{"states are taken from this run alone", test_resume_state},
	{"the authors' configuration builds", test_authors},
	{"variants of the recipes run", test_variants},
	{0},
};
