/*
 * safetensors files (github.com/huggingface/safetensors, "Format"): 8 bytes of header
 * length, a JSON header, the tensors' bytes.  Little endian, row-major, no code, no paths.
 *
 * The reader trusts nothing: header length, JSON, dtypes, products of dimensions, and that
 * the tensors cover the data exactly, without overlaps or holes.  What it returns points
 * into a map of the file and lives until kc_st_close.
 */
#ifndef KC_WEIGHTS_SAFETENSORS_H
#define KC_WEIGHTS_SAFETENSORS_H

#include "core/base.h"
#include "core/file.h"

struct kc_json;

#define KC_ST_DTYPES(X) \
	X(F64, 8) X(F32, 4) X(F16, 2) X(BF16, 2) X(I64, 8) X(I32, 4) X(I16, 2) X(I8, 1) \
	X(U8, 1) X(BOOL, 1)

enum kc_st_dtype {
#define X(name, size) KC_ST_##name,
	KC_ST_DTYPES(X)
#undef X
	KC_ST_N_DTYPES
};

enum {
	KC_ST_DIMS = 8,
	KC_ST_HEADER_LIMIT = 100 << 20
};

const char *kc_st_dtype_name(enum kc_st_dtype);    /* "F32" */
size_t kc_st_dtype_size(enum kc_st_dtype);         /* bytes of one element */

struct kc_st_tensor {
	const char *name;
	enum kc_st_dtype dtype;
	int ndim;                       /* 0: a scalar */
	int64_t dim[KC_ST_DIMS];
	int64_t stride[KC_ST_DIMS];     /* in elements; row-major in safetensors, not in .pth */
	const void *data;               /* perhaps unaligned: read it with kc_st_read_* or _copy */
	size_t bytes, count;            /* count = product of dim, bytes = count * element size */
};

struct kc_st {
	struct kc_st_tensor *tensors;   /* n of them, sorted by name (strcmp) */
	size_t n;
	const struct kc_json *meta;     /* __metadata__, an object of texts; NULL if absent */
	struct kc_json *header;
	struct kc_map map;
	char *path;
};

/*
 * KC_ENOENT, KC_EIO, KC_ENOMEM, or KC_EFORMAT with a message that names file and tensor.
 * On failure *f is zeroed and needs no close.
 */
int kc_st_open(const char *path, struct kc_st *f);

/* The same for bytes in memory, which must outlive *f; name stands in messages. */
int kc_st_open_memory(const char *name, const void *data, size_t size, struct kc_st *f);
void kc_st_close(struct kc_st *f);

const struct kc_st_tensor *kc_st_find(const struct kc_st *, const char *name);  /* or NULL */
const char *kc_st_meta(const struct kc_st *, const char *key);                  /* or NULL */

/*
 * Fills in count, bytes and row-major strides from dtype and dim; false when a dimension is
 * negative or the product overflows.
 */
bool kc_st_measure_tensor(struct kc_st_tensor *);
bool kc_st_is_dense(const struct kc_st_tensor *);   /* row-major without gaps */

/* The tensor's elements as they are, row-major: t->bytes bytes. */
void kc_st_copy(const struct kc_st_tensor *, void *out);

/*
 * The tensor's elements, row-major, converted (to nearest even; BOOL gives 0 or 1).  count is the
 * caller's number of elements: KC_ESHAPE when the tensor has another.  _i64 takes integer
 * tensors alone, else KC_EFORMAT.
 */
int kc_st_read_f32(const struct kc_st_tensor *, float *out, size_t count);
int kc_st_read_f64(const struct kc_st_tensor *, double *out, size_t count);
int kc_st_read_i64(const struct kc_st_tensor *, int64_t *out, size_t count);

/* A tensor to be written; data is dense, row-major and may be NULL where count is 0. */
struct kc_st_item {
	const char *name;
	enum kc_st_dtype dtype;
	int ndim;
	int64_t dim[KC_ST_DIMS];
	const void *data;
};

struct kc_st_pair {
	const char *key, *value;
};

/* Bytes of an item's data; KC_EINVAL for negative, too many or too large dimensions. */
int kc_st_item_bytes(const struct kc_st_item *, size_t *bytes);

/*
 * Writes a file atomically (core/file.h).  Equal contents give equal bytes: tensors lie by
 * element size, widest first, then by name, so that all are aligned; metadata by key.
 * Names must be unique UTF-8 and not "__metadata__".
 */
int kc_st_save(const char *path, const struct kc_st_item *items, size_t n,
	       const struct kc_st_pair *meta, size_t n_meta);

/* The number of bytes kc_st_save would write. */
int kc_st_measure(const struct kc_st_item *items, size_t n, const struct kc_st_pair *meta,
		  size_t n_meta, uint64_t *bytes);

#endif
