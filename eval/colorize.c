/* bin/colorize: folders of grey frames in, folders of coloured frames out; see usage below. */
#include "core/file.h"
#include "data/clip.h"
#include "data/dis.h"
#include "eval/guide.h"
#include "eval/model.h"
#include "eval/results.h"
#include "layers/cpu/cpu.h"
#include "layers/devices.h"

#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_RETRY = 2, EXIT_INTERRUPTED = 130 };

struct arguments {
	const char *input, *output, *device;
	struct kc_model_files files;
	struct kc_colorizer_args network;
	struct kc_guide guide;
	bool grey_input, dry_run, verbose, help, list_devices;
	enum { FLOAT32, BF16, AUTO } precision;
	int threads;
};

static void usage(FILE *f)
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
	usage(stderr);
	return EXIT_FAILED;
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

static int take_value(struct arguments *a, int option, const char *text)
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

static int parse(int argc, char **argv, struct arguments *a)
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
		case '?': usage(stderr); return EXIT_FAILED;
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

/* ---- stopping ---- */

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	if (stop_signal)
		_exit(EXIT_INTERRUPTED);
	stop_signal = number;
}

/* ---- one clip ---- */

struct work {
	const struct arguments *a;
	struct kc_dataset *data;
	struct kc_colorizer *colorizer;
	struct kc_dis **dis;            /* one per thread */
	int threads;

	const struct kc_clip *clip;
	size_t clip_number;
	struct kc_results results;
	char *folder;                   /* of its results */
	struct kc_image image;
	int64_t reported;               /* frames up to this one have been complained about */
	int64_t all_frames, done, damaged;
	double started, shown;
};

static bool is_damage(int rc)
{
	return rc == KC_EFORMAT || rc == KC_EIO || rc == KC_ENOSUP;
}

static void drop_colour(struct kc_image *image)
{
	size_t n = (size_t)image->width * (size_t)image->height;

	for (size_t i = 0; i < n; i++) {
		uint8_t grey;

		kc_grey_from_rgb(image->rgb + 3 * i, 1, &grey);
		memset(image->rgb + 3 * i, grey, 3);
	}
}

static void clear_line(void)
{
	if (isatty(2))
		fputs("\r\033[K", stderr);
}

static int read_frame(void *own, int64_t frame, struct kc_picture *p)
{
	struct work *w = own;
	int rc = stop_signal ? KC_FAIL(KC_ESTOP, "stopped")
			     : kc_clip_read(w->clip, frame, &w->image);

	if (is_damage(rc)) {
		if (frame > w->reported) {
			clear_line();
			fprintf(stderr, "damaged frame, repeated from the one before: %s\n",
				kc_errmsg());
			w->reported = frame;
		}
		return KC_DAMAGED;
	}
	KC_TRY(rc);
	if (w->a->grey_input)
		drop_colour(&w->image);
	*p = (struct kc_picture){w->image.width, w->image.height, w->image.rgb};
	return 0;
}

struct flow_job {
	const uint8_t *grey;
	int size;
	const struct kc_pair *pairs;
	int n;
	float *flow;
};

/* Every `threads`-th pair; the number of pairs that failed. */
static int run_share(const struct work *w, const struct flow_job *j, int thread)
{
	size_t pixels = (size_t)j->size * (size_t)j->size;
	int failed = 0;

	for (int p = thread; p < j->n; p += w->threads)
		failed += kc_dis_run(w->dis[thread], j->grey + pixels * (size_t)j->pairs[p].from,
				     j->grey + pixels * (size_t)j->pairs[p].to, j->size, j->size,
				     j->flow + 2 * pixels * (size_t)p) < 0;
	return failed;
}

static int find_flows(void *own, const uint8_t *grey, int size, const struct kc_pair *pairs, int n,
		      float *flow)
{
	const struct flow_job job = {grey, size, pairs, n, flow};
	const struct work *w = own;
	int failed = 0;

	#pragma omp parallel for num_threads(w->threads) schedule(static, 1) reduction(+: failed)
	for (int t = 0; t < w->threads; t++)
		failed += run_share(w, &job, t);
	return failed ? KC_FAIL(KC_EBACKEND, "optical flow failed for %d pairs of frames", failed)
		      : 0;
}

