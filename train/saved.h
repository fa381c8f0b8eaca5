/*
 * Between the parameter store and checkpoint files: what of a training run is saved, and how
 * it comes back.  A model file holds every parameter but FlowNet 2.0's (which never changes
 * and is 650 MB); the state file holds moments, EMA and counters.  A discriminator has a model
 * file of its own, and its moments are in the same state file.
 */
#ifndef KC_TRAIN_SAVED_H
#define KC_TRAIN_SAVED_H

#include "core/param.h"
#include "weights/checkpoint.h"

/* Where a run stands between two steps. */
struct kc_progress {
	int64_t iter;                   /* steps done */
	int64_t cursor;                 /* next batch of the stream */
	int64_t epoch;
	int64_t updates;                /* optimizer updates done: its bias correction */
	int64_t updates_d;              /* the same of the discriminator */
	int64_t nan_total, nan_row;     /* non-finite steps in all, and in a row up to now */
};

struct kc_save_args {
	const char *dir;                /* experiments/<name> */
	const char *network;            /* name of the model, into the file */
	double width, mask_cent;        /* of the network: whoever runs it needs them */
	double temperature;             /* of its annealed mean; 0: it has none */
	const char *key_net;            /* of TCVC, "siggraph17" or "eccv16"; else NULL */
	uint64_t config_hash;
	int64_t seed;
	struct kc_params *rival;        /* the discriminator, saved and loaded too; or NULL */
	struct kc_retention retention;
};

int kc_progress_save(const struct kc_save_args *, struct kc_params *,
		     const struct kc_progress *);

/*
 * The checkpoint of an iteration, or the newest valid one below dir (iter -1), into the store.
 * Refuses one of another configuration hash (KC_ECONFIG).  refused gets the messages of damaged
 * checkpoints that were passed over.  KC_ENOENT when there is none.
 */
int kc_progress_load(const struct kc_save_args *, int64_t iter, struct kc_params *,
		     struct kc_progress *, struct kc_names *refused);

#endif
