/*
 * TensorBoard event files: scalars, written from scratch.
 *
 * A file is a sequence of TFRecords (length, masked CRC-32C of the length, bytes, masked
 * CRC-32C of the bytes), each holding an Event message of tensorflow/core/util/event.proto in
 * protobuf's wire format.
 */
#ifndef KC_TRAIN_TENSORBOARD_H
#define KC_TRAIN_TENSORBOARD_H

#include "core/base.h"

#include <stdio.h>

/* One named number: a loss, a metric. */
struct kc_metric {
	const char *name;
	double value;
};

struct kc_tensorboard {
	FILE *file;
};

/*
 * Starts a new event file in dir, which is made when absent.  start_step > 0 tells
 * TensorBoard that a resumed run goes on there: it drops older points from that step on.
 */
int kc_tensorboard_open(struct kc_tensorboard *, const char *dir, int64_t start_step);

/* All values as points of that step, as float32. */
int kc_tensorboard_write(struct kc_tensorboard *, int64_t step, const struct kc_metric *, size_t n);

int kc_tensorboard_close(struct kc_tensorboard *);

#endif
