/*
 * State writers of a training step: the optimizer, running statistics, accumulated gradients.
 *
 * They are nodes like any others; fetch them so that a plan runs them.  They run after
 * everything else in the plan has read the parameters.  Each returns a value of shape [1]:
 * 1 where it wrote, 0 where `finite` forbade it.
 */
#ifndef KC_LAYERS_OPTIM_H
#define KC_LAYERS_OPTIM_H

#include "core/graph.h"
#include "core/param.h"

/* As torch.optim.SGD, Adam and AdamW, operation by operation in the store's dtype. */
enum kc_optimizer { KC_SGD, KC_ADAM, KC_ADAMW };

struct kc_optimizer_args {
	enum kc_optimizer kind;
	double beta1, beta2, eps;       /* of ADAM and ADAMW */
	bool amsgrad;                   /* needs kc_params_alloc_max */
	double momentum;                /* of SGD */
	bool nesterov;
	double weight_decay;            /* decoupled for ADAMW, else added to the gradient */
	double ema_decay;               /* ema = decay ema + (1 - decay) master; 0: no average */
};

/* Elements of the input that the host feeds before every step: KC_F64, KC_HYPER_COUNT of them. */
enum { KC_HYPER_LR, KC_HYPER_STEP /* 1 for the first update */, KC_HYPER_COUNT };

/*
 * Updates master, moments and average of params[i] with the gradient grads[i], i < n.
 * scale, of shape [1], multiplies the gradients first (kc_clip_factor); finite, of shape [1]:
 * where it is 0 nothing is written.  Either may be NULL.  The store's moments must be allocated
 * before the plan runs (SGD without momentum needs none).
 */
struct kc_tensor *kc_optimizer_step(struct kc_graph *, struct kc_params *,
				    const struct kc_optimizer_args *,
				    struct kc_tensor *const *grads, struct kc_param *const *params,
				    int n, struct kc_tensor *hyper, struct kc_tensor *scale,
				    struct kc_tensor *finite);

/* min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_. */
struct kc_tensor *kc_clip_factor(struct kc_graph *, struct kc_tensor *norm, double max_norm);

/* Writes the value into the parameter: running statistics.  finite may be NULL. */
struct kc_tensor *kc_assign(struct kc_graph *, struct kc_param *, struct kc_tensor *value,
			    struct kc_tensor *finite);

/* Adds gradients to the store's gradient array, which the host zeroes... */
struct kc_tensor *kc_accumulate(struct kc_graph *, struct kc_params *,
				struct kc_tensor *const *grads, struct kc_param *const *params,
				int n);
/* ... and the gradient that is stored there, as a value of another plan. */
struct kc_tensor *kc_stored_gradient(struct kc_graph *, struct kc_param *);

#endif
