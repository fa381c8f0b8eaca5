/* bin/export: weights from any format that is read into another one; see usage below. */
#include "eval/convert.h"
#include "eval/export_onnx.h"
#include "weights/h5.h"
#include "weights/pth_write.h"
#include "weights/seal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_FAILED = 1 };

struct arguments {
	const char *input, *output, *inspect, *format, *network, *mask_cent;
	bool half, loose, verify, help;
	int level;                              /* of compression */
	int height, width;                      /* of ONNX models that have a size */
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

	return kc_h5_save(j->a->output, c->items, c->n, c->notes, c->n_notes, j->a->level);
}

static int save_onnx(const struct job *j)
{
	struct kc_export_onnx_args args = {.height = j->a->height, .width = j->a->width,
					   .verify = j->a->verify};

	if (!j->network)
		return KC_FAIL(KC_ENOSUP, "%s: only known networks are written as ONNX",
			       j->w->path);
	if (j->a->half)
		return KC_FAIL(KC_ENOSUP, "ONNX is written in float32 alone");
	args.network = j->network->name;
	args.factor = kc_network_width(j->network, j->w);
	return kc_export_onnx(j->a->output, j->w, &args);
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
	{"onnx", ".onnx", save_onnx},
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
	      "  --compress LEVEL   h5: 1 to 9, the smallest; default not at all\n"
	      "  --size HxW         onnx: of flownet2's frames, and for --verify; default 256x256\n"
	      "  --verify           onnx: compare with ONNX Runtime, which needs node and its\n"
	      "                     package onnxruntime-node (NODE_PATH)\n"
	      "  --network NAME     whose weights they must be, also as a part of TCVC's: ",
	      f);
	for (const struct kc_network *n = kc_networks; n->name; n++)
		fprintf(f, "%s%s", n == kc_networks ? "" : "|", n->name);
	fputs("; else recognised\n"
	      "  --mask-cent X      siggraph17, for files that do not tell: what training took\n"
	      "                     off the mask of hints (0 for the published weights, 0.5 of\n"
	      "                     colorization-pytorch); goes into the metadata\n"
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

static bool parse_level(const char *text, int *level)
{
	*level = text[0] >= '1' && text[0] <= '9' && !text[1] ? text[0] - '0' : 0;
	return *level > 0;
}

static bool is_share(const char *text)
{
	char *end;
	double x = strtod(text, &end);

	return end != text && !*end && x >= 0 && x <= 1;
}

static bool parse_size(const char *text, struct arguments *a)
{
	char *end;
	long h = strtol(text, &end, 10), w = *end == 'x' ? strtol(end + 1, &end, 10) : 0;

	if (*end || h < 8 || w < 8 || h > 8192 || w > 8192 || h % 8 || w % 8)
		return false;
	a->height = (int)h;
	a->width = (int)w;
	return true;
}

static int parse(int argc, char **argv, struct arguments *a)
{
	enum { FORMAT = 256, HALF, NETWORK, LOOSE, INSPECT, COMPRESS, SIZE, VERIFY,
	       MASK_CENT };
	static const struct option longs[] = {
		{"format", required_argument, NULL, FORMAT},
		{"half", no_argument, NULL, HALF},
		{"network", required_argument, NULL, NETWORK},
		{"mask-cent", required_argument, NULL, MASK_CENT},
		{"loose", no_argument, NULL, LOOSE},
		{"inspect", required_argument, NULL, INSPECT},
		{"compress", required_argument, NULL, COMPRESS},
		{"size", required_argument, NULL, SIZE},
		{"verify", no_argument, NULL, VERIFY},
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
		case VERIFY: a->verify = true; break;
		case MASK_CENT:
			if (!is_share(optarg))
				return bad_usage("--mask-cent: %s is not a number from 0 to 1",
						 optarg);
			a->mask_cent = optarg;
			break;
		case COMPRESS:
			if (!parse_level(optarg, &a->level))
				return bad_usage("--compress: %s is not 1 to 9", optarg);
			break;
		case SIZE:
			if (!parse_size(optarg, a))
				return bad_usage("--size: %s is not HxW, multiples of 8", optarg);
			break;
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
	rc = a->mask_cent ? kc_weights_tell(&w, "mask_cent", a->mask_cent) : 0;
	if (rc >= 0)
		rc = a->inspect ? kc_inspect(&w, stdout) : convert(a, &w, f);
	kc_weights_close(&w);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments a = {.height = 256, .width = 256};
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
		if (a.verify && f->save != save_onnx)
			return bad_usage("--verify: %s is not run by others", f->name);
	}
	if (run(&a, f) >= 0)
		return 0;
	fprintf(stderr, "export: %s\n", kc_errmsg());
	return EXIT_FAILED;
}
