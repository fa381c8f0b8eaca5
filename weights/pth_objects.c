/* The names that a file of torch.save may use, and what they build. */
#include "weights/pth_private.h"

#include <stdlib.h>
#include <string.h>

enum code { ORDERED_DICT, COUNTER, TENSOR, TENSOR_V2, PARAMETER, NUMPY_DTYPE, NUMPY_SCALAR, ENCODE,
	    STORAGE };          /* STORAGE + enum kc_st_dtype */

static const struct {
	const char *module, *name;
	int code;
} globals[] = {
	{"collections", "OrderedDict", ORDERED_DICT},
	{"collections", "Counter", COUNTER},
	{"torch._utils", "_rebuild_tensor", TENSOR},
	{"torch._utils", "_rebuild_tensor_v2", TENSOR_V2},
	{"torch._utils", "_rebuild_parameter", PARAMETER},
	{"numpy", "dtype", NUMPY_DTYPE},
	{"numpy.core.multiarray", "scalar", NUMPY_SCALAR},
	{"numpy._core.multiarray", "scalar", NUMPY_SCALAR},
	{"_codecs", "encode", ENCODE},
	{"torch", "DoubleStorage", STORAGE + KC_ST_F64},
	{"torch", "FloatStorage", STORAGE + KC_ST_F32},
	{"torch", "HalfStorage", STORAGE + KC_ST_F16},
	{"torch", "BFloat16Storage", STORAGE + KC_ST_BF16},
	{"torch", "LongStorage", STORAGE + KC_ST_I64},
	{"torch", "IntStorage", STORAGE + KC_ST_I32},
	{"torch", "ShortStorage", STORAGE + KC_ST_I16},
	{"torch", "CharStorage", STORAGE + KC_ST_I8},
	{"torch", "ByteStorage", STORAGE + KC_ST_U8},
	{"torch", "BoolStorage", STORAGE + KC_ST_BOOL},
};

static int find_global(void *user, const char *module, const char *name, int *code)
{
	(void)user;
	for (size_t i = 0; i < KC_COUNT(globals); i++)
		if (!strcmp(module, globals[i].module) && !strcmp(name, globals[i].name)) {
			*code = globals[i].code;
			return 0;
		}
	return KC_FAIL(KC_EFORMAT, "refuses to call %s.%s", module, name);
}

const char *kc_pth_storage_name(enum kc_st_dtype dtype)
{
	size_t i = 0;

	while (globals[i].code != (int)(STORAGE + dtype))
		i++;
	return globals[i].name;
}

/* Zeroed memory that lives as long as the objects. */
static void *take(struct kc_pth_objects *o, size_t size)
{
	size_t header = sizeof(long double);
	struct kc_pth_block *b = kc_calloc(1, header + size);

	if (!b)
		return NULL;
	b->next = o->blocks;
	o->blocks = b;
	return (char *)b + header;
}

void kc_pth_objects_release(struct kc_pth_objects *o)
{
	while (o->blocks) {
		struct kc_pth_block *next = o->blocks->next;

		free(o->blocks);
		o->blocks = next;
	}
	free(o->storages);
}

static int new_object(struct kc_pickle *p, enum kc_pth_object kind, void *object,
		      struct kc_pickle_value **out)
{
	*out = object ? kc_pickle_new(p, KC_PICKLE_OBJECT) : NULL;
	if (!*out)
		return KC_ENOMEM;
	(*out)->code = (int)kind;
	(*out)->object = object;
	(*out)->frozen = true;          /* it has no items, so none may be appended */
	return 0;
}

static bool is_object(const struct kc_pickle_value *v, enum kc_pth_object kind)
{
	return v->type == KC_PICKLE_OBJECT && v->code == (int)kind;
}

static bool is_text(const struct kc_pickle_value *v, const char *text)
{
	return v->type == KC_PICKLE_TEXT && v->n == strlen(text) && !memcmp(v->text, text, v->n);
}

/* A number >= 0; LONG is an integer whose bytes beyond the eighth may say nothing. */
static bool is_count(const struct kc_pickle_value *v, int64_t *count)
{
	*count = -1;
	if (v->type == KC_PICKLE_INT) {
		*count = v->i;
	} else if (v->type == KC_PICKLE_LONG) {
		memcpy(count, v->text, sizeof *count);
		for (size_t i = sizeof *count; i < v->n; i++)
			if (v->text[i])
				return false;
	}
	return *count >= 0;
}

/* --- storages ------------------------------------------------------------------------- */

static int add_storage(struct kc_pth_objects *o, struct kc_pth_storage *s)
{
	if (o->n == o->room) {
		size_t room = o->room ? 2 * o->room : 64;
		void *grown = kc_realloc(o->storages, room, sizeof(struct kc_pth_storage *));

		if (!grown)
			return KC_ENOMEM;
		o->storages = grown;
		o->room = room;
	}
	o->storages[o->n++] = s;
	return 0;
}

