/*
 * Inference over a clip with small random networks: luma, sizes, windows, anchors, two
 * intervals, damaged frames.
 */
#include "core/random.h"
#include "layers/cpu/cpu.h"
#include "models/colorizer.h"
#include "models/init.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

enum { SIZE = 32, MOST = 24 };

/* A clip in memory: noise over a gradient that moves, results beside. */
struct clip {
	int width, height;
	int64_t frames, sunk;
	unsigned damaged;               /* bit i: frame i cannot be read */
	uint8_t *rgb, *result;          /* frames of width x height x 3 */
	int flow_pairs;
	bool in_order;
};

struct fixture {
	struct kc_device device;
	struct kc_colorizer *colorizer;
};

static size_t bytes(const struct clip *c)
{
	return 3 * (size_t)c->width * (size_t)c->height;
}

static int source(void *own, int64_t frame, struct kc_picture *p)
{
	struct clip *c = own;

	if (c->damaged >> frame & 1)
		return KC_DAMAGED;
	*p = (struct kc_picture){c->width, c->height, c->rgb + (size_t)frame * bytes(c)};
	return 0;
}

static int flows(void *own, const uint8_t *grey, int size, const struct kc_pair *pairs, int n,
		 float *flow)
{
	struct clip *c = own;

	for (int p = 0; p < n; p++)
		for (int i = 0; i < size * size; i++) {
			flow[2 * (p * size * size + i)] = (float)(pairs[p].to - pairs[p].from);
			flow[2 * (p * size * size + i) + 1] =
				grey[pairs[p].from * size * size] > 200;
		}
	c->flow_pairs += n;
	return 0;
}

static int sink(void *own, int64_t frame, const struct kc_picture *p)
{
	struct clip *c = own;

	c->in_order &= frame == c->sunk++ && p->width == c->width && p->height == c->height;
	memcpy(c->result + (size_t)frame * bytes(c), p->rgb, bytes(c));
	return 0;
}

static void clip_open(struct clip *c, int64_t frames, int width, int height)
{
	struct kc_random random;

	*c = (struct clip){.width = width, .height = height, .frames = frames, .in_order = true};
	kc_random_init(&random, 7, KC_STREAM_TEST, 0, 0);
	c->rgb = kc_alloc((size_t)frames * bytes(c));
	c->result = kc_alloc((size_t)frames * bytes(c));
	for (size_t i = 0; i < (size_t)frames * bytes(c); i++) {
		size_t x = i / 3 % (size_t)width + i / bytes(c);

		c->rgb[i] = (uint8_t)KC_MIN(255.0, 200.0 * (double)x / (width + 24) +
							   55 * kc_random_unit(&random));
	}
}

static void clip_close(struct clip *c)
{
	free(c->rgb);
	free(c->result);
}

/* Weights large enough that many colours leave the gamut. */
static bool open_with(struct fixture *f, const struct kc_colorizer_args *args)
{
	const struct kc_init init = {.write = kc_init_default, .seed = 3};
	struct kc_params *params;
	int rc = 0;

	*f = (struct fixture){0};
	if (!KC_CHECK_OK(kc_device_cpu(&f->device, 0)) ||
	    !KC_CHECK_OK(kc_colorizer_open(&f->colorizer, args, &f->device, NULL)))
		return false;
	params = kc_colorizer_params(f->colorizer);
	for (size_t i = 0; i < params->n; i++) {
		struct kc_param *p = params->v[i];

		/* FlowNet 2.0 is large: zero weights, zero flow. */
		if (strncmp(p->name, "flow.", 5))
			rc = KC_MIN(rc, init.write(p, &init));
		if (strstr(p->name, "model_out") && p->kind == KC_PARAM_CONV)
			for (int64_t k = 0; k < kc_numel(&p->type); k++)
				((float *)kc_param_master(p).data)[k] *= 60;
		kc_param_changed(p);
	}
	return KC_CHECK_OK(rc);
}

