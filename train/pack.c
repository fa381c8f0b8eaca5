/* bin/pack: see usage below; the file it makes is described in data/pack.h. */
#include "data/pack_build.h"
#include "layers/cpu/cpu.h"
#include "train/prior.h"
#include "train/stop.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct arguments {
	const char *input, *output, *list;
	bool help, flow, offsets, prior;
	bool packing;           /* an option was given that a prior knows nothing of */
	struct kc_pack_job job;
};

/* The progress line: on a terminal, at most six times a second. */
struct progress {
	bool terminal;
	double start, last;
};

static void usage(FILE *f)
{
	fputs("usage: pack -i FOLDER -o FILE.h5 [option]...\n"
	      "       pack -i FOLDER -o FILE.json --prior [--list FILE] [-j N]\n"
	      "\n"
	      "Packs a folder of clips (folders of images) into one HDF5 file for training, or\n"
	      "tells how common their colours are, for train.prior.\n"
	      "\n"
	      "  -i FOLDER         the clips, or a pack file\n"
	      "  -o FILE.h5        appears only when it is complete\n"
	      "  --list FILE       pack the clips named in FILE, one per line, or the keys of a "
	      ".pkl\n"
	      "  --size WxH        size of the frames, default 300x300 (aspect is not kept)\n"
	      "  --format raw|jpeg default raw: fastest; jpeg: about ten times smaller, not exact\n"
	      "  --quality N       of jpeg, 1 to 100, default 95\n"
	      "  --flow dis        store optical flow as well (DIS, medium preset)\n"
	      "  --offsets A,B,..  over so many frames, forwards and backwards, default 1,2\n"
	      "  --prior           write the shares of the 313 colour bins, smoothed, as JSON\n"
	      "  -j N              threads, default: one per processor\n"
	      "  -h, --help        this\n"
	      "\n"
	      "exit status: 0 done, 1 error, 2 stopped by SIGTERM or SIGUSR1, 130 interrupted; "
	      "nothing\n"
	      "is written unless it is 0\n",
	      f);
}

static int bad_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "pack: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, " (pack -h explains)\n");
	return KC_EXIT_FAILED;
}

/* A decimal number that ends with one of `ends` (or the end of the text); -1 if there is none. */
static long read_number(const char **text, const char *ends)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(*text, &end, 10);
	if (errno || end == *text || v < 0 || v > 1 << 20 || (*end && !strchr(ends, *end)))
		return -1;
	*text = *end ? end + 1 : end;
	return v;
}

static bool read_size(const char *text, struct kc_pack_job *job)
{
	job->width = (int)read_number(&text, "x");
	job->height = job->width < 0 ? -1 : (int)read_number(&text, "");
	return job->width > 0 && job->height > 0;
}

static bool read_offsets(const char *text, struct kc_pack_job *job)
{
	job->n_offsets = 0;
	do {
		long v = read_number(&text, ",");

		if (v < 1 || job->n_offsets == KC_PACK_OFFSETS)
			return false;
		job->offsets[job->n_offsets++] = (int)v;
	} while (*text);
	return true;
}

static bool read_int(const char *text, int *v)
{
	*v = (int)read_number(&text, "");
	return *v >= 0;
}

static int check_arguments(struct arguments *a)
{
	if (!a->input)
		return bad_usage("%s is missing", "-i FOLDER");
	if (!a->output)
		return bad_usage("%s is missing", "-o FILE");
	if (a->prior && a->packing)
		return bad_usage("%s", "--prior goes with --list and -j alone");
	if (a->offsets && !a->flow)
		return bad_usage("%s", "--offsets goes with --flow dis");
	if (!a->flow)
		a->job.n_offsets = 0;
	return 0;
}

enum { LIST = 256, SIZE, FORMAT, QUALITY, FLOW, OFFSETS, PRIOR };

/* What is checked while it is read. */
static int take_value(struct arguments *a, int option, const char *text)
{
	struct kc_pack_job *job = &a->job;

	switch (option) {
	case 'j':
		return read_int(text, &job->workers) && job->workers ? 0
			: bad_usage("-j: a number of threads expected, got %s", text);
	case SIZE:
		return read_size(text, job) ? 0
			: bad_usage("--size: WIDTHxHEIGHT expected, got %s", text);
	case FORMAT:
		job->jpeg = !strcmp(text, "jpeg");
		return job->jpeg || !strcmp(text, "raw") ? 0
			: bad_usage("--format: raw or jpeg expected, got %s", text);
	case QUALITY:
		return read_int(text, &job->quality) ? 0
			: bad_usage("--quality: 1 to 100 expected, got %s", text);
	case FLOW:
		a->flow = !strcmp(text, "dis");
		return a->flow ? 0 : bad_usage("--flow: dis expected, got %s", text);
	case OFFSETS:
		a->offsets = true;
		return read_offsets(text, job) ? 0
			: bad_usage("--offsets: up to 8 numbers of frames expected, got %s", text);
	default:
		return bad_usage("%s", "wrong option");
	}
}

