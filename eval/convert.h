/* From an open file of weights to the tensors that another file shall hold. */
#ifndef KC_EVAL_CONVERT_H
#define KC_EVAL_CONVERT_H

#include "eval/network.h"

#include <stdio.h>

/* Tensors under their bare names, row-major, and the metadata without checksums. */
struct kc_converted {
	struct kc_st_item *items;
	size_t n;
	struct kc_st_pair *notes;
	size_t n_notes;
	void **copies;                  /* of the n items, those that are not the file's own */
};

/*
 * The counters num_batches_tracked become the integers that PyTorch keeps them as.
 * half: floating-point tensors become float16; KC_ENUMERIC names a value that is too large.
 * part: only tensors whose bare name begins so, without it ("" for all).
 * Items borrow from the file, which must stay open.  KC_EFORMAT: a bare name occurs twice.
 */
int kc_convert(const struct kc_weights *, const char *part, bool half, struct kc_converted *);
void kc_converted_release(struct kc_converted *);

/*
 * How many parameters of the network (or of it as a part of TCVC) the file lacks, tensors it
 * has beyond, and shapes that differ; *lists becomes a text of one line each, to be freed,
 * empty when all match.
 */
int kc_compare(const struct kc_weights *, const struct kc_network *, char **lists);

/* Tensors, metadata, whose names they have and what does not match of which network, for people. */
int kc_inspect(const struct kc_weights *, FILE *);

#endif
