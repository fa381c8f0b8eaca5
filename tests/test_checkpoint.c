#include "tests/test.h"
#include "weights/checkpoint.h"
#include "weights/seal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct kc_retention two_and_thousands = {.keep = 2, .milestone = 1000},
				 only_one = {.keep = 1}, all = {.keep = 0};

/* Saves a checkpoint whose numbers all follow from iter (and salt). */
static int save(const char *dir, int64_t iter, float salt, const struct kc_retention *keep)
{
	float g[6] = {(float)iter, 1, 2, 3, 4, salt}, d[2] = {(float)iter, -1};
	float moments[3] = {7, 8, 9};
	double ema[1] = {0.5 + (double)iter};
	const struct kc_st_item gen[] = {{"conv.weight", KC_ST_F32, 2, {2, 3}, g}},
				dis[] = {{"conv.bias", KC_ST_F32, 1, {2}, d}},
				state[] = {{"adam.m", KC_ST_F32, 1, {3}, moments},
					   {"ema", KC_ST_F64, 1, {1}, ema}};
	const struct kc_checkpoint_part models[] = {{"G", gen, 1}, {"D", dis, 1}};
	const struct kc_note notes[] = {
		{.name = "epoch", .kind = KC_NOTE_INT, .integer = iter / 10},
		{.name = "lr", .kind = KC_NOTE_REAL, .real = 0.1},
		{.name = "zero", .kind = KC_NOTE_REAL, .real = -0.0},
		{.name = "build", .kind = KC_NOTE_TEXT, .text = "a b \"c\""}};
	const struct kc_st_pair about[] = {{"model", "tcvc"}, {"width", "64"}};

	return kc_checkpoint_save(dir, &(struct kc_checkpoint){iter, "run-1", models, 2,
				  {NULL, state, 2}, notes, 4, about, 2}, keep);
}

/* The iteration of the newest valid checkpoint, or the error; the refused ones are counted. */
static int64_t latest(const char *dir, size_t *refused)
{
	struct kc_names messages;
	struct kc_saved s;
	int rc = kc_checkpoint_latest(dir, &s, &messages);
	int64_t iter = rc < 0 ? rc : s.iter;
	float g[6];

	*refused = messages.n;
	if (rc >= 0) {
		const struct kc_st_tensor *t = kc_st_find(kc_saved_model(&s, "G"), "conv.weight");

		KC_CHECK(KC_CHECK_OK(kc_st_read_f32(t, g, 6)) && g[0] == (float)iter);
		kc_saved_close(&s);
	}
	kc_names_free(&messages);
	return iter;
}

static bool latest_is(const char *dir, int64_t iter, size_t refused)
{
	size_t n;
	int64_t found = latest(dir, &n);

	return found == iter && n == refused;
}

static size_t count_files(const char *folder)
{
	struct kc_names names;
	size_t n;

	KC_CHECK_OK(kc_dir_list(kc_test_path(folder), NULL, KC_ORDER_BYTES, &names));
	n = names.n;
	kc_names_free(&names);
	return n;
}

