/*
 * Writes what torch.save(OrderedDict of tensors) writes: a zip archive that
 * torch.load(weights_only=True) reads and load_state_dict(strict=True) takes.
 *
 * Entries are archive/data.pkl (protocol 2), archive/byteorder, archive/data/0, 1, ... and
 * archive/version, stored, their data on 64-byte boundaries.  Metadata go into
 * archive/extra/kinemacolor.json, which PyTorch passes over and kc_pth_open reads.
 *
 * Checked with PyTorch 1.13 and 2.6 by tests/torch.sh.
 */
#ifndef KC_WEIGHTS_PTH_WRITE_H
#define KC_WEIGHTS_PTH_WRITE_H

#include "weights/safetensors.h"

/*
 * Atomic (core/file.h).  Equal contents give equal bytes; tensors keep their order.  Names
 * must be unique UTF-8.
 */
int kc_pth_save(const char *path, const struct kc_st_item *items, size_t n,
		const struct kc_st_pair *meta, size_t n_meta);

#endif
