#include "eval/hint_list.h"

#include "core/file.h"
#include "core/json.h"
#include "layers/layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_FILE = 16 << 20, MOST_FRAMES = 1 << 30, LARGEST_SIDE = 1 << 16 };

static const double usual_radius = 3;

/* ---- colours ---- */

/* Whether sRGB has that ab at some lightness. */
static bool has_chroma(double a, double b)
{
	for (int l = 1; l < 100; l++)
		if (kc_lab_fits((const double[]){l, a, b}))
			return true;
	return false;
}

static int set_ab(struct kc_hint *h, double a, double b)
{
	if (!has_chroma(a, b))
		return KC_FAIL(KC_EFORMAT, "colour %g,%g: sRGB has it at no lightness", a, b);
	h->a = a;
	h->b = b;
	return 0;
}

static int set_hex(struct kc_hint *h, const char *text)
{
	double rgb[3], lab[3];
	char *end;
	unsigned long v;

	if (text[0] != '#' || strlen(text) != 7 || strspn(text + 1, "0123456789abcdefABCDEF") != 6)
		return KC_FAIL(KC_EFORMAT, "colour: expected #rrggbb or A,B, got '%.20s'", text);
	v = strtoul(text + 1, &end, 16);
	for (int i = 0; i < 3; i++)
		rgb[i] = (double)(v >> (16 - 8 * i) & 255) / 255;
	kc_lab_of_rgb(rgb, lab);
	h->a = lab[1];
	h->b = lab[2];
	return 0;
}

static int set_colour(struct kc_hint *h, const char *text)
{
	char *end;
	double a = strtod(text, &end), b;

	if (text[0] == '#' || end == text || *end != ',')
		return set_hex(h, text);
	text = end + 1;
	b = strtod(text, &end);
	if (end == text || *end)
		return KC_FAIL(KC_EFORMAT, "colour: expected #rrggbb or A,B, got '%.20s'", text);
	return set_ab(h, a, b);
}

/* ---- numbers ---- */

static int check_number(const char *what, double x, double high)
{
	if (!(x >= 0 && x <= high))
		return KC_FAIL(KC_EFORMAT, "%s: expected a number from 0 to %g, got %g", what,
			       high, x);
	return 0;
}

static int read_number(const char *what, const char *text, double high, double *x)
{
	char *end;

	*x = strtod(text, &end);
	if (end == text || *end)
		return KC_FAIL(KC_EFORMAT, "%s: expected a number, got '%.20s'", what, text);
	return check_number(what, *x, high);
}

static int set_frame(struct kc_hint *h, double frame)
{
	KC_TRY(check_number("frame", frame, MOST_FRAMES));
	if (frame != floor(frame))
		return KC_FAIL(KC_EFORMAT, "frame: expected a whole number or all, got %g", frame);
	h->frame = (int64_t)frame;
	return 0;
}

/* ---- a line of words ---- */

static int take_words(struct kc_hint *h, char *line)
{
	enum { FRAME, X, Y, COLOUR, RADIUS, MOST };
	char *word[MOST + 1], *save = NULL;
	double frame;
	int n = 0;

	for (char *w = strtok_r(line, " \t", &save); w && n <= MOST;
	     w = strtok_r(NULL, " \t", &save))
		word[n++] = w;
	if (n < RADIUS || n > MOST)
		return KC_FAIL(KC_EFORMAT, "expected FRAME X Y COLOUR [RADIUS]");
	if (!strcmp(word[FRAME], "all")) {
		h->frame = -1;
	} else {
		KC_TRY(read_number("frame", word[FRAME], MOST_FRAMES, &frame));
		KC_TRY(set_frame(h, frame));
	}
	KC_TRY(read_number("x", word[X], LARGEST_SIDE, &h->x));
	KC_TRY(read_number("y", word[Y], LARGEST_SIDE, &h->y));
	if (n > RADIUS)
		KC_TRY(read_number("radius", word[RADIUS], LARGEST_SIDE, &h->radius));
	return set_colour(h, word[COLOUR]);
}

/* ---- a line of JSON ---- */

