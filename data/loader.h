/*
 * From a dataset to a deterministic stream of training batches.
 *
 * Sample i of the stream (i = 0, 1, ...) is a pure function of (seed, i) and of the files: its
 * window comes from the order of its epoch, its interval, direction, crop and symmetry from
 * random numbers keyed by i.  Neither the number of workers nor where a run was resumed
 * changes a bit: to go on after batch k, open the loader with first = k + 1.
 *
 * An epoch is one pass over the windows: those of the list of keys, or without one every
 * (clip, start) that the shortest interval of the options allows.  Clips too short for it are
 * skipped and counted.  Where the drawn interval does not fit the window's start, the start is
 * drawn again uniformly over those that fit; intervals that fit no start of a clip are not
 * drawn for it.
 *
 * Batch b holds samples (b * ranks + rank) * batch + 0, 1, ...  of the stream.
 *
 * A frame that is damaged, unreadable or of another size than its clip does not end the run:
 * its file is put aside, counted and reported once, and the sample is drawn again, from all
 * windows, by random numbers keyed by (i, attempt).
 */
#ifndef KC_DATA_LOADER_H
#define KC_DATA_LOADER_H

#include "data/clip.h"
#include "data/dis.h"

enum kc_loader_flow { KC_LOADER_NO_FLOW, KC_LOADER_DIS, KC_LOADER_PACK };

/* A flow from one frame of the window to another. */
struct kc_loader_pair {
	int from, to;
};

struct kc_loader_opts {
	int window;             /* frames of a sample; 1: single images, which may differ in size */
	const int64_t *intervals;       /* frames from one of the window to the next; NULL: {1} */
	size_t n_intervals;
	bool random_reverse;    /* turn half of the windows round in time */
	int resize;             /* first resize frames to this square side (bicubic); 0: not */
	int crop;               /* side of the square crop; 0: the whole frame */
	/*
	 * Hand out whole frames and flows as they are stored, and where the crops lie in them, for
	 * a device to cut: the draws are the same.  Needs a crop, frames of one size
	 * (kc_dataset_one_size) that are not resized, and no DIS.
	 */
	bool whole;
	bool flip, rotate;      /* draw the mirror left-right; the other two symmetries */
	/*
	 * What the published code does instead (specification of TCVC, section 8): every window is
	 * the first of its clip; both symmetries of rotate follow one coin.
	 */
	bool published_window, published_symmetry;
	bool shuffle;           /* else epochs go through the windows in order */
	uint64_t seed;
	int batch;              /* samples per batch of this rank */
	int rank, ranks;        /* ranks 0 counts as 1 */
	int workers;            /* threads; 0: kc_loader_get does the work */
	int depth;              /* batches prepared ahead; 0 counts as 3 */
	enum kc_loader_flow flow;
	enum kc_dis_preset dis; /* flows are computed on the cropped, turned frames */
	const struct kc_loader_pair *pairs;
	int n_pairs;
	/* Called by kc_loader_get, once for each file that is put aside; may be NULL. */
	void (*report)(void *own, const char *message);
	void *own;
};

/* Where a sample came from. */
struct kc_sample {
	const char *clip;
	int64_t start;          /* its first frame in the order of the clip */
	int interval;
	bool reversed;
	int x, y;               /* of the crop */
	unsigned symmetry;      /* see symmetry.h */
	int redraws;            /* how often it was drawn again */
};

struct kc_batch {
	int64_t index;          /* in the stream of batches */
	int64_t first;          /* its first sample, in the stream of samples */
	int64_t epoch;          /* of that one */
	int window, batch, height, width, n_pairs;
	uint8_t *frames;        /* [window][batch][height][width][3], RGB */
	float *flows;           /* [n_pairs][batch][height][width][2], (u, v) in pixels; or NULL */
	/* Of whole frames, else NULL. */
	int16_t *stored_flows;  /* like flows, in KC_PACK_FLOW_UNIT; or NULL */
	int32_t (*cuts)[3];     /* [batch]: column and row of the crop, symmetry */
	struct kc_sample *samples;      /* [batch] */
};

struct kc_loader_stats {
	int64_t windows;        /* of an epoch */
	int64_t skipped_clips;  /* too short */
	int64_t damaged_files;  /* put aside so far */
	int64_t redraws;        /* samples drawn again so far */
	double waited;          /* seconds that kc_loader_get has waited for data */
};

struct kc_loader;

/*
 * Starts the workers at batch `first`.  Options are copied but for the dataset, intervals and
 * pairs, which are borrowed until close.
 * KC_ECONFIG: every clip too short (the message names the window, the interval and the longest
 * clip), a crop larger than a frame, frames of different sizes without crop or resize, turning
 * frames that are not square, whole frames that differ in size, an option out of range.
 * KC_ENOENT: the pack file lacks the flows over an offset that is needed.
 */
int kc_loader_open(const struct kc_dataset *, const struct kc_loader_opts *, int64_t first,
		   struct kc_loader **);
void kc_loader_close(struct kc_loader *);

/*
 * The next batch; valid until it is released.  Waits for the workers if need be.  A failure
 * that is no damaged frame (out of memory, ...) is returned, now and ever after; KC_EFORMAT
 * if one sample was drawn again KC_LOADER_REDRAWS times.
 */
int kc_loader_get(struct kc_loader *, const struct kc_batch **);

enum { KC_LOADER_REDRAWS = 64 };

/*
 * Waits for at most so many seconds until kc_loader_get would not have to; whether that is so.
 * Without workers it is: the work is done there.
 */
bool kc_loader_wait(struct kc_loader *, double seconds);

/* Gives batches back in the order in which they came.  At most `depth` may be held. */
void kc_loader_release(struct kc_loader *, const struct kc_batch *);

void kc_loader_stats(struct kc_loader *, struct kc_loader_stats *);

#endif