/* The entry "<folder>data/<key>" of the archive, whose size must be the storage's. */
static int find_data(struct kc_pth_objects *o, struct kc_pth_storage *s)
{
	size_t bytes = s->count * kc_st_dtype_size(s->dtype);
	char *name = kc_format("%sdata/%s", o->folder, s->key);
	struct kc_zip_entry *e = name ? kc_zip_find(o->zip, name) : NULL;
	bool first = e && !e->checked;

	free(name);
	if (!name)
		return KC_ENOMEM;
	if (!e)
		return KC_FAIL(KC_EFORMAT, "storage %.32s is not in the archive", s->key);
	if (e->size < bytes || e->size - bytes >= kc_st_dtype_size(s->dtype))
		return KC_FAIL(KC_EFORMAT, "storage %.32s has %zu bytes, expected %zu", s->key,
			       e->size, bytes);
	KC_TRY(kc_zip_check(e));
	if (first)
		kc_map_forget(o->map, e->data, e->size);
	s->data = e->data;
	return 0;
}

static int check_key(const struct kc_pickle_value *v)
{
	static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";

	if (v->type != KC_PICKLE_TEXT || !v->n || v->n > 64 || strspn(v->text, allowed) != v->n)
		return KC_FAIL(KC_EFORMAT, "a storage's key is no plain word");
	return 0;
}

/* (key, first, elements): before PyTorch 0.4, a storage could be a part of another one. */
static int read_storage_view(const struct kc_pickle_value *v, struct kc_pth_storage *s)
{
	int64_t first, limit;

	if (v->type == KC_PICKLE_NONE)
		return 0;
	if (v->type != KC_PICKLE_TUPLE || v->n != 3 || !is_count(v->item[1], &first) ||
	    !is_count(v->item[2], &limit) || (uint64_t)first > s->count ||
	    (uint64_t)limit > s->count - (size_t)first)
		return KC_FAIL(KC_EFORMAT, "storage %.32s: a view that leaves it", s->key);
	s->first = (size_t)first;
	s->limit = (size_t)limit;
	return 0;
}

/* ("storage", type, key, location, elements), in the older form with a view or None behind. */
static int read_persistent(void *user, struct kc_pickle *p, struct kc_pickle_value *id,
			   struct kc_pickle_value **out)
{
	struct kc_pickle_value *const *v = id->item;
	struct kc_pth_objects *o = user;
	struct kc_pth_storage *s;
	int64_t count;

	if (id->type != KC_PICKLE_TUPLE || id->n < 5 || id->n > 6 || !is_text(v[0], "storage"))
		return KC_FAIL(KC_EFORMAT, "a persistent id that is no storage");
	if (v[1]->type != KC_PICKLE_GLOBAL || v[1]->code < STORAGE)
		return KC_FAIL(KC_EFORMAT, "a storage of unknown type");
	KC_TRY(check_key(v[2]));
	if (!is_count(v[4], &count) || count > INT64_MAX / 8)
		return KC_FAIL(KC_EFORMAT, "storage %.32s: impossible number of elements",
			       v[2]->text);
	s = take(o, sizeof *s);
	KC_TRY(new_object(p, KC_PTH_STORAGE, s, out));
	s->key = v[2]->text;
	s->dtype = (enum kc_st_dtype)(v[1]->code - STORAGE);
	s->count = s->limit = (size_t)count;
	if (id->n == 6)
		KC_TRY(read_storage_view(v[5], s));
	if (o->zip)
		KC_TRY(find_data(o, s));
	return add_storage(o, s);
}

/* --- tensors -------------------------------------------------------------------------- */

/* The last element that a tensor reaches lies in its storage. */
static int check_reach(const struct kc_pth_view *v)
{
	size_t last = v->offset;

	if (!v->t.count)
		return 0;
	for (int i = 0; i < v->t.ndim; i++) {
		size_t way;

		if (__builtin_mul_overflow((size_t)v->t.dim[i] - 1, (size_t)v->t.stride[i], &way) ||
		    __builtin_add_overflow(last, way, &last))
			return KC_FAIL(KC_EFORMAT, "a tensor's strides overflow");
	}
	if (last >= v->storage->limit)
		return KC_FAIL(KC_EFORMAT, "a tensor reaches element %zu of a storage of %zu",
			       last, v->storage->limit);
	return 0;
}

static int read_shape(const struct kc_pickle_value *size, const struct kc_pickle_value *stride,
		      struct kc_st_tensor *t)
{
	int64_t step[KC_ST_DIMS] = {0};

