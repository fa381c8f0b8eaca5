/*
 * bin/colorize: folders of grey frames in, folders of coloured frames out; its usage stands in
 * colorize_command.c.
 */
#include "core/file.h"
#include "data/clip.h"
#include "data/dis.h"
#include "eval/colorize_command.h"
#include "eval/results.h"
#include "layers/cpu/cpu.h"
#include "layers/devices.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_RETRY = 2, EXIT_INTERRUPTED = 130 };

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
	const struct kc_colorize_command *a;
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

static void describe(const struct kc_colorize_command *a, const struct kc_device *d,
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

static int work(struct kc_colorize_command *a, struct kc_device *d, struct work *w)
{
	struct kc_model_about about;

	KC_TRY(kc_dataset_open(a->input, &w->data));
	a->network.low = a->precision == KC_COLORIZE_BF16 ||
			 (a->precision == KC_COLORIZE_AUTO && d->fast_bf16);
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

static int colorize(struct kc_colorize_command *a)
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
	return rc < 0 ? KC_COLORIZE_FAILED : 0;
}

static int list_devices(void)
{
	char *text = kc_devices_list();

	if (text)
		fputs(text, stdout);
	free(text);
	return text ? 0 : KC_COLORIZE_FAILED;
}

int main(int argc, char **argv)
{
	struct kc_colorize_command a = {.guide.saturation = -1};
	const struct sigaction stop = {.sa_handler = on_signal};
	int status;

	kc_cpu_share_cores(argv);
	status = kc_colorize_parse(argc, argv, &a);
	if (status)
		return status;
	if (a.help) {
		kc_colorize_usage(stdout);
		return 0;
	}
	if (a.list_devices)
		return list_devices();
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	return colorize(&a);
}
