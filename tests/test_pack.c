#include "core/file.h"
#include "data/clip.h"
#include "data/pack_build.h"
#include "tests/clips.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W = 40, H = 30, N = 20 };

static struct kc_dataset *make_set(void)
{
	struct kc_dataset *d = NULL;

	kc_test_clip(kc_test_path("set"), "c10", 2, W, H, 3);
	kc_test_clip(kc_test_path("set"), "c9", N, W, H, 1);
	KC_CHECK_OK(kc_dataset_open(kc_test_path("set"), &d));
	return d;
}

static struct kc_pack_job raw_job(const struct kc_dataset *d)
{
	return (struct kc_pack_job){.dataset = d, .output = kc_test_path("x.h5"), .width = W,
				    .height = H, .workers = 2};
}

static void test_raw(void)
{
	struct kc_dataset *folder = make_set(), *pack;
	struct kc_pack_job job = raw_job(folder);
	struct kc_image a = {0}, b = {0};

	KC_CHECK_OK(kc_pack_build(&job));
	if (KC_CHECK_OK(kc_dataset_open(job.output, &pack))) {
		KC_CHECK(pack->n == 2 && !strcmp(pack->clip[0].name, "c9"));
		KC_CHECK(pack->clip[0].n == N && pack->clip[1].n == 2);
		KC_CHECK(pack->clip[0].width == W && pack->clip[0].height == H);
		for (int f = 0; f < N; f++) {
			KC_CHECK_OK(kc_clip_read(&folder->clip[0], f, &a));
			KC_CHECK_OK(kc_clip_read(&pack->clip[0], f, &b));
			KC_CHECK(b.width == W && b.height == H && !memcmp(a.rgb, b.rgb, W * H * 3));
		}
		KC_CHECK_ERR(kc_clip_read(&pack->clip[0], N, &b), KC_EINVAL, "no frame 20");
		kc_dataset_close(pack);
	}
	kc_dataset_close(folder);
	kc_image_release(&a);
	kc_image_release(&b);
}

static void test_jpeg(void)
{
	struct kc_dataset *folder = make_set(), *pack;
	struct kc_pack_job job = raw_job(folder);
	struct kc_image a = {0}, b = {0};
	double sum = 0;

	job.jpeg = true;
	job.quality = 90;
	KC_CHECK_OK(kc_pack_build(&job));
	if (KC_CHECK_OK(kc_dataset_open(job.output, &pack))) {
		KC_CHECK_OK(kc_clip_read(&folder->clip[0], N - 1, &a));
		KC_CHECK_OK(kc_clip_read(&pack->clip[0], N - 1, &b));
		for (int i = 0; i < W * H * 3; i++)
			sum += abs(a.rgb[i] - b.rgb[i]) / (W * H * 3.0);
		KC_CHECK(sum > 0 && sum < 4);
		kc_dataset_close(pack);
	}
	kc_dataset_close(folder);
	kc_image_release(&a);
	kc_image_release(&b);
}

static void test_resized(void)
{
	struct kc_dataset *folder = make_set(), *pack;
	struct kc_pack_job job = raw_job(folder);
	struct kc_image b = {0};

	job.width = 33;
	job.height = 50;
	KC_CHECK_OK(kc_pack_build(&job));
	if (KC_CHECK_OK(kc_dataset_open(job.output, &pack))) {
		KC_CHECK_OK(kc_clip_read(&pack->clip[1], 1, &b));
		KC_CHECK(b.width == 33 && b.height == 50);
		kc_dataset_close(pack);
	}
	kc_dataset_close(folder);
	kc_image_release(&b);
}

/* The stored flow is DIS flow of the stored frames, to 1/64 pixel, across block borders. */
static void check_flow(const struct kc_dataset *d, int64_t from, int64_t to)
{
	static uint8_t grey[2][W * H];
	static float flow[W * H * 2];
	static int16_t stored[W * H * 2];
	struct kc_image image = {0};
	struct kc_dis *dis;
	int wrong = 0;

	for (int i = 0; i < 2; i++) {
		KC_CHECK_OK(kc_clip_read(&d->clip[0], i ? to : from, &image));
		kc_grey_from_rgb(image.rgb, W * H, grey[i]);
	}
	kc_image_release(&image);
	KC_CHECK_OK(kc_pack_flow(d->pack, 0, from, to, stored));
	if (!KC_CHECK_OK(kc_dis_open(KC_DIS_FAST, &dis)))
		return;
	KC_CHECK_OK(kc_dis_run(dis, grey[0], grey[1], W, H, flow));
	kc_dis_close(dis);
	for (int i = 0; i < W * H * 2; i++)
		wrong += fabsf(flow[i] - (float)stored[i] * KC_PACK_FLOW_UNIT) >
			 0.51f * KC_PACK_FLOW_UNIT;
	KC_CHECK(wrong == 0);
}

