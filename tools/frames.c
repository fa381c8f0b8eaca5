/* bin/frames: the frames of a video file as a folder of images; see usage below. */
#include "core/file.h"
#include "data/resize.h"
#include "data/video.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct arguments {
	const char *input, *output, *format;
	int width, height, fit;         /* 0: the video's own */
	long start, count, every;
	bool help;
};

static void usage(FILE *f)
{
	fputs("usage: frames -i VIDEO -o FOLDER [options]\n"
	      "\n"
	      "  -i VIDEO      any file that FFmpeg's libraries read\n"
	      "  -o FOLDER     gets 00000.png, 00001.png, ...\n"
	      "  --size WxH    resize (aspect is not kept)\n"
	      "  --fit N       resize so that the longer side is at most N\n"
	      "  --start K     leave out the first K frames\n"
	      "  --every K     take every K-th frame (1)\n"
	      "  --count N     take at most N frames\n"
	      "  --format png|jpg\n"
	      "  -h, --help    this\n"
	      "\n"
	      "Prints the number of frames written.  exit status: 0 done, 1 error\n", f);
}

static int bad_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "frames: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "\n\n");
	usage(stderr);
	return 1;
}

static bool number(const char *text, long low, long *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	return end != text && !*end && *out >= low && *out <= 1L << 30;
}

static bool size(const char *text, struct arguments *a)
{
	char *end;
	long w = strtol(text, &end, 10), h = *end == 'x' ? strtol(end + 1, &end, 10) : 0;

	a->width = (int)w;
	a->height = (int)h;
	return !*end && w > 0 && h > 0 && w <= 1 << 14 && h <= 1 << 14;
}

enum { SIZE = 256, FIT, START, EVERY, COUNT, FORMAT };

static int take_value(struct arguments *a, int option, const char *text)
{
	long fit;

	switch (option) {
	case SIZE: return size(text, a) ? 0 : bad_usage("--size: expected WxH, got %s", text);
	case FIT:
		if (!number(text, 1, &fit) || fit > 1 << 14)
			return bad_usage("--fit: expected a number of pixels, got %s", text);
		a->fit = (int)fit;
		return 0;
	case START:
		return number(text, 0, &a->start)
			       ? 0
			       : bad_usage("--start: expected a number, got %s", text);
	case EVERY:
		return number(text, 1, &a->every)
			       ? 0
			       : bad_usage("--every: expected a number, got %s", text);
	case COUNT:
		return number(text, 1, &a->count)
			       ? 0
			       : bad_usage("--count: expected a number, got %s", text);
	default:
		a->format = text;
		return !strcmp(text, "png") || !strcmp(text, "jpg") ? 0
			: bad_usage("--format: expected png or jpg, got %s", text);
	}
}

static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		{"size", required_argument, NULL, SIZE},
		{"fit", required_argument, NULL, FIT},
		{"start", required_argument, NULL, START},
		{"every", required_argument, NULL, EVERY},
		{"count", required_argument, NULL, COUNT},
		{"format", required_argument, NULL, FORMAT},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c, status;

	while ((c = getopt_long(argc, argv, "i:o:h", longs, NULL)) != -1)
		switch (c) {
		case 'i': a->input = optarg; break;
		case 'o': a->output = optarg; break;
		case 'h': a->help = true; return 0;
		case '?': usage(stderr); return 1;
		default:
			status = take_value(a, c, optarg);
			if (status)
				return status;
		}
	if (optind < argc)
		return bad_usage("unexpected argument %s", argv[optind]);
	if (!a->input || !a->output)
		return bad_usage("%s is missing", a->input ? "-o FOLDER" : "-i VIDEO");
	return 0;
}

static void result_size(const struct arguments *a, const struct kc_image *in, int *w, int *h)
{
	int longer = KC_MAX(in->width, in->height);

	*w = a->width ? a->width : in->width;
	*h = a->height ? a->height : in->height;
	if (!a->width && a->fit && longer > a->fit) {
		*w = KC_MAX(1, (int)lround((double)in->width * a->fit / longer));
		*h = KC_MAX(1, (int)lround((double)in->height * a->fit / longer));
	}
}

static int write_frame(const struct arguments *a, const struct kc_image *in,
		       struct kc_image *resized, long i)
{
	char *path = kc_format("%s/%05ld.%s", a->output, i, a->format);
	int w, h, rc = path ? 0 : KC_ENOMEM;

	result_size(a, in, &w, &h);
	if (w != in->width || h != in->height) {
		rc = rc ? rc : kc_image_resize(in, w, h, KC_FILTER_BICUBIC, resized);
		in = resized;
	}
	rc = rc ? rc : kc_image_write(path, in, 95);
	free(path);
	return rc;
}

static int extract(const struct arguments *a, struct kc_video *v, long *written)
{
	struct kc_image image = {0}, resized = {0};
	int rc = 1;

	*written = 0;
	for (long i = 0; rc > 0 && (!a->count || *written < a->count); i++) {
		rc = kc_video_read(v, &image, NULL);
		if (rc <= 0 || i < a->start || (i - a->start) % a->every)
			continue;
		rc = write_frame(a, &image, &resized, (*written)++);
		rc = rc < 0 ? rc : 1;
	}
	kc_image_release(&image);
	kc_image_release(&resized);
	return KC_MIN(rc, 0);
}

static int frames(const struct arguments *a)
{
	struct kc_video *v = NULL;
	long written = 0;
	int rc = kc_video_open(a->input, &v);

	rc = rc ? rc : kc_dir_make(a->output);
	rc = rc ? rc : extract(a, v, &written);
	if (!rc && !written)
		rc = KC_FAIL(KC_EFORMAT, "%s: no frame could be decoded from there on", a->input);
	if (rc < 0)
		fprintf(stderr, "frames: %s\n", kc_errmsg());
	else
		printf("%ld frames of %s\n", written, a->input);
	if (v && kc_video_damaged(v))
		fprintf(stderr, "frames: %lld damaged parts were left out\n",
			(long long)kc_video_damaged(v));
	kc_video_close(v);
	return rc < 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {.format = "png", .every = 1};
	int status = parse(argc, argv, &a);

	if (status)
		return status;
	if (a.help) {
		usage(stdout);
		return 0;
	}
	return frames(&a);
}
