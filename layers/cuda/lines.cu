/*
 * Softmax and argmax along one axis.  A warp takes a line whose elements are neighbours, a
 * thread one whose neighbours belong to other lines.  The passes over a line read the
 * first-level cache.
 */
#include "layers/cuda/kernel.h"
#include "layers/cuda/reduce.h"

/* lanes: 32, or 1 where a thread is alone with its line. */
template <int lanes>
KC_DEVICE float max_of_team(float x)
{
	for (int k = lanes / 2; k; k /= 2)
		x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, k));
	return x;
}

template <int lanes>
KC_DEVICE float sum_of_team(float x)
{
	for (int k = lanes / 2; k; k /= 2)
		x += __shfl_xor_sync(0xffffffffu, x, k);
	return x;
}

/* NaN is not the maximum here, and makes the sum NaN all the same. */
template <int lanes, bool logs>
KC_DEVICE void softmax_line(const kc_cu_lines &l, int64_t line)
{
	int64_t from = kc_cu_at(l.x, line), to = kc_cu_at(l.y, line);
	int me = lanes == 1 ? 0 : threadIdx.x % lanes;
	float most = -INFINITY, sum = 0, scale;

	for (int64_t k = me; k < l.n; k += lanes)
		most = fmaxf(most, kc_cu_get(l.x, from + k * l.x_step));
	most = max_of_team<lanes>(most);
	for (int64_t k = me; k < l.n; k += lanes)
		sum += expf(kc_cu_get(l.x, from + k * l.x_step) - most);
	sum = sum_of_team<lanes>(sum);
	scale = logs ? logf(sum) : 1 / sum;
	for (int64_t k = me; k < l.n; k += lanes) {
		float v = kc_cu_get(l.x, from + k * l.x_step) - most;

		kc_cu_write(l.y.data, l.y.dtype, to + k * l.y_step,
			    logs ? v - scale : expf(v) * scale);
	}
}

/* Is v at k rather the first of the largest than most at best?  NaN is the largest. */
KC_DEVICE bool is_before(float v, int32_t k, float most, int32_t best)
{
	bool equal = v == most || (v != v && most != most);

	return equal ? k < best : v > most || v != v;
}

template <int lanes>
KC_DEVICE void argmax_line(const kc_cu_lines &l, int64_t line)
{
	int64_t from = kc_cu_at(l.x, line);
	int me = lanes == 1 ? 0 : threadIdx.x % lanes;
	int32_t best = 0;
	float most = kc_cu_get(l.x, from);

	for (int64_t k = me; k < l.n; k += lanes) {
		float v = kc_cu_get(l.x, from + k * l.x_step);

		if (is_before(v, (int32_t)k, most, best)) {
			most = v;
			best = (int32_t)k;
		}
	}
	for (int k = lanes / 2; k; k /= 2) {
		float v = __shfl_xor_sync(0xffffffffu, most, k);
		int32_t at = __shfl_xor_sync(0xffffffffu, best, k);

		if (is_before(v, at, most, best)) {
			most = v;
			best = at;
		}
	}
	if (me == 0)
		((int32_t *)l.y.data)[kc_cu_at(l.y, line)] = best;
}

enum what { SOFTMAX, LOG_SOFTMAX, ARGMAX };

template <int lanes, int what>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) run_lines(KC_CONSTANT kc_cu_lines l)
{
	int64_t first = (blockIdx.x * (int64_t)KC_CU_THREADS + threadIdx.x) / lanes;

	for (int64_t i = first; i < l.lines; i += gridDim.x * (int64_t)(KC_CU_THREADS / lanes))
		if (what == ARGMAX)
			argmax_line<lanes>(l, i);
		else
			softmax_line<lanes, what == LOG_SOFTMAX>(l, i);
}

template <int what>
static int launch(const kc_cu_lines *l, cudaStream_t stream)
{
	enum { MANY = 512 };

	if (l->n > MANY || (l->x_step == 1 && l->n > 16))
		KC_LAUNCH_BLOCK((run_lines<32, what>), kc_cu_blocks(l->lines * 32), KC_CU_THREADS,
				0, stream, *l);
	else
		KC_LAUNCH((run_lines<1, what>), kc_cu_blocks(l->lines), KC_CU_THREADS, 0, stream,
			  *l);
	return kc_cu_status();
}

extern "C" int kc_cu_softmax(const struct kc_cu_lines *l, int logs, cudaStream_t stream)
{
	return logs ? launch<LOG_SOFTMAX>(l, stream) : launch<SOFTMAX>(l, stream);
}

extern "C" int kc_cu_argmax(const struct kc_cu_lines *l, cudaStream_t stream)
{
	return launch<ARGMAX>(l, stream);
}
