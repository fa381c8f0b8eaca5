#include "core/option.h"

#include "core/hash.h"
#include "core/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_LENGTH = 128, NUMBER_LENGTH = 64 };

/* One member's value on its way between text and struct. */
union value {
	bool truth;
	int64_t integer;
	double real;
	char *text;
	struct kc_ints ints;
	struct kc_reals reals;
};

static const size_t sizes[] = {
	[KC_OPT_BOOL] = sizeof(bool),
	[KC_OPT_INT] = sizeof(int64_t),
	[KC_OPT_REAL] = sizeof(double),
	[KC_OPT_TEXT] = sizeof(char *),
	[KC_OPT_ENUM] = sizeof(int64_t),
	[KC_OPT_INTS] = sizeof(struct kc_ints),
	[KC_OPT_REALS] = sizeof(struct kc_reals),
};

static void free_value(enum kc_opt_type type, union value *v)
{
	switch (type) {
	case KC_OPT_TEXT: free(v->text); break;
	case KC_OPT_INTS: free(v->ints.v); break;
	case KC_OPT_REALS: free(v->reals.v); break;
	case KC_OPT_BOOL: case KC_OPT_INT: case KC_OPT_REAL: case KC_OPT_ENUM: break;
	}
}

static void *member(const struct kc_opt *row, void *obj)
{
	return (char *)obj + row->offset;
}

static union value stored(const struct kc_opt *row, const void *obj)
{
	union value v;

	memset(&v, 0, sizeof v);
	memcpy(&v, (const char *)obj + row->offset, sizes[row->type]);
	return v;
}

static bool owns_member(const struct kc_opt *row)
{
	return !(row->flags & (KC_OPT_ALIAS | KC_OPT_NOEFFECT));
}

/* --- what is expected, in words --------------------------------------------------- */

static bool has_bounds(const struct kc_opt *row)
{
	return (row->min != 0 || row->max != 0) && (isfinite(row->min) || isfinite(row->max));
}

static void put_bounds(const struct kc_opt *row, FILE *out)
{
	if (!has_bounds(row))
		return;
	if (isinf(row->max))
		fprintf(out, " of at least %.15g", row->min);
	else if (isinf(row->min))
		fprintf(out, " of at most %.15g", row->max);
	else
		fprintf(out, " in %.15g..%.15g", row->min, row->max);
}

static void put_choices(const char *choices, FILE *out)
{
	fputs("one of ", out);
	for (; *choices; choices++) {
		if (*choices == '|')
			fputs(", ", out);
		else if (*choices == '=')
			fputs(" or ", out);
		else
			fputc(*choices, out);
	}
}

static void put_expected(const struct kc_opt *row, FILE *out)
{
	static const char *const words[] = {
		[KC_OPT_BOOL] = "true or false",
		[KC_OPT_INT] = "an integer",
		[KC_OPT_REAL] = "a number",
		[KC_OPT_TEXT] = "a text",
		[KC_OPT_ENUM] = "",
		[KC_OPT_INTS] = "a list of integers",
		[KC_OPT_REALS] = "a list of numbers",
	};

	fputs(words[row->type], out);
	if (row->type == KC_OPT_ENUM)
		put_choices(row->choices, out);
	put_bounds(row, out);
}

static int fail_value(const struct kc_opt *row, const char *text, const char *where)
{
	char *words = NULL, got[64];
	size_t n = 0;
	FILE *out = open_memstream(&words, &n);

	if (!out)
		return KC_FAIL(KC_ENOMEM, "out of memory");
	put_expected(row, out);
	if (fclose(out) != 0 || !words) {
		free(words);
		return KC_FAIL(KC_ENOMEM, "out of memory");
	}
	snprintf(got, sizeof got, "%s", text);
	for (char *p = got; *p; p++)
		if ((unsigned char)*p < 0x20)
			*p = '?';
	KC_FAIL(KC_ECONFIG, "%s%s%s: expected %s, got '%s'", where ? where : "", where ? ": " : "",
		row->key, words, got);
	free(words);
	return KC_ECONFIG;
}

/* --- text to value: false when the text is not of that type ----------------------- */

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

