/* Decoding of images, symmetries, Lab, resizing. */
#include "tests/golden.h"

#include "data/image.h"
#include "data/symmetry.h"
#include "layers/layers.h"

#include <stdio.h>
#include <stdlib.h>

enum { FEEDS = 8 };

/* ---- files beside the fixture ---- */

/* image is compared with a tensor of bytes; grey ones have equal channels, 16 bits become 8. */
static void check_image(struct golden *g, const struct kc_st *st, const char *image,
			const char *tensor)
{
	const char *slash = strrchr(st->path, '/');
	char *path = kc_format("%.*s%s", slash ? (int)(slash + 1 - st->path) : 0, st->path, image);
	bool grey = !strncmp(tensor, "grey", 4), deep = !strcmp(tensor, "grey16");
	struct kc_image img = {0};
	struct golden_case c;
	double *expected;
	size_t n = 0, pixels;

	if (!golden_begin(g, &c, image)) {
		free(path);
		return;
	}
	golden_error(&c, path ? kc_image_read(path, &img) : KC_ENOMEM);
	expected = golden_tensor(st, tensor, &n);
	pixels = (size_t)img.width * (size_t)img.height;
	if (!c.failures && (!expected || n != pixels * (grey ? 1 : 3)))
		golden_fail(&c, "%dx%d pixels, %s has %zu values", img.width, img.height, tensor,
			    n);
	for (size_t i = 0; !c.failures && i < 3 * pixels; i++) {
		double want = expected[grey ? i / 3 : i];

		if (deep)
			want = (double)(int)(want * 255 / 65535 + 0.5);
		golden_number(&c, tensor, img.rgb[i], want, 0);
	}
	golden_end(&c);
	kc_image_release(&img);
	free(expected);
	free(path);
}

/* ---- symmetries ---- */

static uint8_t *bytes_of(const struct kc_st *st, const char *name, size_t *n)
{
	double *v = golden_tensor(st, name, n);
	uint8_t *out = v ? kc_alloc(*n ? *n : 1) : NULL;

	for (size_t i = 0; out && i < *n; i++)
		out[i] = (uint8_t)v[i];
	free(v);
	return out;
}

static void check_symmetry(struct golden *g, const struct kc_st *st, unsigned symmetry,
			   const struct kc_crop *crop, const uint8_t *rgb)
{
	struct golden_case c;
	char name[24];
	size_t n = 0;
	uint8_t *expected, *got;

	snprintf(name, sizeof name, "symmetry_%u", symmetry);
	if (!golden_begin(g, &c, name))
		return;
	expected = bytes_of(st, name, &n);
	got = kc_calloc(n ? n : 1, 1);
	if (!expected || !got || n != (size_t)(crop->width * crop->height * 3)) {
		golden_fail(&c, "no %s of %dx%d pixels", name, crop->width, crop->height);
	} else {
		kc_crop_pixels(rgb, crop, symmetry, 3, got);
		for (size_t i = 0; i < n; i++)
			golden_number(&c, "pixel", got[i], expected[i], 0);
	}
	golden_end(&c);
	free(expected);
	free(got);
}

/* The note says which part: "crop rows 13..76, columns 22..85". */
static void check_symmetries(struct golden *g, const struct kc_st *st)
{
	const char *note = kc_st_meta(st, "note"), *at = note ? strstr(note, "crop rows ") : NULL;
	struct kc_type t = {0};
	struct golden_case c;
	int r[4], rc = golden_type(st, "rgb", &t);
	size_t n = 0;
	uint8_t *rgb = bytes_of(st, "rgb", &n);

	if (rc < 0 || !rgb || t.ndim != 3 || !at ||
	    sscanf(at, "crop rows %d..%d, columns %d..%d", &r[0], &r[1], &r[2], &r[3]) != 4 ||
	    r[0] < 0 || r[1] < r[0] || r[1] >= t.dim[0] ||
	    r[2] < 0 || r[3] < r[2] || r[3] >= t.dim[1]) {
		golden_begin(g, &c, "symmetries");
		golden_fail(&c, "no crop inside of \"rgb\" is given");
		golden_end(&c);
	} else {
		struct kc_crop crop = {.src_width = (int)t.dim[1], .x = r[2], .y = r[0],
				       .width = r[3] - r[2] + 1, .height = r[1] - r[0] + 1};

		for (unsigned i = 0; i < 8; i++)
			check_symmetry(g, st, i, &crop, rgb);
	}
	free(rgb);
}

