#include "layers/cuda/cudnn_cache.h"

#include "core/file.h"
#include "core/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A line: version, device, key, form, engine, knobs, workspace, seconds, checksum of what is
 * before; divided by tabs.
 */
enum { FIELDS = 9, WHERE = 3, LIMIT = 16 << 20, LINE = 2048 };

struct line {
	char *text;
	size_t where;                   /* length of version, device and key, tabs included */
};

struct kc_cudnn_cache {
	char *path, *device;
	struct line *v;
	size_t n, room;
	int skipped;
};

char *kc_cudnn_cache_path(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (cache && *cache)
		return kc_format("%s/kinemacolor/cudnn.txt", cache);
	return home && *home ? kc_format("%s/.cache/kinemacolor/cudnn.txt", home) : NULL;
}

/* ---- lines ---- */

static unsigned long long checksum(const char *text, size_t n)
{
	return kc_hash64(text, n, 0);
}

static bool read_int(const char *text, const char *end, int64_t *x)
{
	char *stop;

	errno = 0;
	*x = strtoll(text, &stop, 10);
	return !errno && stop == end && stop > text && *x >= 0;
}

/* "18=3,22=0", or "-". */
static bool read_knobs(const char *text, const char *end, struct kc_cudnn_config *c)
{
	if (end - text == 1 && *text == '-')
		return true;
	while (text < end) {
		const char *stop = memchr(text, ',', (size_t)(end - text));
		const char *is;

		stop = stop ? stop : end;
		is = memchr(text, '=', (size_t)(stop - text));
		if (!is || c->n_knobs == KC_CUDNN_KNOBS ||
		    !read_int(text, is, &c->knob[c->n_knobs].type) ||
		    !read_int(is + 1, stop, &c->knob[c->n_knobs].value))
			return false;
		c->n_knobs++;
		text = stop + (stop < end);
	}
	return true;
}

/* Beginnings of the fields of a line of n characters; the last is the end. */
static bool split(const char *text, size_t n, const char *field[FIELDS + 1])
{
	int k = 0;

	field[k++] = text;
	for (const char *p = text; (p = memchr(p, '\t', (size_t)(text + n - p))); p++) {
		if (k == FIELDS)
			return false;
		field[k++] = p + 1;
	}
	field[FIELDS] = text + n + 1;
	return k == FIELDS;
}

static bool read_line(const char *text, size_t n, struct kc_cudnn_choice *c, size_t *where)
{
	const char *f[FIELDS + 1];
	char sum[20];
	char *stop;

	memset(c, 0, sizeof *c);
	if (!split(text, n, f))
		return false;
	snprintf(sum, sizeof sum, "%016llx", checksum(text, (size_t)(f[8] - text)));
	if (f[9] - f[8] != 17 || memcmp(sum, f[8], 16))
		return false;
	*where = (size_t)(f[WHERE] - text);
	c->seconds = strtod(f[7], &stop);
	return read_int(f[3], f[4] - 1, &c->form) && c->form < KC_FORMS &&
	       read_int(f[4], f[5] - 1, &c->config.engine) &&
	       read_knobs(f[5], f[6] - 1, &c->config) && read_int(f[6], f[7] - 1, &c->workspace) &&
	       stop == f[8] - 1;
}

/* What a line of that key begins with. */
static int write_where(const struct kc_cudnn_cache *c, const char *key, char *to)
{
	return snprintf(to, LINE, "%s\t%s\t%s\t", kc_cudnn_version(), c->device, key);
}

static void write_line(const struct kc_cudnn_cache *c, const char *key,
		       const struct kc_cudnn_choice *x, char to[LINE])
{
	int n = write_where(c, key, to);

	n += snprintf(to + n, (size_t)(LINE - n), "%lld\t%lld\t%s", (long long)x->form,
		      (long long)x->config.engine, x->config.n_knobs ? "" : "-");
	for (int64_t i = 0; i < x->config.n_knobs; i++)
		n += snprintf(to + n, (size_t)(LINE - n), "%s%lld=%lld", i ? "," : "",
			      (long long)x->config.knob[i].type,
			      (long long)x->config.knob[i].value);
	n += snprintf(to + n, (size_t)(LINE - n), "\t%lld\t%.6g\t", (long long)x->workspace,
		      x->seconds);
	snprintf(to + n, (size_t)(LINE - n), "%016llx", checksum(to, (size_t)n));
}

