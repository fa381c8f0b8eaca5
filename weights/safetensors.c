#include "weights/safetensors.h"

#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are mapped as they are");

static const struct {
	const char *name;
	size_t size;
} dtypes[] = {
#define X(name, size) {#name, size},
	KC_ST_DTYPES(X)
#undef X
};

const char *kc_st_dtype_name(enum kc_st_dtype dtype)
{
	return dtypes[dtype].name;
}

size_t kc_st_dtype_size(enum kc_st_dtype dtype)
{
	return dtypes[dtype].size;
}

/* count and bytes from dim; false when they are negative or overflow. */
static bool measure(enum kc_st_dtype dtype, int ndim, const int64_t *dim, size_t *count,
		    size_t *bytes)
{
	*count = 1;
	for (int i = 0; i < ndim; i++)
		if (dim[i] < 0 || __builtin_mul_overflow(*count, (size_t)dim[i], count))
			return false;
	return !__builtin_mul_overflow(*count, dtypes[dtype].size, bytes) && *bytes <= INT64_MAX;
}

bool kc_st_measure_tensor(struct kc_st_tensor *t)
{
	int64_t stride = 1;

	if (!measure(t->dtype, t->ndim, t->dim, &t->count, &t->bytes))
		return false;
	/* An empty tensor's other dimensions may be huge. */
	for (int i = t->ndim - 1; i >= 0; i--) {
		t->stride[i] = stride;
		if (t->count)
			stride *= t->dim[i];
	}
	return true;
}

/* --- reading ------------------------------------------------------------------------ */

static int refuse(const struct kc_st *f, const char *tensor, const char *what)
{
	return KC_FAIL(KC_EFORMAT, "%s: tensor \"%s\": %s", f->path, tensor, what);
}

static int read_dtype(const struct kc_st *f, const struct kc_json *v, struct kc_st_tensor *t)
{
	if (!v || v->kind != KC_JSON_TEXT)
		return refuse(f, t->name, "no dtype");
	for (size_t i = 0; i < KC_COUNT(dtypes); i++)
		if (!strcmp(v->text, dtypes[i].name)) {
			t->dtype = (enum kc_st_dtype)i;
			return 0;
		}
	return KC_FAIL(KC_EFORMAT, "%s: tensor \"%s\": unknown dtype \"%.32s\"", f->path, t->name,
		       v->text);
}

static int read_shape(const struct kc_st *f, const struct kc_json *v, struct kc_st_tensor *t)
{
	if (!v || v->kind != KC_JSON_ARRAY)
		return refuse(f, t->name, "no shape");
	if (v->n > KC_ST_DIMS)
		return refuse(f, t->name, "more than 8 dimensions");
	for (const struct kc_json *d = v->first; d; d = d->next) {
		if (d->kind != KC_JSON_NUMBER || !d->is_int || d->integer < 0)
			return refuse(f, t->name, "a dimension is no whole number >= 0");
		t->dim[t->ndim++] = d->integer;
	}
	if (!kc_st_measure_tensor(t))
		return refuse(f, t->name, "the shape's element count overflows");
	return 0;
}

static int read_offsets(const struct kc_st *f, const struct kc_json *v, struct kc_st_tensor *t,
			const unsigned char *data, size_t size)
{
	const struct kc_json *a = v && v->kind == KC_JSON_ARRAY && v->n == 2 ? v->first : NULL;

	if (!a || a->kind != KC_JSON_NUMBER || !a->is_int || a->next->kind != KC_JSON_NUMBER ||
	    !a->next->is_int)
		return refuse(f, t->name, "data_offsets are not two whole numbers");
	if (a->integer < 0 || a->next->integer < a->integer ||
	    (uint64_t)a->next->integer > size)
		return refuse(f, t->name, "its data_offsets go past the end of the file, or back");
	if ((uint64_t)(a->next->integer - a->integer) != t->bytes)
		return refuse(f, t->name, "data_offsets do not fit dtype and shape");
	t->data = data + a->integer;
	return 0;
}

