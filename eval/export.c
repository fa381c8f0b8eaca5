/* bin/export: weights from any format that is read into another one; see rows below. */
#include "core/args.h"
#include "eval/convert.h"
#include "eval/export_onnx.h"
#include "weights/h5.h"
#include "weights/pth_write.h"
#include "weights/seal.h"

#include <stddef.h>
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

static void put_formats(FILE *f)
{
	for (size_t i = 0; i < KC_COUNT(formats); i++)
		if (!i || strcmp(formats[i].name, formats[i - 1].name))
			fprintf(f, "%s%s", i ? "|" : "", formats[i].name);
}

static void put_networks(FILE *f)
{
	for (const struct kc_network *n = kc_networks; n->name; n++)
		fprintf(f, "%s%s", n == kc_networks ? "" : "|", n->name);
}

static int take_share(void *obj, const char *text)
{
	struct arguments *a = obj;
	char *end;
	double x = strtod(text, &end);

	a->mask_cent = text;
	return end != text && !*end && x >= 0 && x <= 1
		       ? 0
		       : KC_FAIL(KC_EINVAL, "expected a number from 0 to 1");
}

static int take_size(void *obj, const char *text)
{
	struct arguments *a = obj;
	char *end;
	long h = strtol(text, &end, 10), w = *end == 'x' ? strtol(end + 1, &end, 10) : 0;

	if (*end || h < 8 || w < 8 || h > 8192 || w > 8192 || h % 8 || w % 8)
		return KC_FAIL(KC_EINVAL, "expected HxW, multiples of 8");
	a->height = (int)h;
	a->width = (int)w;
	return 0;
}

#define AT(member) .offset = offsetof(struct arguments, member)
static const struct kc_arg rows[] = {
	{'m', NULL, "FILE", KC_ARG_TEXT, AT(input), .help = "weights in any format that is read"},
	{'o', NULL, "FILE", KC_ARG_TEXT, AT(output), .help = "where they go"},
	{0, "format", "NAME", KC_ARG_TEXT, AT(format),
	 .help = "of -o, else what its ending says: ", .more = put_formats},
	{0, "half", NULL, KC_ARG_FLAG, AT(half), .help = "floating-point numbers as float16"},
	{0, "compress", "LEVEL", KC_ARG_INT, AT(level), .min = 1, .max = 9,
	 .help = "h5: 1 to 9, the smallest; default not at all"},
	{0, "size", "HxW", KC_ARG_OTHER, .take = take_size,
	 .help = "onnx: of flownet2's frames, and for --verify; default 256x256"},
	{0, "verify", NULL, KC_ARG_FLAG, AT(verify),
	 .help = "onnx: compare with ONNX Runtime, which needs node and its package\n"
		 "onnxruntime-node (NODE_PATH)"},
	{0, "network", "NAME", KC_ARG_TEXT, AT(network),
	 .help = "whose weights they must be, also as a part of TCVC's; else\n"
		 "recognised: ", .more = put_networks},
	{0, "mask-cent", "X", KC_ARG_OTHER, .take = take_share,
	 .help = "siggraph17, for files that do not tell: what training took off the\n"
		 "mask of hints (0 for the published weights, 0.5 of\n"
		 "colorization-pytorch); goes into the metadata"},
	{0, "loose", NULL, KC_ARG_FLAG, AT(loose),
	 .help = "convert what there is, though it is not exactly a network's"},
	{0, "inspect", "FILE", KC_ARG_TEXT, AT(inspect),
	 .help = "list tensors, metadata, whose names they have, and what does not\n"
		 "match which network"},
	{'h', "help", NULL, KC_ARG_FLAG, AT(help), .help = "this"},
};

static const struct kc_args args = {
	"export -m FILE -o FILE [options]\nexport --inspect FILE", rows, KC_COUNT(rows), NULL,
};

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

/* What the options ask for together; *f is not set for --inspect. */
static int check_arguments(const struct arguments *a, const struct format **f)
{
	if (a->inspect)
		return 0;
	if (!a->input || !a->output)
		return KC_FAIL(KC_EINVAL, "%s is missing", a->input ? "-o FILE" : "-m FILE");
	*f = find_format(a);
	if (!*f && a->format)
		return KC_FAIL(KC_EINVAL, "--format: %s is not known", a->format);
	if (!*f)
		return KC_FAIL(KC_EINVAL, "%s: say --format, its ending tells none", a->output);
	if (a->verify && (*f)->save != save_onnx)
		return KC_FAIL(KC_EINVAL, "--verify: %s is not run by others", (*f)->name);
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {.height = 256, .width = 256};
	const struct format *f = NULL;
	int rc = kc_args_read(&args, argc, argv, &a);

	if (rc >= 0 && a.help) {
		kc_args_help(&args, stdout);
		return 0;
	}
	if (rc >= 0)
		rc = check_arguments(&a, &f);
	if (rc < 0) {
		fprintf(stderr, "export: %s\n\n", kc_errmsg());
		kc_args_help(&args, stderr);
		return EXIT_FAILED;
	}
	if (run(&a, f) >= 0)
		return 0;
	fprintf(stderr, "export: %s\n", kc_errmsg());
	return EXIT_FAILED;
}
