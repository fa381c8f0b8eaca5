/*
 * libFuzzer target: any bytes as what the process that reads an HDF5 file sends, for it may have
 * been taken over by the file.
 */
#include "weights/h5_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char file[4096];
	struct kc_h5 f = {.map = {.data = file, .size = sizeof file}};
	FILE *in = size ? fmemopen((void *)(uintptr_t)data, size, "rb") : NULL;

	if (!in)
		return 0;
	if (kc_h5_receive(in, &f) >= 0)
		for (size_t i = 0; i < f.n; i++) {
			double *x = kc_calloc(f.tensors[i].count, sizeof *x);

			if (x)
				KC_ASSERT(!kc_st_read_f64(&f.tensors[i], x, f.tensors[i].count));
			free(x);
		}
	fclose(in);
	f.map = (struct kc_map){0};
	kc_h5_close(&f);
	return 0;
}