static int read_tensor(const struct kc_st *f, const struct kc_json *v, struct kc_st_tensor *t,
		       const unsigned char *data, size_t size)
{
	t->name = v->key;
	if (v->kind != KC_JSON_OBJECT)
		return refuse(f, t->name, "the entry is no object");
	KC_TRY(read_dtype(f, kc_json_get(v, "dtype"), t));
	KC_TRY(read_shape(f, kc_json_get(v, "shape"), t));
	return read_offsets(f, kc_json_get(v, "data_offsets"), t, data, size);
}

static int by_place(const void *a, const void *b)
{
	const struct kc_st_tensor *x = a, *y = b;
	const char *p = x->data, *q = y->data;

	if (p != q)
		return p < q ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
	const struct kc_st_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Every byte of the data belongs to exactly one tensor. */
static int check_cover(const struct kc_st *f, const unsigned char *data, size_t size)
{
	size_t at = 0;

	qsort(f->tensors, f->n, sizeof *f->tensors, by_place);
	for (size_t i = 0; i < f->n; i++) {
		const struct kc_st_tensor *t = &f->tensors[i];
		size_t begin = (size_t)((const unsigned char *)t->data - data);

		if (begin != at)
			return refuse(f, t->name,
				      begin < at ? "overlaps another tensor"
						 : "bytes before it belong to no tensor");
		at += t->bytes;
	}
	if (at != size)
		return KC_FAIL(KC_EFORMAT, "%s: %zu bytes at the end belong to no tensor", f->path,
			       size - at);
	return 0;
}

static int check_meta(const struct kc_st *f)
{
	if (!f->meta)
		return 0;
	if (f->meta->kind != KC_JSON_OBJECT)
		return KC_FAIL(KC_EFORMAT, "%s: __metadata__ is no object", f->path);
	for (const struct kc_json *v = f->meta->first; v; v = v->next)
		if (v->kind != KC_JSON_TEXT)
			return KC_FAIL(KC_EFORMAT, "%s: __metadata__ \"%s\" is no text", f->path,
				       v->key);
	return 0;
}

static int read_tensors(struct kc_st *f, const unsigned char *data, size_t size)
{
	f->tensors = kc_calloc(f->header->n, sizeof *f->tensors);
	if (!f->tensors)
		return KC_ENOMEM;
	for (const struct kc_json *v = f->header->first; v; v = v->next) {
		if (v == f->meta)
			continue;
		KC_TRY(read_tensor(f, v, &f->tensors[f->n], data, size));
		f->n++;
	}
	KC_TRY(check_cover(f, data, size));
	if (f->n)
		qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
	return 0;
}

static int read_file(struct kc_st *f, const unsigned char *bytes, size_t size)
{
	uint64_t header;
	int rc;

	if (size < sizeof header)
		return KC_FAIL(KC_EFORMAT, "%s: %zu bytes are too few for a safetensors file",
			       f->path, size);
	memcpy(&header, bytes, sizeof header);
	size -= sizeof header;
	bytes += sizeof header;
	if (header > KC_ST_HEADER_LIMIT || header > size)
		return KC_FAIL(KC_EFORMAT, "%s: no safetensors file or cut short: the header "
			       "claims %llu bytes, %zu are there", f->path,
			       (unsigned long long)header, size);
	if (!header || bytes[0] != '{')
		return KC_FAIL(KC_EFORMAT, "%s: no safetensors file: the header is no JSON object",
			       f->path);
	rc = kc_json_parse((const char *)bytes, (size_t)header, &f->header);
	if (rc < 0)
		return kc_cause(rc, "%s: header", f->path);
	f->meta = kc_json_get(f->header, "__metadata__");
	KC_TRY(check_meta(f));
	return read_tensors(f, bytes + header, size - (size_t)header);
}

int kc_st_open_memory(const char *name, const void *data, size_t size, struct kc_st *f)
{
	int rc;

	*f = (struct kc_st){.path = kc_strdup(name)};
	rc = f->path ? read_file(f, data, size) : KC_ENOMEM;
	if (rc < 0)
		kc_st_close(f);
	return rc;
}

int kc_st_open(const char *path, struct kc_st *f)
{
	struct kc_map map;
	int rc;

	*f = (struct kc_st){0};
	KC_TRY(kc_map_open(path, &map));
	rc = kc_st_open_memory(path, map.data, map.size, f);
	if (rc < 0)
		kc_map_close(&map);
	else
		f->map = map;
	return rc;
}

void kc_st_close(struct kc_st *f)
{
	kc_map_close(&f->map);
	kc_json_free(f->header);
	free(f->tensors);
	free(f->path);
	*f = (struct kc_st){0};
}

const struct kc_st_tensor *kc_st_find(const struct kc_st *f, const char *name)
{
	struct kc_st_tensor key = {.name = name};

	return f->n ? bsearch(&key, f->tensors, f->n, sizeof key, by_name) : NULL;
}

const char *kc_st_meta(const struct kc_st *f, const char *key)
{
	const struct kc_json *v = f->meta ? kc_json_get(f->meta, key) : NULL;

	return v ? v->text : NULL;
}

/* --- conversion --------------------------------------------------------------------- */

static double from_f16(uint16_t h)
{
	int exponent = h >> 10 & 31, fraction = h & 1023;
	double x;

	if (exponent == 31)
		x = fraction ? __builtin_nan("") : __builtin_inf();
	else if (exponent)
		x = (1024 + fraction) * (double)(1u << exponent) / (1u << 25);
	else
		x = fraction / (double)(1u << 24);
	return h >> 15 ? -x : x;
}

static double from_bf16(uint16_t b)
{
	uint32_t bits = (uint32_t)b << 16;
	float x;

	memcpy(&x, &bits, sizeof x);
	return x;
}

/* Element i in storage as a double: exact but for I64 beyond 2^53. */
static double get_real(const struct kc_st_tensor *t, int64_t i)
{
	const unsigned char *p = (const unsigned char *)t->data +
				 i * (int64_t)dtypes[t->dtype].size;
#define GET(type, convert) { type v; memcpy(&v, p, sizeof v); return convert(v); }
	switch (t->dtype) {
	case KC_ST_F64: GET(double, )
	case KC_ST_F32: GET(float, )
	case KC_ST_F16: GET(uint16_t, from_f16)
	case KC_ST_BF16: GET(uint16_t, from_bf16)
	case KC_ST_I64: GET(int64_t, (double))
	case KC_ST_I32: GET(int32_t, )
	case KC_ST_I16: GET(int16_t, )
	case KC_ST_I8: GET(int8_t, )
	case KC_ST_U8: GET(uint8_t, )
	case KC_ST_BOOL: return *p != 0;
	case KC_ST_N_DTYPES: break;
	}
#undef GET
	KC_ASSERT(!"dtype");
	return 0;
}

/* Walks over the elements row-major; at[] are the indices of the element at `place`. */
struct walk {
	int64_t at[KC_ST_DIMS], place;
};

static void walk_on(struct walk *w, const struct kc_st_tensor *t)
{
	for (int d = t->ndim - 1; d >= 0; d--) {
		w->place += t->stride[d];
		if (++w->at[d] < t->dim[d])
			return;
		w->place -= t->stride[d] * t->dim[d];
		w->at[d] = 0;
	}
}

bool kc_st_is_dense(const struct kc_st_tensor *t)
{
	int64_t stride = 1;

	for (int d = t->ndim - 1; d >= 0 && t->count; d--) {
		if (t->dim[d] > 1 && t->stride[d] != stride)
			return false;
		stride *= t->dim[d];
	}
	return true;
}

void kc_st_copy(const struct kc_st_tensor *t, void *out)
{
	size_t size = dtypes[t->dtype].size;
	struct walk w = {0};

	if (t->count && kc_st_is_dense(t))
		memcpy(out, t->data, t->bytes);
	else
		for (size_t i = 0; i < t->count; i++, walk_on(&w, t))
			memcpy((char *)out + i * size,
			       (const char *)t->data + w.place * (int64_t)size, size);
}

static int check_count(const struct kc_st_tensor *t, size_t count)
{
	if (t->count != count)
		return KC_FAIL(KC_ESHAPE, "tensor \"%s\" has %zu elements, expected %zu", t->name,
			       t->count, count);
	return 0;
}

int kc_st_read_f32(const struct kc_st_tensor *t, float *out, size_t count)
{
	struct walk w = {0};

	KC_TRY(check_count(t, count));
	if (t->dtype == KC_ST_F32)
		kc_st_copy(t, out);
	else
		for (size_t i = 0; i < count; i++, walk_on(&w, t))
			out[i] = (float)get_real(t, w.place);
	return 0;
}

int kc_st_read_f64(const struct kc_st_tensor *t, double *out, size_t count)
{
	struct walk w = {0};

	KC_TRY(check_count(t, count));
	for (size_t i = 0; i < count; i++, walk_on(&w, t))
		out[i] = get_real(t, w.place);
	return 0;
}

int kc_st_read_i64(const struct kc_st_tensor *t, int64_t *out, size_t count)
{
	struct walk w = {0};

	KC_TRY(check_count(t, count));
	if (t->dtype < KC_ST_I64)
		return KC_FAIL(KC_EFORMAT, "tensor \"%s\" is %s, expected integers", t->name,
			       dtypes[t->dtype].name);
	if (t->dtype == KC_ST_I64)
		kc_st_copy(t, out);
	else
		for (size_t i = 0; i < count; i++, walk_on(&w, t))
			out[i] = (int64_t)get_real(t, w.place);
	return 0;
}

/* --- writing ------------------------------------------------------------------------ */

int kc_st_item_bytes(const struct kc_st_item *t, size_t *bytes)
{
	size_t count;

	if (t->ndim < 0 || t->ndim > KC_ST_DIMS ||
	    !measure(t->dtype, t->ndim, t->dim, &count, bytes))
		return KC_FAIL(KC_EINVAL, "tensor \"%s\": impossible shape", t->name);
	return 0;
}

static int by_file_order(const void *a, const void *b)
{
	const struct kc_st_item *x = *(const struct kc_st_item *const *)a;
	const struct kc_st_item *y = *(const struct kc_st_item *const *)b;
	size_t p = dtypes[x->dtype].size, q = dtypes[y->dtype].size;

	return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct kc_st_pair *)a)->key, ((const struct kc_st_pair *)b)->key);
}

