/* libFuzzer target: any bytes as a safetensors file; what is accepted is read in full. */
#include "weights/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kc_st f;

	if (kc_st_open_memory("input", data, size, &f) < 0)
		return 0;
	kc_st_meta(&f, "cases");
	for (size_t i = 0; i < f.n; i++) {
		const struct kc_st_tensor *t = &f.tensors[i];
		double *x = kc_calloc(t->count, sizeof *x);

		KC_ASSERT(kc_st_find(&f, t->name) == t);
		if (x)
			KC_ASSERT(kc_st_read_f64(t, x, t->count) == 0);
		free(x);
	}
	kc_st_close(&f);
	return 0;
}
