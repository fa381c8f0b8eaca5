/*
 * What models are written with.  Every function takes values and returns a value; shapes are
 * N, C, (T,) H, W; errors are sticky in the graph (core/graph.h), so nothing here is checked
 * by the caller.  Keyword arguments are designated initialisers; 0 means the default.
 */
#ifndef KC_LAYERS_LAYERS_H
#define KC_LAYERS_LAYERS_H

#include "core/graph.h"
#include "core/op.h"
#include "core/param.h"
#include "layers/pointwise.h"

struct kc_ranks;

/* The table of operators (layers/table.c): what graphs are made with. */
extern const struct kc_op_set kc_layers;

/* ---- arithmetic, with broadcasting (dimensions aligned at the right as in PyTorch) ---- */
struct kc_tensor *kc_add(struct kc_graph *, struct kc_tensor *, struct kc_tensor *);
struct kc_tensor *kc_sub(struct kc_graph *, struct kc_tensor *, struct kc_tensor *);
struct kc_tensor *kc_mul(struct kc_graph *, struct kc_tensor *, struct kc_tensor *);
struct kc_tensor *kc_div(struct kc_graph *, struct kc_tensor *, struct kc_tensor *);
struct kc_tensor *kc_scale(struct kc_graph *, struct kc_tensor *, double factor);
struct kc_tensor *kc_shift(struct kc_graph *, struct kc_tensor *, double term);
/* One operator of layers/pointwise.def. */
struct kc_tensor *kc_pw1(struct kc_graph *, enum kc_pw, double p, double q, struct kc_tensor *);
struct kc_tensor *kc_pw2(struct kc_graph *, enum kc_pw, double p, double q, struct kc_tensor *,
			 struct kc_tensor *);
struct kc_tensor *kc_pw3(struct kc_graph *, enum kc_pw, double p, double q, struct kc_tensor *,
			 struct kc_tensor *, struct kc_tensor *);
struct kc_tensor *kc_relu(struct kc_graph *, struct kc_tensor *);
struct kc_tensor *kc_leaky(struct kc_graph *, struct kc_tensor *, double slope);
struct kc_tensor *kc_sigmoid(struct kc_graph *, struct kc_tensor *);
struct kc_tensor *kc_tanh(struct kc_graph *, struct kc_tensor *);
struct kc_tensor *kc_exp(struct kc_graph *, struct kc_tensor *);
struct kc_tensor *kc_square(struct kc_graph *, struct kc_tensor *);
struct kc_tensor *kc_abs(struct kc_graph *, struct kc_tensor *);
struct kc_tensor *kc_stop(struct kc_graph *, struct kc_tensor *);       /* no gradient passes */

/* ---- shape ---- */
struct kc_tensor *kc_expand_to(struct kc_graph *, struct kc_tensor *, const struct kc_type *);
struct kc_tensor *kc_sum_to(struct kc_graph *, struct kc_tensor *, const struct kc_type *);
struct kc_tensor *kc_reshape(struct kc_graph *, struct kc_tensor *, int ndim, const int64_t *dim);
struct kc_tensor *kc_permute(struct kc_graph *, struct kc_tensor *, const int *order);
struct kc_tensor *kc_concat(struct kc_graph *, int axis, struct kc_tensor *const *, int n);
#define KC_CONCAT(g, axis, ...) \
	kc_concat((g), (axis), (struct kc_tensor *[]){__VA_ARGS__}, \
		  (int)(sizeof((struct kc_tensor *[]){__VA_ARGS__}) / sizeof(struct kc_tensor *)))
/* Elements start, start+step, ... (count of them) along one axis. */
struct kc_tensor *kc_slice(struct kc_graph *, struct kc_tensor *, int axis, int64_t start,
			   int64_t count, int64_t step);
