#include "layers/ranks.h"

#include "layers/layers.h"

#include <stdlib.h>

/* Large enough for the bandwidth of a network, small enough that most of them leave early. */
enum { BUCKET_BYTES = 4 << 20 };

/* ---- operators ---- */

static int infer_all_reduce(struct kc_infer *f)
{
	const struct kc_all_reduce_attr *a = f->attr;
	int64_t n = 0;

	for (int i = 0; i < f->n_in; i++)
		n += kc_numel(&f->in[i]->type);
	f->n_out = 2;
	f->out[0] = KC_TYPE(KC_REAL, n);
	f->out[1] = KC_TYPE(KC_REAL, (int64_t)kc_mean_scratch(a->ranks, (size_t)n));
	return 0;
}

/* A failure stays in the ranks: the plan, which polls them between its steps, sees it there. */
static void ref_all_reduce(const struct kc_call *c)
{
	const struct kc_all_reduce_attr *a = c->attr;
	char *at = c->out[0].data;
	enum kc_dtype dtype = (enum kc_dtype)c->out[0].type.dtype;

	for (int i = 0; i < c->n_in; i++) {
		struct kc_type t = c->in[i].type;
		struct kc_buf part;

		t.dtype = (int)dtype;
		part = kc_buf_of(at, &t, KC_PLAIN);
		kc_copy(&part, &c->in[i]);
		at += (size_t)kc_numel(&t) * kc_dtype_size(dtype);
	}
	kc_mean_start(a->ranks, (int)a->channel, dtype, c->out[0].data,
		      (size_t)kc_numel(&c->out[0].type), c->out[1].data);
}

/*
 * A mean is its own adjoint.  The loss is the mean of what the ranks have as theirs, so what
 * arrives here on one rank is size times the derivative of the whole: its mean is what leaves.
 */
static void grad_all_reduce(struct kc_grad_ctx *c)
{
	const struct kc_all_reduce_attr *a = c->node->attr;
	struct kc_tensor *gy = c->gy[0];
	int64_t at = 0;

	kc_mean_over_ranks(c->g, a->ranks, &gy, 1);
	for (int i = 0; i < c->node->n_in; i++) {
		const struct kc_type *t = &c->in[i]->type;
		int64_t n = kc_numel(t);

		if (c->need[i])
			c->gx[i] = kc_reshape(c->g, kc_slice(c->g, gy, 0, at, n, 1), t->ndim,
					      t->dim);
		at += n;
	}
}

const struct kc_op kc_op_all_reduce = {
	.name = "all_reduce", .n_in_min = 1, .n_in_max = -1, .flags = KC_OP_RANDOM | KC_OP_EARLY,
	.precision = KC_PREC_FULL, .layout = KC_LAYOUT_PLAIN,
	.attr_size = sizeof(struct kc_all_reduce_attr), .infer = infer_all_reduce,
	.grad = grad_all_reduce, .ref = ref_all_reduce,
};

static int infer_wait(struct kc_infer *f)
{
	f->out[0] = f->in[0]->type;
	return 0;
}

/* The second input keeps the scratch memory alive up to here. */
static void ref_wait(const struct kc_call *c)
{
	const struct kc_all_reduce_attr *a = c->attr;

	kc_mean_wait(a->ranks, (int)a->channel);
	if (c->out[0].data != c->in[0].data)
		kc_copy(&c->out[0], &c->in[0]);
}

static void grad_wait(struct kc_grad_ctx *c)
{
	c->gx[0] = c->gy[0];
}

const struct kc_op kc_op_all_reduce_wait = {
	.name = "all_reduce_wait", .n_in_min = 2, .n_in_max = 2,
	.flags = KC_OP_RANDOM | KC_OP_INPLACE, .precision = KC_PREC_FULL,
	.layout = KC_LAYOUT_PLAIN, .attr_size = sizeof(struct kc_all_reduce_attr),
	.infer = infer_wait, .grad = grad_wait, .ref = ref_wait,
};

/* ---- buckets ---- */

/* A value and its place in the caller's list. */
struct item {
	struct kc_tensor *t;
	int at;
};

static int earlier_first(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->t->node->id != y->t->node->id)
		return x->t->node->id < y->t->node->id ? -1 : 1;
	return x->t->out != y->t->out ? x->t->out - y->t->out : x->at - y->at;
}

/* The items, which become their means. */
static void reduce_bucket(struct kc_graph *g, struct kc_ranks *r, struct item *item, int n,
			  struct kc_tensor **in)
{
	int channel = kc_ranks_channel(r);
	struct kc_all_reduce_attr a = {r, channel};
	struct kc_tensor *flat, *mean;
	int64_t at = 0;

	if (channel < 0) {
		kc_graph_fail(g, "all_reduce: %s", kc_errmsg());
		return;
	}
	for (int i = 0; i < n; i++)
		in[i] = item[i].t;
	flat = kc_apply(g, &kc_op_all_reduce, &a, in, n);
	if (kc_is_poison(flat))
		return;
	mean = kc_apply(g, &kc_op_all_reduce_wait, &a,
			(struct kc_tensor *[]){flat, kc_output(flat, 1)}, 2);
	for (int i = 0; i < n; i++) {
		const struct kc_type *t = &item[i].t->type;
		int64_t count = kc_numel(t);

		item[i].t = kc_reshape(g, kc_slice(g, mean, 0, at, count, 1), t->ndim, t->dim);
		at += count;
	}
}

/* How many of the items fill a bucket. */
static int bucket_end(const struct item *item, int n)
{
	int64_t bytes = 0;
	int i = 0;

	while (i < n && bytes < BUCKET_BYTES)
		bytes += kc_numel(&item[i++].t->type) * (int64_t)sizeof(float);
	return i;
}

void kc_mean_over_ranks(struct kc_graph *g, struct kc_ranks *r, struct kc_tensor **value, int n)
{
	struct kc_tensor **in;
	struct item *item;

	if (!r || r->size == 1 || kc_graph_status(g) < 0 || !n)
		return;
	in = kc_calloc((size_t)n, sizeof(struct kc_tensor *));
	item = kc_calloc((size_t)n, sizeof *item);
	if (in && item) {
		for (int i = 0; i < n; i++)
			item[i] = (struct item){value[i], i};
		qsort(item, (size_t)n, sizeof *item, earlier_first);
		for (int first = 0, end; first < n; first = end) {
			end = first + bucket_end(item + first, n - first);
			reduce_bucket(g, r, item + first, end - first, in);
		}
		for (int i = 0; i < n; i++)
			value[item[i].at] = item[i].t;
	} else {
		kc_graph_fail(g, "all_reduce: %s", kc_errmsg());
	}
	free(in);
	free(item);
}
