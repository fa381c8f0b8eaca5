#include "core/json.h"

#include "core/file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 << 10, NUMBER_LENGTH = 512 };

/* Values and texts live in chunks that die together. */
struct chunk {
	struct chunk *next;
	size_t used, size;
	max_align_t bytes[];
};

struct document {
	struct kc_json root;    /* first: what callers hold */
	struct chunk *chunks;
};

struct parser {
	const char *start, *p, *end;
	struct document *doc;
	size_t values;
	int depth;
};

static int parse_value(struct parser *, struct kc_json *v);

static int fail(struct parser *in, const char *what)
{
	size_t line = 1, column = 1;

	for (const char *p = in->start; p < in->p; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	return KC_FAIL(KC_EFORMAT, "line %zu, column %zu: %s", line, column, what);
}

static void *take(struct document *doc, size_t size)
{
	struct chunk *c = doc->chunks;
	void *p;

	size = (size + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
	if (!c || c->size - c->used < size) {
		size_t room = KC_MAX(size, (size_t)CHUNK);

		c = kc_alloc(sizeof *c + room);
		if (!c)
			return NULL;
		c->next = doc->chunks;
		c->used = 0;
		c->size = room;
		doc->chunks = c;
	}
	p = (char *)c->bytes + c->used;
	c->used += size;
	return p;
}

static void skip_space(struct parser *in)
{
	while (in->p < in->end && memchr(" \t\n\r", *in->p, 4))
		in->p++;
}

static bool accept(struct parser *in, char c)
{
	if (in->p == in->end || *in->p != c)
		return false;
	in->p++;
	return true;
}

static int parse_word(struct parser *in, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(in->end - in->p) < n || memcmp(in->p, word, n) != 0)
		return fail(in, "expected a value");
	in->p += n;
	return 0;
}

/* Length of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates), 0 if none. */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
	unsigned lead = p[0], low = 0x80, high = 0xBF;
	size_t n = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3
		 : lead < 0xF5 ? 4 : 0;

	if (n < 2)
		return n;
	if ((size_t)(end - p) < n)
		return 0;
	if (lead == 0xE0)
		low = 0xA0;
	if (lead == 0xED)
		high = 0x9F;
	if (lead == 0xF0)
		low = 0x90;
	if (lead == 0xF4)
		high = 0x8F;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return n;
}

bool kc_utf8_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + len;

	while (p < end) {
		size_t n = utf8_length(p, end);

		if (!n)
			return false;
		p += n;
	}
	return true;
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xC0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3F));
	} else if (c < 0x10000) {
		*out++ = (char)(0xE0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3F));
		*out++ = (char)(0x80 | (c & 0x3F));
	} else {
		*out++ = (char)(0xF0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3F));
		*out++ = (char)(0x80 | (c >> 6 & 0x3F));
		*out++ = (char)(0x80 | (c & 0x3F));
	}
	return out;
}

static int parse_hex4(struct parser *in, uint32_t *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++) {
		char c = in->p < in->end ? *in->p : '\0';
		uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0')
			       : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
			       : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10) : 16;

		if (digit == 16)
			return fail(in, "expected four hexadecimal digits");
		*code = *code << 4 | digit;
		in->p++;
	}
	return 0;
}

