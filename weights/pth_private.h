/* Shared by the files of the .pth reader; nobody else includes it. */
#ifndef KC_WEIGHTS_PTH_PRIVATE_H
#define KC_WEIGHTS_PTH_PRIVATE_H

#include "core/pickle.h"
#include "weights/pth.h"
#include "weights/zip.h"

/* Codes of OBJECT values. */
enum kc_pth_object { KC_PTH_STORAGE, KC_PTH_TENSOR, KC_PTH_NUMPY_DTYPE };

struct kc_pth_storage {
	const char *key;                /* belongs to the pickle */
	enum kc_st_dtype dtype;
	size_t count;                   /* elements in the file */
	size_t first, limit;            /* the part of them that it is a view of, mostly all */
	const unsigned char *data;      /* of element 0 in the file; NULL until it is found */
};

/* The object of a tensor; its data are at storage->data + (first + offset) elements. */
struct kc_pth_view {
	struct kc_st_tensor t;
	struct kc_pth_storage *storage;
	size_t offset;
};

/* What the objects of one file need while its pickle is read. */
struct kc_pth_objects {
	struct kc_zip *zip;             /* NULL for the older form: storages follow the pickle */
	const char *folder;             /* of the archive's entries, with '/' */
	const struct kc_map *map;       /* or NULL */
	struct kc_pth_block { struct kc_pth_block *next; } *blocks;
	struct kc_pth_storage **storages;       /* all of them, in order of appearance */
	size_t n, room;
};

extern const struct kc_pickle_hooks kc_pth_hooks;       /* user: a struct kc_pth_objects */
void kc_pth_objects_release(struct kc_pth_objects *);

/* "FloatStorage" */
const char *kc_pth_storage_name(enum kc_st_dtype);

/* Where our metadata lie in an archive, as a JSON object of texts. */
#define KC_PTH_NOTES "extra/kinemacolor.json"

#endif
