/* libFuzzer target: any bytes as an HDF5 file of weights; what is accepted is read in full. */
#include "weights/h5.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The library opens files by name alone. */
static const char *write_input(const uint8_t *data, size_t size)
{
	static char path[64];
	FILE *f;

	snprintf(path, sizeof path, "/dev/shm/fuzz_h5.%ld", (long)getpid());
	f = fopen(path, "wb");
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		abort();
	return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = write_input(data, size);
	struct kc_h5 f;

	if (kc_h5_open(path, &f) >= 0) {
		for (size_t i = 0; i < f.n; i++) {
			double *x = kc_calloc(f.tensors[i].count, sizeof *x);

			if (x)
				KC_ASSERT(!kc_st_read_f64(&f.tensors[i], x, f.tensors[i].count));
			free(x);
		}
		kc_h5_close(&f);
	}
	remove(path);
	return 0;
}
