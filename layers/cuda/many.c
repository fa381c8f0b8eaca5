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
	if (!m->next)
		return KC_ENOMEM;
	for (int i = 0; i < KC_RING; i++) {
		m->sent[i].here = kc_calloc((size_t)n, item);
		if (!m->sent[i].here)
			return KC_ENOMEM;
		KC_TRY(kc_cuda_table(&m->sent[i].there, m->sent[i].here, m->bytes));
	}
	return send_pieces(m, elements, n);
}

/* A run before it is recorded has sent them, so no recording holds the copy. */
int kc_cuda_many_send(struct kc_cuda_many *m, struct kc_cuda *c)
{
	for (int i = 0; i < KC_RING; i++)
		if (!memcmp(m->next, m->sent[i].here, m->bytes)) {
			m->newest = i;
			m->items = m->sent[i].there;
			return 0;
		}
	m->newest = (m->newest + 1) % KC_RING;
	m->items = m->sent[m->newest].there;
	/* The copy would wait itself, as this memory is not pinned, and not see a rank lost. */
	if (c->nccl)
		KC_TRY(kc_cuda_wait(c, c->stream));
	memcpy(m->sent[m->newest].here, m->next, m->bytes);
	return kc_cuda_check(cudaMemcpyAsync(m->sent[m->newest].there, m->sent[m->newest].here,
					     m->bytes, cudaMemcpyHostToDevice, c->stream),
			     "table of tensors");
}

void kc_cuda_many_release(struct kc_cuda_many *m)
{
	for (int i = 0; i < KC_RING; i++) {
		kc_cuda_table_free(m->sent[i].there);
		free(m->sent[i].here);
	}
	kc_cuda_table_free(m->pieces);
	free(m->next);
}
