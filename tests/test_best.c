/* What validation measures, and which checkpoint is the best. */
#include "core/file.h"
#include "tests/runs.h"
#include "tests/test.h"
#include "train/best.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	KC_ASSERT(f);
	fputs(text, f);
	fclose(f);
}

static void test_iter(void)
{
	const char *path = kc_test_path("metrics.jsonl");
	struct kc_config c;

	KC_CHECK_OK(kc_config_init(&c));
	KC_CHECK_OK(kc_config_set(&c, "best.psnr=1"));
	KC_CHECK(kc_best_iter(&c, path) == -1);
	write_text(path, "{\"iter\": 1, \"l_pix\": 9}\n");
	KC_CHECK(kc_best_iter(&c, path) == -1);
	write_text(path, "{\"iter\": 2, \"val_psnr\": 20, \"val_warp\": 3, \"val_score\": -3}\n"
			 "{\"iter\": 4, \"val_psnr\": 30, \"val_warp\": 5, \"val_score\": -9}\n"
			 "{\"iter\": 5, \"val_psnr\": null, \"val_score\": 90}\n"
			 "{\"iter\": 6, \"val_psnr\": 30, \"val_warp\": 1}\n"
			 "{\"iter\": 8, \"val_psnr\": 25, \"val_warp\": 5}\n"
			 "{\"iter\": 9, \"val_ps");
	KC_CHECK(kc_best_iter(&c, path) == 4);
	/* Other weights, another best one, whatever was written as score. */
	KC_CHECK_OK(kc_config_set(&c, "best.warp=-1"));
	KC_CHECK(kc_best_iter(&c, path) == 6);
	KC_CHECK_OK(kc_config_set(&c, "best.psnr=-1"));
	KC_CHECK(kc_best_iter(&c, path) == 2);
	KC_CHECK_OK(kc_config_set(&c, "best.psnr=0"));
	KC_CHECK_OK(kc_config_set(&c, "best.warp=0"));
	KC_CHECK(kc_best_iter(&c, path) == -1);
	kc_config_release(&c);
}

static void test_score(void)
{
	static const double x[KC_MEASURED] = {30, 0.5, 20, 4, NAN};
	struct kc_config c;
	double score;

	KC_CHECK_OK(kc_config_init(&c));
	KC_CHECK(!kc_best_score(&c, x, &score));
	KC_CHECK_OK(kc_config_set(&c, "best.psnr=1"));
	KC_CHECK_OK(kc_config_set(&c, "best.colour_gap=-0.5"));
	KC_CHECK_OK(kc_config_set(&c, "best.cdc=-2"));
	KC_CHECK(kc_best_score(&c, x, &score) && score == 27);
	KC_CHECK_OK(kc_config_set(&c, "best.warp=-1"));
	KC_CHECK(kc_best_score(&c, x, &score) && isnan(score));
	kc_config_release(&c);
}

/* A film of a grey square that moves by two pixels, coloured as told. */
static void paint(struct kc_image *image, int t, int red)
{
	for (int y = 0; y < image->height; y++)
		for (int x = 0; x < image->width; x++) {
			uint8_t *p = image->rgb + 3 * (y * image->width + x);
			int u = x - 2 * t, grey = 90 + (u * 37 + y * 23) % 60;

			p[0] = (uint8_t)(grey + red);
			p[1] = (uint8_t)grey;
			p[2] = (uint8_t)grey;
		}
}

static void test_measure(void)
{
	struct kc_measure m = {0};
	struct kc_image truth = {0}, result = {0};
	double x[KC_MEASURED];

	KC_CHECK_OK(kc_dis_open(KC_DIS_MEDIUM, &m.dis));
	for (int t = 0; t < 3; t++) {
		KC_CHECK_OK(kc_image_resize_buffer(&truth, 48, 40));
		KC_CHECK_OK(kc_image_resize_buffer(&result, 48, 40));
		paint(&truth, t, 60);
		paint(&result, t, t == 2 ? 80 : 60);
		KC_CHECK_OK(kc_measure_add(&m, result.rgb, &truth, 48, 40));
	}
	kc_measure_get(&m, x);
	/* Two frames equal the truth, which counts as no finite PSNR; red is off by 20 in one. */
	KC_CHECK(fabs(x[KC_MEASURED_PSNR] - 20 * log10(255 / sqrt(400.0 / 3))) < 1e-9);
	KC_CHECK(x[KC_MEASURED_COLOUR_GAP] > 0.5 && x[KC_MEASURED_COLOUR] > 15);
	KC_CHECK(m.warp.n == 2 && x[KC_MEASURED_WARP] > 0.5 * 400 / 3 / 65025 / 2);
	kc_measure_release(&m);
	kc_dis_close(m.dis);
	kc_image_release(&truth);
	kc_image_release(&result);
}

static void test_kept(void)
{
	char *val = kc_format("datasets.val.dataroot_GT=%s", kc_test_path("clips"));
	char *metrics = kc_format("%s/experiments/run/metrics.jsonl", kc_test_dir());
	const char *set[] = {val, "train.val_freq=1", "train.niter=4", "datasets.val.GT_size=32",
			     "datasets.val.max_frames=3", "logger.save_checkpoint_freq=0",
			     "logger.keep=1", "best.psnr=1", "train.lr_G=0.01",
			     "train.pixel_weight=1", NULL};
	struct kc_config c = {0};
	const char *said;
	int64_t best;

	kc_test_clips();
	KC_CHECK_OK(kc_test_train(set, &said));
	KC_CHECK(strstr(said, "colourfulness") && strstr(said, "the best so far"));
	if (!KC_CHECK_OK(kc_test_config(&c, set)))
		return;
	best = kc_best_iter(&c, metrics);
	kc_config_release(&c);
	KC_CHECK(best >= 1);
	for (int i = 1; i <= 4; i++)
		KC_CHECK(kc_test_has_state(i) == (i == best || i == 4));
	free(metrics);
	free(val);
}

const struct kc_test kc_tests_best[] = {
	{"best: the highest score of a metrics file", test_iter},
	{"best: a score by weights", test_score},
	{"best: PSNR, colour and warp error of a made-up film", test_measure},
	{"best: the best checkpoint stays", test_kept},
	{0}};
