/*
 * What users get wrong: each mistake ends the run with one message that names file, key or
 * clip, and leaves the older run of that name where it was.
 */
#include "core/hash.h"
#include "tests/clips.h"
#include "tests/runs.h"
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

static uint64_t hash_file(const char *name)
{
	char *data = NULL;
	size_t size = 0;
	uint64_t h = 0;

	if (KC_CHECK_OK(kc_file_read(kc_test_path(name), 64 << 20, &data, &size)))
		h = kc_hash64(data, size, 0);
	free(data);
	return h;
}

/* A hash over the checkpoints of the run "run", 0 when the folder is not as it was. */
static uint64_t hash_run(void)
{
	struct kc_names names = {0};
	uint64_t h = 0;

	if (!KC_CHECK_OK(kc_dir_list(kc_test_path("experiments"), NULL, KC_ORDER_BYTES, &names)))
		return 0;
	if (names.n == 1)
		h = hash_file("experiments/run/models/2_G.safetensors") +
		    hash_file("experiments/run/training_state/2.state") +
		    hash_file("experiments/run/metrics.jsonl");
	kc_names_free(&names);
	return h;
}

/* "key=path of a file in the folder of the test"; borrowed until the eighth call from here. */
static const char *at(const char *key, const char *name)
{
	static char text[8][512];
	static int next;

	next = (next + 1) % 8;
	snprintf(text[next], sizeof text[next], "%s=%s", key, kc_test_path(name));
	return text[next];
}

static void write_text(const char *name, const char *text)
{
	KC_CHECK_OK(kc_file_write(kc_test_path(name), text, strlen(text)));
}

struct mistake {
	const char *set[4];
	int err;
	const char *text;
};

static void check_mistakes(const struct mistake *m, size_t n)
{
	uint64_t before;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(NULL, NULL));
	before = hash_run();
	for (size_t i = 0; i < n; i++) {
		KC_CHECK_ERR(kc_test_train(m[i].set, NULL), m[i].err, m[i].text);
		KC_CHECK(hash_run() == before && before);
	}
}

static void test_settings(void)
{
	static const struct mistake m[] = {
		{{"train.lrG=1"}, KC_ECONFIG, "unknown key 'train.lrG', the nearest is 'train.lr_"},
		{{"datasets.train.GTsize=3"}, KC_ECONFIG, "nearest is 'datasets.train.GT_size'"},
		{{"train.lr_G=fast"}, KC_ECONFIG, "train.lr_G: expected a number in 0..1000"},
		{{"train.niter=0"}, KC_ECONFIG, "train.niter: expected an integer in 1.."},
		{{"train.niter=1.5"}, KC_ECONFIG, "train.niter: expected an integer"},
		{{"datasets.train.use_flip=maybe"}, KC_ECONFIG, "use_flip: expected true or false"},
		{{"flow=magic"}, KC_ECONFIG, "flow: expected"},
		{{"train.lr_steps=[1, x]"}, KC_ECONFIG, "train.lr_steps"},
		{{"network_G.key_net=vgg"}, KC_ECONFIG, "network_G.key_net: expected"},
		{{"network_G.global_hints=true"}, KC_ECONFIG, "network_G.global_hints: only"},
		{{"network_G.cls_bins=313-soft"}, KC_ECONFIG, "network_G.cls_bins: only"},
		{{"train.srl_steps=[3]"}, KC_ECONFIG, "train.srl_steps"},
		{{"train.srl_weight=0"}, KC_ECONFIG, "srl_weight and class_weight are all 0"},
		{{"name=a/b"}, KC_ECONFIG, "name: expected"},
		{{"model=idc", "network_G.which_model_G=siggraph17", "datasets.train.GT_size=36"},
		 KC_ECONFIG, "datasets.train.GT_size: 36 is not a multiple of"},
	};

	check_mistakes(m, KC_COUNT(m));
}

static void test_yaml(void)
{
	static const struct { const char *text, *message; } files[] = {
		{"name: x\ntrain:\n  lrG: 3\n", "bad.yml:3: unknown key 'train.lrG', the nearest"},
		{"name: x\ntrain:\n  niter: many\n", "bad.yml:3: train.niter: expected an integer"},
		{"name: x\ntrain:\n  beta1: 2\n", "bad.yml:3: train.beta1: expected a number in"},
		{"name: x\n  train: [\n", "bad.yml:"},
	};

	for (size_t i = 0; i < KC_COUNT(files); i++) {
		struct kc_config c;

		write_text("bad.yml", files[i].text);
		KC_CHECK_OK(kc_config_init(&c));
		KC_CHECK(kc_config_load(&c, kc_test_path("bad.yml")) < 0);
		if (!strstr(kc_errmsg(), files[i].message))
			kc_test_fail(__FILE__, __LINE__, "%s", kc_errmsg());
		kc_config_release(&c);
	}
}

