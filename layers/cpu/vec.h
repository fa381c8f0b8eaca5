/*
 * Inner loops on contiguous floats, compiled once per instruction set level (files vec_*.c are
 * built with KC_ISA = v2, v3, v4) and chosen when a plan is built.  They run in one thread;
 * what calls them divides the work.
 */
#ifndef KC_LAYERS_CPU_VEC_H
#define KC_LAYERS_CPU_VEC_H

#include "layers/pointwise.h"

#define KC_VEC_JOIN_(name, level) name##_##level
#define KC_VEC_JOIN(name, level) KC_VEC_JOIN_(name, level)
/* The name of this level's table. */
#define KC_VEC(name) KC_VEC_JOIN(name, KC_ISA)
/* The table of the level in use; other architectures than x86-64 have one level. */
#ifdef __x86_64__
#define KC_VEC_PICK(name) \
	(kc_cpu_isa() >= 4 ? &name##_v4 : kc_cpu_isa() == 3 ? &name##_v3 : &name##_v2)
#else
#define KC_VEC_PICK(name) (&name##_v2)
#endif
#define KC_VEC_TABLE(type) extern const struct type type##_v2, type##_v3, type##_v4

/* One operator of layers/pointwise.def: to[i] from u[i], v[i], w[i]; to may be any of them. */
typedef void kc_vec_op(float *to, const float *u, const float *v, const float *w, float p, float q,
		       int64_t n);

struct kc_vec_pointwise {
	kc_vec_op *op[KC_PW_COUNT];
	void (*widen)(float *to, const uint16_t *from, int64_t n);      /* bf16 to float32 */
	void (*narrow)(uint16_t *to, const float *from, int64_t n); /* nearest even; NaN stays */
	void (*bytes)(float *to, const uint8_t *from, float scale, int64_t n);
};
KC_VEC_TABLE(kc_vec_pointwise);

/* Sums in blocks of floats, blocks in double; low: bf16. */
struct kc_vec_reduce {
	double (*sum)(const void *x, bool low, int64_t n);
	double (*squares)(const void *x, bool low, int64_t n);          /* in double throughout */
	/* acc[i] += sum over rows of x[row * step + i], i < n <= KC_VEC_COLUMNS. */
	void (*columns)(double *acc, const void *x, bool low, int64_t step, int64_t rows,
			int64_t n);
};
KC_VEC_TABLE(kc_vec_reduce);
enum { KC_VEC_COLUMNS = 512 };

/* A channels-last image and where its positions are read: channel x at `at`, y at at + y. */
struct kc_vec_warp {
	int64_t h, w, channels;         /* of the image */
	int64_t columns;                /* of a row of the result */
	int64_t step, y;                /* between positions, and to the other channel */
	bool relative;                  /* positions count from their own place */
	bool low;                       /* bf16: both sides of warp, the values of unwarp */
};

/* Rows of channels; low says which pointers are bf16. */
struct kc_vec_image {
	/* y[i] = sum over k < taps of w[k] x[k][i] */
	void (*blend)(void *y, bool y_low, const void *const *x, bool x_low, const float *w,
		      int taps, int64_t n);
	/* Row i of the image warped bilinearly, neighbours clamped to the image. */
	void (*warp)(const struct kc_vec_warp *, void *y, const void *image, const float *at,
		     int64_t i);
	/* Its transpose: values y of row i added to the image's rows top..end - 1. */
	void (*unwarp)(const struct kc_vec_warp *, const void *y, float *image, const float *at,
		       int64_t i, int64_t top, int64_t end);
	/* y[i] += w x[i] */
	void (*add)(float *y, const void *x, bool x_low, float w, int64_t n);
	double (*squares)(const float *x, int64_t n);
	/* Running maximum over the places of a window; NaN counts as the largest. */
	void (*keep_max)(float *max, int32_t *place, const void *x, bool x_low, int32_t at,
			 int64_t n);
	/* One line of softmax, or its logarithm, in place. */
	void (*softmax)(float *x, int64_t n, bool logs);
	/*
	 * y[r * 32 + j] = sum over k < n of a[r * n + k] bt[k * step + j], r < 4, j < 32: a piece
	 * of a product of rows with a matrix whose columns are contiguous.
	 */
	void (*tile)(float *y, const float *a, const float *bt, int64_t step, int64_t n);
};
KC_VEC_TABLE(kc_vec_image);
enum { KC_VEC_TILE_ROWS = 4, KC_VEC_TILE_COLUMNS = 32, KC_VEC_TAPS = 16 };

/*
 * The inner product of weight gradients: for a block of pixels, every output channel's gradient
 * times every input channel.  acc (rows x columns) += sum over n pixels of g[p][row] x[p][column].
 * Panels are dense: x[p] has `columns` elements, g[p] has `rows`.  In the low form an element
 * is a pair of bf16 of two successive pixels, and n counts pairs.
 */
typedef void kc_vec_outer(float *acc, const void *x, const void *g, int64_t n);
struct kc_vec_wgrad {
	int lanes;                      /* columns of a narrow tile; a wide one has twice as many */
	int n;                          /* how many row counts there are */
	struct { int rows; kc_vec_outer *wide, *narrow, *low_wide, *low_narrow; } tile[4];
	/* to[i] = a[i] | b[i] << 16 */
	void (*pair)(uint32_t *to, const uint16_t *a, const uint16_t *b, int64_t n);
};
KC_VEC_TABLE(kc_vec_wgrad);

#endif
