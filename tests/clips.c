#include "tests/clips.h"

#include "core/file.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void kc_test_picture(struct kc_image *image, int width, int height, unsigned seed, int f)
{
	uint8_t *p;

	KC_ASSERT(kc_image_resize_buffer(image, width, height) >= 0);
	p = image->rgb;
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++) {
			double u = x - 1.5 * f, v = y + 0.5 * f + seed;

			*p++ = (uint8_t)(128 + 60 * sin(u / 3) + 50 * cos(v / 4));
			*p++ = (uint8_t)(128 + 90 * sin((u + v) / 5));
			*p++ = (uint8_t)(128 + 100 * cos((u - 2 * v) / 7 + seed));
		}
}

void kc_test_clip(const char *folder, const char *name, int n, int width, int height, unsigned seed)
{
	char path[512];
	struct kc_image image = {0};

	snprintf(path, sizeof path, "%s/%s", folder, name);
	KC_CHECK_OK(kc_dir_make(path));
	for (int f = 0; f < n; f++) {
		kc_test_picture(&image, width, height, seed, f);
		snprintf(path, sizeof path, "%s/%s/%05d.png", folder, name, f);
		KC_CHECK_OK(kc_image_write(path, &image, 0));
	}
	kc_image_release(&image);
}

void kc_test_spoil(const char *folder, const char *name)
{
	char path[512];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	KC_CHECK_OK(kc_file_write(path, "no image at all", 15));
}
