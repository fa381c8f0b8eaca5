#include "data/clip.h"

#include <stdlib.h>
#include <string.h>

static void clip_release(struct kc_clip *c)
{
	free(c->name);
	free(c->path);
	kc_names_free(&c->files);
	memset(c, 0, sizeof *c);
}

/* Keeps the names of images. */
static void keep_images(struct kc_names *names)
{
	size_t kept = 0;

	for (size_t i = 0; i < names->n; i++) {
		if (names->v[i][0] != '.' && kc_image_name(names->v[i]))
			names->v[kept++] = names->v[i];
		else
			free(names->v[i]);
	}
	names->n = kept;
}

/* The size of the first image whose header can be read. */
static int measure(struct kc_clip *c)
{
	int rc = 0;

	for (size_t i = 0; i < c->files.n; i++) {
		char *path = kc_format("%s/%s", c->path, c->files.v[i]);

		if (!path)
			return KC_ENOMEM;
		rc = kc_image_size(path, &c->width, &c->height);
		free(path);
		if (rc >= 0 || rc == KC_ENOMEM)
			return rc;
	}
	return kc_cause(rc, "%s: no frame can be read", c->path);
}

/* Takes over the names. */
static int clip_init(struct kc_clip *c, const char *path, struct kc_names *images)
{
	const char *slash;
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	c->files = *images;
	memset(images, 0, sizeof *images);
	c->n = (int64_t)c->files.n;
	c->path = kc_strdup(path);
	if (!c->path)
		return KC_ENOMEM;
	c->path[n] = 0;
	slash = strrchr(c->path, '/');
	c->name = kc_strdup(slash && slash[1] ? slash + 1 : c->path);
	if (!c->name)
		return KC_ENOMEM;
	return measure(c);
}

static int add_folder(struct kc_dataset *d, const char *name)
{
	char *path = kc_format("%s/%s", d->path, name);
	struct kc_names images = {0};
	int rc = path ? 0 : KC_ENOMEM;

	if (rc >= 0 && kc_dir_exists(path)) {
		rc = kc_dir_list(path, NULL, KC_ORDER_NATURAL, &images);
		if (rc >= 0)
			keep_images(&images);
		if (rc >= 0 && !images.n)
			rc = KC_FAIL(KC_EFORMAT, "%s: a clip without images", path);
		if (rc >= 0)
			rc = clip_init(&d->clip[d->n++], path, &images);
		kc_names_free(&images);
	}
	free(path);
	return rc;
}

static int open_folder(struct kc_dataset *d)
{
	struct kc_names all, images;
	int rc;

	KC_TRY(kc_dir_list(d->path, NULL, KC_ORDER_NATURAL, &all));
	rc = kc_dir_list(d->path, NULL, KC_ORDER_NATURAL, &images);
	if (rc < 0) {
		kc_names_free(&all);
		return rc;
	}
	keep_images(&images);
	d->clip = kc_calloc(all.n + 1, sizeof *d->clip);
	if (!d->clip)
		rc = KC_ENOMEM;
	else if (images.n)
		rc = clip_init(&d->clip[d->n++], d->path, &images);
	else
		for (size_t i = 0; rc >= 0 && i < all.n; i++)
			if (all.v[i][0] != '.')
				rc = add_folder(d, all.v[i]);
	if (rc >= 0 && !d->n)
		rc = KC_FAIL(KC_EFORMAT, "%s: neither images nor folders of images", d->path);
	kc_names_free(&all);
	kc_names_free(&images);
	return rc;
}

static int open_pack(struct kc_dataset *d)
{
	KC_TRY(kc_pack_open(d->path, &d->pack));
	d->clip = kc_calloc(kc_pack_clips(d->pack), sizeof *d->clip);
	if (!d->clip)
		return KC_ENOMEM;
	for (; d->n < kc_pack_clips(d->pack); d->n++) {
		struct kc_clip *c = &d->clip[d->n];

		c->name = kc_strdup(kc_pack_clip_name(d->pack, d->n));
		if (!c->name)
			return KC_ENOMEM;
		c->pack = d->pack;
		c->in_pack = d->n;
		c->n = kc_pack_clip_frames(d->pack, d->n);
		c->width = kc_pack_width(d->pack);
		c->height = kc_pack_height(d->pack);
	}
	return 0;
}

int kc_dataset_open(const char *path, struct kc_dataset **out)
{
	struct kc_dataset *d = *out = kc_calloc(1, sizeof *d);
	int rc;

	if (!d)
		return KC_ENOMEM;
	d->path = kc_strdup(path);
	if (!d->path)
		rc = KC_ENOMEM;
	else
		rc = kc_file_exists(path) ? open_pack(d) : open_folder(d);
	if (rc < 0) {
		kc_dataset_close(d);
		*out = NULL;
	}
	return rc;
}

