/*
 * The training step as one plan: network and losses of a recipe, gradients, their norm and the
 * finite test, optimizer, averages, running statistics.
 *
 *	kc_training_open      builds graph, parameters and plan; nothing is trained yet
 *	kc_training_step      one batch: forward, backward, update
 *
 * With optimizer.accumulate k > 1 there are two plans: one adds gradients into the store and is
 * run k times, the other updates from there.
 *
 * A step may train two networks, each with a store, an optimizer and a rate of its own; which of
 * them it trains is its stage.  The second is the discriminator of train/adversary.h.
 */
#ifndef KC_TRAIN_TRAINING_H
#define KC_TRAIN_TRAINING_H

#include "core/plan.h"
#include "data/loader.h"
#include "layers/layers.h"
#include "layers/optim.h"
#include "train/config.h"

enum { KC_MAX_TERMS = 24, KC_MAX_REMARKS = 4 };

struct kc_training;

/* What is trained, and on what: train/recipe_*.c, one line each in train/recipes.c. */
struct kc_recipe {
	const char *name;
	const char *network;            /* goes into the model files */
	/* What the loader must give; pairs are owned by the recipe's memory in t. */
	int (*samples)(struct kc_training *, struct kc_loader_opts *);
	/* Builds inputs, network and losses: fills t->loss and t->terms. */
	int (*build)(struct kc_training *);
	/* After the plans were built: what else feed needs; may be NULL. */
	int (*open)(struct kc_training *);
	/* Writes one batch, which is the index-th of the stream, into the plan's slots. */
	int (*feed)(struct kc_training *, struct kc_plan *, const struct kc_batch *);
};

/* A scalar of the log line. */
struct kc_term {
	const char *name;               /* "l_pix", "warp_loss" */
	struct kc_tensor *value;
	double last;                    /* of the last step */
};

enum kc_trainee_name { KC_GENERATOR, KC_DISCRIMINATOR, KC_TRAINEES };

/* A network that is trained, and how. */
struct kc_trainee {
	struct kc_params *params;
	struct kc_model *model;         /* whose updates of statistics the step stores */
	struct kc_optimizer_args optimizer;
	double clip_norm;               /* 0: its gradient is not clipped */
};

/* A kind of step, compiled. */
struct kc_stage {
	struct kc_tensor *loss[KC_TRAINEES];    /* NULL: that network is not trained */
	int n_terms;                    /* the first so many of the terms are read */
	struct kc_tensor *term[KC_MAX_TERMS];
	struct kc_plan *plan;           /* the whole step, or one accumulation of it */
	struct kc_plan *update;         /* NULL unless gradients are accumulated */
	struct kc_graph *update_graph;
	struct kc_tensor *hyper[KC_TRAINEES], *norm[KC_TRAINEES];
	struct kc_tensor *all_finite;   /* one non-finite loss or gradient stops every write */
	struct kc_tensor *batch_finite; /* of one accumulation; NULL without them */
};

/* The generator without an adversary; both; the discriminator. */
enum kc_stage_name { KC_STAGE_ALONE, KC_STAGE_BOTH, KC_STAGE_DISCRIMINATOR, KC_STAGES };

struct kc_adversary;

struct kc_training {
	const struct kc_config *config;
	const struct kc_recipe *recipe;
	struct kc_device *device;
	struct kc_ranks *ranks;         /* NULL: alone */
	int64_t batch;                  /* samples of a batch on this rank */
	bool low;                       /* bf16 where it may be */

	struct kc_params *params;
	struct kc_graph *graph;
	struct kc_model model;

	/* Values that recipes share: inputs, or made from these. */
	struct kc_tensor *frames;       /* uint8 [n * batch,3,H,W], frame-major */
	struct kc_tensor *flows;        /* [pairs * batch,2,H,W], pair-major; NULL: none are fed */
	/*
	 * What is fed for them: they themselves (width 0), or frames of that size, stored flows,
	 * and the table of what is cut out of these (train/crops.h).  NULL: not fed.
	 */
	struct { int width, height; struct kc_tensor *frames, *flows, *cuts; } fed;
	struct kc_tensor *hint, *mask;  /* simulated: [batch,2,H,W], ab / 110, and [batch,1,H,W] */
	struct kc_tensor *histogram, *saturation;       /* of models/global.h; or NULL */
	struct kc_tensor *keep;         /* [batch,1,1,1]: 0 for images without loss; or NULL */
	struct kc_tensor *n_kept;       /* their number, at least 1, over that of the ranks */
	struct kc_tensor *ab;           /* true colour, where prepare computes it */
	struct kc_plan *prepare;        /* runs before a batch is fed; or NULL */
	struct kc_device host;          /* of prepare, where device has memory of its own */
	int window;                     /* frames n */
	struct kc_loader_pair *pairs;
	int n_pairs;
	double *factors;                /* of the 313 bins in the class loss; or NULL */
	const char *remark[KC_MAX_REMARKS];     /* for the log */
	int n_remarks;

	/* What the generator made and should have made, for the adversary. */
	struct { struct kc_tensor *l, *ab, *truth; int frames; } output;
	struct kc_adversary *adversary; /* NULL: none */

