#include "layers/resample.h"

#include "layers/cuda/image.h"
#include "layers/cuda/resample.h"

#include <stdlib.h>

/* Tables on the device: taps of rows and columns, then their readers. */
struct tables { void *data; size_t at[4]; };

static void make_taps(const struct kc_resample_attr *a, int axis, struct kc_cu_taps *to)
{
	for (int64_t i = 0; i < a->out[axis]; i++) {
		struct kc_taps t = kc_resample_taps(a, axis, i);

		to[i] = (struct kc_cu_taps){(int32_t)t.first, (int32_t)t.count,
					    {(float)t.weight[0], (float)t.weight[1]}};
	}
}

/* Taps never go back, so the readers of an element are a range. */
static void make_readers(const struct kc_cu_taps *taps, int64_t out, int64_t in,
			 struct kc_cu_readers *to)
{
	int32_t first = 0, end;

	for (int32_t i = 0; i < in; i++) {
		while (first < out && taps[first].first + taps[first].count <= i)
			first++;
		for (end = first; end < out && taps[end].first <= i; end++)
			;
		to[i] = (struct kc_cu_readers){first, end};
	}
}

static void fill(const struct kc_resample_attr *a, const struct tables *t, char *bytes)
{
	for (int axis = 0; axis < 2; axis++) {
		struct kc_cu_taps *taps = (void *)(bytes + t->at[axis]);

		make_taps(a, axis, taps);
		make_readers(taps, a->out[axis], a->in[axis], (void *)(bytes + t->at[2 + axis]));
	}
}

static int prepare(struct kc_step_info *info)
{
	const struct kc_resample_attr *a = info->attr;
	struct tables *t = kc_calloc(1, sizeof *t);
	size_t n = 0;
	char *bytes;
	int rc;

	for (int k = 0; t && k < 4; k++) {
		t->at[k] = n;
		n += (size_t)(k < 2 ? a->out[k] : a->in[k - 2]) *
		     (k < 2 ? sizeof(struct kc_cu_taps) : sizeof(struct kc_cu_readers));
	}
	bytes = t ? kc_calloc(1, n) : NULL;
	if (!bytes) {
		free(t);
		return KC_ENOMEM;
	}
	fill(a, t, bytes);
	rc = kc_cuda_table(&t->data, bytes, n);
	free(bytes);
	if (rc < 0)
		free(t);
	else
		info->prepared = t;
	return rc;
}

static void release(void *prepared)
{
	kc_cuda_table_free(((struct tables *)prepared)->data);
	free(prepared);
}

static int run(const struct kc_call *call,
	       int (*launch)(const struct kc_cu_resample *, enum kc_cu_access, cudaStream_t),
	       const char *name)
{
	const struct tables *t = call->prepared;
	const char *at = t->data;
	struct kc_cu_resample a = {
		.x = kc_cuda_image(&call->in[0]), .y = kc_cuda_image(&call->out[0]),
		.rows = (const void *)(at + t->at[0]), .columns = (const void *)(at + t->at[1]),
		.row_readers = (const void *)(at + t->at[2]),
		.column_readers = (const void *)(at + t->at[3])};
	enum kc_cu_access access =
		kc_cuda_access((const struct kc_image_view *[]){&a.x, &a.y}, 2);

	return kc_cuda_launched(launch(&a, access, kc_cuda_stream(call)), name);
}

static int run_forward(const struct kc_call *call)
{
	return run(call, kc_cu_resample_run, "resample");
}

static int run_back(const struct kc_call *call)
{
	return run(call, kc_cu_resample_back_run, "resample_back");
}

const struct kc_kernel kc_cuda_resample = {
	.op = &kc_op_resample, .name = "gather", .fits = kc_cuda_are_images, .prepare = prepare,
	.run = run_forward, .release = release};
const struct kc_kernel kc_cuda_resample_back = {
	.op = &kc_op_resample_back, .name = "gather", .fits = kc_cuda_are_images,
	.prepare = prepare, .run = run_back, .release = release};
