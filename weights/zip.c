#include "weights/zip.h"

#include <stdlib.h>
#include <string.h>

enum {
	LOCAL = 30, CENTRAL = 46, END = 22,     /* sizes of the records without names */
	END64 = 56, LOCATOR64 = 20,
	NAME_LIMIT = 512
};

struct reader {
	const unsigned char *bytes;
	size_t size;
	size_t directory, directory_size, after;        /* after: where its bytes must end */
	uint64_t n;
};

static uint64_t number(const unsigned char *p, int bytes)
{
	uint64_t x = 0;

	for (int i = 0; i < bytes; i++)
		x |= (uint64_t)p[i] << 8 * i;
	return x;
}

static bool is_record(const struct reader *r, size_t at, size_t size, const char *signature)
{
	return at <= r->size && r->size - at >= size && !memcmp(r->bytes + at, signature, 4);
}

/* --- the end of the archive ----------------------------------------------------------- */

static int find_end(const struct reader *r, size_t *end)
{
	size_t lowest = r->size > END + 65535 ? r->size - END - 65535 : 0;

	for (size_t at = r->size < END ? 0 : r->size - END + 1; at-- > lowest;)
		if (is_record(r, at, END, "PK\5\6") &&
		    number(r->bytes + at + 20, 2) == r->size - at - END) {
			*end = at;
			return 0;
		}
	return KC_FAIL(KC_EFORMAT, "a zip archive that is cut short: it has no directory");
}

static int read_end64(struct reader *r, size_t end)
{
	uint64_t at = number(r->bytes + end - LOCATOR64 + 8, 8);
	const unsigned char *p;

	if (at > r->size || !is_record(r, at, END64, "PK\6\6") || at + END64 > end - LOCATOR64)
		return KC_FAIL(KC_EFORMAT, "zip archive: the zip64 end record is not where it "
			       "should be");
	p = r->bytes + at;
	r->n = number(p + 32, 8);
	r->directory_size = number(p + 40, 8);
	r->directory = number(p + 48, 8);
	r->after = at;
	if (number(p + 16, 4) || number(p + 20, 4) || number(p + 24, 8) != r->n)
		return KC_FAIL(KC_EFORMAT, "zip archive: split into parts");
	return 0;
}

static int read_end(struct reader *r)
{
	const unsigned char *p;
	size_t end;

	KC_TRY(find_end(r, &end));
	p = r->bytes + end;
	r->n = number(p + 10, 2);
	r->directory_size = number(p + 12, 4);
	r->directory = number(p + 16, 4);
	r->after = end;
	if (number(p + 4, 2) || number(p + 6, 2) || number(p + 8, 2) != r->n)
		return KC_FAIL(KC_EFORMAT, "zip archive: split into parts");
	if (end >= LOCATOR64 && is_record(r, end - LOCATOR64, LOCATOR64, "PK\6\7"))
		KC_TRY(read_end64(r, end));
	if (r->directory > r->after || r->directory_size != r->after - r->directory)
		return KC_FAIL(KC_EFORMAT, "zip archive: the directory is not where it should be");
	if (r->n > r->directory_size / CENTRAL)
		return KC_FAIL(KC_EFORMAT, "zip archive: %llu entries in a directory of %zu bytes",
			       (unsigned long long)r->n, r->directory_size);
	return 0;
}

/* --- entries -------------------------------------------------------------------------- */

static int refuse(const struct kc_zip_entry *e, const char *what)
{
	char shown[64];
	size_t n = KC_MIN(e->name_size, sizeof shown - 1);

	for (size_t i = 0; i < n; i++)
		shown[i] = (unsigned char)e->name[i] < 32 || (unsigned char)e->name[i] > 126
				   ? '?' : e->name[i];
	shown[n] = 0;
	return KC_FAIL(KC_EFORMAT, "zip archive: entry \"%s\" %s", shown, what);
}

/* Replaces the fields that are all ones by those of the zip64 extra field. */
static int read_extra64(const struct kc_zip_entry *e, const unsigned char *extra, size_t n,
			uint64_t *field[3])
{
	while (n >= 4) {
		size_t size = number(extra + 2, 2), at = 0;

		if (size > n - 4)
			return refuse(e, "has a broken extra field");
		for (int i = 0; i < 3 && number(extra, 2) == 1; i++) {
			if (*field[i] != 0xffffffff)
				continue;
			if (size - at < 8)
				return refuse(e, "has a broken zip64 field");
			*field[i] = number(extra + 4 + at, 8);
			at += 8;
		}
		extra += 4 + size;
		n -= 4 + size;
	}
	return 0;
}

