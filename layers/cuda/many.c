#include "layers/cuda/many.h"

#include "layers/cuda/cuda.h"

#include <stdlib.h>

static int64_t pieces_of(int64_t elements)
{
	return (elements + KC_CU_PIECE - 1) / KC_CU_PIECE;
}

static int send_pieces(struct kc_cuda_many *m, const int64_t *elements, int n)
{
	struct kc_cu_piece *p;
	int64_t at = 0;
	int rc;

	for (int i = 0; i < n; i++)
		m->n_pieces += pieces_of(elements[i]);
	p = kc_calloc((size_t)m->n_pieces, sizeof *p);
	if (!p)
		return KC_ENOMEM;
	for (int i = 0; i < n; i++)
		for (int64_t first = 0; first < elements[i]; first += KC_CU_PIECE)
			p[at++] = (struct kc_cu_piece){.item = i, .first = first};
	rc = kc_cuda_table(&m->pieces, p, (size_t)m->n_pieces * sizeof *p);
	free(p);
	return rc;
}

int kc_cuda_many_init(struct kc_cuda_many *m, const int64_t *elements, int n, size_t item)
{
	*m = (struct kc_cuda_many){.bytes = (size_t)n * item};
	m->next = kc_calloc((size_t)n, item);
	m->sent = kc_calloc((size_t)n, item);
	if (!m->next || !m->sent)
		return KC_ENOMEM;
	KC_TRY(kc_cuda_table(&m->items, m->sent, m->bytes));
	return send_pieces(m, elements, n);
}

/* What is sent stays where it is, so a recording may hold the copy, too. */
int kc_cuda_many_send(struct kc_cuda_many *m, cudaStream_t stream)
{
	if (!memcmp(m->next, m->sent, m->bytes))
		return 0;
	memcpy(m->sent, m->next, m->bytes);
	return kc_cuda_check(cudaMemcpyAsync(m->items, m->sent, m->bytes, cudaMemcpyHostToDevice,
					     stream),
			     "table of tensors");
}

void kc_cuda_many_release(struct kc_cuda_many *m)
{
	kc_cuda_table_free(m->items);
	kc_cuda_table_free(m->pieces);
	free(m->next);
	free(m->sent);
}
