#include "tests/runs.h"

#include "tests/clips.h"
#include "tests/test.h"
#include "train/start.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char base[] =
	"name: run\n"
	"use_tb_logger: false\n"
	"threads: 1\n"
	"flow: dis\n"
	"datasets:\n"
	"  train:\n"
	"    interval_list: [1, 2]\n"
	"    keyframe_interval: 1\n"
	"    n_workers: 1\n"
	"    batch_size: 1\n"
	"    GT_size: 32\n"
	"network_G:\n"
	"  init: formula\n"
	"  width: 0.125\n"
	"train:\n"
	"  lr_G: 1e-3\n"
	"  niter: 2\n"
	"  val_freq: 0\n"
	"logger:\n"
	"  print_freq: 1\n"
	"  save_checkpoint_freq: 2\n";

static int set_path(struct kc_config *c, const char *key, const char *name)
{
	char *text = kc_format("%s=%s/%s", key, kc_test_dir(), name);
	int rc = text ? kc_config_set(c, text) : KC_ENOMEM;

	free(text);
	return rc;
}

int kc_test_config(struct kc_config *c, const char *const *set)
{
	KC_TRY(kc_config_init(c));
	KC_TRY(kc_config_parse(c, "base.yml", base, sizeof base - 1));
	KC_TRY(set_path(c, "path.root", ""));
	KC_TRY(set_path(c, "datasets.train.dataroot_GT", "clips"));
	for (; set && *set; set++)
		KC_TRY(kc_config_set(c, *set));
	return kc_config_resolve(c);
}

void kc_test_clips(void)
{
	kc_test_clip(kc_test_path("clips"), "a", 6, 40, 36, 1);
	kc_test_clip(kc_test_path("clips"), "b", 5, 40, 36, 2);
	kc_test_clip(kc_test_path("clips"), "c", 4, 40, 36, 3);
}

/* ---- poison ---- */

static struct {
	struct kc_recipe recipe;
	const struct kc_recipe *inner;
	int64_t first, last;
} poison = {.first = -1, .last = -1};

static struct {
	bool wanted;
	int64_t index;                  /* of the batch that was refused; -1: none came yet */
	int n;
} refusal;

static int feed_poison(struct kc_training *t, struct kc_plan *p, const struct kc_batch *b)
{
	struct kc_buf slot;

	if (refusal.wanted && refusal.index >= 0 && b->index != refusal.index) {
		refusal.index = b->index;
		refusal.n++;
		return KC_FAIL(KC_EBACKEND, "refused by the test");
	}
	refusal.index = b->index;
	KC_TRY(poison.inner->feed(t, p, b));
	if (b->index < poison.first || b->index > poison.last)
		return 0;
	KC_TRY(kc_plan_slot(p, t->flows ? t->flows : t->hint, &slot));
	for (int64_t i = 0; i < kc_numel(&slot.type); i++)
		((float *)slot.data)[i] = NAN;
	return 0;
}

static void wrap_recipe(struct kc_run *r)
{
	poison.inner = kc_recipe_of(r->config);
	poison.recipe = *poison.inner;
	poison.recipe.feed = feed_poison;
	r->training.recipe = &poison.recipe;
}

void kc_test_poison(struct kc_run *r, int64_t index)
{
	kc_test_poison_runs(index, index);
	wrap_recipe(r);
}

void kc_test_poison_runs(int64_t first, int64_t last)
{
	poison.first = first;
	poison.last = last;
}

void kc_test_refuse(bool wanted)
{
	refusal.wanted = wanted;
	refusal.n = 0;
}

int kc_test_refused(void)
{
	return refusal.n;
}

/* ---- runs ---- */

static int train(const char *const *set)
{
	struct kc_config c = {0};
	struct kc_run_args args = {0};
	struct kc_run r = {0};
	int rc = kc_test_config(&c, set);

	if (!rc)
		rc = kc_run_open(&r, &c, &args);
	if (!rc) {
		wrap_recipe(&r);
		refusal.index = -1;
		rc = kc_run_train(&r);
	}
	kc_run_close(&r);
	kc_config_release(&c);
	return rc;
}

int kc_test_train(const char *const *set, const char **said)
{
	static char *text;
	char *path = kc_format("%s/stderr", kc_test_dir());
	int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600), screen = dup(2), rc;
	size_t size;

	KC_ASSERT(path && file >= 0 && screen >= 0);
	dup2(file, 2);
	rc = train(set);
	dup2(screen, 2);
	close(file);
	close(screen);
	free(text);
	text = NULL;
	if (said && KC_CHECK_OK(kc_file_read(path, 1 << 20, &text, &size)))
		*said = text;
	free(path);
	return rc;
}

bool kc_test_has_state(int iter)
{
	char *path = kc_format("%s/experiments/run/training_state/%d.state", kc_test_dir(), iter);
	bool there = path && kc_file_exists(path);

	free(path);
	return there;
}

static char *read_all(const char *name, size_t *size)
{
	char *data = NULL;

	*size = 0;
	KC_CHECK_OK(kc_file_read(kc_test_path(name), 64 << 20, &data, size));
	return data;
}

void kc_test_same_file(const char *a, const char *b)
{
	size_t n, m;
	char *x = read_all(a, &n), *y = read_all(b, &m);

	if (n != m || !x || !y || memcmp(x, y, n))
		kc_test_fail(__FILE__, __LINE__, "%s and %s differ", a, b);
	free(x);
	free(y);
}

char *kc_test_metrics(const char *name)
{
	char *path = kc_format("experiments/%s/metrics.jsonl", name), *text, *out, *p;
	size_t size;

	KC_ASSERT(path);
	text = read_all(path, &size);
	free(path);
	out = p = kc_calloc(size + 1, 1);
	KC_ASSERT(out);
	for (char *line = text; line && *line;) {
		char *end = strchr(line, '\n'), *time = strstr(line, ", \"time\"");
		size_t n = (size_t)((time && time < end ? time : end) - line);

		memcpy(p, line, n);
		p += n;
		*p++ = '\n';
		line = end + 1;
	}
	free(text);
	return out;
}

static void say_nothing(void *own, const char *text)
{
	(void)own, (void)text;
}

int kc_test_open(struct kc_run *r, struct kc_config *c, const char *const *set)
{
	const struct kc_run_args args = {0};

	*r = (struct kc_run){0};
	KC_TRY(kc_test_config(c, set));
	KC_TRY(kc_run_open(r, c, &args));
	KC_TRY(kc_start(c, r->training.params, say_nothing, NULL));
	return kc_run_open_data(r);
}

void kc_test_close(struct kc_run *r, struct kc_config *c)
{
	kc_test_poison_runs(-1, -1);
	kc_run_close(r);
	kc_config_release(c);
}

bool kc_test_step(struct kc_run *r)
{
	double seconds, waited;

	return KC_CHECK_OK(kc_run_step(r, &seconds, &waited));
}
