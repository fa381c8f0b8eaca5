/* Attributes of the state writers as kernels see them: of layers/optim.c and the devices. */
#ifndef KC_LAYERS_OPTIM_PRIVATE_H
#define KC_LAYERS_OPTIM_PRIVATE_H

#include "layers/optim.h"

/* optimizer, accumulate: n gradients, then hyper, scale, finite as far as there are any. */
struct kc_store_attr {
	struct kc_params *store;
	struct kc_param *const *params; /* of the first n inputs */
	int64_t n;
	const struct kc_optimizer_args *args;
	int64_t with_scale, with_finite;
};

/* assign: the new value, then finite if there is one. */
struct kc_assign_attr { struct kc_param *param; int64_t with_finite; };

#endif
