#include "train/experiment.h"

#include "core/file.h"
#include "train/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES = 1 << 20 };

/* Where the run lies; without a slash at the end, so that a suffix makes a sister of it. */
static char *run_folder(const struct kc_config *c, const char *root)
{
	char *dir = c->path.experiments_root ? kc_strdup(c->path.experiments_root)
		  : kc_format("%s/experiments/%s", root, c->name);
	size_t n = dir ? strlen(dir) : 0;

	while (n > 1 && dir[n - 1] == '/')
		dir[--n] = '\0';
	return dir;
}

int kc_experiment_init(struct kc_experiment *e, const struct kc_config *c)
{
	const char *root = c->path.root ? c->path.root : ".";

	e->dir = run_folder(c, root);
	e->models = e->dir ? kc_format("%s/models", e->dir) : NULL;
	e->states = e->dir ? kc_format("%s/training_state", e->dir) : NULL;
	e->images = e->dir ? kc_format("%s/val_images", e->dir) : NULL;
	e->tensorboard = kc_format("%s/tb_logger/%s", root, c->name);
	if (e->models && e->states && e->images && e->tensorboard)
		return 0;
	kc_experiment_release(e);
	return KC_ENOMEM;
}

void kc_experiment_release(struct kc_experiment *e)
{
	free(e->dir);
	free(e->models);
	free(e->states);
	free(e->images);
	free(e->tensorboard);
	*e = (struct kc_experiment){0};
}

/* Moves it aside; two archives within one second get different names. */
static int archive(const char *dir, char **archived)
{
	char stamp[16], *to = NULL;

	kc_time_stamp(stamp);
	for (int i = 1; !to; i++) {
		to = i == 1 ? kc_format("%s_archived_%s", dir, stamp)
			    : kc_format("%s_archived_%s_%d", dir, stamp, i);
		if (!to)
			return KC_ENOMEM;
		if (kc_dir_exists(to) || kc_file_exists(to)) {
			free(to);
			to = NULL;
		}
	}
	if (rename(dir, to) < 0) {
		KC_FAIL(KC_EIO, "%s: cannot archive as %s: %s", dir, to, strerror(errno));
		free(to);
		return KC_EIO;
	}
	*archived = to;
	return 0;
}

static int archive_older(const struct kc_experiment *e, char **archived)
{
	char *events = NULL;

	if (kc_dir_exists(e->dir))
		KC_TRY(archive(e->dir, archived));
	if (kc_dir_exists(e->tensorboard))
		KC_TRY(archive(e->tensorboard, &events));
	free(events);
	return 0;
}

static int config_text(const struct kc_config *c, char **text, size_t *n)
{
	FILE *out = open_memstream(text, n);
	int rc;

	if (!out)
		return KC_FAIL(KC_ENOMEM, "out of memory");
	fprintf(out, "# Resolved configuration, hash %016llx\n",
		(unsigned long long)kc_config_hash(c));
	rc = kc_config_dump(c, out);
	if (fclose(out) != 0 && rc == 0)
		rc = KC_FAIL(KC_ENOMEM, "out of memory");
	if (rc < 0) {
		free(*text);
		*text = NULL;
	}
	return rc;
}

/* Keeps the older file aside when it says something else. */
static int keep_older(const struct kc_experiment *e, const char *path, const char *text, size_t n)
{
	char stamp[16], *aside, *old;
	size_t size;
	bool same;
	int rc;

	if (!kc_file_exists(path))
		return 0;
	KC_TRY(kc_file_read(path, CONFIG_BYTES, &old, &size));
	same = size == n && memcmp(old, text, n) == 0;
	kc_time_stamp(stamp);
	aside = kc_format("%s/config_%s.yml", e->dir, stamp);
	rc = !aside ? KC_ENOMEM : same ? 0 : kc_file_write(aside, old, size);
	free(aside);
	free(old);
	return rc;
}

static int write_config(const struct kc_experiment *e, const struct kc_config *c)
{
	char *text = NULL, *path = kc_format("%s/config.yml", e->dir);
	size_t n = 0;
	int rc = path ? config_text(c, &text, &n) : KC_ENOMEM;

	if (rc == 0)
		rc = keep_older(e, path, text, n);
	if (rc == 0)
		rc = kc_file_write(path, text, n);
	free(text);
	free(path);
	return rc;
}

static int make_folders(const struct kc_experiment *e)
{
	KC_TRY(kc_dir_make(e->models));
	KC_TRY(kc_dir_make(e->states));
	return kc_dir_make(e->images);
}

int kc_experiment_make(const struct kc_experiment *e, const struct kc_config *c, bool resuming,
		       char **archived)
{
	int rc;

	*archived = NULL;
	rc = resuming ? 0 : archive_older(e, archived);
	if (rc == 0)
		rc = make_folders(e);
	if (rc == 0)
		rc = write_config(e, c);
	if (rc < 0) {
		free(*archived);
		*archived = NULL;
	}
	return rc;
}
