#include "layers/cuda/image.h"

struct kc_image_view kc_cuda_image(const struct kc_buf *b)
{
	const int64_t *d = b->type.dim, *s = b->stride;

	KC_ASSERT(b->type.ndim == 4);
	return (struct kc_image_view){.data = b->data, .dtype = b->type.dtype, .n = d[0],
				      .c = d[1], .t = 1, .h = d[2], .w = d[3], .sn = s[0],
				      .sc = s[1], .sh = s[2], .sw = s[3]};
}

/* A stride along which there is but one element does not matter. */
static bool divides(int64_t some, int64_t count, int64_t stride)
{
	return count == 1 || stride % some == 0;
}

static bool in_packs(const struct kc_image_view *x, int64_t some)
{
	return x->sc == 1 && x->c % some == 0 && divides(some, x->n, x->sn) &&
	       divides(some, x->h, x->sh) && divides(some, x->w, x->sw) &&
	       (uintptr_t)x->data % 16 == 0;
}

static bool are_few(const struct kc_image_view *const *x, int n, int64_t channels)
{
	for (int i = 0; i < n; i++)
		if (x[i]->dtype != KC_VIEW_F32 || x[i]->c != channels || x[i]->sc != 1)
			return false;
	return true;
}

enum kc_cu_access kc_cuda_access(const struct kc_image_view *const *x, int n)
{
	int type = x[0]->dtype;

	if (are_few(x, n, 2) || are_few(x, n, 3))
		return x[0]->c == 2 ? KC_CU_F32_2 : KC_CU_F32_3;
	if (type != KC_VIEW_F32 && type != KC_VIEW_BF16)
		return KC_CU_ANY;
	for (int i = 0; i < n; i++)
		if (x[i]->dtype != type || !in_packs(x[i], type == KC_VIEW_F32 ? 4 : 8))
			return KC_CU_ANY;
	return type == KC_VIEW_F32 ? KC_CU_F32 : KC_CU_BF16;
}

bool kc_cuda_are_images(const struct kc_step_info *info)
{
	for (int i = 0; i < info->n_in; i++)
		if (info->in[i].type.ndim != 4)
			return false;
	for (int i = 0; i < info->n_out; i++)
		if (info->out[i].type.ndim != 4)
			return false;
	return true;
}
