#include "data/clip.h"
#include "tests/clips.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_text(const char *name, const char *text)
{
	KC_CHECK_OK(kc_file_write(kc_test_path(name), text, strlen(text)));
}

/* Frames named 9.png, 10.png, ... and other files beside them. */
static void test_order(void)
{
	struct kc_image image = {0}, read = {0};
	struct kc_dataset *d;
	char path[600];

	KC_CHECK_OK(kc_dir_make(kc_test_path("set/b10")));
	kc_test_clip(kc_test_path("set"), "b9", 2, 20, 18, 7);
	for (int f = 8; f < 12; f++) {
		kc_test_picture(&image, 20, 18, 1, f);
		snprintf(path, sizeof path, "%s/%d.png", kc_test_path("set/b10"), f);
		KC_CHECK_OK(kc_image_write(path, &image, 0));
	}
	write_text("set/b10/notes.txt", "no frame");
	write_text("set/b10/.hidden.png", "no frame");
	write_text("set/readme", "no clip");
	if (!KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d)))
		return;
	KC_CHECK(d->n == 2 && !strcmp(d->clip[0].name, "b9") && !strcmp(d->clip[1].name, "b10"));
	KC_CHECK(d->clip[1].n == 4 && d->clip[1].width == 20 && d->clip[1].height == 18);
	for (int f = 0; f < 4; f++) {
		kc_test_picture(&image, 20, 18, 1, 8 + f);
		KC_CHECK_OK(kc_clip_read(&d->clip[1], f, &read));
		KC_CHECK(!memcmp(image.rgb, read.rgb, 20 * 18 * 3));
	}
	KC_CHECK_ERR(kc_clip_read(&d->clip[1], 4, &read), KC_EINVAL, "b10 has no frame 4");
	KC_CHECK_ERR(kc_clip_read(&d->clip[1], -1, &read), KC_EINVAL, "no frame -1");
	kc_dataset_close(d);
	kc_image_release(&image);
	kc_image_release(&read);
}

static void test_single(void)
{
	struct kc_dataset *d;
	char path[600];

	kc_test_clip(kc_test_dir(), "one", 3, 16, 16, 0);
	snprintf(path, sizeof path, "%s/", kc_test_path("one"));
	if (!KC_CHECK_OK(kc_dataset_open(path, &d)))
		return;
	KC_CHECK(d->n == 1 && d->clip[0].n == 3 && !strcmp(d->clip[0].name, "one"));
	kc_dataset_close(d);
}

static void test_bad_folders(void)
{
	struct kc_dataset *d;

	KC_CHECK_ERR(kc_dataset_open("/nowhere/at/all", &d), KC_ENOENT, "/nowhere/at/all");
	KC_CHECK_OK(kc_dir_make(kc_test_path("empty")));
	KC_CHECK_ERR(kc_dataset_open(kc_test_path("empty"), &d), KC_EFORMAT, "neither images nor");
	kc_test_clip(kc_test_path("set"), "a", 1, 16, 16, 0);
	KC_CHECK_OK(kc_dir_make(kc_test_path("set/b")));
	KC_CHECK_ERR(kc_dataset_open(kc_test_path("set"), &d), KC_EFORMAT,
		     "set/b: a clip without images");
	kc_test_clip(kc_test_path("spoilt"), "a", 2, 16, 16, 0);
	kc_test_spoil(kc_test_path("spoilt/a"), "00000.png");
	if (KC_CHECK_OK(kc_dataset_open(kc_test_path("spoilt"), &d))) {
		KC_CHECK(d->clip[0].width == 16);
		kc_dataset_close(d);
	}
	kc_test_spoil(kc_test_path("spoilt/a"), "00001.png");
	KC_CHECK_ERR(kc_dataset_open(kc_test_path("spoilt"), &d), KC_EFORMAT,
		     "no frame can be read");
	write_text("file.txt", "text");
	KC_CHECK_ERR(kc_dataset_open(kc_test_path("file.txt"), &d), KC_EFORMAT, "not an HDF5 file");
}

