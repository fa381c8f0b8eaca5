/* What reading and writing pack files share: the only place in this folder that knows HDF5. */
#ifndef KC_DATA_PACK_PRIVATE_H
#define KC_DATA_PACK_PRIVATE_H

#include "data/pack.h"

#include <hdf5.h>

enum { KC_PACK_VERSION = 1, KC_PACK_FRAMES = 1 << 24 };

struct kc_pack_clip {
	char *name;
	int64_t n;
	hid_t data;             /* frames or bytes */
	uint64_t *index;        /* of jpeg */
	hid_t flow[KC_PACK_OFFSETS][2];         /* [.][1]: backwards; 0: absent */
};

/*
 * The library takes one caller at a time.  Between lock and unlock it is silent, and loads
 * no filters from outside.
 */
void kc_pack_lock(void);
void kc_pack_unlock(void);

/* Fails with "what: the library's innermost words". */
int kc_pack_fail(int err, const char *what);

/* Reads entry i of a dataset, whose shape is `tail`, to `to`; or writes it if that is NULL. */
int kc_pack_transfer(hid_t dataset, int rank, hsize_t i, const hsize_t *tail, hid_t type, void *to,
		     const void *from);

/* Closes and frees what the clip holds. */
void kc_pack_clip_close(struct kc_pack_clip *);

#endif
