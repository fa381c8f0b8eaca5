#include "core/pickle_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct kc_pickle_hooks no_hooks;

/* ---- stack ---- */

int kc_pickle_push(struct kc_pickle_reader *r, struct kc_pickle_value *v)
{
	if (!v)
		return KC_ENOMEM;
	KC_TRY(kc_make_room(&r->stack, r->n, &r->room, sizeof *r->stack));
	r->stack[r->n++] = v;
	return 0;
}

static size_t floor_of(const struct kc_pickle_reader *r)
{
	return r->n_marks ? r->marks[r->n_marks - 1] : 0;
}

int kc_pickle_peek(struct kc_pickle_reader *r, size_t below, struct kc_pickle_value **v)
{
	if (r->n - floor_of(r) <= below)
		return KC_FAIL(KC_EFORMAT, "an operand is missing on the stack");
	*v = r->stack[r->n - 1 - below];
	return 0;
}

int kc_pickle_pop(struct kc_pickle_reader *r, struct kc_pickle_value **v)
{
	KC_TRY(kc_pickle_peek(r, 0, v));
	r->n--;
	return 0;
}

static int push_mark(struct kc_pickle_reader *r)
{
	KC_TRY(kc_make_room(&r->marks, r->n_marks, &r->marks_room, sizeof *r->marks));
	r->marks[r->n_marks++] = r->n;
	return 0;
}

/* Removes the last mark; the values above it start at *first. */
static int pop_mark(struct kc_pickle_reader *r, size_t *first)
{
	if (!r->n_marks)
		return KC_FAIL(KC_EFORMAT, "a mark is missing on the stack");
	*first = r->marks[--r->n_marks];
	return 0;
}

/* ---- bytes ---- */

static int take(struct kc_pickle_reader *r, uint64_t n, const unsigned char **bytes)
{
	if (n > (uint64_t)(r->end - r->at))
		return KC_FAIL(KC_EFORMAT, "%llu bytes expected, %zu left", (unsigned long long)n,
			       (size_t)(r->end - r->at));
	*bytes = r->at;
	r->at += n;
	return 0;
}

/* A little-endian unsigned integer of 1 to 8 bytes. */
static int take_uint(struct kc_pickle_reader *r, size_t n, uint64_t *value)
{
	const unsigned char *b;

	KC_TRY(take(r, n, &b));
	*value = 0;
	for (size_t i = 0; i < n; i++)
		*value |= (uint64_t)b[i] << 8 * i;
	return 0;
}

int kc_pickle_read_line(struct kc_pickle_reader *r, const char **line, size_t *n)
{
	const unsigned char *end = memchr(r->at, '\n', (size_t)(r->end - r->at));

	if (!end)
		return KC_FAIL(KC_EFORMAT, "a line has no end");
	*line = (const char *)r->at;
	*n = (size_t)(end - r->at);
	r->at = end + 1;
	return 0;
}

/* A short line as a string: numbers. */
static int take_number(struct kc_pickle_reader *r, char *text, size_t room)
{
	const char *line;
	size_t n;

	KC_TRY(kc_pickle_read_line(r, &line, &n));
	if (n >= room || !n || isspace((unsigned char)*line) || memchr(line, 0, n))
		return KC_FAIL(KC_EFORMAT, "a number of %zu characters", n);
	memcpy(text, line, n);
	text[n] = 0;
	return 0;
}

static int line_to_int(struct kc_pickle_reader *r, bool is_long, int64_t *value)
{
	char text[32], *end;

	KC_TRY(take_number(r, text, sizeof text));
	errno = 0;
	*value = strtoll(text, &end, 10);
	if (is_long && *end == 'L')
		end++;
	if (errno || *end)
		return KC_FAIL(KC_EFORMAT, "an integer of 64 bits expected");
	return 0;
}

int kc_pickle_push_text(struct kc_pickle_reader *r, enum kc_pickle_type type, const void *bytes,
			size_t n)
{
	struct kc_pickle_value *v = kc_pickle_new(r->p, type);
	char *copy = v ? kc_pickle_take(r->p, n + 1) : NULL;

	if (!copy)
		return KC_ENOMEM;
	memcpy(copy, bytes, n);
	copy[n] = 0;
	v->text = copy;
	v->n = n;
	return kc_pickle_push(r, v);
}

/* Text or bytes whose length stands before them in `width` bytes. */
static int read_counted(struct kc_pickle_reader *r, enum kc_pickle_type type, size_t width)
{
	const unsigned char *b;
	uint64_t n;

	KC_TRY(take_uint(r, width, &n));
	KC_TRY(take(r, n, &b));
	return kc_pickle_push_text(r, type, b, (size_t)n);
}