static void test_round_trip(void)
{
	const char *dir = kc_test_dir();
	struct kc_names refused;
	struct kc_saved s;
	int64_t i;
	double x;

	KC_CHECK_OK(save(dir, 120, 0, &all));
	KC_CHECK(kc_file_exists(kc_test_path("models/120_G.safetensors")));
	KC_CHECK(kc_file_exists(kc_test_path("training_state/120.state")));
	if (!KC_CHECK_OK(kc_checkpoint_latest(dir, &s, &refused)))
		return;
	KC_CHECK(s.iter == 120 && !refused.n && s.n_models == 2);
	KC_CHECK(!strcmp(kc_saved_run(&s), "run-1") && !kc_saved_model(&s, "X"));
	KC_CHECK(kc_st_find(kc_saved_model(&s, "D"), "conv.bias")->count == 2);
	KC_CHECK(!strcmp(kc_st_meta(kc_saved_model(&s, "D"), "width"), "64"));
	KC_CHECK_OK(kc_st_read_f64(kc_st_find(&s.state, "ema"), &x, 1));
	KC_CHECK(x == 120.5);
	KC_CHECK_OK(kc_saved_int(&s, "epoch", &i));
	KC_CHECK(i == 12);
	KC_CHECK_OK(kc_saved_real(&s, "lr", &x));
	KC_CHECK(x == 0.1);
	KC_CHECK_OK(kc_saved_real(&s, "zero", &x));
	KC_CHECK(x == 0 && signbit(x));
	KC_CHECK(!strcmp(kc_saved_text(&s, "build"), "a b \"c\""));
	KC_CHECK(!kc_saved_text(&s, "none") && !kc_saved_text(&s, "epoch"));
	KC_CHECK_ERR(kc_saved_int(&s, "lr", &i), KC_EFORMAT, "of another kind");
	KC_CHECK_ERR(kc_saved_real(&s, "none", &x), KC_ENOENT, "no value \"none\"");
	kc_saved_close(&s);
}

static void test_none(void)
{
	struct kc_names refused;
	struct kc_saved s;

	KC_CHECK_ERR(kc_checkpoint_latest(kc_test_path("no"), &s, &refused), KC_ENOENT, "no");
	KC_CHECK_OK(kc_dir_make(kc_test_path("training_state")));
	KC_CHECK_ERR(kc_checkpoint_latest(kc_test_dir(), &s, &refused), KC_ENOENT,
		     "no valid checkpoint");
	KC_CHECK_ERR(kc_checkpoint_open(kc_test_dir(), 5, &s), KC_ENOENT, "5.state");
	KC_CHECK_OK(kc_file_write(kc_test_path("training_state/7.state"), "torn", 4));
	KC_CHECK_ERR(kc_checkpoint_latest(kc_test_dir(), &s, &refused), KC_EFORMAT,
		     "no valid checkpoint among 1");
	KC_CHECK(refused.n == 1 && strstr(refused.v[0], "7.state"));
	kc_names_free(&refused);
}

static void test_retention(void)
{
	const char *dir = kc_test_dir();

	for (int64_t iter = 200; iter <= 2600; iter += 200)
		KC_CHECK_OK(save(dir, iter, 0, &two_and_thousands));
	/* 1000, 2000 as milestones, 2400 and 2600 as the newest; two models each */
	KC_CHECK(count_files("training_state") == 4 && count_files("models") == 8);
	KC_CHECK(kc_file_exists(kc_test_path("models/1000_D.safetensors")));
	KC_CHECK(latest_is(dir, 2600, 0));
	/* Newer ones of another continuation stay, and do not push out the one just saved. */
	KC_CHECK_OK(save(dir, 2100, 0, &only_one));
	KC_CHECK(kc_file_exists(kc_test_path("training_state/2600.state")));
	KC_CHECK(kc_file_exists(kc_test_path("training_state/2100.state")));
	KC_CHECK(!kc_file_exists(kc_test_path("models/2000_G.safetensors")));
	KC_CHECK(count_files("training_state") == 3 && count_files("models") == 6);
}

/* Without the fsync of kc_file_write, which would take most of the test's time. */
static void overwrite(const char *path, const char *bytes, size_t size)
{
	FILE *f = fopen(path, "wb");

	KC_CHECK(f && fwrite(bytes, 1, size, f) == size);
	KC_CHECK(f && !fclose(f));
}

/* Flips a bit of each byte of a file in turn: the checkpoint must be refused, the older one used.
 */