static bool in_bounds(const struct kc_opt *row, double x)
{
	return !has_bounds(row) || (x >= row->min && x <= row->max);
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

static const char *choice_name(const char *choices, int64_t index, size_t *n)
{
	while (index-- > 0)
		choices += strcspn(choices, "|") + 1;
	*n = strcspn(choices, "|=");
	return choices;
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

static bool read_item(const struct kc_opt *row, const char *item, union value *v)
{
	if (row->type == KC_OPT_INTS)
		return read_int(row, item, &v->ints.v[v->ints.n++]);
	return read_real(row, item, &v->reals.v[v->reals.n++]);
}

/* Behind "[", if there was one. */
static bool read_items(const struct kc_opt *row, const char *p, bool bracket, union value *v)
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

static int read_list(const struct kc_opt *row, const char *text, union value *v)
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

/* KC_EFORMAT: the text does not fit the row. */
static int read_value(const struct kc_opt *row, const char *text, union value *v)
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

int kc_opt_set(const struct kc_opt *row, void *obj, const char *text, const char *where)
{
	union value v, old;
	int rc;

	memset(&v, 0, sizeof v);
	rc = read_value(row, text, &v);
	if (rc < 0 || row->flags & KC_OPT_NOEFFECT) {
		free_value(row->type, &v);
		return rc == KC_EFORMAT ? fail_value(row, text, where) : rc;
	}
	old = stored(row, obj);
	free_value(row->type, &old);
	memcpy(member(row, obj), &v, sizes[row->type]);
	return 0;
}

int kc_opt_defaults(const struct kc_opt *rows, size_t n, void *obj)
{
	for (size_t i = 0; i < n; i++)
		if (owns_member(&rows[i]))
			KC_TRY(kc_opt_set(&rows[i], obj, rows[i].def, "default"));
	return 0;
}

void kc_opt_release(const struct kc_opt *rows, size_t n, void *obj)
{
	for (size_t i = 0; i < n; i++) {
		union value v;

		if (!owns_member(&rows[i]))
			continue;
		v = stored(&rows[i], obj);
		free_value(rows[i].type, &v);
		memset(member(&rows[i], obj), 0, sizes[rows[i].type]);
	}
}

/* --- keys --------------------------------------------------------------------------- */

/* Levenshtein's edit distance of the first KEY_LENGTH characters; case does not count. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t row[KEY_LENGTH + 1], n = strnlen(a, KEY_LENGTH), m = strnlen(b, KEY_LENGTH);

	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t swap = corner + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);

			corner = row[j];
			row[j] = KC_MIN(swap, KC_MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[m];
}

static const char *last_part(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? dot + 1 : key;
}

/* A right name in the wrong section is nearly right. */
static size_t key_distance(const char *a, const char *b)
{
	size_t whole = edit_distance(a, b), part = edit_distance(last_part(a), last_part(b)) + 1;

	return KC_MIN(whole, part);
}

const struct kc_opt *kc_opt_find(const struct kc_opt *rows, size_t n, const char *key)
{
	const struct kc_opt *best = NULL;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].key, key) == 0)
			return &rows[i];
	for (size_t i = 0; i < n; i++) {
		size_t d = key_distance(key, rows[i].key);

		if (d < least) {
			least = d;
			best = &rows[i];
		}
	}
	KC_FAIL(KC_ECONFIG, "unknown key '%.100s', the nearest is '%s'", key,
		best ? best->key : "");
	return NULL;
}

/* --- value to text ------------------------------------------------------------------- */

/* True when YAML would read the bare text as something else. */
static bool needs_quotes(const char *text)
{
	return strchr("-.", text[0]) || text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-")];
}

static void put_list(const struct kc_opt *row, const union value *v, FILE *out)
{
	bool ints = row->type == KC_OPT_INTS;
	size_t n = ints ? v->ints.n : v->reals.n;

	fputc('[', out);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : "", out);
		if (ints)
			fprintf(out, "%lld", (long long)v->ints.v[i]);
		else
			kc_json_put_number(out, v->reals.v[i]);
	}
	fputc(']', out);
}

/* `yaml` quotes texts that YAML would not read back bare. */
static void put_value(const struct kc_opt *row, const void *obj, bool yaml, FILE *out)
{
	union value v = stored(row, obj);
	const char *name;
	size_t n;

	switch (row->type) {
	case KC_OPT_BOOL:
		fputs(v.truth ? "true" : "false", out);
		break;
	case KC_OPT_INT:
		fprintf(out, "%lld", (long long)v.integer);
		break;
	case KC_OPT_REAL:
		kc_json_put_number(out, v.real);
		break;
	case KC_OPT_TEXT:
		if (yaml && v.text && needs_quotes(v.text))
			kc_json_put_text(out, v.text);
		else
			fputs(v.text ? v.text : "~", out);
		break;
	case KC_OPT_ENUM:
		name = choice_name(row->choices, v.integer, &n);
		fprintf(out, "%.*s", (int)n, name);
		break;
	case KC_OPT_INTS: case KC_OPT_REALS:
		put_list(row, &v, out);
		break;
	}
}

