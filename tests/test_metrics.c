#include "losses/consistency.h"
#include "losses/metrics.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-12 * fmax(1, fabs(b));
}

static void test_psnr(void)
{
	uint8_t a[12], b[12];

	memset(a, 0, sizeof a);
	memset(b, 255, sizeof b);
	KC_CHECK(near(kc_psnr_frame(a, b, 4), 0) && near(kc_psnr_frame(b, a, 4), 0));
	memset(b, 1, sizeof b);
	KC_CHECK(near(kc_psnr_frame(a, b, 4), 48.1308036086791));
	/* 200 squared is 64 in eight bits: the difference must not wrap */
	memset(b, 200, sizeof b);
	KC_CHECK(near(kc_psnr_frame(a, b, 4), 20 * log10(255.0 / 200)));
	KC_CHECK(isinf(kc_psnr_frame(a, a, 4)) && kc_squared_error(a, b, 4) == 12 * 40000);
}

static void test_mean(void)
{
	struct kc_mean m = {0};

	KC_CHECK(isnan(kc_mean_get(&m)));
	kc_mean_add(&m, 2);
	kc_mean_add(&m, INFINITY);
	kc_mean_add(&m, NAN);
	kc_mean_add(&m, 4);
	KC_CHECK(kc_mean_get(&m) == 3 && m.n == 2 && m.left_out == 2);
}

static void test_anchors(void)
{
	/* interval 17: 0, 18, 36, ... and the last frame */
	KC_CHECK(kc_is_anchor(0, 40, 17) && kc_is_anchor(18, 40, 17) && kc_is_anchor(36, 40, 17));
	KC_CHECK(kc_is_anchor(39, 40, 17));
	KC_CHECK(!kc_is_anchor(17, 40, 17) && !kc_is_anchor(38, 40, 17));
	KC_CHECK(kc_is_anchor(0, 1, 17) && kc_is_anchor(5, 9, 0));
}

static void test_colourfulness(void)
{
	static const uint8_t grey[] = {7, 7, 7, 200, 200, 200}, red[] = {255, 0, 0, 255, 0, 0};
	static const uint8_t both[] = {10, 20, 15, 20, 10, 15};

	KC_CHECK(kc_colourfulness(grey, 2) == 0);
	KC_CHECK(near(kc_colourfulness(red, 2), 0.3 * sqrt(255 * 255 + 127.5 * 127.5)));
	/* rg is -10 and 10: signed, the mean is 0 and the deviation 10 */
	KC_CHECK(near(kc_colourfulness(both, 2), 10));
}

static void test_cdc(void)
{
	static const uint8_t a[] = {0, 0, 0, 0, 0, 0}, b[] = {9, 0, 0, 9, 0, 0};
	struct kc_cdc cdc = {0};
	struct kc_cdc_result r = kc_cdc_get(&cdc);

	KC_CHECK(isnan(r.cdc));
	kc_cdc_add(&cdc, a, 2);
	kc_cdc_add(&cdc, b, 2);
	r = kc_cdc_get(&cdc);
	KC_CHECK(near(r.rgb[0], log(2)) && r.rgb[1] == 0 && isnan(r.by_dilation[1][0]));
	for (int i = 0; i < 8; i++)
		kc_cdc_add(&cdc, i % 2 ? b : a, 2);
	r = kc_cdc_get(&cdc);
	/* alternating frames differ at distance 1 and agree at 2 and 4 */
	KC_CHECK(near(r.by_dilation[0][0], log(2)) && r.by_dilation[1][0] == 0);
	KC_CHECK(near(r.rgb[0], log(2) / 3) && near(r.cdc, log(2) / 9));
}

static void test_ssim(void)
{
	uint8_t a[12 * 13 * 3], b[12 * 13 * 3];
	double s, c1 = 6.5025;

	memset(a, 100, sizeof a);
	memset(b, 110, sizeof b);
	KC_CHECK_OK(kc_ssim(a, b, 12, 13, KC_SSIM_GAUSS, &s));
	KC_CHECK(fabs(s - (2.0 * 100 * 110 + c1) / (100.0 * 100 + 110.0 * 110 + c1)) < 1e-9);
	for (size_t i = 0; i < sizeof a; i++)
		a[i] = (uint8_t)(i * 37);
	KC_CHECK_OK(kc_ssim(a, a, 12, 13, KC_SSIM_UNIFORM, &s));
	KC_CHECK(near(s, 1));
	KC_CHECK_ERR(kc_ssim(a, b, 13, 10, KC_SSIM_GAUSS, &s), KC_ESHAPE, "11 x 11");
	KC_CHECK_OK(kc_ssim(a, b, 7, 7, KC_SSIM_UNIFORM, &s));
}

/* The next frame is this one moved right by a pixel, with its own border. */
static void test_warp(void)
{
	enum { W = 6, H = 3 };
	uint8_t frame[W * H * 3], next[W * H * 3], occluded[W * H] = {0};
	float forward[W * H * 2], backward[W * H * 2];

	for (int i = 0; i < W * H; i++) {
		forward[2 * i] = 1;
		backward[2 * i] = -1;
		forward[2 * i + 1] = backward[2 * i + 1] = 0;
		for (int c = 0; c < 3; c++) {
			frame[3 * i + c] = (uint8_t)(i * 11 + c);
			next[3 * i + c] = i % W ? (uint8_t)((i - 1) * 11 + c) : 0;
		}
	}
	kc_occlusion(forward, backward, W, H, occluded);
	for (int i = 0; i < W * H; i++)
		KC_CHECK(!occluded[i]);
	/* the last column samples the clamped border of `next`, 11 too dark */
	KC_CHECK(near(kc_warp_error(frame, next, forward, occluded, W, H),
		      11.0 * 11 / 65025 / W));
	for (int y = 0; y < H; y++)
		occluded[y * W + W - 1] = 1;
	KC_CHECK(kc_warp_error(frame, next, forward, occluded, W, H) == 0);
	memset(occluded, 1, sizeof occluded);
	KC_CHECK(isnan(kc_warp_error(frame, next, forward, occluded, W, H)));
}

static void test_occlusion(void)
{
	enum { W = 4, H = 2 };
	float forward[W * H * 2] = {0}, backward[W * H * 2] = {0};
	uint8_t occluded[W * H];

	backward[2 * 5] = 0.8f;                 /* 0.64 > 0.0064 + 0.5 at pixel 5 */
	kc_occlusion(forward, backward, W, H, occluded);
	for (int i = 0; i < W * H; i++)
		KC_CHECK(occluded[i] == (i == 5));
	backward[2 * 5] = 0;
	forward[2 * 2] = 0.1f;                  /* steps of 0.1 at pixels 1 and 2, consistent */
	kc_occlusion(forward, backward, W, H, occluded);
	for (int i = 0; i < W * H; i++)
		KC_CHECK(occluded[i] == (i == 1 || i == 2));
	forward[0] = NAN;
	forward[2] = 1e30f;
	kc_occlusion(forward, backward, W, H, occluded);
}

const struct kc_test kc_tests_metrics[] = {
	{"PSNR", test_psnr},
	{"means leave out what is not finite", test_mean},
	{"anchor frames", test_anchors},
	{"colourfulness is signed", test_colourfulness},
	{"colour distribution consistency", test_cdc},
	{"structural similarity", test_ssim},
	{"warp error", test_warp},
	{"occlusion", test_occlusion},
	{0}};
