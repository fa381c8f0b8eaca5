/*
 * bin/gpu_check: what can be said of a device only by running on it.  Each check prints one line
 * of JSON; tools/gpu-check runs them all and writes a report.  See usage below.
 */
#include "layers/devices.h"
#include "tests/op_check.h"
#include "tests/step_run.h"
#include "tests/test.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *device_name = "cuda:0";
static int failures;

static void usage(void)
{
	fputs("usage: gpu_check [--device NAME] CHECK\n"
	      "\n"
	      "  device            what it is\n"
	      "  ops [NAME]        operators against the float64 reference, in float32 and bf16\n"
	      "  record            recorded runs equal runs without recording, bit for bit\n"
	      "  resume            a resumed training equals an undisturbed one, bit for bit\n"
	      "  parity            three training steps against the reference device\n"
	      "  bench PRECISION N [key=value]...\n"
	      "                    N training steps, timed; PRECISION: float32, tf32 or bf16\n",
	      stderr);
}

/* ---- what tests/op_check.c tells ---- */

void kc_test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	failures++;
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

bool kc_test_ok(int rc, const char *file, int line, const char *call)
{
	if (rc < 0)
		kc_test_fail(file, line, "%s: %s", call, kc_errmsg());
	return rc >= 0;
}

static int finish(const char *check, const char *figures, double start)
{
	printf("{\"check\": \"%s\", \"ok\": %s, \"failures\": %d, %s\"seconds\": %.1f}\n", check,
	       failures ? "false" : "true", failures, figures, kc_now() - start);
	return failures != 0;
}

/* ---- devices ---- */

static int open_named(struct kc_device *d)
{
	return kc_device_open(d, &(struct kc_device_choice){.name = device_name});
}

struct choice { const char *name; bool tf32, no_record; };

static int open_choice(struct kc_device *d, void *own)
{
	const struct choice *c = own;

	if (!strcmp(c->name, "reference")) {
		kc_device_reference(d);
		return 0;
	}
	return kc_device_open(d, &(struct kc_device_choice){.name = c->name,
							    .tf32 = c->tf32,
							    .no_record = c->no_record});
}

static int check_device(void)
{
	double start = kc_now();
	struct kc_device d = {0};
	char figures[512] = "";

	if (kc_test_ok(open_named(&d), __FILE__, __LINE__, "open"))
		snprintf(figures, sizeof figures,
			 "\"device\": \"%s\", \"peak_tflops_float32\": %.1f, "
			 "\"peak_tflops_bf16\": %.1f, ",
			 kc_device_describe(&d), kc_device_peak(&d, false) * 1e-12,
			 kc_device_peak(&d, true) * 1e-12);
	kc_device_release(&d);
	return finish("device", figures, start);
}

/* ---- operators ---- */

static const struct op_config op_configs[] = {
	{"float32", open_named, KC_F32, false, false, true, OP_DENSE, 1e-5},
	{"float32, not fused, sliced", open_named, KC_F32, false, true, false, OP_SLICED, 1e-5},
	{"float32, turned", open_named, KC_F32, false, false, true, OP_TURNED, 1e-5},
	{"bfloat16", open_named, KC_F32, true, false, true, OP_DENSE, 2e-2},
};

static int check_ops(const char *only)
{
	static const struct op_row *const tables[] = {op_rows, op_pointwise_rows};
	double start = kc_now();
	char figures[64];
	int cases = 0;

	for (size_t i = 0; i < KC_COUNT(tables); i++)
		for (const struct op_row *row = tables[i]; row->op; row++) {
			struct kc_device reference;
			struct trial want;

			if (only && !strstr(row->op, only))
				continue;
			if (kc_test_ok(op_check_want(&want, &reference, row), __FILE__, __LINE__,
				       row->op))
				for (size_t k = 0; k < KC_COUNT(op_configs); k++, cases++)
					op_check(&want, &op_configs[k], NULL);
			trial_release(&want);
			kc_device_release(&reference);
		}
	snprintf(figures, sizeof figures, "\"cases\": %d, ", cases);
	return finish("ops", figures, start);
}

/* ---- steps ---- */

/* Everything in it: both networks and FlowNet 2.0. */
static const char *const small[] = {
	"flow=flownet2", "datasets.train.keyframe_interval=2", "datasets.train.batch_size=2",
	"datasets.train.GT_size=64", "network_G.width=0.25", "train.pixel_weight=1", NULL,
};

