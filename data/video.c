#include "data/video.h"

#include "core/file.h"
#include "data/av.h"

#include <stdlib.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>

struct kc_video {
	char *path;
	AVFormatContext *format;
	AVStream *stream;
	AVCodecContext *codec;
	AVPacket *packet;
	AVFrame *frame;
	struct SwsContext *scale;
	int width, height;              /* of the scaler's source, with its format */
	enum AVPixelFormat pixels;
	bool draining, ended;
	int64_t damaged, shown;
	double first_time;              /* of the first frame */
};

static int open_codec(struct kc_video *v)
{
	const AVCodec *decoder;
	int rc, i = av_find_best_stream(v->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);

	if (i < 0)
		return KC_FAIL(KC_EFORMAT, "%s: holds no video that can be decoded", v->path);
	v->stream = v->format->streams[i];
	v->codec = avcodec_alloc_context3(decoder);
	v->packet = av_packet_alloc();
	v->frame = av_frame_alloc();
	if (!v->codec || !v->packet || !v->frame)
		return KC_FAIL(KC_ENOMEM, "%s: out of memory", v->path);
	rc = avcodec_parameters_to_context(v->codec, v->stream->codecpar);
	if (rc >= 0) {
		/* Results of threaded decoding are the same, only sooner. */
		v->codec->thread_count = 0;
		rc = avcodec_open2(v->codec, decoder, NULL);
	}
	return rc < 0 ? kc_av_fail(KC_EFORMAT, rc, v->path) : 0;
}

static int open_file(struct kc_video *v)
{
	int rc;

	if (!kc_file_exists(v->path))
		return KC_FAIL(KC_ENOENT, "%s: no such file", v->path);
	kc_av_begin();
	rc = avformat_open_input(&v->format, v->path, NULL, NULL);
	if (rc >= 0)
		rc = avformat_find_stream_info(v->format, NULL);
	if (rc < 0)
		return kc_av_fail(KC_EFORMAT, rc, v->path);
	KC_TRY(open_codec(v));
	if (v->codec->width < 1 || v->codec->height < 1 ||
	    (int64_t)v->codec->width * v->codec->height > KC_IMAGE_PIXELS)
		return KC_FAIL(KC_EFORMAT, "%s: a video of %d x %d pixels", v->path,
			       v->codec->width, v->codec->height);
	return 0;
}

int kc_video_open(const char *path, struct kc_video **out)
{
	struct kc_video *v = kc_calloc(1, sizeof *v);
	int rc;

	if (!v)
		return KC_ENOMEM;
	v->path = kc_strdup(path);
	rc = v->path ? open_file(v) : KC_ENOMEM;
	if (rc < 0)
		kc_video_close(v);
	else
		*out = v;
	return rc;
}

void kc_video_close(struct kc_video *v)
{
	if (!v)
		return;
	sws_freeContext(v->scale);
	av_frame_free(&v->frame);
	av_packet_free(&v->packet);
	avcodec_free_context(&v->codec);
	avformat_close_input(&v->format);
	free(v->path);
	free(v);
}

int kc_video_width(const struct kc_video *v)
{
	return v->codec->width;
}

int kc_video_height(const struct kc_video *v)
{
	return v->codec->height;
}

double kc_video_rate(const struct kc_video *v)
{
	AVRational r = v->stream->avg_frame_rate;

	return r.num > 0 && r.den > 0 ? (double)r.num / r.den : 0;
}

int64_t kc_video_damaged(const struct kc_video *v)
{
	return v->damaged;
}

/* ---- decoding ---- */

/* One more packet to the decoder, or the news that there are none. */
static int send_packet(struct kc_video *v)
{
	int rc;

	do {
		av_packet_unref(v->packet);
		rc = av_read_frame(v->format, v->packet);
	} while (rc >= 0 && v->packet->stream_index != v->stream->index);
	if (rc < 0) {
		v->draining = true;
		rc = avcodec_send_packet(v->codec, NULL);
	} else {
		rc = avcodec_send_packet(v->codec, v->packet);
	}
	if (rc == AVERROR(ENOMEM))
		return KC_FAIL(KC_ENOMEM, "%s: out of memory", v->path);
	if (rc < 0 && !v->draining)
		v->damaged++;
	return 0;
}

/* 1: v->frame is the next frame; 0: the end. */
static int next_frame(struct kc_video *v)
{
	while (!v->ended) {
		int rc = avcodec_receive_frame(v->codec, v->frame);

		if (rc >= 0)
			return 1;
		if (rc == AVERROR_EOF || (v->draining && rc == AVERROR(EAGAIN)))
			v->ended = true;
		else if (rc == AVERROR(EAGAIN))
			KC_TRY(send_packet(v));
		else
			v->damaged++;
	}
	return 0;
}

/* ---- colours ---- */

static int colour_space(const AVFrame *f)
{
	switch (f->colorspace) {
	case AVCOL_SPC_BT709: return SWS_CS_ITU709;
	case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M;
	case AVCOL_SPC_FCC: return SWS_CS_FCC;
	case AVCOL_SPC_BT2020_NCL:
	case AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020;
	case AVCOL_SPC_UNSPECIFIED: return f->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
	default: return SWS_CS_ITU601;
	}
}

static bool full_range(const AVFrame *f)
{
	switch (f->format) {
	case AV_PIX_FMT_YUVJ420P:
	case AV_PIX_FMT_YUVJ422P:
	case AV_PIX_FMT_YUVJ444P:
	case AV_PIX_FMT_YUVJ440P: return true;
	default: return f->color_range == AVCOL_RANGE_JPEG;
	}
}

/* The size or the format may change within a film. */
static int make_scaler(struct kc_video *v)
{
	const AVFrame *f = v->frame;
	const int *matrix = sws_getCoefficients(colour_space(f));

	if (v->scale && v->width == f->width && v->height == f->height && v->pixels == f->format)
		return 0;
	sws_freeContext(v->scale);
	v->scale = sws_getContext(
		f->width, f->height, f->format, f->width, f->height, AV_PIX_FMT_RGB24,
		SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP, NULL,
		NULL, NULL);
	if (!v->scale)
		return KC_FAIL(KC_ENOSUP, "%s: pixel format %d cannot be converted to RGB", v->path,
			       f->format);
	sws_setColorspaceDetails(v->scale, matrix, full_range(f), matrix, 1, 0, 1 << 16, 1 << 16);
	v->width = f->width;
	v->height = f->height;
	v->pixels = f->format;
	return 0;
}

static double frame_time(const struct kc_video *v)
{
	double rate = kc_video_rate(v);

	if (v->frame->best_effort_timestamp != AV_NOPTS_VALUE)
		return (double)v->frame->best_effort_timestamp * av_q2d(v->stream->time_base);
	return rate > 0 ? (double)v->shown / rate : 0;
}

int kc_video_read(struct kc_video *v, struct kc_image *image, double *seconds)
{
	int rc;

	kc_av_begin();
	rc = next_frame(v);
	if (rc <= 0)
		return rc;
	rc = kc_image_resize_buffer(image, v->frame->width, v->frame->height);
	if (!rc)
		rc = make_scaler(v);
	if (rc < 0)
		return kc_cause(rc, "%s", v->path);
	sws_scale(v->scale, (const uint8_t *const *)v->frame->data, v->frame->linesize, 0,
		  v->frame->height, (uint8_t *[]){image->rgb}, (int[]){3 * image->width});
	if (!v->shown)
		v->first_time = frame_time(v);
	if (seconds)
		*seconds = frame_time(v) - v->first_time;
	v->shown++;
	av_frame_unref(v->frame);
	return 1;
}
