/*
 * The folder of a run:
 *
 *	experiments/<name>/
 *		config.yml              the resolved configuration
 *		train_<name>_<time>.log, metrics.jsonl
 *		models/  training_state/  val_images/
 *	tb_logger/<name>/
 *
 * A name that is taken is never overwritten: a new run archives the older folders as
 * <name>_archived_<time>.
 */
#ifndef KC_TRAIN_EXPERIMENT_H
#define KC_TRAIN_EXPERIMENT_H

#include "train/config.h"

struct kc_experiment {
	char *dir, *models, *states, *images, *tensorboard;
};

/* The paths alone: nothing is made or moved (to look for a state to resume from). */
int kc_experiment_init(struct kc_experiment *, const struct kc_config *);

/*
 * Makes the folders and writes config.yml.  Without `resuming`, folders of that name are
 * archived first; *archived is then the new path of the older run (the caller frees), else
 * NULL.  When a resumed run's configuration differs, the older file is kept as
 * config_<time>.yml.  On several ranks rank 0 alone calls this.  Weights that the
 * configuration takes from an older run of the same name must be loaded before.
 */
int kc_experiment_make(const struct kc_experiment *, const struct kc_config *, bool resuming,
		       char **archived);

void kc_experiment_release(struct kc_experiment *);

#endif
