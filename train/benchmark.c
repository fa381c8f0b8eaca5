#include "train/benchmark.h"

#include "layers/devices.h"
#include "train/start.h"
#include "train/stop.h"

#include <stdlib.h>

int kc_dry_run(const struct kc_run *r, FILE *f)
{
	const struct kc_training *t = &r->training;
	struct kc_plan_stats s;

	kc_training_stats(t, &s);
	if (r->args.verbose) {
		kc_plan_print(kc_training_plan(t), f);
		kc_plan_print_peak(kc_training_plan(t), f);
	}
	fprintf(f, "device      %s, %s\n", kc_device_describe(t->device),
		t->low ? "bf16" : "float32");
	fprintf(f, "graph       %d nodes; plan %d steps, %d operators fused away\n", s.nodes,
		s.steps, s.fused);
	fprintf(f, "work        %.2f GFLOP a step\n", s.flops / 1e9);
	fprintf(f, "parameters  %.1f MB, %zu of %zu trained\n", (double)t->params->bytes / 1e6,
		t->params->trainable, t->params->count);
	fprintf(f, "packed      %.1f MB of frozen weights\n", (double)s.packed / 1e6);
	fprintf(f, "arena       %.1f MB (%.1f MB if no buffer were shared)\n",
		(double)s.arena / 1e6, (double)s.unshared / 1e6);
	fprintf(f, "inputs      %.1f MB\n", (double)s.slots / 1e6);
	fprintf(f, "peak        %.1f MB of memory planned for %s\n",
		(double)kc_run_planned_bytes(r) / 1e6,
		r->device.memory ? r->device.name : "the process");
	return 0;
}

static void say_nothing(void *own, const char *text)
{
	(void)own, (void)text;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_json(struct kc_run *r, const double *seconds, int n, double total,
		       double waited, size_t planned, FILE *f)
{
	double median = n % 2 ? seconds[n / 2] : 0.5 * (seconds[n / 2 - 1] + seconds[n / 2]);
	double peak = kc_device_peak(&r->device, r->training.low);
	double flops = kc_training_flops(&r->training, r->progress.iter);

	fprintf(f, "{\"device\": \"%s\", \"precision\": \"%s\", \"steps\": %d,\n",
		kc_device_describe(&r->device), r->training.low ? "bf16" : "float32", n);
	fprintf(f, " \"seconds_median\": %.4f, \"seconds_min\": %.4f, \"seconds_max\": %.4f,\n",
		median, seconds[0], seconds[n - 1]);
	fprintf(f,
		" \"gflop\": %.2f, \"gflops\": %.1f, \"peak_gflops\": %.1f, \"of_peak\": %.3f,\n",
		flops / 1e9, flops / median / 1e9, peak / 1e9,
		peak > 0 ? flops / median / peak : 0);
	fprintf(f, " \"peak_rss_mb\": %.1f, \"planned_mb\": %.1f, \"data_wait_share\": %.4f}\n",
		(double)kc_process_bytes("VmHWM") / 1e6, (double)planned / 1e6,
		total > 0 ? waited / total : 0);
}

static int time_steps(struct kc_run *r, int n, double *seconds, double *total, double *waited)
{
	enum { WARM_UP = 2 };

	*total = *waited = 0;
	r->progress.iter = r->config->gan.start_iter; /* the usual step comes behind it */
	for (int i = -WARM_UP; i < n; i++) {
		double s, w, stop = kc_stop_asked();

		KC_TRY(kc_ranks_max(r->ranks, &stop, 1));
		r->stop = (int)stop;
		if (r->stop)
			return KC_FAIL(KC_ESTOP, "stopped on request");
		KC_TRY(kc_run_step(r, &s, &w));
		if (i < 0)
			continue;
		seconds[i] = s;
		*total += s;
		*waited += w;
	}
	return 0;
}

int kc_benchmark(struct kc_run *r, int n, FILE *f)
{
	size_t planned = kc_run_planned_bytes(r);
	double *seconds = kc_calloc((size_t)n, sizeof *seconds), total, waited;
	int rc = seconds ? kc_start(r->config, r->training.params, say_nothing, NULL) : KC_ENOMEM;

	if (!rc)
		rc = kc_run_open_data(r);
	if (!rc)
		rc = time_steps(r, n, seconds, &total, &waited);
	if (!rc && !r->ranks->rank) {
		qsort(seconds, (size_t)n, sizeof *seconds, ascending);
		print_json(r, seconds, n, total, waited, planned, f);
		if (r->args.profile)
			kc_plan_profile(kc_training_plan(&r->training), stderr);
	}
	free(seconds);
	return rc;
}
