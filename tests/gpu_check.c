/*
 * bin/gpu_check: what can be said of a device only by running on it.  Each check prints one line
 * of JSON; tools/gpu-check runs them all and writes a report.  See usage below.
 */
#include "layers/devices.h"
#include "tests/gpu_bench.h"
#include "tests/gpu_ranks.h"
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
	      "  kernels           the same in fewer forms, without cuDNN and cuBLAS\n"
	      "  record            recorded runs equal runs without recording, bit for bit; runs\n"
	      "                    that crop on the device those whose host does\n"
	      "  resume            a resumed training equals an undisturbed one, bit for bit\n"
	      "  parity            three training steps against the reference device\n"
	      "  ranks             means by NCCL over the processes of torchrun's variables\n"
	      "  bench PRECISION N N training steps, timed; PRECISION: float32, tf32 or bf16\n"
	      "\n"
	      "Checks of steps take more of a configuration: key=value...  Exit status 3: it\n"
	      "cannot be checked here.\n",
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

/* A device, and a setting more or NULL. */
struct choice { const char *name; bool tf32, no_record; const char *set; };

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

/* The line of a device's list, without its end. */
static void print_line(char *to, size_t size)
{
	char *list = kc_devices_list(), *line = list ? strstr(list, device_name) : NULL;

	snprintf(to, size, "%.*s", line ? (int)strcspn(line, "\n\"\\") : 0, line ? line : "");
	free(list);
}