char *kc_opt_text(const struct kc_opt *row, const void *obj)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (out) {
		put_value(row, obj, false, out);
		fclose(out);
	}
	if (!text)
		KC_FAIL(KC_ENOMEM, "out of memory");
	return text;
}

void kc_opt_help(const struct kc_opt *rows, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct kc_opt *r = &rows[i];

		fprintf(out, "  %s: ", r->key);
		put_expected(r, out);
		if (r->unit)
			fprintf(out, " [%s]", r->unit);
		if (owns_member(r))
			fprintf(out, ", default %s", r->def);
		fprintf(out, "\n      %s%s\n", r->flags & KC_OPT_NOEFFECT ? "(no effect) " : "",
			r->help);
	}
}

/* Prints the section lines in which key differs from the key before, then indents. */
static void put_sections(const char *before, const char *key, FILE *out)
{
	size_t start = 0;
	bool same = true;
	int depth = 0;

	for (const char *dot = strchr(key, '.'); dot; dot = strchr(dot + 1, '.'), depth++) {
		size_t end = (size_t)(dot - key) + 1;

		same = same && strncmp(before, key, end) == 0;
		if (!same)
			fprintf(out, "%s%*s%.*s:\n", depth ? "" : "\n", 2 * depth, "",
				(int)(end - 1 - start), key + start);
		start = end;
	}
	fprintf(out, "%*s%s: ", 2 * depth, "", last_part(key));
}

int kc_opt_dump(const struct kc_opt *rows, size_t n, const void *obj, FILE *out)
{
	const char *before = "";

	for (size_t i = 0; i < n; i++) {
		if (!owns_member(&rows[i]))
			continue;
		put_sections(before, rows[i].key, out);
		put_value(&rows[i], obj, true, out);
		fputc('\n', out);
		before = rows[i].key;
	}
	return ferror(out) ? KC_FAIL(KC_EIO, "cannot write the configuration") : 0;
}

static uint64_t hash_value(const struct kc_opt *row, const void *obj, uint64_t h)
{
	union value v = stored(row, obj);
	const char *text = "";
	size_t n;

	switch (row->type) {
	case KC_OPT_BOOL:
		return kc_hash64(&v.truth, sizeof v.truth, h);
	case KC_OPT_INT:
		return kc_hash64(&v.integer, sizeof v.integer, h);
	case KC_OPT_REAL:
		v.real += 0.0;  /* -0 and 0 are the same number */
		return kc_hash64(&v.real, sizeof v.real, h);
	case KC_OPT_TEXT:
		return kc_hash64(v.text ? v.text : "~", v.text ? strlen(v.text) : 1, h);
	case KC_OPT_ENUM:
		text = choice_name(row->choices, v.integer, &n);
		return kc_hash64(text, n, h);
	case KC_OPT_INTS:
		return kc_hash64(v.ints.n ? (void *)v.ints.v : "", v.ints.n * sizeof *v.ints.v, h);
	case KC_OPT_REALS:
		return kc_hash64(v.reals.n ? (void *)v.reals.v : "",
				 v.reals.n * sizeof *v.reals.v, h);
	}
	return h;
}

static bool is_default(const struct kc_opt *row, const void *obj, uint64_t key)
{
	struct kc_opt alone = *row;
	union value v;
	bool same;

	memset(&v, 0, sizeof v);
	alone.offset = 0;
	same = read_value(row, row->def, &v) == 0 &&
	       hash_value(&alone, &v, key) == hash_value(row, obj, key);
	free_value(row->type, &v);
	return same;
}

uint64_t kc_opt_hash(const struct kc_opt *rows, size_t n, const void *obj)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t key = kc_hash64(rows[i].key, strlen(rows[i].key), 0);

		if (!(rows[i].flags & KC_OPT_RESULT) ||
		    (rows[i].flags & KC_OPT_LATER && is_default(&rows[i], obj, key)))
			continue;
		sum += hash_value(&rows[i], obj, key);
	}
	return sum;
}
