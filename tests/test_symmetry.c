#include "core/hash.h"
#include "data/dis.h"
#include "data/symmetry.h"
#include "tests/clips.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The hashes are those of symmetry_0 ... symmetry_7 in the golden colour_data.safetensors. */
static void test_golden(void)
{
	static const uint64_t hashes[8] = {
		0x08243612e8fe4a13, 0x70f1460acb550464, 0x6b4d46e0ade1c07f, 0xf5690810e931d51c,
		0xb8255229fd65cc2e, 0xd42af5890afd7e0e, 0x212197e18ff48969, 0xdbe01be91b2a4652};
	const struct kc_crop crop = {128, 22, 13, 64, 64};
	static uint8_t out[64 * 64 * 3];
	struct kc_image image = {0};

	if (!KC_CHECK_OK(kc_image_read(kc_test_fixture("golden/colour_data/frame.png"), &image)))
		return;
	for (unsigned s = 0; s < 8; s++) {
		kc_crop_pixels(image.rgb, &crop, s, 3, out);
		KC_CHECK(kc_hash64(out, sizeof out, 0) == hashes[s]);
	}
	kc_image_release(&image);
}

/* Against the definition, step by step, on crops that are not square. */
static void test_definition(void)
{
	const struct kc_crop crop = {9, 2, 1, 5, 3};
	int16_t src[9 * 6];

	for (int i = 0; i < 9 * 6; i++)
		src[i] = (int16_t)i;
	for (unsigned s = 0; s < 8; s++) {
		int16_t out[15];
		bool turned = s & KC_TRANSPOSE;

		kc_crop_pixels(src, &crop, s, sizeof *src, out);
		for (int y = 0; y < 3; y++)
			for (int x = 0; x < 5; x++) {
				int row = s & KC_MIRROR_Y ? 2 - y : y,
				    column = s & KC_MIRROR_X ? 4 - x : x;
				int expected = 9 * (1 + row) + 2 + column;

				KC_CHECK(out[turned ? 3 * x + y : 5 * y + x] == expected);
			}
	}
}

/* If frame b is frame a moved by (u, v), turned b is turned a moved by the turned flow. */
static void test_flow(void)
{
	enum { W = 12, H = 10, U = 2, V = -1 };
	const struct kc_crop crop = {W, 3, 2, 6, 6};
	uint8_t a[W * H], b[W * H];
	float flow[W * H * 2], turned[36 * 2];
	int16_t fixed[W * H * 2];

	for (int i = 0; i < W * H; i++) {
		int x = i % W, y = i / W;

		a[i] = (uint8_t)(x * 19 + y * 7);
		b[i] = (uint8_t)((x - U) * 19 + (y - V) * 7);
		flow[2 * i] = U;
		flow[2 * i + 1] = V;
		fixed[2 * i] = U * 64;
		fixed[2 * i + 1] = V * 64;
	}
	for (unsigned s = 0; s < 8; s++) {
		uint8_t ta[36], tb[36];
		float same[72];

		kc_crop_pixels(a, &crop, s, 1, ta);
		kc_crop_pixels(b, &crop, s, 1, tb);
		kc_crop_flow(flow, &crop, s, turned);
		kc_crop_flow16(fixed, &crop, s, 1.0f / 64, same);
		KC_CHECK(!memcmp(same, turned, sizeof same));
		for (int i = 0; i < 36; i++) {
			int x = i % 6 + (int)turned[2 * i], y = i / 6 + (int)turned[2 * i + 1];

			if (x >= 0 && x < 6 && y >= 0 && y < 6)
				KC_CHECK(tb[6 * y + x] == ta[i]);
		}
	}
}

/* The flow's position turns as pixels do. */
static void test_flow_place(void)
{
	const struct kc_crop crop = {5, 1, 0, 3, 4};
	float flow[5 * 4 * 2], turned[24];
	uint8_t place[5 * 4], where[12];

	for (int i = 0; i < 20; i++) {
		place[i] = (uint8_t)i;
		flow[2 * i] = flow[2 * i + 1] = (float)i;
	}
	for (unsigned s = 0; s < 8; s++) {
		kc_crop_pixels(place, &crop, s, 1, where);
		kc_crop_flow(flow, &crop, s, turned);
		for (int i = 0; i < 12; i++)
			KC_CHECK(fabsf(turned[2 * i]) == where[i] &&
				 fabsf(turned[2 * i + 1]) == where[i]);
	}
}

/* ---- DIS ---- */

static void grey_frame(uint8_t *grey, int f)
{
	struct kc_image image = {0};

	kc_test_picture(&image, 96, 80, 4, f);
	kc_grey_from_rgb(image.rgb, 96 * 80, grey);
	kc_image_release(&image);
}

/* The synthetic clip moves by (1.5, -0.5) pixels a frame. */
static void test_dis(void)
{
	static uint8_t a[96 * 80], b[96 * 80];
	static float flow[96 * 80 * 2], again[96 * 80 * 2];
	struct kc_dis *d;

	grey_frame(a, 0);
	grey_frame(b, 1);
	for (int preset = 0; preset < 3; preset++) {
		double u = 0, v = 0;

		if (!KC_CHECK_OK(kc_dis_open((enum kc_dis_preset)preset, &d)))
			return;
		KC_CHECK_OK(kc_dis_run(d, a, b, 96, 80, flow));
		for (int y = 20; y < 60; y++)
			for (int x = 20; x < 76; x++) {
				u += flow[2 * (96 * y + x)] / (40 * 56);
				v += flow[2 * (96 * y + x) + 1] / (40 * 56);
			}
		KC_CHECK(fabs(u - 1.5) < 0.2 && fabs(v + 0.5) < 0.2);
		/* Nothing is carried over from another pair. */
		KC_CHECK_OK(kc_dis_run(d, b, a, 96, 80, again));
		KC_CHECK_OK(kc_dis_run(d, a, b, 96, 80, again));
		KC_CHECK(!memcmp(flow, again, sizeof flow));
		KC_CHECK_ERR(kc_dis_run(d, a, b, 96, 8, flow), KC_ESHAPE, "96 x 8");
		for (int side = KC_DIS_LEAST; side < 80; side += 7) {
			KC_CHECK_OK(kc_dis_run(d, a, b, side, 30, flow));
			KC_CHECK_OK(kc_dis_run(d, a, b, side, 30, again));
			KC_CHECK(!memcmp(flow, again, (size_t)side * 30 * 2 * sizeof *flow));
		}
		kc_dis_close(d);
	}
}

static void test_grey(void)
{
	static const uint8_t rgb[] = {255, 255, 255, 0, 0, 0,	255, 0, 0,
				      0,   255, 0,   0, 0, 255, 1,   2, 3};
	static const uint8_t expected[] = {255, 0, 76, 150, 29, 2};
	uint8_t grey[6];

	kc_grey_from_rgb(rgb, 6, grey);
	KC_CHECK(!memcmp(grey, expected, 6));
}

const struct kc_test kc_tests_symmetry[] = {
	{"crops and the eight symmetries equal the golden ones", test_golden},
	{"symmetries of crops that are not square", test_definition},
	{"flow vectors turn with the picture", test_flow},
	{"flow positions turn with the picture", test_flow_place},
	{"DIS finds a known motion and remembers nothing", test_dis},
	{"luma", test_grey},
	{0}
};
