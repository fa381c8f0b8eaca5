#include "tests/colours.h"

#include "layers/cpu/cpu.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>

const uint8_t kc_test_colours[KC_TEST_COLOURS][3] = {
	{200, 80, 60}, {60, 140, 70}, {70, 110, 200}, {190, 120, 40},
	{150, 80, 190}, {40, 140, 150}, {200, 70, 130}, {120, 130, 50},
};
void kc_test_flat(struct kc_image *image, int side, int k)
{
	KC_CHECK_OK(kc_image_resize_buffer(image, side, side));
	for (int i = 0; i < side * side; i++)
		for (int c = 0; c < 3; c++) {
			int stripe = k > 0 && (i % side / (k + 1) + i / side / 8) % 2;
			int level = k < 0 ? 120 : kc_test_colours[k][c];

			image->rgb[3 * i + c] = (uint8_t)(level * (stripe ? 3 : 4) / 4);
		}
}

void kc_test_flat_clips(const char *folder, int side, int first, int last)
{
	struct kc_image image = {0};
	char name[64];

	for (int k = first; k <= last; k++) {
		snprintf(name, sizeof name, "%s/c%d", folder, k);
		KC_CHECK_OK(kc_dir_make(kc_test_path(name)));
		snprintf(name, sizeof name, "%s/c%d/00000.png", folder, k);
		kc_test_flat(&image, side, k);
		KC_CHECK_OK(kc_image_write(kc_test_path(name), &image, 0));
	}
	kc_image_release(&image);
}

int kc_test_count(const char *folder, int threads, struct kc_prior *p)
{
	struct kc_dataset *data;
	struct kc_device d;
	int rc;

	KC_TRY(kc_dataset_open(kc_test_path(folder), &data));
	rc = kc_device_cpu(&d, threads);
	if (!rc)
		rc = kc_prior_count(p, data, &d, NULL, NULL);
	kc_device_release(&d);
	kc_dataset_close(data);
	return rc;
}

void kc_test_shares(const char *file, const char *head, int n, const char *share)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, "{%s\"prior\": [", head);
	for (int i = 0; i < n; i++)
		fprintf(f, "%s%s", i ? ", " : "", i == 7 && share ? share : "0.25");
	fputs("]}", f);
	fclose(f);
	KC_CHECK_OK(kc_file_write(kc_test_path(file), text, size));
	free(text);
}
