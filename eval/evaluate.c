/* bin/evaluate: folders of results against the ground truth; see usage below. */
#include "eval/report.h"
#include "layers/cpu/cpu.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { METRICS = 16, NOTES_BYTES = 1 << 16 };

struct arguments {
	struct kc_compare_args compare;
	char *names[KC_COMPARE_RESULTS];
	const char *json, *page, *title, *notes;
	const char *metrics[METRICS];
	size_t n_metrics;
	int strips, threads;
	bool help;
};

static void usage(FILE *f)
{
	fputs("usage: evaluate -t FOLDER -i NAME=FOLDER [-i NAME=FOLDER]... [options]\n"
	      "\n"
	      "  -t FOLDER        ground truth: folder of clips, or of one clip, or a pack file\n"
	      "  -i NAME=FOLDER   results under the same names; NAME stands in the tables\n"
	      "  --interval N     frames between anchors: figures of anchors and of the rest\n"
	      "  -o FILE          write the figures as JSON\n"
	      "  --report FILE    write an HTML page, complete in one file\n"
	      "  --strips N       strips of frames in it (two per clip, at most 12)\n"
	      "  --metrics FILE   metrics.jsonl of a training run: curves in the page; repeatable\n"
	      "  --title TEXT     of the page\n"
	      "  --notes FILE     plain text for its end: where the clips came from\n"
	      "  -j N             threads (one per core)\n"
	      "  -h, --help       this\n"
	      "\n"
	      "Prints PSNR (dB), CDC and colourfulness per clip and their means over clips, with\n"
	      "rows for the ground truth's luma alone and for the ground truth itself.\n"
	      "exit status: 0 done, 1 error\n",
	      f);
}

static int bad_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "evaluate: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "\n\n");
	usage(stderr);
	return 1;
}

static bool number(const char *text, long low, long high, long *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	return end != text && !*end && *out >= low && *out <= high;
}

static int add_results(struct arguments *a, const char *text)
{
	const char *equals = strchr(text, '=');
	size_t n = a->compare.n_results;

	if (!equals || equals == text || !equals[1])
		return bad_usage("-i: expected NAME=FOLDER, got %s", text);
	if (n == KC_COMPARE_RESULTS)
		return bad_usage("-i: too many folders, at %s", text);
	a->names[n] = kc_format("%.*s", (int)(equals - text), text);
	if (!a->names[n])
		return bad_usage("%s", kc_errmsg());
	a->compare.result[n] = (struct kc_compare_result){a->names[n], equals + 1};
	a->compare.n_results++;
	return 0;
}

enum { INTERVAL = 256, REPORT, STRIPS, RUN, TITLE, NOTES };

static int take_number(struct arguments *a, int option, const char *text)
{
	long x;

	switch (option) {
	case INTERVAL:
		if (!number(text, 1, 1000, &x))
			return bad_usage("--interval: expected a number from 1 to 1000, got %s",
					 text);
		a->compare.interval = x;
		return 0;
	case STRIPS:
		if (!number(text, 0, 1000, &x))
			return bad_usage("--strips: expected a number from 0 to 1000, got %s",
					 text);
		a->strips = (int)x;
		return 0;
	default:
		if (!number(text, 1, 1024, &x))
			return bad_usage("-j: expected a number of threads, got %s", text);
		a->threads = (int)x;
		return 0;
	}
}

static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		{"interval", required_argument, NULL, INTERVAL},
		{"report", required_argument, NULL, REPORT},
		{"strips", required_argument, NULL, STRIPS},
		{"metrics", required_argument, NULL, RUN},
		{"title", required_argument, NULL, TITLE},
		{"notes", required_argument, NULL, NOTES},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c, status = 0;

	while (!status && (c = getopt_long(argc, argv, "t:i:o:j:h", longs, NULL)) != -1)
		switch (c) {
		case 't': a->compare.truth = optarg; break;
		case 'i': status = add_results(a, optarg); break;
		case 'o': a->json = optarg; break;
		case REPORT: a->page = optarg; break;
		case TITLE: a->title = optarg; break;
		case NOTES: a->notes = optarg; break;
		case 'h': a->help = true; return 0;
		case '?': usage(stderr); return 1;
		case RUN:
			if (a->n_metrics == METRICS)
				return bad_usage("--metrics: too many files, at %s", optarg);
			a->metrics[a->n_metrics++] = optarg;
			break;
		default: status = take_number(a, c, optarg);
		}
	if (status)
		return status;
	if (optind < argc)
		return bad_usage("unexpected argument %s", argv[optind]);
	if (!a->compare.truth || !a->compare.n_results)
		return bad_usage("%s is missing",
				 a->compare.truth ? "-i NAME=FOLDER" : "-t FOLDER");
	return 0;
}

static void show_progress(void *own, size_t clip, const struct kc_dataset *truth)
{
	(void)own;
	if (isatty(2))
		fprintf(stderr, "\r\033[K[%zu/%zu] %s", clip + 1, truth->n, truth->clip[clip].name);
}

static int write_json(const char *path, const struct kc_compare *c)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int rc = 0;

	if (!out)
		return KC_FAIL(KC_ENOMEM, "out of memory");
	kc_compare_json(c, out);
	if (fclose(out))
		rc = KC_FAIL(KC_ENOMEM, "out of memory");
	if (!rc)
		rc = kc_file_write(path, text, size);
	free(text);
	return rc;
}

static int write_page(const struct arguments *a, struct kc_compare *c)
{
	struct kc_report r = {.title = a->title, .metrics = a->metrics, .n_metrics = a->n_metrics,
			      .strips = a->strips};
	char *notes = NULL;
	size_t size;
	int rc;

	if (r.strips < 0)
		r.strips = (int)KC_MIN(2 * c->truth->n, (size_t)12);
	if (a->notes)
		KC_TRY(kc_file_read(a->notes, NOTES_BYTES, &notes, &size));
	r.notes = notes;
	rc = kc_report_write(a->page, &r, c);
	free(notes);
	return rc;
}

static int evaluate(struct arguments *a)
{
	struct kc_device d = {0};
	struct kc_compare c = {0};
	int rc = kc_device_cpu(&d, a->threads);

	a->compare.progress = show_progress;
	if (!rc)
		rc = kc_compare_open(&c, &a->compare, &d);
	if (isatty(2))
		fputs("\r\033[K", stderr);
	if (!rc)
		kc_compare_print(&c, stdout);
	if (!rc && a->json)
		rc = write_json(a->json, &c);
	if (!rc && a->page)
		rc = write_page(a, &c);
	if (rc < 0)
		fprintf(stderr, "evaluate: %s\n", kc_errmsg());
	kc_compare_close(&c);
	kc_device_release(&d);
	return rc < 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {.title = "Video colorization", .strips = -1};
	int status = parse(argc, argv, &a);

	if (!status && a.help)
		usage(stdout);
	else if (!status)
		status = evaluate(&a);
	for (size_t i = 0; i < a.compare.n_results; i++)
		free(a.names[i]);
	return status;
}