static bool open_tcvc(struct fixture *f, int first, int second)
{
	return open_with(f, &(struct kc_colorizer_args){
		.network = KC_COLORIZE_TCVC, .intervals = {first, second},
		.n_intervals = second ? 2 : 1, .size = SIZE, .width = 0.0625});
}

static void fixture_close(struct fixture *f)
{
	kc_colorizer_close(f->colorizer);
	kc_device_release(&f->device);
}

static struct kc_colorizer_count colorize(struct fixture *f, struct clip *c)
{
	const struct kc_colorizer_clip in = {.frames = c->frames, .source = source,
					     .flows = flows, .sink = sink, .own = c};
	struct kc_colorizer_count count = {0};

	c->sunk = 0;
	KC_CHECK_OK(kc_colorizer_run(f->colorizer, &in, &count));
	KC_CHECK(c->sunk == c->frames);
	KC_CHECK(c->in_order);
	return count;
}

/* The grey level, 0 to 255 and not rounded, whose luminance the pixel has. */
static double grey_level(const uint8_t *rgb)
{
	static const double weight[3] = {0.212671, 0.715160, 0.072169};
	double y = 0;

	for (int i = 0; i < 3; i++) {
		double c = rgb[i] / 255.0;

		y += weight[i] * (c > 0.04045 ? pow((c + 0.055) / 1.055, 2.4) : c / 12.92);
	}
	return 255 * (y > 0.0031308 ? 1.055 * pow(y, 1 / 2.4) - 0.055 : 12.92 * y);
}

/* Colours that sRGB has come back as they were; all others keep L and fit. */
static void test_gamut(void)
{
	enum { COLOURS = 500 };
	const struct kc_plan_opts opts = {.real = KC_F64};
	struct kc_type type = KC_TYPE(KC_REAL, 1, 3, 1, COLOURS);
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_tensor *rgb = kc_input(g, "rgb", type), *lab = kc_input(g, "lab", type);
	struct kc_tensor *same = kc_lab_to_rgb_fit(g, kc_rgb_to_lab(g, rgb));
	struct kc_tensor *fitted = kc_lab_to_rgb_fit(g, lab), *again = kc_rgb_to_lab(g, fitted);
	double in[2][3 * COLOURS], out[3][3 * COLOURS], worst[2] = {0};
	struct kc_device d;
	struct kc_plan *plan = NULL;
	struct kc_random random;

	kc_device_reference(&d);
	kc_random_init(&random, 5, KC_STREAM_TEST, 0, 0);
	for (int i = 0; i < 3 * COLOURS; i++) {
		in[0][i] = kc_random_unit(&random);
		in[1][i] = i < COLOURS ? 100 * kc_random_unit(&random)
				       : 220 * kc_random_unit(&random) - 110;
	}
	type.dtype = KC_F64;
	if (KC_CHECK_OK(kc_plan_build(&plan, g, &d, (struct kc_tensor *[]){same, fitted, again}, 3,
				      &opts))) {
		struct kc_buf b[5];

		for (int i = 0; i < 5; i++)
			b[i] = kc_buf_of(i < 2 ? in[i] : out[i - 2], &type, KC_PLAIN);
		KC_CHECK_OK(kc_plan_feed(plan, rgb, &b[0]));
		KC_CHECK_OK(kc_plan_feed(plan, lab, &b[1]));
		KC_CHECK_OK(kc_plan_run(plan));
		KC_CHECK_OK(kc_plan_read(plan, same, &b[2]));
		KC_CHECK_OK(kc_plan_read(plan, fitted, &b[3]));
		KC_CHECK_OK(kc_plan_read(plan, again, &b[4]));
		for (int i = 0; i < 3 * COLOURS; i++) {
			worst[0] = kc_test_worse(worst[0], fabs(in[0][i] - out[0][i]));
			KC_CHECK(out[1][i] >= 0 && out[1][i] <= 1);
			if (i < COLOURS)
				worst[1] = kc_test_worse(worst[1], fabs(in[1][i] - out[2][i]));
		}
		KC_CHECK(worst[0] < 1e-4);
		KC_CHECK(worst[1] < 1e-3);
	}
	kc_plan_free(plan);
	kc_graph_free(g);
	kc_device_release(&d);
}

