/* Around the library's convolutions: weights repacked, factors widened, bias and activation. */
#include "layers/cuda/kernel.h"
#include "layers/cuda/weights.h"

template <class To, class From>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
repack(kc_cu_weights to, kc_cu_weights from, int64_t in, int64_t taps, int64_t n)
{
	KC_GRID_LOOP(e, n) {
		/* Neighbouring threads write neighbours: channels-last order. */
		int64_t i = e % in, rest = e / in, t = rest % taps, o = rest / taps;
		const From *x = (const From *)from.data + o * from.out + i * from.in + t * from.tap;

		kc_cu_store((To *)to.data + o * to.out + i * to.in + t * to.tap, kc_cu_load(x));
	}
}

template <class To>
static void repack_to(const kc_cu_weights &to, const kc_cu_weights &from, int64_t in, int64_t taps,
		      int64_t n, cudaStream_t stream)
{
	dim3 blocks(kc_cu_blocks(n)), threads(KC_CU_THREADS);

	if (from.dtype == KC_VIEW_BF16)
		KC_LAUNCH((repack<To, kc_bf16>), blocks, threads, 0, stream, to, from, in, taps, n);
	else
		KC_LAUNCH((repack<To, float>), blocks, threads, 0, stream, to, from, in, taps, n);
}

extern "C" int kc_cu_repack(const struct kc_cu_weights *to, const struct kc_cu_weights *from,
			    int64_t out, int64_t in, int64_t taps, cudaStream_t stream)
{
	int64_t n = out * in * taps;

	if (to->dtype == KC_VIEW_BF16)
		repack_to<kc_bf16>(*to, *from, in, taps, n, stream);
	else
		repack_to<float>(*to, *from, in, taps, n, stream);
	return kc_cu_status();
}

struct alignas(8) four_low { kc_bf16 v[4]; };

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) widen(float *to, const kc_bf16 *from, int64_t n)
{
	int64_t fours = n / 4;

	KC_GRID_LOOP(i, fours) {
		four_low x = ((const four_low *)from)[i];
		kc_pack16<float> y;

		for (int k = 0; k < 4; k++)
			y.v[k] = kc_cu_load(&x.v[k]);
		((kc_pack16<float> *)to)[i] = y;
	}
	KC_GRID_LOOP(i, n - 4 * fours)
		to[4 * fours + i] = kc_cu_load(from + 4 * fours + i);
}

extern "C" int kc_cu_widen(float *to, const void *from, int64_t n, cudaStream_t stream)
{
	dim3 blocks(kc_cu_blocks(n / 4)), threads(KC_CU_THREADS);

	KC_LAUNCH(widen, blocks, threads, 0, stream, to, (const kc_bf16 *)from, n);
	return kc_cu_status();
}

/* ---- bias and activation ---- */

enum { RELU = 1, LEAKY, TANH, SIGMOID }; /* enum kc_act */

KC_DEVICE float activate(float x, int64_t act, float slope)
{
	switch (act) {
	case RELU: return x > 0 ? x : 0;
	case LEAKY: return x > 0 ? x : slope * x;
	case TANH: return tanhf(x);
	case SIGMOID: return 1 / (1 + expf(-x));
	default: return x;
	}
}

/* V elements at once: channels and pitch are multiples of V. */
template <class T, int V>
struct alignas(V * sizeof(T)) some { T v[V]; };

template <class T, int V>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) finish(kc_cu_ending f)
{
	uint32_t width = (uint32_t)(f.channels / V);

	KC_GRID_LOOP(e, f.pixels * width) {
		int64_t pixel = e / width, c = (e - pixel * width) * V;
		some<T, V> *at = (some<T, V> *)((T *)f.y + pixel * f.pitch + c), x = *at;

		for (int k = 0; k < V; k++) {
			float sum = kc_cu_load(&x.v[k]) + (f.bias ? f.bias[c + k] : 0);

			kc_cu_store(&x.v[k], activate(sum, f.act, f.slope));
		}
		*at = x;
	}
}

template <class T, int V>
static void finish_all(const kc_cu_ending &f, cudaStream_t stream)
{
	dim3 threads(KC_CU_THREADS);

	if (f.channels % V == 0 && f.pitch % V == 0 && (uintptr_t)f.y % (V * sizeof(T)) == 0)
		KC_LAUNCH((finish<T, V>), dim3(kc_cu_blocks(f.pixels * f.channels / V)), threads, 0,
			  stream, f);
	else
		KC_LAUNCH((finish<T, 1>), dim3(kc_cu_blocks(f.pixels * f.channels)), threads, 0,
			  stream, f);
}

extern "C" int kc_cu_finish(const struct kc_cu_ending *f, cudaStream_t stream)
{
	if (f->dtype == KC_VIEW_BF16)
		finish_all<kc_bf16, 8>(*f, stream);
	else
		finish_all<float, 4>(*f, stream);
	return kc_cu_status();
}