static int read_line_text(struct kc_pickle_reader *r,
			  int (*decode)(const char *, size_t, char *, size_t *))
{
	const char *line;
	char *text;
	size_t n, text_n;
	int rc;

	KC_TRY(kc_pickle_read_line(r, &line, &n));
	text = kc_alloc(2 * n + 1);
	if (!text)
		return KC_ENOMEM;
	rc = decode(line, n, text, &text_n);
	if (rc >= 0)
		rc = kc_pickle_push_text(r, KC_PICKLE_TEXT, text, text_n);
	free(text);
	return rc;
}

/* ---- scalars ---- */

static int push_int(struct kc_pickle_reader *r, enum kc_pickle_type type, int64_t i)
{
	struct kc_pickle_value *v = kc_pickle_new(r->p, type);

	if (v)
		v->i = i;
	return kc_pickle_push(r, v);
}

static int push_real(struct kc_pickle_reader *r, double x)
{
	struct kc_pickle_value *v = kc_pickle_new(r->p, KC_PICKLE_REAL);

	if (v)
		v->real = x;
	return kc_pickle_push(r, v);
}

static int read_uint(struct kc_pickle_reader *r, size_t width)
{
	uint64_t x;

	KC_TRY(take_uint(r, width, &x));
	return push_int(r, KC_PICKLE_INT, width == 4 ? (int32_t)x : (int64_t)x);
}

/* LONG1, LONG4: two's complement of any length. */
static int read_long(struct kc_pickle_reader *r, size_t width)
{
	const unsigned char *b;
	uint64_t n, x = 0;

	KC_TRY(take_uint(r, width, &n));
	KC_TRY(take(r, n, &b));
	if (n > 8)
		return kc_pickle_push_text(r, KC_PICKLE_LONG, b, (size_t)n);
	for (size_t i = 0; i < n; i++)
		x |= (uint64_t)b[i] << 8 * i;
	if (n && n < 8 && b[n - 1] & 0x80)
		x |= UINT64_MAX << 8 * n;
	return push_int(r, KC_PICKLE_INT, (int64_t)x);
}

/* INT: also protocol 0's way to write bools, as 00 and 01. */
static int read_int_line(struct kc_pickle_reader *r, bool is_long)
{
	bool is_bool = !is_long && r->end - r->at > 2 && r->at[0] == '0' &&
		       (r->at[1] == '0' || r->at[1] == '1') && r->at[2] == '\n';
	int64_t i;

	KC_TRY(line_to_int(r, is_long, &i));
	return push_int(r, is_bool ? KC_PICKLE_BOOL : KC_PICKLE_INT, i);
}

static int read_real_line(struct kc_pickle_reader *r)
{
	char text[64], *end;
	double x;

	KC_TRY(take_number(r, text, sizeof text));
	x = strtod(text, &end);
	if (*end)
		return KC_FAIL(KC_EFORMAT, "a float expected");
	return push_real(r, x);
}

static int read_real(struct kc_pickle_reader *r)
{
	const unsigned char *b;
	uint64_t bits = 0;
	double x;

	KC_TRY(take(r, 8, &b));
	for (int i = 0; i < 8; i++)
		bits = bits << 8 | b[i];
	memcpy(&x, &bits, sizeof x);
	return push_real(r, x);
}

/* ---- containers ---- */

static int check_key(const struct kc_pickle_value *key)
{
	if (kc_pickle_holds_items(key) || key->type == KC_PICKLE_GLOBAL)
		return KC_FAIL(KC_EFORMAT, "%s as a key of a dict", kc_pickle_type_name(key->type));
	return 0;
}

/* Moves the values from `first` up into v. */
static int fill(struct kc_pickle_reader *r, struct kc_pickle_value *v, size_t first)
{
	bool dict = v->type == KC_PICKLE_DICT;

	if (dict && (r->n - first) % 2)
		return KC_FAIL(KC_EFORMAT, "a key without a value");
	for (size_t i = first; i < r->n; i++) {
		if (dict && (i - first) % 2 == 0)
			KC_TRY(check_key(r->stack[i]));
		KC_TRY(kc_pickle_append(r->p, v, r->stack[i]));
	}
	r->n = first;
	return 0;
}

/* Makes a container of the top n values. */
static int gather(struct kc_pickle_reader *r, enum kc_pickle_type type, size_t n)
{
	struct kc_pickle_value *v, *lowest;

	if (n)
		KC_TRY(kc_pickle_peek(r, n - 1, &lowest));
	v = kc_pickle_new(r->p, type);
	if (!v)
		return KC_ENOMEM;
	KC_TRY(fill(r, v, r->n - n));
	return kc_pickle_push(r, v);
}

