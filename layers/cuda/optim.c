/* State writers: they work on the device's copy of the parameter store (core/param.h). */
#include "layers/optim_private.h"

#include "layers/cuda/cuda.h"
#include "layers/cuda/many.h"

#include <stdlib.h>

static bool is_f32(const struct kc_params *s)
{
	return s->dtype == KC_F32;
}

/* A plan that reads no parameter may be the first to touch the store. */
static int bring(const struct kc_call *call, struct kc_params *store)
{
	return store->mirror ? 0 : kc_params_to_device(store, call->device);
}

static int prepare(struct kc_step_info *info)
{
	const struct kc_store_attr *a = info->attr;
	struct kc_cuda_many *m = kc_calloc(1, sizeof *m);
	int64_t *n = kc_calloc((size_t)KC_MAX(a->n, 1), sizeof *n);
	int rc = KC_ENOMEM;

	for (int64_t i = 0; n && i < a->n; i++)
		n[i] = kc_numel(&info->in[i].type);
	if (m && n)
		rc = kc_cuda_many_init(m, n, (int)a->n, sizeof(struct kc_cu_update));
	free(n);
	if (rc < 0) {
		if (m)
			kc_cuda_many_release(m);
		free(m);
		return rc;
	}
	info->prepared = m;
	return 0;
}

static void release(void *prepared)
{
	if (prepared)
		kc_cuda_many_release(prepared);
	free(prepared);
}

/* The gradient's elements in the order of the parameter's. */
static struct kc_view gradient_view(const struct kc_buf *grad, const struct kc_param *p)
{
	struct kc_buf master = kc_buf_of(NULL, &p->type, KC_PLAIN);
	struct kc_view v[2] = {kc_view_of(&master), kc_view_of(grad)};

	kc_view_join(v, 2);
	return v[1];
}

static void fill(struct kc_cu_update *u, const struct kc_call *call, const struct kc_param *p,
		 const struct kc_buf *grad)
{
	const struct kc_device *d = call->device;

	u->grad = gradient_view(grad, p);
	u->n = kc_numel(&p->type);
	u->master = kc_param_on(p, d, KC_ARRAY_MASTER);
	u->sum = kc_param_on(p, d, KC_ARRAY_GRAD);
	u->moment1 = kc_param_on(p, d, KC_ARRAY_MOMENT1);
	u->moment2 = kc_param_on(p, d, KC_ARRAY_MOMENT2);
	u->moment_max = kc_param_on(p, d, KC_ARRAY_MOMENT_MAX);
	u->ema = kc_param_on(p, d, KC_ARRAY_EMA);
}

static int send(const struct kc_call *call)
{
	const struct kc_store_attr *a = call->attr;
	struct kc_cuda_many *m = call->prepared;
	struct kc_cu_update *u = m->next;

	KC_TRY(bring(call, a->store));
	for (int64_t i = 0; i < a->n; i++)
		fill(&u[i], call, a->params[i], &call->in[i]);
	return kc_cuda_many_send(m, kc_cuda_of(call->device));
}

/* ---- optimizer ---- */

static bool fits_optimizer(const struct kc_step_info *info)
{
	const struct kc_store_attr *a = info->attr;

	for (int64_t i = a->n + 1; i < info->n_in; i++)
		if (info->in[i].type.dtype != KC_F32)
			return false;
	return is_f32(a->store) && info->in[a->n].type.dtype == KC_F64 &&
	       info->out[0].type.dtype == KC_F32;
}

static void check_store(const struct kc_store_attr *a)
{
	const struct kc_params *s = a->store;
	bool adam = a->args->kind != KC_SGD;

	KC_ASSERT((!adam && a->args->momentum == 0) || (s->moment1 && s->moment2));
	KC_ASSERT(!adam || !a->args->amsgrad || s->moment_max);
	KC_ASSERT(a->args->ema_decay == 0 || s->ema);
}

static int run_optimizer(const struct kc_call *call)
{
	const struct kc_store_attr *a = call->attr;
	const struct kc_optimizer_args *o = a->args;
	const struct kc_cuda_many *m = call->prepared;
	const struct kc_buf *hyper = &call->in[a->n];
	struct kc_cu_rule r = {
		.kind = (int32_t)o->kind, .amsgrad = o->amsgrad, .nesterov = o->nesterov,
		.beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .momentum = o->momentum,
		.weight_decay = o->weight_decay, .ema_decay = o->ema_decay,
		.hyper = hyper->data, .hyper_step = hyper->stride[0],
		.scale = a->with_scale ? call->in[a->n + 1].data : NULL,
		.finite = a->with_finite ? call->in[call->n_in - 1].data : NULL,
		.y = call->out[0].data};

	check_store(a);
	KC_TRY(send(call));
	return kc_cuda_launched(kc_cu_optimize(m->items, kc_cuda_many_pieces(m), &r,
					       kc_cuda_stream(call)),
				"optimizer");
}

/* ---- accumulated gradients ---- */

static bool fits_accumulate(const struct kc_step_info *info)
{
	return is_f32(((const struct kc_store_attr *)info->attr)->store);
}

static int run_accumulate(const struct kc_call *call)
{
	const struct kc_cuda_many *m = call->prepared;

	KC_TRY(send(call));
	return kc_cuda_launched(kc_cu_accumulate(m->items, kc_cuda_many_pieces(m),
						 call->out[0].data, kc_cuda_stream(call)),
				"accumulate");
}

static bool fits_stored(const struct kc_step_info *info)
{
	return is_f32(((const struct kc_param_attr *)info->attr)->param->store);
}

static int run_stored(const struct kc_call *call)
{
	const struct kc_param *p = ((const struct kc_param_attr *)call->attr)->param;
	struct kc_buf stored;

	KC_TRY(bring(call, p->store));
	stored = kc_buf_of(kc_param_on(p, call->device, KC_ARRAY_GRAD), &p->type, KC_PLAIN);
	stored.type.dtype = KC_F32;
	return kc_cuda_copy(call, &call->out[0], &stored);
}

/* ---- running statistics ---- */

static bool fits_assign(const struct kc_step_info *info)
{
	const struct kc_assign_attr *a = info->attr;

	return is_f32(a->param->store) &&
	       (!a->with_finite || info->in[info->n_in - 1].type.dtype == KC_F32);
}

static int run_assign(const struct kc_call *call)
{
	const struct kc_assign_attr *a = call->attr;
	struct kc_view x = gradient_view(&call->in[0], a->param);

	KC_TRY(bring(call, a->param->store));
	return kc_cuda_launched(
		kc_cu_assign(kc_param_on(a->param, call->device, KC_ARRAY_MASTER), &x,
			     kc_numel(&a->param->type),
			     a->with_finite ? call->in[call->n_in - 1].data : NULL,
			     call->out[0].data, kc_cuda_stream(call)),
		"assign");
}

const struct kc_kernel kc_cuda_optimizer = {
	.op = &kc_op_optimizer, .name = "pieces", .fits = fits_optimizer, .prepare = prepare,
	.run = run_optimizer, .release = release};
const struct kc_kernel kc_cuda_accumulate = {
	.op = &kc_op_accumulate, .name = "pieces", .fits = fits_accumulate, .prepare = prepare,
	.run = run_accumulate, .release = release};
const struct kc_kernel kc_cuda_stored_gradient = {
	.op = &kc_op_stored_gradient, .name = "copy", .fits = fits_stored, .run = run_stored};
const struct kc_kernel kc_cuda_assign = {
	.op = &kc_op_assign, .name = "elements", .fits = fits_assign, .run = run_assign};