static int check_device(void)
{
	double start = kc_now();
	struct kc_device d = {0};
	char line[320], figures[640] = "";
	size_t used = 0, all = 0;

	print_line(line, sizeof line);
	if (open_named(&d) < 0) {
		fprintf(stderr, "%s\n", kc_errmsg());
		failures++;
	} else {
		if (d.memory)
			kc_test_ok(d.memory->usage(&d, &used, &all), __FILE__, __LINE__, "memory");
		snprintf(figures, sizeof figures,
			 "\"device\": \"%s\", \"threads\": %d, \"memory_mb\": %.0f, "
			 "\"used_mb\": %.0f, ",
			 line[0] ? line : kc_device_describe(&d), d.threads, (double)all / 1e6,
			 (double)used / 1e6);
	}
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

enum { OP_CONFIGS = KC_COUNT(op_configs) };

/* The devices of the configurations stay open: each costs as much as many cases. */
static int open_kept(struct kc_device *kept)
{
	for (int i = 0; i < OP_CONFIGS; i++)
		KC_TRY(open_named(&kept[i]));
	return 0;
}

/* What the last case left in the arena must not be taken for a result of the next. */
static int poison(struct kc_device *d)
{
	enum { LEAST = 1 << 20 };
	void *bad;
	int rc;

	KC_TRY(kc_device_reserve(d, LEAST));
	bad = kc_alloc(d->arena_bytes);
	if (!bad)
		return KC_ENOMEM;
	memset(bad, 0xff, d->arena_bytes);
	rc = kc_device_put(d, d->arena, bad, d->arena_bytes);
	if (!rc && d->memory)
		rc = d->memory->wait(d);
	free(bad);
	return rc;
}

/* Of cuDNN and cuBLAS. */
static bool is_of_library(const struct op_row *row)
{
	return strstr(row->op, "conv") || strstr(row->op, "matmul");
}

static int check_row(const struct op_row *row, struct kc_device *kept, bool few)
{
	struct kc_device reference;
	struct trial want;
	int cases = 0;

	if (kc_test_ok(op_check_want(&want, &reference, row), __FILE__, __LINE__, row->op))
		for (int k = 0; k < OP_CONFIGS; k++) {
			if (few && op_configs[k].form != OP_DENSE)
				continue;
			if (kc_test_ok(poison(&kept[k]), __FILE__, __LINE__, "poison"))
				op_check_on(&kept[k], &want, &op_configs[k], NULL);
			cases++;
		}
	trial_release(&want);
	kc_device_release(&reference);
	for (int k = 0; k < OP_CONFIGS; k++)
		kc_device_unpack(&kept[k]);
	return cases;
}

static int check_ops(const char *check, const char *only)
{
	static const struct op_row *const tables[] = {op_rows, op_pointwise_rows};
	bool few = !strcmp(check, "kernels");
	struct kc_device kept[OP_CONFIGS] = {0};
	double start = kc_now();
	char figures[64];
	int cases = 0;

	if (kc_test_ok(open_kept(kept), __FILE__, __LINE__, "open"))
		for (size_t i = 0; i < KC_COUNT(tables); i++)
			for (const struct op_row *row = tables[i]; row->op; row++)
				if (!(only && !strstr(row->op, only)) &&
				    !(few && is_of_library(row)))
					cases += check_row(row, kept, few);
	for (int i = 0; i < OP_CONFIGS; i++)
		kc_device_release(&kept[i]);
	snprintf(figures, sizeof figures, "\"cases\": %d, ", cases);
	return finish(check, figures, start);
}

/* ---- steps ---- */

enum { MORE = 24, SETTINGS = 40 };

/* Of the command line: key=value. */
static const char *more[MORE + 1];

/* The configuration of a check: some of these, one more or none, what the command line says. */
struct settings { const char *v[SETTINGS]; };

static struct settings settings_of(const char *const *own, const char *another)
{
	struct settings s = {{0}};
	int n = 0;

	for (; *own; own++)
		s.v[n++] = *own;
	if (another)
		s.v[n++] = another;
	for (int i = 0; more[i]; i++)
		s.v[n++] = more[i];
	KC_ASSERT(n < SETTINGS);
	return s;
}

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
	const struct settings all = settings_of(set, c.set);
	struct step_run r;
	int rc = step_open(&r, open_choice, &c, all.v);
	float *kept = NULL;
	size_t n;

	if (!rc)
		rc = step_take(&r, before);
	if (!rc && after) {             /* stop, and go on in another process's place */
		rc = step_state(&r, &kept, &n);
		step_close(&r);
		if (!rc)
			rc = step_open(&r, open_choice, &c, all.v);
		if (!rc)
			rc = step_restore(&r, kept, before);
		if (!rc)
			rc = step_take(&r, after);
	}
	if (!rc)
		rc = step_state(&r, &out->state, &out->n);
	if (r.device.unrecorded)
		kc_test_fail(__FILE__, __LINE__, "not recorded: %s", r.device.unrecorded);
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
	const struct choice with = {.name = device_name};
	const struct choice without = {.name = device_name, .no_record = true};
	const struct choice crops = {.name = device_name,
				     .set = "datasets.train.augment_on=device"};
	double start = kc_now();

	compare_bits("float32", with, without, 6, 0, small);
	compare_bits("bf16", with, without, 6, 0, small_bf16);
	compare_bits("once more", with, with, 6, 0, small);
	compare_bits("crops on the device", with, crops, 6, 0, light);
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
			loss = kc_test_worse(loss, fabs(got.loss[i] - want.loss[i]) /
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

/* ---- several GPUs ---- */

static int check_ranks(void)
{
	double start = kc_now();
	char name[24], figures[32];
	struct kc_ranks r;
	int rc;

	if (!kc_test_ok(kc_ranks_open(&r), __FILE__, __LINE__, "ranks"))
		return 1;
	snprintf(name, sizeof name, "cuda:%d", r.local_rank);
	snprintf(figures, sizeof figures, "\"ranks\": %d, ", r.size);
	rc = kc_ranks_agree(&r, ranks_check(&r, r.size > 1 ? name : device_name));
	if (rc == KC_ENOSUP)
		fprintf(stderr, "%s\n", kc_errmsg());
	else
		kc_test_ok(rc, __FILE__, __LINE__, "ranks");
	kc_ranks_close(&r, rc);
	if (rc == KC_ENOSUP)
		return 3;
	return r.rank ? failures != 0 : finish("ranks", figures, start);
}

/* ---- timing ---- */

static int check_bench(const char *precision, int n)
{
	const char *const own[] = {
		"flow=flownet2", "datasets.train.batch_size=4", "deterministic=false",
		strcmp(precision, "bf16") ? "precision=float32" : "precision=bf16",
		"datasets.train.augment_on=device", NULL,
	};
	const struct settings set = settings_of(own, NULL);
	const struct bench_args a = {.device = device_name, .tf32 = !strcmp(precision, "tf32"),
				     .set = set.v, .steps = n, .profile = stderr};
	double start = kc_now();
	char figures[1400] = "";
	int at = snprintf(figures, sizeof figures, "\"precision\": \"%s\", ", precision);

	kc_test_ok(bench_step(&a, figures + at, sizeof figures - (size_t)at), __FILE__, __LINE__,
		   precision);
	return finish("bench", figures, start);
}

/* ---- the command line ---- */

static int run_check(const char *check, int n, char **rest)
{
	if (!strcmp(check, "device"))
		return check_device();
	if (!strcmp(check, "ops") || !strcmp(check, "kernels"))
		return check_ops(check, n ? rest[0] : NULL);
	if (!strcmp(check, "record"))
		return check_record();
	if (!strcmp(check, "resume"))
		return check_resume();
	if (!strcmp(check, "parity"))
		return check_parity();
	if (!strcmp(check, "ranks"))
		return check_ranks();
	if (!strcmp(check, "bench") && n > 1 && strtol(rest[1], NULL, 10) > 0)
		return check_bench(rest[0], (int)strtol(rest[1], NULL, 10));
	usage();
	return 2;
}

int main(int argc, char **argv)
{
	int at = 1, n = 0;

	if (argc > 2 && !strcmp(argv[1], "--device")) {
		device_name = argv[2];
		at = 3;
	}
	for (int i = at + 1; i < argc; i++)
		if (strchr(argv[i], '=') && n < MORE)
			more[n++] = argv[i];
	return run_check(at < argc ? argv[at] : "", argc - at - 1 - n, argv + at + 1);
}