static int take_number(const struct kc_json *o, const char *key, double *x)
{
	const struct kc_json *v = kc_json_get(o, key);

	if (!v || v->kind != KC_JSON_NUMBER)
		return KC_FAIL(KC_EFORMAT, "%s: expected a number", key);
	*x = v->number;
	return check_number(key, *x, LARGEST_SIDE);
}

static int take_frame(struct kc_hint *h, const struct kc_json *v)
{
	h->frame = -1;
	if (!v || (v->kind == KC_JSON_TEXT && !strcmp(v->text, "all")))
		return 0;
	if (v->kind != KC_JSON_NUMBER)
		return KC_FAIL(KC_EFORMAT, "frame: expected a whole number or \"all\"");
	return set_frame(h, v->number);
}

static int take_json_colour(struct kc_hint *h, const struct kc_json *o)
{
	const struct kc_json *hex = kc_json_get(o, "colour"), *ab = kc_json_get(o, "ab");

	if (!hex == !ab)
		return KC_FAIL(KC_EFORMAT, "expected either \"colour\": \"#rrggbb\" or \"ab\": "
			       "[A, B]");
	if (hex && hex->kind == KC_JSON_TEXT)
		return set_hex(h, hex->text);
	if (!ab || ab->kind != KC_JSON_ARRAY || ab->n != 2 || ab->first->kind != KC_JSON_NUMBER ||
	    ab->first->next->kind != KC_JSON_NUMBER)
		return KC_FAIL(KC_EFORMAT, "%s: expected %s", hex ? "colour" : "ab",
			       hex ? "\"#rrggbb\"" : "[A, B]");
	return set_ab(h, ab->first->number, ab->first->next->number);
}

static int check_members(const struct kc_json *o)
{
	static const char *const known[] = {"frame", "x", "y", "colour", "ab", "radius"};

	for (const struct kc_json *v = o->first; v; v = v->next) {
		size_t i = 0;

		while (i < KC_COUNT(known) && strcmp(v->key, known[i]))
			i++;
		if (i == KC_COUNT(known))
			return KC_FAIL(KC_EFORMAT, "unknown member \"%.40s\", expected frame, x, "
				       "y, colour or ab, radius", v->key);
	}
	return 0;
}

static int take_object(struct kc_hint *h, const struct kc_json *o)
{
	KC_TRY(check_members(o));
	KC_TRY(take_frame(h, kc_json_get(o, "frame")));
	KC_TRY(take_number(o, "x", &h->x));
	KC_TRY(take_number(o, "y", &h->y));
	if (kc_json_get(o, "radius"))
		KC_TRY(take_number(o, "radius", &h->radius));
	return take_json_colour(h, o);
}

static int take_json(struct kc_hint *h, const char *line)
{
	struct kc_json *o;
	int rc;

	KC_TRY(kc_json_parse(line, strlen(line), &o));
	rc = take_object(h, o);
	kc_json_free(o);
	return rc;
}

/* ---- the file ---- */

static int take_line(struct kc_hint_list *l, char *line, int number)
{
	struct kc_hint h = {.radius = usual_radius, .line = number};
	size_t end = strlen(line);

	while (end && strchr(" \t\r", line[end - 1]))
		line[--end] = 0;
	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	KC_TRY(*line == '{' ? take_json(&h, line) : take_words(&h, line));
	KC_TRY(kc_make_room(&l->v, l->n, &l->room, sizeof *l->v));
	l->v[l->n++] = h;
	return 0;
}

static int take_lines(struct kc_hint_list *l, char *text, size_t size)
{
	char *next;

	if (strlen(text) != size)
		return KC_FAIL(KC_EFORMAT, "%s: not a text, it holds a zero byte", l->path);
	for (int number = 1; text; number++, text = next) {
		int rc;

		next = strchr(text, '\n');
		if (next)
			*next++ = 0;
		rc = take_line(l, text, number);
		if (rc < 0)
			return kc_cause(rc, "%s:%d", l->path, number);
	}
	return 0;
}