/* The largest change of luma, in levels. */
static double luma_change(const struct clip *c)
{
	double worst = 0;

	for (size_t i = 0; i < (size_t)c->frames * bytes(c); i += 3)
		worst = fmax(worst, fabs(grey_level(c->rgb + i) - grey_level(c->result + i)));
	return worst;
}

/* Mean difference of the channels: how much colour there is. */
static double colour(const struct clip *c)
{
	double sum = 0;

	for (size_t i = 0; i < (size_t)c->frames * bytes(c); i += 3)
		sum += abs(c->result[i] - c->result[i + 1]) +
		       abs(c->result[i + 1] - c->result[i + 2]);
	return sum / (double)((size_t)c->frames * bytes(c) / 3);
}

/* Rounding moves each channel by at most half a level, and so the grey level. */
static void test_luma(void)
{
	static const int sizes[][2] = {{40, 24}, {33, 51}, {32, 32}, {7, 5}, {1, 1}};
	struct fixture f;
	struct clip c;

	if (open_tcvc(&f, 3, 0))
		for (size_t i = 0; i < KC_COUNT(sizes); i++) {
			clip_open(&c, 6, sizes[i][0], sizes[i][1]);
			colorize(&f, &c);
			KC_CHECK(luma_change(&c) < 0.51);
			KC_CHECK(colour(&c) > 1);
			clip_close(&c);
		}
	fixture_close(&f);
}

static void test_published(void)
{
	struct fixture f;
	struct clip c;

	clip_open(&c, 2, 24, 24);
	if (open_with(&f, &(struct kc_colorizer_args){.network = KC_COLORIZE_TCVC, .size = SIZE,
						      .width = 0.0625, .published = true})) {
		colorize(&f, &c);
		KC_CHECK(luma_change(&c) > 0.51);
	}
	clip_close(&c);
	fixture_close(&f);
}

/* Windows of 1 to 3 frames, exact multiples, and a shorter last one; interval 3. */
static void test_windows(void)
{
	static const struct { int frames, anchors, windows, pairs; } want[] = {
		{1, 1, 0, 0}, {2, 2, 0, 0}, {3, 2, 1, 2}, {5, 2, 1, 6}, {6, 3, 1, 6}, {7, 3, 2, 8},
		{9, 3, 2, 12}, {12, 4, 3, 16},
	};
	struct kc_colorizer_count count;
	struct fixture f;
	struct clip c;

	if (open_tcvc(&f, 3, 0))
		for (size_t i = 0; i < KC_COUNT(want); i++) {
			clip_open(&c, want[i].frames, 20, 12);
			count = colorize(&f, &c);
			KC_CHECK(count.anchors == want[i].anchors);
			KC_CHECK(count.windows == want[i].windows);
			KC_CHECK(c.flow_pairs == want[i].pairs);
			KC_CHECK(count.damaged == 0);
			clip_close(&c);
		}
	fixture_close(&f);
}

/* Anchors depend on their own frame alone; a second run of the same clip gives the same bytes. */
static void test_anchors(void)
{
	struct fixture f;
	struct clip c, alone;

	clip_open(&c, 9, 24, 16);
	clip_open(&alone, 1, 24, 16);
	if (open_tcvc(&f, 3, 0)) {
		uint8_t *again = kc_alloc(9 * bytes(&c));

		colorize(&f, &c);
		memcpy(again, c.result, 9 * bytes(&c));
		colorize(&f, &c);
		KC_CHECK(!memcmp(again, c.result, 9 * bytes(&c)));
		for (int i = 0; i < 9; i += 4) {
			memcpy(alone.rgb, c.rgb + (size_t)i * bytes(&c), bytes(&c));
			colorize(&f, &alone);
			KC_CHECK(
				!memcmp(alone.result, c.result + (size_t)i * bytes(&c), bytes(&c)));
		}
		free(again);
	}
	clip_close(&c);
	clip_close(&alone);
	fixture_close(&f);
}

