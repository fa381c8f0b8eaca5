/*
 * Reproducible pseudo-random weights by a formula, for tests and benchmarks of networks
 * whose weight files are too large to ship.
 *
 * Element i of the parameter with name s is (float)(centre + bound * (2u - 1)), where u
 * comes from splitmix64 (Steele, Lea, Flood, OOPSLA 2014) at FNV-1a-64(s) + i.  With a
 * seed other than 0, s is followed by '#' and the seed in decimal.
 */
#ifndef KC_WEIGHTS_FORMULA_H
#define KC_WEIGHTS_FORMULA_H

#include "core/param.h"

/* u * 2^24 of element i, in 0 .. 2^24-1. */
uint32_t kc_formula_unit(const char *name, uint64_t i, uint64_t seed);
float kc_formula_value(const char *name, uint64_t i, double centre, double bound, uint64_t seed);

/* A parameter, described as kc_param does. */
struct kc_formula {
	const char *net;            /* siggraph17, eccv16, flownet2, tcvc, vgg16, vgg19, ... */
	const char *name;           /* path in the checkpoint */
	enum kc_param_kind kind;
	int ndim;
	const int64_t *dim;
	int64_t stride;             /* of KC_PARAM_DECONV, else unused */
	uint64_t seed;
};

/*
 * Centre and bound by kind, shape and the network's gains:
 * - weights: 0, gain * sqrt(3 / fan); fan is the product of all dimensions but the first,
 *   of a transposed convolution dim[0] * dim[2] * dim[3] / stride^2
 * - biases: 0, 0.05; norm weight 1, norm bias and mean 0, variance 1.1, all with bound 0.1;
 *   counters 0.  Vectors of spectral norm (weight_u, weight_v): 0, 1.
 * KC_EINVAL for a network without gains or a kind without a rule.
 */
int kc_formula_rule(const struct kc_formula *, double *centre, double *bound);

/* All elements.  Vectors of spectral norm are scaled to length 1 after the formula. */
int kc_formula_fill_f32(const struct kc_formula *, float *out);
int kc_formula_fill_f64(const struct kc_formula *, double *out);

#endif
