/* Alternatives and confidence: what the distribution over 313 bins tells beside its mean. */
#include "data/image.h"
#include "layers/cpu/cpu.h"
#include "models/colorizer.h"
#include "models/init.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 32, ROOM = 24, PIXELS = SIDE * SIDE };

/* Frames in, every picture out with what it is: -2 for the result. */
struct shown {
	struct kc_image grey;
	int frames, damaged, n;
	struct { int64_t frame; int which; uint8_t rgb[3 * PIXELS]; } picture[ROOM];
};

enum { RESULT = -2 };

static int grey_frame(void *own, int64_t frame, struct kc_picture *p)
{
	struct shown *s = own;

	if (frame == s->damaged)
		return KC_DAMAGED;
	KC_TRY(kc_image_resize_buffer(&s->grey, SIDE, SIDE));
	for (int i = 0; i < 3 * PIXELS; i++)
		s->grey.rgb[i] = (uint8_t)(100 + 10 * frame);
	*p = (struct kc_picture){SIDE, SIDE, s->grey.rgb};
	return 0;
}

static int no_motion(void *own, const uint8_t *grey, int size, const struct kc_pair *pairs, int n,
		     float *flow)
{
	(void)own, (void)grey, (void)pairs;
	memset(flow, 0, 2 * sizeof *flow * (size_t)size * (size_t)size * (size_t)n);
	return 0;
}

static int keep_extra(void *own, int64_t frame, int which, const struct kc_picture *p)
{
	struct shown *s = own;

	KC_ASSERT(s->n < ROOM && p->width == SIDE && p->height == SIDE);
	s->picture[s->n].frame = frame;
	s->picture[s->n].which = which;
	memcpy(s->picture[s->n++].rgb, p->rgb, 3 * PIXELS);
	return 0;
}

static int keep_result(void *own, int64_t frame, const struct kc_picture *p)
{
	return keep_extra(own, frame, RESULT, p);
}

static const uint8_t *shown(const struct shown *s, int64_t frame, int which)
{
	for (int i = 0; i < s->n; i++)
		if (s->picture[i].frame == frame && s->picture[i].which == which)
			return s->picture[i].rgb;
	kc_test_fail(__FILE__, __LINE__, "no picture %d of frame %d", which, (int)frame);
	return s->picture[0].rgb;
}

/* Writes a layer of 313 bins that says the same everywhere: bias[q]. */
static void say_everywhere(struct kc_params *s, const char *layer, const double *bias)
{
	char name[64];

	for (int part = 0; part < 2; part++) {
		struct kc_param *p;
		struct kc_buf b;

		snprintf(name, sizeof name, "%s.%s", layer, part ? "bias" : "weight");
		p = kc_params_find(s, name);
		b = kc_param_master(p);
		for (int64_t i = 0; i < kc_numel(&p->type); i++)
			kc_put(&b, i, part ? bias[i] : 0);
		kc_param_changed(p);
	}
}

static void run_extras(const struct kc_colorizer_args *args, const char *layer, const double *bias,
		       struct shown *s)
{
	const struct kc_init he = {kc_init_he, 1}, init = {kc_eccv16_init, 1};
	const struct kc_colorizer_clip clip = {
		.frames = s->frames, .source = grey_frame, .flows = no_motion,
		.sink = keep_result, .extra = keep_extra, .own = s};
	struct kc_colorizer *c;
	struct kc_device d;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	if (KC_CHECK_OK(kc_colorizer_open(&c, args, &d, NULL))) {
		bool sig17 = args->network == KC_COLORIZE_TCVC && args->key == KC_TCVC_SIGGRAPH17;

		KC_CHECK_OK(kc_params_init(kc_colorizer_params(c), sig17 ? &he : &init));
		say_everywhere(kc_colorizer_params(c), layer, bias);
		KC_CHECK_OK(kc_colorizer_run(c, &clip, NULL));
		kc_colorizer_close(c);
	}
	kc_image_release(&s->grey);
	kc_device_release(&d);
}

static int bin_at(double a, double b)
{
	for (int q = 0; q < KC_BINS; q++)
		if (kc_bins_a[q] == a && kc_bins_b[q] == b)
			return q;
	return -1;
}