void kc_dataset_close(struct kc_dataset *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++)
		clip_release(&d->clip[i]);
	kc_pack_close(d->pack);
	free(d->clip);
	free(d->window);
	free(d->path);
	free(d);
}

/* ---- lists ---- */

static struct kc_clip *find_clip(const struct kc_dataset *d, const char *name)
{
	size_t low = 0, high = d->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = kc_name_compare(d->clip[middle].name, name);

		if (order == 0)
			return &d->clip[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Marks the clips that are named and stores the windows. */
static int apply_keys(struct kc_dataset *d, const struct kc_keys *keys, bool *named)
{
	for (size_t i = 0; i < keys->n; i++) {
		const struct kc_key *k = &keys->v[i];
		const struct kc_clip *c = find_clip(d, k->clip);

		if (!c)
			return KC_FAIL(KC_ENOENT, "clip %s is not in %s", k->clip, d->path);
		if (k->last >= c->n)
			return KC_FAIL(KC_EFORMAT, "clip %s has %lld frames in %s, %lld expected",
				       k->clip, (long long)c->n, d->path, (long long)k->last + 1);
		named[c - d->clip] = true;
		if (k->last >= 0)
			d->window[d->n_windows++] =
				(struct kc_window){(size_t)(c - d->clip), k->start, k->last};
	}
	return 0;
}

/* Removes the clips that are not named; the windows follow. */
static void drop_clips(struct kc_dataset *d, const bool *named, size_t *moved)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->n; i++) {
		moved[i] = kept;
		if (!named[i])
			clip_release(&d->clip[i]);
		else if (kept++ != i)
			d->clip[kept - 1] = d->clip[i];
	}
	d->n = kept;
	for (size_t i = 0; i < d->n_windows; i++)
		d->window[i].clip = moved[d->window[i].clip];
}

int kc_dataset_use_list(struct kc_dataset *d, const char *list)
{
	struct kc_keys keys;
	bool *named = NULL;
	size_t *moved = NULL;
	int rc;

	KC_TRY(kc_keys_read(list, &keys));
	named = kc_calloc(d->n, sizeof *named);
	moved = kc_calloc(d->n, sizeof *moved);
	free(d->window);
	d->n_windows = 0;
	d->window = kc_calloc(keys.n, sizeof *d->window);
	rc = named && moved && d->window ? apply_keys(d, &keys, named) : KC_ENOMEM;
	if (rc >= 0)
		drop_clips(d, named, moved);
	if (rc >= 0 && !d->n_windows) {
		free(d->window);
		d->window = NULL;
	}
	kc_keys_free(&keys);
	free(named);
	free(moved);
	return rc < 0 ? kc_cause(rc, "%s", list) : rc;
}

bool kc_dataset_one_size(const struct kc_dataset *d, int window, int *width, int *height)
{
	*width = d->clip[0].width;
	*height = d->clip[0].height;
	for (size_t i = 1; i < d->n; i++)
		if (d->clip[i].width != *width || d->clip[i].height != *height)
			return false;
	return window > 1 || d->pack;
}

/* ---- frames ---- */

char *kc_clip_frame_name(const struct kc_clip *c, int64_t frame)
{
	if (c->pack)
		return kc_format("%s: clip %s, frame %lld", kc_pack_path(c->pack), c->name,
				 (long long)frame);
	return kc_format("%s/%s", c->path, c->files.v[frame]);
}

int kc_clip_load(const struct kc_clip *c, int64_t frame, struct kc_image *image)
{
	char *path;
	int rc;

	if (frame < 0 || frame >= c->n)
		return KC_FAIL(KC_EINVAL, "clip %s has no frame %lld, only 0 to %lld", c->name,
			       (long long)frame, (long long)c->n - 1);
	if (c->pack)
		return kc_pack_read(c->pack, c->in_pack, frame, image);
	path = kc_clip_frame_name(c, frame);
	if (!path)
		return KC_ENOMEM;
	rc = kc_image_read(path, image);
	free(path);
	return rc;
}

int kc_clip_read(const struct kc_clip *c, int64_t frame, struct kc_image *image)
{
	char *name;

	KC_TRY(kc_clip_load(c, frame, image));
	if (image->width == c->width && image->height == c->height)
		return 0;
	name = kc_clip_frame_name(c, frame);
	if (!name)
		return KC_ENOMEM;
	KC_FAIL(KC_ESHAPE, "%s is %d x %d, the other frames are %d x %d", name, image->width,
		image->height, c->width, c->height);
	free(name);
	return KC_ESHAPE;
}
