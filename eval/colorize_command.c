#include "eval/colorize_command.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void kc_colorize_usage(FILE *f)
{
	fputs("usage: colorize -i FOLDER -o FOLDER -m MODEL [options]\n"
	      "\n"
	      "  -i FOLDER          frames of a clip, or a folder of such folders, or a pack file\n"
	      "  -o FOLDER          where the coloured frames go: the same names, as PNG\n"
	      "  -m FILE            model of TCVC, or of siggraph17 or eccv16 for frame by "
	      "frame,\n"
	      "                     in any format\n"
	      "  --key-net FILE     siggraph17, if the model does not hold it\n"
	      "  --flow dis|flownet2  optical flow; FlowNet2 where there are weights\n"
	      "  --flow-net FILE    FlowNet2, if the model does not hold it\n"
	      "  --interval N       frames between two anchors (17)\n"
	      "  --intervals N,M    colorize with both and take the mean, e.g. 17,19\n"
	      "  --alternatives K   K more colourings (to 8), in folders beside: "
	      "FOLDER-alternative1 ...;\n"
	      "                     each leans to one of the likeliest colours of the first frame\n"
	      "  --confidence       how sure the network is, as grey frames: FOLDER-confidence;\n"
	      "                     both need 313 bins: eccv16, or TCVC with them\n"
	      "  --size N           the networks see N x N pixels (256); results have the input's "
	      "size\n"
	      "  --hints FILE       colours at places: lines FRAME X Y COLOUR [RADIUS], where "
	      "FRAME may\n"
	      "                     be all and COLOUR is #rrggbb or A,B; or JSON objects.  With "
	      "TCVC, on\n"
	      "                     anchors, from which they spread\n"
	      "  --global-hist IMAGE  let colours be as common as there, and\n"
	      "  --saturation X     let the mean saturation be X, 0 to 1: for siggraph17 trained "
	      "with\n"
	      "                     network_G.global_hints\n"
	      "  --mask-cent X      what training took off the mask of hints, where the file does "
	      "not\n"
	      "                     say: 0 as published (default), 0.5 of colorization-pytorch\n"
	      "  --suggest X,Y[,FRAME]  print the likeliest colours of a pixel; write nothing\n"
	      "  --gray-input       take BT.601 luma of the frames: for film with a tint\n"
	      "  --published        clip colours outside of sRGB, as the public code does\n"
	      "  --precision float32|bf16|auto   of the networks (float32)\n"
	      "  --device NAME      cpu (the default), cuda or cuda:N\n"
	      "  --list-devices     print the devices, and why others cannot be used\n"
	      "  -j N               threads (one per core)\n"
	      "  --dry-run          print what would be done and its memory; write nothing\n"
	      "  -v                 a line per clip more\n"
	      "  -h, --help         this\n"
	      "\n"
	      "Only the luma of the input is used, and it is kept.\n"
	      "exit status: 0 done, 1 error, 2 stopped by SIGTERM (start again), 130 interrupted\n",
	      f);
}

static int bad_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "colorize: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "\n\n");
	kc_colorize_usage(stderr);
	return KC_COLORIZE_FAILED;
}

/* Whole numbers from low to high, joined by commas; how many there are, or 0. */
static int numbers(const char *text, int low, int high, int most, int *out)
{
	int n = 0;

	for (;;) {
		char *end;
		long x = strtol(text, &end, 10);

		if (end == text || x < low || x > high || n == most)
			return 0;
		out[n++] = (int)x;
		if (!*end)
			return n;
		if (*end != ',')
			return 0;
		text = end + 1;
	}
}

/* Index of text among n words; -1 if it is none of them. */
static int word(const char *text, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(text, words[i]))
			return i;
	return -1;
}

enum { KEY_NET = 256, FLOW, FLOW_NET, INTERVAL, INTERVALS, SIZE, GREY, PUBLISHED, PRECISION, DEVICE,
       LIST, DRY, HINTS, GLOBAL_HIST, SATURATION, MASK_CENT, SUGGEST,
       ALTERNATIVES, CONFIDENCE };

static bool unit(const char *text, double *x)
{
	char *end;

	*x = strtod(text, &end);
	return end != text && !*end && *x >= 0 && *x <= 1;
}

static int take_place(struct kc_guide *g, const char *text)
{
	int at[3] = {0}, n = numbers(text, 0, INT_MAX, 3, at);

	g->suggest = true;
	g->x = at[0];
	g->y = at[1];
	g->frame = at[2];
	return n >= 2 ? 0 : bad_usage("--suggest: expected X,Y or X,Y,FRAME, got %s", text);
}