/* ---- the list ---- */

/* The line that begins like this one up to its third tab. */
static struct line *find(const struct kc_cudnn_cache *c, const char *text, size_t where)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].where == where && !memcmp(c->v[i].text, text, where))
			return &c->v[i];
	return NULL;
}

static int put(struct kc_cudnn_cache *c, const char *text, size_t n, size_t where)
{
	struct line *old = find(c, text, where);
	char *copy = kc_format("%.*s", (int)n, text);

	if (!copy)
		return KC_ENOMEM;
	if (old) {
		free(old->text);
		old->text = copy;
		return 0;
	}
	if (kc_make_room(&c->v, c->n, &c->room, sizeof *c->v) < 0) {
		free(copy);
		return KC_ENOMEM;
	}
	c->v[c->n++] = (struct line){copy, where};
	return 0;
}

/* Takes what the file holds; what cannot be read is left out. */
static int load(struct kc_cudnn_cache *c)
{
	struct kc_cudnn_choice choice;
	char *data, *p;
	size_t size, where;
	int rc;

	c->skipped = 0;
	if (!c->path)
		return 0;
	rc = kc_file_read(c->path, LIMIT, &data, &size);
	if (rc < 0)
		return rc == KC_ENOENT ? 0 : rc;
	for (p = data; rc >= 0 && p < data + size;) {
		char *end = memchr(p, '\n', (size_t)(data + size - p));
		size_t n = end ? (size_t)(end - p) : (size_t)(data + size - p);

		if (n < LINE && !memchr(p, 0, n) && read_line(p, n, &choice, &where))
			rc = put(c, p, n, where);
		else if (n)
			c->skipped++;
		p += n + 1;
	}
	free(data);
	return rc;
}

static int save(const struct kc_cudnn_cache *c)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	char *slash = strrchr(c->path, '/');
	int rc = 0;

	if (!f)
		return KC_FAIL(KC_ENOMEM, "%s: out of memory", c->path);
	for (size_t i = 0; i < c->n; i++)
		fprintf(f, "%s\n", c->v[i].text);
	if (fclose(f))
		rc = KC_FAIL(KC_ENOMEM, "%s: out of memory", c->path);
	if (!rc && slash) {
		char *folder = kc_format("%.*s", (int)(slash - c->path), c->path);

		rc = folder ? kc_dir_make(folder) : KC_ENOMEM;
		free(folder);
	}
	if (!rc)
		rc = kc_file_write(c->path, text, size);
	free(text);
	return rc;
}

/* ---- what others call ---- */

int kc_cudnn_cache_open(struct kc_cudnn_cache **out, const char *path, const char *device)
{
	struct kc_cudnn_cache *c = kc_calloc(1, sizeof *c);
	int rc = KC_ENOMEM;

	if (!c)
		return KC_ENOMEM;
	c->path = path ? kc_strdup(path) : NULL;
	c->device = kc_strdup(device);
	if ((c->path || !path) && c->device)
		rc = load(c);
	if (rc < 0) {
		kc_cudnn_cache_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void kc_cudnn_cache_free(struct kc_cudnn_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->v[i].text);
	free(c->v);
	free(c->path);
	free(c->device);
	free(c);
}

int kc_cudnn_cache_skipped(const struct kc_cudnn_cache *c)
{
	return c->skipped;
}

bool kc_cudnn_cache_find(const struct kc_cudnn_cache *c, const char *key,
			 struct kc_cudnn_choice *choice)
{
	char where[LINE];
	int n = write_where(c, key, where);
	const struct line *l = n < LINE ? find(c, where, (size_t)n) : NULL;
	size_t unused;

	return l && read_line(l->text, strlen(l->text), choice, &unused);
}

int kc_cudnn_cache_add(struct kc_cudnn_cache *c, const char *key,
		       const struct kc_cudnn_choice *choice)
{
	char text[LINE], where[LINE];
	int n = write_where(c, key, where);

	if (n >= LINE)
		return KC_FAIL(KC_EINVAL, "choices of engines: the key is too long");
	KC_TRY(load(c));
	write_line(c, key, choice, text);
	KC_TRY(put(c, text, strlen(text), (size_t)n));
	return c->path ? save(c) : 0;
}
