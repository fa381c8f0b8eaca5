/*
 * Frames of a video file, in the order in which they are shown, as 8-bit RGB.
 *
 * Whatever libavformat and libavcodec open; the first video stream.  Colours are converted by
 * libswscale with the matrix and the range that the file tells (BT.601 for small and BT.709
 * for large pictures when it tells nothing).  Rotation tags are not applied.
 */
#ifndef KC_DATA_VIDEO_H
#define KC_DATA_VIDEO_H

#include "data/image.h"

struct kc_video;

/* KC_ENOENT, KC_EIO; KC_EFORMAT: no video in it, or a picture too large. */
int kc_video_open(const char *path, struct kc_video **);
void kc_video_close(struct kc_video *);

int kc_video_width(const struct kc_video *);
int kc_video_height(const struct kc_video *);
double kc_video_rate(const struct kc_video *);          /* frames per second; 0: not told */

/*
 * The next frame: 1, and *seconds (may be NULL) is its time from the start; 0 at the end.
 * What cannot be decoded is skipped and counted.
 */
int kc_video_read(struct kc_video *, struct kc_image *, double *seconds);
int64_t kc_video_damaged(const struct kc_video *);

#endif