static void show_progress(struct work *w, int64_t frame)
{
	double now = kc_now(), rate = (double)w->done / (now - w->started);
	bool last = frame + 1 == w->clip->n, terminal = isatty(2);
	long long left = llround((double)(w->all_frames - w->done) / rate);

	if (now - w->shown < (terminal ? 0.17 : 5) && !last)
		return;
	w->shown = now;
	fprintf(stderr, "%s[%zu/%zu] %s: frame %lld/%lld, %.2f frames/s, %lld:%02lld left%s",
		terminal ? "\r\033[K" : "", w->clip_number + 1, w->data->n, w->clip->name,
		(long long)frame + 1, (long long)w->clip->n, rate, left / 60, left % 60,
		terminal && !last ? "" : "\n");
}

static int write_frame(void *own, int64_t frame, const struct kc_picture *p)
{
	struct work *w = own;

	KC_TRY(kc_results_write(&w->results, w->folder, frame, p));
	w->done++;
	show_progress(w, frame);
	return stop_signal ? KC_FAIL(KC_ESTOP, "stopped after frame %lld of clip %s",
				     (long long)frame, w->clip->name)
			   : 0;
}

static int draw_hints(void *own, int64_t frame, int size, float *hint, float *mask)
{
	const struct work *w = own;

	return kc_guide_draw(&w->a->guide, w->clip, frame, size, hint, mask);
}

/* In a folder of its own beside that of the results, whose frames have the same names. */
static int write_extra(void *own, int64_t frame, int which, const struct kc_picture *p)
{
	const struct work *w = own;
	char suffix[32] = "-confidence", *folder;
	int rc;

	if (which != KC_CONFIDENCE)
		snprintf(suffix, sizeof suffix, "-alternative%d", which + 1);
	folder = kc_results_folder(&w->results, suffix);
	rc = folder ? kc_results_make(&w->results, folder) : KC_ENOMEM;
	if (!rc)
		rc = kc_results_write(&w->results, folder, frame, p);
	free(folder);
	return rc;
}

static struct kc_colorizer_clip callbacks(struct work *w)
{
	return (struct kc_colorizer_clip){
		.frames = w->clip->n,
		.source = read_frame,
		.flows = find_flows,
		.hints = w->a->network.hints ? draw_hints : NULL,
		.sink = write_frame,
		.extra = write_extra,
		.own = w,
	};
}

static int colorize_clip(struct work *w)
{
	const struct kc_colorizer_clip clip = callbacks(w);
	struct kc_colorizer_count count = {0};
	int rc;

	KC_TRY(kc_results_make(&w->results, w->folder));
	w->reported = -1;
	rc = kc_colorizer_run(w->colorizer, &clip, &count);
	w->damaged += count.damaged;
	if (w->a->verbose && !rc)
		fprintf(stderr, "%s: %lld frames of %d x %d, %lld anchors, %lld windows -> %s\n",
			w->clip->name, (long long)w->clip->n, w->clip->width, w->clip->height,
			(long long)count.anchors, (long long)count.windows, w->folder);
	return rc < 0 ? kc_cause(rc, "clip %s", w->clip->name) : 0;
}

/* ---- the whole ---- */

static int colorize_all(struct work *w)
{
	w->started = kc_now();
	for (size_t i = 0; i < w->data->n; i++)
		w->all_frames += w->data->clip[i].n;
	for (size_t i = 0; i < w->data->n; i++) {
		int rc;

		w->clip = &w->data->clip[i];
		w->clip_number = i;
		w->results = (struct kc_results){w->a->output, w->data, w->clip};
		w->folder = kc_results_folder(&w->results, "");
		rc = w->folder ? colorize_clip(w) : KC_ENOMEM;
		free(w->folder);
		KC_TRY(rc);
	}
	fprintf(stderr, "%lld frames of %zu clips in %.1f s, %lld damaged ones repeated: %s\n",
		(long long)w->done, w->data->n, kc_now() - w->started, (long long)w->damaged,
		w->a->output);
	return 0;
}

static int dry_run(struct work *w)
{
	const struct kc_clip *longest = w->data->clip;
	struct kc_plan_stats s;
	int64_t frames = 0;

	for (size_t i = 0; i < w->data->n; i++) {
		const struct kc_clip *c = &w->data->clip[i];

		frames += c->n;
		if (c->n > longest->n)
			longest = c;
	}
	KC_TRY(kc_colorizer_prepare(w->colorizer, longest->n, longest->width, longest->height, &s));
	printf("%zu clips, %lld frames; longest: %s, %lld frames of %d x %d\n", w->data->n,
	       (long long)frames, longest->name, (long long)longest->n, longest->width,
	       longest->height);
	printf("memory: %.0f MB working set, %.0f MB inputs, %.0f MB weights\n",
	       (double)s.arena / 1e6, (double)s.slots / 1e6, (double)(s.params + s.packed) / 1e6);
	printf("longest window with its anchor: %.1f GFLOP\n", s.flops / 1e9);
	return 0;
}

