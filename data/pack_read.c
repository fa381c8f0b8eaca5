#include "data/pack_private.h"

#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CLIPS = 1 << 20 };

struct kc_pack {
	char *path;
	hid_t file;
	struct kc_pack_clip *clip;
	size_t n_clips;
	struct kc_pack_layout layout;
};

static int read_ints(hid_t file, const char *name, int64_t *v, int most)
{
	hid_t a = H5Aopen(file, name, H5P_DEFAULT), space = a < 0 ? -1 : H5Aget_space(a);
	hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
	int rc = (int)n;

	if (n < 0 || n > most || (n && H5Aread(a, H5T_NATIVE_INT64, v) < 0))
		rc = KC_FAIL(KC_EFORMAT, "attribute %s is missing or wrong", name);
	if (space >= 0)
		H5Sclose(space);
	if (a >= 0)
		H5Aclose(a);
	return rc;
}

static int read_int(hid_t file, const char *name, int64_t low, int64_t high, int *v)
{
	int64_t x = 0;
	int n = read_ints(file, name, &x, 1);

	if (n < 0)
		return n;
	if (n != 1 || x < low || x > high)
		return KC_FAIL(KC_EFORMAT, "attribute %s is %lld, %lld to %lld expected", name,
			       (long long)x, (long long)low, (long long)high);
	*v = (int)x;
	return 0;
}

/* Stored in this file, as it is. */
static bool is_plain(hid_t dataset)
{
	hid_t list = H5Dget_create_plist(dataset);
	H5D_layout_t layout = list < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(list);
	bool plain = (layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED) &&
		     H5Pget_external_count(list) == 0 && H5Pget_nfilters(list) == 0;

	if (list >= 0)
		H5Pclose(list);
	return plain;
}

static bool is_integer(hid_t dataset, size_t size)
{
	hid_t type = H5Dget_type(dataset);
	bool good = type >= 0 && H5Tget_class(type) == H5T_INTEGER && H5Tget_size(type) == size;

	if (type >= 0)
		H5Tclose(type);
	return good;
}