static int gather_marked(struct kc_pickle_reader *r, enum kc_pickle_type type)
{
	size_t first;

	KC_TRY(pop_mark(r, &first));
	return gather(r, type, r->n - first);
}

/* APPENDS, SETITEMS and their kin: the values from `first` go into the container below them. */
static int extend(struct kc_pickle_reader *r, enum kc_pickle_type type, size_t first)
{
	struct kc_pickle_value *v;

	KC_TRY(kc_pickle_peek(r, r->n - first, &v));
	if (v->type != type && v->type != KC_PICKLE_OBJECT)
		return KC_FAIL(KC_EFORMAT, "%s expected, found %s", kc_pickle_type_name(type),
			       kc_pickle_type_name(v->type));
	return fill(r, v, first);
}

static int extend_marked(struct kc_pickle_reader *r, enum kc_pickle_type type)
{
	size_t first;

	KC_TRY(pop_mark(r, &first));
	return extend(r, type, first);
}

static int extend_by(struct kc_pickle_reader *r, enum kc_pickle_type type, size_t n)
{
	struct kc_pickle_value *v;

	KC_TRY(kc_pickle_peek(r, n, &v));
	return extend(r, type, r->n - n);
}

/* ---- memo ---- */

/* Picklers number the memo without gaps: an index far off costs memory for nothing. */
static int memo_put(struct kc_pickle_reader *r, uint64_t index)
{
	struct kc_pickle_value *v;

	KC_TRY(kc_pickle_peek(r, 0, &v));
	if (index > 2 * r->puts + 256)
		return KC_FAIL(KC_EFORMAT, "memo entry %llu after %zu entries",
			       (unsigned long long)index, r->puts);
	while (r->n_memo <= index) {
		KC_TRY(kc_make_room(&r->memo, r->n_memo, &r->memo_room, sizeof *r->memo));
		r->memo[r->n_memo++] = NULL;
	}
	r->memo[index] = v;
	r->puts++;
	return 0;
}

static int memo_get(struct kc_pickle_reader *r, uint64_t index)
{
	if (index >= r->n_memo || !r->memo[index])
		return KC_FAIL(KC_EFORMAT, "memo entry %llu was never stored",
			       (unsigned long long)index);
	return kc_pickle_push(r, r->memo[index]);
}

static int memo_numbered(struct kc_pickle_reader *r, size_t width,
			 int (*act)(struct kc_pickle_reader *, uint64_t))
{
	uint64_t index;

	KC_TRY(take_uint(r, width, &index));
	return act(r, index);
}

static int memo_line(struct kc_pickle_reader *r,
		     int (*act)(struct kc_pickle_reader *, uint64_t))
{
	int64_t index;

	KC_TRY(line_to_int(r, false, &index));
	if (index < 0)
		return KC_FAIL(KC_EFORMAT, "a negative memo entry");
	return act(r, (uint64_t)index);
}

/* ---- opcodes ---- */

static int read_protocol(struct kc_pickle_reader *r)
{
	uint64_t version;

	KC_TRY(take_uint(r, 1, &version));
	if (version > 5)
		return KC_FAIL(KC_EFORMAT, "pickle protocol %d, at most 5 expected", (int)version);
	return 0;
}

static int read_frame(struct kc_pickle_reader *r)
{
	uint64_t n;

	KC_TRY(take_uint(r, 8, &n));
	if (n > (uint64_t)(r->end - r->at))
		return KC_FAIL(KC_EFORMAT, "a frame of %llu bytes, %zu left",
			       (unsigned long long)n, (size_t)(r->end - r->at));
	return 0;
}

static int read_pop(struct kc_pickle_reader *r)
{
	struct kc_pickle_value *v;

	if (r->n_marks && r->n == floor_of(r)) {
		r->n_marks--;
		return 0;
	}
	return kc_pickle_pop(r, &v);
}

static int read_dup(struct kc_pickle_reader *r)
{
	struct kc_pickle_value *v;

	KC_TRY(kc_pickle_peek(r, 0, &v));
	return kc_pickle_push(r, v);
}

static int read_stop(struct kc_pickle_reader *r)
{
	KC_TRY(kc_pickle_pop(r, &r->p->root));
	r->stop = true;
	return 0;
}

