#include "core/option_private.h"

#include "core/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NUMBER_LENGTH = 64 };

/* Copies text without surrounding space and a leading YAML tag of numbers. */
static bool trim_number(const char *text, char out[NUMBER_LENGTH])
{
	static const char *const tags[] = {"!!float", "!!int"};
	size_t n;

	text += strspn(text, " \t");
	for (size_t i = 0; i < KC_COUNT(tags); i++)
		if (strncmp(text, tags[i], strlen(tags[i])) == 0)
			text += strlen(tags[i]);
	text += strspn(text, " \t");
	n = strlen(text);
	while (n && strchr(" \t", text[n - 1]))
		n--;
	if (n == 0 || n >= NUMBER_LENGTH)
		return false;
	memcpy(out, text, n);
	out[n] = '\0';
	return true;
}

bool kc_opt_has_bounds(const struct kc_opt *row)
{
	return (row->min != 0 || row->max != 0) && (isfinite(row->min) || isfinite(row->max));
}

static bool in_bounds(const struct kc_opt *row, double x)
{
	return !kc_opt_has_bounds(row) || (x >= row->min && x <= row->max);
}

static bool read_real(const struct kc_opt *row, const char *text, double *x)
{
	char number[NUMBER_LENGTH], *end;

	/* strtod alone would take hexadecimal, inf and nan */
	if (!trim_number(text, number) || number[strspn(number, "0123456789+-.eE")])
		return false;
	*x = strtod(number, &end);
	return !*end && end != number && isfinite(*x) && in_bounds(row, *x);
}

static bool read_int(const struct kc_opt *row, const char *text, int64_t *i)
{
	char number[NUMBER_LENGTH], *end;
	double x;

	if (!trim_number(text, number))
		return false;
	errno = 0;
	*i = strtoll(number, &end, 10);
	if (!*end && errno == 0)
		return in_bounds(row, (double)*i);
	/* 2e3 and 2000.0 are integers too, as far as doubles are exact */
	if (!read_real(row, text, &x) || fabs(x) > 0x1p53 || x != floor(x))
		return false;
	*i = (int64_t)x;
	return true;
}

static bool read_bool(const char *text, bool *truth)
{
	static const char *const names[2][3] = {{"false", "no", "off"}, {"true", "yes", "on"}};

	for (int t = 0; t < 2; t++)
		for (int i = 0; i < 3; i++)
			if (strcasecmp(text, names[t][i]) == 0) {
				*truth = t;
				return true;
			}
	return false;
}

static bool read_choice(const char *choices, const char *text, int64_t *index)
{
	size_t n = strlen(text);

	*index = 0;
	while (*choices) {
		size_t length = strcspn(choices, "|=");

		if (length == n && strncasecmp(choices, text, n) == 0)
			return true;
		choices += length;
		*index += *choices == '|';
		choices += *choices != '\0';
	}
	return false;
}

static bool is_null(const char *text)
{
	return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static bool is_clean_text(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7F)
			return false;
	return kc_utf8_valid(text, strlen(text));
}

/* Cuts the next item of a list off *p; false when it is empty or too long for a number. */
static bool next_item(const char **p, char item[NUMBER_LENGTH])
{
	size_t n = strcspn(*p, ",]");
	bool fits = n > 0 && n < NUMBER_LENGTH;

	if (fits) {
		memcpy(item, *p, n);
		item[n] = '\0';
	}
	*p += n;
	return fits;
}

static bool read_item(const struct kc_opt *row, const char *item, union kc_opt_value *v)
{
	if (row->type == KC_OPT_INTS)
		return read_int(row, item, &v->ints.v[v->ints.n++]);
	return read_real(row, item, &v->reals.v[v->reals.n++]);
}

/* Behind "[", if there was one. */
static bool read_items(const struct kc_opt *row, const char *p, bool bracket, union kc_opt_value *v)
{
	char item[NUMBER_LENGTH];

	for (;; p++) {
		if (!next_item(&p, item) || !read_item(row, item, v))
			return false;
		if (*p != ',')
			break;
	}
	if (bracket != (*p == ']'))
		return false;
	p += bracket;
	return !p[strspn(p, " \t")];
}

static bool is_empty_list(const char *text)
{
	size_t close = *text == '[' ? 1 + strspn(text + 1, " \t") : 0;

	return is_null(text) || (close && strcmp(text + close, "]") == 0);
}

static int read_list(const struct kc_opt *row, const char *text, union kc_opt_value *v)
{
	size_t room = 1;
	void *items;

	text += strspn(text, " \t");
	if (is_empty_list(text))
		return 0;
	for (const char *p = text; *p; p++)
		room += *p == ',';
	items = kc_calloc(room, sizeof(int64_t));
	if (!items)
		return KC_ENOMEM;
	if (row->type == KC_OPT_INTS)
		v->ints.v = items;
	else
		v->reals.v = items;
	return read_items(row, text + (*text == '['), *text == '[', v) ? 0 : KC_EFORMAT;
}

static int read_text(const char *text, char **out)
{
	if (!is_clean_text(text))
		return KC_EFORMAT;
	*out = is_null(text) ? NULL : kc_strdup(text);
	return *out || is_null(text) ? 0 : KC_ENOMEM;
}

int kc_opt_read(const struct kc_opt *row, const char *text, union kc_opt_value *v)
{
	bool fits = false;

	switch (row->type) {
	case KC_OPT_BOOL: fits = read_bool(text, &v->truth); break;
	case KC_OPT_INT: fits = read_int(row, text, &v->integer); break;
	case KC_OPT_REAL: fits = read_real(row, text, &v->real); break;
	case KC_OPT_ENUM: fits = read_choice(row->choices, text, &v->integer); break;
	case KC_OPT_TEXT: return read_text(text, &v->text);
	case KC_OPT_INTS: case KC_OPT_REALS: return read_list(row, text, v);
	}
	return fits ? 0 : KC_EFORMAT;
}