static void describe(const struct arguments *a, const struct kc_device *d,
		     const struct kc_model_about *m, bool low)
{
	fprintf(stderr, "%s, %s\n", kc_device_describe(d), low ? "bf16" : "float32");
	fprintf(stderr, "model: %s, %s of width %g", a->files.model, m->network, m->width);
	if (m->iter >= 0)
		fprintf(stderr, ", iteration %lld", (long long)m->iter);
	if (m->key_source && m->key_source != a->files.model)
		fprintf(stderr, "; keyframe network: %s", m->key_source);
	if (m->flow_source)
		fprintf(stderr, "; flow: %s", m->flow_source);
	fputc('\n', stderr);
	if (m->temperature > 0)
		fprintf(stderr, "eccv16: annealed mean of temperature %g, %s\n", m->temperature,
			m->temperature_told ? "as the file says"
					    : "the file says none, as published weights");
}

static int suggest(struct work *w)
{
	struct kc_colorizer_clip clip;

	w->clip = w->data->clip;
	w->reported = -1;
	clip = callbacks(w);
	return kc_guide_suggest(&w->a->guide, w->colorizer, &clip, stdout);
}

static int open_dis(struct work *w)
{
	w->dis = kc_calloc((size_t)w->threads, sizeof(struct kc_dis *));
	if (!w->dis)
		return KC_ENOMEM;
	for (int i = 0; i < w->threads; i++)
		KC_TRY(kc_dis_open(KC_DIS_MEDIUM, &w->dis[i]));
	return 0;
}

static int work(struct arguments *a, struct kc_device *d, struct work *w)
{
	struct kc_model_about about;

	KC_TRY(kc_dataset_open(a->input, &w->data));
	a->network.low = a->precision == BF16 || (a->precision == AUTO && d->fast_bf16);
	KC_TRY(kc_guide_load(&a->guide, w->data));
	a->network.hints = a->guide.hints;
	KC_TRY(kc_model_open(&w->colorizer, &a->network, d, &a->files, &about));
	describe(a, d, &about, a->network.low);
	KC_TRY(kc_guide_apply(&a->guide, w->data->clip, &a->network, w->colorizer));
	if (a->guide.suggest)
		return suggest(w);
	if (a->dry_run)
		return dry_run(w);
	KC_TRY(open_dis(w));
	return colorize_all(w);
}

static void close_work(struct work *w)
{
	for (int i = 0; w->dis && i < w->threads; i++)
		kc_dis_close(w->dis[i]);
	free(w->dis);
	kc_colorizer_close(w->colorizer);
	kc_dataset_close(w->data);
	kc_image_release(&w->image);
}

static int colorize(struct arguments *a)
{
	struct work w = {.a = a};
	struct kc_device d = {0};
	const struct kc_device_choice choice = {.name = a->device, .threads = a->threads};
	int rc = kc_device_open(&d, &choice);

	w.threads = rc ? 0 : d.threads;
	if (!rc)
		rc = work(a, &d, &w);
	if (rc < 0) {
		clear_line();
		fprintf(stderr, "colorize: %s\n", kc_errmsg());
	}
	close_work(&w);
	kc_guide_release(&a->guide);
	kc_device_release(&d);
	if (rc == KC_ESTOP)
		return stop_signal == SIGINT ? EXIT_INTERRUPTED : EXIT_RETRY;
	return rc < 0 ? EXIT_FAILED : 0;
}

static int list_devices(void)
{
	char *text = kc_devices_list();

	if (text)
		fputs(text, stdout);
	free(text);
	return text ? 0 : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct arguments a = {.guide.saturation = -1};
	const struct sigaction stop = {.sa_handler = on_signal};
	int status;

	kc_cpu_share_cores(argv);
	status = parse(argc, argv, &a);
	if (status)
		return status;
	if (a.help) {
		usage(stdout);
		return 0;
	}
	if (a.list_devices)
		return list_devices();
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	return colorize(&a);
}
