#include "layers/cpu/pack.h"

#include <stdio.h>
#include <stdlib.h>

struct packer {
	struct kc_dnn *of;              /* keeps the format alive */
	struct kc_dnn *reorder;
	struct kc_dnn_mem from;         /* what reorder reads */
	int64_t groups;
	enum kc_cpu_turn turn;
	void *flipped;                  /* KC_TURN_FLIP: no stride is negative in the library */
	size_t flipped_bytes;
};

/* Dimensions (groups,) O/g, I/g, k... with the strides of the buffer. */
void kc_cpu_weights_mem(struct kc_dnn_mem *m, const struct kc_buf *w, int64_t groups,
			enum kc_cpu_turn turn, int64_t dtype)
{
	int lead = groups > 1, out = turn == KC_TURN_NONE ? 0 : 1;

	memset(m, 0, sizeof *m);
	m->dtype = dtype;
	m->ndim = w->type.ndim + lead;
	if (lead) {
		m->dim[0] = groups;
		m->stride[0] = w->stride[0] * (w->type.dim[0] / groups);
	}
	for (int i = 0; i < w->type.ndim; i++) {
		int at = lead + (i < 2 ? i ^ out : i);

		m->dim[at] = i ? w->type.dim[i] : w->type.dim[0] / groups;
		m->stride[at] = w->stride[i];
	}
}

static void pack_release(struct kc_pack *pack)
{
	struct packer *p = pack->own;

	if (!p)
		return;
	kc_dnn_close(p->reorder);
	kc_dnn_close(p->of);
	free(p->flipped);
	free(p);
	pack->own = NULL;
}

static void copy_element(char *to, const char *from, size_t size)
{
	if (size == 4)
		memcpy(to, from, 4);
	else
		memcpy(to, from, 2);
}

/* Dense, in the order of dim, with the axes of the window reversed. */
static void flip(char *to, const char *from, const struct kc_dnn_mem *m, int first, size_t size)
{
	int64_t n = 1, at[KC_MAX_DIM] = {0};

	for (int i = 0; i < m->ndim; i++)
		n *= m->dim[i];
	for (int64_t e = 0; e < n; e++, to += size) {
		int64_t off = 0;

		for (int i = 0; i < m->ndim; i++)
			off += (i < first ? at[i] : m->dim[i] - 1 - at[i]) * m->stride[i];
		copy_element(to, from + off * (int64_t)size, size);
		for (int i = (int)m->ndim - 1; i >= 0 && ++at[i] == m->dim[i]; i--)
			at[i] = 0;
	}
}

static int pack_flip(struct packer *p, struct kc_dnn_mem *m, const void **data)
{
	size_t size = kc_dtype_size((enum kc_dtype)m->dtype), bytes = size;
	int64_t step = 1;

	for (int i = 0; i < m->ndim; i++)
		bytes *= (size_t)m->dim[i];
	if (bytes > p->flipped_bytes) {
		free(p->flipped);
		p->flipped = kc_alloc(bytes);
		p->flipped_bytes = p->flipped ? bytes : 0;
		if (!p->flipped)
			return KC_ENOMEM;
	}
	flip(p->flipped, *data, m, 2 + (p->groups > 1), size);
	for (int i = (int)m->ndim - 1; i >= 0; i--) {
		m->stride[i] = step;
		step *= m->dim[i];
	}
	*data = p->flipped;
	return 0;
}

static int pack_run(const struct kc_pack *pack, const struct kc_buf *src, void *dst)
{
	struct packer *p = pack->own;
	const void *data = src->data;
	struct kc_dnn_mem m;

	kc_cpu_weights_mem(&m, src, p->groups, p->turn, src->type.dtype);
	if (p->turn == KC_TURN_FLIP)
		KC_TRY(pack_flip(p, &m, &data));
	if (!p->reorder || memcmp(&m, &p->from, sizeof m)) {
		kc_dnn_close(p->reorder);
		p->reorder = NULL;
		KC_TRY(kc_dnn_reorder_open(&p->reorder, p->of, &m, false));
		p->from = m;
	}
	return kc_dnn_run_reorder(p->reorder, data, dst);
}

int kc_cpu_pack_add(struct kc_step_info *info, int input, const struct kc_dnn_spec *spec,
		    const struct kc_dnn *dnn, int64_t groups, enum kc_cpu_turn turn)
{
	struct packer *p = kc_calloc(1, sizeof *p);
	struct kc_pack *pack = &info->pack[info->n_pack];
	char format[48];

	if (!p)
		return KC_ENOMEM;
	p->groups = groups;
	p->turn = turn;
	memset(pack, 0, sizeof *pack);
	pack->own = p;
	pack->input = input;
	pack->bytes = kc_dnn_weights_bytes(dnn);
	pack->run = pack_run;
	pack->release = pack_release;
	kc_dnn_weights_key(dnn, format, sizeof format);
	snprintf(pack->key, sizeof pack->key, "%s turn %d", format, (int)turn);
	if (kc_dnn_open(&p->of, spec) < 0) {
		pack_release(pack);
		return KC_ENOSUP;
	}
	info->n_pack++;
	return 0;
}
