/* bin/train: see usage below; keys of the configuration are printed by --help. */
#include "layers/cpu/cpu.h"
#include "layers/devices.h"
#include "train/benchmark.h"
#include "train/run.h"
#include "train/stop.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_SET = 256 };

struct arguments {
	const char *file, *device, *memory_cap;
	const char *set[MAX_SET];
	int n_set;
	bool auto_resume, dry_run, list_devices, help;
	int benchmark;
	struct kc_run_args run;
};

static void usage(FILE *f)
{
	fputs("usage: train -opt FILE.yml [--set key=value]... [--auto-resume]\n"
	      "       train -opt FILE.yml --dry-run | --benchmark N\n"
	      "\n"
	      "  -opt FILE        the configuration (configs/)\n"
	      "  --set key=value  changes one key, after the file; repeatable\n"
	      "  --auto-resume    go on from the newest valid checkpoint of that name, if there is "
	      "one\n"
	      "  --dry-run        print the plan, its memory and its FLOPs; train nothing\n"
	      "  --benchmark N    time N steps, print JSON\n"
	      "  --profile        print the time of every operator at the end\n"
	      "  --device NAME    cpu (the default), cuda or cuda:N\n"
	      "  --memory-cap MB  what a step may take: batches are split to fit\n"
	      "  --list-devices   print the devices, and why others cannot be used\n"
	      "  -v               print what the passes of the plan did\n"
	      "  -h, --help       this, and every key of the configuration\n"
	      "\n"
	      "Several processes, started by mpirun, srun or torchrun, train together "
	      "(docs/ranks.md).\n"
	      "\n"
	      "exit status: 0 done, 1 error, 2 stopped by SIGTERM or SIGUSR1 (saved, start again "
	      "with\n"
	      "--auto-resume), 130 interrupted (saved)\n",
	      f);
}

static int bad_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "train: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "\n\n");
	usage(stderr);
	return KC_EXIT_FAILED;
}

static int parse(int argc, char **argv, struct arguments *a)
{
	enum { SET = 256, RESUME, DRY, BENCH, PROFILE, DEVICE, CAP, LIST };
	static const struct option longs[] = {
		{"opt", required_argument, NULL, 'o'},
		{"set", required_argument, NULL, SET},
		{"auto-resume", no_argument, NULL, RESUME},
		{"dry-run", no_argument, NULL, DRY},
		{"benchmark", required_argument, NULL, BENCH},
		{"profile", no_argument, NULL, PROFILE},
		{"device", required_argument, NULL, DEVICE},
		{"memory-cap", required_argument, NULL, CAP},
		{"list-devices", no_argument, NULL, LIST},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	/* getopt_long_only: the field writes "-opt", with one dash. */
	while ((c = getopt_long_only(argc, argv, "hv", longs, NULL)) != -1)
		switch (c) {
		case 'o': a->file = optarg; break;
		case SET:
			if (a->n_set == MAX_SET)
				return bad_usage("too many --set, at %s", optarg);
			a->set[a->n_set++] = optarg;
			break;
		case RESUME: a->auto_resume = true; break;
		case DRY: a->dry_run = true; break;
		case BENCH:
			a->benchmark = (int)strtol(optarg, NULL, 10);
			if (a->benchmark < 1 || a->benchmark > 100000)
				return bad_usage("--benchmark: expected a number of steps, got %s",
						 optarg);
			break;
		case PROFILE: a->run.profile = true; break;
		case DEVICE:
			a->device = optarg;
			break;
		case CAP: a->memory_cap = optarg; break;
		case LIST: a->list_devices = true; break;
		case 'v': a->run.verbose = true; break;
		case 'h': a->help = true; break;
		default: usage(stderr); return KC_EXIT_FAILED;
		}
	if (optind < argc)
		return bad_usage("unexpected argument %s", argv[optind]);
	if (!a->file && !a->help && !a->list_devices)
		return bad_usage("%s is missing", "-opt FILE.yml");
	return 0;
}

static int set_key(struct kc_config *c, const char *key, const char *value)
{
	char *assignment = kc_format("%s=%s", key, value);
	int rc = assignment ? kc_config_set(c, assignment) : KC_ENOMEM;

	free(assignment);
	return rc;
}

static int configure(const struct arguments *a, struct kc_config *c)
{
	KC_TRY(kc_config_init(c));
	KC_TRY(kc_config_load(c, a->file));
	for (int i = 0; i < a->n_set; i++)
		KC_TRY(kc_config_set(c, a->set[i]));
	if (a->device)
		KC_TRY(set_key(c, "device", a->device));
	if (a->memory_cap)
		KC_TRY(set_key(c, "memory_cap", a->memory_cap));
	if (a->auto_resume)
		KC_TRY(kc_config_set(c, "path.resume_state=auto"));
	return kc_config_resolve(c);
}

static int work(const struct arguments *a, struct kc_run *r)
{
	if (a->dry_run)
		return r->ranks->rank ? 0 : kc_dry_run(r, stdout);
	if (a->benchmark)
		return kc_benchmark(r, a->benchmark, stdout);
	return kc_run_train(r);
}

static void print_failure(const struct kc_run *r, const struct kc_ranks *ranks)
{
	for (size_t i = 0; i < r->said.n; i++)
		fprintf(stderr, "%s\n", r->said.v[i]);
	if (ranks->size > 1)
		fprintf(stderr, "train (rank %d of %d): %s\n", ranks->rank, ranks->size,
			kc_errmsg());
	else
		fprintf(stderr, "train: %s\n", kc_errmsg());
}

/* Another rank has failed: nothing is waited for, not even data that are still being read. */
static void end_at_once(void)
{
	fflush(NULL);
	_exit(KC_EXIT_FAILED);
}

static int train(struct arguments *a)
{
	struct kc_config c = {0};
	struct kc_run r = {0};
	struct kc_ranks ranks;
	int rc = kc_ranks_open(&ranks);
	bool failed;

	a->run.ranks = &ranks;
	if (!rc)
		rc = kc_ranks_agree(&ranks, configure(a, &c));
	if (!rc)
		rc = kc_run_open(&r, &c, &a->run);
	if (!rc)
		rc = work(a, &r);
	if (rc < 0)
		print_failure(&r, &ranks);
	failed = ranks.failed;
	kc_ranks_close(&ranks, rc == KC_ESTOP ? 0 : rc);
	if (failed)
		end_at_once();
	kc_run_close(&r);
	kc_config_release(&c);
	if (rc == KC_ESTOP)
		return r.stop;
	return rc < 0 ? KC_EXIT_FAILED : 0;
}

static int list_devices(void)
{
	char *text = kc_devices_list();

	if (text)
		fputs(text, stdout);
	free(text);
	return text ? 0 : KC_EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	int status;
	const struct kc_opt *rows;
	size_t n;

	kc_cpu_share_cores(argv);
	status = parse(argc, argv, &a);
	if (status)
		return status;
	if (a.help) {
		usage(stdout);
		puts("\nkeys of the configuration:");
		rows = kc_config_rows(&n);
		kc_opt_help(rows, n, stdout);
		return 0;
	}
	if (a.list_devices)
		return list_devices();
	kc_stop_install();
	return train(&a);
}
