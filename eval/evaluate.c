/* bin/evaluate: folders of results against the ground truth; see rows below. */
#include "core/args.h"
#include "eval/report.h"
#include "layers/cpu/cpu.h"

#include <stddef.h>
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
	int interval, strips, threads;
	bool help;
};

static int take_results(void *obj, const char *text)
{
	struct arguments *a = obj;
	const char *equals = strchr(text, '=');
	size_t n = a->compare.n_results;

	if (!equals || equals == text || !equals[1])
		return KC_FAIL(KC_EINVAL, "expected NAME=FOLDER");
	if (n == KC_COMPARE_RESULTS)
		return KC_FAIL(KC_EINVAL, "expected at most %d folders", KC_COMPARE_RESULTS);
	a->names[n] = kc_format("%.*s", (int)(equals - text), text);
	if (!a->names[n])
		return KC_ENOMEM;
	a->compare.result[n] = (struct kc_compare_result){a->names[n], equals + 1};
	a->compare.n_results++;
	return 0;
}

static int take_metrics(void *obj, const char *text)
{
	struct arguments *a = obj;

	if (a->n_metrics == METRICS)
		return KC_FAIL(KC_EINVAL, "expected at most %d files", METRICS);
	a->metrics[a->n_metrics++] = text;
	return 0;
}

#define AT(member) .offset = offsetof(struct arguments, member)
static const struct kc_arg rows[] = {
	{'t', NULL, "FOLDER", KC_ARG_TEXT, AT(compare.truth),
	 .help = "ground truth: folder of clips, or of one clip, or a pack file"},
	{'i', NULL, "NAME=FOLDER", KC_ARG_OTHER, .take = take_results,
	 .help = "results under the same names; NAME stands in the tables"},
	{0, "interval", "N", KC_ARG_INT, AT(interval), .min = 1, .max = 1000,
	 .help = "frames between anchors: figures of anchors and of the rest"},
	{'o', NULL, "FILE", KC_ARG_TEXT, AT(json), .help = "write the figures as JSON"},
	{0, "report", "FILE", KC_ARG_TEXT, AT(page),
	 .help = "write an HTML page, complete in one file"},
	{0, "strips", "N", KC_ARG_INT, AT(strips), .min = 0, .max = 1000,
	 .help = "strips of frames in it (two per clip, at most 12)"},
	{0, "metrics", "FILE", KC_ARG_OTHER, .take = take_metrics,
	 .help = "metrics.jsonl of a training run: curves in the page; repeatable"},
	{0, "title", "TEXT", KC_ARG_TEXT, AT(title), .help = "of the page"},
	{0, "notes", "FILE", KC_ARG_TEXT, AT(notes),
	 .help = "plain text for its end: where the clips came from"},
	{'j', NULL, "N", KC_ARG_INT, AT(threads), .min = 1, .max = 1024,
	 .help = "threads (one per core)"},
	{'h', "help", NULL, KC_ARG_FLAG, AT(help), .help = "this"},
};

static const struct kc_args args = {
	"evaluate -t FOLDER -i NAME=FOLDER [-i NAME=FOLDER]... [options]", rows, KC_COUNT(rows),
	"Prints PSNR (dB), CDC and colourfulness per clip and their means over clips, with\n"
	"rows for the ground truth's luma alone and for the ground truth itself.\n"
	"exit status: 0 done, 1 error",
};

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
	a->compare.interval = a->interval;
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

static int check_arguments(const struct arguments *a)
{
	if (a->help || (a->compare.truth && a->compare.n_results))
		return 0;
	return KC_FAIL(KC_EINVAL, "%s is missing",
		       a->compare.truth ? "-i NAME=FOLDER" : "-t FOLDER");
}

int main(int argc, char **argv)
{
	struct arguments a = {.title = "Video colorization", .strips = -1};
	int rc = kc_args_read(&args, argc, argv, &a), status = 1;

	if (rc >= 0)
		rc = check_arguments(&a);
	if (rc < 0) {
		fprintf(stderr, "evaluate: %s\n\n", kc_errmsg());
		kc_args_help(&args, stderr);
	} else if (a.help) {
		kc_args_help(&args, stdout);
		status = 0;
	} else {
		status = evaluate(&a);
	}
	for (size_t i = 0; i < a.compare.n_results; i++)
		free(a.names[i]);
	return status;
}