static void test_bad_frames(void)
{
	struct kc_image image = {0};
	struct kc_dataset *d;

	kc_test_clip(kc_test_dir(), "a", 4, 20, 16, 0);
	kc_test_spoil(kc_test_path("a"), "00001.png");
	kc_test_picture(&image, 16, 20, 0, 0);
	KC_CHECK_OK(kc_image_write(kc_test_path("a/00002.png"), &image, 0));
	if (!KC_CHECK_OK(kc_dataset_open(kc_test_path("a"), &d)))
		return;
	KC_CHECK_OK(kc_clip_read(&d->clip[0], 0, &image));
	KC_CHECK_ERR(kc_clip_read(&d->clip[0], 1, &image), KC_EFORMAT, "a/00001.png: not an image");
	KC_CHECK_ERR(kc_clip_read(&d->clip[0], 2, &image), KC_ESHAPE, "a/00002.png is 16 x 20");
	KC_CHECK_OK(kc_clip_load(&d->clip[0], 2, &image));
	unlink(kc_test_path("a/00003.png"));
	KC_CHECK_ERR(kc_clip_read(&d->clip[0], 3, &image), KC_ENOENT, "a/00003.png");
	kc_dataset_close(d);
	kc_image_release(&image);
}

/* ---- lists ---- */

static void test_keys(void)
{
	static const char *const names[] = {"golden/files/keys_protocol2.pkl",
					    "golden/files/keys_protocol3.pkl",
					    "golden/files/keys_protocol4.pkl"};
	struct kc_keys keys;

	for (int i = 0; i < 3; i++) {
		if (!KC_CHECK_OK(kc_keys_read(kc_test_fixture(names[i]), &keys)))
			continue;
		KC_CHECK(keys.n == 9);
		KC_CHECK(!strcmp(keys.v[1].clip, "bear") && keys.v[1].start == 3 &&
			 keys.v[1].last == 81);
		KC_CHECK(!strcmp(keys.v[5].clip, "night-race") && keys.v[5].last == 45);
		KC_CHECK(!strcmp(keys.v[8].clip, "Tr\xc3\xa4um") && keys.v[8].start == 6);
		kc_keys_free(&keys);
	}
}

/* A pickle of {"keys": [key]}. */
static int read_key(const char *key)
{
	struct kc_keys keys;
	char data[400];
	int n = snprintf(data, sizeof data, "}U%ckeys]U%c%sas.", 4, (int)strlen(key), key), rc;

	KC_CHECK_OK(kc_file_write(kc_test_path("list.pkl"), data, (size_t)n));
	rc = kc_keys_read(kc_test_path("list.pkl"), &keys);
	if (rc >= 0) {
		KC_CHECK(keys.n == 1 && keys.v[0].start == 12 && keys.v[0].last == 34);
		kc_keys_free(&keys);
	}
	return rc;
}

static void test_bad_keys(void)
{
	static const char *const bad[] = {
		"bear",		"bear_12",  "_12_34",	  "bear_x_34",
		"bear_12_",	"bear__34", "bear_34_12", "bear_12_99999999999",
		"../etc_12_34", ".._12_34", "._12_34",	  "a/b_12_34",
		"12_34",	"",	    "bear_-1_34", "bear_12_34 "};
	static const struct { const char *name, *says; } files[] = {
		{"golden/hostile/keys_malformed.pkl", "CLIP_START_LAST expected"},
		{"golden/hostile/keys_missing.pkl", "a list named \"keys\""},
		{"golden/hostile/keys_not_strings.pkl", "text expected"},
		{"golden/hostile/not_a_dict.pkl", "a dict expected"},
		{"golden/hostile/call_posix_system.pkl", "refuses to call posix.system"},
	};
	struct kc_keys keys;

	KC_CHECK_OK(read_key("bear_12_34"));
	KC_CHECK_OK(read_key("a_b__1_2_12_34"));
	for (size_t i = 0; i < KC_COUNT(bad); i++)
		KC_CHECK_ERR(read_key(bad[i]), KC_EFORMAT, "list.pkl: ");
	for (size_t i = 0; i < KC_COUNT(files); i++)
		KC_CHECK_ERR(kc_keys_read(kc_test_fixture(files[i].name), &keys), KC_EFORMAT,
			     files[i].says);
	KC_CHECK_ERR(kc_keys_read("/nowhere/x.pkl", &keys), KC_ENOENT, "/nowhere/x.pkl");
}