/* Behind the backslash and the u; a pair of surrogates makes one character. */
static int parse_unicode(struct parser *in, char **out)
{
	uint32_t code, low;

	KC_TRY(parse_hex4(in, &code));
	if (code == 0)
		return fail(in, "a NUL character is not allowed");
	if (code >= 0xD800 && code < 0xE000) {
		if (code >= 0xDC00 || !accept(in, '\\') || !accept(in, 'u'))
			return fail(in, "lone surrogate");
		KC_TRY(parse_hex4(in, &low));
		if (low < 0xDC00 || low >= 0xE000)
			return fail(in, "lone surrogate");
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	*out = put_utf8(*out, code);
	return 0;
}

static int parse_escape(struct parser *in, char **out)
{
	static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (accept(in, 'u'))
		return parse_unicode(in, out);
	at = in->p < in->end ? memchr(letters, *in->p, sizeof letters - 1) : NULL;
	if (!at)
		return fail(in, "unknown escape");
	in->p++;
	*(*out)++ = meaning[at - letters];
	return 0;
}

/* Length of the raw text up to its closing quote: decoding never makes it longer. */
static size_t raw_length(const struct parser *in)
{
	const char *p = in->p;

	for (; p < in->end && *p != '"'; p++)
		if (*p == '\\' && p + 1 < in->end)
			p++;
	return (size_t)(p - in->p);
}

static int parse_text(struct parser *in, const char **text, size_t *len)
{
	char *out, *begin;

	if (!accept(in, '"'))
		return fail(in, "expected a quoted text");
	begin = out = take(in->doc, raw_length(in) + 1);
	if (!out)
		return KC_ENOMEM;
	while (!accept(in, '"')) {
		size_t n;

		if (in->p == in->end)
			return fail(in, "text without closing quote");
		if (accept(in, '\\')) {
			KC_TRY(parse_escape(in, &out));
			continue;
		}
		if ((unsigned char)*in->p < 0x20)
			return fail(in, "control character in a text");
		n = utf8_length((const unsigned char *)in->p, (const unsigned char *)in->end);
		if (!n)
			return fail(in, "text is not valid UTF-8");
		memcpy(out, in->p, n);
		out += n;
		in->p += n;
	}
	*out = '\0';
	*text = begin;
	*len = (size_t)(out - begin);
	return 0;
}

static size_t skip_digits(struct parser *in)
{
	const char *begin = in->p;

	while (in->p < in->end && *in->p >= '0' && *in->p <= '9')
		in->p++;
	return (size_t)(in->p - begin);
}

/* Moves over one number; *whole tells that it has neither point nor exponent. */
static int scan_number(struct parser *in, bool *whole)
{
	*whole = true;
	accept(in, '-');
	if (!accept(in, '0') && !skip_digits(in))
		return fail(in, "expected a value");
	if (accept(in, '.')) {
		*whole = false;
		if (!skip_digits(in))
			return fail(in, "expected a digit behind the point");
	}
	if (accept(in, 'e') || accept(in, 'E')) {
		*whole = false;
		if (!accept(in, '-'))
			accept(in, '+');
		if (!skip_digits(in))
			return fail(in, "expected the digits of the exponent");
	}
	return 0;
}

static int parse_number(struct parser *in, struct kc_json *v)
{
	const char *begin = in->p;
	char copy[NUMBER_LENGTH];
	bool whole;
	size_t n;

	KC_TRY(scan_number(in, &whole));
	n = (size_t)(in->p - begin);
	if (n >= sizeof copy)
		return fail(in, "number is too long");
	memcpy(copy, begin, n);
	copy[n] = '\0';
	v->kind = KC_JSON_NUMBER;
	v->number = strtod(copy, NULL);
	if (!isfinite(v->number))
		return fail(in, "number is out of range");
	if (whole) {
		errno = 0;
		v->integer = strtoll(copy, NULL, 10);
		v->is_int = errno == 0;
	}
	return 0;
}

static int append_value(struct parser *in, struct kc_json *parent, struct kc_json ***tail,
			struct kc_json **child)
{
	struct kc_json *v;

	if (++in->values > KC_JSON_VALUES)
		return fail(in, "too many values");
	v = take(in->doc, sizeof *v);
	if (!v)
		return KC_ENOMEM;
	memset(v, 0, sizeof *v);
	**tail = v;
	*tail = &v->next;
	parent->n++;
	*child = v;
	return 0;
}

/* Behind "[": elements up to "]". */
static int parse_array(struct parser *in, struct kc_json *array)
{
	struct kc_json **tail = &array->first, *element;

	array->kind = KC_JSON_ARRAY;
	skip_space(in);
	if (accept(in, ']'))
		return 0;
	for (;;) {
		KC_TRY(append_value(in, array, &tail, &element));
		KC_TRY(parse_value(in, element));
		skip_space(in);
		if (accept(in, ']'))
			return 0;
		if (!accept(in, ','))
			return fail(in, "expected ',' or ']'");
	}
}

static int compare_keys(const void *a, const void *b)
{
	const struct kc_json *x = *(struct kc_json *const *)a, *y = *(struct kc_json *const *)b;

	return strcmp(x->key, y->key);
}

/* Sorts the members, which finds duplicates without quadratic time. */
static int index_object(struct parser *in, struct kc_json *object)
{
	size_t i = 0;

	object->by_key = take(in->doc, object->n * sizeof(struct kc_json *));
	if (!object->by_key)
		return KC_ENOMEM;
	for (struct kc_json *m = object->first; m; m = m->next)
		object->by_key[i++] = m;
	qsort(object->by_key, object->n, sizeof *object->by_key, compare_keys);
	for (i = 1; i < object->n; i++)
		if (strcmp(object->by_key[i - 1]->key, object->by_key[i]->key) == 0)
			return KC_FAIL(KC_EFORMAT, "duplicate key \"%.200s\"",
				       object->by_key[i]->key);
	return 0;
}

/* Behind "{": members up to "}". */
static int parse_object(struct parser *in, struct kc_json *object)
{
	struct kc_json **tail = &object->first, *member;

	object->kind = KC_JSON_OBJECT;
	skip_space(in);
	if (accept(in, '}'))
		return 0;
	for (;;) {
		KC_TRY(append_value(in, object, &tail, &member));
		skip_space(in);
		KC_TRY(parse_text(in, &member->key, &member->key_len));
		skip_space(in);
		if (!accept(in, ':'))
			return fail(in, "expected ':'");
		KC_TRY(parse_value(in, member));
		skip_space(in);
		if (accept(in, '}'))
			return index_object(in, object);
		if (!accept(in, ','))
			return fail(in, "expected ',' or '}'");
	}
}

static int parse_nested(struct parser *in, struct kc_json *v)
{
	int rc;

	if (++in->depth > KC_JSON_DEPTH)
		return fail(in, "nested too deeply");
	rc = *in->p++ == '[' ? parse_array(in, v) : parse_object(in, v);
	in->depth--;
	return rc;
}

static int parse_value(struct parser *in, struct kc_json *v)
{
	skip_space(in);
	if (in->p == in->end)
		return fail(in, "expected a value, not the end");
	switch (*in->p) {
	case '[':
	case '{':
		return parse_nested(in, v);
	case '"':
		v->kind = KC_JSON_TEXT;
		return parse_text(in, &v->text, &v->len);
	case 'n':
		v->kind = KC_JSON_NULL;
		return parse_word(in, "null");
	case 't':
	case 'f':
		v->kind = KC_JSON_BOOL;
		v->truth = *in->p == 't';
		return parse_word(in, v->truth ? "true" : "false");
	default:
		return parse_number(in, v);
	}
}

int kc_json_parse(const char *text, size_t len, struct kc_json **root)
{
	struct document *doc;
	struct parser in = {.start = text, .p = text, .end = text + len};
	int rc;

	*root = NULL;
	if (len > KC_JSON_BYTES)
		return KC_FAIL(KC_EFORMAT, "%zu bytes of JSON, at most %d are read", len,
			       (int)KC_JSON_BYTES);
	doc = kc_calloc(1, sizeof *doc);
	if (!doc)
		return KC_ENOMEM;
	in.doc = doc;
	rc = parse_value(&in, &doc->root);
	skip_space(&in);
	if (rc == 0 && in.p != in.end)
		rc = fail(&in, "expected the end");
	if (rc < 0)
		kc_json_free(&doc->root);
	else
		*root = &doc->root;
	return rc;
}

int kc_json_load(const char *path, struct kc_json **root)
{
	char *text;
	size_t len;
	int rc;

	*root = NULL;
	KC_TRY(kc_file_read(path, KC_JSON_BYTES, &text, &len));
	rc = kc_json_parse(text, len, root);
	free(text);
	return rc < 0 ? kc_cause(rc, "%s", path) : rc;
}

void kc_json_free(struct kc_json *root)
{
	struct document *doc = (struct document *)root;

	if (!doc)
		return;
	for (struct chunk *c = doc->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(doc);
}

const struct kc_json *kc_json_get(const struct kc_json *v, const char *key)
{
	const struct kc_json wanted = {.key = key}, *p = &wanted;
	struct kc_json *const *found;

	if (!v || v->kind != KC_JSON_OBJECT || !v->n)
		return NULL;
	found = bsearch(&p, v->by_key, v->n, sizeof *v->by_key, compare_keys);
	return found ? *found : NULL;
}

void kc_json_put_text(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(out, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

void kc_json_put_number(FILE *out, double x)
{
	char text[40];

	if (!isfinite(x)) {
		fputs("null", out);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, x);
		if (strtod(text, NULL) == x)
			break;
	}
	fputs(text, out);
}
