#include "weights/h5_private.h"

#include "core/hash.h"

#include <stdio.h>
#include <string.h>

enum { CHUNK = 1 << 20, LEAST_COMPRESSED = 256 };

/* ---- shared with the reader ---- */

void kc_h5_begin(void)
{
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	H5PLset_loading_state(0);
}

static herr_t keep_innermost(unsigned n, const H5E_error2_t *e, void *text)
{
	(void)n;
	snprintf(text, 160, "%s", e->desc ? e->desc : "");
	return 0;
}

int kc_h5_fail(int err, const char *what)
{
	char text[160] = "";

	H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, text);
	return *text ? KC_FAIL(err, "%s: %s", what, text) : KC_FAIL(err, "%s", what);
}

/* IEEE 754 half precision, as h5py describes it. */
static hid_t half(void)
{
	hid_t t = H5Tcopy(H5T_IEEE_F32LE);

	H5Tset_fields(t, 15, 10, 5, 0, 10);
	H5Tset_size(t, 2);
	H5Tset_ebias(t, 15);
	return t;
}

static hid_t boolean(void)
{
	hid_t t = H5Tenum_create(H5T_STD_I8LE);
	int8_t no = 0, yes = 1;

	H5Tenum_insert(t, "FALSE", &no);
	H5Tenum_insert(t, "TRUE", &yes);
	return t;
}

hid_t kc_h5_type(enum kc_st_dtype t)
{
	switch (t) {
	case KC_ST_F64: return H5Tcopy(H5T_IEEE_F64LE);
	case KC_ST_F32: return H5Tcopy(H5T_IEEE_F32LE);
	case KC_ST_F16: return half();
	case KC_ST_BF16: return H5Tcopy(H5T_STD_U16LE);
	case KC_ST_I64: return H5Tcopy(H5T_STD_I64LE);
	case KC_ST_I32: return H5Tcopy(H5T_STD_I32LE);
	case KC_ST_I16: return H5Tcopy(H5T_STD_I16LE);
	case KC_ST_I8: return H5Tcopy(H5T_STD_I8LE);
	case KC_ST_U8: return H5Tcopy(H5T_STD_U8LE);
	default: return boolean();
	}
}

/* ---- writing ---- */

static int write_text(hid_t object, const char *name, const char *text)
{
	hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR), a;
	int rc;

	H5Tset_size(type, strlen(text) + 1);
	H5Tset_cset(type, H5T_CSET_UTF8);
	a = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	rc = a >= 0 && H5Awrite(a, type, text) >= 0 ? 0 : kc_h5_fail(KC_EIO, name);
	if (a >= 0)
		H5Aclose(a);
	H5Sclose(space);
	H5Tclose(type);
	return rc;
}

/* Whole rows of the leading dimensions, about a megabyte. */
static void set_chunks(hid_t list, const struct kc_st_item *t, const hsize_t *dims, int level)
{
	hsize_t chunk[KC_ST_DIMS], bytes = kc_st_dtype_size(t->dtype);

	for (int i = 0; i < t->ndim; i++)
		bytes *= chunk[i] = dims[i];
	for (int i = 0; i < t->ndim && bytes > CHUNK; i++) {
		hsize_t rest = bytes / chunk[i];

		chunk[i] = rest >= CHUNK ? 1 : CHUNK / rest;
		bytes = rest * chunk[i];
	}
	H5Pset_chunk(list, t->ndim, chunk);
	H5Pset_shuffle(list);
	H5Pset_deflate(list, (unsigned)level);
}

static hid_t create(hid_t group, const struct kc_st_item *t, size_t bytes, hid_t type, int level)
{
	hid_t list = H5Pcreate(H5P_DATASET_CREATE), space, d;
	hsize_t dims[KC_ST_DIMS];

	for (int i = 0; i < t->ndim; i++)
		dims[i] = (hsize_t)t->dim[i];
	space = t->ndim ? H5Screate_simple(t->ndim, dims, NULL) : H5Screate(H5S_SCALAR);
	H5Pset_obj_track_times(list, 0);
	H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);
	if (level && t->ndim && bytes >= LEAST_COMPRESSED)
		set_chunks(list, t, dims, level);
	d = H5Dcreate2(group, t->name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
	H5Sclose(space);
	H5Pclose(list);
	return d;
}

static int write_tensor(hid_t group, const struct kc_st_item *t, int level)
{
	hid_t type = kc_h5_type(t->dtype), d;
	char sum[17];
	size_t bytes;
	int rc = kc_st_item_bytes(t, &bytes);

	d = rc < 0 ? -1 : create(group, t, bytes, type, level);
	if (rc >= 0 && (d < 0 || (bytes && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
						    t->data) < 0)))
		rc = kc_h5_fail(KC_EIO, t->name);
	if (rc >= 0)
		rc = write_text(d, "dtype", kc_st_dtype_name(t->dtype));
	snprintf(sum, sizeof sum, "%016llx",
		 (unsigned long long)(rc < 0 || !bytes ? 0 : kc_hash64(t->data, bytes, 0)));
	if (rc >= 0 && bytes)
		rc = write_text(d, "xxh64", sum);
	if (d >= 0)
		H5Dclose(d);
	H5Tclose(type);
	return rc < 0 ? kc_cause(rc, "\"%s\"", t->name) : 0;
}

static int check(const struct kc_st_item *t)
{
	if (!t->name[0] || !strcmp(t->name, ".") || strchr(t->name, '/'))
		return KC_FAIL(KC_EINVAL, "\"%s\" cannot be the name of a dataset", t->name);
	return 0;
}

static int write_group(hid_t group, const struct kc_st_item *items, size_t n,
		       const struct kc_st_pair *notes, size_t n_notes, int level)
{
	for (size_t i = 0; i < n; i++) {
		KC_TRY(check(&items[i]));
		KC_TRY(write_tensor(group, &items[i], level));
	}
	for (size_t i = 0; i < n_notes; i++)
		KC_TRY(write_text(group, notes[i].key, notes[i].value));
	return 0;
}

static int write_file(const char *temp, const struct kc_st_item *items, size_t n,
		      const struct kc_st_pair *notes, size_t n_notes, int level)
{
	hid_t access = H5Pcreate(H5P_FILE_ACCESS), file, group;
	int rc;

	/* Attributes of more than 64 KB need the format of version 1.8. */
	H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
	file = H5Fcreate(temp, H5F_ACC_TRUNC, H5P_DEFAULT, access);
	H5Pclose(access);
	if (file < 0)
		return kc_h5_fail(KC_EIO, "cannot create an HDF5 file");
	group = H5Gcreate2(file, "model", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	rc = group < 0 ? kc_h5_fail(KC_EIO, "model")
		       : write_group(group, items, n, notes, n_notes, level);
	if (group >= 0)
		H5Gclose(group);
	if (H5Fclose(file) < 0 && rc >= 0)
		rc = kc_h5_fail(KC_EIO, "cannot finish the file");
	return rc;
}

int kc_h5_save(const char *path, const struct kc_st_item *items, size_t n,
	       const struct kc_st_pair *notes, size_t n_notes, int level)
{
	struct kc_writer w;
	int rc;

	if (level < 0 || level > 9)
		return KC_FAIL(KC_EINVAL, "compression level %d, 0 to 9 expected", level);
	KC_TRY(kc_writer_begin(&w, path, 0));
	kc_h5_begin();
	rc = write_file(w.temp, items, n, notes, n_notes, level);
	if (rc >= 0)
		return kc_writer_commit(&w);
	kc_cause(rc, "%s", path);
	kc_writer_abort(&w);
	return rc;
}
