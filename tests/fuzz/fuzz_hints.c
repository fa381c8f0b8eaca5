/* libFuzzer target: any bytes as a file of colour hints; what is accepted is drawn. */
#include "core/base.h"
#include "eval/hint_list.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { SIDE = 16, WIDTH = 50, HEIGHT = 20 };
	static const int interval = 3;
	const struct kc_hint_clip clip = {.frames = 9, .width = WIDTH, .height = HEIGHT,
					  .intervals = &interval, .n_intervals = 1};
	float hint[2 * SIDE * SIDE] = {0}, mask[SIDE * SIDE] = {0};
	struct kc_hint_list l = {0};

	if (kc_hint_list_parse(&l, "input", (const char *)data, size) == 0 &&
	    kc_hint_list_check(&l, &clip) == 0)
		for (int64_t frame = 0; frame < clip.frames; frame++)
			kc_hint_list_draw(&l, frame, WIDTH, HEIGHT, SIDE, hint, mask);
	for (int i = 0; i < SIDE * SIDE; i++) {
		float a = fabsf(hint[2 * i]), b = fabsf(hint[2 * i + 1]);

		KC_ASSERT(mask[i] != 0 ? a <= 1 && b <= 1 : a == 0 && b == 0);
	}
	kc_hint_list_release(&l);
	return 0;
}
