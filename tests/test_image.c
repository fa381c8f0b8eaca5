#include "core/file.h"
#include "core/hash.h"
#include "data/image.h"
#include "data/resize.h"
#include "data/ycbcr.h"
#include "tests/clips.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const struct kc_image *i)
{
	return kc_hash64(i->rgb, (size_t)i->width * (size_t)i->height * 3, 0);
}

/* The hashes are those of the arrays in the golden colour_data.safetensors. */
static void test_golden(void)
{
	static const struct { const char *name; uint64_t hash; } files[] = {
		{"frame", 0x53ddc237dce8df12}, {"rgba", 0x53ddc237dce8df12},
		{"palette", 0x548a9c9cdb8df3a5}, {"grey1", 0x6c9a9bbfde137338},
		{"grey3", 0x6c9a9bbfde137338}, {"grey16", 0x6c9a9bbfde137338},
	};
	struct kc_image image = {0};

	for (size_t i = 0; i < KC_COUNT(files); i++) {
		char name[64];
		int w, h;

		snprintf(name, sizeof name, "golden/colour_data/%s.png", files[i].name);
		if (!KC_CHECK_OK(kc_image_read(kc_test_fixture(name), &image)))
			continue;
		KC_CHECK(image.width == 128 && image.height == 96);
		KC_CHECK(hash_of(&image) == files[i].hash);
		KC_CHECK_OK(kc_image_size(kc_test_fixture(name), &w, &h));
		KC_CHECK(w == 128 && h == 96);
	}
	kc_image_release(&image);
}

static void test_round_trip(void)
{
	struct kc_image image = {0}, back = {0};

	for (int w = 1; w < 20; w += 6) {
		kc_test_picture(&image, w, 13, 3, 1);
		KC_CHECK_OK(kc_image_write(kc_test_path("a.PNG"), &image, 0));
		KC_CHECK_OK(kc_image_read(kc_test_path("a.PNG"), &back));
		KC_CHECK(back.width == w && back.height == 13 && hash_of(&back) == hash_of(&image));
	}
	KC_CHECK_ERR(kc_image_write(kc_test_path("a.gif"), &image, 0), KC_EINVAL, ".png, .jpg");
	KC_CHECK_ERR(kc_image_write(kc_test_path("a.jpg"), &image, 0), KC_EINVAL, "quality 0");
	KC_CHECK_ERR(kc_image_write("/nowhere/a.png", &image, 0), KC_ENOENT, "/nowhere");
	kc_image_release(&image);
	kc_image_release(&back);
}

static double error_of(const struct kc_image *a, const struct kc_image *b)
{
	double sum = 0;
	size_t n = (size_t)a->width * (size_t)a->height * 3;

	for (size_t i = 0; i < n; i++)
		sum += (a->rgb[i] - b->rgb[i]) * (double)(a->rgb[i] - b->rgb[i]);
	return sum / (double)n;
}

static void test_jpeg(void)
{
	static const struct { int quality; double worst; } runs[] = {
		{30, 50}, {75, 16}, {90, 8}, {95, 4.5}, {100, 1.1}};
	struct kc_image image = {0}, back = {0};
	uint8_t *bytes;
	size_t size, last = 0;

	kc_test_picture(&image, 130, 75, 1, 0);
	for (size_t i = 0; i < KC_COUNT(runs); i++) {
		if (!KC_CHECK_OK(
			    kc_image_encode(&image, KC_IMAGE_JPEG, runs[i].quality, &bytes, &size)))
			continue;
		KC_CHECK_OK(kc_image_decode(bytes, size, &back));
		KC_CHECK(back.width == 130 && back.height == 75);
		KC_CHECK(error_of(&image, &back) < runs[i].worst);
		KC_CHECK(size > last);
		last = size;
		free(bytes);
	}
	kc_image_release(&image);
	kc_image_release(&back);
}

/* Every prefix of a file is damaged; so is a JPEG whose middle is missing. */
static void check_cut(enum kc_image_format format)
{
	struct kc_image image = {0};
	uint8_t *bytes;
	size_t size;

	kc_test_picture(&image, 40, 33, 2, 0);
	if (!KC_CHECK_OK(kc_image_encode(&image, format, 90, &bytes, &size)))
		return;
	for (size_t n = 0; n < size; n++) {
		uint8_t *cut = kc_alloc(n);

		KC_ASSERT(cut);
		memcpy(cut, bytes, n);
		KC_CHECK_ERR(kc_image_decode(cut, n, &image), KC_EFORMAT,
			     n < 12 ? "not an image" : "damaged");
		free(cut);
	}
	if (format == KC_IMAGE_JPEG) {
		memmove(bytes + size / 2, bytes + size - 2, 2);
		KC_CHECK_ERR(kc_image_decode(bytes, size / 2 + 2, &image), KC_EFORMAT, "damaged");
	} else {
		bytes[size / 2] ^= 1;
		KC_CHECK_ERR(kc_image_decode(bytes, size, &image), KC_EFORMAT, "damaged");
	}
	free(bytes);
	kc_image_release(&image);
}