	struct kc_tensor *loss;
	struct kc_term terms[KC_MAX_TERMS];
	int n_terms;
	int n_logged;                   /* the first so many terms are of the last step */
	double grad_norm;
	bool finite;                    /* the last step was, and has been applied */
	int applied[KC_TRAINEES];       /* updates that it made */
	bool torn;                      /* it failed, and may have changed parameters before */
	double starved;                 /* seconds of it that a device with memory of its own had
					 * nothing to do for want of data */

	/* Inside. */
	int channels;                   /* of the ranks, before there were any of its own */
	struct kc_trainee trainee[KC_TRAINEES];
	int n_trainees;
	struct kc_stage stage[KC_STAGES];
	/* A batch taken before its step, and the stage whose plan it was fed to; or NULL. */
	struct { const struct kc_batch *batch; const struct kc_stage *stage; } ahead;
	char *statistics;               /* running ones, as they were before the step; or NULL */
	bool profile;
	FILE *trace;
};

/*
 * Parameters are laid out and zero; the caller initialises or loads them, then steps.  config,
 * device, what t->ranks names before and everything in them are borrowed until close.
 *
 * Over several ranks each has its part of the batch; gradients, losses and what batch norm
 * computes are means over them, so norm, finite test and update give the same bits everywhere.
 */
int kc_training_open(struct kc_training *, const struct kc_config *, struct kc_device *);
void kc_training_close(struct kc_training *);

struct kc_step_args {
	int64_t iter;                   /* number of the step, from 1 */
	double lr[KC_TRAINEES];         /* rates */
	int64_t updates[KC_TRAINEES];   /* made before this step */
	bool last;                      /* no step comes behind it */
	/*
	 * Hands out batches one by one, each for as long as the next one is not used.  On a device
	 * with memory of its own the first of the next step is asked for while this one runs; then
	 * an error is not told, but asked for again.
	 */
	int (*next)(void *own, const struct kc_batch **);
	/* Before the run that a batch is for; or NULL. */
	void (*use)(void *own, const struct kc_batch *);
	/* Whether next has one; may wait a moment.  NULL: always. */
	bool (*ready)(void *own);
	void *own;
};

/*
 * One optimizer step from optimizer.accumulate batches, with gan.d_steps n from n times as many.
 * A step with a non-finite loss or gradient changes nothing: t->finite is false then.  Of a step
 * that updates the discriminator several times, the updates before that stay.  So they do behind
 * an error: t->torn tells then that the parameters belong to no whole step.
 */
int kc_training_step(struct kc_training *, const struct kc_step_args *);

/* Zeroes the moments of the optimizers (train.clear_state). */
int kc_training_forget(struct kc_training *);

/* The plan of the usual step, for those who print it. */
struct kc_plan *kc_training_plan(const struct kc_training *);

/* Bytes of all plans, and FLOPs of the usual step. */
void kc_training_stats(const struct kc_training *, struct kc_plan_stats *);
/* Whether the generator is trained without an adversary in the step of that number. */
bool kc_training_is_alone(const struct kc_training *, int64_t iter);
/* FLOPs of the step of that number. */
double kc_training_flops(const struct kc_training *, int64_t iter);

/* The recipe of a configuration; never NULL. */
const struct kc_recipe *kc_recipe_of(const struct kc_config *);

/* A line for the log: borrowed text. */
void kc_training_remark(struct kc_training *, const char *text);

/* For recipes, which know window and n_pairs by then: make t->frames, t->flows. */
void kc_training_frames(struct kc_training *);
void kc_training_flows(struct kc_training *);
/* Feeds what these need of a batch to a plan; what the plan does not use is left out. */
int kc_training_feed(struct kc_training *, struct kc_plan *, const struct kc_batch *);

/* For recipes: adds a named term; to the loss as well when weight is not 0. */
void kc_training_term(struct kc_training *, const char *name, struct kc_tensor *, double weight);
/* Adds a value to the log alone. */
void kc_training_show(struct kc_training *, const char *name, struct kc_tensor *);
/*
 * For recipes: hands over the output ab and its truth, both ab / 110 [n * batch,2,H,W], and the
 * luma l they belong to, [n * batch,1,H,W], frame-major with n frames of a window.
 */
void kc_training_output(struct kc_training *, struct kc_tensor *l, struct kc_tensor *ab,
			struct kc_tensor *truth, int n);
/* For recipes: the frames as l = (L - 50) / 100 and ab / 110, [n * batch,1|2,H,W]. */
void kc_training_lab(struct kc_training *, struct kc_tensor **l, struct kc_tensor **ab);

/*
 * For recipes: the factors [313] of kc_loss_rebalanced, from train.prior if that is given and
 * train.rebalance set; else all 1, and a remark says so.  Errors of kc_prior_load.
 */
int kc_training_factors(struct kc_training *, struct kc_tensor **factors);

/*
 * For recipes: adds "l_class", the cross entropy of logits [N,313,H/4,W/4] against the soft
 * encoding of every fourth pixel of ab (ab / 110, [N,2,H,W]), grey images left out, rebalanced
 * by kc_training_factors.
 */
int kc_training_classes(struct kc_training *, struct kc_tensor *logits, struct kc_tensor *ab,
			double weight);

#endif