static void check_damage(const char *dir, const char *name)
{
	const char *path = kc_test_path(name);
	size_t size;
	char *bytes;

	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &bytes, &size)))
		return;
	for (size_t i = 0; i < size; i++) {
		bytes[i] ^= (char)(1 << i % 8);
		overwrite(path, bytes, size);
		if (!latest_is(dir, 10, 1))
			kc_test_fail(__FILE__, __LINE__, "%s: byte %zu damaged unnoticed", name, i);
		bytes[i] ^= (char)(1 << i % 8);
	}
	for (size_t n = 0; n < size; n += 1 + n / 5) {
		overwrite(path, bytes, n);
		KC_CHECK(latest_is(dir, 10, 1));
	}
	KC_CHECK_OK(kc_file_remove(path));
	KC_CHECK(latest_is(dir, 10, strstr(name, ".state") ? 0 : 1));
	KC_CHECK_OK(kc_file_write(path, bytes, size));
	KC_CHECK(latest_is(dir, 20, 0));
	free(bytes);
}

static void test_damage(void)
{
	const char *dir = kc_test_dir();

	KC_CHECK_OK(save(dir, 10, 0, &all));
	KC_CHECK_OK(save(dir, 20, 0, &all));
	check_damage(dir, "models/20_G.safetensors");
	check_damage(dir, "training_state/20.state");
}

static void copy_file(const char *from, const char *to)
{
	size_t size;
	char *bytes;

	KC_CHECK_OK(kc_file_read(from, 1 << 20, &bytes, &size));
	KC_CHECK_OK(kc_file_write(to, bytes, size));
	free(bytes);
}

/* Whole files that do not belong together. */
static void test_mixtures(void)
{
	const char *dir = kc_test_dir(), *other = kc_test_path("other");
	const char *model = kc_test_path("models/20_G.safetensors");
	struct kc_saved s;

	KC_CHECK_OK(save(dir, 10, 0, &all));
	KC_CHECK_OK(save(dir, 20, 0, &all));
	KC_CHECK_OK(save(other, 20, 1, &all));
	copy_file(kc_test_path("models/10_G.safetensors"), model);
	KC_CHECK_ERR(kc_checkpoint_open(dir, 20, &s), KC_EFORMAT, "holds iteration 10");
	copy_file(kc_test_path("other/models/20_G.safetensors"), model);
	KC_CHECK_ERR(kc_checkpoint_open(dir, 20, &s), KC_EFORMAT, "another save");
	KC_CHECK_OK(kc_st_save(model, NULL, 0, NULL, 0));
	KC_CHECK_ERR(kc_checkpoint_open(dir, 20, &s), KC_EFORMAT, "carries no checksums");
	KC_CHECK_OK(kc_seal_save(model, NULL, 0,
				 (struct kc_st_pair[]){{"iter", "20"}, {"run", "b"}}, 2, NULL));
	KC_CHECK_ERR(kc_checkpoint_open(dir, 20, &s), KC_EFORMAT, "belongs to run \"b\"");
	KC_CHECK_OK(kc_seal_save(kc_test_path("training_state/20.state"), NULL, 0,
				 (struct kc_st_pair[]){{"iter", "20"}, {"run", "b"},
						       {"model.../../x", "0"}}, 3, NULL));
	KC_CHECK_ERR(kc_checkpoint_open(dir, 20, &s), KC_EFORMAT, "impossible entry");
	KC_CHECK(latest_is(dir, 10, 1));
}

static void test_refused_contents(void)
{
	const char *dir = kc_test_dir();
	float x[2] = {1, NAN};
	const struct kc_st_item bad[] = {{"w", KC_ST_F32, 1, {2}, x}},
				huge[] = {{"w", KC_ST_U8, 1, {(int64_t)1 << 61}, x}};
	struct kc_checkpoint_part model = {"G", bad, 1};
	struct kc_checkpoint c = {.iter = 1, .run = "r", .models = &model, .n_models = 1};

	KC_CHECK_ERR(kc_checkpoint_save(dir, &c, &all), KC_ENUMERIC, "w[1] is not finite");
	model.items = huge;
	KC_CHECK_ERR(kc_checkpoint_save(dir, &c, &all), KC_EIO, "bytes needed");
	KC_CHECK(count_files("models") == 0 && count_files("training_state") == 0);
	model.suffix = "../x";
	KC_CHECK_ERR(kc_checkpoint_save(dir, &c, &all), KC_EINVAL, "letters and digits");
	KC_CHECK_ERR(save(dir, -1, 0, &all), KC_EINVAL, "iteration -1");
}

