/*
 * Hints of users at inference: their file, where they lie in the networks' input, what they
 * change; suggestions; what model files tell about both.
 */
#include "core/file.h"
#include "eval/export_onnx.h"
#include "eval/guide.h"
#include "eval/model.h"
#include "layers/cpu/cpu.h"
#include "models/init.h"
#include "tests/test.h"
#include "weights/seal.h"

#include <math.h>
#include <stdlib.h>

/* ---- the file ---- */

static int load(struct kc_hint_list *l, const char *text)
{
	*l = (struct kc_hint_list){0};
	KC_CHECK_OK(kc_file_write(kc_test_path("hints.txt"), text, strlen(text)));
	return kc_hint_list_load(l, kc_test_path("hints.txt"));
}

static void test_file(void)
{
	struct kc_hint_list l;

	if (KC_CHECK_OK(load(&l, "# comment\n\n3 10 20.5 #ff0000\r\n\tall 0 0 -20,30.5  7\n"
			     "{\"frame\": 4, \"x\": 1, \"y\": 2, \"colour\": \"#FF0000\"}\n"
			     "{\"x\": 1, \"y\": 2, \"ab\": [5, -6], \"radius\": 0}")) &&
	    l.n == 4) {
		KC_CHECK(l.v[0].frame == 3 && l.v[0].x == 10 && l.v[0].y == 20.5);
		KC_CHECK(fabs(l.v[0].a - 80.1) < 0.1 && fabs(l.v[0].b - 67.2) < 0.1);
		KC_CHECK(l.v[0].radius == 3 && l.v[0].line == 3);
		KC_CHECK(l.v[1].frame == -1 && l.v[1].a == -20 && l.v[1].b == 30.5);
		KC_CHECK(l.v[1].radius == 7 && l.v[1].line == 4);
		KC_CHECK(l.v[2].frame == 4 && l.v[2].a == l.v[0].a);
		KC_CHECK(l.v[3].frame == -1 && l.v[3].b == -6 && l.v[3].radius == 0);
	}
	KC_CHECK(l.n == 4);
	kc_hint_list_release(&l);
}

static void test_mistakes(void)
{
	static const struct { const char *line, *text; } m[] = {
		{"0 1 2", "expected FRAME X Y COLOUR"},
		{"0 1 2 #ffffff 3 4", "expected FRAME X Y COLOUR"},
		{"0 1 2 #fffff", "expected #rrggbb or A,B, got '#fffff'"},
		{"0 1 2 red", "expected #rrggbb or A,B, got 'red'"},
		{"0 1 2 3,x", "expected #rrggbb or A,B"},
		{"0 1 2 120,120", "colour 120,120: sRGB has it at no lightness"},
		{"0 1 2 nan,0", "sRGB has it at no lightness"},
		{"0.5 1 2 3,4", "frame: expected a whole number"},
		{"-1 1 2 3,4", "frame: expected a number from 0"},
		{"0 x 2 3,4", "x: expected a number, got 'x'"},
		{"0 1 nan 3,4", "y: expected a number from 0"},
		{"0 1 2 3,4 -1", "radius: expected a number from 0"},
		{"{\"x\": 1}", "y: expected a number"},
		{"{\"x\": 1, \"y\": 2}", "either \"colour\""},
		{"{\"x\": 1, \"y\": 2, \"ab\": [1], \"colour\": \"#ffffff\"}", "either \"colour\""},
		{"{\"x\": 1, \"y\": 2, \"ab\": [1]}", "ab: expected [A, B]"},
		{"{\"x\": 1, \"y\": 2, \"colour\": 3}", "colour: expected \"#rrggbb\""},
		{"{\"x\": 1, \"y\": 2, \"color\": \"#ffffff\"}", "unknown member \"color\""},
		{"{\"x\": 1, \"y\": 2, \"frame\": \"x\"}", "frame: expected a whole number or"},
		{"{\"x\": 1,", "expected"},
	};
	struct kc_hint_list l;

	for (size_t i = 0; i < KC_COUNT(m); i++) {
		char *text = kc_format("# first\n%s\n", m[i].line);

		KC_CHECK_ERR(load(&l, text), KC_EFORMAT, m[i].text);
		KC_CHECK(strstr(kc_errmsg(), "hints.txt:2: "));
		kc_hint_list_release(&l);
		free(text);
	}
	KC_CHECK_ERR(kc_hint_list_load(&l, kc_test_path("none.txt")), KC_ENOENT, "none.txt");
	kc_hint_list_release(&l);
}