/* A window cut out of the clip gives what it gives inside. */
static void test_window_alone(void)
{
	struct fixture f;
	struct clip c, part;

	clip_open(&c, 11, 24, 16);
	clip_open(&part, 5, 24, 16);
	memcpy(part.rgb, c.rgb + 4 * bytes(&c), 5 * bytes(&c));
	if (open_tcvc(&f, 3, 0)) {
		colorize(&f, &c);
		colorize(&f, &part);
		KC_CHECK(!memcmp(part.result, c.result + 4 * bytes(&c), 5 * bytes(&c)));
	}
	clip_close(&c);
	clip_close(&part);
	fixture_close(&f);
}

/* The truncated mean of the results of both intervals. */
static void test_two_intervals(void)
{
	enum { FRAMES = 11 };
	struct fixture f;
	struct clip one, two, both;
	struct kc_colorizer_count count;
	int worst = 0;

	clip_open(&one, FRAMES, 24, 16);
	clip_open(&two, FRAMES, 24, 16);
	clip_open(&both, FRAMES, 24, 16);
	if (open_tcvc(&f, 2, 0))
		colorize(&f, &one);
	fixture_close(&f);
	if (open_tcvc(&f, 4, 0))
		colorize(&f, &two);
	fixture_close(&f);
	if (open_tcvc(&f, 2, 4)) {
		count = colorize(&f, &both);
		KC_CHECK(count.anchors == 5 + 3);
		for (size_t i = 0; i < FRAMES * bytes(&one); i++) {
			/* Their own rounding moves the mean by half a level at most. */
			double mean = 0.5 * (one.result[i] + two.result[i]);

			worst = KC_MAX(worst, (int)ceil(fabs(both.result[i] + 0.5 - mean)));
		}
		KC_CHECK(worst <= 1);
	}
	fixture_close(&f);
	clip_close(&one);
	clip_close(&two);
	clip_close(&both);
}

static const uint8_t *result(const struct clip *c, int frame)
{
	return c->result + (size_t)frame * bytes(c);
}

static void test_damaged(void)
{
	struct kc_colorizer_count count;
	struct kc_colorizer_clip none;
	struct fixture f;
	struct clip c;

	clip_open(&c, 9, 24, 16);
	c.damaged = 1u << 0 | 1u << 1 | 1u << 5 | 1u << 8;
	if (open_tcvc(&f, 3, 0)) {
		count = colorize(&f, &c);
		KC_CHECK(count.damaged == 4);
		KC_CHECK(!memcmp(result(&c, 1), result(&c, 0), bytes(&c)));
		KC_CHECK(!memcmp(result(&c, 5), result(&c, 4), bytes(&c)));
		KC_CHECK(!memcmp(result(&c, 8), result(&c, 7), bytes(&c)));
		KC_CHECK(memcmp(result(&c, 6), result(&c, 5), bytes(&c)));
		memcpy(c.rgb, c.rgb + 2 * bytes(&c), bytes(&c));
		KC_CHECK(fabs(grey_level(result(&c, 0)) - grey_level(c.rgb)) < 0.51);
		c.damaged = ~0u;
		none = (struct kc_colorizer_clip){.frames = c.frames, .source = source,
						  .flows = flows, .sink = sink, .own = &c};
		KC_CHECK_ERR(kc_colorizer_run(f.colorizer, &none, NULL), KC_EFORMAT,
			     "none of the 9");
	}
	clip_close(&c);
	fixture_close(&f);
}

