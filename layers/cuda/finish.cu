/* What follows a library's convolution: bias and activation, in place. */
#include "layers/cuda/finish.h"
#include "layers/cuda/kernel.h"

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

/* V elements at once: the pitch is a multiple of V. */
template <class T, int V>
struct alignas(V * sizeof(T)) some { T v[V]; };

template <class T, int V>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) finish(kc_cu_ending f)
{
	int64_t width = f.pitch / V;

	KC_GRID_LOOP(e, f.pixels * width) {
		int64_t c = e % width * V;
		some<T, V> *at = (some<T, V> *)f.y + e, x = *at;

		for (int k = 0; k < V; k++) {
			bool pad = c + k >= f.channels;
			float sum = kc_cu_load(&x.v[k]) + (f.bias && !pad ? f.bias[c + k] : 0);

			kc_cu_store(&x.v[k], pad ? 0 : activate(sum, f.act, f.slope));
		}
		*at = x;
	}
}

template <class T, int V>
static void finish_all(const kc_cu_ending &f, cudaStream_t stream)
{
	dim3 threads(KC_CU_THREADS);

	if (f.pitch % V == 0 && (uintptr_t)f.y % (V * sizeof(T)) == 0)
		KC_LAUNCH((finish<T, V>), dim3(kc_cu_blocks(f.pixels * f.pitch / V)), threads, 0,
			  stream, f);
	else
		KC_LAUNCH((finish<T, 1>), dim3(kc_cu_blocks(f.pixels * f.pitch)), threads, 0,
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
