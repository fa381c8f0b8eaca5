/* What follows a library's convolution: bias and activation, in place. */
#include "layers/cuda/finish.h"
#include "layers/cuda/kernel.h"

enum { RELU = 1, LEAKY, TANH, SIGMOID }; /* enum kc_act */

enum { BLOCKS = 5, ENOUGH = 132 * BLOCKS };      /* of a multiprocessor; of the device */

/* What to do is decided once for all V elements. */
template <int V>
KC_DEVICE void activate(float *x, int64_t act, float slope)
{
	switch (act) {
#define EACH(formula) \
	_Pragma("unroll") for (int k = 0; k < V; k++) \
		x[k] = formula; \
	break
	case RELU: EACH(x[k] > 0 ? x[k] : 0);
	case LEAKY: EACH(x[k] > 0 ? x[k] : slope * x[k]);
	case TANH: EACH(tanhf(x[k]));
	case SIGMOID: EACH(1 / (1 + expf(-x[k])));
#undef EACH
	}
}

/* V elements at once. */
template <class T, int V>
struct alignas(V * sizeof(T)) some { T v[V]; };

/* What element k gets; a pad becomes 0. */
template <int V>
struct part { float bias[V]; unsigned pads; };

/* Of elements i and on. */
template <int V>
KC_DEVICE part<V> part_of(const kc_cu_ending &f, int64_t i)
{
	int64_t c = i % f.pitch;
	part<V> p;

	p.pads = 0;
#pragma unroll
	for (int k = 0; k < V; k++) {
		bool pad = c >= f.channels;

		p.pads |= pad ? 1u << k : 0;
		p.bias[k] = f.bias && !pad ? f.bias[c] : 0;
		c = c + 1 < f.pitch ? c + 1 : 0;
	}
	return p;
}

template <class T, int V>
KC_DEVICE void finish_some(const kc_cu_ending &f, int64_t i, const part<V> &p)
{
	some<T, V> *at = (some<T, V> *)((T *)f.y + i), x = *at;
	float v[V];

#pragma unroll
	for (int k = 0; k < V; k++)
		v[k] = kc_cu_load(&x.v[k]) + p.bias[k];
	activate<V>(v, f.act, f.slope);
#pragma unroll
	for (int k = 0; k < V; k++)
		kc_cu_store(&x.v[k], p.pads >> k & 1 ? 0 : v[k]);
	*at = x;
}

/*
 * Elements count across pixels, so that any number of channels is taken V at a time.  The grid
 * is a multiple of the pitch long: a thread meets the same channels again and again.
 */
template <class T, int V>
KC_KERNEL void KC_BOUNDS_FOR(KC_CU_THREADS, BLOCKS) finish(KC_CONSTANT kc_cu_ending f)
{
	int64_t n = f.pixels * f.pitch, step = (int64_t)gridDim.x * KC_CU_THREADS * V;
	int64_t first = (blockIdx.x * (int64_t)KC_CU_THREADS + threadIdx.x) * V, i;
	part<V> mine = part_of<V>(f, first);

	for (i = first; n - i >= V; i += step)
		finish_some<T, V>(f, i, mine);
#pragma unroll 1
	for (; i < n; i++)
		finish_some<T, 1>(f, i, part_of<1>(f, i));
}

static int64_t common(int64_t a, int64_t b)
{
	return b ? common(b, a % b) : a;
}

template <class T, int V>
static void launch(const kc_cu_ending &f, cudaStream_t stream)
{
	int64_t n = f.pixels * f.pitch, all = (n + KC_CU_THREADS * V - 1) / (KC_CU_THREADS * V);
	int64_t whole = f.pitch / common(f.pitch, KC_CU_THREADS * V), blocks = whole;

	if (all <= ENOUGH)              /* once around is enough */
		blocks = all;
	else if (whole < ENOUGH)
		blocks = ENOUGH / whole * whole;
	KC_LAUNCH((finish<T, V>), dim3((unsigned)blocks), dim3(KC_CU_THREADS), 0, stream, f);
}

template <class T>
static void finish_all(const kc_cu_ending &f, cudaStream_t stream)
{
	if ((uintptr_t)f.y % 16 == 0)
		launch<T, 16 / sizeof(T)>(f, stream);
	else
		launch<T, 1>(f, stream);
}

extern "C" int kc_cu_finish(const struct kc_cu_ending *f, cudaStream_t stream)
{
	if (f->dtype == KC_VIEW_BF16)
		finish_all<kc_bf16>(*f, stream);
	else
		finish_all<float>(*f, stream);
	return kc_cu_status();
}
