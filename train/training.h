/*
 * The training step as one plan: network and losses of a recipe, gradients, their norm and the
 * finite test, optimizer, averages, running statistics.
 *
 *	kc_training_open      builds graph, parameters and plan; nothing is trained yet
 *	kc_training_step      one batch: forward, backward, update
 *
 * With optimizer.accumulate k > 1 there are two plans: one adds gradients into the store and is
 * run k times, the other updates from there.
 */
#ifndef KC_TRAIN_TRAINING_H
#define KC_TRAIN_TRAINING_H

#include "core/plan.h"
#include "data/loader.h"
#include "layers/layers.h"
#include "train/config.h"

enum { KC_MAX_TERMS = 12 };

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

struct kc_training {
	const struct kc_config *config;
	const struct kc_recipe *recipe;
	struct kc_device *device;
	bool low;                       /* bf16 where it may be */

	struct kc_params *params;
	struct kc_graph *graph;
	struct kc_model model;

	/* Inputs that recipes share. */
	struct kc_tensor *frames;       /* uint8 [n * batch,3,H,W], frame-major */
	struct kc_tensor *flows;        /* [pairs * batch,2,H,W], pair-major; NULL: none are fed */
	struct kc_tensor *hint, *mask;  /* simulated: [batch,2,H,W], ab / 110, and [batch,1,H,W] */
	struct kc_tensor *ab;           /* true colour, where prepare computes it */
	struct kc_plan *prepare;        /* runs before a batch is fed; or NULL */
	int window;                     /* frames n */
	struct kc_loader_pair *pairs;
	int n_pairs;

	struct kc_tensor *loss;
	struct kc_term terms[KC_MAX_TERMS];
	int n_terms;
	double grad_norm;
	bool finite;                    /* the last step was, and has been applied */

	/* Inside. */
	struct kc_tensor *norm, *all_finite, *hyper;
	struct kc_tensor *batch_finite; /* of one accumulation; NULL without them */
	char *statistics;               /* running ones, as they were before the step; or NULL */
	struct kc_plan *plan;           /* the whole step, or one accumulation of it */
	struct kc_plan *update;         /* NULL unless gradients are accumulated */
	struct kc_graph *update_graph;
	bool profile;
	FILE *trace;
};

/*
 * Parameters are laid out and zero; the caller initialises or loads them, then steps.  config,
 * device and everything in them are borrowed until close.
 */
int kc_training_open(struct kc_training *, const struct kc_config *, struct kc_device *);
void kc_training_close(struct kc_training *);

/*
 * One optimizer step from optimizer.accumulate batches, which next(own) hands out one by one.
 * lr is the rate; update counts the updates from 1.  A step with a non-finite loss or gradient
 * changes nothing: t->finite is false then.
 */
int kc_training_step(struct kc_training *, double lr, int64_t update,
		     int (*next)(void *own, const struct kc_batch **), void *own);

/* Zeroes the optimizer's moments and its count of updates (train.clear_state). */
void kc_training_forget(struct kc_training *, int64_t *updates);

/* Bytes and FLOPs of a step. */
void kc_training_stats(const struct kc_training *, struct kc_plan_stats *);

/* The recipe of a configuration; never NULL. */
const struct kc_recipe *kc_recipe_of(const struct kc_config *);

/* For recipes: adds a named term; to the loss as well when weight is not 0. */
void kc_training_term(struct kc_training *, const char *name, struct kc_tensor *, double weight);
/* For recipes: the frames as l = (L - 50) / 100 and ab / 110, [n * batch,1|2,H,W]. */
void kc_training_lab(struct kc_training *, struct kc_tensor **l, struct kc_tensor **ab);

#endif