/* n equal parts along an axis, as outputs of one node; along axis 0 they are views. */
void kc_split(struct kc_graph *, struct kc_tensor *, int axis, int n, struct kc_tensor **out);
/* [::step, ::step] */
struct kc_tensor *kc_subsample(struct kc_graph *, struct kc_tensor *, int64_t step);
enum kc_pad_mode { KC_PAD_CONSTANT, KC_PAD_REFLECT, KC_PAD_REPLICATE };
/* Of the last two axes; negative amounts crop (constant mode only). */
struct kc_tensor *kc_pad(struct kc_graph *, struct kc_tensor *, enum kc_pad_mode, int left,
			 int right, int top, int bottom);
struct kc_tensor *kc_flip(struct kc_graph *, struct kc_tensor *, int axis);
/* N, C*r*r, H, W -> N, C, H*r, W*r */
struct kc_tensor *kc_pixel_shuffle(struct kc_graph *, struct kc_tensor *, int64_t r);
/* The 3x3 neighbours of every pixel, zeros outside: N, C, H, W -> N, C*9, H*W */
struct kc_tensor *kc_unfold3x3(struct kc_graph *, struct kc_tensor *);
/* Entries index[i] of axis 0; index is an int32 list. */
struct kc_tensor *kc_gather(struct kc_graph *, struct kc_tensor *, struct kc_tensor *index);
/* One element of the axis at every place of the others: index is int32 with that axis of 1. */
struct kc_tensor *kc_take(struct kc_graph *, struct kc_tensor *, struct kc_tensor *index, int axis);
/* Place of the first of the largest along the axis, int32; keeps the axis. */
struct kc_tensor *kc_argmax(struct kc_graph *, struct kc_tensor *, int axis);

/* ---- reductions ---- */
struct kc_tensor *kc_sum(struct kc_graph *, struct kc_tensor *);        /* to shape [1] */
struct kc_tensor *kc_mean(struct kc_graph *, struct kc_tensor *);       /* likewise */
struct kc_tensor *kc_sum_axis(struct kc_graph *, struct kc_tensor *, int axis); /* keeps the axis */
struct kc_tensor *kc_mean_axis(struct kc_graph *, struct kc_tensor *, int axis);
struct kc_tensor *kc_max_axis(struct kc_graph *, struct kc_tensor *, int axis);
struct kc_tensor *kc_softmax(struct kc_graph *, struct kc_tensor *, int axis);
struct kc_tensor *kc_log_softmax(struct kc_graph *, struct kc_tensor *, int axis);

/* ---- resampling and motion ---- */
struct kc_tensor *kc_resize_nearest(struct kc_graph *, struct kc_tensor *, int64_t h, int64_t w);
struct kc_tensor *kc_resize_bilinear(struct kc_graph *, struct kc_tensor *, int64_t h, int64_t w,
				     bool align_corners);
/* Resample2d: img at (x + flow_0, y + flow_1), border clamped; specs: FlowNet 2.0. */
struct kc_tensor *kc_warp(struct kc_graph *, struct kc_tensor *img, struct kc_tensor *flow);
struct kc_tensor *kc_correlation(struct kc_graph *, struct kc_tensor *a, struct kc_tensor *b,
				 int64_t max_displacement, int64_t stride2);
struct kc_tensor *kc_channel_norm(struct kc_graph *, struct kc_tensor *);

/* ---- colour (CIE Lab, D65) ---- */
struct kc_tensor *kc_rgb_to_lab(struct kc_graph *, struct kc_tensor *rgb);  /* [0,1] -> L, a, b */
struct kc_tensor *kc_lab_to_rgb(struct kc_graph *, struct kc_tensor *lab);  /* not clamped at 1 */
/*
 * In [0,1]: a colour that sRGB does not have moves towards the grey of the same luminance, in
 * linear light, just until it fits, so L is kept where clipping would change it.  No gradient.
 */