static void test_clip(void)
{
	static const int intervals[] = {3, 4};
	struct kc_hint_clip c = {.frames = 12, .width = 40, .height = 30};
	struct kc_hint_list l;

	KC_CHECK_OK(load(&l, "0 0 0 1,1\n11 39 29 1,1\nall 5 5 1,1\n"));
	KC_CHECK_OK(kc_hint_list_check(&l, &c));
	kc_hint_list_release(&l);
#define REFUSED(line, message) \
	KC_CHECK_OK(load(&l, line)); \
	KC_CHECK_ERR(kc_hint_list_check(&l, &c), KC_EFORMAT, message); \
	kc_hint_list_release(&l)
	REFUSED("0 1 1 1,1\n0 40 1 1,1", "hints.txt:2: pixel 40,1 is outside of the frame, 40 x 3");
	REFUSED("0 1 30 1,1", "hints.txt:1: pixel 1,30 is outside");
	REFUSED("12 1 1 1,1", "hints.txt:1: frame 12: the clip has 12 frames");

	c.intervals = intervals;
	c.n_intervals = 1;
	KC_CHECK_OK(load(&l, "0 1 1 1,1\n4 1 1 1,1\n8 1 1 1,1\n11 1 1 1,1\nall 1 1 1,1"));
	KC_CHECK_OK(kc_hint_list_check(&l, &c));
	kc_hint_list_release(&l);
	REFUSED("0 1 1 1,1\n5 1 1 1,1",
		"hints.txt:2: frame 5 is no anchor: with propagation hints act on frames 0, 4, 8, "
		"... and 11; the nearest is 4");
	REFUSED("10 1 1 1,1", "the nearest is 11");
	c.n_intervals = 2;
	KC_CHECK_OK(load(&l, "4 1 1 1,1\n5 1 1 1,1"));
	KC_CHECK_OK(kc_hint_list_check(&l, &c));
	kc_hint_list_release(&l);
#undef REFUSED
}

enum { SIZE = 16 };

static int area(const float *mask, int *first)
{
	int n = 0;

	for (int i = SIZE * SIZE - 1; i >= 0; i--)
		if (mask[i] != 0) {
			n++;
			*first = i;
		}
	return n;
}

/* A frame of 32 x 64 pixels on 16 x 16: one pixel of the networks is 2 x 4 of the frame. */
static void test_draw(void)
{
	float hint[2 * SIZE * SIZE] = {0}, mask[SIZE * SIZE] = {0};
	struct kc_hint_list l;
	int at = 0;

	KC_CHECK_OK(load(&l, "2 31 63 11,22 0\n3 16 32 11,22 4.1\n3 16 32 -11,0 0"));
	kc_hint_list_draw(&l, 1, 32, 64, SIZE, hint, mask);
	KC_CHECK(area(mask, &at) == 0);
	kc_hint_list_draw(&l, 2, 32, 64, SIZE, hint, mask);
	KC_CHECK(area(mask, &at) == 1 && at == SIZE * SIZE - 1);
	KC_CHECK(hint[2 * at] == 0.1f && hint[2 * at + 1] == 0.2f);
	mask[at] = 0;
	kc_hint_list_draw(&l, 3, 32, 64, SIZE, hint, mask);
	/* Centres within 4.1 of 16, 32: three at height 29.5, four at height 33.5. */
	KC_CHECK(area(mask, &at) == 7 && at == 7 * SIZE + 7);
	at = 8 * SIZE + 8;
	KC_CHECK(mask[at] == 1 && hint[2 * at] == -0.1f && hint[2 * at + 1] == 0);
	KC_CHECK(hint[2 * at - 2] == 0.1f);
	kc_hint_list_release(&l);
}

