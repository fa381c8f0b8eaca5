/* Small synthetic clips for tests: a textured picture that drifts from frame to frame. */
#ifndef KC_TESTS_CLIPS_H
#define KC_TESTS_CLIPS_H

#include "data/image.h"

/* Frame f of clip `seed`.  Release it. */
void kc_test_picture(struct kc_image *, int width, int height, unsigned seed, int f);

/* Makes folder/name/00000.png ... of n frames; the folder is made if need be. */
void kc_test_clip(const char *folder, const char *name, int n, int width, int height,
		  unsigned seed);

/* Overwrites folder/name with bytes that are no image. */
void kc_test_spoil(const char *folder, const char *name);

#endif