struct kc_tensor *kc_lab_to_rgb_fit(struct kc_graph *, struct kc_tensor *lab);
/* The same for one colour, on the host; whether sRGB has it, but for rounding. */
void kc_lab_of_rgb(const double rgb[3], double lab[3]);
void kc_rgb_of_lab_fit(const double lab[3], double rgb[3]);
bool kc_lab_fits(const double lab[3]);
struct kc_tensor *kc_to_real(struct kc_graph *, struct kc_tensor *u8, double scale);

/* ---- crops and symmetries (layers/cut.h says what stands in the table); no gradient ---- */
/* (K n, C, H, W) of uint8 -> (K n, C, side, side) */
struct kc_tensor *kc_cut_frames(struct kc_graph *, struct kc_tensor *frames,
				struct kc_tensor *table, int64_t side);
/*
 * Flow fields (u, v) of int16 in so many pixels, in memory [K n][H][W][2] and here the same bytes
 * as int32 (K n, 1, H, W) -> (K n, 2, side, side) in pixels.  The vectors turn with the picture:
 * mirroring negates a component, transposing swaps the two.
 */
struct kc_tensor *kc_cut_flows(struct kc_graph *, struct kc_tensor *flows, struct kc_tensor *table,
			       int64_t side, double unit);

/* ---- layers with parameters ---- */
struct kc_model {
	struct kc_graph *g;
	struct kc_params *params;
	bool frozen;            /* parameters made now are not trainable */
	bool train;             /* batch norm uses batch statistics and updates running ones */
	struct kc_ranks *ranks; /* which share a batch; NULL: none */
	/* Values that the training step must store: running statistics. */
	struct kc_update { struct kc_param *param; struct kc_tensor *value; } *updates;
	int n_updates, room_updates;
};
void kc_model_release(struct kc_model *);

enum kc_act { KC_ACT_NONE, KC_RELU, KC_LEAKY, KC_TANH, KC_SIGMOID };

struct kc_conv_args {
	int out, k;             /* output channels, square kernel (default 3) */
	int stride, dilation, groups;           /* default 1 */
	int pad;                /* default same padding, dilation * (k - 1) / 2; KC_NO_PAD for 0 */
	int output_padding;     /* transposed only */
	bool no_bias;
	enum kc_act act;
	float slope;            /* of KC_LEAKY */
	bool spectral;          /* spectral norm: NAME.weight_orig, weight_u, weight_v */
	/*
	 * Of clips N, C, T, H, W, which only kc_conv takes: the kernel's length in time (default
	 * 1) and its padding there, 0 by default.  stride, pad and dilation are those of H and W.
	 */
	int k_time, pad_time;
};
enum { KC_NO_PAD = -1 };
/* Parameters NAME.weight and NAME.bias in the current scope. */
struct kc_tensor *kc_conv_args(struct kc_model *, const char *name, struct kc_tensor *x,
			       const struct kc_conv_args *);
#define kc_conv(m, name, x, ...) \
	kc_conv_args((m), (name), (x), &(struct kc_conv_args){__VA_ARGS__})
/* Transposed convolution; default k 4, stride 2, pad 1. */
struct kc_tensor *kc_deconv_args(struct kc_model *, const char *name, struct kc_tensor *x,
				 const struct kc_conv_args *);
#define kc_deconv(m, name, x, ...) \
	kc_deconv_args((m), (name), (x), &(struct kc_conv_args){__VA_ARGS__})
/* Batch norm with running statistics: eps 1e-5, momentum 0.1; m->train chooses. */
struct kc_tensor *kc_batch_norm(struct kc_model *, const char *name, struct kc_tensor *x);
struct kc_tensor *kc_activate(struct kc_graph *, struct kc_tensor *, enum kc_act, double slope);