int kc_hint_list_parse(struct kc_hint_list *l, const char *name, const char *text, size_t size)
{
	char *copy = kc_calloc(size + 1, 1);
	int rc;

	l->path = copy ? kc_strdup(name) : NULL;
	if (!l->path) {
		free(copy);
		return KC_ENOMEM;
	}
	if (size)
		memcpy(copy, text, size);
	rc = take_lines(l, copy, size);
	free(copy);
	return rc;
}

int kc_hint_list_load(struct kc_hint_list *l, const char *path)
{
	char *text;
	size_t size;
	int rc;

	KC_TRY(kc_file_read(path, LARGEST_FILE, &text, &size));
	rc = kc_hint_list_parse(l, path, text, size);
	free(text);
	return rc;
}

void kc_hint_list_release(struct kc_hint_list *l)
{
	free(l->path);
	free(l->v);
	*l = (struct kc_hint_list){0};
}

/* ---- on a clip ---- */

static bool is_anchor(const struct kc_hint_clip *c, int64_t frame)
{
	for (int i = 0; i < c->n_intervals; i++)
		if (frame % (c->intervals[i] + 1) == 0)
			return true;
	return !c->n_intervals || frame == c->frames - 1;
}

static int check_one(const struct kc_hint *h, const struct kc_hint_clip *c)
{
	int64_t step;

	if (h->frame >= c->frames)
		return KC_FAIL(KC_EFORMAT, "frame %lld: the clip has %lld frames, counted from 0",
			       (long long)h->frame, (long long)c->frames);
	if (h->x > c->width - 0.5 || h->y > c->height - 0.5)
		return KC_FAIL(KC_EFORMAT, "pixel %g,%g is outside of the frame, %d x %d", h->x,
			       h->y, c->width, c->height);
	if (h->frame < 0 || is_anchor(c, h->frame))
		return 0;
	step = c->intervals[0] + 1;
	return KC_FAIL(KC_EFORMAT, "frame %lld is no anchor: with propagation hints act on frames "
		       "0, %lld, %lld, ... and %lld; the nearest is %lld", (long long)h->frame,
		       (long long)step, (long long)(2 * step), (long long)c->frames - 1,
		       (long long)KC_MIN((h->frame + step / 2) / step * step, c->frames - 1));
}

int kc_hint_list_check(const struct kc_hint_list *l, const struct kc_hint_clip *c)
{
	for (size_t i = 0; i < l->n; i++) {
		int rc = check_one(&l->v[i], c);

		if (rc < 0)
			return kc_cause(rc, "%s:%d", l->path, l->v[i].line);
	}
	return 0;
}

/* First and last of the networks' pixels that a disk may touch along one axis. */
static void range_of(double at, double radius, int length, int size, int range[2])
{
	double scale = (double)size / length;

	range[0] = (int)fmax(floor((at - radius + 0.5) * scale), 0);
	range[1] = (int)fmin(floor((at + radius + 0.5) * scale), size - 1);
}

static void draw_one(const struct kc_hint *h, int width, int height, int size, float *hint,
		     float *mask)
{
	int centre_x = KC_MIN((int)((h->x + 0.5) * size / width), size - 1);
	int centre_y = KC_MIN((int)((h->y + 0.5) * size / height), size - 1);
	int xs[2], ys[2];

	range_of(h->x, h->radius, width, size, xs);
	range_of(h->y, h->radius, height, size, ys);
	for (int i = ys[0]; i <= ys[1]; i++)
		for (int j = xs[0]; j <= xs[1]; j++) {
			double dx = (j + 0.5) * width / size - 0.5 - h->x;
			double dy = (i + 0.5) * height / size - 0.5 - h->y;
			size_t at = (size_t)i * (size_t)size + (size_t)j;

			if (dx * dx + dy * dy > h->radius * h->radius &&
			    !(i == centre_y && j == centre_x))
				continue;
			hint[2 * at] = (float)(h->a / 110);
			hint[2 * at + 1] = (float)(h->b / 110);
			mask[at] = 1;
		}
}

void kc_hint_list_draw(const struct kc_hint_list *l, int64_t frame, int width, int height, int size,
		       float *hint, float *mask)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].frame < 0 || l->v[i].frame == frame)
			draw_one(&l->v[i], width, height, size, hint, mask);
}