static int take_value(struct kc_colorize_command *a, int option, const char *text)
{
	static const char *const flows[] = {"", "dis", "flownet2"};
	static const char *const precisions[] = {"float32", "bf16", "auto"};
	int i;

	switch (option) {
	case FLOW:
		i = word(text, flows, 3);
		a->files.flow = (enum kc_flow_choice)i;
		return i > 0 ? 0 : bad_usage("--flow: expected dis or flownet2, got %s", text);
	case PRECISION:
		i = word(text, precisions, 3);
		a->precision = i;
		return i >= 0 ? 0
			      : bad_usage("--precision: expected float32, bf16 or auto, got %s",
					  text);
	case DEVICE:
		a->device = text;
		return 0;
	case INTERVAL:
	case INTERVALS:
		a->network.n_intervals =
			numbers(text, 1, 1000, option == INTERVAL ? 1 : 2, a->network.intervals);
		if (a->network.n_intervals)
			return 0;
		return bad_usage(option == INTERVAL
					 ? "--interval: expected a number from 1 to 1000, got %s"
					 : "--intervals: expected two numbers from 1 to 1000 like "
					   "17,19, got %s",
				 text);
	case SATURATION:
		return unit(text, &a->guide.saturation) ? 0
			: bad_usage("--saturation: expected a number from 0 to 1, got %s", text);
	case MASK_CENT:
		a->files.has_mask_cent = unit(text, &a->files.mask_cent);
		return a->files.has_mask_cent ? 0
			: bad_usage("--mask-cent: expected a number from 0 to 1, got %s", text);
	case SUGGEST:
		return take_place(&a->guide, text);
	case SIZE:
		return numbers(text, 16, 4096, 1, &a->network.size) ? 0
			: bad_usage("--size: expected a number from 16 to 4096, got %s", text);
	case ALTERNATIVES:
		return numbers(text, 1, KC_ALTERNATIVES_MOST, 1, &a->network.alternatives) ? 0
			: bad_usage("--alternatives: expected a number from 1 to 8, got %s", text);
	default:
		return numbers(text, 1, 1024, 1, &a->threads) ? 0
			: bad_usage("-j: expected a number of threads, got %s", text);
	}
}

int kc_colorize_parse(int argc, char **argv, struct kc_colorize_command *a)
{
	static const struct option longs[] = {
		{"key-net", required_argument, NULL, KEY_NET},
		{"flow", required_argument, NULL, FLOW},
		{"flow-net", required_argument, NULL, FLOW_NET},
		{"interval", required_argument, NULL, INTERVAL},
		{"intervals", required_argument, NULL, INTERVALS},
		{"size", required_argument, NULL, SIZE},
		{"hints", required_argument, NULL, HINTS},
		{"global-hist", required_argument, NULL, GLOBAL_HIST},
		{"saturation", required_argument, NULL, SATURATION},
		{"mask-cent", required_argument, NULL, MASK_CENT},
		{"suggest", required_argument, NULL, SUGGEST},
		{"alternatives", required_argument, NULL, ALTERNATIVES},
		{"confidence", no_argument, NULL, CONFIDENCE},
		{"gray-input", no_argument, NULL, GREY},
		{"published", no_argument, NULL, PUBLISHED},
		{"precision", required_argument, NULL, PRECISION},
		{"device", required_argument, NULL, DEVICE},
		{"list-devices", no_argument, NULL, LIST},
		{"dry-run", no_argument, NULL, DRY},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c, status;

	while ((c = getopt_long(argc, argv, "i:o:m:j:vh", longs, NULL)) != -1)
		switch (c) {
		case 'i': a->input = optarg; break;
		case 'o': a->output = optarg; break;
		case 'm': a->files.model = optarg; break;
		case KEY_NET: a->files.key_net = optarg; break;
		case FLOW_NET: a->files.flow_net = optarg; break;
		case HINTS: a->guide.hints = optarg; break;
		case GLOBAL_HIST: a->guide.reference = optarg; break;
		case GREY: a->grey_input = true; break;
		case PUBLISHED: a->network.published = true; break;
		case CONFIDENCE: a->network.confidence = true; break;
		case LIST: a->list_devices = true; break;
		case DRY: a->dry_run = true; break;
		case 'v': a->verbose = true; break;
		case 'h': a->help = true; break;
		case '?': kc_colorize_usage(stderr); return KC_COLORIZE_FAILED;
		default:
			status = take_value(a, c, optarg);
			if (status)
				return status;
		}
	if (optind < argc)
		return bad_usage("unexpected argument %s", argv[optind]);
	if (a->help || a->list_devices)
		return 0;
	if (!a->input || !a->files.model || (!a->output && !a->dry_run && !a->guide.suggest))
		return bad_usage("%s is missing", !a->input	    ? "-i FOLDER"
						  : !a->files.model ? "-m FILE"
								    : "-o FOLDER");
	return 0;
}
