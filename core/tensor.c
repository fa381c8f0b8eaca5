#include "core/tensor.h"

#include <stdio.h>

static const struct {
	const char *name;
	size_t size;
} dtypes[KC_DTYPES] = {
	[KC_F32] = {"float32", 4}, [KC_F64] = {"float64", 8}, [KC_BF16] = {"bf16", 2},
	[KC_I32] = {"int32", 4}, [KC_I64] = {"int64", 8}, [KC_U8] = {"uint8", 1},
};

size_t kc_dtype_size(enum kc_dtype t)
{
	return dtypes[t].size;
}

const char *kc_dtype_name(enum kc_dtype t)
{
	return dtypes[t].name;
}

int64_t kc_numel(const struct kc_type *t)
{
	int64_t n = 1;

	for (int i = 0; i < t->ndim; i++)
		n *= t->dim[i];
	return n;
}

bool kc_same_dims(const struct kc_type *a, const struct kc_type *b)
{
	if (a->ndim != b->ndim)
		return false;
	for (int i = 0; i < a->ndim; i++)
		if (a->dim[i] != b->dim[i])
			return false;
	return true;
}

char *kc_dims_text(const struct kc_type *t, char *text)
{
	int n = 0;

	if (!t->ndim)
		n = snprintf(text, 96, "scalar");
	for (int i = 0; i < t->ndim && n < 80; i++)
		n += snprintf(text + n, (size_t)(96 - n), "%s%lld", i ? "x" : "",
			      (long long)t->dim[i]);
	return text;
}

void kc_strides(const struct kc_type *t, enum kc_layout layout, int64_t stride[KC_MAX_DIM])
{
	bool last = layout == KC_CLAST && t->ndim >= 4;
	int64_t step = 1;

	memset(stride, 0, KC_MAX_DIM * sizeof *stride);
	if (last) {
		stride[1] = 1;
		step = t->dim[1];
	}
	for (int i = t->ndim - 1; i >= 0; i--) {
		if (last && i == 1)
			continue;
		stride[i] = step;
		step *= t->dim[i];
	}
}

bool kc_is_dense(const struct kc_buf *b, enum kc_layout layout)
{
	int64_t want[KC_MAX_DIM];

	kc_strides(&b->type, layout, want);
	for (int i = 0; i < b->type.ndim; i++)
		if (b->type.dim[i] > 1 && b->stride[i] != want[i])
			return false;
	return true;
}

struct kc_buf kc_buf_of(void *data, const struct kc_type *t, enum kc_layout layout)
{
	struct kc_buf b = {.data = data, .type = *t};

	kc_strides(t, layout, b.stride);
	return b;
}

struct kc_buf kc_with_pads(const struct kc_buf *b)
{
	struct kc_buf all = *b;

	all.type.dim[1] += b->pads;
	all.pads = 0;
	return all;
}