/* Each operation of a save fails in turn: the old checkpoint is used until the new one is. */
static void test_disk_faults(void)
{
	const char *dir = kc_test_dir();
	int n = 0, late = 0, rc;

	KC_CHECK_OK(save(dir, 10, 0, &only_one));
	do {
		kc_file_fail_after(++n, ENOSPC);
		rc = save(dir, 20, 0, &only_one);
		if (kc_file_fail_after(0, 0) == 0)
			KC_CHECK(rc == KC_EIO && strstr(kc_errmsg(), strerror(ENOSPC)));
		if (latest_is(dir, 20, 0)) {
			late += rc < 0;
		} else {
			KC_CHECK(latest_is(dir, 10, 0) && rc < 0);
			KC_CHECK(count_files("models") == 2 && count_files("training_state") == 1);
		}
	} while (rc < 0 && n < 200);
	KC_CHECK(rc == 0 && n > 20 && latest_is(dir, 20, 0));
	/* Behind the last rename only two can fail: opening the folder and its fsync. */
	KC_CHECK(late == 2);
	KC_CHECK(count_files("models") == 2 && count_files("training_state") == 1);
}

static void test_kill(void)
{
	const char *dir = kc_test_dir();
	int status = 1;

	for (int n = 1; status && n < 200; n++) {
		pid_t child;
		size_t refused;
		int64_t found;

		KC_CHECK_OK(save(dir, 10, 0, &only_one));
		child = fork();
		if (child == 0) {
			kc_file_fail_after(n, 0);
			_exit(save(dir, 20, 0, &only_one) < 0);
		}
		KC_CHECK(waitpid(child, &status, 0) == child);
		found = latest(dir, &refused);
		KC_CHECK((found == 10 || found == 20) && refused == 0);
		KC_CHECK_OK(kc_file_remove(kc_test_path("training_state/20.state")));
	}
	KC_CHECK(status == 0);
	KC_CHECK_OK(save(dir, 20, 0, &only_one));
	KC_CHECK(count_files("models") == 2 && count_files("training_state") == 1);
}

static void test_memory_faults(void)
{
	const char *dir = kc_test_dir();
	struct kc_names refused = {0};
	struct kc_saved s;
	int n = 0, rc;

	KC_CHECK_OK(save(dir, 10, 0, &all));
	do {
		kc_alloc_fail_after(++n);
		rc = save(dir, 20, 0, &all);
		kc_alloc_fail_after(0);
		KC_CHECK(rc == 0 || rc == KC_ENOMEM);
	} while (rc < 0 && n < 1000);
	KC_CHECK(rc == 0 && n > 50);
	n = 0;
	do {
		kc_alloc_fail_after(++n);
		rc = kc_checkpoint_latest(dir, &s, &refused);
		kc_alloc_fail_after(0);
		kc_names_free(&refused);
		KC_CHECK(rc == 0 || rc == KC_ENOMEM);
	} while (rc < 0 && n < 1000);
	KC_CHECK(rc == 0 && s.iter == 20);
	kc_saved_close(&s);
}

const struct kc_test kc_tests_checkpoint[] = {
	{"round trip", test_round_trip},
	{"no checkpoint", test_none},
	{"old ones are deleted, milestones stay", test_retention},
	{"any flipped bit or cut is noticed, the older one is used", test_damage},
	{"whole files that do not belong together", test_mixtures},
	{"contents that are refused", test_refused_contents},
	{"every failing disk operation", test_disk_faults},
	{"a kill at every disk operation", test_kill},
	{"every failing allocation", test_memory_faults},
	{0}};
