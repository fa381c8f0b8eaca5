/* Operators that move elements, as copies of boxes. */
#include "layers/boxes.h"
#include "layers/cpu/move.h"
#include "layers/cpu/rows.h"

#include <stdlib.h>

struct moves {
	int threads, n;
	bool zero;                      /* the moves do not cover the output */
	size_t bytes;
	struct step { struct kc_move move; int in, out; } step[];
};

static bool fits(const struct kc_step_info *info)
{
	for (int i = 0; i < info->n_in; i++)
		if (!kc_move_can(info->out[0].type.dtype, info->in[i].type.dtype))
			return false;
	return kc_boxes_can(info);
}

/* Where zeros are written first, that is one run of bytes. */
static bool fits_zeroed(const struct kc_step_info *info)
{
	return fits(info) && (kc_is_dense(&info->out[0], KC_PLAIN) ||
			      kc_is_dense(&info->out[0], KC_CLAST));
}

static void add(struct moves *m, const struct kc_step_info *info, const struct kc_box *b)
{
	struct step *s = &m->step[m->n++];
	struct kc_type dims = kc_type_of(KC_REAL, b->ndim, b->dim);

	s->in = b->in;
	s->out = b->out;
	kc_move_init(&s->move, &dims, info->out[b->out].type.dtype, b->to.stride, b->to.at,
		     info->in[b->in].type.dtype, b->from.stride, b->from.at);
}

static int prepare(struct kc_step_info *info)
{
	struct kc_boxes *b = kc_boxes_new(info);
	struct moves *m = b ? kc_calloc(1, sizeof *m + (size_t)b->n * sizeof *m->step) : NULL;
	const struct kc_type *y = &info->out[0].type;

	for (int i = 0; m && i < b->n; i++)
		add(m, info, &b->box[i]);
	if (m) {
		m->threads = info->device->threads;
		m->zero = b->zero;
		m->bytes = (size_t)kc_numel(y) * kc_dtype_size((enum kc_dtype)y->dtype);
	}
	free(b);
	info->prepared = m;
	return m ? 0 : KC_ENOMEM;
}

static int run(const struct kc_call *call)
{
	const struct moves *m = call->prepared;

	if (m->zero)
		memset(call->out[0].data, 0, m->bytes);
	for (int i = 0; i < m->n; i++)
		kc_move_run(&m->step[i].move, call->out[m->step[i].out].data,
			    call->in[m->step[i].in].data, m->threads);
	return 0;
}

#define ROW(op_, fits_)                                                \
	static const struct kc_kernel op_##_row = {.op = &kc_op_##op_, \
						   .name = "moves",    \
						   .fits = fits_,      \
						   .prepare = prepare, \
						   .run = run,         \
						   .release = free}
ROW(copy, fits);
ROW(flip, fits);
ROW(permute, fits);
ROW(reshape, fits);
ROW(concat, fits);
ROW(slice, fits);
ROW(unslice, fits_zeroed);
ROW(split, fits);
ROW(pad, fits_zeroed);
ROW(unpad, fits_zeroed);

const struct kc_kernel *const kc_cpu_shape_rows[] = {
	&copy_row, &flip_row, &permute_row, &reshape_row, &concat_row, &slice_row, &unslice_row,
	&split_row, &pad_row, &unpad_row, NULL};
