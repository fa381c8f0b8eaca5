/*
 * Initial values of parameters, by their kind.  Every parameter draws from a stream of its own,
 * keyed by (seed, name): values do not depend on the order or the number of parameters.
 */
#ifndef KC_MODELS_INIT_H
#define KC_MODELS_INIT_H

#include "core/param.h"

/* Writes the initial value of one parameter; returns an error to stop. */
struct kc_init {
	int (*write)(struct kc_param *, const struct kc_init *);
	uint64_t seed;
};

/*
 * PyTorch's defaults: weights and biases uniform within +-1 / sqrt(fan in), norms 1 and 0.
 * Of a transposed convolution PyTorch counts the fan as Cout * k * k.
 */
int kc_init_default(struct kc_param *, const struct kc_init *);

/* What siggraph17 was trained from: weights N(0, 0.02), norm weights N(1, 0.02), biases 0. */
int kc_init_normal(struct kc_param *, const struct kc_init *);

/* For layers with ReLU: weights N(0, 2 / fan in) (He et al., 2015), norms 1 and 0, biases 0. */
int kc_init_he(struct kc_param *, const struct kc_init *);

/* Writes all parameters of an allocated store. */
int kc_params_init(struct kc_params *, const struct kc_init *);

#endif