/* What is to be written: items in file order, the padded header, the size of the data. */
struct draft {
	const struct kc_st_item **items;
	struct kc_st_pair *meta;
	size_t n, n_meta;
	char *header;
	size_t header_size;
	uint64_t data_size;
};

static void draft_release(struct draft *d)
{
	free(d->items);
	free(d->meta);
	free(d->header);
}

static void put_meta(FILE *out, const struct draft *d)
{
	fputs("\"__metadata__\":{", out);
	for (size_t i = 0; i < d->n_meta; i++) {
		fputs(i ? "," : "", out);
		kc_json_put_text(out, d->meta[i].key);
		fputs(":", out);
		kc_json_put_text(out, d->meta[i].value);
	}
	fputs(d->n ? "}," : "}", out);
}

static int put_item(FILE *out, struct draft *d, const struct kc_st_item *t)
{
	uint64_t begin = d->data_size;
	size_t bytes;

	KC_TRY(kc_st_item_bytes(t, &bytes));
	if (__builtin_add_overflow(begin, bytes, &d->data_size) || d->data_size > INT64_MAX)
		return KC_FAIL(KC_EINVAL, "tensor \"%s\": the file would be too large", t->name);
	kc_json_put_text(out, t->name);
	fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[t->dtype].name);
	for (int i = 0; i < t->ndim; i++)
		fprintf(out, "%s%lld", i ? "," : "", (long long)t->dim[i]);
	fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin,
		(unsigned long long)d->data_size);
	return 0;
}

