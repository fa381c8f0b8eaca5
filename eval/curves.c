#include "eval/curves.h"

#include "core/file.h"
#include "core/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS_BYTES = 256 << 20 };

static bool left_out(const char *key)
{
	static const char *const keys[] = {"iter", "epoch", "lr", "time", "data_time", "eta",
					   "frames_per_s", "memory", "peak"};

	for (size_t i = 0; i < KC_COUNT(keys); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

static struct kc_curve *find_curve(struct kc_curves *c, const char *name)
{
	struct kc_curve *v;

	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->v[i].name, name))
			return &c->v[i];
	v = kc_realloc(c->v, c->n + 1, sizeof *v);
	if (!v)
		return NULL;
	c->v = v;
	v += c->n;
	*v = (struct kc_curve){.name = kc_strdup(name)};
	if (!v->name)
		return NULL;
	c->n++;
	return v;
}

static int add_point(struct kc_curve *c, double x, double y)
{
	if (c->n == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		double *xs = kc_realloc(c->x, room, sizeof *xs), *ys;

		if (!xs)
			return KC_ENOMEM;
		c->x = xs;
		ys = kc_realloc(c->y, room, sizeof *ys);
		if (!ys)
			return KC_ENOMEM;
		c->y = ys;
		c->room = room;
	}
	c->x[c->n] = x;
	c->y[c->n++] = y;
	return 0;
}

static int add_line(struct kc_curves *c, const struct kc_json *line)
{
	const struct kc_json *iter = kc_json_get(line, "iter");

	if (!iter || iter->kind != KC_JSON_NUMBER)
		return KC_FAIL(KC_EFORMAT, "no number \"iter\"");
	for (const struct kc_json *m = line->first; m; m = m->next) {
		struct kc_curve *curve;

		if (m->kind != KC_JSON_NUMBER || left_out(m->key))
			continue;
		curve = find_curve(c, m->key);
		if (!curve)
			return KC_ENOMEM;
		KC_TRY(add_point(curve, iter->number, m->number));
	}
	return 0;
}

static int read_lines(struct kc_curves *c, const char *text, size_t size)
{
	const char *end = text + size;

	for (int number = 1; text < end; number++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		struct kc_json *line;
		int rc;

		if (!stop)
			return 0;
		rc = kc_json_parse(text, (size_t)(stop - text), &line);
		if (!rc) {
			rc = add_line(c, line);
			kc_json_free(line);
		}
		if (rc < 0)
			return kc_cause(rc, "line %d", number);
		text = stop + 1;
	}
	return 0;
}

/* ".../experiments/NAME/metrics.jsonl" -> NAME */
static char *run_name(const char *path)
{
	const char *slash = strrchr(path, '/'), *start;

	if (!slash || slash == path)
		return kc_strdup("run");
	for (start = slash; start > path && start[-1] != '/'; start--)
		;
	return kc_format("%.*s", (int)(slash - start), start);
}

int kc_curves_read(const char *path, struct kc_curves *c)
{
	char *text;
	size_t size;
	int rc;

	*c = (struct kc_curves){0};
	KC_TRY(kc_file_read(path, METRICS_BYTES, &text, &size));
	c->run = run_name(path);
	rc = c->run ? read_lines(c, text, size) : KC_ENOMEM;
	free(text);
	if (rc < 0)
		kc_curves_release(c);
	return rc < 0 ? kc_cause(rc, "%s", path) : 0;
}

void kc_curves_release(struct kc_curves *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->v[i].name);
		free(c->v[i].x);
		free(c->v[i].y);
	}
	free(c->v);
	free(c->run);
	*c = (struct kc_curves){0};
}