static const char *const small_bf16[] = {
	"flow=flownet2", "datasets.train.keyframe_interval=2", "datasets.train.batch_size=2",
	"datasets.train.GT_size=64", "network_G.width=0.25", "train.pixel_weight=1",
	"precision=bf16", NULL,
};

/* Light enough for the reference kernels: flow is given. */
static const char *const light[] = {
	"flow=dis", "datasets.train.keyframe_interval=2", "datasets.train.batch_size=2",
	"datasets.train.GT_size=64", "network_G.width=0.25", "train.pixel_weight=1", NULL,
};

/* State and last loss after some steps. */
struct outcome {
	float *state;
	size_t n;
	double loss[KC_MAX_TERMS];
	int n_terms;
};

static int run_small(struct choice c, const char *const *set, int before, int after,
		     struct outcome *out)
{
	struct step_run r;
	int rc = step_open(&r, open_choice, &c, set);
	float *kept = NULL;
	size_t n;

	if (!rc)
		rc = step_take(&r, before);
	if (!rc && after) {             /* stop, and go on in another process's place */
		rc = step_state(&r, &kept, &n);
		step_close(&r);
		if (!rc)
			rc = step_open(&r, open_choice, &c, set);
		if (!rc)
			rc = step_restore(&r, kept, before);
		if (!rc)
			rc = step_take(&r, after);
	}
	if (!rc)
		rc = step_state(&r, &out->state, &out->n);
	out->n_terms = r.training.n_terms;
	for (int i = 0; i < out->n_terms; i++)
		out->loss[i] = r.training.terms[i].last;
	step_close(&r);
	free(kept);
	return rc;
}

static bool same_bits(const struct outcome *a, const struct outcome *b)
{
	return a->n == b->n && !memcmp(a->state, b->state, a->n * sizeof *a->state);
}

static void compare_bits(const char *what, struct choice x, struct choice y, int before, int after,
			 const char *const *set)
{
	struct outcome a = {0}, b = {0};

	if (kc_test_ok(run_small(x, set, before + after, 0, &a), __FILE__, __LINE__, what) &&
	    kc_test_ok(run_small(y, set, before, after, &b), __FILE__, __LINE__, what) &&
	    !same_bits(&a, &b))
		kc_test_fail(__FILE__, __LINE__, "%s: the bits differ", what);
	free(a.state);
	free(b.state);
}

static int check_record(void)
{
	const struct choice with = {.name = device_name}, without = {device_name, false, true};
	double start = kc_now();

	compare_bits("float32", with, without, 6, 0, small);
	compare_bits("bf16", with, without, 6, 0, small_bf16);
	compare_bits("once more", with, with, 6, 0, small);
	return finish("record", "", start);
}

static int check_resume(void)
{
	const struct choice c = {.name = device_name};
	double start = kc_now();

	compare_bits("float32", c, c, 4, 4, small);
	compare_bits("bf16", c, c, 4, 4, small_bf16);
	return finish("resume", "", start);
}

/* Length of the difference relative to that of what training changed. */
static double distance(const struct outcome *a, const struct outcome *b, const struct outcome *zero)
{
	double error = 0, change = 0;

	for (size_t i = 0; i < a->n; i++) {
		error += pow((double)a->state[i] - b->state[i], 2);
		change += pow((double)b->state[i] - zero->state[i], 2);
	}
	return sqrt(error / change);
}

static int check_parity(void)
{
	const struct choice device = {.name = device_name}, oracle = {.name = "reference"};
	struct outcome got = {0}, want = {0}, zero = {0};
	double start = kc_now(), off = NAN, loss = 0;
	char figures[128];

	if (kc_test_ok(run_small(oracle, light, 0, 0, &zero), __FILE__, __LINE__, "start") &&
	    kc_test_ok(run_small(oracle, light, 3, 0, &want), __FILE__, __LINE__, "reference") &&
	    kc_test_ok(run_small(device, light, 3, 0, &got), __FILE__, __LINE__, "device")) {
		off = distance(&got, &want, &zero);
		for (int i = 0; i < want.n_terms; i++)
			loss = fmax(loss, fabs(got.loss[i] - want.loss[i]) /
						  fmax(fabs(want.loss[i]), 1e-6));
		/* Adam divides by the gradient's size, so its step doubts what is nearly zero. */
		if (!(off < 2e-3) || !(loss < 1e-4))
			kc_test_fail(__FILE__, __LINE__, "state off by %.2e, losses by %.2e", off,
				     loss);
	}
	snprintf(figures, sizeof figures, "\"state\": %.3e, \"losses\": %.3e, ", off, loss);
	free(got.state);
	free(want.state);
	free(zero.state);
	return finish("parity", figures, start);
}

