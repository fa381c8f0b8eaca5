/* bin/export: weights from any format that is read into another one; see usage below. */
#include "eval/convert.h"
#include "weights/h5.h"
#include "weights/pth_write.h"
#include "weights/seal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_FAILED = 1 };

struct arguments {
	const char *input, *output, *inspect, *format, *network;
	bool half, loose, help;
};

/* What is to be written. */
struct job {
	const struct arguments *a;
	const struct kc_weights *w;
	const struct kc_network *network;       /* NULL: unknown, converted loosely */
	struct kc_converted tensors;
};

static int save_safetensors(const struct job *j)
{
	const struct kc_converted *c = &j->tensors;

	return kc_seal_save(j->a->output, c->items, c->n, c->notes, c->n_notes, NULL);
}

static int save_pth(const struct job *j)
{
	const struct kc_converted *c = &j->tensors;

	return kc_pth_save(j->a->output, c->items, c->n, c->notes, c->n_notes);
}

static int save_h5(const struct job *j)
{
	const struct kc_converted *c = &j->tensors;

	return kc_h5_save(j->a->output, c->items, c->n, c->notes, c->n_notes, 0);
}

/* The formats that are written; one with several suffixes has several rows. */
static const struct format {
	const char *name, *suffix;
	int (*save)(const struct job *);
} formats[] = {
	{"pth", ".pth", save_pth},
	{"pth", ".pth.tar", save_pth},
	{"safetensors", ".safetensors", save_safetensors},
	{"h5", ".h5", save_h5},
	{"h5", ".hdf5", save_h5},
};

static void usage(FILE *f)
{
	fputs("usage: export -m FILE -o FILE [options]\n"
	      "       export --inspect FILE\n"
	      "\n"
	      "  -m FILE            weights in any format that is read\n"
	      "  -o FILE            where they go\n"
	      "  --format NAME      ",
	      f);
	for (size_t i = 0; i < KC_COUNT(formats); i++)
		if (!i || strcmp(formats[i].name, formats[i - 1].name))
			fprintf(f, "%s%s", i ? "|" : "", formats[i].name);
	fputs("; else what the ending of -o says\n"
	      "  --half             floating-point numbers as float16\n"
	      "  --network NAME     whose weights they must be, also as a part of TCVC's: ",
	      f);
	for (const struct kc_network *n = kc_networks; n->name; n++)
		fprintf(f, "%s%s", n == kc_networks ? "" : "|", n->name);
	fputs("; else recognised\n"
	      "  --loose            convert what there is, though it is not exactly a network's\n"
	      "  --inspect FILE     list tensors, metadata, and what does not match which network\n"
	      "  -h, --help         this\n",
	      f);
}

static int bad_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "export: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "\n\n");
	usage(stderr);
	return EXIT_FAILED;
}

static int parse(int argc, char **argv, struct arguments *a)
{
	enum { FORMAT = 256, HALF, NETWORK, LOOSE, INSPECT };
	static const struct option longs[] = {
		{"format", required_argument, NULL, FORMAT},
		{"half", no_argument, NULL, HALF},
		{"network", required_argument, NULL, NETWORK},
		{"loose", no_argument, NULL, LOOSE},
		{"inspect", required_argument, NULL, INSPECT},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "m:o:h", longs, NULL)) != -1)
		switch (c) {
		case 'm': a->input = optarg; break;
		case 'o': a->output = optarg; break;
		case FORMAT: a->format = optarg; break;
		case HALF: a->half = true; break;
		case NETWORK: a->network = optarg; break;
		case LOOSE: a->loose = true; break;
		case INSPECT: a->inspect = optarg; break;
		case 'h': a->help = true; break;
		default: usage(stderr); return EXIT_FAILED;
		}
	if (optind < argc)
		return bad_usage("unexpected argument %s", argv[optind]);
	if (!a->help && !a->inspect && (!a->input || !a->output))
		return bad_usage("%s is missing", a->input ? "-o FILE" : "-m FILE");
	return 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

static const struct format *find_format(const struct arguments *a)
{
	for (size_t i = 0; i < KC_COUNT(formats); i++)
		if (a->format ? !strcmp(a->format, formats[i].name)
			      : ends_with(a->output, formats[i].suffix))
			return &formats[i];
	return NULL;
}

/* Strictly, the file must hold exactly a network's weights; loosely, differences are told. */
static int check_network(struct job *j)
{
	char *lists;
	int n;

	j->network = j->a->network ? kc_network_named(j->a->network) : kc_network_recognise(j->w);
	if (!j->network && j->a->network)
		return KC_EINVAL;
	if (!j->network)
		return j->a->loose ? 0 : KC_FAIL(KC_EFORMAT, "%s: the weights of no network that "
						 "is known here; --loose converts them anyway",
						 j->w->path);
	n = kc_compare(j->w, j->network, &lists);
	if (n > 0)
		fputs(lists, stderr);
	free(lists);
	if (n > 0 && !j->a->loose)
		return KC_FAIL(KC_EFORMAT, "%s: %d differences from %s, listed above; --loose "
			       "converts it anyway", j->w->path, n, j->network->name);
	return KC_MIN(n, 0);
}

static int convert(const struct arguments *a, const struct kc_weights *w, const struct format *f)
{
	struct job j = {.a = a, .w = w};
	int rc;

	KC_TRY(check_network(&j));
	if (j.network && !a->loose)
		KC_TRY(kc_network_check(j.network, w, stdout));
	KC_TRY(kc_convert(w, j.network ? kc_network_part(j.network, w) : "", a->half, &j.tensors));
	rc = f->save(&j);
	if (rc >= 0)
		printf("%s: %zu tensors of %s, %s\n", a->output, j.tensors.n,
		       j.network ? j.network->name : "an unknown network", f->name);
	kc_converted_release(&j.tensors);
	return rc;
}

static int run(const struct arguments *a, const struct format *f)
{
	struct kc_weights w;
	int rc;

	KC_TRY(kc_weights_open(a->inspect ? a->inspect : a->input, &w));
	rc = a->inspect ? kc_inspect(&w, stdout) : convert(a, &w, f);
	kc_weights_close(&w);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	const struct format *f = NULL;
	int status = parse(argc, argv, &a);

	if (status)
		return status;
	if (a.help) {
		usage(stdout);
		return 0;
	}
	if (!a.inspect) {
		f = find_format(&a);
		if (!f)
			return a.format ? bad_usage("--format: %s is not known", a.format)
					: bad_usage("%s: say --format, its ending tells none",
						    a.output);
	}
	if (run(&a, f) >= 0)
		return 0;
	fprintf(stderr, "export: %s\n", kc_errmsg());
	return EXIT_FAILED;
}
