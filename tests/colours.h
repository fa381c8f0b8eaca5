/* Small pictures in one colour each, and the prior of colours of test clips. */
#ifndef KC_TESTS_COLOURS_H
#define KC_TESTS_COLOURS_H

#include "data/image.h"
#include "train/prior.h"

enum { KC_TEST_COLOURS = 8 };

extern const uint8_t kc_test_colours[KC_TEST_COLOURS][3];      /* of about the same luma */

/*
 * side x side in colour k, with a grid whose brightness tells it from the others; k < 0: plain
 * grey.  Release it.
 */
void kc_test_flat(struct kc_image *, int side, int k);

/* Clips of one such picture, folder/cK/00000.png, for k = first .. last. */
void kc_test_flat_clips(const char *folder, int side, int first, int last);

/* kc_prior_count of the folder of that name, on so many threads. */
int kc_test_count(const char *folder, int threads, struct kc_prior *);

/* A text of this many shares, each 0.25 but number 7 (NULL: as well), behind head. */
void kc_test_shares(const char *file, const char *head, int n, const char *share);
#define KC_TEST_PRIOR_HEAD "\"format\": \"kinemacolor-prior\", "

#endif
