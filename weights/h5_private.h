/* What reading and writing share: the only place in this folder that knows HDF5. */
#ifndef KC_WEIGHTS_H5_PRIVATE_H
#define KC_WEIGHTS_H5_PRIVATE_H

#include "weights/h5.h"

#include <hdf5.h>

/* The stored type of a dtype, to be closed. */
hid_t kc_h5_type(enum kc_st_dtype);

/* The library becomes silent and loads no filters from outside. */
void kc_h5_begin(void);

/* Fails with "what: the library's innermost words". */
int kc_h5_fail(int err, const char *what);

#endif