static struct kc_dataset *three_clips(void)
{
	struct kc_dataset *d = NULL;

	kc_test_clip(kc_test_path("set"), "a", 3, 16, 16, 0);
	kc_test_clip(kc_test_path("set"), "b_1", 5, 16, 16, 1);
	kc_test_clip(kc_test_path("set"), "c", 4, 16, 16, 2);
	KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d));
	return d;
}

static void test_text_list(void)
{
	struct kc_dataset *d = three_clips();

	write_text("list.txt", "# clips\n\nc\r\na  \n");
	KC_CHECK_OK(kc_dataset_use_list(d, kc_test_path("list.txt")));
	KC_CHECK(d->n == 2 && !d->window);
	KC_CHECK(!strcmp(d->clip[0].name, "a") && !strcmp(d->clip[1].name, "c") &&
		 d->clip[1].n == 4);
	KC_CHECK_ERR(kc_dataset_use_list(d, "/nowhere/list"), KC_ENOENT, "/nowhere/list");
	write_text("list.txt", "a\nb_1");
	KC_CHECK_ERR(kc_dataset_use_list(d, kc_test_path("list.txt")), KC_ENOENT,
		     "clip b_1 is not in");
	write_text("list.txt", "a\n..\n");
	KC_CHECK_ERR(kc_dataset_use_list(d, kc_test_path("list.txt")), KC_EFORMAT,
		     "line 2: \"..\"");
	write_text("list.txt", "# nothing\n");
	KC_CHECK_ERR(kc_dataset_use_list(d, kc_test_path("list.txt")), KC_EFORMAT,
		     "the list is empty");
	kc_dataset_close(d);
}

static void test_key_list(void)
{
	struct kc_dataset *d = three_clips();
	static const char good[] = "}U\4keys](U\005c_0_3U\007b_1_1_4U\005c_2_3es.";
	static const char long_clip[] = "}U\4keys](U\005c_0_4es.";

	KC_CHECK_OK(kc_file_write(kc_test_path("long.pkl"), long_clip, sizeof long_clip - 1));
	KC_CHECK_ERR(kc_dataset_use_list(d, kc_test_path("long.pkl")), KC_EFORMAT,
		     "clip c has 4 frames");
	KC_CHECK_OK(kc_file_write(kc_test_path("keys.pkl"), good, sizeof good - 1));
	KC_CHECK_OK(kc_dataset_use_list(d, kc_test_path("keys.pkl")));
	KC_CHECK(d->n == 2 && !strcmp(d->clip[0].name, "b_1") && !strcmp(d->clip[1].name, "c"));
	KC_CHECK(d->n_windows == 3 && d->window && d->window[0].clip == 1);
	KC_CHECK(d->window[1].clip == 0 && d->window[1].start == 1 && d->window[1].last == 4);
	KC_CHECK(d->window[2].start == 2 && d->window[2].last == 3);
	kc_dataset_close(d);
}

const struct kc_test kc_tests_clip[] = {
	{"frames and clips in natural order, other files left alone", test_order},
	{"a folder of images is one clip", test_single},
	{"folders that are no dataset", test_bad_folders},
	{"damaged, missing and differing frames", test_bad_frames},
	{"published key lists", test_keys},
	{"malformed key lists", test_bad_keys},
	{"a text list chooses clips", test_text_list},
	{"a key list chooses clips and windows", test_key_list},
	{0}
};
