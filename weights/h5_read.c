#include "weights/h5_private.h"

#include "core/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NAME = 1024,
	MOST_TENSORS = 1 << 20,
	MOST_NOTES = 1 << 16,
	NOTE_LIMIT = 16 << 20,
	/* What deflate can make of a byte, rounded up. */
	INFLATION = 1100
};

static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

bool kc_h5_is(const void *data, size_t size)
{
	return size >= sizeof signature && !memcmp(data, signature, sizeof signature);
}

/* ---- attributes ---- */

/* A text of variable length, which the library allocates. */
static char *read_variable(hid_t a, hid_t type)
{
	hid_t space = H5Aget_space(a);
	char *text = NULL, *copy = NULL;

	if (H5Aread(a, type, &text) >= 0 && text) {
		copy = kc_strdup(text);
		H5Dvlen_reclaim(type, space, H5P_DEFAULT, &text);
	}
	H5Sclose(space);
	return copy;
}

/* The attribute's text, to be freed; NULL when it is none. */
static char *read_text(hid_t a, size_t limit)
{
	hid_t type = H5Aget_type(a), space = H5Aget_space(a);
	size_t size = type < 0 ? 0 : H5Tget_size(type);
	bool is_text = type >= 0 && H5Tget_class(type) == H5T_STRING && space >= 0 &&
		       H5Sget_simple_extent_npoints(space) == 1;
	char *text = NULL;

	if (is_text && H5Tis_variable_str(type) > 0) {
		text = read_variable(a, type);
	} else if (is_text && size <= limit) {
		text = kc_calloc(size + 1, 1);
		if (text && H5Aread(a, type, text) < 0) {
			free(text);
			text = NULL;
		}
	}
	if (space >= 0)
		H5Sclose(space);
	if (type >= 0)
		H5Tclose(type);
	return text;
}

static char *attribute(hid_t object, const char *name)
{
	hid_t a = H5Aexists(object, name) > 0 ? H5Aopen(object, name, H5P_DEFAULT) : -1;
	char *text = a < 0 ? NULL : read_text(a, NAME);

	if (a >= 0)
		H5Aclose(a);
	return text;
}

static int read_notes(hid_t group, struct kc_h5 *f)
{
	int n = H5Aget_num_attrs(group);

	if (n < 0 || n > MOST_NOTES)
		return KC_FAIL(KC_EFORMAT, "the metadata cannot be counted");
	f->notes = kc_calloc((size_t)n, sizeof *f->notes);
	if (!f->notes)
		return KC_ENOMEM;
	for (int i = 0; i < n; i++) {
		hid_t a = H5Aopen_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, (hsize_t)i,
					 H5P_DEFAULT, H5P_DEFAULT);
		char name[NAME] = "", *text;

		if (a < 0 || H5Aget_name(a, sizeof name, name) < 0)
			return kc_h5_fail(KC_EFORMAT, "metadata");
		text = read_text(a, KC_MIN((size_t)NOTE_LIMIT, f->map.size));
		H5Aclose(a);
		if (!text)
			continue;
		f->notes[f->n_notes++] = (struct kc_st_pair){kc_strdup(name), text};
		if (!f->notes[f->n_notes - 1].key)
			return KC_ENOMEM;
	}
	return 0;
}

/* ---- tensors ---- */

/* The dtype that is stored so; "BF16" as an attribute makes it of 16 bits. */
static int find_dtype(hid_t d, enum kc_st_dtype *out)
{
	hid_t type = H5Dget_type(d);
	char *said = attribute(d, "dtype");
	bool found = false, is_bf16 = said && !strcmp(said, "BF16");

	for (int i = 0; i < KC_ST_N_DTYPES && !found && type >= 0; i++) {
		hid_t ours = kc_h5_type((enum kc_st_dtype)i);

		*out = (enum kc_st_dtype)i;
		found = H5Tequal(type, ours) > 0 && (i == KC_ST_BF16) == is_bf16;
		H5Tclose(ours);
	}
	free(said);
	if (type >= 0)
		H5Tclose(type);
	return found ? 0 : KC_FAIL(KC_EFORMAT, "its type is none that is known here");
}