	if (size->type != KC_PICKLE_TUPLE || stride->type != KC_PICKLE_TUPLE ||
	    size->n != stride->n)
		return KC_FAIL(KC_EFORMAT, "a tensor's sizes and strides do not fit");
	if (size->n > KC_ST_DIMS)
		return KC_FAIL(KC_EFORMAT, "a tensor of %zu dimensions, at most %d are supported",
			       size->n, KC_ST_DIMS);
	t->ndim = (int)size->n;
	for (int i = 0; i < t->ndim; i++)
		if (!is_count(size->item[i], &t->dim[i]) || !is_count(stride->item[i], &step[i]))
			return KC_FAIL(KC_EFORMAT, "a tensor's size or stride is no number >= 0");
	if (!kc_st_measure_tensor(t))
		return KC_FAIL(KC_EFORMAT, "a tensor's element count overflows");
	memcpy(t->stride, step, sizeof step);
	return 0;
}

/* (storage, offset, sizes, strides, ...) */
static int build_tensor(struct kc_pth_objects *o, struct kc_pickle *p,
			const struct kc_pickle_value *args, struct kc_pickle_value **out)
{
	struct kc_pickle_value *const *a = args->item;
	struct kc_pth_view *v;
	int64_t offset;

	if (args->n < 4 || args->n > 7 || !is_object(a[0], KC_PTH_STORAGE))
		return KC_FAIL(KC_EFORMAT, "a tensor without a storage");
	if (!is_count(a[1], &offset))
		return KC_FAIL(KC_EFORMAT, "a tensor's offset is no number >= 0");
	v = take(o, sizeof *v);
	KC_TRY(new_object(p, KC_PTH_TENSOR, v, out));
	v->storage = a[0]->object;
	v->offset = (size_t)offset;
	v->t.dtype = v->storage->dtype;
	KC_TRY(read_shape(a[2], a[3], &v->t));
	return check_reach(v);
}

/* --- the rest ------------------------------------------------------------------------- */

/* OrderedDict(), or Python 2's OrderedDict([[key, value], ...]). */
static int build_dict(struct kc_pickle *p, const struct kc_pickle_value *args,
		      struct kc_pickle_value **out)
{
	const struct kc_pickle_value *list = args->n ? args->item[0] : NULL;

	if (args->n > 1 || (list && list->type != KC_PICKLE_LIST))
		return KC_FAIL(KC_EFORMAT, "an OrderedDict made from %s",
			       kc_pickle_type_name(list ? list->type : KC_PICKLE_NONE));
	*out = kc_pickle_new(p, KC_PICKLE_DICT);
	if (!*out)
		return KC_ENOMEM;
	for (size_t i = 0; list && i < list->n; i++) {
		const struct kc_pickle_value *pair = list->item[i];

		if ((pair->type != KC_PICKLE_LIST && pair->type != KC_PICKLE_TUPLE) || pair->n != 2)
			return KC_FAIL(KC_EFORMAT, "an OrderedDict made from no pairs");
		KC_TRY(kc_pickle_append(p, *out, pair->item[0]));
		KC_TRY(kc_pickle_append(p, *out, pair->item[1]));
	}
	return 0;
}

/* _codecs.encode(text, "latin1"): how Python 3 writes bytes in protocol 2. */
static int build_bytes(struct kc_pickle *p, struct kc_pickle_value *args, struct kc_pth_objects *o,
		       struct kc_pickle_value **out)
{
	const unsigned char *s;
	char *bytes;
	size_t n = 0;

	if (args->n != 2 || args->item[0]->type != KC_PICKLE_TEXT ||
	    !is_text(args->item[1], "latin1"))
		return KC_FAIL(KC_EFORMAT, "refuses to call _codecs.encode with other than latin1");
	*out = kc_pickle_new(p, KC_PICKLE_BYTES);
	bytes = take(o, args->item[0]->n + 1);
	if (!*out || !bytes)
		return KC_ENOMEM;
	s = (const unsigned char *)args->item[0]->text;
	for (size_t i = 0; i < args->item[0]->n; i++) {
		/* Code points up to 255 are one byte, or two that begin with 0xc2 or 0xc3. */
		if (s[i] >= 0x80 && ((s[i] & 0xfe) != 0xc2 || (s[i + 1] & 0xc0) != 0x80))
			return KC_FAIL(KC_EFORMAT, "_codecs.encode: a character beyond latin1");
		if (s[i] >= 0x80) {
			bytes[n++] = (char)((s[i] & 3) << 6 | (s[i + 1] & 0x3f));
			i++;
		} else {
			bytes[n++] = (char)s[i];
		}
	}
	(*out)->text = bytes;
	(*out)->n = n;
	return 0;
}

