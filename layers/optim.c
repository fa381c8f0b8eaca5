#include "layers/optim_private.h"

#include "layers/layers.h"
#include "layers/ref.h"

#include <math.h>
#include <stdlib.h>

enum { CHUNK = 1024 };

/* What one update needs to know. */
struct rule {
	const struct kc_optimizer_args *args;
	double lr, scale, correction1, correction2;
};

/* Elements first .. first + n of a parameter, in every array of the store. */
struct range {
	int64_t first, n;
	void *master, *grad, *moment1, *moment2, *moment_max, *ema;
};

#define REAL float
#define DTYPE KC_F32
#define SQRT sqrtf
#define FN(name) name##_f32
#include "layers/optim.inc"
#undef REAL
#undef DTYPE
#undef SQRT
#undef FN
#define REAL double
#define DTYPE KC_F64
#define SQRT sqrt
#define FN(name) name##_f64
#include "layers/optim.inc"
#undef REAL
#undef DTYPE
#undef SQRT
#undef FN

static void *element(const struct kc_params *s, void *array, size_t i)
{
	return array ? (char *)array + i * kc_dtype_size(s->dtype) : NULL;
}

static struct range range_of(const struct kc_param *p, int64_t first)
{
	const struct kc_params *s = p->store;
	size_t i = p->offset + (size_t)first;

	return (struct range){
		.first = first, .n = KC_MIN(CHUNK, kc_numel(&p->type) - first),
		.master = element(s, s->master, i), .grad = element(s, s->grad, i),
		.moment1 = element(s, s->moment1, i), .moment2 = element(s, s->moment2, i),
		.moment_max = element(s, s->moment_max, i), .ema = element(s, s->ema, i),
	};
}

/* Where the gradients are followed by: hyper, scale, finite. */
static bool may_write(const struct kc_call *c, bool with_finite)
{
	bool ok = !with_finite || kc_get(&c->in[c->n_in - 1], 0) != 0;

	kc_put(&c->out[0], 0, ok);
	return ok;
}

static int check_gradients(const struct kc_infer *f, const struct kc_store_attr *a)
{
	char x[96], y[96];

	for (int i = 0; i < a->n; i++) {
		const struct kc_param *p = a->params[i];

		KC_ASSERT(p->store == a->store && p->trainable);
		if (!kc_same_dims(&p->type, &f->in[i]->type))
			return KC_FAIL(KC_ESHAPE, "gradient of %s is %s, expected %s", p->name,
				       kc_dims_text(&f->in[i]->type, x), kc_dims_text(&p->type, y));
	}
	f->out[0] = KC_TYPE(KC_REAL, 1);
	return 0;
}

/* ---- optimizer ---- */

static int infer_optimizer(struct kc_infer *f)
{
	const struct kc_store_attr *a = f->attr;
	const struct kc_type *hyper = &f->in[a->n]->type;

	if (hyper->ndim != 1 || hyper->dim[0] != KC_HYPER_COUNT)
		return KC_FAIL(KC_ESHAPE, "hyper has %lld elements, expected %d",
			       (long long)kc_numel(hyper), KC_HYPER_COUNT);
	return check_gradients(f, a);
}

static void check_store(const struct kc_store_attr *a)
{
	const struct kc_params *s = a->store;
	bool adam = a->args->kind != KC_SGD;

	KC_ASSERT(s->allocated);
	KC_ASSERT((!adam && a->args->momentum == 0) || (s->moment1 && s->moment2));
	KC_ASSERT(!adam || !a->args->amsgrad || s->moment_max);
	KC_ASSERT(a->args->ema_decay == 0 || s->ema);
}

static void update_param(const struct rule *r, const struct kc_param *p, const struct kc_buf *grad)
{
	int64_t n = kc_numel(&p->type);

	#pragma omp parallel for if (n > 8 * CHUNK)
	for (int64_t first = 0; first < n; first += CHUNK) {
		struct range at = range_of(p, first);

		if (p->store->dtype == KC_F64)
			update_chunk_f64(r, &at, grad);
		else
			update_chunk_f32(r, &at, grad);
	}
}

static void ref_optimizer(const struct kc_call *c)
{
	const struct kc_store_attr *a = c->attr;
	const struct kc_buf *hyper = &c->in[a->n];
	double step = kc_get(hyper, KC_HYPER_STEP * hyper->stride[0]);
	struct rule r = {
		.args = a->args, .lr = kc_get(hyper, KC_HYPER_LR * hyper->stride[0]),
		.scale = a->with_scale ? kc_get(&c->in[a->n + 1], 0) : 1,
		.correction1 = 1 - pow(a->args->beta1, step),
		.correction2 = 1 - pow(a->args->beta2, step),
	};

	check_store(a);
	if (!may_write(c, a->with_finite))
		return;
	for (int64_t i = 0; i < a->n; i++)
		update_param(&r, a->params[i], &c->in[i]);
}

const struct kc_op kc_op_optimizer = {
	.name = "optimizer", .n_in_min = 1, .n_in_max = -1, .flags = KC_OP_STATE | KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .attr_size = sizeof(struct kc_store_attr),
	.infer = infer_optimizer, .ref = ref_optimizer,
};

/* Applies the operator to the gradients and what follows them; keeps the list of parameters. */
static struct kc_tensor *apply_store(struct kc_graph *g, const struct kc_op *op,
				     struct kc_store_attr *a, struct kc_tensor *const *grads,
				     struct kc_tensor *const *more, int n_more)
{
	int n = (int)a->n;
	struct kc_tensor **in = kc_calloc((size_t)(n + n_more), sizeof(struct kc_tensor *)), *out;