/* ---- timing ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Seconds of n steps behind the first few, and what the device holds meanwhile. */
static int time_steps(struct step_run *r, int n, double *seconds, size_t *used)
{
	enum { WARM_UP = 4 };
	size_t all;

	KC_TRY(step_take(r, WARM_UP));
	for (int i = 0; i < n; i++) {
		double start = kc_now();

		KC_TRY(step_take(r, 1));
		seconds[i] = kc_now() - start;
	}
	*used = 0;
	return r->device.memory ? r->device.memory->usage(&r->device, used, &all) : 0;
}

static void print_bench(struct step_run *r, const char *precision, double *seconds, int n,
			size_t used, double start)
{
	double peak = kc_device_peak(&r->device, !strcmp(precision, "bf16")), median;
	struct kc_plan_stats s;
	char figures[640];

	kc_training_stats(&r->training, &s);
	qsort(seconds, (size_t)n, sizeof *seconds, by_size);
	median = seconds[n / 2];
	snprintf(figures, sizeof figures,
		 "\"precision\": \"%s\", \"batch\": %lld, \"frames\": %d, \"side\": %lld, "
		 "\"median_ms\": %.2f, \"min_ms\": %.2f, \"max_ms\": %.2f, \"tflop\": %.3f, "
		 "\"tflops\": %.2f, \"peak_tflops\": %.1f, \"of_peak\": %.3f, "
		 "\"planned_mb\": %.0f, \"device_mb\": %.0f, \"steps\": %d, \"kernels\": %d, ",
		 precision, (long long)r->config.data.batch_size, r->training.window,
		 (long long)r->config.data.size, 1e3 * median, 1e3 * seconds[0],
		 1e3 * seconds[n - 1], s.flops * 1e-12, s.flops * 1e-12 / median, peak * 1e-12,
		 peak > 0 ? s.flops / median / peak : 0,
		 (double)(s.arena + s.slots + s.packed + s.params) / 1e6, (double)used / 1e6, n,
		 s.steps);
	finish("bench", figures, start);
}

static int check_bench(const char *precision, int n, char **more, int n_more)
{
	enum { ROOM = 32 };
	struct choice c = {device_name, !strcmp(precision, "tf32"), false};
	const char *set[ROOM] = {"flow=flownet2", "datasets.train.batch_size=4",
				 strcmp(precision, "bf16") ? "precision=float32"
							   : "precision=bf16",
				 "deterministic=false"};
	double start = kc_now(), *seconds = kc_calloc((size_t)n, sizeof *seconds);
	struct step_run r;
	size_t used;
	int rc;

	for (int i = 0; i < n_more && i < ROOM - 5; i++)
		set[4 + i] = more[i];
	rc = step_open(&r, open_choice, &c, set);
	if (!rc)
		rc = seconds ? time_steps(&r, n, seconds, &used) : KC_ENOMEM;
	if (kc_test_ok(rc, __FILE__, __LINE__, precision))
		print_bench(&r, precision, seconds, n, used, start);
	else
		finish("bench", "", start);
	step_close(&r);
	free(seconds);
	return failures != 0;
}

int main(int argc, char **argv)
{
	int at = 1;
	const char *check;

	if (argc > 2 && !strcmp(argv[1], "--device")) {
		device_name = argv[2];
		at = 3;
	}
	check = at < argc ? argv[at++] : "";
	if (!strcmp(check, "device"))
		return check_device();
	if (!strcmp(check, "ops"))
		return check_ops(at < argc ? argv[at] : NULL);
	if (!strcmp(check, "record"))
		return check_record();
	if (!strcmp(check, "resume"))
		return check_resume();
	if (!strcmp(check, "parity"))
		return check_parity();
	if (!strcmp(check, "bench") && at + 1 < argc && strtol(argv[at + 1], NULL, 10) > 0)
		return check_bench(argv[at], (int)strtol(argv[at + 1], NULL, 10), argv + at + 2,
				   argc - at - 2);
	usage();
	return 2;
}