static int put_header(FILE *out, struct draft *d)
{
	fputs("{", out);
	if (d->n_meta)
		put_meta(out, d);
	for (size_t i = 0; i < d->n; i++) {
		if (i)
			fputs(",", out);
		KC_TRY(put_item(out, d, d->items[i]));
	}
	fputs("}", out);
	while (ftell(out) % 8)
		fputs(" ", out);
	return 0;
}

/* Names that are not unique UTF-8 would make a file that no reader takes. */
static int check_header(const struct draft *d)
{
	struct kc_json *tree;

	if (d->header_size > KC_ST_HEADER_LIMIT)
		return KC_FAIL(KC_EINVAL, "safetensors header larger than %d bytes",
			       KC_ST_HEADER_LIMIT);
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->items[i]->name, "__metadata__"))
			return KC_FAIL(KC_EINVAL, "a tensor cannot be named __metadata__");
	KC_TRY(kc_json_parse(d->header, d->header_size, &tree));
	kc_json_free(tree);
	return 0;
}

static int make_header(struct draft *d)
{
	FILE *out = open_memstream(&d->header, &d->header_size);
	int rc;

	if (!out)
		return KC_FAIL(KC_ENOMEM, "out of memory for a safetensors header");
	rc = put_header(out, d);
	if (fclose(out) && !rc)
		rc = KC_FAIL(KC_ENOMEM, "out of memory for a safetensors header");
	return rc ? rc : check_header(d);
}