static void test_damaged(void)
{
	struct kc_image image = {0};
	int w, h;

	check_cut(KC_IMAGE_PNG);
	check_cut(KC_IMAGE_JPEG);
	KC_CHECK_ERR(kc_image_read("/nowhere/x.png", &image), KC_ENOENT, "/nowhere/x.png");
	KC_CHECK_OK(kc_file_write(kc_test_path("x.png"), "", 0));
	KC_CHECK_ERR(kc_image_read(kc_test_path("x.png"), &image), KC_EFORMAT,
		     "x.png: not an image");
	KC_CHECK_ERR(kc_image_size(kc_test_path("x.png"), &w, &h), KC_EFORMAT,
		     "x.png: not an image");
	KC_CHECK_OK(kc_file_write(kc_test_path("x.png"), "\x89PNG\r\n\x1a\n....", 12));
	KC_CHECK_ERR(kc_image_size(kc_test_path("x.png"), &w, &h), KC_EFORMAT, "ends early");
	kc_image_release(&image);
}

/* A header that promises more pixels than we take. */
static void test_huge(void)
{
	struct kc_image image = {0};
	uint8_t *bytes;
	size_t size;

	kc_test_picture(&image, 4, 4, 0, 0);
	if (!KC_CHECK_OK(kc_image_encode(&image, KC_IMAGE_PNG, 0, &bytes, &size)))
		return;
	memset(bytes + 16, 0x7f, 8);
	KC_CHECK(kc_image_decode(bytes, size, &image) == KC_EFORMAT);
	KC_CHECK_OK(kc_file_write(kc_test_path("huge.png"), bytes, size));
	KC_CHECK_ERR(kc_image_size(kc_test_path("huge.png"), &image.width, &image.height),
		     KC_EFORMAT, "a picture of");
	free(bytes);
	kc_image_release(&image);
}

/* A file of every other kind that is read, made by hand. */
static void test_other_formats(void)
{
	static const char ppm[] = "P6\n2 1\n255\n\x01\x02\x03\xff\xfe\xfd",
			  pgm[] = "P5\n2 1\n255\n\x07\xf0";
	static const uint8_t bmp[] = {
		'B', 'M', 62, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0,
		1, 0, 24, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		3, 2, 1, 0xfd, 0xfe, 0xff, 0, 0};
	static const uint8_t colours[] = {1, 2, 3, 255, 254, 253},
			     greys[] = {7, 7, 7, 240, 240, 240};
	struct kc_image image = {0};

	if (KC_CHECK_OK(kc_image_decode(ppm, sizeof ppm - 1, &image)))
		KC_CHECK(image.width == 2 && !memcmp(image.rgb, colours, 6));
	if (KC_CHECK_OK(kc_image_decode(bmp, sizeof bmp, &image)))
		KC_CHECK(image.width == 2 && !memcmp(image.rgb, colours, 6));
	if (KC_CHECK_OK(kc_image_decode(pgm, sizeof pgm - 1, &image)))
		KC_CHECK(image.height == 1 && !memcmp(image.rgb, greys, 6));
	kc_image_release(&image);
}

/* ---- YCbCr ---- */

static double level(double v)
{
	return v < 0 ? 0 : v > 255 ? 255 : v;
}

/* Every combination of a grid of samples against the formula in double. */
static void test_ycbcr(void)
{
	int worst = 0;

	for (int i = 0; i < 18 * 18 * 18; i++) {
		uint8_t y = (uint8_t)(i % 18 * 15), cb = (uint8_t)(i / 18 % 18 * 15);
		uint8_t cr = (uint8_t)(i / 324 * 15), rgb[3];
		const struct kc_ycbcr p = {.plane = {&y, &cb, &cr}, .stride = {1, 1, 1}, .width = 1,
					   .height = 1};
		const double exact[3] = {y + 1.402 * (cr - 128),
					 y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
					 y + 1.772 * (cb - 128)};

		KC_CHECK_OK(kc_ycbcr_to_rgb(&p, rgb));
		for (int c = 0; c < 3; c++)
			worst = KC_MAX(worst, (int)(100 * fabs(level(exact[c]) - rgb[c])));
	}
	KC_CHECK(worst <= 51);
}

