/*
 * Pack files: the frames of many clips, all of one size, in one HDF5 file, and optionally
 * their optical flow.  They load faster than folders of images and cost one open file.
 *
 * Layout (version 1):
 *   /                    attributes kinemacolor_pack (1), width, height, source (text),
 *                        format ("raw" or "jpeg"), quality, offsets (the flows' list)
 *   /clips/NAME/frames   uint8 [n][height][width][3], chunked by frame, if raw
 *   /clips/NAME/bytes    uint8 [sum]: JPEG files one after another, if jpeg
 *   /clips/NAME/index    uint64 [n + 1]: where each begins, and the end
 *   /clips/NAME/flow_D   int16 [n - D][height][width][2] for each offset D: entry i is the
 *                        flow from frame i to frame i + D, in 1/64 pixel, saturating
 *   /clips/NAME/flow_-D  the same: entry i is the flow from frame i + D to frame i
 * Nothing is filtered: gzip costs more time than it saves.  A clip of D frames or fewer has
 * no flow_D.
 */
#ifndef KC_DATA_PACK_H
#define KC_DATA_PACK_H

#include "data/image.h"

#define KC_PACK_FLOW_UNIT (1.0f / 64)

/* ---- reading: all calls may be made from several threads ---- */

struct kc_pack;

/*
 * Errors start with the path.  Refused (KC_EFORMAT) are files of another version, datasets
 * whose shapes do not fit, external or virtual storage, links to other files, filters.
 */
int kc_pack_open(const char *path, struct kc_pack **);
void kc_pack_close(struct kc_pack *);

const char *kc_pack_path(const struct kc_pack *);
int kc_pack_width(const struct kc_pack *);
int kc_pack_height(const struct kc_pack *);

/* Clips in natural order of their names. */
size_t kc_pack_clips(const struct kc_pack *);
const char *kc_pack_clip_name(const struct kc_pack *, size_t clip);
int64_t kc_pack_clip_frames(const struct kc_pack *, size_t clip);

int kc_pack_read(const struct kc_pack *, size_t clip, int64_t frame, struct kc_image *);

/* Fails with KC_ENOENT, naming file and offset, unless flows over `offset` (+ or -) are there. */
int kc_pack_need_offset(const struct kc_pack *, size_t clip, int64_t offset);

/* Flow from frame `from` to frame `to`: height x width pairs in KC_PACK_FLOW_UNIT. */
int kc_pack_flow(const struct kc_pack *, size_t clip, int64_t from, int64_t to, int16_t *flow);

/* ---- writing: one thread ---- */

struct kc_pack_writer;

enum { KC_PACK_OFFSETS = 8 };

struct kc_pack_layout {
	int width, height;
	bool jpeg;
	int quality;                    /* of JPEG, for the record */
	const char *source;             /* where the frames came from, for the record */
	int offsets[KC_PACK_OFFSETS];   /* of the flows, positive */
	int n_offsets;
};

/* The file appears at path when the writer is committed, complete and durable, or not at all. */
int kc_pack_create(const char *path, const struct kc_pack_layout *, struct kc_pack_writer **);

/* Begins the next clip, of n frames. */
int kc_pack_add_clip(struct kc_pack_writer *, const char *name, int64_t n);

/* Frame i of the clip, frames in order: raw RGB, or the bytes of a JPEG file. */
int kc_pack_add_frame(struct kc_pack_writer *, int64_t i, const void *bytes, size_t size);

/* The flow from `from` to `to` of the clip. */
int kc_pack_add_flow(struct kc_pack_writer *, int64_t from, int64_t to, const int16_t *flow);

/* Both end the writer, whatever they return. */
int kc_pack_commit(struct kc_pack_writer *);
void kc_pack_abort(struct kc_pack_writer *);

/* One component of a flow in the file's fixed point. */
int16_t kc_pack_flow_value(float pixels);

#endif
