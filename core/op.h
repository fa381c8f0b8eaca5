/*
 * An operator is one descriptor.  It has exactly one way to be differentiated: `grad`, which
 * writes the gradient with operators of the table; `expand`, its definition in simpler
 * operators, from which the gradient follows; or a flag NONDIFF or LEAF.
 */
#ifndef KC_CORE_OP_H
#define KC_CORE_OP_H

#include "core/graph.h"
#include "core/option.h"

/* What the plan may do with an operator. */
enum {
	KC_OP_LEAF = 1,	       /* no inputs: input, parameter, constant */
	KC_OP_NONDIFF = 2,     /* gradient is zero by definition (masks, rounding, encodings) */
	KC_OP_RANDOM = 4,      /* never merged with an equal node */
	KC_OP_STATE = 8,       /* writes parameters, moments, statistics; never merged or pruned */
	KC_OP_POINTWISE = 16,  /* element i of the output from element i of the inputs */
	KC_OP_VIEW = 32,       /* output may alias input 0 (`view` says where) */
	KC_OP_CHEAP = 64,      /* cheaper to run again than to keep (concat, cast, expand) */
	KC_OP_INPLACE = 128,   /* may write its output over input 0 of the same size */
	KC_OP_BROADCAST = 256, /* input 0 repeated along dimensions of size 1, aligned at the right:
				* the plan makes it a view with strides of 0 */
	KC_OP_OUT_FULL = 512,  /* with KC_PREC_LOW: the output is float32 all the same */
	KC_OP_EARLY = 1024,    /* runs as soon as its inputs are there: others wait for it */
	KC_OP_WINDOW = 2048,   /* with VIEW: the output keeps the strides of input 0 */
	KC_OP_SUM = 4096       /* sum of input 0 over the dimensions that are 1 in the output */
};

/* How the precision pass treats an operator in a bf16 plan. */
enum kc_precision {
	KC_PREC_FOLLOW,         /* bf16 when most of what is real in its inputs is */
	KC_PREC_FIRST,          /* output as input 0; other inputs as they come */
	KC_PREC_LOW,            /* bf16 in and out: convolution, matrix product */
	KC_PREC_FULL            /* float32 in and out: reductions, losses, statistics, state */
};

/* Which layout the outputs of 4 or more dimensions get. */
enum kc_layout_rule {
	KC_LAYOUT_FOLLOW,       /* channels-last if any input of 4 or more dimensions is */
	KC_LAYOUT_CLAST,
	KC_LAYOUT_PLAIN         /* weight gradients, permuted things */
};

struct kc_infer {
	struct kc_graph *g;
	const struct kc_op *op;
	const void *attr;
	struct kc_tensor *const *in;
	int n_in;
	struct kc_type *out;    /* room for KC_MAX_OUT; dtype is preset to KC_REAL */
	int n_out;              /* preset to 1 */
};

enum { KC_MAX_OUT = 64 };

struct kc_onnx;

struct kc_grad_ctx {
	struct kc_graph *g;
	const struct kc_node *node;
	struct kc_tensor *const *in;    /* = node->in */
	struct kc_tensor *const *gy;    /* per output; NULL where no gradient arrives */
	struct kc_tensor **gx;          /* per input; leave NULL for zero */
	const bool *need;               /* per input: whether gx[i] is wanted at all */
};

/* Elements first .. first + count - 1 of a dimension. */
struct kc_range { int64_t first, count; };

struct kc_device;

/* What a kernel gets: resolved buffers, nothing to look up. */
struct kc_call {
	const void *attr;
	const struct kc_buf *in, *out;
	int n_in, n_out;
	void *workspace;
	void *prepared;                 /* the kernel's own, from its prepare */
	struct kc_device *device;
};