/* ---- Lab and resizing, as graphs ---- */

struct colour {
	const struct kc_st *st;
	struct kc_graph *g;
	struct test_feed feed[FEEDS];
	int n_feed;
	struct golden_values *values;
	struct golden_fetch fetch;
};

static struct kc_tensor *feed(struct colour *c, const char *name, int ndim, const int64_t *dim,
			      int dtype)
{
	struct kc_type type = kc_type_of(dtype, ndim, dim);
	size_t n = 0;
	double *data = golden_tensor(c->st, name, &n);
	struct kc_tensor *t;

	if (!data || n != (size_t)kc_numel(&type)) {
		free(data);
		return kc_graph_fail(c->g, "no \"%s\" of the right size", name);
	}
	t = kc_input(c->g, name, type);
	KC_ASSERT(c->n_feed < FEEDS);
	c->feed[c->n_feed++] = (struct test_feed){t, data};
	return t;
}

static void out(struct colour *c, const char *name, struct kc_tensor *t)
{
	if (!kc_is_poison(t) && golden_want(&c->fetch, c->values, name, t) < 0)
		kc_graph_fail(c->g, "%s", kc_errmsg());
}

/* [1,3,H,W] of Lab to bytes [1,H,W,3] as numbers: clipped, rounded half to even. */
static struct kc_tensor *to_bytes(struct colour *c, struct kc_tensor *lab)
{
	struct kc_tensor *rgb = kc_pw1(c->g, KC_PW_clamp, 0, 1, kc_lab_to_rgb(c->g, lab));

	rgb = kc_pw1(c->g, KC_PW_round, 0, 0, kc_scale(c->g, rgb, 255));
	return kc_permute(c->g, rgb, (int[]){0, 2, 3, 1});
}

/* (L - 50) / 100, a / 110, b / 110 of L, a, b; or back. */
static struct kc_tensor *normalised(struct colour *c, struct kc_tensor *lab, bool back)
{
	struct kc_tensor *l = kc_slice(c->g, lab, 1, 0, 1, 1), *ab = kc_slice(c->g, lab, 1, 1, 2,
									      1);

	l = back ? kc_shift(c->g, kc_scale(c->g, l, 100), 50)
		 : kc_scale(c->g, kc_shift(c->g, l, -50), 0.01);
	return KC_CONCAT(c->g, 1, l, kc_scale(c->g, ab, back ? 110 : 1.0 / 110));
}

static void build_lab(struct colour *c, const struct kc_type *rgb)
{
	int64_t h = rgb->dim[0], w = rgb->dim[1];
	struct kc_tensor *x = feed(c, "rgb", 4, (int64_t[]){1, h, w, 3}, KC_U8), *lab, *l;

	x = kc_permute(c->g, kc_to_real(c->g, x, 1.0 / 255), (int[]){0, 3, 1, 2});
	lab = kc_rgb_to_lab(c->g, x);
	out(c, "lab", normalised(c, lab, false));
	out(c, "lab_back_to_uint8",
	    to_bytes(c, normalised(c, feed(c, "lab", 4, (int64_t[]){1, 3, h, w}, KC_REAL), true)));
	l = kc_slice(c->g, lab, 1, 0, 1, 1);
	out(c, "join.rgb_uint8",
	    to_bytes(c, KC_CONCAT(c->g, 1, l, feed(c, "join.ab", 4, (int64_t[]){1, 2, h, w},
						   KC_REAL))));
}

