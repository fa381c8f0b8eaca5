#include "tests/gpu_bench.h"

#include "layers/devices.h"
#include "tests/step_run.h"

#include <stdlib.h>

/* Two places of the ring are set up, then recorded: steps 1 to 4. */
enum { WARM_UP = 5, PROFILED = 5 };

struct bench {
	const struct bench_args *args;
	struct step_run run;
	double opened;                  /* when the device was there */
	double build, before[WARM_UP];
	double *seconds, *on_device;    /* per step; of its plan alone, by the device's clock */
	double starved, all;            /* seconds of the timed steps: without data; in sum */
	size_t used_before, used;
	double loss;                    /* of the last timed step, all terms in sum */
};

static int memory_used(struct kc_device *d, size_t *used)
{
	size_t all;

	*used = 0;
	return d->memory ? d->memory->usage(d, used, &all) : 0;
}

static int open_device(struct kc_device *d, void *own)
{
	struct bench *b = own;

	KC_TRY(kc_device_open(d, &(struct kc_device_choice){.name = b->args->device,
							    .tf32 = b->args->tf32}));
	b->opened = kc_now();
	return memory_used(d, &b->used_before);
}

/* Seconds of steps one by one. */
static int time_steps(struct bench *b, int n, double *seconds, double *on_device)
{
	struct step_run *r = &b->run;
	const struct kc_plan *plan = kc_training_plan(&r->training);

	b->starved = b->all = 0;
	for (int i = 0; i < n; i++) {
		double start = kc_now();

		KC_TRY(step_take(r, 1));
		seconds[i] = kc_now() - start;
		b->all += seconds[i];
		b->starved += r->training.starved;
		if (on_device && r->device.memory)
			KC_TRY(kc_plan_seconds(plan, &on_device[i]));
	}
	return 0;
}

static int profile(struct step_run *r, FILE *f)
{
	struct kc_plan *plan = kc_training_plan(&r->training);

	kc_plan_profile_start(plan);
	KC_TRY(step_take(r, PROFILED));
	kc_plan_profile(plan, f);
	return 0;
}

static int run(struct bench *b)
{
	KC_TRY(step_open(&b->run, open_device, b, b->args->set));
	b->build = kc_now() - b->opened;
	KC_TRY(time_steps(b, WARM_UP, b->before, NULL));
	KC_TRY(time_steps(b, b->args->steps, b->seconds, b->on_device));
	KC_TRY(memory_used(&b->run.device, &b->used));
	for (int i = 0; i < b->run.training.n_terms; i++)
		b->loss += b->run.training.terms[i].last;
	if (!b->run.training.finite)
		return KC_FAIL(KC_ENUMERIC, "the loss or its gradient is not finite");
	return b->args->profile ? profile(&b->run, b->args->profile) : 0;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, by_size);
	return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

/* The plans must be gone: the device's memory may be full. */
static double measure_peak(const struct bench *b, bool low)
{
	struct kc_device d;
	double peak = 0;

	if (!kc_device_open(&d, &(struct kc_device_choice){.name = b->args->device,
							   .tf32 = b->args->tf32}))
		peak = kc_device_peak(&d, low);
	kc_device_release(&d);
	return peak;
}

static void write_figures(struct bench *b, char *to, size_t size)
{
	const struct kc_config *c = &b->run.config;
	int n = b->args->steps, window = b->run.training.window;
	double step = median(b->seconds, n), device = median(b->on_device, n), peak;
	bool low = b->run.training.low, fixed = c->deterministic;
	long long batch = c->data.batch_size, side = c->data.size;
	struct kc_plan_stats s;
	int at;

	kc_training_stats(&b->run.training, &s);
	step_close(&b->run);
	b->run = (struct step_run){0};
	peak = measure_peak(b, low);
	at = snprintf(to, size,
		      "\"deterministic\": %s, \"batch\": %lld, \"frames\": %d, "
		      "\"side\": %lld, \"timed_steps\": %d, \"median_ms\": %.2f, "
		      "\"min_ms\": %.2f, \"max_ms\": %.2f, \"device_ms\": %.2f, "
		      "\"frames_per_s\": %.1f, \"launches\": %d, \"plan_steps\": %d, ",
		      fixed ? "true" : "false", batch, window, side, n, 1e3 * step,
		      1e3 * b->seconds[0], 1e3 * b->seconds[n - 1], 1e3 * device,
		      (double)(batch * window) / step, s.launches, s.steps);
	snprintf(to + at, size - (size_t)at,
		 "\"tflop\": %.3f, \"tflops\": %.2f, \"peak_tflops\": %.1f, "
		 "\"of_peak\": %.3f, \"planned_mb\": %.0f, \"device_mb\": %.0f, "
		 "\"build_ms\": %.0f, \"first_ms\": %.0f, \"recording_ms\": %.0f, "
		 "\"data_wait_share\": %.4f, \"loss\": %.6g, ",
		 s.flops * 1e-12, s.flops * 1e-12 / step, peak * 1e-12,
		 peak > 0 ? s.flops / step / peak : 0,
		 (double)(s.arena + s.slots + s.packed + s.params) / 1e6,
		 ((double)b->used - (double)b->used_before) / 1e6, 1e3 * b->build,
		 1e3 * b->before[0], 1e3 * b->before[3], b->starved / b->all, b->loss);
}

int bench_step(const struct bench_args *a, char *figures, size_t size)
{
	struct bench b = {.args = a, .seconds = kc_calloc(2 * (size_t)a->steps, sizeof(double))};
	int rc = KC_ENOMEM;

	if (b.seconds) {
		b.on_device = b.seconds + a->steps;
		rc = run(&b);
	}

	if (!rc)
		write_figures(&b, figures, size);
	step_close(&b.run);
	free(b.seconds);
	return rc;
}
