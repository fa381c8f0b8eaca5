/*
 * libFuzzer target: any bytes as a file of torch.save; what is accepted is read in full.  The
 * checksums of a zip are made right first, else hardly any change would get past them.
 */
#include "weights/pth.h"
#include "weights/zip.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An entry's checksum lies 30 bytes before its name in the directory. */
static void mend(uint8_t *bytes, size_t size)
{
	struct kc_zip z;

	if (kc_zip_open(bytes, size, &z) < 0)
		return;
	for (size_t i = 0; i < z.n; i++) {
		uint32_t crc = kc_zip_crc(0, z.entries[i].data, z.entries[i].size);

		memcpy((char *)z.entries[i].name - 30, &crc, sizeof crc);
	}
	kc_zip_close(&z);
}

static void read_all(const uint8_t *data, size_t size)
{
	struct kc_pth f;

	if (kc_pth_open_memory("input", data, size, &f) < 0)
		return;
	kc_pth_leaf(&f, "epoch");
	for (size_t i = 0; i < f.n; i++) {
		const struct kc_st_tensor *t = &f.tensors[i];
		double *x = kc_calloc(t->count, sizeof *x);
		char *bytes = kc_alloc(t->bytes);

		KC_ASSERT(kc_pth_find(&f, t->name) == t);
		if (x)
			KC_ASSERT(kc_st_read_f64(t, x, t->count) == 0);
		if (bytes)
			kc_st_copy(t, bytes);
		free(x);
		free(bytes);
	}
	kc_pth_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	mend(copy, size);
	read_all(copy, size);
	free(copy);
	return 0;
}