static int read_atom(struct kc_pickle_reader *r, unsigned char op)
{
	switch (op) {
	case 'N': return kc_pickle_push(r, kc_pickle_new(r->p, KC_PICKLE_NONE));
	case 0x88: return push_int(r, KC_PICKLE_BOOL, 1);
	case 0x89: return push_int(r, KC_PICKLE_BOOL, 0);
	case 'I': return read_int_line(r, false);
	case 'L': return read_int_line(r, true);
	case 'J': return read_uint(r, 4);
	case 'M': return read_uint(r, 2);
	case 'K': return read_uint(r, 1);
	case 0x8a: return read_long(r, 1);
	case 0x8b: return read_long(r, 4);
	case 'F': return read_real_line(r);
	case 'G': return read_real(r);

	case 'S': return read_line_text(r, kc_pickle_decode_quoted);
	case 'V': return read_line_text(r, kc_pickle_decode_unicode);
	case 'U': return read_counted(r, KC_PICKLE_TEXT, 1);
	case 'T': return read_counted(r, KC_PICKLE_TEXT, 4);
	case 0x8c: return read_counted(r, KC_PICKLE_TEXT, 1);
	case 'X': return read_counted(r, KC_PICKLE_TEXT, 4);
	case 0x8d: return read_counted(r, KC_PICKLE_TEXT, 8);
	case 'C': return read_counted(r, KC_PICKLE_BYTES, 1);
	case 'B': return read_counted(r, KC_PICKLE_BYTES, 4);
	case 0x8e: return read_counted(r, KC_PICKLE_BYTES, 8);
	}
	return kc_pickle_read_call(r, op);
}

static int read_container(struct kc_pickle_reader *r, unsigned char op)
{
	switch (op) {
	case ']': return gather(r, KC_PICKLE_LIST, 0);
	case ')': return gather(r, KC_PICKLE_TUPLE, 0);
	case '}': return gather(r, KC_PICKLE_DICT, 0);
	case 'l': return gather_marked(r, KC_PICKLE_LIST);
	case 't': return gather_marked(r, KC_PICKLE_TUPLE);
	case 'd': return gather_marked(r, KC_PICKLE_DICT);
	case 0x85: return gather(r, KC_PICKLE_TUPLE, 1);
	case 0x86: return gather(r, KC_PICKLE_TUPLE, 2);
	case 0x87: return gather(r, KC_PICKLE_TUPLE, 3);
	case 'a': return extend_by(r, KC_PICKLE_LIST, 1);
	case 's': return extend_by(r, KC_PICKLE_DICT, 2);
	case 'e': return extend_marked(r, KC_PICKLE_LIST);
	case 'u': return extend_marked(r, KC_PICKLE_DICT);
	}
	return read_atom(r, op);
}

/* Each of these hands on what is not of its kind. */
static int read_op(struct kc_pickle_reader *r, unsigned char op)
{
	size_t first;

	switch (op) {
	case 0x80: return read_protocol(r);
	case 0x95: return read_frame(r);
	case '.': return read_stop(r);
	case '(': return push_mark(r);
	case '0': return read_pop(r);
	case '1':
		KC_TRY(pop_mark(r, &first));
		r->n = first;
		return 0;
	case '2': return read_dup(r);

	case 'p': return memo_line(r, memo_put);
	case 'q': return memo_numbered(r, 1, memo_put);
	case 'r': return memo_numbered(r, 4, memo_put);
	case 0x94: return memo_put(r, r->puts);
	case 'g': return memo_line(r, memo_get);
	case 'h': return memo_numbered(r, 1, memo_get);
	case 'j': return memo_numbered(r, 4, memo_get);
	}
	return read_container(r, op);
}

static int read_all(struct kc_pickle_reader *r, const unsigned char *start)
{
	while (!r->stop) {
		size_t at = (size_t)(r->at - start);
		int rc;

		if (r->at == r->end)
			return KC_FAIL(KC_EFORMAT, "the pickle ends without STOP at byte %zu", at);
		rc = read_op(r, *r->at++);
		if (rc < 0)
			return kc_cause(rc, "pickle, byte %zu", at);
	}
	r->p->end = (size_t)(r->at - start);
	return 0;
}

int kc_pickle_read(const void *bytes, size_t size, const struct kc_pickle_hooks *hooks,
		   struct kc_pickle **out)
{
	struct kc_pickle_reader r = {.hooks = hooks ? hooks : &no_hooks};
	int rc;

	r.p = *out = kc_calloc(1, sizeof *r.p);
	if (!r.p)
		return KC_ENOMEM;
	r.p->size = size;
	r.at = bytes;
	r.end = r.at + size;
	rc = read_all(&r, bytes);
	free(r.stack);
	free(r.marks);
	free(r.memo);
	if (rc < 0) {
		kc_pickle_free(r.p);
		*out = NULL;
	}
	return rc;
}
