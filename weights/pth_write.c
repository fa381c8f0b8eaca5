#include "weights/pth_write.h"

#include "core/json.h"
#include "weights/pth_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

/* From here on a size or place is in a zip64 field. */
static const uint64_t BIG = 0xffffffff;

/* --- the pickle ----------------------------------------------------------------------- */

static void put_int(FILE *f, uint64_t x, int bytes)
{
	for (int i = 0; i < bytes; i++)
		fputc((int)(x >> 8 * i & 255), f);
}

/* An integer >= 0. */
static void put_number(FILE *f, uint64_t x)
{
	if (x < 256) {
		fputc('K', f);
		put_int(f, x, 1);
	} else if (x < 65536) {
		fputc('M', f);
		put_int(f, x, 2);
	} else if (x <= INT32_MAX) {
		fputc('J', f);
		put_int(f, x, 4);
	} else {
		fputs("\x8a\x08", f);
		put_int(f, x, 8);
	}
}

static void put_text(FILE *f, const char *s)
{
	size_t n = strlen(s);

	fputc('X', f);
	put_int(f, n, 4);
	fwrite(s, 1, n, f);
}

static void put_numbers(FILE *f, const uint64_t *x, int n)
{
	fputc('(', f);
	for (int i = 0; i < n; i++)
		put_number(f, x[i]);
	fputc('t', f);
}

/* name: _rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict()) */
static void put_tensor(FILE *f, const struct kc_st_item *t, size_t index)
{
	uint64_t dim[KC_ST_DIMS], stride[KC_ST_DIMS], count = 1, step = 1;
	char key[24];

	for (int i = t->ndim - 1; i >= 0; i--) {
		dim[i] = (uint64_t)t->dim[i];
		stride[i] = step;
		count *= dim[i];
		step *= KC_MAX(dim[i], (uint64_t)1);
	}
	snprintf(key, sizeof key, "%zu", index);
	put_text(f, t->name);
	fputs("ctorch._utils\n_rebuild_tensor_v2\n((", f);
	put_text(f, "storage");
	fprintf(f, "ctorch\n%s\n", kc_pth_storage_name(t->dtype));
	put_text(f, key);
	put_text(f, "cpu");
	put_number(f, count);
	fputs("tQ", f);
	put_number(f, 0);
	put_numbers(f, dim, t->ndim);
	put_numbers(f, stride, t->ndim);
	fputs("\x89" "ccollections\nOrderedDict\n)RtR", f);
}

static void put_pickle(FILE *f, const struct kc_st_item *items, size_t n)
{
	fputs("\x80\x02" "ccollections\nOrderedDict\n)R(", f);
	for (size_t i = 0; i < n; i++)
		put_tensor(f, &items[i], i);
	fputs("u.", f);
}

static void put_meta(FILE *f, const struct kc_st_pair *meta, size_t n)
{
	fputc('{', f);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? "," : "", f);
		kc_json_put_text(f, meta[i].key);
		fputc(':', f);
		kc_json_put_text(f, meta[i].value);
	}
	fputc('}', f);
}

/* --- the archive ---------------------------------------------------------------------- */

struct entry {
	char name[48];
	const void *data;
	size_t size;
	uint64_t begin;
	uint32_t crc;
};

struct archive {
	struct entry *entries;
	size_t n;
	uint64_t at;                    /* bytes written, or to be written */
};

static void add_entry(struct archive *a, const char *name, const void *data, size_t size)
{
	struct entry *e = &a->entries[a->n++];

	snprintf(e->name, sizeof e->name, "archive/%s", name);
	e->data = data;
	e->size = size;
}

static size_t put_le(unsigned char *p, uint64_t x, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (unsigned char)(x >> 8 * i);
	return (size_t)bytes;
}

/*
 * What the local and the central header share: version, flags (names are UTF-8), method,
 * time, date (1980-01-01), checksum, sizes, lengths of name and extra fields.
 */
