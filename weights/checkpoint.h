/*
 * Training checkpoints on disk.
 *
 *	<dir>/models/<iter>_<suffix>.safetensors     parameters of one network ("G", "D")
 *	<dir>/training_state/<iter>.state            optimizer state, EMA, counters
 *
 * All are sealed safetensors (weights/seal.h).  The state file is written last and holds
 * the digest of every model file, so it is the checkpoint's commit record: a checkpoint is
 * valid when its state and all the models that state names are whole, of the same
 * iteration and run, and have those digests.  A kill at any moment leaves the previous
 * checkpoint valid, and what it left of the new one is not.
 */
#ifndef KC_WEIGHTS_CHECKPOINT_H
#define KC_WEIGHTS_CHECKPOINT_H

#include "weights/safetensors.h"

/* A counter or setting to be found again: exactly one of the three kinds. */
enum kc_note_kind { KC_NOTE_INT, KC_NOTE_REAL, KC_NOTE_TEXT };

struct kc_note {
	const char *name;               /* "epoch", "seed", "build" */
	enum kc_note_kind kind;
	int64_t integer;
	double real;                    /* kept exactly */
	const char *text;
};

struct kc_checkpoint_part {
	const char *suffix;             /* 1 to 16 letters and digits; NULL for the state */
	const struct kc_st_item *items;
	size_t n;
};

struct kc_checkpoint {
	int64_t iter;                   /* >= 0 */
	const char *run;                /* identifies the run; stays the same when it is resumed */
	const struct kc_checkpoint_part *models;
	size_t n_models;
	struct kc_checkpoint_part state;
	const struct kc_note *notes;    /* counters: into the state file */
	size_t n_notes;
	const struct kc_st_pair *about; /* model, width, config hash, licence, provenance: into */
	size_t n_about;                 /* every model file; keys other than "iter" and "run" */
};

/* Which older checkpoints stay. */
struct kc_retention {
	int64_t keep;                   /* the newest ones; 0: all */
	int64_t milestone;              /* and every iteration divisible by this; 0: none */
	int64_t best;                   /* and this iteration; 0: none */
};

/*
 * Writes a checkpoint, then deletes older ones that retention does not keep (never newer
 * ones, left over from another continuation).  Nothing is written when the disk cannot hold
 * all of it (KC_EIO) or a float tensor holds a non-finite value (KC_ENUMERIC, names tensor
 * and element).  On failure the earlier checkpoints are as they were; a failure to delete
 * is reported too, though the new checkpoint is whole then.  Saving an iteration again
 * replaces it, and during that time alone only the other ones are certain.
 */
int kc_checkpoint_save(const char *dir, const struct kc_checkpoint *, const struct kc_retention *);

/* A checkpoint opened for reading; everything borrowed from it lives until close. */
struct kc_saved {
	int64_t iter;
	struct kc_st state;
	struct kc_saved_model {
		char *suffix;
		struct kc_st file;
	} *models;
	size_t n_models;
};

/* Opens and checks the checkpoint of one iteration.  KC_ENOENT, KC_EFORMAT, ... */
int kc_checkpoint_open(const char *dir, int64_t iter, struct kc_saved *);

/*
 * Opens the newest valid checkpoint.  refused receives one message for every newer one that
 * was passed over; the caller prints and frees it (kc_names_free), whatever is returned.
 * KC_ENOENT when there are no checkpoints, KC_EFORMAT when none of them is valid.
 */
int kc_checkpoint_latest(const char *dir, struct kc_saved *, struct kc_names *refused);
void kc_saved_close(struct kc_saved *);

const struct kc_st *kc_saved_model(const struct kc_saved *, const char *suffix);  /* or NULL */

/* Values of notes; KC_ENOENT when absent, KC_EFORMAT when of another kind. */
int kc_saved_int(const struct kc_saved *, const char *name, int64_t *);
int kc_saved_real(const struct kc_saved *, const char *name, double *);
const char *kc_saved_text(const struct kc_saved *, const char *name);             /* or NULL */
const char *kc_saved_run(const struct kc_saved *);

#endif