static int read_shape(hid_t d, struct kc_st_tensor *t)
{
	hsize_t dims[H5S_MAX_RANK];
	hid_t space = H5Dget_space(d);
	int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
	bool good = rank >= 0 && rank <= KC_ST_DIMS &&
		    H5Sget_simple_extent_type(space) != H5S_NULL &&
		    H5Sget_simple_extent_dims(space, dims, NULL) == rank;

	if (space >= 0)
		H5Sclose(space);
	t->ndim = good ? rank : 0;
	for (int i = 0; good && i < rank; i++) {
		good = dims[i] <= INT64_MAX;
		t->dim[i] = (int64_t)dims[i];
	}
	return good && kc_st_measure_tensor(t) ? 0 : KC_FAIL(KC_EFORMAT, "its shape is too large");
}

/* Stored in this file, with no filters but those of the library itself. */
static bool is_own_storage(hid_t list)
{
	for (int i = 0; i < H5Pget_nfilters(list); i++) {
		size_t no_values = 0;
		unsigned flags;
		H5Z_filter_t z = H5Pget_filter2(list, (unsigned)i, &flags, &no_values, NULL, 0,
						NULL, NULL);

		if (z != H5Z_FILTER_DEFLATE && z != H5Z_FILTER_SHUFFLE &&
		    z != H5Z_FILTER_FLETCHER32)
			return false;
	}
	return H5Pget_external_count(list) == 0;
}

static int map_tensor(hid_t d, const struct kc_h5 *f, struct kc_st_tensor *t)
{
	haddr_t at = H5Dget_offset(d);

	if (at == HADDR_UNDEF || H5Dget_storage_size(d) != t->bytes || at > f->map.size ||
	    t->bytes > f->map.size - at)
		return KC_FAIL(KC_EFORMAT, "its %zu bytes are not in the file", t->bytes);
	t->data = f->map.data + at;
	return 0;
}

/* A chunk is read as a whole, so it must not be larger than what is asked for. */
static bool chunks_fit(hid_t list, const struct kc_st_tensor *t)
{
	size_t bytes = kc_st_dtype_size(t->dtype), most = KC_MAX(t->bytes, (size_t)1 << 20);
	hsize_t chunk[KC_ST_DIMS];

	if (H5Pget_chunk(list, KC_ST_DIMS, chunk) != t->ndim)
		return false;
	for (int i = 0; i < t->ndim; i++) {
		if (!chunk[i] || chunk[i] > most / bytes)
			return false;
		bytes *= chunk[i];
	}
	return true;
}

static int read_chunks(hid_t d, hid_t list, struct kc_h5 *f, struct kc_st_tensor *t)
{
	hid_t type;
	int rc = 0;

	if (!chunks_fit(list, t) || t->bytes / INFLATION > H5Dget_storage_size(d) ||
	    t->bytes / INFLATION > f->map.size)
		return KC_FAIL(KC_EFORMAT, "%zu bytes cannot come from its chunks", t->bytes);
	f->own[f->n] = kc_alloc(t->bytes);
	if (!f->own[f->n])
		return KC_ENOMEM;
	type = kc_h5_type(t->dtype);
	if (H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, f->own[f->n]) < 0)
		rc = kc_h5_fail(KC_EFORMAT, "cannot be read");
	H5Tclose(type);
	t->data = f->own[f->n];
	return rc;
}

static int read_data(hid_t d, struct kc_h5 *f, struct kc_st_tensor *t)
{
	hid_t list = H5Dget_create_plist(d);
	int rc;

	if (list < 0)
		return kc_h5_fail(KC_EFORMAT, "cannot be read");
	if (!is_own_storage(list))
		rc = KC_FAIL(KC_EFORMAT, "it lies in another file or behind a foreign filter");
	else if (!t->bytes)
		rc = 0;
	else if (H5Pget_layout(list) == H5D_CONTIGUOUS)
		rc = map_tensor(d, f, t);
	else if (H5Pget_layout(list) == H5D_CHUNKED)
		rc = read_chunks(d, list, f, t);
	else
		rc = KC_FAIL(KC_EFORMAT, "neither contiguous nor in chunks");
	H5Pclose(list);
	return rc;
}

static int check_sum(hid_t d, const struct kc_st_tensor *t)
{
	char *said = attribute(d, "xxh64"), sum[17];
	bool good;

	if (!said)
		return 0;
	snprintf(sum, sizeof sum, "%016llx",
		 (unsigned long long)kc_hash64(t->data, t->bytes, 0));
	good = !strcmp(said, sum);
	free(said);
	return good ? 0 : KC_FAIL(KC_EFORMAT, "damaged: its checksum differs");
}