static size_t put_common(unsigned char *p, const struct entry *e, size_t extra)
{
	size_t at = put_le(p, e->size >= BIG || e->begin >= BIG ? 45 : 20, 2);

	at += put_le(p + at, 0x800, 2);
	at += put_le(p + at, 0, 2);
	at += put_le(p + at, 0, 2);
	at += put_le(p + at, 0x21, 2);
	at += put_le(p + at, e->crc, 4);
	at += put_le(p + at, KC_MIN(e->size, BIG), 4);
	at += put_le(p + at, KC_MIN(e->size, BIG), 4);
	at += put_le(p + at, strlen(e->name), 2);
	return at + put_le(p + at, extra, 2);
}

/* The local header with name, zip64 sizes and padding that aligns the data; its length. */
static size_t make_local(unsigned char *p, const struct entry *e)
{
	size_t big = e->size >= BIG ? 20 : 0, name = strlen(e->name), at;
	size_t pad = (ALIGN - (e->begin + 30 + name + big + 4) % ALIGN) % ALIGN + 4;

	memset(p, 0, 30 + name + big + pad);
	memcpy(p, "PK\3\4", 4);
	at = 4 + put_common(p + 4, e, big + pad);
	memcpy(p + at, e->name, name);
	at += name;
	if (big) {
		at += put_le(p + at, 1, 2);
		at += put_le(p + at, 16, 2);
		at += put_le(p + at, e->size, 8);
		at += put_le(p + at, e->size, 8);
	}
	put_le(p + at, 0x4246, 2);
	put_le(p + at + 2, pad - 4, 2);
	return at + pad;
}

static size_t make_central(unsigned char *p, const struct entry *e)
{
	size_t name = strlen(e->name), at;
	size_t big = (e->size >= BIG ? 16 : 0) + (e->begin >= BIG ? 8 : 0);

	memset(p, 0, 46);
	memcpy(p, "PK\1\2", 4);
	put_le(p + 4, 45, 2);
	put_common(p + 6, e, big ? big + 4 : 0);
	put_le(p + 42, KC_MIN(e->begin, BIG), 4);
	memcpy(p + 46, e->name, name);
	at = 46 + name;
	if (!big)
		return at;
	at += put_le(p + at, 1, 2);
	at += put_le(p + at, big, 2);
	if (e->size >= BIG) {
		at += put_le(p + at, e->size, 8);
		at += put_le(p + at, e->size, 8);
	}
	if (e->begin >= BIG)
		at += put_le(p + at, e->begin, 8);
	return at;
}

/* The zip64 end record, its locator and the end record. */
static size_t make_end(unsigned char *p, const struct archive *a, uint64_t directory)
{
	uint64_t size = a->at - directory;
	size_t at = 98;

	memset(p, 0, at);
	memcpy(p, "PK\6\6", 4);
	put_le(p + 4, 44, 8);
	put_le(p + 12, 45, 2);
	put_le(p + 14, 45, 2);
	put_le(p + 24, a->n, 8);
	put_le(p + 32, a->n, 8);
	put_le(p + 40, size, 8);
	put_le(p + 48, directory, 8);
	memcpy(p + 56, "PK\6\7", 4);
	put_le(p + 64, a->at, 8);
	put_le(p + 72, 1, 4);
	memcpy(p + 76, "PK\5\6", 4);
	put_le(p + 84, KC_MIN(a->n, (size_t)0xffff), 2);
	put_le(p + 86, KC_MIN(a->n, (size_t)0xffff), 2);
	put_le(p + 88, KC_MIN(size, BIG), 4);
	put_le(p + 92, KC_MIN(directory, BIG), 4);
	return at;
}

static int put(struct archive *a, struct kc_writer *w, const void *data, size_t size)
{
	a->at += size;
	return kc_writer_write(w, data, size);
}

