#include "data/pack_private.h"

#include "core/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kc_pack_writer {
	struct kc_writer out;
	hid_t file, clips;
	struct kc_pack_layout layout;
	struct kc_pack_clip now;
	hid_t group;
	int64_t done;           /* frames added to the clip */
	uint8_t *bytes;         /* of jpeg */
	size_t size, room;
};

int16_t kc_pack_flow_value(float pixels)
{
	float v = roundf(pixels / KC_PACK_FLOW_UNIT);

	return (int16_t)(v > INT16_MAX ? INT16_MAX : v < INT16_MIN ? INT16_MIN : v == v ? v : 0);
}

static int write_ints(hid_t file, const char *name, const int *v, int n)
{
	hsize_t dims = (hsize_t)n;
	hid_t space = n ? H5Screate_simple(1, &dims, NULL) : H5Screate(H5S_NULL);
	hid_t a = H5Acreate2(file, name, H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT);
	int rc = a >= 0 && (!n || H5Awrite(a, H5T_NATIVE_INT, v) >= 0) ? 0
								       : kc_pack_fail(KC_EIO, name);

	if (a >= 0)
		H5Aclose(a);
	H5Sclose(space);
	return rc;
}

static int write_text(hid_t file, const char *name, const char *text)
{
	hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR), a;
	int rc;

	H5Tset_size(type, strlen(text) + 1);
	H5Tset_cset(type, H5T_CSET_UTF8);
	a = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	rc = a >= 0 && H5Awrite(a, type, text) >= 0 ? 0 : kc_pack_fail(KC_EIO, name);
	if (a >= 0)
		H5Aclose(a);
	H5Sclose(space);
	H5Tclose(type);
	return rc;
}