static const struct {
	const char *name;
	enum kc_st_dtype dtype;
} numpy_dtypes[] = {
	{"f8", KC_ST_F64}, {"f4", KC_ST_F32}, {"f2", KC_ST_F16}, {"i8", KC_ST_I64},
	{"i4", KC_ST_I32}, {"i2", KC_ST_I16}, {"i1", KC_ST_I8}, {"u1", KC_ST_U8},
	{"b1", KC_ST_BOOL},
};

static int build_numpy_dtype(struct kc_pth_objects *o, struct kc_pickle *p,
			     const struct kc_pickle_value *args, struct kc_pickle_value **out)
{
	for (size_t i = 0; i < KC_COUNT(numpy_dtypes) && args->n; i++)
		if (is_text(args->item[0], numpy_dtypes[i].name)) {
			enum kc_st_dtype *dtype = take(o, sizeof *dtype);

			KC_TRY(new_object(p, KC_PTH_NUMPY_DTYPE, dtype, out));
			*dtype = numpy_dtypes[i].dtype;
			return 0;
		}
	return KC_FAIL(KC_EFORMAT, "a numpy dtype that is not supported");
}

/* (dtype, bytes) */
static int build_numpy_scalar(struct kc_pickle *p, const struct kc_pickle_value *args,
			      struct kc_pickle_value **out)
{
	const struct kc_pickle_value *bytes = args->n == 2 ? args->item[1] : NULL;
	struct kc_st_tensor t = {.count = 1};

	if (!bytes || !is_object(args->item[0], KC_PTH_NUMPY_DTYPE) ||
	    bytes->type != KC_PICKLE_BYTES)
		return KC_FAIL(KC_EFORMAT, "a numpy scalar without dtype and bytes");
	t.dtype = *(const enum kc_st_dtype *)args->item[0]->object;
	t.data = bytes->text;
	t.bytes = kc_st_dtype_size(t.dtype);
	if (bytes->n != t.bytes)
		return KC_FAIL(KC_EFORMAT, "a numpy scalar of %zu bytes, expected %zu", bytes->n,
			       t.bytes);
	*out = kc_pickle_new(p, t.dtype < KC_ST_I64 ? KC_PICKLE_REAL : KC_PICKLE_INT);
	if (!*out)
		return KC_ENOMEM;
	return t.dtype < KC_ST_I64 ? kc_st_read_f64(&t, &(*out)->real, 1)
				   : kc_st_read_i64(&t, &(*out)->i, 1);
}

static int reduce(void *user, struct kc_pickle *p, const struct kc_pickle_value *callee,
		  struct kc_pickle_value *args, struct kc_pickle_value **out)
{
	struct kc_pth_objects *o = user;

	switch (callee->code) {
	case ORDERED_DICT:
		return build_dict(p, args, out);
	case COUNTER:
		if (args->n != 1 || args->item[0]->type != KC_PICKLE_DICT)
			return KC_FAIL(KC_EFORMAT, "a Counter made from no dict");
		*out = args->item[0];
		return 0;
	case TENSOR:
	case TENSOR_V2:
		return build_tensor(o, p, args, out);
	case PARAMETER:
		if (!args->n || !is_object(args->item[0], KC_PTH_TENSOR))
			return KC_FAIL(KC_EFORMAT, "a parameter made from no tensor");
		*out = args->item[0];
		return 0;
	case NUMPY_DTYPE:
		return build_numpy_dtype(o, p, args, out);
	case NUMPY_SCALAR:
		return build_numpy_scalar(p, args, out);
	case ENCODE:
		return build_bytes(p, args, o, out);
	default:
		return KC_FAIL(KC_EFORMAT, "refuses to call %s", callee->text);
	}
}

/* An OrderedDict's attribute _metadata, which is passed over, and a numpy dtype's byte order. */
static int build(void *user, struct kc_pickle *p, struct kc_pickle_value *object,
		 struct kc_pickle_value *state, struct kc_pickle_value **out)
{
	(void)user;
	(void)p;
	*out = object;
	if (is_object(object, KC_PTH_NUMPY_DTYPE)) {
		if (state->type == KC_PICKLE_TUPLE && state->n >= 2 &&
		    (is_text(state->item[1], "<") || is_text(state->item[1], "|")))
			return 0;
		return KC_FAIL(KC_EFORMAT, "a numpy dtype that is not little-endian");
	}
	if (object->type != KC_PICKLE_DICT || state->type != KC_PICKLE_DICT)
		return KC_FAIL(KC_EFORMAT, "refuses to set the state of %s",
			       kc_pickle_type_name(object->type));
	for (size_t i = 0; i < state->n; i += 2)
		if (!is_text(state->item[i], "_metadata"))
			return KC_FAIL(KC_EFORMAT, "refuses to set attributes of a dict");
	return 0;
}

const struct kc_pickle_hooks kc_pth_hooks = {NULL, find_global, reduce, build, read_persistent};