struct kc_op {
	const char *name;
	int n_in_min, n_in_max;         /* n_in_max -1: any number */
	unsigned flags;
	enum kc_precision precision;
	enum kc_layout_rule layout;
	/*
	 * Attributes: a struct of int64_t, double and pointers only (no padding: equality is
	 * bytewise); the rows print them.
	 */
	size_t attr_size;
	const struct kc_opt *attrs;
	size_t n_attrs;
	/* Output types from input types; an error is reported by KC_FAIL and returned. */
	int (*infer)(struct kc_infer *);
	void (*grad)(struct kc_grad_ctx *);
	/* out[k] for every output; may use node->attr and in, not node->out. */
	void (*expand)(struct kc_graph *, const struct kc_node *, struct kc_tensor *const *in,
		       struct kc_tensor **out);
	/* Some ranges of output 0 along the axis, one behind the other, at less cost than the whole
	 * of it; NULL: that is not possible, or nothing is saved. */
	struct kc_tensor *(*narrow)(struct kc_graph *, const struct kc_node *, int axis,
				    const struct kc_range *, int n);
	/* Any dtype and any strides, sums in double: the oracle of every other kernel. */
	void (*ref)(const struct kc_call *);
	double (*flops)(const struct kc_node *);
	/* VIEW: offset in elements into input 0 of output k, if that is possible; -1 if not. */
	int64_t (*view)(const void *attr, const struct kc_buf *in, const struct kc_type *out,
			int k);
	/* The reverse of a view: offset in elements of input k inside the (dense) output, if the
	 * operator only puts its inputs one behind the other in memory; -1 if not. */
	int64_t (*join)(const void *attr, const struct kc_buf *out, const struct kc_buf *in, int k);
	/* May a kernel of this operator also do `next`, the only user of output 0?  Writes the
	 * attributes of the merged operator (convolution with its activation). */
	bool (*absorb)(const void *attr, const struct kc_op *next, const void *next_attr,
		       void *merged);
	/* Adds ONNX nodes for one output, returns its name (core/onnx.h); NULL: not possible. */
	const char *(*onnx)(struct kc_onnx *, const struct kc_tensor *);
	/* POINTWISE: its formula (layers/pointwise.h); attributes begin with two doubles p, q. */
	int pointwise;
};

/* The operators that the engine itself must apply, given by layers/. */
struct kc_op_set {
	const struct kc_op *const *all;         /* the table of operators */
	size_t n;
	struct kc_tensor *(*add)(struct kc_graph *, struct kc_tensor *, struct kc_tensor *);
	const struct kc_op *fused;              /* runs a chain of pointwise operators */
};

/*
 * A chain of pointwise operators fused into one step: the attributes of kc_op_set.fused.
 * Registers 0..n_in-1 are the inputs (a stride of 0 repeats), register n_in + i is the result
 * of instruction i.  Every output is dense and has the same dimensions; behind them, if one of
 * them is summed, comes an output for the sum over everything but the channels, in float32.
 */
enum { KC_FUSED_MAX = 32, KC_FUSED_IN = 12, KC_FUSED_OUT = 6 };
struct kc_fused_code { int64_t op, arg[3]; double p, q; };
struct kc_fused_attr {
	int64_t n_in, n_code, n_out;
	struct kc_fused_code code[KC_FUSED_MAX];
	int64_t out[KC_FUSED_OUT];              /* registers that are stored */
	int64_t summed;                         /* which of them is summed as well: 1.., 0: none */
};

/* The engine's own step: elements converted to another dtype or layout. */
extern const struct kc_op kc_op_copy;

/* Leaves and plumbing that belong to the engine: known to every device. */
extern const struct kc_op kc_op_input, kc_op_param, kc_op_fill;

struct kc_input_attr { const char *name; int64_t ndim, dtype, dim[KC_MAX_DIM]; };
struct kc_param_attr { struct kc_param *param; };
struct kc_fill_attr { double value; int64_t ndim, dtype, dim[KC_MAX_DIM]; };

#define KC_ATTR(strct, member, kind) \
	{.key = #member, .type = KC_OPT_##kind, .offset = offsetof(struct strct, member)}

#endif