static int write_archive(struct archive *a, struct kc_writer *w)
{
	unsigned char record[256];
	uint64_t directory;

	for (size_t i = 0; i < a->n; i++) {
		struct entry *e = &a->entries[i];

		e->begin = a->at;
		e->crc = kc_zip_crc(0, e->data, e->size);
		KC_TRY(put(a, w, record, make_local(record, e)));
		KC_TRY(put(a, w, e->data, e->size));
	}
	directory = a->at;
	for (size_t i = 0; i < a->n; i++)
		KC_TRY(put(a, w, record, make_central(record, &a->entries[i])));
	return put(a, w, record, make_end(record, a, directory));
}

/* --- together ------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_items(const struct kc_st_item *items, size_t n)
{
	const char **names = kc_calloc(n, sizeof *names);
	int rc = names ? 0 : KC_ENOMEM;
	size_t bytes;

	for (size_t i = 0; i < n && !rc; i++) {
		names[i] = items[i].name;
		rc = kc_st_item_bytes(&items[i], &bytes);
		if (!rc && !kc_utf8_valid(names[i], strlen(names[i])))
			rc = KC_FAIL(KC_EINVAL, "a tensor's name is no UTF-8");
	}
	if (n && !rc)
		qsort(names, n, sizeof *names, by_name);
	for (size_t i = 1; i < n && !rc; i++)
		if (!strcmp(names[i - 1], names[i]))
			rc = KC_FAIL(KC_EINVAL, "two tensors named \"%s\"", names[i]);
	free(names);
	return rc;
}

/* Text made by one of the functions above. */
struct text {
	char *data;
	size_t size;
};

static int make_texts(const struct kc_st_item *items, size_t n, const struct kc_st_pair *meta,
		      size_t n_meta, struct text *pickle, struct text *notes)
{
	FILE *p = open_memstream(&pickle->data, &pickle->size);
	FILE *m = open_memstream(&notes->data, &notes->size);
	bool failed = !p || !m;

	if (p) {
		put_pickle(p, items, n);
		failed |= fclose(p) != 0;
	}
	if (m) {
		put_meta(m, meta, n_meta);
		failed |= fclose(m) != 0;
	}
	return failed ? KC_FAIL(KC_ENOMEM, "out of memory for a pickle") : 0;
}

static int list_entries(struct archive *a, const struct kc_st_item *items, size_t n,
			const struct text *pickle, const struct text *notes, uint64_t *size)
{
	char name[32];

	a->entries = kc_calloc(n + 4, sizeof *a->entries);
	if (!a->entries)
		return KC_ENOMEM;
	add_entry(a, "data.pkl", pickle->data, pickle->size);
	add_entry(a, "byteorder", "little", 6);
	for (size_t i = 0; i < n; i++) {
		size_t bytes;

		KC_TRY(kc_st_item_bytes(&items[i], &bytes));
		snprintf(name, sizeof name, "data/%zu", i);
		add_entry(a, name, items[i].data, bytes);
	}
	add_entry(a, "version", "3\n", 2);
	if (notes->size > 2)
		add_entry(a, KC_PTH_NOTES, notes->data, notes->size);
	*size = 0;
	for (size_t i = 0; i < a->n; i++)
		*size += a->entries[i].size + 4 * ALIGN;
	return 0;
}

static int save(const char *path, struct archive *a, uint64_t size)
{
	struct kc_writer w;

	KC_TRY(kc_writer_begin(&w, path, size));
	write_archive(a, &w);
	return kc_writer_commit(&w);
}

int kc_pth_save(const char *path, const struct kc_st_item *items, size_t n,
		const struct kc_st_pair *meta, size_t n_meta)
{
	struct text pickle = {0}, notes = {0};
	struct archive a = {0};
	uint64_t size;
	int rc = check_items(items, n);

	if (rc >= 0)
		rc = make_texts(items, n, meta, n_meta, &pickle, &notes);
	if (rc >= 0)
		rc = list_entries(&a, items, n, &pickle, &notes, &size);
	if (rc < 0)
		rc = kc_cause(rc, "%s", path);
	else
		rc = save(path, &a, size);
	free(a.entries);
	free(pickle.data);
	free(notes.data);
	return rc;
}