/* Finds the data behind the local header, which must name the same entry. */
static int locate(const struct reader *r, struct kc_zip_entry *e, uint64_t begin, uint64_t size)
{
	const unsigned char *p;
	size_t header;

	if (begin > r->directory || r->directory - begin < LOCAL ||
	    memcmp(r->bytes + begin, "PK\3\4", 4))
		return refuse(e, "is not where the directory says");
	p = r->bytes + begin;
	header = LOCAL + number(p + 26, 2) + number(p + 28, 2);
	if (header > r->directory - begin || number(p + 26, 2) != e->name_size ||
	    memcmp(p + LOCAL, e->name, e->name_size) || number(p + 8, 2))
		return refuse(e, "differs from its local header");
	if (size > r->directory - begin - header)
		return refuse(e, "is longer than the archive");
	e->begin = begin;
	e->whole = header + size;
	e->data = p + header;
	e->size = size;
	return 0;
}

/* Reads the directory's record at p; *used becomes its length. */
static int read_entry(const struct reader *r, const unsigned char *p, size_t left,
		      struct kc_zip_entry *e, size_t *used)
{
	uint64_t size = 0, stored = 0, begin = 0, *fields[] = {&size, &stored, &begin};
	size_t extra;

	if (left < CENTRAL || memcmp(p, "PK\1\2", 4))
		return KC_FAIL(KC_EFORMAT, "zip archive: the directory is damaged");
	e->name_size = number(p + 28, 2);
	extra = number(p + 30, 2);
	*used = CENTRAL + e->name_size + extra + number(p + 32, 2);
	if (*used > left || !e->name_size || e->name_size > NAME_LIMIT)
		return KC_FAIL(KC_EFORMAT, "zip archive: the directory is damaged");
	e->name = (const char *)p + CENTRAL;
	e->crc = (uint32_t)number(p + 16, 4);
	stored = number(p + 20, 4);
	size = number(p + 24, 4);
	begin = number(p + 42, 4);
	KC_TRY(read_extra64(e, p + CENTRAL + e->name_size, extra, fields));
	if (number(p + 8, 2) & 1)
		return refuse(e, "is encrypted");
	if (number(p + 10, 2))
		return refuse(e, "is compressed, expected stored as torch.save writes it");
	if (stored != size)
		return refuse(e, "has two sizes");
	return locate(r, e, begin, size);
}

static int compare(const char *a, size_t n, const char *b, size_t m)
{
	int c = memcmp(a, b, KC_MIN(n, m));

	return c ? c : n < m ? -1 : n > m;
}

static int by_name(const void *a, const void *b)
{
	const struct kc_zip_entry *x = a, *y = b;

	return compare(x->name, x->name_size, y->name, y->name_size);
}

static int by_place(const void *a, const void *b)
{
	const struct kc_zip_entry *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int check_entries(struct kc_zip *z)
{
	const char *first = z->n ? z->entries[0].name : NULL;

	qsort(z->entries, z->n, sizeof *z->entries, by_place);
	for (size_t i = 1; i < z->n; i++) {
		const struct kc_zip_entry *e = &z->entries[i - 1];

		if (e->begin + e->whole > e[1].begin)
			return refuse(&e[1], "overlaps another one");
	}
	qsort(z->entries, z->n, sizeof *z->entries, by_name);
	for (size_t i = 0; i < z->n; i++) {
		if (i && !by_name(&z->entries[i - 1], &z->entries[i]))
			return refuse(&z->entries[i], "is there twice");
		if (z->entries[i].name == first)
			z->first = &z->entries[i];
	}
	return 0;
}

static int read_directory(struct reader *r, struct kc_zip *z)
{
	size_t at, used;

	KC_TRY(read_end(r));
	at = r->directory;
	z->entries = kc_calloc(r->n, sizeof *z->entries);
	if (!z->entries)
		return KC_ENOMEM;
	for (; z->n < r->n; z->n++) {
		KC_TRY(read_entry(r, r->bytes + at, r->after - at, &z->entries[z->n], &used));
		at += used;
	}
	if (at != r->after)
		return KC_FAIL(KC_EFORMAT, "zip archive: %zu bytes of the directory belong to no "
			       "entry", r->after - at);
	return check_entries(z);
}

int kc_zip_open(const void *bytes, size_t size, struct kc_zip *z)
{
	struct reader r = {.bytes = bytes, .size = size};
	int rc;

	*z = (struct kc_zip){0};
	rc = read_directory(&r, z);
	if (rc < 0)
		kc_zip_close(z);
	return rc;
}

void kc_zip_close(struct kc_zip *z)
{
	free(z->entries);
	*z = (struct kc_zip){0};
}

struct kc_zip_entry *kc_zip_find(const struct kc_zip *z, const char *name)
{
	struct kc_zip_entry key = {.name = name, .name_size = strlen(name)};

	return z->n ? bsearch(&key, z->entries, z->n, sizeof key, by_name) : NULL;
}

int kc_zip_check(struct kc_zip_entry *e)
{
	if (!e->checked && kc_zip_crc(0, e->data, e->size) != e->crc)
		return refuse(e, "is damaged: its checksum differs");
	e->checked = true;
	return 0;
}
