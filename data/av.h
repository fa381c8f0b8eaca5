/* What the users of libav in this folder share: silence, and its words in our messages. */
#ifndef KC_DATA_AV_H
#define KC_DATA_AV_H

#include "core/base.h"

/*
 * Call before using libav: its log goes nowhere from now on, but the last error of the
 * calling thread is kept for kc_av_fail.
 */
void kc_av_begin(void);

/* Fails with "what: the last error that libav logged in this thread", or the text of averr. */
int kc_av_fail(int err, int averr, const char *what);

#endif