/* Refused or read, and drawn. */
static void test_corpus(void)
{
	const char *folder = kc_test_fixture("fuzz/corpus/hints");
	float hint[2 * SIZE * SIZE] = {0}, mask[SIZE * SIZE] = {0};
	struct kc_names names;
	int read = 0;

	if (!KC_CHECK_OK(kc_dir_list(folder, NULL, KC_ORDER_BYTES, &names)))
		return;
	for (size_t i = 0; i < names.n; i++) {
		char *path = kc_format("%s/%s", folder, names.v[i]);
		struct kc_hint_list l = {0};

		if (kc_hint_list_load(&l, path) >= 0) {
			kc_hint_list_draw(&l, 4, 32, 64, SIZE, hint, mask);
			read++;
		} else {
			KC_CHECK(strstr(kc_errmsg(), names.v[i]));
		}
		kc_hint_list_release(&l);
		free(path);
	}
	KC_CHECK(read > 0 && names.n >= 10);
	kc_names_free(&names);
}

/* ---- what hints change ---- */

enum { FRAMES = 5, WIDTH = 40, HEIGHT = 24, BYTES = WIDTH * HEIGHT * 3, NET = 32 };

struct clip {
	struct kc_guide guide;
	struct kc_clip as_file;
	uint8_t frame[BYTES], result[FRAMES][BYTES];
};

static int source(void *own, int64_t frame, struct kc_picture *p)
{
	struct clip *c = own;

	(void)frame;
	*p = (struct kc_picture){WIDTH, HEIGHT, c->frame};
	return 0;
}

static int flows(void *own, const uint8_t *grey, int size, const struct kc_pair *pairs, int n,
		 float *flow)
{
	(void)own, (void)grey, (void)pairs;
	memset(flow, 0, (size_t)n * 2 * (size_t)size * (size_t)size * sizeof *flow);
	return 0;
}

static int draw(void *own, int64_t frame, int size, float *hint, float *mask)
{
	struct clip *c = own;

	return kc_guide_draw(&c->guide, &c->as_file, frame, size, hint, mask);
}

static int sink(void *own, int64_t frame, const struct kc_picture *p)
{
	struct clip *c = own;

	memcpy(c->result[frame], p->rgb, BYTES);
	return 0;
}

static struct kc_colorizer_clip callbacks(struct clip *c, bool hints)
{
	return (struct kc_colorizer_clip){.frames = FRAMES, .source = source, .flows = flows,
					  .hints = hints ? draw : NULL, .sink = sink, .own = c};
}

static struct clip *clip_new(const char *hints)
{
	struct clip *c = kc_calloc(1, sizeof *c);

	for (int i = 0; i < BYTES; i++)
		c->frame[i] = (uint8_t)(60 + i / 3 % WIDTH * 3);
	c->as_file = (struct kc_clip){.n = FRAMES, .width = WIDTH, .height = HEIGHT};
	KC_CHECK_OK(load(&c->guide.list, hints));
	return c;
}

static void clip_free(struct clip *c)
{
	kc_guide_release(&c->guide);
	free(c);
}

static struct kc_colorizer *colorizer(const struct kc_colorizer_args *args, struct kc_device *d)
{
	const struct kc_init init = {.write = kc_init_default, .seed = 5};
	struct kc_colorizer *c = NULL;
	struct kc_buf out;