static void test_flow(void)
{
	struct kc_dataset *folder = make_set(), *d;
	struct kc_pack_job job = raw_job(folder);

	job.offsets[0] = 1;
	job.offsets[1] = 3;
	job.n_offsets = 2;
	job.dis = KC_DIS_FAST;
	KC_CHECK_OK(kc_pack_build(&job));
	if (KC_CHECK_OK(kc_dataset_open(job.output, &d))) {
		for (int f = 0; f + 3 < N; f++) {
			check_flow(d, f, f + 1);
			check_flow(d, f + 3, f);
		}
		check_flow(d, 2, 1);
		check_flow(d, N - 4, N - 1);
		KC_CHECK_OK(kc_pack_need_offset(d->pack, 0, -3));
		KC_CHECK_ERR(kc_pack_need_offset(d->pack, 0, 2), KC_ENOENT,
			     "x.h5: clip c9 has no flow over "
			     "offset 2");
		KC_CHECK_ERR(kc_pack_need_offset(d->pack, 1, 3), KC_ENOENT, "clip c10");
		kc_dataset_close(d);
	}
	kc_dataset_close(folder);
}

static void test_fixed_point(void)
{
	KC_CHECK(kc_pack_flow_value(1.5f) == 96 && kc_pack_flow_value(-0.25f) == -16);
	KC_CHECK(kc_pack_flow_value(1e6f) == INT16_MAX && kc_pack_flow_value(-1e6f) == INT16_MIN);
	KC_CHECK(kc_pack_flow_value(NAN) == 0);
}

static void test_bad_jobs(void)
{
	struct kc_dataset *d = make_set();
	struct kc_pack_job job = raw_job(d), bad;

	bad = job, bad.width = 0;
	KC_CHECK_ERR(kc_pack_build(&bad), KC_EINVAL, "a size of 0 x 30");
	bad = job, bad.jpeg = true, bad.quality = 101;
	KC_CHECK_ERR(kc_pack_build(&bad), KC_EINVAL, "quality 101");
	bad = job, bad.workers = 0;
	KC_CHECK_ERR(kc_pack_build(&bad), KC_EINVAL, "0 threads");
	bad = job, bad.n_offsets = 2, bad.offsets[0] = bad.offsets[1] = 1;
	KC_CHECK_ERR(kc_pack_build(&bad), KC_EINVAL, "given twice");
	bad = job, bad.n_offsets = 1, bad.offsets[0] = 1, bad.width = 8;
	KC_CHECK_ERR(kc_pack_build(&bad), KC_EINVAL, "flow needs");
	bad = job, bad.output = "/nowhere/x.h5";
	KC_CHECK_ERR(kc_pack_build(&bad), KC_ENOENT, "/nowhere");
	kc_dataset_close(d);
}

static int stop_early(void *own, int64_t done, int64_t frames)
{
	(void)own, (void)frames;
	return done > 0;
}

/* A damaged frame, or a stop, leaves the earlier file as it was, and nothing else. */
static void test_atomic(void)
{
	struct kc_dataset *d = make_set();
	struct kc_pack_job job = raw_job(d);
	char *before, *after;
	size_t n, m;

	KC_CHECK_OK(kc_pack_build(&job));
	KC_CHECK_OK(kc_file_read(job.output, 1 << 24, &before, &n));
	job.progress = stop_early;
	KC_CHECK_ERR(kc_pack_build(&job), KC_ESTOP, "nothing was written");
	job.progress = NULL;
	kc_test_spoil(kc_test_path("set/c10"), "00001.png");
	KC_CHECK_ERR(kc_pack_build(&job), KC_EFORMAT, "c10/00001.png: not an image");
	KC_CHECK_OK(kc_file_read(job.output, 1 << 24, &after, &m));
	KC_CHECK(n == m && !memcmp(before, after, n));
	KC_CHECK(!kc_file_exists(kc_test_path("x.h5.tmp")));
	free(before);
	free(after);
	kc_dataset_close(d);
}

