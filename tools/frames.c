/* bin/frames: the frames of a video file as a folder of images; see rows below. */
#include "core/args.h"
#include "core/file.h"
#include "data/resize.h"
#include "data/video.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 1 << 14, MOST = 1 << 30 };      /* pixels, frames */

struct arguments {
	const char *input, *output, *format;
	int width, height, fit;         /* 0: the video's own */
	int start, count, every;
	bool help;
};

static int take_size(void *obj, const char *text)
{
	struct arguments *a = obj;
	char *end;
	long w = strtol(text, &end, 10), h = *end == 'x' ? strtol(end + 1, &end, 10) : 0;

	if (*end || w < 1 || h < 1 || w > LARGEST || h > LARGEST)
		return KC_FAIL(KC_EINVAL, "expected WxH");
	a->width = (int)w;
	a->height = (int)h;
	return 0;
}

#define AT(member) .offset = offsetof(struct arguments, member)
static const struct kc_arg rows[] = {
	{'i', NULL, "VIDEO", KC_ARG_TEXT, AT(input),
	 .help = "any file that FFmpeg's libraries read"},
	{'o', NULL, "FOLDER", KC_ARG_TEXT, AT(output), .help = "gets 00000.png, 00001.png, ..."},
	{0, "size", "WxH", KC_ARG_OTHER, .take = take_size, .help = "resize (aspect is not kept)"},
	{0, "fit", "N", KC_ARG_INT, AT(fit), .min = 1, .max = LARGEST,
	 .help = "resize so that the longer side is at most N"},
	{0, "start", "K", KC_ARG_INT, AT(start), .max = MOST,
	 .help = "leave out the first K frames"},
	{0, "every", "K", KC_ARG_INT, AT(every), .min = 1, .max = MOST,
	 .help = "take every K-th frame (1)"},
	{0, "count", "N", KC_ARG_INT, AT(count), .min = 1, .max = MOST,
	 .help = "take at most N frames"},
	{0, "format", "png|jpg", KC_ARG_TEXT, AT(format), .choices = "png|jpg",
	 .help = "of the frames (png)"},
	{'h', "help", NULL, KC_ARG_FLAG, AT(help), .help = "this"},
};

static const struct kc_args args = {
	"frames -i VIDEO -o FOLDER [options]", rows, KC_COUNT(rows),
	"Prints the number of frames written.  exit status: 0 done, 1 error",
};

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
	int rc = kc_args_read(&args, argc, argv, &a);

	if (rc >= 0 && a.help) {
		kc_args_help(&args, stdout);
		return 0;
	}
	if (rc >= 0 && (!a.input || !a.output))
		rc = KC_FAIL(KC_EINVAL, "%s is missing", a.input ? "-o FOLDER" : "-i VIDEO");
	if (rc < 0) {
		fprintf(stderr, "frames: %s\n\n", kc_errmsg());
		kc_args_help(&args, stderr);
		return 1;
	}
	return frames(&a);
}
