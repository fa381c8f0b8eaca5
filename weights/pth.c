#include "weights/pth_private.h"

#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LIMIT = 1024 };

/* The number that files of the older form begin with, as a pickled integer. */
static const unsigned char magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool is_zip(const unsigned char *bytes, size_t size)
{
	return size >= 4 && (!memcmp(bytes, "PK\3\4", 4) || !memcmp(bytes, "PK\5\6", 4));
}

bool kc_pth_is(const void *bytes, size_t size)
{
	const unsigned char *p = bytes;

	return is_zip(p, size) ||
	       (size && p[0] == 0x80 && memmem(p, KC_MIN(size, (size_t)32), magic, sizeof magic));
}

/* --- listing -------------------------------------------------------------------------- */

/* The tree of values on its way into the lists of *f. */
struct listing {
	struct kc_pth *f;
	size_t file_size, room, leaf_room;
	size_t effort;                  /* left: what the names and nodes to come may cost */
	uint64_t bytes;                 /* of all tensors */
	char name[NAME_LIMIT];
	size_t name_size;
};

/* Shared values must not make the listing far larger than the pickle. */
static int charge(struct listing *l, size_t effort)
{
	if (effort > l->effort)
		return KC_FAIL(KC_EFORMAT, "the list of its values would be far larger than it");
	l->effort -= effort;
	return 0;
}

static int take_name(struct listing *l, const char *none, char **name)
{
	KC_TRY(charge(l, l->name_size + 32));
	*name = kc_strdup(l->name_size ? l->name : none);
	return *name ? 0 : KC_ENOMEM;
}

static int add_tensor(struct listing *l, const struct kc_pth_view *v)
{
	struct kc_st_tensor *t;
	char *name;

	if (__builtin_add_overflow(l->bytes, v->t.bytes, &l->bytes) ||
	    l->bytes / 4 > l->file_size)
		return KC_FAIL(KC_EFORMAT, "\"%s\": tensors of %llu bytes in a file of %zu",
			       l->name, (unsigned long long)l->bytes, l->file_size);
	if (!v->storage->data)
		return KC_FAIL(KC_EFORMAT, "\"%s\": its storage is not in the file", l->name);
	KC_TRY(kc_make_room(&l->f->tensors, l->f->n, &l->room, sizeof *t));
	KC_TRY(take_name(l, "tensor", &name));
	t = &l->f->tensors[l->f->n++];
	*t = v->t;
	t->name = name;
	t->data = v->storage->data +
		  (t->count ? (v->storage->first + v->offset) * kc_st_dtype_size(t->dtype) : 0);
	return 0;
}

static char *value_text(const struct kc_pickle_value *v)
{
	switch (v->type) {
	case KC_PICKLE_NONE: return kc_strdup("None");
	case KC_PICKLE_BOOL: return kc_strdup(v->i ? "true" : "false");
	case KC_PICKLE_INT: return kc_format("%lld", (long long)v->i);
	case KC_PICKLE_REAL: return kc_format("%.17g", v->real);
	case KC_PICKLE_BYTES: return kc_format("%zu bytes", v->n);
	case KC_PICKLE_TEXT:
		if (v->n <= NAME_LIMIT && kc_utf8_valid(v->text, v->n))
			return kc_strdup(v->text);
		return kc_format("text of %zu bytes", v->n);
	default: return kc_strdup(kc_pickle_type_name(v->type));
	}
}

/* *room is that of f->leaves; takes over key and value. */
static int add_pair(struct kc_pth *f, size_t *room, char *key, char *value)
{
	int rc = key && value ? kc_make_room(&f->leaves, f->n_leaves, room, sizeof *f->leaves)
			      : KC_ENOMEM;

	if (rc < 0) {
		free(key);
		free(value);
		return rc;
	}
	f->leaves[f->n_leaves++] = (struct kc_st_pair){key, value};
	return 0;
}

static int add_leaf(struct listing *l, const struct kc_pickle_value *v)
{
	char *name;

	KC_TRY(take_name(l, "value", &name));
	return add_pair(l->f, &l->leaf_room, name, value_text(v));
}

/* Appends a key to the name; *before is its size without. */
static int push_name(struct listing *l, const char *key, size_t n, size_t *before)
{
	*before = l->name_size;
	KC_TRY(charge(l, 8));
	if (n + 2 > NAME_LIMIT - l->name_size)
		return KC_FAIL(KC_EFORMAT, "a name of more than %d bytes", NAME_LIMIT - 2);
	if (!kc_utf8_valid(key, n) || memchr(key, 0, n) || memchr(key, '\n', n))
		return KC_FAIL(KC_EFORMAT, "a key that is no plain text");
	if (l->name_size)
		l->name[l->name_size++] = '/';
	memcpy(l->name + l->name_size, key, n);
	l->name_size += n;
	l->name[l->name_size] = 0;
	return 0;
}

