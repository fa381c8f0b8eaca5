/* Frames of video files, on an uncompressed film written here. */
#include "core/file.h"
#include "data/video.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 16, HEIGHT = 8, FRAMES = 7 };

/* YUV4MPEG2: grey frames of rising luma, 4:4:4, 10 frames per second. */
static const char *write_film(void)
{
	static const char head[] = "YUV4MPEG2 W16 H8 F10:1 Ip A1:1 C444\n", frame[] = "FRAME\n";
	char bytes[sizeof head + FRAMES * (sizeof frame + 3 * WIDTH * HEIGHT)];
	size_t n = sizeof head - 1;

	memcpy(bytes, head, n);
	for (int i = 0; i < FRAMES; i++) {
		memcpy(bytes + n, frame, sizeof frame - 1);
		n += sizeof frame - 1;
		memset(bytes + n, 16 + 20 * i, WIDTH * HEIGHT);
		memset(bytes + n + WIDTH * HEIGHT, 128, 2 * WIDTH * HEIGHT);
		n += 3 * WIDTH * HEIGHT;
	}
	KC_CHECK_OK(kc_file_write(kc_test_path("film.y4m"), bytes, n));
	return kc_test_path("film.y4m");
}

static void test_frames(void)
{
	struct kc_image image = {0};
	struct kc_video *v;
	double seconds;

	if (!KC_CHECK_OK(kc_video_open(write_film(), &v)))
		return;
	KC_CHECK(kc_video_width(v) == WIDTH && kc_video_height(v) == HEIGHT);
	KC_CHECK(kc_video_rate(v) == 10);
	for (int i = 0; i < FRAMES; i++) {
		int want = (int)lround(255.0 * 20 * i / 219);

		KC_CHECK(kc_video_read(v, &image, &seconds) == 1);
		KC_CHECK(image.width == WIDTH && image.height == HEIGHT);
		KC_CHECK(fabs(seconds - i / 10.0) < 1e-6);
		KC_CHECK(abs(image.rgb[0] - want) <= 1 &&
			 abs(image.rgb[3 * WIDTH * HEIGHT - 1] - want) <= 1);
	}
	KC_CHECK(kc_video_read(v, &image, &seconds) == 0);
	KC_CHECK(kc_video_read(v, &image, &seconds) == 0);
	KC_CHECK(kc_video_damaged(v) == 0);
	kc_video_close(v);
	kc_image_release(&image);
}

static void test_refused(void)
{
	struct kc_video *v;
	char noise[4096];

	KC_CHECK_ERR(kc_video_open(kc_test_path("none.mp4"), &v), KC_ENOENT,
		     "none.mp4: no such file");
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)(i * i * 31 >> 3);
	KC_CHECK_OK(kc_file_write(kc_test_path("noise.mp4"), noise, sizeof noise));
	KC_CHECK_ERR(kc_video_open(kc_test_path("noise.mp4"), &v), KC_EFORMAT, "noise.mp4");
	KC_CHECK_OK(kc_file_write(kc_test_path("empty.mp4"), "", 0));
	KC_CHECK_ERR(kc_video_open(kc_test_path("empty.mp4"), &v), KC_EFORMAT, "empty.mp4");
}

const struct kc_test kc_tests_video[] = {
	{"frames, times and end of a film", test_frames},
	{"what is no film is refused", test_refused},
	{0},
};
