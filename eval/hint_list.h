/*
 * A file of colour hints for frames of one clip, as people write it.  A line is a hint:
 *
 *	FRAME X Y COLOUR [RADIUS]
 *	{"frame": FRAME, "x": X, "y": Y, "colour": "#rrggbb", "radius": RADIUS}
 *	{"frame": FRAME, "x": X, "y": Y, "ab": [A, B]}
 *
 * FRAME counts from 0, or is `all` (in JSON "all", or left out).  X and Y are pixels of the input
 * frame, from 0 at the upper left corner; fractions are allowed.  COLOUR is #rrggbb, of which only
 * the hue and chroma count, the lightness being the film's; or A,B in CIE Lab, which sRGB must
 * have at some lightness.  The hint covers the disk of RADIUS pixels of the frame (3 without it),
 * and always at least the one pixel of the networks' input that holds X, Y.  Later lines lie over
 * earlier ones.  Empty lines, and those that begin with "#", are comments.
 *
 * Errors are KC_EFORMAT with "FILE:LINE: ".
 */
#ifndef KC_EVAL_HINT_LIST_H
#define KC_EVAL_HINT_LIST_H

#include "core/base.h"

struct kc_hint {
	int64_t frame;                  /* -1: all */
	double x, y, radius;            /* pixels of the frame */
	double a, b;                    /* Lab units */
	int line;
};

struct kc_hint_list {
	char *path;
	struct kc_hint *v;
	size_t n, room;
};

/* Start from a zeroed struct; release it whatever load returns. */
int kc_hint_list_load(struct kc_hint_list *, const char *path);
/* The same from memory; name stands for the file in messages. */
int kc_hint_list_parse(struct kc_hint_list *, const char *name, const char *text, size_t size);
void kc_hint_list_release(struct kc_hint_list *);

struct kc_hint_clip {
	int64_t frames;
	int width, height;
	const int *intervals;           /* of TCVC: frames between anchors, n of them */
	int n_intervals;                /* 0: every frame takes hints */
};

/*
 * Whether every hint lies in the clip, and on a frame that takes hints: with propagation these
 * are the anchors, i.e. every (interval + 1)-th frame of an interval, and the last one.
 */
int kc_hint_list_check(const struct kc_hint_list *, const struct kc_hint_clip *);

/*
 * Draws the hints of one frame of width x height on the size x size pixels that the networks see:
 * hint [..][2] ab / 110, mask 1.
 */
void kc_hint_list_draw(const struct kc_hint_list *, int64_t frame, int width, int height, int size,
		       float *hint, float *mask);

#endif
