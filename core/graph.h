/*
 * The graph: a value is the output of a node, a node applies an operator to values, and
 * every value is assigned once.  All of it lives in the graph's arena and dies with it.
 *
 * Nodes are hash-consed: the same operator, attributes and inputs give the same node, so
 * common subexpressions vanish while a model is built.  Operators flagged RANDOM or STATE
 * are exempt.
 *
 * Errors while building are sticky: the first is kept with the path of the module and both
 * shapes, every later operation returns a poison value, and kc_graph_status reports it.
 * Model code therefore has no error checks.
 */
#ifndef KC_CORE_GRAPH_H
#define KC_CORE_GRAPH_H

#include "core/tensor.h"

struct kc_op;
struct kc_op_set;
struct kc_param;

struct kc_tensor {
	struct kc_node *node;
	struct kc_type type;
	int32_t out;            /* which output of the node */
};

struct kc_node {
	const struct kc_op *op;
	const void *attr;       /* op->attr_size bytes */
	const char *path;       /* scope it was made in: "feature_refine.conv1" */
	struct kc_tensor **in;
	struct kc_tensor *out;
	int32_t n_in, n_out;
	int32_t id;             /* inputs have smaller ids than their users */
	bool backward;          /* made while building gradients */
	struct kc_node *next;   /* hash chain */
};

struct kc_graph;

struct kc_graph *kc_graph_new(const struct kc_op_set *);
void kc_graph_free(struct kc_graph *);
/* 0, or the first error, whose message becomes the calling thread's. */
int kc_graph_status(const struct kc_graph *);
int kc_graph_size(const struct kc_graph *);
struct kc_node *kc_graph_node(const struct kc_graph *, int id);

/* Records the first error and returns the poison value. */
struct kc_tensor *kc_graph_fail(struct kc_graph *, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool kc_is_poison(const struct kc_tensor *);

/* attr may be NULL for none; it is copied.  Returns output 0. */
struct kc_tensor *kc_apply(struct kc_graph *, const struct kc_op *, const void *attr,
			   struct kc_tensor *const *in, int n_in);
/* Another output of the node that made t. */
struct kc_tensor *kc_output(struct kc_tensor *t, int out);

/*
 * Nodes from that id on are not merged with later ones.  For gradients of several plans over one
 * graph: a plan runs nodes in the order in which they were made, and those that an earlier
 * gradient made would be computed, and kept, before the rest of a later plan has run.
 */
void kc_graph_forget(struct kc_graph *, int id);

/* A copy of those bytes that lives as long as the graph: lists that attributes point to. */
void *kc_graph_keep(struct kc_graph *, const void *bytes, size_t n);

/* Names of modules, joined by dots.  push returns the length to give to pop. */
size_t kc_scope_push(struct kc_graph *, const char *name);
void kc_scope_pop(struct kc_graph *, size_t);
/* The path of name in the current scope; lives as long as the graph. */
const char *kc_scope_path(struct kc_graph *, const char *name);
/* KC_SCOPE(g, "enc") { ... } */
#define KC_SCOPE(g, name) \
	for (size_t kc_once_ = 1, kc_old_ = kc_scope_push((g), (name)); kc_once_; \
	     kc_once_ = 0, kc_scope_pop((g), kc_old_))

/* Leaves. */
struct kc_tensor *kc_input(struct kc_graph *, const char *name, struct kc_type);
/* A constant: every element has that value. */
struct kc_tensor *kc_fill(struct kc_graph *, double value, struct kc_type);
/* The parameter as a value; a frozen one needs no gradient. */
struct kc_tensor *kc_param_value(struct kc_graph *, struct kc_param *);
/* An input's name, a parameter, or NULL. */
const char *kc_input_name(const struct kc_tensor *);
struct kc_param *kc_tensor_param(const struct kc_tensor *);

/*
 * Gradients as graph: out[i] = d sum(y * gy) / d wrt[i]; gy NULL means ones.  A wrt that y
 * does not depend on gets zeros.  Names no operator: each descriptor says how (core/op.h).
 */
int kc_grad(struct kc_graph *, struct kc_tensor *y, struct kc_tensor *gy,
	    struct kc_tensor *const *wrt, int n, struct kc_tensor **out);
/* The same for several outputs at once: the gradients of sum over k of <y[k], gy[k]>. */
int kc_grad_many(struct kc_graph *, struct kc_tensor *const *y, struct kc_tensor *const *gy, int ny,
		 struct kc_tensor *const *wrt, int n, struct kc_tensor **out);

#endif
