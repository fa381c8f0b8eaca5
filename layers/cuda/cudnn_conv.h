/*
 * Convolutions as cuDNN runs them: what there is to run (a signature), the forms in which it can
 * be put to the library, and which form and engine is taken.
 *
 * Without anything to time with, the first guess of the library's heuristics is taken, and engines
 * that are compiled at run time only where there is no other: each takes 0.8 s at every start.
 * A timed one must save a tenth of a millisecond.
 */
#ifndef KC_LAYERS_CUDA_CUDNN_CONV_H
#define KC_LAYERS_CUDA_CUDNN_CONV_H

#include "core/device.h"
#include "layers/cuda/cudnn.h"

/*
 * A convolution or one of its gradients.  x, w, y are those of the forward one; x and y lie
 * channels-last, w Cout, window, Cin/groups.  Zero what is not used: signatures are compared.
 *
 * Of channels that are no multiple of 8 nearly every bf16 engine of 9.19 makes a padded copy in
 * its workspace (196 channels, batch 4, 256x256: 106 MB; 200: none); those that make none use no
 * tensor cores.  A padded distance between pixels alone does not help: the padded count must be
 * what the library is told.  So images with pads (core/pass_pitch.c) count these as channels here,
 * and weights and bias have zeros for them.
 */
struct kc_cudnn_conv {
	int64_t pass;                   /* enum kc_cudnn_pass */
	int64_t nd;                     /* spatial dimensions: 2 or 3 */
	int64_t x[5], w[5], y[5];       /* N, C, (T,) H, W; Cout, Cin/groups, window */
	int64_t stride[3], pad[3], dilation[3], groups;
	int64_t in, out;                /* dtype of the two factors, and of the result */
	int64_t bias;                   /* 1: one is added to the result */
	int64_t act;                    /* enum kc_act, behind the bias */
	double slope;
	int64_t tf32;                   /* factors may be rounded to TF32; else nothing is lost, not
					 * by Winograd's or Fourier's ways either */
	int64_t deterministic;
};

/*
 * Forms.  Engines that are not compiled at run time exist only where factors and result have the
 * same dtype, bias is of that dtype, and the activation is a plain ReLU (of forward ones).
 */
enum kc_cudnn_form {
	KC_FORM_DIRECT, /* the convolution alone; bias and activation follow in place */
	KC_FORM_FUSED,  /* with bias (of the factors' dtype) and activation */
	KC_FORM_WIDE,   /* bf16 factors are widened to float32, exactly; float32 result.  Products
			 * of widened factors are exact in TF32, too. */
	KC_FORM_INNER,  /* float32 result of bf16 factors: sums stay inside the library's kernel;
			 * weight gradients are added to zeros that the caller provides */
	KC_FORM_LOW,    /* bf16 result, to be widened afterwards: weight gradients */
	KC_FORMS
};

struct kc_cudnn_choice {
	int64_t form;
	struct kc_cudnn_config config;
	int64_t workspace;              /* bytes of the plan */
	double seconds;                 /* measured; 0: not timed */
};

enum { KC_CUDNN_CHANNELS = 8 }; /* what they had better be a multiple of in bf16 */

/* Of a step of kc_op_conv, kc_op_conv_dgrad or kc_op_conv_wgrad, whatever the order of its
 * elements.  One spatial dimension is a second one behind a first of size 1.  But for groups, pads
 * are channels; behind an activation that would not leave them zeros, bias and activation are left
 * to the caller.  A float32 result of a forward bf16 one (1 to 4 channels of chroma, flow, masks)
 * has 8 channels, to be cut: 128 to 2 channels, batch 8, 256x256 takes 273 MB of workspace and no
 * tensor cores, 128 to 8 neither. */
void kc_cudnn_conv_of(struct kc_cudnn_conv *, const struct kc_step_info *, bool tf32);

enum { KC_CUDNN_KEY = 400 };

/* "fprop 2d x8,128,64,64 w...": equal texts are equal signatures; room for KC_CUDNN_KEY. */
void kc_cudnn_conv_key(const struct kc_cudnn_conv *, char *key);

/*
 * Addresses in order: the two factors (x, w; of a data gradient gy, w; of a weight gradient x,
 * gy), the bias of KC_FORM_FUSED, the zeros of a weight gradient in KC_FORM_INNER, the result.
 */
int kc_cudnn_conv_plan(struct kc_cudnn_plan **, struct kc_cudnn *, const struct kc_cudnn_conv *,
		       const struct kc_cudnn_choice *);

/* How far the search goes.  FIRST and MANY fall back to what is compiled at run time. */
enum kc_cudnn_effort {
	KC_CUDNN_FIRST,         /* the best guess of every form */
	KC_CUDNN_MANY,          /* up to KC_CUDNN_TRIES of every form */
	KC_CUDNN_COMPILED       /* the best guess that is compiled at run time: not built yet */
};

/* What can be run, best guess first, each tried by building its plan; how many. */
enum { KC_CUDNN_TRIES = 8, KC_CUDNN_CANDIDATES = KC_FORMS * KC_CUDNN_TRIES };
int kc_cudnn_conv_candidates(struct kc_cudnn *, const struct kc_cudnn_conv *,
			     enum kc_cudnn_effort, struct kc_cudnn_choice to[KC_CUDNN_CANDIDATES]);

/*
 * Seconds that choosing may still take, in all; of these, for what is compiled at run time, and
 * for convolutions that take less than `below`: a network's small layers come first, its large
 * ones are worth more.
 */
struct kc_cudnn_budget { double timing, compiling, small, below; };

struct kc_cudnn_timer {
	/*
	 * Seconds of one run of the candidate; what goes with its form (bias kernel, widening)
	 * counts.  *seconds: those of the fastest so far, or 0: one that is clearly slower need
	 * not be timed well.  seconds NULL: only runs it.  KC_ENOMEM: no memory to try.
	 */
	int (*time)(void *own, const struct kc_cudnn_conv *, const struct kc_cudnn_choice *,
		    struct kc_cudnn_plan *, double *seconds);
	void *own;
	struct kc_cudnn_budget *budget; /* NULL: the best guess that runs */
};

struct kc_cudnn_cache;

/*
 * The choice of the cache if it has one that can be built; else the fastest by the timer while its
 * budget lasts, or the best guess that runs, which the cache then keeps; without a timer the best
 * guess.  cache and timer may be NULL.  A guess that stands for a timed choice is not kept.
 * KC_ENOSUP when nothing can be run.
 */
int kc_cudnn_conv_choose(struct kc_cudnn *, const struct kc_cudnn_conv *, struct kc_cudnn_cache *,
			 const struct kc_cudnn_timer *, struct kc_cudnn_choice *,
			 struct kc_cudnn_plan **);

#endif