/* ---- the same operators on given values ---- */
struct kc_conv_attr {
	int64_t nd;                             /* spatial dimensions: 1, 2 or 3 */
	int64_t stride[3], pad[3], dilation[3], groups;
	int64_t size[3];                        /* of the result, where it is not implied
						 * (gradients, transposed); else 0 */
	int64_t act;                            /* enum kc_act applied by a fused kernel */
	double slope;
};
struct kc_tensor *kc_conv_op(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *w,
			     struct kc_tensor *bias_or_null, const struct kc_conv_attr *);
struct kc_tensor *kc_deconv_op(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *w,
			       struct kc_tensor *bias_or_null, const struct kc_conv_attr *,
			       const int64_t *output_padding);
/* 2-D, or 3-D with equal batches. */
struct kc_tensor *kc_matmul(struct kc_graph *, struct kc_tensor *, struct kc_tensor *);

/* ---- training step: state writers ---- */
/* 1 if every element of every input is finite, else 0; shape [1]. */
struct kc_tensor *kc_all_finite(struct kc_graph *, struct kc_tensor *const *, int n);
/* sqrt of the sum of all squares; shape [1]. */
struct kc_tensor *kc_global_norm(struct kc_graph *, struct kc_tensor *const *, int n);

/* ---- parameters and statistics by hand ---- */
/* NAME in the current scope; type, kind, fan, stride, statistic are taken from `like`. */
struct kc_tensor *kc_parameter(struct kc_model *, const char *name, const struct kc_param *like);
/* The training step stores value into p; a later call for the same p replaces an earlier one. */
void kc_model_update(struct kc_model *, struct kc_param *p, struct kc_tensor *value);

/* ---- matrix products ---- */
/* C = A B of matrices or of equally many of them; each may be read transposed. */
struct kc_matmul_attr { int64_t transpose_a, transpose_b; };
/* op(A) op(B), 2-D or batched 3-D; float32 result in bf16 plans. */
struct kc_tensor *kc_matmul_t(struct kc_graph *, struct kc_tensor *a, struct kc_tensor *b,
			      bool transpose_a, bool transpose_b);
/* x W^T + bias: x (n, in), w (out, in). */
struct kc_tensor *kc_linear_op(struct kc_graph *, struct kc_tensor *x, struct kc_tensor *w,
			       struct kc_tensor *bias_or_null);
struct kc_tensor *kc_linear(struct kc_model *, const char *name, struct kc_tensor *x, int64_t out);

/* ---- normalisations on given values; eps 1e-5; vectors have one element per channel ---- */
struct kc_tensor *kc_batch_norm_eval(struct kc_graph *, struct kc_tensor *x,
				     struct kc_tensor *weight, struct kc_tensor *bias,
				     struct kc_tensor *mean, struct kc_tensor *var);
/*
 * mean and var (biased) are those of the batch, shaped (1, C, 1, ...); over ranks, unless they are
 * NULL, of the batch of which each has a part.
 */
struct kc_tensor *kc_batch_norm_train(struct kc_graph *, struct kc_ranks *, struct kc_tensor *x,
				      struct kc_tensor *weight, struct kc_tensor *bias,
				      struct kc_tensor **mean, struct kc_tensor **var);
/* Per sample and channel; weight and bias both or neither. */
struct kc_tensor *kc_instance_norm(struct kc_graph *, struct kc_tensor *x,
				   struct kc_tensor *weight_or_null,
				   struct kc_tensor *bias_or_null);
/*
 * w / sigma with sigma = u^T W v, W being w as a matrix whose rows are dimension dim (0, or 1 for
 * transposed convolutions).  v NULL: one power iteration from u gives u and v (Miyato et al.,
 * 2018).  They are constants for the gradient.
 */
struct kc_spectral { struct kc_tensor *w, *u, *v, *sigma; };
void kc_spectral_norm(struct kc_graph *, struct kc_tensor *w, struct kc_tensor *u,
		      struct kc_tensor *v_or_null, int dim, struct kc_spectral *out);