/* siggraph17 alone, and the same network inside a store that somebody else owns. */
static void test_frames_alone(void)
{
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_FRAMES, .size = SIZE,
					       .width = 0.0625, .mask_cent = 0.5};
	struct kc_colorizer_count count;
	struct kc_colorizer *shared = NULL;
	struct fixture f;
	struct clip c;

	clip_open(&c, 4, 30, 20);
	if (open_with(&f, &args)) {
		const struct kc_colorizer_clip in = {.frames = c.frames, .source = source,
						     .sink = sink, .own = &c};
		uint8_t *own = kc_alloc(4 * bytes(&c));

		count = colorize(&f, &c);
		KC_CHECK(count.anchors == 4 && count.windows == 0);
		KC_CHECK(luma_change(&c) < 0.51);
		memcpy(own, c.result, 4 * bytes(&c));
		if (KC_CHECK_OK(kc_colorizer_open(&shared, &args, &f.device,
						  kc_colorizer_params(f.colorizer)))) {
			c.sunk = 0;
			KC_CHECK_OK(kc_colorizer_run(shared, &in, NULL));
			KC_CHECK(!memcmp(own, c.result, 4 * bytes(&c)));
		}
		free(own);
	}
	kc_colorizer_close(shared);
	clip_close(&c);
	fixture_close(&f);
}

/* eccv16 alone: its decoder is what model_out holds. */
static void test_bins_alone(void)
{
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_BINS, .size = SIZE,
					       .temperature = 0.38};
	struct kc_colorizer_count count;
	struct fixture f;
	struct clip c;

	clip_open(&c, 2, 30, 20);
	if (open_with(&f, &args)) {
		count = colorize(&f, &c);
		KC_CHECK(count.anchors == 2 && count.windows == 0);
		KC_CHECK(luma_change(&c) < 0.51);
		KC_CHECK(kc_params_find(kc_colorizer_params(f.colorizer), "model_out.weight"));
	}
	clip_close(&c);
	fixture_close(&f);
}

static void test_flownet(void)
{
	struct kc_colorizer_args args = {.network = KC_COLORIZE_TCVC, .size = 64, .intervals = {1},
					 .width = 0.0625, .flownet = true};
	struct kc_plan_stats stats;
	struct fixture f;
	struct clip c;

	clip_open(&c, 3, 40, 40);
	if (open_with(&f, &args)) {
		KC_CHECK_OK(kc_colorizer_prepare(f.colorizer, 3, 40, 40, &stats));
		KC_CHECK(stats.flops > 1e9);
		colorize(&f, &c);
		KC_CHECK(c.flow_pairs == 0);
		KC_CHECK(luma_change(&c) < 0.51);
	}
	fixture_close(&f);
	clip_close(&c);
}

static void test_arguments(void)
{
	struct kc_colorizer *c;
	struct kc_device d;

	kc_device_reference(&d);
	KC_CHECK_ERR(kc_colorizer_open(&c, &(struct kc_colorizer_args){.size = 100}, &d, NULL),
		     KC_ECONFIG, "multiple of 8");
	KC_CHECK_ERR(kc_colorizer_open(&c, &(struct kc_colorizer_args){.size = 96, .flownet = true},
				       &d, NULL),
		     KC_ECONFIG, "multiple of 64");
	KC_CHECK_ERR(
		kc_colorizer_open(&c, &(struct kc_colorizer_args){.intervals = {-1}}, &d, NULL),
		KC_ECONFIG, "interval of -1");
	kc_device_release(&d);
}

const struct kc_test kc_tests_colorizer[] = {
	{"luma is kept within the rounding, whatever the size", test_luma},
	{"colours outside of sRGB are fitted, others stay", test_gamut},
	{"published clips, and luma changes", test_published},
	{"windows of 1, 2, 3 and more frames, the last one shorter", test_windows},
	{"anchors depend on their frame alone", test_anchors},
	{"a window depends on its frames alone", test_window_alone},
	{"two intervals are averaged and truncated", test_two_intervals},
	{"a damaged frame is repeated and counted", test_damaged},
	{"frames by themselves, with own and given parameters", test_frames_alone},
	{"frames by eccv16", test_bins_alone},
	{"FlowNet 2.0 inside", test_flownet},
	{"arguments out of range are named", test_arguments},
	{0},
};