/* Where every pixel may be reddish or greenish, there is a colouring of each. */
static void test_alternatives(void)
{
	struct shown *s = kc_calloc(1, sizeof *s);
	double bias[KC_BINS] = {0};
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_BINS, .size = SIDE,
					       .width = 0.0625, .temperature = 0.38,
					       .alternatives = 2, .confidence = true};

	KC_ASSERT(s);
	s->frames = 3;
	s->damaged = 1;
	bias[bin_at(40, 20)] = 20.5;
	bias[bin_at(-40, 20)] = 20;
	run_extras(&args, "model8.6", bias, s);
	KC_CHECK(s->n == 3 * 4 && s->picture[0].which == RESULT && s->picture[1].which == 0);
	for (int frame = 0; frame < 3; frame++) {
		const uint8_t *red = shown(s, frame, 0), *green = shown(s, frame, 1);

		KC_CHECK(red[0] > red[1] + 40 && green[1] > green[0] + 40);
		KC_CHECK(memcmp(red, shown(s, frame, RESULT), 3 * PIXELS));
		/* Of two bins, with odds exp(0.5 / 0.38): entropy 0.514. */
		KC_CHECK(abs(shown(s, frame, KC_CONFIDENCE)[0] - 232) <= 1);
	}
	KC_CHECK(!memcmp(shown(s, 0, 0), shown(s, 1, 0), 3 * PIXELS));
	KC_CHECK(memcmp(shown(s, 0, 0), shown(s, 2, 0), 3 * PIXELS));
	free(s);
}

static void test_confidence(void)
{
	struct shown *s = kc_calloc(1, sizeof *s);
	double bias[KC_BINS] = {0};
	struct kc_colorizer_args args = {.network = KC_COLORIZE_BINS, .size = SIDE,
					 .width = 0.0625, .confidence = true};

	KC_ASSERT(s);
	s->frames = 1;
	s->damaged = -1;
	run_extras(&args, "model8.6", bias, s);
	KC_CHECK(s->n == 2 && shown(s, 0, KC_CONFIDENCE)[5] == 0);
	s->n = 0;
	bias[100] = 40;
	run_extras(&args, "model8.6", bias, s);
	KC_CHECK(s->n == 2 && shown(s, 0, KC_CONFIDENCE)[5] == 255);
	/* Also where siggraph17 is told to have these classes. */
	s->n = 0;
	bias[100] = 0;
	args.network = KC_COLORIZE_FRAMES;
	args.classes = KC_BINS;
	run_extras(&args, "model_class.0", bias, s);
	KC_CHECK(s->n == 2 && shown(s, 0, KC_CONFIDENCE)[5] == 0);
	free(s);
}

/* Frames between anchors have them too, of eccv16's features or siggraph17's class head. */
static void test_extras_between(void)
{
	for (int head = 0; head < 2; head++) {
		struct shown *s = kc_calloc(1, sizeof *s);
		double bias[KC_BINS] = {0};
		const struct kc_colorizer_args args = {
			.network = KC_COLORIZE_TCVC, .size = SIDE, .width = 0.0625,
			.intervals = {2}, .alternatives = 1, .confidence = true,
			.key = head ? KC_TCVC_SIGGRAPH17 : KC_TCVC_ECCV16,
			.class_head = head, .temperature = 0.38};

		KC_ASSERT(s);
		s->frames = 6;
		s->damaged = -1;
		bias[bin_at(40, 20)] = 30;
		run_extras(&args, head ? "class_head" : "fea_key.model8.6", bias, s);
		KC_CHECK(s->n == 18);
		for (int frame = 0; frame < 6; frame++) {
			const uint8_t *red = shown(s, frame, 0);

			KC_CHECK(red[0] > red[1] + 40);
			KC_CHECK(shown(s, frame, KC_CONFIDENCE)[0] == 255);
			KC_CHECK(!memcmp(red, shown(s, frame, RESULT), 3 * PIXELS) == !head);
		}
		free(s);
	}
}

static void test_no_bins(void)
{
	struct kc_colorizer *c;
	struct kc_device d;

#define REFUSED(text, ...) \
	KC_CHECK_ERR(kc_colorizer_open(&c, &(struct kc_colorizer_args){.size = SIDE, \
				       .width = 0.0625, __VA_ARGS__}, &d, NULL), KC_ECONFIG, text)
	KC_CHECK_OK(kc_device_cpu(&d, 1));
	REFUSED("need a network with 313 bins", .confidence = true);
	REFUSED("need a network with 313 bins", .network = KC_COLORIZE_FRAMES, .alternatives = 1);
	REFUSED("9 alternatives, expected 0 to 8", .network = KC_COLORIZE_BINS, .alternatives = 9);
	REFUSED("go with one interval", .key = KC_TCVC_ECCV16, .intervals = {2, 3},
		.n_intervals = 2, .confidence = true);
#undef REFUSED
	kc_device_release(&d);
}

const struct kc_test kc_tests_extras[] = {
	{"alternatives lean to the likeliest colours", test_alternatives},
	{"confidence is 0 for uniform, 1 for a single bin", test_confidence},
	{"alternatives and confidence between anchors", test_extras_between},
	{"networks without 313 bins have none", test_no_bins},
	{0},
};
