#include "train/ranks.h"

#include "core/file.h"
#include "core/hash.h"
#include "layers/devices.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- comparing ---- */

/* The program is compared by its bytes: source, compiler and options at once. */
static int print_program(struct kc_run *r, FILE *f)
{
	static const size_t most = (size_t)1 << 30;
	char *data;
	size_t size;

	(void)r;
	KC_TRY(kc_file_read("/proc/self/exe", most, &data, &size));
	fprintf(f, "%016" PRIx64, kc_hash64(data, size, 0));
	free(data);
	return 0;
}

static int print_settings(struct kc_run *r, FILE *f)
{
	return kc_config_dump(r->config, f);
}

static int print_machine(struct kc_run *r, FILE *f)
{
	fprintf(f, "%s", kc_device_describe(&r->device));
	return 0;
}

static int print_plans(struct kc_run *r, FILE *f)
{
	for (int i = 0; i < KC_STAGES; i++) {
		if (r->training.stage[i].plan)
			kc_plan_outline(r->training.stage[i].plan, f);
		if (r->training.stage[i].update)
			kc_plan_outline(r->training.stage[i].update, f);
	}
	return 0;
}

static int print_params(struct kc_run *r, FILE *f)
{
	for (int k = 0; k < KC_TRAINEES; k++) {
		struct kc_params *s = r->training.trainee[k].params;

		if (!s)
			continue;
		KC_TRY(kc_params_to_host(s));
		for (int i = 0; i < KC_PARAM_ARRAYS; i++) {
			const void *array = kc_params_array(s, (enum kc_param_array)i);
			size_t n = kc_params_length(s, (enum kc_param_array)i);

			if (array && i != KC_ARRAY_GRAD)
				fprintf(f, "network %d, array %d: %016" PRIx64 "\n", k, i,
					kc_hash64(array, n * kc_dtype_size(s->dtype), 0));
		}
	}
	return 0;
}

/* What `print` writes must be the same on every rank. */
static int compare(struct kc_run *r, const char *what, int (*print)(struct kc_run *, FILE *))
{
	char *text = NULL;
	size_t size;
	FILE *f;
	int rc;

	if (r->ranks->size == 1)
		return 0;
	f = open_memstream(&text, &size);
	rc = f ? print(r, f) : KC_FAIL(KC_ENOMEM, "out of memory");
	if (f)
		fclose(f);
	rc = kc_ranks_agree(r->ranks, rc);
	if (!rc)
		rc = kc_ranks_compare(r->ranks, what, text);
	free(text);
	return rc;
}

int kc_run_compare_settings(struct kc_run *r)
{
	KC_TRY(compare(r, "settings", print_settings));
	return compare(r, "programs", print_program);
}

int kc_run_compare_plans(struct kc_run *r)
{
	KC_TRY(compare(r, "machines", print_machine));
	return compare(r, "plans", print_plans);
}

int kc_run_compare_params(struct kc_run *r)
{
	int rc = compare(r, "parameters", print_params);

	return rc == KC_ECONFIG ? kc_cause(KC_EBACKEND, "iteration %lld",
					   (long long)r->progress.iter)
				: rc;
}

/* ---- sharing ---- */

static int share_array(struct kc_run *r, struct kc_params *s, enum kc_param_array which)
{
	void *array = kc_params_array(s, which);

	return array ? kc_ranks_broadcast(r->ranks, array, kc_params_length(s, which) *
								   kc_dtype_size(s->dtype))
		     : 0;
}

static int share_params(struct kc_run *r, struct kc_params *s, bool moments)
{
	KC_TRY(kc_params_to_host(s));
	for (int i = 0; i < KC_PARAM_ARRAYS; i++)
		if (i == KC_ARRAY_MASTER || i == KC_ARRAY_EMA || (moments && i != KC_ARRAY_GRAD))
			KC_TRY(share_array(r, s, (enum kc_param_array)i));
	for (size_t i = 0; i < s->n; i++)
		kc_param_changed(s->v[i]);
	return 0;
}

int kc_run_share(struct kc_run *r, bool *resumed)
{
	if (r->ranks->size == 1)
		return 0;
	KC_TRY(kc_ranks_broadcast(r->ranks, resumed, sizeof *resumed));
	KC_TRY(kc_ranks_broadcast(r->ranks, &r->progress, sizeof r->progress));
	KC_TRY(kc_ranks_broadcast(r->ranks, &r->saved_iter, sizeof r->saved_iter));
	for (int k = 0; k < KC_TRAINEES; k++)
		if (r->training.trainee[k].params)
			KC_TRY(share_params(r, r->training.trainee[k].params, *resumed));
	return 0;
}

/* ---- telling ---- */

static char *join_lines(const struct kc_run *r)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < r->said.n; i++)
		fprintf(f, "rank %d: %s\n", r->ranks->rank, r->said.v[i]);
	fclose(f);
	return text;
}

static void say_lines(struct kc_run *r, char *text)
{
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		kc_log_say(&r->log, "%s", line);
	}
}

int kc_run_gather_lines(struct kc_run *r)
{
	char *mine, *all;
	int rc;

	if (r->ranks->size == 1)
		return 0;
	mine = join_lines(r);
	if (!mine)
		return KC_FAIL(KC_ENOMEM, "out of memory");
	rc = kc_ranks_gather(r->ranks, mine, &all);
	if (!rc && all)
		say_lines(r, all);
	free(all);
	free(mine);
	kc_names_free(&r->said);
	r->said = (struct kc_names){0};
	return rc;
}