	if (!KC_CHECK_OK(kc_colorizer_open(&c, args, d, NULL)) ||
	    !KC_CHECK_OK(kc_params_init(kc_colorizer_params(c), &init)))
		return NULL;
	/* Differences that survive rounding. */
	for (size_t i = 0; i < kc_colorizer_params(c)->n; i++) {
		const struct kc_param *p = kc_colorizer_params(c)->v[i];
		double factor = strstr(p->name, "model_out.0.weight") ? 100 : 1;

		/* Far from the result, through many layers that shrink it. */
		if (!strncmp(p->name, "global_", 7))
			factor = 1e5;
		out = kc_param_master(p);
		for (int64_t k = 0; k < kc_numel(&out.type); k++)
			kc_put(&out, k, factor * kc_get(&out, k));
	}
	return c;
}

/* Bit i: frame i is not what it is without hints. */
static unsigned changed(const struct kc_colorizer_args *args, const char *hints)
{
	struct kc_colorizer_args with = *args;
	struct kc_device d;
	struct kc_colorizer *plain, *hinted;
	struct clip *a = clip_new(""), *b = clip_new(hints);
	struct kc_colorizer_clip in = callbacks(a, false), out = callbacks(b, true);
	unsigned bits = 0;

	with.hints = true;
	KC_CHECK_OK(kc_device_cpu(&d, 1));
	plain = colorizer(args, &d);
	hinted = colorizer(&with, &d);
	KC_CHECK_OK(kc_colorizer_run(plain, &in, NULL));
	KC_CHECK_OK(kc_colorizer_run(hinted, &out, NULL));
	for (int i = 0; i < FRAMES; i++)
		bits |= (memcmp(a->result[i], b->result[i], BYTES) != 0) << i;
	kc_colorizer_close(plain);
	kc_colorizer_close(hinted);
	kc_device_release(&d);
	clip_free(a);
	clip_free(b);
	return bits;
}

static void test_changes(void)
{
	const struct kc_colorizer_args single = {.network = KC_COLORIZE_FRAMES, .size = NET,
						 .width = 0.0625, .mask_cent = 0.5};
	const struct kc_colorizer_args tcvc = {.network = KC_COLORIZE_TCVC, .size = NET,
					       .intervals = {3}, .width = 0.0625};

	KC_CHECK(changed(&single, "") == 0);
	KC_CHECK(changed(&single, "2 20 12 60,-40 5") == 1u << 2);
	KC_CHECK(changed(&single, "all 20 12 60,-40 5") == 0x1f);
	KC_CHECK(changed(&tcvc, "") == 0);
	/* From an anchor to the frames between, but not to the other anchor. */
	KC_CHECK(changed(&tcvc, "0 20 12 60,-40 5") == 0xf);
	KC_CHECK(changed(&tcvc, "4 20 12 60,-40 5") == 0x1e);
}

