#include "data/keys.h"

#include "core/file.h"
#include "core/pickle.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_BYTES = 64 << 20, DIGITS = 9 };

/* Part of a message: at most 60 printable characters of a name from a file. */
struct shown {
	char text[64];
};

static struct shown show(const char *s, size_t n)
{
	struct shown out = {{0}};

	for (size_t i = 0; i < n && i < 60; i++)
		out.text[i] = iscntrl((unsigned char)s[i]) ? '?' : s[i];
	return out;
}

/* A name that stays inside its folder. */
static bool is_plain_name(const char *s, size_t n)
{
	if (n == 0 || n > 255 || memchr(s, '/', n) || memchr(s, 0, n))
		return false;
	return !(n <= 2 && s[0] == '.' && s[n - 1] == '.');
}

/* Cuts "_123" off the end of s[0..*n). */
static bool cut_number(const char *s, size_t *n, int64_t *value)
{
	size_t i = *n;

	while (i > 0 && isdigit((unsigned char)s[i - 1]))
		i--;
	if (i == *n || *n - i > DIGITS || i == 0 || s[i - 1] != '_')
		return false;
	*value = 0;
	for (size_t k = i; k < *n; k++)
		*value = *value * 10 + (s[k] - '0');
	*n = i - 1;
	return true;
}

static int add_key(struct kc_keys *keys, size_t *room, const char *clip, size_t n,
		   int64_t start, int64_t last)
{
	char *name;

	if (!is_plain_name(clip, n))
		return KC_FAIL(KC_EFORMAT, "\"%s\" is no name of a clip", show(clip, n).text);
	if (keys->n == *room) {
		struct kc_key *v = kc_realloc(keys->v, 2 * *room + 16, sizeof *v);

		if (!v)
			return KC_ENOMEM;
		keys->v = v;
		*room = 2 * *room + 16;
	}
	name = kc_alloc(n + 1);
	if (!name)
		return KC_ENOMEM;
	memcpy(name, clip, n);
	name[n] = 0;
	keys->v[keys->n++] = (struct kc_key){name, start, last};
	return 0;
}

static int add_pickled(struct kc_keys *keys, size_t *room, const struct kc_pickle_value *v)
{
	int64_t start, last;
	size_t n = v->n;

	if (v->type != KC_PICKLE_TEXT)
		return KC_FAIL(KC_EFORMAT, "key %zu is %s, text expected", keys->n,
			       kc_pickle_type_name(v->type));
	if (!cut_number(v->text, &n, &last) || !cut_number(v->text, &n, &start))
		return KC_FAIL(KC_EFORMAT, "key \"%s\", CLIP_START_LAST expected",
			       show(v->text, v->n).text);
	if (start > last)
		return KC_FAIL(KC_EFORMAT, "key \"%s\" starts after its last frame",
			       show(v->text, v->n).text);
	return add_key(keys, room, v->text, n, start, last);
}

static int read_pickled(struct kc_keys *keys, const char *data, size_t size)
{
	const struct kc_pickle_value *root, *list;
	struct kc_pickle *p;
	size_t room = 0;
	int rc = 0;

	KC_TRY(kc_pickle_read(data, size, NULL, &p));
	root = kc_pickle_root(p);
	list = kc_pickle_get(root, "keys");
	if (root->type != KC_PICKLE_DICT)
		rc = KC_FAIL(KC_EFORMAT, "%s, a dict expected", kc_pickle_type_name(root->type));
	else if (!list || (list->type != KC_PICKLE_LIST && list->type != KC_PICKLE_TUPLE))
		rc = KC_FAIL(KC_EFORMAT, "a list named \"keys\" expected");
	for (size_t i = 0; rc >= 0 && i < list->n; i++)
		rc = add_pickled(keys, &room, list->item[i]);
	kc_pickle_free(p);
	return rc;
}

static int read_text(struct kc_keys *keys, const char *data, size_t size)
{
	size_t room = 0, line = 1;

	for (const char *at = data, *end = data + size; at < end; line++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		const char *next = stop ? stop + 1 : end;
		size_t n = (size_t)((stop ? stop : end) - at);
		int rc = 0;

		while (n && isspace((unsigned char)at[n - 1]))
			n--;
		if (n && *at != '#')
			rc = add_key(keys, &room, at, n, -1, -1);
		if (rc < 0)
			return kc_cause(rc, "line %zu", line);
		at = next;
	}
	return 0;
}

static bool is_pickle_name(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && !strcmp(path + n - 4, ".pkl");
}

int kc_keys_read(const char *path, struct kc_keys *keys)
{
	char *data;
	size_t size;
	int rc;

	memset(keys, 0, sizeof *keys);
	KC_TRY(kc_file_read(path, LIST_BYTES, &data, &size));
	rc = is_pickle_name(path) ? read_pickled(keys, data, size) : read_text(keys, data, size);
	free(data);
	if (rc >= 0 && !keys->n)
		rc = KC_FAIL(KC_EFORMAT, "the list is empty");
	if (rc < 0) {
		kc_keys_free(keys);
		return kc_cause(rc, "%s", path);
	}
	return 0;
}

void kc_keys_free(struct kc_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		free(keys->v[i].clip);
	free(keys->v);
	memset(keys, 0, sizeof *keys);
}
