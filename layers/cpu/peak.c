/* The machine's matrix-product peak, as the convolutions of this program could reach it. */
#include "layers/cpu/cpu.h"
#include "layers/cpu/dnnl.h"

#include <stdlib.h>

enum { CHANNELS = 256, SIZE = 64, WINDOW = 3 };

static void image(struct kc_dnn_mem *m, int64_t dtype)
{
	m->dtype = dtype;
	m->ndim = 4;
	m->dim[0] = 1;
	m->dim[1] = CHANNELS;
	m->dim[2] = m->dim[3] = SIZE;
	m->stride[0] = CHANNELS * SIZE * SIZE;
	m->stride[1] = 1;
	m->stride[2] = CHANNELS * SIZE;
	m->stride[3] = CHANNELS;
}

static struct kc_dnn_spec specification(int64_t dtype)
{
	struct kc_dnn_spec s = {
		.kind = KC_DNN_CONV, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1},
		.weights = {.dtype = dtype, .ndim = 4, .any = 1,
			    .dim = {CHANNELS, CHANNELS, WINDOW, WINDOW}}};

	image(&s.src, dtype);
	image(&s.dst, dtype);
	return s;
}

/* Best of the runs that fit in 0.15 s. */
static double best_time(struct kc_dnn *d, char *x, char *w, char *y, char *scratch)
{
	double best = 1e9, end = kc_now() + 0.15;

	do {
		double start = kc_now();

		if (kc_dnn_run(d, x, w, NULL, y, scratch) < 0)
			return 0;
		best = KC_MIN(best, kc_now() - start);
	} while (kc_now() < end);
	return best;
}

double kc_cpu_peak(bool low)
{
	const size_t bytes = (size_t)CHANNELS * SIZE * SIZE * sizeof(float);
	struct kc_dnn_spec spec = specification(low ? KC_BF16 : KC_F32);
	struct kc_dnn *d = NULL;
	double time = 0;
	char *memory;

	if (kc_dnn_open(&d, &spec) < 0)
		return 0;
	memory = kc_calloc(1, 2 * bytes + kc_dnn_weights_bytes(d) + kc_dnn_scratch(d) + 256);
	if (memory) {
		char *x = memory, *y = x + bytes, *w = y + bytes;

		time = best_time(d, x, w, y, w + (kc_dnn_weights_bytes(d) + 63) / 64 * 64);
	}
	free(memory);
	kc_dnn_close(d);
	return time > 0 ? 2.0 * CHANNELS * CHANNELS * WINDOW * WINDOW * SIZE * SIZE / time : 0;
}
