/* The child's side: reads with the library and sends records (weights/h5_private.h). */
#include "weights/h5_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- sending ---- */

static int send_bytes(int fd, const void *data, size_t n)
{
	const char *at = data;

	while (n) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return KC_FAIL(KC_EIO, "cannot send: %s", strerror(errno));
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int send_record(int fd, struct kc_h5_record *r, const char *first, const char *second)
{
	r->text[0] = first ? strlen(first) : 0;
	r->text[1] = second ? strlen(second) : 0;
	KC_TRY(send_bytes(fd, r, sizeof *r));
	KC_TRY(send_bytes(fd, first, r->text[0]));
	return send_bytes(fd, second, r->text[1]);
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
	char *text = a < 0 ? NULL : read_text(a, KC_H5_NAME);

	if (a >= 0)
		H5Aclose(a);
	return text;
}

static int send_notes(hid_t group, size_t file_size, int fd)
{
	int n = H5Aget_num_attrs(group);

	for (int i = 0; i < n; i++) {
		hid_t a = H5Aopen_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, (hsize_t)i,
					 H5P_DEFAULT, H5P_DEFAULT);
		struct kc_h5_record r = {.kind = KC_H5_NOTE};
		char name[KC_H5_NAME] = "", *text;
		int rc;

		if (a < 0 || H5Aget_name(a, sizeof name, name) < 0)
			return kc_h5_fail(KC_EFORMAT, "metadata");
		text = read_text(a, KC_MIN((size_t)KC_H5_NOTE_LIMIT, file_size));
		H5Aclose(a);
		rc = text ? send_record(fd, &r, name, text) : 0;
		free(text);
		KC_TRY(rc);
	}
	return 0;
}

/* ---- tensors ---- */

/* For people: "a big-endian float of 4 bytes". */
static int refuse_type(hid_t type)
{
	H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
	bool is_float = class == H5T_FLOAT, is_signed;

	if (!is_float && class != H5T_INTEGER)
		return KC_FAIL(KC_EFORMAT, "its type is neither a float nor an integer nor a bool");
	is_signed = is_float || H5Tget_sign(type) != H5T_SGN_NONE;
	return KC_FAIL(KC_EFORMAT, "its type is none that is known here: a %s%s%s of %zu bytes",
		       H5Tget_order(type) == H5T_ORDER_BE ? "big-endian " : "",
		       is_signed ? "" : "unsigned ", is_float ? "float" : "integer",
		       H5Tget_size(type));
}

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
	if (!found)
		refuse_type(type);
	free(said);
	if (type >= 0)
		H5Tclose(type);
	return found ? 0 : KC_EFORMAT;
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

static int find_tensor(hid_t d, const struct kc_st_tensor *t, struct kc_h5_record *r)
{
	haddr_t at = H5Dget_offset(d);

	if (at == HADDR_UNDEF || H5Dget_storage_size(d) != t->bytes)
		return KC_FAIL(KC_EFORMAT, "its %zu bytes are not in the file", t->bytes);
	r->at = at;
	return 0;
}

/*
 * A chunk is read as a whole, so it must not be larger than what is asked for; and each takes time,
 * so there must not be more of them than bytes of the file.
 */
static bool chunks_fit(hid_t list, size_t file_size, const struct kc_st_tensor *t)
{
	size_t bytes = kc_st_dtype_size(t->dtype), most = KC_MAX(t->bytes, (size_t)1 << 20);
	hsize_t chunk[KC_ST_DIMS], n = 1, more;

	if (H5Pget_chunk(list, KC_ST_DIMS, chunk) != t->ndim)
		return false;
	for (int i = 0; i < t->ndim; i++) {
		if (!chunk[i] || chunk[i] > most / bytes)
			return false;
		bytes *= chunk[i];
		more = ((hsize_t)t->dim[i] - 1) / chunk[i] + 1;
		if (more > file_size / n)
			return false;
		n *= more;
	}
	return true;
}

