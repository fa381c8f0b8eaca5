/*
 * For kernels of images: the channels of a pixel, a pack at a time.  A kernel that is written
 * for an access A (kc_packs, kc_few or kc_single) handles A::width channels per thread; a block
 * works on a row of the image, so that indices within it fit 32 bits.
 */
#ifndef KC_LAYERS_CUDA_IMAGE_KERNEL_H
#define KC_LAYERS_CUDA_IMAGE_KERNEL_H

#include "layers/cuda/access.h"
#include "layers/cuda/kernel.h"

/* Dense channels of one type, sixteen bytes at once. */
template <class T>
struct kc_packs {
	enum { width = 16 / sizeof(T) };

	KC_DEVICE void load(const kc_image_view &x, int64_t at, float *v)
	{
		kc_pack16<T> p = *(const kc_pack16<T> *)((const T *)x.data + at);

#pragma unroll
		for (int k = 0; k < width; k++)
			v[k] = kc_cu_load(&p.v[k]);
	}

	KC_DEVICE void store(const kc_image_view &x, int64_t at, const float *v)
	{
		kc_pack16<T> p;

#pragma unroll
		for (int k = 0; k < width; k++)
			kc_cu_store(&p.v[k], v[k]);
		*(kc_pack16<T> *)((T *)x.data + at) = p;
	}
};

/* All of an image's N dense channels of float32. */
template <int N>
struct kc_few {
	enum { width = N };

	KC_DEVICE void load(const kc_image_view &x, int64_t at, float *v)
	{
#pragma unroll
		for (int k = 0; k < N; k++)
			v[k] = ((const float *)x.data)[at + k];
	}

	KC_DEVICE void store(const kc_image_view &x, int64_t at, const float *v)
	{
#pragma unroll
		for (int k = 0; k < N; k++)
			((float *)x.data)[at + k] = v[k];
	}
};

/* One channel, any type and strides. */
struct kc_single {
	enum { width = 1 };

	KC_DEVICE void load(const kc_image_view &x, int64_t at, float *v)
	{
		v[0] = kc_cu_read(x.data, x.dtype, at);
	}

	KC_DEVICE void store(const kc_image_view &x, int64_t at, const float *v)
	{
		kc_cu_write(x.data, x.dtype, at, v[0]);
	}
};

KC_DEVICE int64_t kc_cu_pixel(const kc_image_view &x, int64_t n, int64_t i, int64_t j)
{
	return n * x.sn + i * x.sh + j * x.sw;
}

/* Where the thread works: row i of image n, column j, channels c and on; j may be beyond w. */
struct kc_cu_spot {
	int64_t n, i;
	int32_t j, c;
};

/* Rows of all images, one at a time for the whole block. */
#define KC_CU_ROWS(row, image) \
	for (int64_t row = blockIdx.y; row < (image).n * (image).h; row += gridDim.y)

template <class A>
KC_DEVICE kc_cu_spot kc_cu_spot_of(const kc_image_view &y, int64_t row)
{
	uint32_t item = blockIdx.x * blockDim.x + threadIdx.x, packs = (uint32_t)y.c / A::width;
	uint32_t n = (uint32_t)row / (uint32_t)y.h, j = item / packs;

	return {(int64_t)n, row - n * y.h, (int32_t)j, (int32_t)((item - j * packs) * A::width)};
}

static inline int kc_cu_width(enum kc_cu_access a)
{
	switch (a) {
	case KC_CU_BF16: return 8;
	case KC_CU_F32: return 4;
	case KC_CU_F32_3: return 3;
	case KC_CU_F32_2: return 2;
	default: return 1;
	}
}

/* Launch sizes: a thread for every pack of a row of y, blocks for the rows. */
static inline dim3 kc_cu_image_threads(const struct kc_image_view *y, enum kc_cu_access a)
{
	int64_t items = y->w * (y->c / kc_cu_width(a)), warps = (items + 31) / 32;

	return dim3((unsigned)(warps < KC_CU_THREADS / 32 ? warps * 32 : KC_CU_THREADS + 0));
}

static inline dim3 kc_cu_image_grid(const struct kc_image_view *y, enum kc_cu_access a)
{
	int64_t items = y->w * (y->c / kc_cu_width(a)), rows = y->n * y->h;
	int64_t threads = kc_cu_image_threads(y, a).x, blocks = (items + threads - 1) / threads;

	return dim3((unsigned)blocks, (unsigned)(rows < 65535 ? rows : 65535));
}

/* Launches kernel<access> over the image y; what follows are the kernel's arguments. */
#define KC_CU_LAUNCH_IMAGE(kernel, access, y, stream, ...) \
	do { \
		dim3 grid_ = kc_cu_image_grid((y), (access)); \
		dim3 threads_ = kc_cu_image_threads((y), (access)); \
\
		switch (access) { \
		case KC_CU_F32: \
			KC_CU_LAUNCH_AS(kernel<kc_packs<float>>, stream, __VA_ARGS__); \
			break; \
		case KC_CU_BF16: \
			KC_CU_LAUNCH_AS(kernel<kc_packs<kc_bf16>>, stream, __VA_ARGS__); \
			break; \
		case KC_CU_F32_2: \
			KC_CU_LAUNCH_AS(kernel<kc_few<2>>, stream, __VA_ARGS__); \
			break; \
		case KC_CU_F32_3: \
			KC_CU_LAUNCH_AS(kernel<kc_few<3>>, stream, __VA_ARGS__); \
			break; \
		default: KC_CU_LAUNCH_AS(kernel<kc_single>, stream, __VA_ARGS__); \
		} \
	} while (0)
#define KC_CU_LAUNCH_AS(kernel, stream, ...) \
	KC_LAUNCH(kernel, grid_, threads_, 0, stream, __VA_ARGS__)

#endif