/* A constant chroma stays constant however it is sampled; a ramp stays a ramp. */
static void test_chroma(void)
{
	uint8_t luma[7 * 5], cb[35], cr[35], rgb[7 * 5 * 3];

	memset(luma, 100, sizeof luma);
	for (int half = 0; half < 4; half++) {
		struct kc_ycbcr p = {.plane = {luma, cb, cr}, .width = 7, .height = 5,
				     .half_x = half & 1, .half_y = half & 2};
		int columns = p.half_x ? 4 : 7;

		p.stride[0] = 7;
		p.stride[1] = p.stride[2] = columns;
		memset(cb, 128, sizeof cb);
		memset(cr, 200, sizeof cr);
		KC_CHECK_OK(kc_ycbcr_to_rgb(&p, rgb));
		for (int i = 0; i < 35; i++)
			KC_CHECK(rgb[3 * i] == 201 && rgb[3 * i + 1] == 49 &&
				 rgb[3 * i + 2] == 100);
		for (int i = 0; i < 35; i++)
			cr[i] = (uint8_t)(120 + 8 * (i % columns));
		KC_CHECK_OK(kc_ycbcr_to_rgb(&p, rgb));
		for (int i = 1; i < 35; i++)
			KC_CHECK(i % 7 == 0 || rgb[3 * i] >= rgb[3 * i - 3]);
	}
}

/* Limited range: 16 is black, 235 white. */
static void test_limited(void)
{
	uint8_t y[3] = {16, 235, 126}, c[3] = {128, 128, 128}, rgb[9];
	const struct kc_ycbcr p = {.plane = {y, c, c}, .stride = {3, 3, 3}, .width = 3, .height = 1,
				   .limited = true};

	KC_CHECK_OK(kc_ycbcr_to_rgb(&p, rgb));
	KC_CHECK(rgb[0] == 0 && rgb[3] == 255 && rgb[6] == 128);
}

/* ---- resizing ---- */

/* PyTorch's formula, written down plainly. */
static double bilinear(const struct kc_image *s, int w, int h, int x, int y, int c)
{
	double u = fmax((x + 0.5) * s->width / w - 0.5, 0);
	double v = fmax((y + 0.5) * s->height / h - 0.5, 0);
	int x0 = (int)u, y0 = (int)v, x1 = KC_MIN(x0 + 1, s->width - 1),
	    y1 = KC_MIN(y0 + 1, s->height - 1);
	const uint8_t *a = s->rgb + 3 * s->width * y0 + c, *b = s->rgb + 3 * s->width * y1 + c;

	u -= x0;
	v -= y0;
	return (1 - v) * ((1 - u) * a[3 * x0] + u * a[3 * x1]) +
	       v * ((1 - u) * b[3 * x0] + u * b[3 * x1]);
}

static void check_bilinear(int w, int h)
{
	struct kc_image src = {0}, dst = {0};
	int wrong = 0;

	kc_test_picture(&src, 30, 20, 5, 0);
	KC_CHECK_OK(kc_image_resize(&src, w, h, KC_FILTER_BILINEAR, &dst));
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			for (int c = 0; c < 3; c++)
				wrong += fabs(bilinear(&src, w, h, x, y, c) -
					      dst.rgb[3 * (w * y + x) + c]) > 0.501;
	KC_CHECK(wrong == 0);
	kc_image_release(&src);
	kc_image_release(&dst);
}

static void test_resize(void)
{
	struct kc_image src = {0}, dst = {0};
	double sum = 0;

	check_bilinear(30, 20);
	check_bilinear(17, 45);
	check_bilinear(64, 9);
	check_bilinear(1, 1);
	kc_test_picture(&src, 30, 20, 5, 0);
	for (int filter = 0; filter < 3; filter++) {
		KC_CHECK_OK(kc_image_resize(&src, 30, 20, (enum kc_filter)filter, &dst));
		KC_CHECK(hash_of(&dst) == hash_of(&src));
	}
	KC_CHECK_OK(kc_image_resize(&src, 10, 5, KC_FILTER_AREA, &dst));
	for (int y = 0; y < 4; y++)
		for (int x = 0; x < 3; x++)
			sum += src.rgb[3 * (30 * y + x)] / 12.0;
	KC_CHECK(fabs(sum - dst.rgb[0]) <= 0.5);
	memset(src.rgb, 77, 30 * 20 * 3);
	for (int filter = 0; filter < 3; filter++) {
		KC_CHECK_OK(kc_image_resize(&src, 13, 41, (enum kc_filter)filter, &dst));
		for (int i = 0; i < 13 * 41 * 3; i++)
			KC_CHECK(dst.rgb[i] == 77);
	}
	KC_CHECK_ERR(kc_image_resize(&src, 0, 5, KC_FILTER_AREA, &dst), KC_EFORMAT, "0 x 5");
	kc_image_release(&src);
	kc_image_release(&dst);
}

const struct kc_test kc_tests_image[] = {
	{"PNG files of every kind decode to the golden bytes", test_golden},
	{"PNG is written and read back exactly", test_round_trip},
	{"JPEG keeps the picture as the quality promises", test_jpeg},
	{"truncated and altered files are damaged, never half a picture", test_damaged},
	{"a header that promises too many pixels is refused", test_huge},
	{"PNM and BMP", test_other_formats},
	{"YCbCr to RGB equals the formula", test_ycbcr},
	{"chroma of every sampling is interpolated", test_chroma},
	{"limited range is widened", test_limited},
	{"bilinear equals PyTorch's formula; area and bicubic keep what they must", test_resize},
	{0}
};