static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		{"list", required_argument, NULL, LIST},
		{"size", required_argument, NULL, SIZE},
		{"format", required_argument, NULL, FORMAT},
		{"quality", required_argument, NULL, QUALITY},
		{"flow", required_argument, NULL, FLOW},
		{"offsets", required_argument, NULL, OFFSETS},
		{"prior", no_argument, NULL, PRIOR},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c, status;

	while ((c = getopt_long(argc, argv, "i:o:j:h", longs, NULL)) != -1) {
		a->packing |= c >= SIZE && c <= OFFSETS;
		switch (c) {
		case 'i': a->input = optarg; break;
		case 'o': a->output = optarg; break;
		case 'h': a->help = true; break;
		case LIST: a->list = optarg; break;
		case PRIOR: a->prior = true; break;
		default:
			status = take_value(a, c, optarg);
			if (status)
				return status;
		}
	}
	if (optind < argc)
		return bad_usage("unexpected argument %s", argv[optind]);
	return a->help ? 0 : check_arguments(a);
}

static int show_progress(void *own, int64_t done, int64_t frames)
{
	struct progress *p = own;
	double now = kc_now(), rate = (double)done / (now - p->start);

	if (p->terminal && (now - p->last > 1.0 / 6 || done == frames)) {
		fprintf(stderr, "\r%lld of %lld frames, %.0f frames/s, %.0f s left \033[K",
			(long long)done, (long long)frames, rate, (double)(frames - done) / rate);
		p->last = now;
	}
	return kc_stop_asked();
}

static int count_colours(struct arguments *a, const struct kc_dataset *d)
{
	struct kc_device device = {0};
	struct kc_prior prior = {0};
	int rc = kc_device_cpu(&device, a->job.workers);

	if (!rc)
		rc = kc_prior_count(&prior, d, &device, show_progress, a->job.own);
	kc_device_release(&device);
	KC_TRY(rc);
	if (prior.grey_frames)
		fprintf(stderr, "%lld frames are grey and left out\n",
			(long long)prior.grey_frames);
	return kc_prior_save(&prior, a->output);
}

static int pack(struct arguments *a, int64_t *frames)
{
	struct kc_dataset *d;
	int rc;

	KC_TRY(kc_dataset_open(a->input, &d));
	rc = a->list ? kc_dataset_use_list(d, a->list) : 0;
	a->job.dataset = d;
	a->job.output = a->output;
	if (rc >= 0)
		rc = a->prior ? count_colours(a, d) : kc_pack_build(&a->job);
	*frames = 0;
	for (size_t i = 0; i < d->n; i++)
		*frames += d->clip[i].n;
	kc_dataset_close(d);
	return rc;
}

int main(int argc, char **argv)
{
	struct progress p = {isatty(STDERR_FILENO), kc_now(), 0};
	struct arguments a = {
		.job = {.width = 300, .height = 300, .quality = 95, .offsets = {1, 2},
			.n_offsets = 2, .dis = KC_DIS_MEDIUM,
			.workers = (int)KC_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1),
			.progress = show_progress, .own = &p},
	};
	int64_t frames;
	int rc;

	kc_cpu_share_cores(argv);
	rc = parse(argc, argv, &a);
	if (rc)
		return rc;
	if (a.help) {
		usage(stdout);
		return 0;
	}
	kc_stop_install();
	rc = pack(&a, &frames);
	if (p.terminal && p.last > 0)
		fprintf(stderr, "\n");
	if (rc < 0) {
		fprintf(stderr, "pack: %s\n", kc_errmsg());
		return rc == KC_ESTOP && kc_stop_asked() ? kc_stop_asked() : KC_EXIT_FAILED;
	}
	fprintf(stderr, "%s: %lld frames in %.1f s\n", a.output, (long long)frames,
		kc_now() - p.start);
	return 0;
}
