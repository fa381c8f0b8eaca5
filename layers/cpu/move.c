#include "layers/cpu/move.h"

#include "layers/cpu/rows.h"
#include "layers/cpu/vec.h"

#include <omp.h>
#include <stdlib.h>

enum { PIECE = 8192, TILE = 32 };

bool kc_move_can(int to_type, int from_type)
{
	bool floats = (to_type == KC_F32 || to_type == KC_BF16) &&
		      (from_type == KC_F32 || from_type == KC_BF16);

	return to_type == from_type || floats;
}

static void add_axis(struct kc_move *m, int64_t dim, int64_t to, int64_t from)
{
	int at = m->nd++;

	for (; at > 0 && llabs(m->to[at - 1]) < llabs(to); at--) {
		m->dim[at] = m->dim[at - 1];
		m->to[at] = m->to[at - 1];
		m->from[at] = m->from[at - 1];
	}
	m->dim[at] = dim;
	m->to[at] = to;
	m->from[at] = from;
}

static void merge_axes(struct kc_move *m)
{
	int n = 0;

	for (int i = 1; i < m->nd; i++) {
		bool run = m->to[n] == m->to[i] * m->dim[i] && m->from[n] == m->from[i] * m->dim[i];

		if (run)
			m->dim[n] *= m->dim[i];
		else
			m->dim[++n] = m->dim[i];
		m->to[n] = m->to[i];
		m->from[n] = m->from[i];
	}
	m->nd = n + 1;
}

void kc_move_init(struct kc_move *m, const struct kc_type *dims, int to_type, const int64_t *to,
		  int64_t to_at, int from_type, const int64_t *from, int64_t from_at)
{
	*m = (struct kc_move){.to_type = to_type, .from_type = from_type, .to_at = to_at,
			      .from_at = from_at, .across = -1,
			      .vec = KC_VEC_PICK(kc_vec_pointwise)};
	for (int i = 0; i < dims->ndim; i++)
		if (dims->dim[i] != 1)
			add_axis(m, dims->dim[i], to[i], from[i]);
	if (!m->nd)
		add_axis(m, 1, 1, 1);
	merge_axes(m);
	if (m->from[m->nd - 1] == 1 || m->from[m->nd - 1] == 0)
		return;
	for (int i = 0; i + 1 < m->nd; i++)
		if (m->from[i] == 1 && m->dim[i] > 1)
			m->across = i;
}

#define STRIDED(type) \
	do { \
		type *y = to; \
		const type *x = from; \
		for (int64_t i = 0; i < n; i++) \
			y[i * step] = x[i * pace]; \
	} while (0)

/* n elements, step apart in `to` and pace apart in `from`. */
static void copy_run(const struct kc_move *m, void *to, int64_t step, const void *from,
		     int64_t pace, int64_t n)
{
	size_t size = kc_dtype_size((enum kc_dtype)m->to_type);

	if (m->to_type != m->from_type) {
		const struct kc_buf y = {.data = to, .type = {.dtype = m->to_type}};
		const struct kc_buf x = {.data = (void *)(uintptr_t)from,
					 .type = {.dtype = m->from_type}};

		if (step == 1 && pace == 1 && m->to_type == KC_BF16)
			m->vec->narrow(to, from, n);
		else if (step == 1 && pace == 1)
			m->vec->widen(to, from, n);
		else
			for (int64_t i = 0; i < n; i++)
				kc_put(&y, i * step, kc_get(&x, i * pace));
	} else if (step == 1 && pace == 1) {
		memcpy(to, from, (size_t)n * size);
	} else if (size == 4) {
		STRIDED(uint32_t);
	} else if (size == 2) {
		STRIDED(uint16_t);
	} else if (size == 1) {
		STRIDED(uint8_t);
	} else {
		STRIDED(uint64_t);
	}
}

/* A strip of the axis `across`, tile by tile along the last axis: lines of both sides stay near. */
static void copy_strip(const struct kc_move *m, char *to, const char *from, int64_t count)
{
	int last = m->nd - 1, a = m->across;
	size_t ts = kc_dtype_size((enum kc_dtype)m->to_type);
	size_t fs = kc_dtype_size((enum kc_dtype)m->from_type);

	for (int64_t l = 0; l < m->dim[last]; l += TILE) {
		int64_t n = KC_MIN(m->dim[last] - l, TILE);

		for (int64_t i = 0; i < count; i++)
			copy_run(m, to + (l * m->to[last] + i * m->to[a]) * (int64_t)ts,
				 m->to[last],
				 from + (l * m->from[last] + i * m->from[a]) * (int64_t)fs,
				 m->from[last], n);
	}
}

/* The axis that is cut into pieces, and the length of a piece. */
static int cut_axis(const struct kc_move *m, int64_t *piece)
{
	*piece = m->across >= 0 ? TILE : PIECE;
	return m->across >= 0 ? m->across : m->nd - 1;
}

static void copy_items(const struct kc_move *m, char *to, const char *from, int64_t first,
		       int64_t end)
{
	int64_t piece, index[KC_MAX_DIM], rest = first;
	int cut = cut_axis(m, &piece), last = m->nd - 1;
	size_t ts = kc_dtype_size((enum kc_dtype)m->to_type);
	size_t fs = kc_dtype_size((enum kc_dtype)m->from_type);
	int64_t pieces = (m->dim[cut] + piece - 1) / piece;

	for (int d = last; d >= 0; d--) {
		int64_t n = d == cut ? pieces : d == last ? 1 : m->dim[d];

		index[d] = rest % n;
		rest /= n;
	}
	for (int64_t item = first; item < end; item++) {
		int64_t at = m->to_at, off = m->from_at, start = index[cut] * piece;
		int64_t count = KC_MIN(m->dim[cut] - start, piece);

		for (int d = 0; d <= last; d++) {
			int64_t i = d == cut ? start : index[d];

			at += i * m->to[d];
			off += i * m->from[d];
		}
		if (m->across >= 0)
			copy_strip(m, to + at * (int64_t)ts, from + off * (int64_t)fs, count);
		else
			copy_run(m, to + at * (int64_t)ts, m->to[last], from + off * (int64_t)fs,
				 m->from[last], count);
		for (int d = last; d >= 0; d--) {
			int64_t n = d == cut ? pieces : d == last ? 1 : m->dim[d];

			if (++index[d] < n)
				break;
			index[d] = 0;
		}
	}
}

void kc_move_run(const struct kc_move *m, void *to, const void *from, int threads)
{
	int64_t piece, items, n = 1;
	int cut = cut_axis(m, &piece), last = m->nd - 1;

	for (int d = 0; d <= last; d++)
		n *= m->dim[d];
	if (!n)
		return;
	items = (m->dim[cut] + piece - 1) / piece;
	for (int d = 0; d <= last; d++)
		if (d != cut && d != last)
			items *= m->dim[d];
	#pragma omp parallel num_threads(threads) if (n >= KC_CPU_PARALLEL)
	{
		int64_t me = omp_get_thread_num(), all = omp_get_num_threads();

		copy_items(m, to, from, items * me / all, items * (me + 1) / all);
	}
}