static void test_data(void)
{
	const struct mistake m[] = {
		{{at("datasets.train.dataroot_GT", "nowhere")}, KC_ENOENT, "dataroot_GT: "},
		{{at("datasets.train.dataroot_GT", "text.yml")}, KC_EFORMAT, "not an HDF5"},
		{{at("datasets.train.dataroot_GT", "empty")}, KC_EFORMAT, "neither images nor"},
		{{at("datasets.train.dataroot_GT", "hollow")}, KC_EFORMAT, "hollow/x"},
		{{"datasets.train.dataroot_GT=~"}, KC_ECONFIG, "dataroot_GT: no data"},
		{{"datasets.train.keyframe_interval=5"}, KC_ECONFIG,
		 "no clip holds a window of 7 frames at interval 1"},
		{{"datasets.train.interval_list=[9]"}, KC_ECONFIG,
		 "no clip holds a window of 3 frames at interval 9 (19 frames); the longest, a,"},
		{{"datasets.train.GT_size=64"}, KC_ECONFIG,
		 "a crop of 64 x 64 is larger than the frames of clip a, 40 x 36"},
		{{"flow=pack"}, KC_ECONFIG, "is no pack file"},
		{{at("datasets.train.cache_keys", "keys.txt")}, KC_ENOENT, "cache_keys: "},
		{{at("datasets.val.dataroot_GT", "nowhere"), "train.val_freq=2"}, KC_ENOENT,
		 "datasets.val.dataroot_GT"},
	};

	KC_CHECK_OK(kc_dir_make(kc_test_path("empty")));
	KC_CHECK_OK(kc_dir_make(kc_test_path("hollow/x")));
	write_text("text.yml", "no folder");
	write_text("keys.txt", "zebra_00000_00004\n");
	check_mistakes(m, KC_COUNT(m));
}

static void test_weights(void)
{
	const struct mistake m[] = {
		{{"network_G.init=pretrained"}, KC_ENOENT, "published as siggraph17-df00044c.pth"},
		{{at("path.pretrain_model_G", "none.safetensors")}, KC_ENOENT, "none.safetensors"},
		{{at("path.pretrain_model_G", "page.pth")}, KC_ENOSUP, "page.pth: a web page"},
		{{at("path.pretrain_model_G", "lfs.pth")}, KC_ENOSUP, "a Git LFS pointer"},
		{{"network_G.width=0.25",
		  at("path.pretrain_model_G", "experiments/run/models/2_G.safetensors")},
		 KC_ESHAPE, "2_G.safetensors: \"fea_key.model1"},
	};

	write_text("page.pth", "<!DOCTYPE html><html><body>no</body></html>");
	write_text("lfs.pth", "version https://git-lfs.github.com/spec/v1\n"
			      "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\n"
			      "size 12345\n");
	check_mistakes(m, KC_COUNT(m));
}

/* Too short a clip is skipped; a damaged file is put aside; the run goes on. */
static void test_damage(void)
{
	struct kc_image image = {0};
	const char *said;
	uint8_t *bytes;
	size_t size;

	kc_test_clips();
	kc_test_clip(kc_test_path("clips"), "short", 2, 40, 36, 4);
	kc_test_clip(kc_test_path("clips"), "sizes", 4, 40, 36, 5);
	kc_test_picture(&image, 44, 36, 5, 2);
	KC_CHECK_OK(kc_image_write(kc_test_path("clips/sizes/00002.png"), &image, 0));
	kc_test_clip(kc_test_path("clips"), "torn", 4, 40, 36, 6);
	kc_test_picture(&image, 40, 36, 6, 1);
	KC_CHECK_OK(kc_file_remove(kc_test_path("clips/torn/00001.png")));
	if (KC_CHECK_OK(kc_image_encode(&image, KC_IMAGE_JPEG, 90, &bytes, &size))) {
		KC_CHECK_OK(kc_file_write(kc_test_path("clips/torn/00001.jpg"), bytes, size / 2));
		free(bytes);
	}
	KC_CHECK_OK(kc_test_train(SET("train.niter=16"), &said));
	KC_CHECK(strstr(said, "1 clips are too short for a window of 3 frames"));
	KC_CHECK(strstr(said, "put aside: ") && strstr(said, "sizes/00002.png"));
	KC_CHECK(strstr(said, "torn/00001.jpg"));
	KC_CHECK(strstr(said, "saved iteration 16"));
	kc_image_release(&image);
}

