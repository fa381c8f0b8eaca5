#include "train/schedule.h"

#include <math.h>

/*
 * Throughout, e is the number of finished iterations: iteration k runs at the rate of e = k-1.
 *
 * A segment is what lies behind the last event that set the rate outright: the beginning, the
 * end of a published warm-up, or a restart.
 */
struct segment {
	int64_t origin;         /* e at which the cycle began */
	int64_t start;          /* e at which the rate was set */
	double rate;            /* to what */
	size_t cycle;           /* number of restarts before */
};

static int64_t restart_at(const struct kc_schedule *s, size_t i)
{
	return s->restarts.v[i] + s->published;
}

static struct segment find_segment(const struct kc_schedule *s, int64_t e)
{
	struct segment g = {0, 0, s->lr, 0};
	bool restarted = false;

	while (g.cycle < s->restarts.n && restart_at(s, g.cycle) <= e) {
		g.origin = g.start = restart_at(s, g.cycle);
		g.rate = s->lr * s->restart_weights.v[g.cycle++];
		restarted = true;
	}
	/* the warm-up overwrites whatever the schedule did during its w-1 updates */
	if (s->published && s->warmup > 1 && !(restarted && g.start >= s->warmup)) {
		g.start = s->warmup - 1;
		g.rate = s->lr * (double)(s->warmup - 1) / (double)s->warmup;
	}
	return g;
}

static double multistep(const struct kc_schedule *s, const struct segment *g, int64_t e)
{
	double rate = g->rate;

	for (size_t i = 0; i < s->steps.n; i++)
		if (s->steps.v[i] > g->start && s->steps.v[i] <= e)
			rate *= s->gamma;
	return rate;
}

static double half_cosine(double x)
{
	return (1 + cos(M_PI * x)) / 2;
}

/*
 * The public code multiplies its way down the cosine; in closed form that is the value at
 * the segment's start, scaled by the ratio of two cosines.  Behind the minimum it climbs
 * again, there with the initial rate as amplitude, whatever the restart's weight was.
 */
static double cosine(const struct kc_schedule *s, const struct segment *g, int64_t e)
{
	double period = (double)s->periods.v[KC_MIN(g->cycle, s->periods.n - 1)];
	double x = (double)(e - g->origin) / period, x0 = (double)(g->start - g->origin) / period;
	double amplitude = (g->rate - s->eta_min) / half_cosine(x0);

	if (s->published && x > 1)
		amplitude = s->lr - s->eta_min;
	return s->eta_min + amplitude * half_cosine(x);
}

static double linear(const struct kc_schedule *s, int64_t e)
{
	int64_t every = KC_MAX(s->decay_every, INT64_C(1));
	double past = (double)(e / every * every - s->decay_start) / (double)s->decay_iter;

	return s->lr * fmin(1, fmax(0, 1 - past));
}

static double onecycle(const struct kc_schedule *s, int64_t e)
{
	double total = (double)s->periods.v[0], peak = s->peak_at * total - 1;
	double from = s->lr / s->div_start, to = from / s->div_end;
	double t = fmin((double)e, total - 1);

	if (t <= peak)
		return s->lr + (from - s->lr) * half_cosine(t / peak);
	return to + (s->lr - to) * half_cosine((t - peak) / (total - 1 - peak));
}

static double scheduled(const struct kc_schedule *s, int64_t e)
{
	struct segment g = find_segment(s, e);

	switch (s->kind) {
	case KC_SCHEDULE_COSINE: return cosine(s, &g, e);
	case KC_SCHEDULE_LINEAR: return linear(s, e);
	case KC_SCHEDULE_ONECYCLE: return onecycle(s, e);
	default: return multistep(s, &g, e);
	}
}

double kc_schedule_lr(const struct kc_schedule *s, int64_t k)
{
	int64_t e = k - 1;

	if (!s->published)
		return scheduled(s, e) * (k < s->warmup ? (double)k / (double)s->warmup : 1);
	if (e > 0 && e < s->warmup)
		return s->lr * (double)e / (double)s->warmup;
	/* before its first update the warm-up has not touched the rate */
	return e == 0 && s->warmup > 1 ? s->lr : scheduled(s, e);
}

double kc_schedule_logged(const struct kc_schedule *s, int64_t k)
{
	return kc_schedule_lr(s, k + s->published);
}

bool kc_schedule_restarts(const struct kc_schedule *s, int64_t k)
{
	for (size_t i = 0; i < s->restarts.n; i++)
		if (restart_at(s, i) == k - 1)
			return true;
	return false;
}

static bool ascends(const struct kc_ints *list, int64_t least_step)
{
	for (size_t i = 1; i < list->n; i++)
		if (list->v[i] - list->v[i - 1] < least_step)
			return false;
	return true;
}

static int check_periods(const struct kc_schedule *s)
{
	if (s->kind == KC_SCHEDULE_COSINE && s->periods.n != s->restarts.n + 1)
		return KC_FAIL(KC_ECONFIG, "train.T_period: expected %zu periods, one more than "
			       "train.restarts, got %zu", s->restarts.n + 1, s->periods.n);
	if (s->kind == KC_SCHEDULE_COSINE && s->published && s->warmup > s->periods.v[0])
		return KC_FAIL(KC_ECONFIG, "train.warmup_iter: expected at most the first of "
			       "train.T_period, got %lld", (long long)s->warmup);
	if (s->kind == KC_SCHEDULE_ONECYCLE && s->periods.n != 1)
		return KC_FAIL(KC_ECONFIG, "train.T_period: expected one number for OneCycleLR, "
			       "the total of iterations, got %zu", s->periods.n);
	/* both flanks need room */
	if (s->kind == KC_SCHEDULE_ONECYCLE && !(s->peak_at * (double)s->periods.v[0] > 1
	    && (1 - s->peak_at) * (double)s->periods.v[0] > 1))
		return KC_FAIL(KC_ECONFIG, "train.pct_start: expected room for both flanks in %lld "
			       "iterations, got %g", (long long)s->periods.v[0], s->peak_at);
	return 0;
}

int kc_schedule_check(const struct kc_schedule *s)
{
	if (!ascends(&s->steps, 0))
		return KC_FAIL(KC_ECONFIG, "train.lr_steps: expected ascending iterations");
	if (!ascends(&s->restarts, 1))
		return KC_FAIL(KC_ECONFIG, "train.restarts: expected ascending iterations");
	if (s->restart_weights.n != s->restarts.n)
		return KC_FAIL(KC_ECONFIG, "train.restart_weights: expected %zu numbers, as many "
			       "as train.restarts, got %zu", s->restarts.n, s->restart_weights.n);
	return check_periods(s);
}