static bool is_own_link(hid_t group, const char *name)
{
	H5L_info_t info;

	return H5Lget_info(group, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

/* Opens a dataset of integers of `size` bytes whose dimensions behind the first are `tail`. */
static int open_dataset(hid_t group, const char *name, size_t size, int rank, const hsize_t *tail,
			hsize_t *n, hid_t *out)
{
	hsize_t dims[H5S_MAX_RANK];
	hid_t list = H5Pcreate(H5P_DATASET_ACCESS), space;
	bool fits;

	/* Frames are read whole and seldom twice. */
	H5Pset_chunk_cache(list, 0, 0, 0);
	*out = is_own_link(group, name) ? H5Dopen2(group, name, list) : -1;
	H5Pclose(list);
	if (*out < 0)
		return kc_pack_fail(KC_EFORMAT, name);
	space = H5Dget_space(*out);
	fits = space >= 0 && H5Sget_simple_extent_ndims(space) == rank &&
	       H5Sget_simple_extent_dims(space, dims, NULL) == rank;
	for (int i = 1; fits && i < rank; i++)
		fits = dims[i] == tail[i - 1];
	if (space >= 0)
		H5Sclose(space);
	if (!fits || !is_plain(*out) || !is_integer(*out, size)) {
		H5Dclose(*out);
		*out = 0;
		return KC_FAIL(KC_EFORMAT, "%s is not stored as expected", name);
	}
	*n = dims[0];
	return 0;
}

static int read_index(hid_t group, struct kc_pack_clip *c, hsize_t bytes)
{
	hsize_t n;
	hid_t d;
	int rc;

	KC_TRY(open_dataset(group, "index", 8, 1, NULL, &n, &d));
	if (n < 2 || n > KC_PACK_FRAMES) {
		rc = KC_FAIL(KC_EFORMAT, "index has %llu entries", (unsigned long long)n);
	} else {
		c->n = (int64_t)n - 1;
		c->index = kc_calloc(n, sizeof *c->index);
		rc = c->index ? 0 : KC_ENOMEM;
	}
	if (rc >= 0 && H5Dread(d, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, c->index) < 0)
		rc = kc_pack_fail(KC_EFORMAT, "index");
	H5Dclose(d);
	for (hsize_t i = 0; rc >= 0 && i + 1 < n; i++)
		if (c->index[i] > c->index[i + 1] || c->index[i + 1] > bytes ||
		    c->index[i + 1] - c->index[i] > KC_IMAGE_BYTES)
			rc = KC_FAIL(KC_EFORMAT, "index of frame %llu", (unsigned long long)i);
	return rc;
}

static int open_flows(const struct kc_pack *p, hid_t group, struct kc_pack_clip *c)
{
	const hsize_t tail[3] = {(hsize_t)p->layout.height, (hsize_t)p->layout.width, 2};

	for (int i = 0; i < p->layout.n_offsets; i++)
		for (int back = 0; back < 2; back++) {
			int offset = p->layout.offsets[i];
			char name[32];
			hsize_t n;

			snprintf(name, sizeof name, "flow_%d", back ? -offset : offset);
			if (offset >= c->n || H5Lexists(group, name, H5P_DEFAULT) <= 0)
				continue;
			KC_TRY(open_dataset(group, name, 2, 4, tail, &n, &c->flow[i][back]));
			if ((int64_t)n != c->n - offset)
				return KC_FAIL(KC_EFORMAT, "%s has %llu entries, %lld expected",
					       name, (unsigned long long)n,
					       (long long)(c->n - offset));
		}
	return 0;
}

static int open_clip(const struct kc_pack *p, hid_t clips, struct kc_pack_clip *c)
{
	const hsize_t tail[3] = {(hsize_t)p->layout.height, (hsize_t)p->layout.width, 3};
	hid_t group = is_own_link(clips, c->name) ? H5Gopen2(clips, c->name, H5P_DEFAULT) : -1;
	hsize_t n;
	int rc;

	if (group < 0)
		return kc_pack_fail(KC_EFORMAT, c->name);
	if (p->layout.jpeg) {
		rc = open_dataset(group, "bytes", 1, 1, NULL, &n, &c->data);
		if (rc >= 0)
			rc = read_index(group, c, n);
	} else {
		rc = open_dataset(group, "frames", 1, 4, tail, &n, &c->data);
		if (rc >= 0 && (n < 1 || n > KC_PACK_FRAMES))
			rc = KC_FAIL(KC_EFORMAT, "%llu frames", (unsigned long long)n);
		c->n = (int64_t)n;
	}
	if (rc >= 0)
		rc = open_flows(p, group, c);
	H5Gclose(group);
	return rc < 0 ? kc_cause(rc, "clip %s", c->name) : rc;
}

static int by_name(const void *a, const void *b)
{
	const struct kc_pack_clip *x = a, *y = b;

	return kc_name_compare(x->name, y->name);
}

static int list_clips(struct kc_pack *p, hid_t clips)
{
	H5G_info_t info;

	if (H5Gget_info(clips, &info) < 0 || info.nlinks < 1 || info.nlinks > MOST_CLIPS)
		return KC_FAIL(KC_EFORMAT, "it holds no clips");
	p->clip = kc_calloc(info.nlinks, sizeof *p->clip);
	if (!p->clip)
		return KC_ENOMEM;
	for (hsize_t i = 0; i < info.nlinks; i++) {
		char name[256];
		ssize_t n = H5Lget_name_by_idx(clips, ".", H5_INDEX_NAME, H5_ITER_INC, i, name,
					       sizeof name, H5P_DEFAULT);

		if (n < 1 || n >= (ssize_t)sizeof name)
			return KC_FAIL(KC_EFORMAT, "the name of a clip is too long");
		p->clip[p->n_clips].name = kc_strdup(name);
		if (!p->clip[p->n_clips].name)
			return KC_ENOMEM;
		p->n_clips++;
	}
	qsort(p->clip, p->n_clips, sizeof *p->clip, by_name);
	return 0;
}

static int read_layout(struct kc_pack *p)
{
	int64_t offsets[KC_PACK_OFFSETS];
	int version;

	if (read_int(p->file, "kinemacolor_pack", KC_PACK_VERSION, KC_PACK_VERSION, &version) < 0)
		return KC_FAIL(KC_EFORMAT, "not a pack file of version %d", KC_PACK_VERSION);
	KC_TRY(read_int(p->file, "width", 1, 1 << 15, &p->layout.width));
	KC_TRY(read_int(p->file, "height", 1, 1 << 15, &p->layout.height));
	KC_TRY(read_int(p->file, "quality", 0, 100, &p->layout.quality));
	if ((int64_t)p->layout.width * p->layout.height > KC_IMAGE_PIXELS)
		return KC_FAIL(KC_EFORMAT, "frames of %d x %d pixels", p->layout.width,
			       p->layout.height);
	p->layout.jpeg = p->layout.quality > 0;
	p->layout.n_offsets = read_ints(p->file, "offsets", offsets, KC_PACK_OFFSETS);
	if (p->layout.n_offsets < 0)
		return p->layout.n_offsets;
	for (int i = 0; i < p->layout.n_offsets; i++) {
		if (offsets[i] < 1 || offsets[i] > KC_PACK_FRAMES)
			return KC_FAIL(KC_EFORMAT, "attribute offsets is wrong");
		p->layout.offsets[i] = (int)offsets[i];
	}
	return 0;
}

static int open_contents(struct kc_pack *p)
{
	hid_t clips;
	int rc;

	p->file = H5Fopen(p->path, H5F_ACC_RDONLY, H5P_DEFAULT);
	if (p->file < 0)
		return kc_pack_fail(KC_EFORMAT, "not an HDF5 file");
	KC_TRY(read_layout(p));
	clips = is_own_link(p->file, "clips") ? H5Gopen2(p->file, "clips", H5P_DEFAULT) : -1;
	if (clips < 0)
		return kc_pack_fail(KC_EFORMAT, "clips");
	rc = list_clips(p, clips);
	for (size_t i = 0; rc >= 0 && i < p->n_clips; i++)
		rc = open_clip(p, clips, &p->clip[i]);
	H5Gclose(clips);
	return rc;
}

int kc_pack_open(const char *path, struct kc_pack **out)
{
	struct kc_pack *p = *out = kc_calloc(1, sizeof *p);
	int rc = 0;

	if (!p)
		return KC_ENOMEM;
	p->file = -1;
	p->path = kc_strdup(path);
	if (!p->path)
		rc = KC_ENOMEM;
	else if (!kc_file_exists(path))
		rc = KC_FAIL(KC_ENOENT, "%s: no such file", path);
	if (rc >= 0) {
		kc_pack_lock();
		rc = open_contents(p);
		kc_pack_unlock();
		if (rc < 0)
			kc_cause(rc, "%s", path);
	}
	if (rc < 0) {
		kc_pack_close(p);
		*out = NULL;
	}
	return rc;
}

void kc_pack_close(struct kc_pack *p)
{
	if (!p)
		return;
	kc_pack_lock();
	for (size_t i = 0; i < p->n_clips; i++)
		kc_pack_clip_close(&p->clip[i]);
	if (p->file >= 0)
		H5Fclose(p->file);
	kc_pack_unlock();
	free(p->clip);
	free(p->path);
	free(p);
}

const char *kc_pack_path(const struct kc_pack *p)
{
	return p->path;
}

int kc_pack_width(const struct kc_pack *p)
{
	return p->layout.width;
}

int kc_pack_height(const struct kc_pack *p)
{
	return p->layout.height;
}

size_t kc_pack_clips(const struct kc_pack *p)
{
	return p->n_clips;
}

const char *kc_pack_clip_name(const struct kc_pack *p, size_t clip)
{
	return p->clip[clip].name;
}

int64_t kc_pack_clip_frames(const struct kc_pack *p, size_t clip)
{
	return p->clip[clip].n;
}

static int read_raw(const struct kc_pack *p, const struct kc_pack_clip *c, int64_t i,
		    struct kc_image *image)
{
	const hsize_t tail[3] = {(hsize_t)p->layout.height, (hsize_t)p->layout.width, 3};
	int rc;

	KC_TRY(kc_image_resize_buffer(image, p->layout.width, p->layout.height));
	kc_pack_lock();
	rc = kc_pack_transfer(c->data, 4, (hsize_t)i, tail, H5T_NATIVE_UINT8, image->rgb, NULL);
	kc_pack_unlock();
	return rc;
}

/* Part of a one-dimensional dataset. */
static int read_range(hid_t d, hsize_t start, hsize_t n, uint8_t *bytes)
{
	hid_t file = H5Dget_space(d), memory = H5Screate_simple(1, &n, NULL);
	int rc = 0;

	if (H5Sselect_hyperslab(file, H5S_SELECT_SET, &start, NULL, &n, NULL) < 0 ||
	    H5Dread(d, H5T_NATIVE_UINT8, memory, file, H5P_DEFAULT, bytes) < 0)
		rc = kc_pack_fail(KC_EIO, "cannot read");
	H5Sclose(file);
	H5Sclose(memory);
	return rc;
}

static int read_jpeg(const struct kc_pack_clip *c, int64_t i, struct kc_image *image)
{
	size_t n = (size_t)(c->index[i + 1] - c->index[i]);
	uint8_t *bytes = kc_alloc(n);
	int rc;

	if (!bytes)
		return KC_ENOMEM;
	kc_pack_lock();
	rc = read_range(c->data, c->index[i], n, bytes);
	kc_pack_unlock();
	if (rc >= 0)
		rc = kc_image_decode(bytes, n, image);
	free(bytes);
	return rc;
}

int kc_pack_read(const struct kc_pack *p, size_t clip, int64_t frame, struct kc_image *image)
{
	const struct kc_pack_clip *c = &p->clip[clip];
	int rc;

	KC_ASSERT(frame >= 0 && frame < c->n);
	rc = p->layout.jpeg ? read_jpeg(c, frame, image) : read_raw(p, c, frame, image);
	if (rc >= 0 && (image->width != p->layout.width || image->height != p->layout.height))
		rc = KC_FAIL(KC_ESHAPE, "%d x %d, the file says %d x %d", image->width,
			     image->height, p->layout.width, p->layout.height);
	if (rc < 0)
		return kc_cause(rc, "%s: clip %s, frame %lld", p->path, c->name, (long long)frame);
	return 0;
}

/* The dataset of flows over an offset; 0: none. */
static hid_t find_flow(const struct kc_pack *p, size_t clip, int64_t offset)
{
	for (int i = 0; i < p->layout.n_offsets; i++)
		if (p->layout.offsets[i] == (offset < 0 ? -offset : offset))
			return p->clip[clip].flow[i][offset < 0];
	return 0;
}

int kc_pack_need_offset(const struct kc_pack *p, size_t clip, int64_t offset)
{
	if (!find_flow(p, clip, offset))
		return KC_FAIL(KC_ENOENT, "%s: clip %s has no flow over offset %lld", p->path,
			       p->clip[clip].name, (long long)offset);
	return 0;
}

int kc_pack_flow(const struct kc_pack *p, size_t clip, int64_t from, int64_t to, int16_t *flow)
{
	const hsize_t tail[3] = {(hsize_t)p->layout.height, (hsize_t)p->layout.width, 2};
	const struct kc_pack_clip *c = &p->clip[clip];
	int rc;

	KC_ASSERT(from >= 0 && to >= 0 && from < c->n && to < c->n);
	KC_TRY(kc_pack_need_offset(p, clip, to - from));
	kc_pack_lock();
	rc = kc_pack_transfer(find_flow(p, clip, to - from), 4, (hsize_t)KC_MIN(from, to), tail,
		      H5T_NATIVE_INT16, flow, NULL);
	kc_pack_unlock();
	if (rc < 0)
		return kc_cause(rc, "%s: clip %s, flow from frame %lld to %lld", p->path, c->name,
				(long long)from, (long long)to);
	return 0;
}