/* Grey and 16-bit frames are frames like any others. */
static void test_depths(void)
{
	static const char *const kinds[] = {"grey16", "grey1", "palette", "frame"};

	for (size_t i = 0; i < KC_COUNT(kinds); i++) {
		char from[64], *data;
		const char *said;
		size_t size;

		snprintf(from, sizeof from, "golden/colour_data/%s.png", kinds[i]);
		if (!KC_CHECK_OK(kc_file_read(kc_test_fixture(from), 1 << 20, &data, &size)))
			continue;
		KC_CHECK_OK(kc_dir_make(kc_test_path("clips/x")));
		for (int f = 0; f < 3; f++) {
			char to[64];

			snprintf(to, sizeof to, "clips/x/%d.png", f);
			KC_CHECK_OK(kc_file_write(kc_test_path(to), data, size));
		}
		free(data);
		KC_CHECK_OK(kc_test_train(SET("train.niter=1", "datasets.train.interval_list=[1]"),
					  &said));
		KC_CHECK(!strstr(said, "put aside"));
	}
}

static void flip_byte(const char *name)
{
	char *data;
	size_t size;

	if (!KC_CHECK_OK(kc_file_read(kc_test_path(name), 64 << 20, &data, &size)))
		return;
	data[size / 2] ^= 1;
	KC_CHECK_OK(kc_file_write(kc_test_path(name), data, size));
	free(data);
}

static void test_torn(void)
{
	const char *const auto6[] = {"train.niter=6", "path.resume_state=auto", NULL};
	const char *said;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET("train.niter=6"), NULL));
	flip_byte("experiments/run/models/6_G.safetensors");
	KC_CHECK_OK(kc_test_train(auto6, &said));
	KC_CHECK(strstr(said, "passed over: ") && strstr(said, "6_G.safetensors"));
	KC_CHECK(strstr(said, "resumed behind iteration 4"));

	flip_byte("experiments/run/training_state/6.state");
	flip_byte("experiments/run/training_state/4.state");
	KC_CHECK_OK(kc_test_train(auto6, &said));
	KC_CHECK(strstr(said, "resumed behind iteration 2"));

	for (int i = 2; i <= 6; i += 2) {
		char name[64];

		snprintf(name, sizeof name, "experiments/run/training_state/%d.state", i);
		flip_byte(name);
	}
	KC_CHECK_ERR(kc_test_train(auto6, NULL), KC_EFORMAT, "valid");
}

/*
 * The disk is full at the n-th time that something is asked of it: the older state stays, and
 * is enough to go on.
 */
static void test_full_disk(void)
{
	const char *const more[] = {"train.niter=4", "path.resume_state=auto",
				    "logger.save_checkpoint_freq=0",
				    "datasets.train.n_workers=0", NULL};
	const char *state = kc_test_path("experiments/run/training_state/4.state");
	int failed_saves = 0;
	bool struck = true;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(NULL, NULL));
	for (int n = 1; struck && n < 1000; n += 19) {
		int rc;

		kc_file_fail_after(n, ENOSPC);
		rc = kc_test_train(more, NULL);
		struck = kc_file_fail_after(0, 0) <= 0;
		failed_saves += rc < 0 && strstr(kc_errmsg(), "checkpoint of iteration 4: ") &&
				strstr(kc_errmsg(), "No space left on device");
		KC_CHECK(kc_test_has_state(2) && kc_test_has_state(4) == (rc >= 0));
		KC_CHECK_OK(kc_file_remove(state));
	}
	KC_CHECK(!struck && failed_saves >= 5);
}

/* Whatever allocation fails, the run ends with a message or goes on; the older state stays. */
static void test_no_memory(void)
{
	const char *const more[] = {"train.niter=4", "path.resume_state=auto",
				    "train.ema_decay=0.5", "datasets.train.n_workers=0", NULL};
	const char *state = kc_test_path("experiments/run/training_state/4.state");
	int failed = 0;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(SET("train.ema_decay=0.5"), NULL));
	for (long n = 20; n < 12000; n += n / 4) {
		int rc;

		kc_alloc_fail_after(n);
		rc = kc_test_train(more, NULL);
		kc_alloc_fail_after(0);
		failed += rc < 0;
		if (rc < 0 && !strstr(kc_errmsg(), "out of memory"))
			kc_test_fail(__FILE__, __LINE__, "allocation %ld: %s", n, kc_errmsg());
		KC_CHECK(kc_test_has_state(2));
		KC_CHECK_OK(kc_file_remove(state));
	}
	KC_CHECK(failed >= 10);
}

const struct kc_test kc_tests_train_input[] = {
	{"wrong settings name their key", test_settings},
	{"wrong files of settings name file, line and key", test_yaml},
	{"wrong data name folder or clip", test_data},
	{"wrong weights name their file", test_weights},
	{"damaged frames are put aside", test_damage},
	{"grey and 16-bit frames are read", test_depths},
	{"a damaged checkpoint is passed over", test_torn},
	{"a lack of memory keeps the older checkpoint", test_no_memory},
	{"a full disk keeps the older checkpoint", test_full_disk},
	{0},
};