static int draft_init(struct draft *d, const struct kc_st_item *items, size_t n,
		      const struct kc_st_pair *meta, size_t n_meta)
{
	*d = (struct draft){.n = n, .n_meta = n_meta};
	d->items = kc_calloc(n, sizeof *d->items);
	d->meta = kc_calloc(n_meta, sizeof *d->meta);
	if (!d->items || !d->meta)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++)
		d->items[i] = &items[i];
	if (n_meta)
		memcpy(d->meta, meta, n_meta * sizeof *meta);
	qsort(d->items, n, sizeof *d->items, by_file_order);
	qsort(d->meta, n_meta, sizeof *d->meta, by_key);
	return make_header(d);
}

static int write_draft(const struct draft *d, struct kc_writer *w)
{
	uint64_t length = d->header_size;

	KC_TRY(kc_writer_write(w, &length, sizeof length));
	KC_TRY(kc_writer_write(w, d->header, d->header_size));
	for (size_t i = 0; i < d->n; i++) {
		size_t bytes;

		KC_TRY(kc_st_item_bytes(d->items[i], &bytes));
		KC_TRY(kc_writer_write(w, d->items[i]->data, bytes));
	}
	return 0;
}

int kc_st_save(const char *path, const struct kc_st_item *items, size_t n,
	       const struct kc_st_pair *meta, size_t n_meta)
{
	struct kc_writer w;
	struct draft d;
	int rc = draft_init(&d, items, n, meta, n_meta);

	if (rc < 0)
		rc = kc_cause(rc, "%s", path);
	else
		rc = kc_writer_begin(&w, path, 8 + d.header_size + d.data_size);
	if (rc >= 0) {
		write_draft(&d, &w);
		rc = kc_writer_commit(&w);
	}
	draft_release(&d);
	return rc;
}

int kc_st_measure(const struct kc_st_item *items, size_t n, const struct kc_st_pair *meta,
		  size_t n_meta, uint64_t *bytes)
{
	struct draft d;
	int rc = draft_init(&d, items, n, meta, n_meta);

	if (rc >= 0)
		*bytes = 8 + d.header_size + d.data_size;
	draft_release(&d);
	return rc;
}
