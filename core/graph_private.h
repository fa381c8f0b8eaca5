/* What core/gradient.c needs of core/graph.c; nobody else includes this. */
#ifndef KC_CORE_GRAPH_PRIVATE_H
#define KC_CORE_GRAPH_PRIVATE_H

#include "core/graph.h"

const struct kc_op_set *kc_graph_ops(const struct kc_graph *);

/*
 * Nodes made from now on are marked as backward or not, and named after the path (of the node
 * they differentiate).  Returns the old mark.
 */
bool kc_graph_backward(struct kc_graph *, bool on, const char *path);

#endif