static int write_header(struct kc_pack_writer *w)
{
	const struct kc_pack_layout *l = &w->layout;
	const int version = KC_PACK_VERSION, quality = l->jpeg ? l->quality : 0;

	w->file = H5Fcreate(w->out.temp, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	if (w->file < 0)
		return kc_pack_fail(KC_EIO, "cannot create an HDF5 file");
	KC_TRY(write_ints(w->file, "kinemacolor_pack", &version, 1));
	KC_TRY(write_ints(w->file, "width", &l->width, 1));
	KC_TRY(write_ints(w->file, "height", &l->height, 1));
	KC_TRY(write_ints(w->file, "quality", &quality, 1));
	KC_TRY(write_ints(w->file, "offsets", l->offsets, l->n_offsets));
	KC_TRY(write_text(w->file, "format", l->jpeg ? "jpeg" : "raw"));
	KC_TRY(write_text(w->file, "source", l->source ? l->source : ""));
	w->clips = H5Gcreate2(w->file, "clips", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	return w->clips < 0 ? kc_pack_fail(KC_EIO, "clips") : 0;
}

int kc_pack_create(const char *path, const struct kc_pack_layout *layout,
		   struct kc_pack_writer **out)
{
	struct kc_pack_writer *w = *out = kc_calloc(1, sizeof *w);
	int rc;

	if (!w)
		return KC_ENOMEM;
	w->layout = *layout;
	rc = kc_writer_begin(&w->out, path, 0);
	if (rc < 0) {
		free(w);
		*out = NULL;
		return rc;
	}
	kc_pack_lock();
	rc = write_header(w);
	kc_pack_unlock();
	if (rc < 0) {
		kc_cause(rc, "%s", path);
		kc_pack_abort(w);
		*out = NULL;
	}
	return rc;
}

static int create_dataset(hid_t group, const char *name, hid_t type, int rank, const hsize_t *dims,
			  bool chunked, hid_t *out)
{
	hid_t space = H5Screate_simple(rank, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
	hsize_t chunk[4] = {1};

	memcpy(chunk + 1, dims + 1, (size_t)(rank - 1) * sizeof *chunk);
	H5Pset_obj_track_times(list, 0);
	H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);
	if (chunked)
		H5Pset_chunk(list, rank, chunk);
	*out = H5Dcreate2(group, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
	H5Pclose(list);
	H5Sclose(space);
	return *out < 0 ? kc_pack_fail(KC_EIO, name) : 0;
}

static int write_whole(hid_t group, const char *name, hid_t type, hsize_t n, const void *data)
{
	hid_t d;
	int rc = create_dataset(group, name, type, 1, &n, false, &d);

	if (rc < 0)
		return rc;
	if (H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
		rc = kc_pack_fail(KC_EIO, name);
	H5Dclose(d);
	return rc;
}

/* What of the last clip is still to be written, and its end. */
static int end_clip(struct kc_pack_writer *w)
{
	struct kc_pack_clip *c = &w->now;
	int rc = 0;

	if (!w->group)
		return 0;
	if (w->done != c->n)
		rc = KC_FAIL(KC_EINVAL, "clip %s has %lld frames, %lld expected", c->name,
			     (long long)w->done, (long long)c->n);
	if (rc >= 0 && w->layout.jpeg) {
		rc = write_whole(w->group, "bytes", H5T_NATIVE_UINT8, w->size, w->bytes);
		if (rc >= 0)
			rc = write_whole(w->group, "index", H5T_NATIVE_UINT64, (hsize_t)c->n + 1,
					 c->index);
	}
	kc_pack_clip_close(c);
	H5Gclose(w->group);
	w->group = 0;
	return rc;
}

static int create_clip(struct kc_pack_writer *w)
{
	hsize_t dims[4] = {(hsize_t)w->now.n, (hsize_t)w->layout.height,
			   (hsize_t)w->layout.width, 3};

	w->group = H5Gcreate2(w->clips, w->now.name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	if (w->group < 0) {
		w->group = 0;
		return kc_pack_fail(KC_EIO, w->now.name);
	}
	if (!w->layout.jpeg)
		KC_TRY(create_dataset(w->group, "frames", H5T_STD_U8LE, 4, dims, true,
				      &w->now.data));
	dims[3] = 2;
	for (int i = 0; i < w->layout.n_offsets; i++)
		for (int back = 0; back < 2; back++) {
			int offset = w->layout.offsets[i];
			char name[32];

			if (offset >= w->now.n)
				continue;
			dims[0] = (hsize_t)(w->now.n - offset);
			snprintf(name, sizeof name, "flow_%d", back ? -offset : offset);
			KC_TRY(create_dataset(w->group, name, H5T_STD_I16LE, 4, dims, true,
					      &w->now.flow[i][back]));
		}
	return 0;
}

int kc_pack_add_clip(struct kc_pack_writer *w, const char *name, int64_t n)
{
	int rc;

	kc_pack_lock();
	rc = end_clip(w);
	if (rc >= 0) {
		w->done = 0;
		w->size = 0;
		w->now.n = n;
		w->now.name = kc_strdup(name);
		w->now.index = kc_calloc((size_t)n + 1, sizeof *w->now.index);
		rc = w->now.name && w->now.index ? create_clip(w) : KC_ENOMEM;
	}
	kc_pack_unlock();
	return rc < 0 ? kc_cause(rc, "%s", w->out.path) : rc;
}

static int append_bytes(struct kc_pack_writer *w, const void *bytes, size_t size)
{
	if (size > w->room - w->size) {
		size_t room = 2 * w->room + size;
		uint8_t *grown = kc_realloc(w->bytes, room, 1);

		if (!grown)
			return KC_ENOMEM;
		w->bytes = grown;
		w->room = room;
	}
	memcpy(w->bytes + w->size, bytes, size);
	w->size += size;
	return 0;
}

int kc_pack_add_frame(struct kc_pack_writer *w, int64_t i, const void *bytes, size_t size)
{
	const hsize_t tail[3] = {(hsize_t)w->layout.height, (hsize_t)w->layout.width, 3};
	int rc;

	KC_ASSERT(i == w->done && i < w->now.n);
	if (w->layout.jpeg) {
		rc = append_bytes(w, bytes, size);
		w->now.index[i + 1] = w->size;
	} else {
		KC_ASSERT(size == tail[0] * tail[1] * 3);
		kc_pack_lock();
		rc = kc_pack_transfer(w->now.data, 4, (hsize_t)i, tail, H5T_NATIVE_UINT8, NULL,
				      bytes);
		kc_pack_unlock();
	}
	w->done++;
	return rc < 0 ? kc_cause(rc, "%s", w->out.path) : rc;
}

int kc_pack_add_flow(struct kc_pack_writer *w, int64_t from, int64_t to, const int16_t *flow)
{
	const hsize_t tail[3] = {(hsize_t)w->layout.height, (hsize_t)w->layout.width, 2};
	int which = 0, rc;

	while (which < w->layout.n_offsets && w->layout.offsets[which] != llabs(to - from))
		which++;
	KC_ASSERT(which < w->layout.n_offsets && w->now.flow[which][to < from]);
	kc_pack_lock();
	rc = kc_pack_transfer(w->now.flow[which][to < from], 4, (hsize_t)KC_MIN(from, to), tail,
		      H5T_NATIVE_INT16, NULL, flow);
	kc_pack_unlock();
	return rc < 0 ? kc_cause(rc, "%s", w->out.path) : rc;
}

/* Ends everything but the file's name. */
static int close_writer(struct kc_pack_writer *w, bool keep)
{
	int rc = 0;

	kc_pack_lock();
	if (keep)
		rc = end_clip(w);
	kc_pack_clip_close(&w->now);
	if (w->group > 0)
		H5Gclose(w->group);
	if (w->clips > 0)
		H5Gclose(w->clips);
	if (w->file > 0 && H5Fclose(w->file) < 0 && rc >= 0)
		rc = kc_pack_fail(KC_EIO, "cannot finish the file");
	kc_pack_unlock();
	free(w->bytes);
	return rc;
}

int kc_pack_commit(struct kc_pack_writer *w)
{
	int rc = close_writer(w, true);

	if (rc < 0) {
		kc_cause(rc, "%s", w->out.path);
		kc_writer_abort(&w->out);
	} else {
		rc = kc_writer_commit(&w->out);
	}
	free(w);
	return rc;
}

void kc_pack_abort(struct kc_pack_writer *w)
{
	if (!w)
		return;
	close_writer(w, false);
	kc_writer_abort(&w->out);
	free(w);
}
