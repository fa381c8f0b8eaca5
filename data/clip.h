/*
 * Clips and datasets.
 *
 * A clip is a folder of images, its frames in natural order of their names (f9 before f10).
 * A dataset is a folder of such folders, or one such folder, or a pack file (.h5, .hdf5).
 * Hidden entries are skipped; in a folder of clips, so is everything that is no folder.
 * Opening reads names and, per clip, the size of one image from its header: nothing is
 * decoded.  Frames are checked as they are read.
 *
 * An open dataset may be read from several threads.
 */
#ifndef KC_DATA_CLIP_H
#define KC_DATA_CLIP_H

#include "core/file.h"
#include "data/image.h"
#include "data/keys.h"
#include "data/pack.h"

struct kc_clip {
	char *name;             /* of its folder, or in the pack file */
	char *path;             /* of the folder; NULL in a pack file */
	struct kc_names files;
	const struct kc_pack *pack;
	size_t in_pack;
	int64_t n;              /* frames, at least 1 */
	int width, height;      /* of the first frame that has a readable header */
};

/* A training window that a list asks for. */
struct kc_window {
	size_t clip;
	int64_t start, last;    /* frames; last is the last one of the clip */
};

struct kc_dataset {
	char *path;
	struct kc_clip *clip;   /* in natural order of their names */
	size_t n;
	struct kc_window *window;       /* of a list of keys, else NULL */
	size_t n_windows;
	struct kc_pack *pack;
};

/*
 * Errors: KC_ENOENT, KC_EIO (cannot be read), KC_EFORMAT (no clips, a clip without images,
 * a clip none of whose images has a readable header, a damaged pack file).
 */
int kc_dataset_open(const char *path, struct kc_dataset **);
void kc_dataset_close(struct kc_dataset *);

/*
 * Keeps the clips that a list names (see keys.h) and, if it is a list of keys, its windows.
 * KC_ENOENT: a clip that the dataset does not have; KC_EFORMAT: frames that the clip does not
 * have.
 */
int kc_dataset_use_list(struct kc_dataset *, const char *list);

/*
 * Whether all frames have one size, and which.  Windows are made of frames of their clip's size
 * (kc_clip_read); single images, a window of 1, may each have their own in a folder, but not in a
 * pack file.
 */
bool kc_dataset_one_size(const struct kc_dataset *, int window, int *width, int *height);

/* A frame as it is. */
int kc_clip_load(const struct kc_clip *, int64_t frame, struct kc_image *);

/* A frame that must have the clip's size; KC_ESHAPE otherwise. */
int kc_clip_read(const struct kc_clip *, int64_t frame, struct kc_image *);

/* The frame's name for messages: "folder/00012.png", or "pack.h5: clip x, frame 12". */
char *kc_clip_frame_name(const struct kc_clip *, int64_t frame);

#endif
