#include "data/dis.h"

void kc_grey_from_rgb(const uint8_t *rgb, size_t n, uint8_t *grey)
{
	for (size_t i = 0; i < n; i++, rgb += 3)
		grey[i] = (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
}
