/* Update rules of fixtures. */
#ifndef KC_TESTS_GOLDEN_OPTIMIZER_H
#define KC_TESTS_GOLDEN_OPTIMIZER_H

#include "layers/optim.h"
#include "tests/golden_ops.h"

/* "lr 1e-2 betas .9 .99 eps 1e-8 ...": the arguments; returns the rate. */
double golden_rule(const char *text, struct kc_optimizer_args *);

/* The input of rate and step. */
struct kc_tensor *golden_hyper(struct kc_graph *);

/* in.p and in.g[steps] to out.p[steps]. */
int golden_rule_case(struct op_case *, struct golden *, enum golden_mode, struct golden_values *);

#endif