static void pop_name(struct listing *l, size_t before)
{
	l->name_size = before;
	l->name[before] = 0;
}

static int push_key(struct listing *l, const struct kc_pickle_value *key, size_t *before)
{
	char digits[24];

	if (key->type == KC_PICKLE_TEXT)
		return push_name(l, key->text, key->n, before);
	if (key->type != KC_PICKLE_INT)
		return KC_FAIL(KC_EFORMAT, "a dict with %s as a key",
			       kc_pickle_type_name(key->type));
	snprintf(digits, sizeof digits, "%lld", (long long)key->i);
	return push_name(l, digits, strlen(digits), before);
}

/* Recursive: values are less than KC_PICKLE_DEPTH levels deep. */
static int walk(struct listing *l, const struct kc_pickle_value *v)
{
	bool dict = v->type == KC_PICKLE_DICT;
	size_t before;

	if (v->type == KC_PICKLE_OBJECT && v->code == KC_PTH_TENSOR)
		return add_tensor(l, v->object);
	if (!dict && v->type != KC_PICKLE_LIST && v->type != KC_PICKLE_TUPLE)
		return add_leaf(l, v);
	for (size_t i = 0; i < v->n; i += dict ? 2 : 1) {
		struct kc_pickle_value index = {.type = KC_PICKLE_INT, .i = (int64_t)i};

		KC_TRY(push_key(l, dict ? v->item[i] : &index, &before));
		KC_TRY(walk(l, v->item[i + (dict ? 1 : 0)]));
		pop_name(l, before);
	}
	return 0;
}

static bool holds_tensor(const struct kc_pickle_value *dict)
{
	for (size_t i = 1; dict && dict->type == KC_PICKLE_DICT && i < dict->n; i += 2)
		if (dict->item[i]->type == KC_PICKLE_OBJECT && dict->item[i]->code == KC_PTH_TENSOR)
			return true;
	return false;
}

/* Where training programs keep the state dict in what they save. */
static const char *find_root(const struct kc_pickle_value *v)
{
	static const char *const keys[] = {"state_dict/", "model_state_dict/", "model/",
					   "params_ema/", "params/", "network/", "generator/"};
	char key[32];

	for (size_t i = 0; i < KC_COUNT(keys); i++) {
		snprintf(key, sizeof key, "%.*s", (int)strlen(keys[i]) - 1, keys[i]);
		if (holds_tensor(kc_pickle_get(v, key)))
			return keys[i];
	}
	return "";
}

