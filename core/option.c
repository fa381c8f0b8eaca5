#include "core/option_private.h"

#include "core/hash.h"
#include "core/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_LENGTH = 128 };

static const size_t sizes[] = {
	[KC_OPT_BOOL] = sizeof(bool),
	[KC_OPT_INT] = sizeof(int64_t),
	[KC_OPT_REAL] = sizeof(double),
	[KC_OPT_TEXT] = sizeof(char *),
	[KC_OPT_ENUM] = sizeof(int64_t),
	[KC_OPT_INTS] = sizeof(struct kc_ints),
	[KC_OPT_REALS] = sizeof(struct kc_reals),
};

static void free_value(enum kc_opt_type type, union kc_opt_value *v)
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

static union kc_opt_value stored(const struct kc_opt *row, const void *obj)
{
	union kc_opt_value v;

	memset(&v, 0, sizeof v);
	memcpy(&v, (const char *)obj + row->offset, sizes[row->type]);
	return v;
}

static bool owns_member(const struct kc_opt *row)
{
	return !(row->flags & (KC_OPT_ALIAS | KC_OPT_NOEFFECT));
}

/* --- what is expected, in words --------------------------------------------------- */

static void put_bounds(const struct kc_opt *row, FILE *out)
{
	if (!kc_opt_has_bounds(row))
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

/* --- members ------------------------------------------------------------------------- */

int kc_opt_set(const struct kc_opt *row, void *obj, const char *text, const char *where)
{
	union kc_opt_value v, old;
	int rc;

	memset(&v, 0, sizeof v);
	rc = kc_opt_read(row, text, &v);
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
		union kc_opt_value v;

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

static const char *choice_name(const char *choices, int64_t index, size_t *n)
{
	while (index-- > 0)
		choices += strcspn(choices, "|") + 1;
	*n = strcspn(choices, "|=");
	return choices;
}

/* True when YAML would read the bare text as something else. */
static bool needs_quotes(const char *text)
{
	return strchr("-.", text[0]) || text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-")];
}

static void put_list(const struct kc_opt *row, const union kc_opt_value *v, FILE *out)
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
	union kc_opt_value v = stored(row, obj);
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
	union kc_opt_value v = stored(row, obj);
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
	union kc_opt_value v;
	bool same;

	memset(&v, 0, sizeof v);
	alone.offset = 0;
	same = kc_opt_read(row, row->def, &v) == 0 &&
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