static void test_global(void)
{
	const struct kc_colorizer_args args = {.network = KC_COLORIZE_FRAMES, .size = NET,
					       .width = 0.0625, .global_hints = true,
					       .distribution = true, .classes = KC_BINS};
	struct clip *c = clip_new("");
	struct kc_colorizer_clip in = callbacks(c, false);
	struct kc_guide guide = {.saturation = 0.9, .reference = kc_test_path("image.png")};
	struct kc_image image = {0};
	struct kc_device d;
	struct kc_colorizer *net;
	uint8_t before[BYTES];

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	net = colorizer(&args, &d);
	KC_CHECK_OK(kc_colorizer_run(net, &in, NULL));
	memcpy(before, c->result[0], BYTES);
	KC_CHECK_ERR(kc_guide_apply(&guide, &c->as_file, &args, net), KC_ENOENT, "--global-hist: ");
	guide.reference = NULL;
	KC_CHECK_OK(kc_guide_apply(&guide, &c->as_file, &args, net));
	KC_CHECK_OK(kc_colorizer_run(net, &in, NULL));
	KC_CHECK(memcmp(before, c->result[0], BYTES));
	memcpy(before, c->result[0], BYTES);

	KC_CHECK_OK(kc_image_resize_buffer(&image, 50, 40));
	for (int i = 0; i < 50 * 40; i++)
		memcpy(image.rgb + 3 * i, (uint8_t[]){200, 30, 90}, 3);
	guide.reference = kc_test_path("image.png");
	KC_CHECK_OK(kc_image_write(guide.reference, &image, 0));
	KC_CHECK_OK(kc_guide_apply(&guide, &c->as_file, &args, net));
	KC_CHECK_OK(kc_colorizer_run(net, &in, NULL));
	KC_CHECK(memcmp(before, c->result[0], BYTES));
	kc_image_release(&image);
	kc_colorizer_close(net);

	net = colorizer(&(struct kc_colorizer_args){.network = KC_COLORIZE_FRAMES, .size = NET,
						    .width = 0.0625}, &d);
	guide.reference = NULL;
	KC_CHECK_ERR(kc_guide_apply(&guide, &c->as_file, &args, net), KC_ECONFIG,
		     "--saturation: the network has no part for global hints");
	kc_colorizer_close(net);
	kc_device_release(&d);
	clip_free(c);
}

/* ---- suggestions ---- */

static void check_suggestions(const struct kc_colorizer_args *args)
{
	struct kc_suggestion s[KC_SUGGESTIONS], again[KC_SUGGESTIONS];
	struct clip *c = clip_new("0 5 5 60,-40 5");
	struct kc_colorizer_clip in = callbacks(c, args->hints);
	struct kc_device d;
	struct kc_colorizer *net;
	double sum = 0;
	int n;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	net = colorizer(args, &d);
	n = kc_colorizer_suggest(net, &in, 1, 7, 9, s, KC_SUGGESTIONS);
	if (KC_CHECK_OK(n)) {
		KC_CHECK(n == KC_SUGGESTIONS);
		for (int i = 0; i < n; i++) {
			sum += s[i].probability;
			KC_CHECK(!i || s[i].probability <= s[i - 1].probability);
			KC_CHECK(fabs(s[i].a) <= 110 && fabs(s[i].b) <= 110);
		}
		KC_CHECK(fabs(sum - 1) < 1e-9);
		KC_CHECK(n == kc_colorizer_suggest(net, &in, 1, 7, 9, again, KC_SUGGESTIONS));
		KC_CHECK(!memcmp(s, again, sizeof s));
		/* The clip's frames are alike, but for the hint in the first. */
		KC_CHECK_OK(kc_colorizer_suggest(net, &in, 0, 7, 9, again, KC_SUGGESTIONS));
		KC_CHECK(!memcmp(s, again, sizeof s) == !args->hints);
	}
	KC_CHECK_ERR(kc_colorizer_suggest(net, &in, 0, WIDTH, 0, s, 1), KC_EINVAL, "pixel 40,0 is");
	KC_CHECK_ERR(kc_colorizer_suggest(net, &in, 5, 0, 0, s, 1), KC_EINVAL, "5 frames");
	kc_colorizer_close(net);
	kc_device_release(&d);
	clip_free(c);
}

static void test_suggestions(void)
{
	struct kc_colorizer_args a = {.network = KC_COLORIZE_FRAMES, .size = NET, .width = 0.0625};

	check_suggestions(&a);
	a.hints = true;
	check_suggestions(&a);
	a.distribution = true;
	check_suggestions(&a);
	check_suggestions(&(struct kc_colorizer_args){.network = KC_COLORIZE_TCVC, .size = NET,
						      .width = 0.0625});
}

/* ---- what files tell ---- */