	a->params = kc_graph_keep(g, a->params, (size_t)n * sizeof(struct kc_param *));
	if (!in || !a->params) {
		free(in);
		return kc_graph_fail(g, "%s: %s", op->name, kc_errmsg());
	}
	memcpy(in, grads, (size_t)n * sizeof(struct kc_tensor *));
	for (int i = 0; i < n_more; i++)
		in[n + i] = more[i];
	out = kc_apply(g, op, a, in, n + n_more);
	free(in);
	return out;
}

struct kc_tensor *kc_optimizer_step(struct kc_graph *g, struct kc_params *store,
				    const struct kc_optimizer_args *args,
				    struct kc_tensor *const *grads, struct kc_param *const *params,
				    int n, struct kc_tensor *hyper, struct kc_tensor *scale,
				    struct kc_tensor *finite)
{
	struct kc_store_attr a = {.store = store,
			       .params = params,
			       .n = n,
			       .with_scale = scale != NULL,
			       .with_finite = finite != NULL};
	struct kc_tensor *more[3] = {hyper};
	int n_more = 1;

	if (scale)
		more[n_more++] = scale;
	if (finite)
		more[n_more++] = finite;
	a.args = kc_graph_keep(g, args, sizeof *args);
	return apply_store(g, &kc_op_optimizer, &a, grads, more, n_more);
}

struct kc_tensor *kc_clip_factor(struct kc_graph *g, struct kc_tensor *norm, double max_norm)
{
	struct kc_tensor *most = kc_fill(g, max_norm, norm->type);

	return kc_pw1(g, KC_PW_clamp, 0, 1, kc_div(g, most, kc_shift(g, norm, 1e-6)));
}

/* ---- accumulated gradients ---- */

static int infer_accumulate(struct kc_infer *f)
{
	return check_gradients(f, f->attr);
}

static void add_gradient(const struct kc_param *p, const struct kc_buf *grad)
{
	int64_t n = kc_numel(&p->type);

	#pragma omp parallel for if (n > 8 * CHUNK)
	for (int64_t first = 0; first < n; first += CHUNK) {
		struct range at = range_of(p, first);

		if (p->store->dtype == KC_F64)
			accumulate_chunk_f64(&at, grad);
		else
			accumulate_chunk_f32(&at, grad);
	}
}

static void ref_accumulate(const struct kc_call *c)
{
	const struct kc_store_attr *a = c->attr;

	KC_ASSERT(a->store->allocated);
	for (int64_t i = 0; i < a->n; i++)
		add_gradient(a->params[i], &c->in[i]);
	kc_put(&c->out[0], 0, 1);
}

const struct kc_op kc_op_accumulate = {
	.name = "accumulate", .n_in_min = 1, .n_in_max = -1, .flags = KC_OP_STATE | KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .attr_size = sizeof(struct kc_store_attr),
	.infer = infer_accumulate, .ref = ref_accumulate,
};

struct kc_tensor *kc_accumulate(struct kc_graph *g, struct kc_params *store,
				struct kc_tensor *const *grads, struct kc_param *const *params,
				int n)
{
	struct kc_store_attr a = {.store = store, .params = params, .n = n};

	return apply_store(g, &kc_op_accumulate, &a, grads, NULL, 0);
}

static int infer_stored_gradient(struct kc_infer *f)
{
	f->out[0] = ((const struct kc_param_attr *)f->attr)->param->type;
	return 0;
}

static void ref_stored_gradient(const struct kc_call *c)
{
	const struct kc_param *p = ((const struct kc_param_attr *)c->attr)->param;
	struct kc_buf stored = kc_param_array(p, p->store->grad);

	kc_copy(&c->out[0], &stored);
}

/* Not a leaf of the engine: it has a kernel.  RANDOM, because its value changes from run to run. */
const struct kc_op kc_op_stored_gradient = {
	.name = "stored_gradient", .flags = KC_OP_NONDIFF | KC_OP_RANDOM,
	.precision = KC_PREC_FULL, .layout = KC_LAYOUT_PLAIN,
	.attr_size = sizeof(struct kc_param_attr), .infer = infer_stored_gradient,
	.ref = ref_stored_gradient,
};

struct kc_tensor *kc_stored_gradient(struct kc_graph *g, struct kc_param *p)
{
	return kc_apply(g, &kc_op_stored_gradient, &(struct kc_param_attr){p}, NULL, 0);
}

/* ---- running statistics ---- */

static int infer_assign(struct kc_infer *f)
{
	const struct kc_param *p = ((const struct kc_assign_attr *)f->attr)->param;
	char x[96], y[96];

	f->out[0] = KC_TYPE(KC_REAL, 1);
	if (!kc_same_dims(&p->type, &f->in[0]->type))
		return KC_FAIL(KC_ESHAPE, "new value of %s is %s, expected %s", p->name,
			       kc_dims_text(&f->in[0]->type, x), kc_dims_text(&p->type, y));
	return 0;
}

static void ref_assign(const struct kc_call *c)
{
	const struct kc_assign_attr *a = c->attr;
	struct kc_buf master = kc_param_master(a->param);

	if (may_write(c, a->with_finite))
		kc_copy(&master, &c->in[0]);
}

const struct kc_op kc_op_assign = {
	.name = "assign", .n_in_min = 1, .n_in_max = 2, .flags = KC_OP_STATE | KC_OP_NONDIFF,
	.precision = KC_PREC_FULL, .attr_size = sizeof(struct kc_assign_attr),
	.infer = infer_assign, .ref = ref_assign,
};

struct kc_tensor *kc_assign(struct kc_graph *g, struct kc_param *p, struct kc_tensor *value,
			    struct kc_tensor *finite)
{
	struct kc_assign_attr a = {p, finite != NULL};

	return kc_apply(g, &kc_op_assign, &a, (struct kc_tensor *[]){value, finite},
			finite ? 2 : 1);
}