static void test_same_bytes(void)
{
	struct kc_dataset *d = make_set();
	struct kc_pack_job job = raw_job(d);
	char *one, *three;
	size_t n, m;

	job.n_offsets = 1;
	job.offsets[0] = 1;
	job.workers = 1;
	KC_CHECK_OK(kc_pack_build(&job));
	KC_CHECK_OK(kc_file_read(job.output, 1 << 24, &one, &n));
	job.workers = 3;
	KC_CHECK_OK(kc_pack_build(&job));
	KC_CHECK_OK(kc_file_read(job.output, 1 << 24, &three, &m));
	KC_CHECK(n == m && !memcmp(one, three, n));
	free(one);
	free(three);
	kc_dataset_close(d);
}

/* Truncated and altered files are refused or read; nothing crashes. */
static void test_damaged(void)
{
	struct kc_dataset *d = make_set();
	struct kc_pack_job job = raw_job(d);
	struct kc_image image = {0};
	const char *path = kc_test_path("bad.h5");
	struct kc_pack *p;
	char *data;
	size_t n;

	KC_CHECK_OK(kc_pack_build(&job));
	KC_CHECK_OK(kc_file_read(job.output, 1 << 24, &data, &n));
	for (size_t cut = 0; cut < n; cut += n / 17) {
		KC_CHECK_OK(kc_file_write(path, data, cut));
		KC_CHECK_ERR(kc_pack_open(path, &p), KC_EFORMAT, "bad.h5: ");
	}
	for (size_t at = 0; at < KC_MIN(n, (size_t)3000); at += 29) {
		data[at] ^= 0x5a;
		KC_CHECK_OK(kc_file_write(path, data, n));
		data[at] ^= 0x5a;
		if (kc_pack_open(path, &p) < 0)
			continue;
		for (size_t c = 0; c < kc_pack_clips(p); c++)
			(void)kc_pack_read(p, c, kc_pack_clip_frames(p, c) - 1, &image);
		kc_pack_close(p);
	}
	KC_CHECK_ERR(kc_pack_open("/nowhere/x.h5", &p), KC_ENOENT, "/nowhere/x.h5");
	free(data);
	kc_image_release(&image);
	kc_dataset_close(d);
}

/* A JPEG of another size than the file says it holds. */
static void test_other_size(void)
{
	const struct kc_pack_layout layout = {.width = W, .height = H, .jpeg = true, .quality = 90,
					      .source = "a test"};
	const char *path = kc_test_path("other.h5"), *file = kc_test_path("other.jpg");
	struct kc_pack_writer *w;
	struct kc_image image = {0};
	struct kc_pack *p;
	char *data = NULL;
	size_t n = 0;

	kc_test_picture(&image, W + 2, H, 1, 0);
	KC_CHECK_OK(kc_image_write(file, &image, 90));
	KC_CHECK_OK(kc_file_read(file, 1 << 20, &data, &n));
	if (KC_CHECK_OK(kc_pack_create(path, &layout, &w))) {
		KC_CHECK_OK(kc_pack_add_clip(w, "a", 1));
		KC_CHECK_OK(kc_pack_add_frame(w, 0, data, n));
		KC_CHECK_OK(kc_pack_commit(w));
	}
	if (KC_CHECK_OK(kc_pack_open(path, &p))) {
		KC_CHECK_ERR(kc_pack_read(p, 0, 0, &image), KC_ESHAPE,
			     "other.h5: clip a, frame 0: 42 x 30, the file says 40 x 30");
		kc_pack_close(p);
	}
	free(data);
	kc_image_release(&image);
}

const struct kc_test kc_tests_pack[] = {
	{"raw frames come back exactly", test_raw},
	{"JPEG frames come back nearly", test_jpeg},
	{"frames are resized", test_resized},
	{"flow in both directions", test_flow},
	{"flow in fixed point saturates", test_fixed_point},
	{"impossible jobs", test_bad_jobs},
	{"a pack file is complete or not there", test_atomic},
	{"the number of threads changes no byte", test_same_bytes},
	{"damaged pack files are refused", test_damaged},
	{"a frame of another size is refused", test_other_size},
	{0}
};
