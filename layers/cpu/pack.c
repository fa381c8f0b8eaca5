#include "layers/cpu/pack.h"

#include <stdio.h>
#include <stdlib.h>

struct packer {
	struct kc_dnn *of;              /* keeps the format alive */
	struct kc_dnn *reorder;
	struct kc_dnn_mem from;         /* what reorder reads */
	int64_t groups;
	enum kc_cpu_turn turn;
	struct kc_device *device;
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

/* The window at row-major place `row` of the axes before `first`, backwards. */
static void flip_window(char *to, const char *from, const struct kc_dnn_mem *m, int first,
			int64_t row, size_t size)
{
	int64_t at[KC_MAX_DIM] = {0}, base = 0, n = 1;

	for (int i = first - 1; i >= 0; i--) {
		base += row % m->dim[i] * m->stride[i];
		row /= m->dim[i];
	}
	for (int i = first; i < m->ndim; i++)
		n *= m->dim[i];
	for (int64_t e = 0; e < n; e++, to += size) {
		int64_t off = base;

		for (int i = first; i < m->ndim; i++)
			off += (m->dim[i] - 1 - at[i]) * m->stride[i];
		copy_element(to, from + off * (int64_t)size, size);
		for (int i = (int)m->ndim - 1; i >= first && ++at[i] == m->dim[i]; i--)
			at[i] = 0;
	}
}

/* Dense, in the order of dim, with the axes of the window reversed. */
static void flip(char *to, const char *from, const struct kc_dnn_mem *m, int first, size_t size)
{
	int64_t rows = 1, window = 1;

	for (int i = 0; i < m->ndim; i++)
		*(i < first ? &rows : &window) *= m->dim[i];
	#pragma omp parallel for schedule(static) if (rows > 1024)
	for (int64_t row = 0; row < rows; row++)
		flip_window(to + (size_t)(row * window) * size, from, m, first, row, size);
}

/* Output axes a, b, i, o, p, q of KC_TURN_PHASES, dense. */
static void phases(char *to, const char *from, const struct kc_buf *w, size_t size)
{
	const int64_t *s = w->stride;
	int64_t out = w->type.dim[0], in = w->type.dim[1];

	for (int64_t row = 0; row < 4 * in * out; row++) {
		int64_t a = row / (2 * in * out), b = row / (in * out) % 2;
		int64_t at = row / out % in * s[1] + row % out * s[0];

		for (int64_t t = 0; t < 4; t++, to += size)
			copy_element(to, from + (at + (3 - a - t / 2 * 2) * s[2] +
						 (3 - b - t % 2 * 2) * s[3]) * (int64_t)size, size);
	}
}

static bool is_turned(enum kc_cpu_turn turn)
{
	return turn == KC_TURN_FLIP || turn == KC_TURN_PHASES;
}

static size_t turned_bytes(const struct kc_buf *w)
{
	return (size_t)kc_numel(&w->type) * kc_dtype_size((enum kc_dtype)w->type.dtype);
}

/* The turned weights (the library has no strides that run backwards); m describes them then. */
static void *pack_turn(struct packer *p, const struct kc_buf *src, struct kc_dnn_mem *m)
{
	size_t size = kc_dtype_size((enum kc_dtype)m->dtype);
	void *turned = kc_device_scratch(p->device, turned_bytes(src));
	int64_t step = 1;

	if (!turned)
		return NULL;
	if (p->turn == KC_TURN_FLIP) {
		flip(turned, src->data, m, 2 + (p->groups > 1), size);
	} else {
		phases(turned, src->data, src, size);
		m->dim[0] *= 4;
		m->dim[2] = m->dim[3] = 2;
	}
	for (int i = (int)m->ndim - 1; i >= 0; i--) {
		m->stride[i] = step;
		step *= m->dim[i];
	}
	return turned;
}

static int pack_run(const struct kc_pack *pack, const struct kc_buf *src, void *dst)
{
	struct packer *p = pack->own;
	const void *data = src->data;
	struct kc_dnn_mem m;

	kc_cpu_weights_mem(&m, src, p->groups, p->turn, src->type.dtype);
	if (is_turned(p->turn) && !(data = pack_turn(p, src, &m)))
		return KC_ENOMEM;
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
	p->device = info->device;
	p->groups = groups;
	p->turn = turn;
	if (is_turned(turn) && !kc_device_scratch(p->device, turned_bytes(&info->in[input]))) {
		free(p);
		return KC_ENOMEM;
	}
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
