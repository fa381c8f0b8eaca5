/*
 * Files of torch.save (.pth, .pth.tar, .pt), the zip form since PyTorch 1.6 and the older one,
 * read without Python: the pickle inside builds tensors, numbers, texts, lists, tuples and
 * dicts from a fixed list of names; anything else is refused by name and nothing is ever run.
 *
 * Known names: collections.OrderedDict and Counter, torch._utils._rebuild_tensor,
 * _rebuild_tensor_v2 and _rebuild_parameter, the typed storages of torch (Double, Float, Half,
 * BFloat16, Long, Int, Short, Char, Byte, Bool), and numpy's scalars.
 *
 * Tensors point into a map of the file.  Views keep their strides and share their storage;
 * each lies within its storage, and all tensors together are at most four times as large as
 * the file (a view may repeat elements).  Every checksum is verified by kc_pth_open.
 *
 * Source: the fixtures of tests/golden/files and the documentation of torch.save
 * (pytorch.org/docs/stable/notes/serialization.html).
 */
#ifndef KC_WEIGHTS_PTH_H
#define KC_WEIGHTS_PTH_H

#include "weights/safetensors.h"

struct kc_pth {
	/* All tensors, sorted by name: the keys on the way to them, joined by '/'; "tensor" for a
	 * file that is one tensor. */
	struct kc_st_tensor *tensors;
	size_t n;
	struct kc_st_pair *leaves;      /* what is no tensor: such a name, and the value as text */
	size_t n_leaves;
	const char *root;               /* prefix of the state dict: "", "state_dict/", ... */
	const char *form;               /* "PyTorch" or "PyTorch before 1.6" */
	struct kc_map map;
	char *path;
};

/* Whether the first bytes are those of a file of torch.save. */
bool kc_pth_is(const void *bytes, size_t size);

/*
 * KC_ENOENT, KC_EIO, KC_ENOMEM, or KC_EFORMAT with a message that names the file and what is
 * wrong.  On failure *f is zeroed and needs no close.
 */
int kc_pth_open(const char *path, struct kc_pth *f);

/* The same for bytes in memory, which must outlive *f; name stands in messages. */
int kc_pth_open_memory(const char *name, const void *data, size_t size, struct kc_pth *f);
void kc_pth_close(struct kc_pth *f);

const struct kc_st_tensor *kc_pth_find(const struct kc_pth *, const char *name);    /* or NULL */
const char *kc_pth_leaf(const struct kc_pth *, const char *name);                   /* or NULL */

#endif
