/* libFuzzer target: any bytes as a pickle; what was read is walked completely. */
#include "core/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct kc_pickle_value *v)
{
	size_t sum = 1;

	switch (v->type) {
	case KC_PICKLE_LONG: case KC_PICKLE_TEXT: case KC_PICKLE_BYTES:
		for (size_t i = 0; i <= v->n; i++)
			sum += (unsigned char)v->text[i];
		break;
	case KC_PICKLE_LIST: case KC_PICKLE_TUPLE: case KC_PICKLE_DICT:
		for (size_t i = 0; i < v->n; i++)
			sum += walk(v->item[i]);
		break;
	default:
		break;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kc_pickle *p;

	if (kc_pickle_read(data, size, NULL, &p) < 0)
		return 0;
	KC_ASSERT(walk(kc_pickle_root(p)) > 0 && kc_pickle_size(p) <= size);
	kc_pickle_free(p);
	return 0;
}
