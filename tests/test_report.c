/* Comparison with the ground truth, and the page about it. */
#include "core/json.h"
#include "eval/chart.h"
#include "eval/report.h"
#include "layers/cpu/cpu.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 24, HEIGHT = 16, FRAMES = 5 };

/* Frame i of a clip; shift is added to the red channel. */
static void write_frame(const char *folder, int i, int shift, const char *ending)
{
	struct kc_image image = {0};
	char name[256];

	snprintf(name, sizeof name, "%s/%03d.%s", folder, i, ending);
	KC_CHECK_OK(kc_dir_make(kc_test_path(folder)));
	if (KC_CHECK_OK(kc_image_resize_buffer(&image, WIDTH, HEIGHT))) {
		for (int p = 0; p < WIDTH * HEIGHT; p++) {
			image.rgb[3 * p] = (uint8_t)(100 + p % 50 + shift);
			image.rgb[3 * p + 1] = (uint8_t)(60 + p % 30 + i);
			image.rgb[3 * p + 2] = (uint8_t)(20 + p % 70);
		}
		KC_CHECK_OK(kc_image_write(kc_test_path(name), &image, 0));
	}
	kc_image_release(&image);
}

static void write_clips(const char *root, int shift, const char *ending)
{
	char folder[128];

	for (int clip = 0; clip < 2; clip++)
		for (int i = 0; i < FRAMES; i++) {
			snprintf(folder, sizeof folder, "%s/clip%d", root, clip);
			write_frame(folder, i, shift * (clip + 1), ending);
		}
}

struct fixture {
	struct kc_device device;
	struct kc_compare compare;
	int rc;
};

static void fixture_open(struct fixture *f, const char *results)
{
	struct kc_compare_args args = {.n_results = 1, .interval = 1};

	write_clips("truth", 0, "png");
	args.truth = kc_test_path("truth");
	args.result[0] = (struct kc_compare_result){"ours & <co>", kc_test_path(results)};
	KC_CHECK_OK(kc_device_cpu(&f->device, 1));
	f->rc = kc_compare_open(&f->compare, &args, &f->device);
}

static void fixture_close(struct fixture *f)
{
	kc_compare_close(&f->compare);
	kc_device_release(&f->device);
}

/* A shift of one channel by s is a squared error of s^2 / 3. */
static double psnr_of_shift(double s)
{
	return 20 * log10(255 / sqrt(s * s / 3));
}

static void test_figures(void)
{
	struct fixture f = {0};

	write_clips("results", 6, "png");
	fixture_open(&f, "results");
	if (KC_CHECK_OK(f.rc)) {
		const struct kc_compare *c = &f.compare;
		const struct kc_compare_row *ours = &c->row[1];

		KC_CHECK(c->n_rows == 3 && !strcmp(c->row[0].name, "grey") &&
			 !strcmp(c->row[2].name, "truth"));
		KC_CHECK(fabs(ours->clip[0].psnr - psnr_of_shift(6)) < 1e-9);
		KC_CHECK(fabs(ours->clip[1].internal - psnr_of_shift(12)) < 1e-9);
		KC_CHECK(fabs(ours->mean.psnr - (psnr_of_shift(6) + psnr_of_shift(12)) / 2) < 1e-9);
		/* Two clips: t with one degree of freedom times half their distance. */
		KC_CHECK(fabs(ours->margin - 12.706 * (psnr_of_shift(6) - psnr_of_shift(12)) / 2) <
			 1e-6);
		KC_CHECK(isnan(c->row[2].mean.psnr));
		KC_CHECK(c->row[0].mean.psnr < ours->mean.psnr);
		KC_CHECK(c->row[0].mean.colourfulness < 1);
		KC_CHECK(c->row[2].mean.cdc > 0);
	}
	fixture_close(&f);
}

static void test_refused(void)
{
	struct fixture f = {0};

	KC_CHECK_OK(kc_dir_make(kc_test_path("part/clip0")));
	write_frame("part/clip0", 0, 0, "png");
	fixture_open(&f, "part");
	KC_CHECK(f.rc == KC_ENOENT && strstr(kc_errmsg(), "no frame 001"));
	fixture_close(&f);
	for (int i = 0; i < FRAMES; i++)
		write_frame("part/clip0", i, 0, "png");
	fixture_open(&f, "part");
	KC_CHECK(f.rc == KC_ENOENT && strstr(kc_errmsg(), "no clip clip1"));
	fixture_close(&f);
}