/* gain v / |v| per element of dimension 0; gain (Cout, 1, ...). */
struct kc_tensor *kc_weight_norm(struct kc_graph *, struct kc_tensor *v, struct kc_tensor *gain);
/* x / (|x| + term) along the channels. */
struct kc_tensor *kc_l2_normalise(struct kc_graph *, struct kc_tensor *x, double term);

/* ---- pooling of the last two axes; 0 means stride k, no pad ---- */
struct kc_pool_args { int64_t k, stride, pad; bool exclude_pad; };
/* The first maximum of a window takes the gradient. */
struct kc_tensor *kc_max_pool_args(struct kc_graph *, struct kc_tensor *,
				   const struct kc_pool_args *);
#define kc_max_pool(g, x, ...) \
	kc_max_pool_args((g), (x), &(struct kc_pool_args){__VA_ARGS__})
/* Mean of the window; zeros of the padding count unless exclude_pad. */
struct kc_tensor *kc_avg_pool_args(struct kc_graph *, struct kc_tensor *,
				   const struct kc_pool_args *);
#define kc_avg_pool(g, x, ...) \
	kc_avg_pool_args((g), (x), &(struct kc_pool_args){__VA_ARGS__})
/* Means of windows floor(i in/out) .. ceil((i + 1) in/out) - 1; (1, 1) is the global mean. */
struct kc_tensor *kc_adaptive_avg_pool(struct kc_graph *, struct kc_tensor *, int64_t h, int64_t w);

/*
 * img at grid (N, H, W, 2), whose x and y in [-1, 1] span pixel centres (align_corners); outside
 * lie zeros, or the border's values.
 */
struct kc_tensor *kc_grid_sample(struct kc_graph *, struct kc_tensor *img, struct kc_tensor *grid,
				 bool border);

/* ---- colour bins ---- */
enum { KC_BINS = 313 };
/* The in-gamut ab bins of CIC, (a, b) in steps of 10, a ascending, then b. */
extern const double kc_bins_a[KC_BINS], kc_bins_b[KC_BINS];
/* A table as a value: no parameter, no gradient.  The table must outlive the plan. */
struct kc_tensor *kc_constant(struct kc_graph *, const double *table, struct kc_type);
/* ab (N, 2, ...) in Lab units -> weights (N, 313, ...) of the 10 nearest bins, sigma 5, sum 1. */
struct kc_tensor *kc_soft_encode(struct kc_graph *, struct kc_tensor *ab);
/* ab / 110 -> index ia * 23 + ib of the 529 bins of IDC, (N, ...) of int32. */
struct kc_tensor *kc_hard_encode(struct kc_graph *, struct kc_tensor *ab);
/* Annealed mean of logits (N, 313, ...): ab in Lab units (CIC, section 2.3). */
struct kc_tensor *kc_annealed_mean(struct kc_graph *, struct kc_tensor *logits, double temperature);

/* ---- recurrent cells and attention, on given values ---- */
/* torch.nn.LSTM: gates i, f, g, o; h and c are replaced. */
struct kc_lstm { struct kc_tensor *w_ih, *w_hh, *b_ih, *b_hh; };
void kc_lstm_step(struct kc_graph *, const struct kc_lstm *, struct kc_tensor *x,
		  struct kc_tensor **h, struct kc_tensor **c);
/*
 * Convolutional LSTM (Lai et al., 2018): gates i, f, o, g from a same-padded convolution of
 * (x, h).
 */
void kc_conv_lstm_step(struct kc_graph *, struct kc_tensor *w, struct kc_tensor *bias,
		       struct kc_tensor *x, struct kc_tensor **h, struct kc_tensor **c);
/* gain * attention(x) + x over all positions; q, k, v are 1x1 convolutions (SAGAN). */
struct kc_attention { struct kc_tensor *wq, *bq, *wk, *bk, *wv, *bv, *gain; };
struct kc_tensor *kc_self_attention(struct kc_graph *, const struct kc_attention *,
				    struct kc_tensor *x);

#endif
