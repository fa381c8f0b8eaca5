/*
 * Crops turned by one of the eight symmetries of the square, as the rows of a table say: of
 * frames, and of flow fields as they are stored.  The table (n, 3) of int32 holds for sample i of
 * n the column and the row where its square begins, and its symmetry; images i, i + n, i + 2 n,
 * ... are of sample i.
 *
 * A symmetry is a sum of the numbers below: mirrored left-right, then top-bottom, then transposed.
 * A square that does not lie inside is moved inside; other bits of a symmetry are ignored.
 */
#ifndef KC_LAYERS_CUT_H
#define KC_LAYERS_CUT_H

#include "layers/ops.h"

enum { KC_CUT_MIRROR_X = 1, KC_CUT_MIRROR_Y = 2, KC_CUT_TRANSPOSE = 4, KC_CUT_COLUMNS = 3 };

/* unit: of stored flows, in pixels; 0 for frames. */
struct kc_cut_attr { int64_t side; double unit; };

#endif
