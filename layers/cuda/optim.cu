/*
 * The optimizer and its relatives, all parameters of the store in one launch.  Every product,
 * sum, quotient and root is rounded by itself, in the order of layers/optim.inc, so that one
 * update has the bits that the processor gives it.
 */
#include "layers/cuda/kernel.h"
#include "layers/cuda/many.h"

enum { SGD, ADAM, ADAMW };              /* enum kc_optimizer */
enum { ENOUGH = 132 * 8 };

#define ADD __fadd_rn
#define SUB __fsub_rn
#define MUL __fmul_rn
#define DIV __fdiv_rn

/* An item of the table in registers: the compiler could not know that no store changes it. */
struct arrays {
	const float *grad;              /* NULL: not dense floats */
	float *master, *moment1, *moment2, *moment_max, *ema, *sum;
};

KC_DEVICE arrays arrays_of(const kc_cu_update &u)
{
	bool dense = u.grad.nd == 1 && u.grad.stride[0] == 1 && u.grad.dtype == KC_VIEW_F32;

	return {dense ? (const float *)u.grad.data : NULL, u.master, u.moment1, u.moment2,
		u.moment_max, u.ema, u.sum};
}

/* What the host's numbers and the step make, once per block. */
struct factors {
	float lr, scale;                /* of SGD; of the gradients */
	float shrink;                   /* 1 - lr weight_decay */
	float step, root;               /* of Adam */
};

KC_DEVICE factors factors_of(const kc_cu_rule &r)
{
	double lr = r.hyper[0], step = r.hyper[r.hyper_step];
	double correction1 = 1 - pow(r.beta1, step), correction2 = 1 - pow(r.beta2, step);
	factors f;

	f.lr = (float)-lr;
	f.scale = r.scale ? *r.scale : 1;
	f.shrink = (float)(1 - lr * r.weight_decay);
	f.step = (float)-(lr / correction1);
	f.root = (float)sqrt(correction2);
	return f;
}

/* torch.lerp: from m towards g. */
KC_DEVICE float lerp(float m, float g, double weight)
{
	float w = (float)weight, rest = SUB(1, w);

	return w < 0.5f ? ADD(m, MUL(w, SUB(g, m))) : SUB(g, MUL(SUB(g, m), rest));
}

KC_DEVICE float adam(const kc_cu_rule &r, const factors &f, const arrays &u, int64_t i, float g)
{
	float p = u.master[i], v, w = (float)(1 - r.beta2), m;

	if (r.kind == ADAMW)
		p = MUL(p, f.shrink);
	else if (r.weight_decay != 0)
		g = ADD(g, MUL((float)r.weight_decay, p));
	m = lerp(u.moment1[i], g, 1 - r.beta1);
	v = ADD(MUL(u.moment2[i], (float)r.beta2), MUL(MUL(w, g), g));
	u.moment1[i] = m;
	u.moment2[i] = v;
	if (r.amsgrad) {
		float most = u.moment_max[i];

		v = v > most ? v : most;
		u.moment_max[i] = v;
	}
	return ADD(p, DIV(MUL(f.step, m), ADD(DIV(__fsqrt_rn(v), f.root), (float)r.eps)));
}

KC_DEVICE float sgd(const kc_cu_rule &r, const factors &f, const arrays &u, int64_t i, float g)
{
	float p = u.master[i], momentum = (float)r.momentum;

	if (r.weight_decay != 0)
		g = ADD(g, MUL((float)r.weight_decay, p));
	if (r.momentum != 0) {
		float m = ADD(MUL(u.moment1[i], momentum), g);

		u.moment1[i] = m;
		g = r.nesterov ? ADD(g, MUL(momentum, m)) : m;
	}
	return ADD(p, MUL(f.lr, g));
}

KC_DEVICE float gradient_at(const arrays &a, const kc_view &grad, int64_t i)
{
	return a.grad ? a.grad[i] : kc_cu_get(grad, kc_cu_at(grad, i));
}

KC_DEVICE void update(const kc_cu_rule &r, const factors &f, const arrays &u, int64_t i, float grad)
{
	float g = MUL(grad, f.scale);
	float p = r.kind == SGD ? sgd(r, f, u, i, g) : adam(r, f, u, i, g);

	u.master[i] = p;
	if (r.ema_decay != 0)
		u.ema[i] = lerp(u.ema[i], p, 1 - r.ema_decay);
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
optimize(const kc_cu_update *updates, kc_cu_pieces pieces, KC_CONSTANT kc_cu_rule r)
{
	KC_SHARED(factors, f, [1]);
	bool allowed = !r.finite || *r.finite != 0;
	factors mine;

	if (threadIdx.x == 0 && allowed)
		f[0] = factors_of(r);
	if (threadIdx.x == 0 && blockIdx.x == 0)
		*r.y = allowed ? 1 : 0;
	__syncthreads();
	mine = f[0];
	for (int64_t p = blockIdx.x; allowed && p < pieces.n; p += gridDim.x) {
		const kc_cu_update &u = updates[pieces.at[p].item];
		arrays a = arrays_of(u);
		int64_t first = pieces.at[p].first, end = min(first + KC_CU_PIECE, u.n);

		for (int64_t i = first + threadIdx.x; i < end; i += KC_CU_THREADS)
			update(r, mine, a, i, gradient_at(a, u.grad, i));
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
accumulate(const kc_cu_update *updates, kc_cu_pieces pieces, float *y)
{
	if (threadIdx.x == 0 && blockIdx.x == 0)
		*y = 1;
	for (int64_t p = blockIdx.x; p < pieces.n; p += gridDim.x) {
		const kc_cu_update &u = updates[pieces.at[p].item];
		arrays a = arrays_of(u);
		int64_t first = pieces.at[p].first, end = min(first + KC_CU_PIECE, u.n);

		for (int64_t i = first + threadIdx.x; i < end; i += KC_CU_THREADS)
			a.sum[i] = ADD(a.sum[i], gradient_at(a, u.grad, i));
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
assign(float *to, KC_CONSTANT kc_view x, int64_t n, const float *finite, float *y)
{
	bool allowed = !finite || *finite != 0;

	if (threadIdx.x == 0 && blockIdx.x == 0)
		*y = allowed ? 1 : 0;
	if (allowed)
		KC_GRID_LOOP(i, n)
			to[i] = kc_cu_get(x, kc_cu_at(x, i));
}

static unsigned blocks_for(kc_cu_pieces pieces)
{
	return (unsigned)max(min(pieces.n, (int64_t)ENOUGH), (int64_t)1);
}

extern "C" int kc_cu_optimize(const struct kc_cu_update *updates, struct kc_cu_pieces pieces,
			      const struct kc_cu_rule *r, cudaStream_t stream)
{
	KC_LAUNCH_BLOCK(optimize, blocks_for(pieces), KC_CU_THREADS, 0, stream, updates, pieces,
			*r);
	return kc_cu_status();
}

extern "C" int kc_cu_accumulate(const struct kc_cu_update *updates, struct kc_cu_pieces pieces,
				float *y, cudaStream_t stream)
{
	KC_LAUNCH(accumulate, blocks_for(pieces), KC_CU_THREADS, 0, stream, updates, pieces, y);
	return kc_cu_status();
}

extern "C" int kc_cu_assign(float *to, const struct kc_view *x, int64_t n, const float *finite,
			    float *y, cudaStream_t stream)
{
	KC_LAUNCH(assign, kc_cu_blocks(n), KC_CU_THREADS, 0, stream, to, *x, n, finite, y);
	return kc_cu_status();
}