static void save(struct kc_colorizer *c, const char *file, const char *prefix,
		 const char *mask_cent)
{
	const struct kc_params *s = kc_colorizer_params(c);
	const struct kc_st_pair meta[] = {{"width", "0.0625"}, {"mask_cent", mask_cent}};
	struct kc_st_item *items = kc_calloc(s->n, sizeof *items);
	size_t n = 0, drop = strlen(prefix);

	for (size_t i = 0; i < s->n; i++) {
		const struct kc_param *p = s->v[i];

		if (strncmp(p->name, prefix, drop))
			continue;
		items[n] = (struct kc_st_item){.name = p->name + drop, .dtype = KC_ST_F32,
					       .ndim = p->type.ndim,
					       .data = kc_param_master(p).data};
		memcpy(items[n++].dim, p->type.dim, (size_t)p->type.ndim * sizeof(int64_t));
	}
	KC_CHECK_OK(kc_seal_save(kc_test_path(file), items, n, meta, mask_cent ? 2 : 1, NULL));
	free(items);
}

static struct kc_colorizer_args open_model(struct kc_device *d, struct kc_model_files files)
{
	struct kc_colorizer_args args = {.size = NET};
	struct kc_model_about about;
	struct kc_colorizer *c;

	if (KC_CHECK_OK(kc_model_open(&c, &args, d, &files, &about)))
		kc_colorizer_close(c);
	return args;
}

static void test_model_files(void)
{
	struct kc_colorizer_args args;
	struct kc_colorizer *c;
	struct kc_weights w;
	struct kc_device d;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	c = colorizer(&(struct kc_colorizer_args){.network = KC_COLORIZE_FRAMES, .size = NET,
						  .width = 0.0625, .global_hints = true,
						  .distribution = true, .classes = KC_BINS}, &d);
	save(c, "parts.safetensors", "", "0.5");
	kc_colorizer_close(c);
	if (KC_CHECK_OK(kc_weights_open(kc_test_path("parts.safetensors"), &w))) {
		KC_CHECK_ERR(kc_export_onnx(kc_test_path("x.onnx"), &w,
					    &(struct kc_export_onnx_args){.network = "siggraph17"}),
			     KC_ENOSUP, "global hints is not written as ONNX");
		kc_weights_close(&w);
	}
	c = colorizer(&(struct kc_colorizer_args){.size = NET, .width = 0.0625}, &d);
	save(c, "tcvc.safetensors", "", NULL);
	save(c, "key.safetensors", "fea_key.", "0.25");
	kc_colorizer_close(c);

	args = open_model(&d, (struct kc_model_files){.model = kc_test_path("parts.safetensors")});
	KC_CHECK(args.global_hints && args.distribution && args.classes == KC_BINS);
	KC_CHECK(args.mask_cent == 0.5);
	args = open_model(&d, (struct kc_model_files){.model = kc_test_path("parts.safetensors"),
						      .has_mask_cent = true});
	KC_CHECK(args.mask_cent == 0);
	args = open_model(&d, (struct kc_model_files){.model = kc_test_path("key.safetensors")});
	KC_CHECK(!args.global_hints && !args.distribution && !args.classes);
	args = open_model(&d, (struct kc_model_files){.model = kc_test_path("tcvc.safetensors")});
	KC_CHECK(args.mask_cent == 0);
	args = open_model(&d, (struct kc_model_files){.model = kc_test_path("tcvc.safetensors"),
						      .key_net = kc_test_path("key.safetensors")});
	KC_CHECK(args.mask_cent == 0.25);
	kc_device_release(&d);
}

const struct kc_test kc_tests_hints[] = {
	{"lines and objects of a file", test_file},
	{"mistakes are named with file and line", test_mistakes},
	{"frames, anchors and places are checked", test_clip},
	{"disks on the networks' pixels", test_draw},
	{"inputs from fuzzing", test_corpus},
	{"hints change their frame, and what follows from an anchor", test_changes},
	{"global hints reach the network", test_global},
	{"suggestions at a pixel", test_suggestions},
	{"parts and mask_cent follow from files", test_model_files},
	{0},
};