/* resize.in -> resize.N -> resize.backM, where M is the size of resize.in; [::3, ::3] of each. */
static void build_resize(struct colour *c, const struct kc_type *in)
{
	int64_t dim[4] = {1, 1, in->dim[0], in->dim[1]};
	struct kc_tensor *x = feed(c, "resize.in", 4, dim, KC_REAL), *y;
	char back[40];

	snprintf(back, sizeof back, "resize.back%lld", (long long)dim[2]);
	for (size_t i = 0; i < c->st->n; i++) {
		const char *name = c->st->tensors[i].name;
		int64_t size = strncmp(name, "resize.", 7) ? 0 : strtol(name + 7, NULL, 10);

		if (!size)
			continue;
		y = kc_resize_bilinear(c->g, x, size, size, false);
		out(c, name, kc_subsample(c->g, y, 3));
		y = kc_resize_bilinear(c->g, y, dim[2], dim[3], false);
		out(c, back, kc_subsample(c->g, y, 3));
	}
}

static int compute(struct golden *g, const struct kc_st *st, enum golden_mode mode,
		   struct golden_values *values)
{
	struct kc_plan_opts opts = golden_plan_opts(mode);
	struct colour c = {.st = st, .g = kc_graph_new(&kc_layers), .values = values};
	struct kc_type rgb, in;
	int rc = c.g ? golden_type(st, "rgb", &rgb) : KC_ENOMEM;

	if (!rc)
		rc = golden_type(st, "resize.in", &in);
	if (!rc) {
		build_lab(&c, &rgb);
		build_resize(&c, &in);
		rc = kc_graph_status(c.g);
	}
	if (!rc)
		rc = test_run(c.g, g->device, &opts, c.feed, c.n_feed, c.fetch.t, c.fetch.n,
			      c.fetch.out);
	for (int i = 0; i < c.n_feed; i++)
		free(c.feed[i].data);
	golden_fetch_release(&c.fetch);
	kc_graph_free(c.g);
	return rc;
}

static void compare(struct golden_case *c, const struct kc_st *st,
		    const struct golden_values *values)
{
	struct golden_tol real = {.abs = 1e-5, .rel = 1e-5};

	if (c->g->mode == GOLDEN_F64)
		real = (struct golden_tol){.of_max = 2e-7};
	for (size_t i = 0; i < values->n; i++) {
		const struct golden_value *v = &values->v[i];
		/* Bytes are exact, but for values that lie on the edge between two. */
		bool bytes = strstr(v->name, "uint8") != NULL;
		size_t n = 0;
		double *expected = golden_tensor(st, v->name, &n);

		if (!expected || n != v->n)
			golden_fail(c, "%s: %zu elements, expected %zu", v->name, v->n, n);
		else
			golden_compare(c, v->name, v->v, expected, n,
				       bytes ? (struct golden_tol){.ties = true} : real);
		free(expected);
	}
}

void golden_colour(struct golden *g, const struct kc_st *st)
{
	static const char *const images[][2] = {
		{"frame.png", "rgb"}, {"rgba.png", "rgb"}, {"grey1.png", "grey1"},
		{"grey3.png", "grey1"}, {"grey16.png", "grey16"}, {"palette.png", "palette_as_rgb"},
	};
	struct golden_values values = {0}, full = {0};
	struct golden_case c;

	for (size_t i = 0; i < KC_COUNT(images); i++)
		check_image(g, st, images[i][0], images[i][1]);
	check_symmetries(g, st);
	if (!golden_begin(g, &c, "Lab and resizing"))
		return;
	golden_error(&c, compute(g, st, g->mode, &values));
	if (!c.failures && g->mode == GOLDEN_BF16) {
		golden_error(&c, compute(g, st, GOLDEN_F32, &full));
		golden_distances(&c, &values, &full, golden_room(2e-2));
	} else if (!c.failures) {
		compare(&c, st, &values);
	}
	golden_end(&c);
	golden_release(&values);
	golden_release(&full);
}