/* own receives the elements, to be freed. */
static int read_chunks(hid_t d, hid_t list, size_t file_size, const struct kc_st_tensor *t,
		       void **own)
{
	hid_t type;
	int rc = 0;

	/* Not how much they take, for which an index is walked as far as it claims. */
	if (!chunks_fit(list, file_size, t) || t->bytes / KC_H5_INFLATION > file_size)
		return KC_FAIL(KC_EFORMAT, "%zu bytes cannot come from its chunks", t->bytes);
	*own = kc_calloc(t->bytes, 1);          /* what no chunk fills stays so */
	if (!*own)
		return KC_ENOMEM;
	type = kc_h5_type(t->dtype);
	if (H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *own) < 0)
		rc = kc_h5_fail(KC_EFORMAT, "cannot be read");
	H5Tclose(type);
	return rc;
}

static int read_data(hid_t d, size_t file_size, const struct kc_st_tensor *t,
		     struct kc_h5_record *r, void **own)
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
		rc = find_tensor(d, t, r);
	else if (H5Pget_layout(list) == H5D_CHUNKED)
		rc = read_chunks(d, list, file_size, t, own);
	else
		rc = KC_FAIL(KC_EFORMAT, "neither contiguous nor in chunks");
	H5Pclose(list);
	return rc;
}

static int send_dataset(hid_t d, const char *name, size_t file_size, int fd)
{
	struct kc_h5_record r = {.kind = KC_H5_TENSOR};
	struct kc_st_tensor t = {.name = name};
	void *own = NULL;
	char *sum;
	int rc;

	KC_TRY(find_dtype(d, &t.dtype));
	KC_TRY(read_shape(d, &t));
	rc = read_data(d, file_size, &t, &r, &own);
	r.dtype = t.dtype;
	r.ndim = (uint64_t)t.ndim;
	r.own = own ? t.bytes : 0;
	memcpy(r.dim, t.dim, sizeof r.dim);
	sum = rc < 0 ? NULL : attribute(d, "xxh64");
	if (rc >= 0)
		rc = send_record(fd, &r, name, sum);
	if (rc >= 0)
		rc = send_bytes(fd, own, r.own);
	free(sum);
	free(own);
	return rc;
}

static int send_tensor(hid_t group, hsize_t i, size_t file_size, int fd)
{
	char name[KC_H5_NAME] = "";
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
	rc = send_dataset(d, name, file_size, fd);
	H5Dclose(d);
	return rc < 0 ? kc_cause(rc, "\"%s\"", name) : 0;
}

static int send_group(hid_t group, size_t file_size, int fd)
{
	H5G_info_t info;

	if (H5Gget_info(group, &info) < 0)
		return kc_h5_fail(KC_EFORMAT, "the datasets cannot be counted");
	for (hsize_t i = 0; i < info.nlinks; i++)
		KC_TRY(send_tensor(group, i, file_size, fd));
	return send_notes(group, file_size, fd);
}

static int send_file(const char *path, size_t file_size, int fd)
{
	hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), group;
	H5L_info_t link;
	int rc;

	if (file < 0)
		return kc_h5_fail(KC_EFORMAT, "not a whole HDF5 file");
	group = H5Lget_info(file, "model", &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD
		? H5Gopen2(file, "model", H5P_DEFAULT) : -1;
	rc = group < 0 ? KC_FAIL(KC_EFORMAT, "an HDF5 file without the group /model")
		       : send_group(group, file_size, fd);
	if (group >= 0)
		H5Gclose(group);
	H5Fclose(file);
	return rc;
}

void kc_h5_send(const char *path, size_t file_size, int fd)
{
	struct kc_h5_record end = {.kind = KC_H5_END};
	int rc;

	kc_h5_begin();
	rc = send_file(path, file_size, fd);
	end.err = (uint64_t)-(int64_t)rc;
	send_record(fd, &end, rc < 0 ? kc_errmsg() : NULL, NULL);
}
