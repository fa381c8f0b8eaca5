#include "tests/golden_schedules.h"

#include "core/json.h"
#include "train/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST = 16 };

/* A schedule whose lists lie beside it. */
struct fixture {
	struct kc_schedule s;
	int64_t steps[LIST], restarts[LIST], periods[LIST];
	double weights[LIST];
};

static double number(const struct kc_json *o, const char *key, double otherwise)
{
	const struct kc_json *v = kc_json_get(o, key);

	return v && v->kind == KC_JSON_NUMBER ? v->number : otherwise;
}

static const char *text(const struct kc_json *o, const char *key)
{
	const struct kc_json *v = kc_json_get(o, key);

	return v && v->kind == KC_JSON_TEXT ? v->text : "";
}

static size_t read_ints(const struct kc_json *o, const char *key, int64_t list[LIST])
{
	const struct kc_json *v = kc_json_get(o, key);
	size_t n = 0;

	if (!v || v->kind != KC_JSON_ARRAY)
		return 0;
	for (v = v->first; v && n < LIST; v = v->next)
		list[n++] = v->kind == KC_JSON_NUMBER ? v->integer : 0;
	return n;
}

static void read_weights(const struct kc_json *o, struct fixture *f)
{
	const struct kc_json *v = kc_json_get(o, "restart_weights");
	size_t n = 0;

	for (v = v && v->kind == KC_JSON_ARRAY ? v->first : NULL; v && n < LIST; v = v->next)
		f->weights[n++] = v->number;
	f->s.restart_weights = (struct kc_reals){f->weights, n};
}

static void one_period(struct fixture *f, double length)
{
	f->periods[0] = (int64_t)length;
	f->s.periods = (struct kc_ints){f->periods, 1};
}

static int set_linear(const struct kc_json *o, struct fixture *f)
{
	int ahead, hold, fall;

	if (sscanf(text(o, "formula"), "1 - max(0, e + %d - %d)/%d", &ahead, &hold, &fall) != 3)
		return KC_FAIL(KC_EFORMAT, "unknown formula");
	f->s.kind = KC_SCHEDULE_LINEAR;
	f->s.decay_start = hold - ahead;
	f->s.decay_iter = fall;
	return 0;
}

static void set_onecycle(const struct kc_json *o, struct fixture *f)
{
	f->s.kind = KC_SCHEDULE_ONECYCLE;
	f->s.lr = number(o, "max_lr", 0);
	f->s.peak_at = number(o, "pct_start", 0);
	f->s.div_start = number(o, "div_factor", 1);
	f->s.div_end = number(o, "final_div_factor", 1);
	one_period(f, number(o, "total_steps", 1));
}

static void set_step(const struct kc_json *o, struct fixture *f)
{
	f->s.gamma = number(o, "gamma", 1);
	for (size_t i = 0; i < LIST; i++)
		f->steps[i] = (int64_t)(i + 1) * (int64_t)number(o, "step", 1);
	f->s.steps = (struct kc_ints){f->steps, LIST};
}

static int set_kind(const struct kc_json *o, struct fixture *f)
{
	const char *kind = text(o, "kind");

	if (strcmp(kind, "lambda") == 0)
		return set_linear(o, f);
	if (strcmp(kind, "CosineAnnealingLR_Restart") == 0)
		f->s.kind = KC_SCHEDULE_COSINE;
	else if (strcmp(kind, "OneCycleLR") == 0)
		set_onecycle(o, f);
	else if (strcmp(kind, "StepLR") == 0)
		set_step(o, f);
	else if (strcmp(kind, "CosineAnnealingLR") == 0) {
		f->s.kind = KC_SCHEDULE_COSINE;
		one_period(f, number(o, "T_max", 1));
	} else if (strcmp(kind, "MultiStepLR_Restart") != 0)
		return KC_FAIL(KC_EFORMAT, "unknown kind '%s'", kind);
	return 0;
}

static int read_schedule(const struct kc_json *o, struct fixture *f)
{
	memset(f, 0, sizeof *f);
	f->s.published = true;
	f->s.lr = number(o, "lr", 0);
	f->s.warmup = (int64_t)number(o, "warmup_iter", -1);
	f->s.gamma = number(o, "lr_gamma", 1);
	f->s.eta_min = number(o, "eta_min", 0);
	f->s.steps = (struct kc_ints){f->steps, read_ints(o, "lr_steps", f->steps)};
	f->s.restarts = (struct kc_ints){f->restarts, read_ints(o, "restarts", f->restarts)};
	f->s.periods = (struct kc_ints){f->periods, read_ints(o, "T_period", f->periods)};
	read_weights(o, f);
	KC_TRY(set_kind(o, f));
	return kc_schedule_check(&f->s);
}

static int compare(int64_t k, const char *what, double mine, double theirs, double *worst)
{
	double difference = fabs(mine - theirs) / fmax(fabs(theirs), 1e-300);

	*worst = fmax(*worst, difference);
	return difference <= 1e-12 ? 0
		: KC_FAIL(KC_ENUMERIC, "iteration %lld: rate %s is %.17g, expected %.17g",
			  (long long)k, what, mine, theirs);
}

static int check_schedule(const struct kc_json *o, double *worst)
{
	const struct kc_json *k = kc_json_get(o, "iteration");
	const struct kc_json *used = kc_json_get(o, "lr_used_in_iteration");
	const struct kc_json *logged = kc_json_get(o, "lr_logged_after_iteration");
	struct fixture f;

	KC_TRY(read_schedule(o, &f));
	if (!k || !used || !logged || !k->n || used->n != k->n || logged->n != k->n)
		return KC_FAIL(KC_EFORMAT, "expected three lists of equal length");
	used = used->first;
	logged = logged->first;
	for (k = k->first; k; k = k->next, used = used->next, logged = logged->next) {
		KC_TRY(compare(k->integer, "used", kc_schedule_lr(&f.s, k->integer), used->number,
			       worst));
		KC_TRY(compare(k->integer, "logged", kc_schedule_logged(&f.s, k->integer),
			       logged->number, worst));
	}
	return 0;
}

int kc_golden_check_schedules(const char *path, double *worst)
{
	struct kc_json *root;
	const struct kc_json *list;
	int n = 0, rc = 0;

	*worst = 0;
	KC_TRY(kc_json_load(path, &root));
	list = kc_json_get(root, "schedules");
	if (!list || list->kind != KC_JSON_ARRAY)
		rc = KC_FAIL(KC_EFORMAT, "%s: expected a list of schedules", path);
	for (const struct kc_json *o = rc ? NULL : list->first; o && rc == 0; o = o->next, n++) {
		rc = check_schedule(o, worst);
		if (rc < 0)
			kc_cause(rc, "%s: %s", path, text(o, "name"));
	}
	kc_json_free(root);
	return rc < 0 ? rc : n;
}