static void test_json(void)
{
	struct fixture f = {0};
	struct kc_json *root = NULL;
	char *text = NULL;
	size_t size;
	FILE *out;

	write_clips("results", 6, "png");
	fixture_open(&f, "results");
	out = open_memstream(&text, &size);
	if (KC_CHECK_OK(f.rc) && out) {
		kc_compare_json(&f.compare, out);
		fclose(out);
		if (KC_CHECK_OK(kc_json_parse(text, size, &root))) {
			const struct kc_json *rows = kc_json_get(root, "rows");

			KC_CHECK(rows && rows->n == 3);
			KC_CHECK(rows && !strcmp(kc_json_get(rows->first, "name")->text, "grey"));
		}
		kc_json_free(root);
	}
	free(text);
	fixture_close(&f);
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

static void test_page(void)
{
	static const char metrics[] = "{\"iter\": 10, \"epoch\": 0, \"lr\": 1e-3, \"l_pix\": 0.5, "
				      "\"warp_loss\": 1e-3, \"time\": 1}\n"
				      "{\"iter\": 20, \"epoch\": 0, \"lr\": 1e-3, \"l_pix\": 0.25, "
				      "\"warp_loss\": 1e-4, \"time\": 1}\n";
	struct kc_report r = {.title = "A <title>",
			      .notes = "first line\n\nsecond & last",
			      .n_metrics = 1,
			      .strips = 3};
	struct fixture f = {0};
	const char *path;
	char *text;
	size_t size;

	write_clips("results", 6, "png");
	fixture_open(&f, "results");
	path = kc_test_path("metrics.jsonl");
	r.metrics = &path;
	KC_CHECK_OK(kc_file_write(path, metrics, sizeof metrics - 1));
	if (KC_CHECK_OK(f.rc) &&
	    KC_CHECK_OK(kc_report_write(kc_test_path("r.html"), &r, &f.compare)) &&
	    KC_CHECK_OK(kc_file_read(kc_test_path("r.html"), 1 << 22, &text, &size))) {
		KC_CHECK(count(text, "<img ") == 9 &&
			 count(text, "src=\"data:image/jpeg;base64,/9j/") == 9);
		KC_CHECK(count(text, "<svg ") == 2 && count(text, "</svg>") == 2);
		KC_CHECK(count(text, "http") == 0 && count(text, "<script") == 0);
		KC_CHECK(count(text, "A &lt;title&gt;") == 2 &&
			 count(text, "ours &amp; &lt;co&gt;") > 3);
		KC_CHECK(count(text, "second &amp; last") == 1);
		KC_CHECK(count(text, "<tr") == count(text, "</tr>"));
		free(text);
	}
	fixture_close(&f);
}

static void test_curves(void)
{
	static const char good[] = "{\"iter\": 1, \"l_pix\": 2}\n{\"iter\": 2, \"val_psnr\": "
				   "24.5}\n{\"iter\": 3, \"l_p";
	static const char bad[] = "{\"iter\": 1, \"l_pix\": 2}\nnonsense\n{\"iter\": 3}\n";
	struct kc_curves c;

	KC_CHECK_OK(kc_dir_make(kc_test_path("my_run")));
	KC_CHECK_OK(kc_file_write(kc_test_path("my_run/metrics.jsonl"), good, sizeof good - 1));
	if (KC_CHECK_OK(kc_curves_read(kc_test_path("my_run/metrics.jsonl"), &c))) {
		KC_CHECK(!strcmp(c.run, "my_run"));
		KC_CHECK(c.n == 2 && c.v[0].n == 1 && c.v[0].y[0] == 2 && c.v[1].x[0] == 2);
		kc_curves_release(&c);
	}
	KC_CHECK_OK(kc_file_write(kc_test_path("bad.jsonl"), bad, sizeof bad - 1));
	KC_CHECK_ERR(kc_curves_read(kc_test_path("bad.jsonl"), &c), KC_EFORMAT, "line 2");
}

static void test_smooth(void)
{
	const double constant[5] = {3, 3, 3, 3, 3}, step[4] = {0, 0, 8, 8};
	double out[5];

	kc_smooth(constant, 5, 10, out);
	for (int i = 0; i < 5; i++)
		KC_CHECK(fabs(out[i] - 3) < 1e-12);
	kc_smooth(step, 4, 3, out);
	KC_CHECK(out[1] == 0 && out[2] > 4 && out[3] > out[2] && out[3] < 8);
	kc_smooth(step, 4, 1, out);
	KC_CHECK(out[2] == 8);
}

static void test_ticks(void)
{
	double t[16];
	int n = kc_ticks(0, 300, false, t, 16);

	KC_CHECK(n == 7 && t[0] == 0 && t[6] == 300);
	n = kc_ticks(-0.31, 0.52, false, t, 16);
	KC_CHECK(n >= 3 && n <= 12 && t[0] >= -0.31 && t[n - 1] <= 0.52);
	n = kc_ticks(1e-6, 1, true, t, 16);
	KC_CHECK(n == 7 && fabs(t[0] - 1e-6) < 1e-12 && t[6] == 1);
	n = kc_ticks(3, 60, true, t, 16);
	KC_CHECK(n == 4 && t[0] == 5 && t[3] == 50);
	KC_CHECK(kc_ticks(0, 1000, false, t, 2) == 2);
}

const struct kc_test kc_tests_report[] = {
	{"figures of known differences, means and their interval", test_figures},
	{"missing clips and frames are refused by name", test_refused},
	{"JSON of the figures", test_json},
	{"the page is whole, escaped and needs nothing from elsewhere", test_page},
	{"curves from metrics.jsonl", test_curves},
	{"smoothing has no bias at its start", test_smooth},
	{"marks of axes are round and within", test_ticks},
	{0},
};
