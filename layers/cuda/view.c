#include "layers/cuda/cuda.h"

struct kc_view kc_view_of(const struct kc_buf *b)
{
	struct kc_view v = {.data = b->data, .dtype = b->type.dtype, .nd = b->type.ndim};

	for (int i = 0; i < v.nd; i++) {
		v.dim[i] = b->type.dim[i];
		v.stride[i] = b->stride[i];
	}
	return v;
}

static void swap(int64_t *a, int64_t *b)
{
	int64_t t = *a;

	*a = *b;
	*b = t;
}

static void swap_dims(struct kc_view *v, int n, int i, int k)
{
	for (int j = 0; j < n; j++) {
		swap(&v[j].dim[i], &v[j].dim[k]);
		swap(&v[j].stride[i], &v[j].stride[k]);
	}
}

static void move_dim(struct kc_view *v, int n, int to, int from)
{
	for (int j = 0; j < n; j++) {
		v[j].dim[to] = v[j].dim[from];
		v[j].stride[to] = v[j].stride[from];
	}
}

/* Dimensions i and k, which lies behind it, are one run in every view. */
static bool joinable(const struct kc_view *v, int n, int i, int k)
{
	for (int j = 0; j < n; j++)
		if (v[j].stride[i] != v[j].stride[k] * v[j].dim[k])
			return false;
	return true;
}

static void join(struct kc_view *v, int n, int i, int k)
{
	for (int j = 0; j < n; j++) {
		v[j].dim[i] *= v[j].dim[k];
		v[j].stride[i] = v[j].stride[k];
	}
}

static void drop_ones(struct kc_view *v, int n)
{
	int nd = 0;

	for (int i = 0; i < v[0].nd; i++)
		if (v[0].dim[i] != 1)
			move_dim(v, n, nd++, i);
	for (int j = 0; j < n; j++)
		v[j].nd = nd;
}

int64_t kc_view_count(const struct kc_view *v)
{
	int64_t n = 1;

	for (int d = 0; d < v->nd; d++)
		n *= v->dim[d];
	return n;
}

void kc_view_join(struct kc_view *v, int n)
{
	int last = 0;

	drop_ones(v, n);
	for (int i = 1; i < v[0].nd; i++)
		for (int k = i; k > 0 && v[0].stride[k - 1] < v[0].stride[k]; k--)
			swap_dims(v, n, k, k - 1);
	for (int i = 1; i < v[0].nd; i++) {
		if (joinable(v, n, last, i))
			join(v, n, last, i);
		else
			move_dim(v, n, ++last, i);
	}
	for (int j = 0; j < n && v[0].nd; j++)
		v[j].nd = last + 1;
}