static int by_name(const void *a, const void *b)
{
	const struct kc_st_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int list_values(struct kc_pth *f, const struct kc_pickle *p, size_t file_size)
{
	struct listing l = {.f = f,
			    .file_size = file_size,
			    .effort = 65536 + 16 * kc_pickle_size(p)};
	int rc = walk(&l, kc_pickle_root(p));

	if (rc < 0)
		return rc;
	f->root = find_root(kc_pickle_root(p));
	if (f->n)
		qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
	for (size_t i = 1; i < f->n; i++)
		if (!strcmp(f->tensors[i - 1].name, f->tensors[i].name))
			return KC_FAIL(KC_EFORMAT, "tensor \"%s\" is there twice",
				       f->tensors[i].name);
	return 0;
}

/* --- the zip form --------------------------------------------------------------------- */

static int check_byte_order(const struct kc_zip *z, const char *folder)
{
	char *name = kc_format("%sbyteorder", folder);
	struct kc_zip_entry *e = name ? kc_zip_find(z, name) : NULL;

	free(name);
	if (!name)
		return KC_ENOMEM;
	if (!e)
		return 0;
	if (e->size != 6 || memcmp(e->data, "little", 6))
		return KC_FAIL(KC_EFORMAT, "its byte order is not little-endian");
	return kc_zip_check(e);
}

/* The folder of all entries, with its slash: that of the first one. */
static char *find_folder(const struct kc_zip *z)
{
	const char *slash = z->n ? memchr(z->first->name, '/', z->first->name_size) : NULL;

	return kc_format("%.*s", slash ? (int)(slash - z->first->name) + 1 : 0,
			 slash ? z->first->name : "");
}

/* The metadata that kc_pth_save wrote, if there are any, become leaves. */
static int read_notes(struct kc_pth *f, const struct kc_pth_objects *o)
{
	char *name = kc_format("%s" KC_PTH_NOTES, o->folder);
	struct kc_zip_entry *e = name ? kc_zip_find(o->zip, name) : NULL;
	struct kc_json *json;
	size_t room = f->n_leaves;
	int rc = name ? 0 : KC_ENOMEM;

	free(name);
	if (rc < 0 || !e)
		return rc;
	KC_TRY(kc_zip_check(e));
	KC_TRY(kc_json_parse((const char *)e->data, e->size, &json));
	for (const struct kc_json *v = json->kind == KC_JSON_OBJECT ? json->first : NULL; v && !rc;
	     v = v->next)
		if (v->kind == KC_JSON_TEXT)
			rc = add_pair(f, &room, kc_strdup(v->key), kc_strdup(v->text));
	kc_json_free(json);
	return rc;
}

static int read_data(struct kc_pth *f, struct kc_pth_objects *o, size_t size)
{
	char *name = kc_format("%sdata.pkl", o->folder);
	struct kc_zip_entry *e = name ? kc_zip_find(o->zip, name) : NULL;
	struct kc_pickle_hooks hooks = kc_pth_hooks;
	struct kc_pickle *p;
	int rc;

	free(name);
	if (!name)
		return KC_ENOMEM;
	if (!e)
		return KC_FAIL(KC_EFORMAT, "a zip archive, but not of torch.save: it has no "
			       "data.pkl");
	KC_TRY(kc_zip_check(e));
	KC_TRY(check_byte_order(o->zip, o->folder));
	hooks.user = o;
	KC_TRY(kc_pickle_read(e->data, e->size, &hooks, &p));
	rc = list_values(f, p, size);
	kc_pickle_free(p);
	return rc < 0 ? rc : read_notes(f, o);
}

static int read_zip(struct kc_pth *f, const unsigned char *bytes, size_t size)
{
	struct kc_pth_objects o = {.map = &f->map};
	struct kc_zip z;
	char *folder;
	int rc;

	f->form = "PyTorch";
	KC_TRY(kc_zip_open(bytes, size, &z));
	folder = find_folder(&z);
	o.zip = &z;
	o.folder = folder;
	rc = folder ? read_data(f, &o, size) : KC_ENOMEM;
	kc_pth_objects_release(&o);
	free(folder);
	kc_zip_close(&z);
	return rc;
}

/* --- the older form: five pickles, then the storages ---------------------------------- */

struct stream {
	const unsigned char *at;
	size_t left;
};

static int next_pickle(struct stream *s, const struct kc_pickle_hooks *hooks, struct kc_pickle **p)
{
	KC_TRY(kc_pickle_read(s->at, s->left, hooks, p));
	s->at += kc_pickle_size(*p);
	s->left -= kc_pickle_size(*p);
	return 0;
}

static bool is_header(int i, const struct kc_pickle_value *v)
{
	const struct kc_pickle_value *little;

	switch (i) {
	case 0: return v->type == KC_PICKLE_LONG && v->n == sizeof magic &&
		       !memcmp(v->text, magic, sizeof magic);
	case 1: return v->type == KC_PICKLE_INT && v->i == 1001;
	default:
		little = kc_pickle_get(v, "little_endian");
		return little && little->type == KC_PICKLE_BOOL && little->i;
	}
}

static int read_headers(struct stream *s)
{
	static const char *const what[] = {"it does not begin as torch.save's files do",
					   "the version of the form is not 1001",
					   "its byte order is not little-endian"};

	for (int i = 0; i < 3; i++) {
		struct kc_pickle *p;
		bool good;

		KC_TRY(next_pickle(s, NULL, &p));
		good = is_header(i, kc_pickle_root(p));
		kc_pickle_free(p);
		if (!good)
			return KC_FAIL(KC_EFORMAT, "%s", what[i]);
	}
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct kc_pth_storage *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* The first storage of that key in the sorted list; o->n if there is none. */
static size_t find_storage(const struct kc_pth_objects *o, const char *key)
{
	size_t low = 0, high = o->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(o->storages[middle]->key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Gives its data to every storage of that key. */
static int read_storage(struct stream *s, struct kc_pth_objects *o, const char *key)
{
	size_t i = find_storage(o, key), bytes = 0, first = i;
	int64_t count;

	if (s->left < sizeof count)
		return KC_FAIL(KC_EFORMAT, "cut short: storage %.32s is missing", key);
	memcpy(&count, s->at, sizeof count);
	s->at += sizeof count;
	s->left -= sizeof count;
	for (; i < o->n && !strcmp(o->storages[i]->key, key); i++) {
		struct kc_pth_storage *t = o->storages[i];
		size_t size = t->count * kc_st_dtype_size(t->dtype);

		if (count < 0 || t->count != (size_t)count || t->data ||
		    (i > first && size != bytes))
			return KC_FAIL(KC_EFORMAT, "storage %.32s: sizes that contradict", key);
		bytes = size;
		t->data = s->at;
	}
	if (i == first)
		return KC_FAIL(KC_EFORMAT, "storage %.32s belongs to no tensor", key);
	if (bytes > s->left)
		return KC_FAIL(KC_EFORMAT, "cut short: storage %.32s has %zu of %zu bytes", key,
			       s->left, bytes);
	s->at += bytes;
	s->left -= bytes;
	return 0;
}

static int read_storages(struct stream *s, struct kc_pth_objects *o,
			 const struct kc_pickle_value *keys)
{
	if (keys->type != KC_PICKLE_LIST)
		return KC_FAIL(KC_EFORMAT, "the list of storages is missing");
	if (keys->n > o->n)
		return KC_FAIL(KC_EFORMAT, "%zu storages, %zu are used", keys->n, o->n);
	if (o->n)
		qsort(o->storages, o->n, sizeof *o->storages, by_key);
	for (size_t i = 0; i < keys->n; i++) {
		if (keys->item[i]->type != KC_PICKLE_TEXT)
			return KC_FAIL(KC_EFORMAT, "a storage's key is no text");
		KC_TRY(read_storage(s, o, keys->item[i]->text));
	}
	if (s->left)
		return KC_FAIL(KC_EFORMAT, "%zu bytes follow the last storage", s->left);
	return 0;
}

static int read_body(struct stream *s, struct kc_pth *f, struct kc_pth_objects *o, size_t size)
{
	struct kc_pickle_hooks hooks = kc_pth_hooks;
	struct kc_pickle *values, *keys;
	int rc;

	hooks.user = o;
	KC_TRY(next_pickle(s, &hooks, &values));
	rc = next_pickle(s, NULL, &keys);
	if (rc >= 0) {
		rc = read_storages(s, o, kc_pickle_root(keys));
		kc_pickle_free(keys);
	}
	if (rc >= 0)
		rc = list_values(f, values, size);
	kc_pickle_free(values);
	return rc;
}

static int read_old(struct kc_pth *f, const unsigned char *bytes, size_t size)
{
	struct stream s = {bytes, size};
	struct kc_pth_objects o = {.map = &f->map};
	int rc;

	f->form = "PyTorch before 1.6";
	KC_TRY(read_headers(&s));
	rc = read_body(&s, f, &o, size);
	kc_pth_objects_release(&o);
	return rc;
}

/* --- opening -------------------------------------------------------------------------- */

static int read_bytes(struct kc_pth *f, const void *data, size_t size)
{
	int rc;

	f->root = "";
	if (!size)
		rc = KC_FAIL(KC_EFORMAT, "an empty file");
	else
		rc = is_zip(data, size) ? read_zip(f, data, size) : read_old(f, data, size);
	if (rc < 0) {
		rc = kc_cause(rc, "%s", f->path);
		kc_pth_close(f);
	}
	return rc;
}

int kc_pth_open_memory(const char *name, const void *data, size_t size, struct kc_pth *f)
{
	*f = (struct kc_pth){.path = kc_strdup(name)};
	return f->path ? read_bytes(f, data, size) : KC_ENOMEM;
}

int kc_pth_open(const char *path, struct kc_pth *f)
{
	*f = (struct kc_pth){0};
	KC_TRY(kc_map_open(path, &f->map));
	f->path = kc_strdup(path);
	if (!f->path) {
		kc_pth_close(f);
		return KC_ENOMEM;
	}
	return read_bytes(f, f->map.data, f->map.size);
}

void kc_pth_close(struct kc_pth *f)
{
	for (size_t i = 0; i < f->n; i++)
		free((char *)f->tensors[i].name);
	for (size_t i = 0; i < f->n_leaves; i++) {
		free((char *)f->leaves[i].key);
		free((char *)f->leaves[i].value);
	}
	free(f->tensors);
	free(f->leaves);
	free(f->path);
	kc_map_close(&f->map);
	*f = (struct kc_pth){0};
}

const struct kc_st_tensor *kc_pth_find(const struct kc_pth *f, const char *name)
{
	struct kc_st_tensor key = {.name = name};

	return f->n ? bsearch(&key, f->tensors, f->n, sizeof key, by_name) : NULL;
}

const char *kc_pth_leaf(const struct kc_pth *f, const char *name)
{
	for (size_t i = 0; i < f->n_leaves; i++)
		if (!strcmp(f->leaves[i].key, name))
			return f->leaves[i].value;
	return NULL;
}