static int read_dataset(hid_t d, struct kc_h5 *f, struct kc_st_tensor *t)
{
	KC_TRY(find_dtype(d, &t->dtype));
	KC_TRY(read_shape(d, t));
	KC_TRY(read_data(d, f, t));
	return t->bytes ? check_sum(d, t) : 0;
}

static int read_tensor(hid_t group, hsize_t i, struct kc_h5 *f)
{
	struct kc_st_tensor *t = &f->tensors[f->n];
	char name[NAME] = "";
	H5L_info_t link;
	ssize_t n = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name,
				       sizeof name, H5P_DEFAULT);
	hid_t d;
	int rc;

	if (n < 0 || (size_t)n >= sizeof name)
		return kc_h5_fail(KC_EFORMAT, "names of datasets");
	if (H5Lget_info(group, name, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
		return KC_FAIL(KC_EFORMAT, "\"%s\" is a link to elsewhere", name);
	d = H5Dopen2(group, name, H5P_DEFAULT);
	if (d < 0)
		return KC_FAIL(KC_EFORMAT, "\"%s\" is no dataset", name);
	t->name = kc_strdup(name);
	rc = t->name ? read_dataset(d, f, t) : KC_ENOMEM;
	H5Dclose(d);
	f->n++;
	return rc < 0 ? kc_cause(rc, "\"%s\"", name) : 0;
}

static int read_group(hid_t group, struct kc_h5 *f)
{
	H5G_info_t info;

	if (H5Gget_info(group, &info) < 0 || info.nlinks > MOST_TENSORS ||
	    info.nlinks > f->map.size)
		return KC_FAIL(KC_EFORMAT, "the datasets cannot be counted");
	f->tensors = kc_calloc(info.nlinks, sizeof *f->tensors);
	f->own = kc_calloc(info.nlinks, sizeof *f->own);
	if (!f->tensors || !f->own)
		return KC_ENOMEM;
	for (hsize_t i = 0; i < info.nlinks; i++)
		KC_TRY(read_tensor(group, i, f));
	return read_notes(group, f);
}

static int read_file(struct kc_h5 *f)
{
	hid_t file = H5Fopen(f->path, H5F_ACC_RDONLY, H5P_DEFAULT), group;
	H5L_info_t link;
	int rc;

	if (file < 0)
		return kc_h5_fail(KC_EFORMAT, "not a whole HDF5 file");
	group = H5Lget_info(file, "model", &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD
		? H5Gopen2(file, "model", H5P_DEFAULT) : -1;
	rc = group < 0 ? KC_FAIL(KC_EFORMAT, "an HDF5 file without the group /model")
		       : read_group(group, f);
	if (group >= 0)
		H5Gclose(group);
	H5Fclose(file);
	return rc;
}

static int compare_names(const void *a, const void *b)
{
	const struct kc_st_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int kc_h5_open(const char *path, struct kc_h5 *f)
{
	int rc;

	*f = (struct kc_h5){0};
	KC_TRY(kc_map_open(path, &f->map));
	f->path = kc_strdup(path);
	rc = f->path ? 0 : KC_ENOMEM;
	if (!rc && !kc_h5_is(f->map.data, f->map.size))
		rc = KC_FAIL(KC_EFORMAT, "no HDF5 file");
	kc_h5_begin();
	if (!rc)
		rc = read_file(f);
	if (rc < 0) {
		kc_cause(rc, "%s", path);
		kc_h5_close(f);
		return rc;
	}
	/* From here on nothing belongs together by index any more. */
	qsort(f->tensors, f->n, sizeof *f->tensors, compare_names);
	return 0;
}

void kc_h5_close(struct kc_h5 *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free((void *)(uintptr_t)f->tensors[i].name);
		free(f->own[i]);
	}
	for (size_t i = 0; i < f->n_notes; i++) {
		free((void *)(uintptr_t)f->notes[i].key);
		free((void *)(uintptr_t)f->notes[i].value);
	}
	free(f->tensors);
	free(f->own);
	free(f->notes);
	free(f->path);
	kc_map_close(&f->map);
	*f = (struct kc_h5){0};
}
