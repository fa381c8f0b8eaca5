#include "data/image.h"

#include "core/file.h"
#include "data/av.h"
#include "data/ycbcr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

int kc_image_resize_buffer(struct kc_image *image, int width, int height)
{
	size_t size = (size_t)width * (size_t)height * 3;

	if (width < 1 || height < 1 || (int64_t)width * height > KC_IMAGE_PIXELS)
		return KC_FAIL(KC_EFORMAT, "a picture of %d x %d pixels", width, height);
	if (size > image->room) {
		free(image->rgb);
		image->room = 0;
		image->rgb = kc_alloc(size);
		if (!image->rgb)
			return KC_ENOMEM;
		image->room = size;
	}
	image->width = width;
	image->height = height;
	return 0;
}

void kc_image_release(struct kc_image *image)
{
	free(image->rgb);
	memset(image, 0, sizeof *image);
}

static bool name_ends(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && !strcasecmp(name + n - m, end);
}

bool kc_image_name(const char *name)
{
	static const char *const ends[] = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff",
					   ".webp", ".ppm", ".pgm", ".pnm"};

	for (size_t i = 0; i < KC_COUNT(ends); i++)
		if (name_ends(name, ends[i]))
			return true;
	return false;
}

/* ---- structure of the two common formats ---- */

static uint32_t big_endian(const uint8_t *b, int n)
{
	uint32_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | b[i];
	return v;
}

/* Walks the chunks of a PNG file to IEND. */
static int scan_png(const uint8_t *b, size_t size, int *width, int *height)
{
	size_t at = 8;

	*width = 0;
	while (size - at >= 12) {
		size_t n = big_endian(b + at, 4);

		if (n > size - at - 12)
			break;
		if (!memcmp(b + at + 4, "IHDR", 4) && n >= 8) {
			*width = (int)(big_endian(b + at + 8, 4) & INT32_MAX);
			*height = (int)(big_endian(b + at + 12, 4) & INT32_MAX);
		}
		if (!memcmp(b + at + 4, "IEND", 4) && *width)
			return 0;
		at += n + 12;
	}
	return KC_FAIL(KC_EFORMAT, "damaged: the PNG file ends early");
}

static bool is_frame_marker(int m)
{
	return m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc;
}

/* Walks the markers of a JPEG file, over the entropy-coded data, to the end marker. */
static int scan_jpeg(const uint8_t *b, size_t size, int *width, int *height)
{
	size_t at = 2;

	*width = 0;
	while (size - at >= 2) {
		int m = b[at + 1];
		bool bare = m == 0 || m == 0xff || (m >= 0xd0 && m <= 0xd7);
		size_t n;

		if (b[at] != 0xff || bare) {
			at += b[at] != 0xff || m == 0xff ? 1 : 2;
			continue;
		}
		if (m == 0xd9 && *width)
			return 0;
		if (size - at < 4)
			break;
		n = big_endian(b + at + 2, 2);
		if (n < 2 || n > size - at - 2)
			break;
		if (is_frame_marker(m) && n >= 7) {
			*height = (int)big_endian(b + at + 5, 2);
			*width = (int)big_endian(b + at + 7, 2);
		}
		at += n + 2;
	}
	return KC_FAIL(KC_EFORMAT, "damaged: the JPEG file ends early");
}

static enum AVCodecID codec_of(const uint8_t *b, size_t size)
{
	if (size < 12)
		return AV_CODEC_ID_NONE;
	if (!memcmp(b, "\x89PNG\r\n\x1a\n", 8))
		return AV_CODEC_ID_PNG;
	if (!memcmp(b, "\xff\xd8\xff", 3))
		return AV_CODEC_ID_MJPEG;
	if (!memcmp(b, "BM", 2))
		return AV_CODEC_ID_BMP;
	if (!memcmp(b, "RIFF", 4) && !memcmp(b + 8, "WEBP", 4))
		return AV_CODEC_ID_WEBP;
	if (!memcmp(b, "II*\0", 4) || !memcmp(b, "MM\0*", 4))
		return AV_CODEC_ID_TIFF;
	if (!memcmp(b, "P5", 2) || !memcmp(b, "P2", 2))
		return AV_CODEC_ID_PGM;
	if (!memcmp(b, "P6", 2) || !memcmp(b, "P3", 2))
		return AV_CODEC_ID_PPM;
	return AV_CODEC_ID_NONE;
}

/* ---- pixels ---- */

static bool is_planar_ycbcr(const AVPixFmtDescriptor *d)
{
	return !(d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) && d->nb_components == 3 &&
	       d->comp[0].depth == 8 && d->comp[0].step == 1 && d->comp[1].step == 1 &&
	       d->log2_chroma_w <= 1 && d->log2_chroma_h <= 1;
}

static int from_ycbcr(const AVFrame *f, const AVPixFmtDescriptor *d, uint8_t *rgb)
{
	bool full = f->color_range == AVCOL_RANGE_JPEG || !strncmp(d->name, "yuvj", 4);
	struct kc_ycbcr p = {
		.width = f->width, .height = f->height,
		.half_x = d->log2_chroma_w, .half_y = d->log2_chroma_h, .limited = !full,
	};

	for (int c = 0; c < 3; c++) {
		p.plane[c] = f->data[c];
		p.stride[c] = f->linesize[c];
	}
	return kc_ycbcr_to_rgb(&p, rgb);
}

static void from_palette(const AVFrame *f, uint8_t *rgb)
{
	for (int y = 0; y < f->height; y++)
		for (int x = 0; x < f->width; x++, rgb += 3) {
			size_t index = f->data[0][y * (ptrdiff_t)f->linesize[0] + x];
			uint32_t argb;

			memcpy(&argb, f->data[1] + 4 * index, sizeof argb);
			rgb[0] = (uint8_t)(argb >> 16);
			rgb[1] = (uint8_t)(argb >> 8);
			rgb[2] = (uint8_t)argb;
		}
}

/* Any grey or RGB layout that libav can describe, component by component. */
static int from_components(const AVFrame *f, const AVPixFmtDescriptor *d, uint8_t *rgb)
{
	uint16_t *line = kc_alloc((size_t)f->width * sizeof *line);
	bool inverted = f->format == AV_PIX_FMT_MONOWHITE;

	if (!line)
		return KC_ENOMEM;
	for (int y = 0; y < f->height; y++, rgb += (size_t)f->width * 3)
		for (int c = 0; c < 3; c++) {
			int from = d->nb_components < 3 ? 0 : c;
			unsigned max = (1u << d->comp[from].depth) - 1;

			av_read_image_line2(line, (const uint8_t **)f->data, f->linesize, d, 0, y,
					    from, f->width, 0, sizeof *line);
			for (int x = 0; x < f->width; x++) {
				unsigned v = inverted ? max - line[x] : line[x];

				rgb[3 * x + c] = (uint8_t)((v * 255 + max / 2) / max);
			}
		}
	free(line);
	return 0;
}

static int to_rgb(const AVFrame *f, enum AVCodecID codec, struct kc_image *image)
{
	const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
	bool rgb = d && d->flags & AV_PIX_FMT_FLAG_RGB;
	bool grey = d && d->nb_components < 3;

	if (!d ||
	    d->flags & (AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER))
		return KC_FAIL(KC_ENOSUP, "pixel format %s is not read", d ? d->name : "unknown");
	if (codec == AV_CODEC_ID_MJPEG && d->flags & AV_PIX_FMT_FLAG_ALPHA)
		return KC_FAIL(KC_ENOSUP, "a JPEG file of four components (CMYK) is not read");
	KC_TRY(kc_image_resize_buffer(image, f->width, f->height));
	if (f->format == AV_PIX_FMT_RGB24) {
		for (int y = 0; y < f->height; y++)
			memcpy(image->rgb + (size_t)y * (size_t)f->width * 3,
			       f->data[0] + y * (ptrdiff_t)f->linesize[0], (size_t)f->width * 3);
		return 0;
	}
	if (f->format == AV_PIX_FMT_PAL8) {
		from_palette(f, image->rgb);
		return 0;
	}
	if (is_planar_ycbcr(d))
		return from_ycbcr(f, d, image->rgb);
	if ((rgb || grey) && d->comp[0].depth <= 16)
		return from_components(f, d, image->rgb);
	return KC_FAIL(KC_ENOSUP, "pixel format %s is not read", d->name);
}

/* ---- decoding ---- */

static int check_structure(const uint8_t *bytes, size_t size, enum AVCodecID codec)
{
	int width, height;

	if (codec == AV_CODEC_ID_PNG)
		return scan_png(bytes, size, &width, &height);
	if (codec == AV_CODEC_ID_MJPEG)
		return scan_jpeg(bytes, size, &width, &height);
	return 0;
}

static int run_decoder(AVCodecContext *av, const AVPacket *packet, AVFrame *frame)
{
	int rc = avcodec_send_packet(av, packet);

	if (rc >= 0)
		rc = avcodec_send_packet(av, NULL);
	if (rc >= 0)
		rc = avcodec_receive_frame(av, frame);
	if (rc == AVERROR(ENOMEM))
		return KC_FAIL(KC_ENOMEM, "out of memory while decoding");
	if (rc == AVERROR_PATCHWELCOME)
		return kc_av_fail(KC_ENOSUP, rc, "not read");
	if (rc < 0)
		return kc_av_fail(KC_EFORMAT, rc, "damaged");
	if (frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT)
		return kc_av_fail(KC_EFORMAT, AVERROR_INVALIDDATA, "damaged");
	return 0;
}

static int decode_with(const AVCodec *codec, const uint8_t *bytes, size_t size,
		       struct kc_image *image)
{
	AVCodecContext *av = avcodec_alloc_context3(codec);
	AVPacket *packet = av_packet_alloc();
	AVFrame *frame = av_frame_alloc();
	int rc = 0;

	if (!av || !packet || !frame || av_new_packet(packet, (int)size) < 0) {
		rc = KC_FAIL(KC_ENOMEM, "out of memory while decoding");
		goto out;
	}
	memcpy(packet->data, bytes, size);
	av->thread_count = 1;
	av->max_pixels = KC_IMAGE_PIXELS;
	av->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
	av->flags |= AV_CODEC_FLAG_BITEXACT;
	av->idct_algo = FF_IDCT_INT;
	rc = avcodec_open2(av, codec, NULL);
	if (rc < 0)
		rc = kc_av_fail(KC_EBACKEND, rc, "libav cannot start its decoder");
	else
		rc = run_decoder(av, packet, frame);
	if (rc >= 0)
		rc = to_rgb(frame, codec->id, image);
out:
	av_frame_free(&frame);
	av_packet_free(&packet);
	avcodec_free_context(&av);
	return rc;
}

int kc_image_decode(const void *bytes, size_t size, struct kc_image *image)
{
	enum AVCodecID id = codec_of(bytes, size);
	const AVCodec *codec;

	if (id == AV_CODEC_ID_NONE || size > KC_IMAGE_BYTES)
		return KC_FAIL(KC_EFORMAT,
			       "not an image (PNG, JPEG, BMP, TIFF, WebP or PNM expected)");
	KC_TRY(check_structure(bytes, size, id));
	kc_av_begin();
	codec = avcodec_find_decoder(id);
	if (!codec)
		return KC_FAIL(KC_ENOSUP, "this libav has no decoder for %s", avcodec_get_name(id));
	return decode_with(codec, bytes, size, image);
}

int kc_image_read(const char *path, struct kc_image *image)
{
	char *bytes;
	size_t size;
	int rc;

	KC_TRY(kc_file_read(path, KC_IMAGE_BYTES, &bytes, &size));
	rc = kc_image_decode(bytes, size, image);
	free(bytes);
	return rc < 0 ? kc_cause(rc, "%s", path) : rc;
}

static int size_by_decoding(const char *path, int *width, int *height)
{
	struct kc_image image = {0};
	int rc = kc_image_read(path, &image);

	*width = image.width;
	*height = image.height;
	kc_image_release(&image);
	return rc;
}

int kc_image_size(const char *path, int *width, int *height)
{
	struct kc_map map;
	enum AVCodecID id;
	int rc = 0;

	KC_TRY(kc_map_open(path, &map));
	id = map.data ? codec_of(map.data, map.size) : AV_CODEC_ID_NONE;
	if (id == AV_CODEC_ID_PNG)
		rc = scan_png(map.data, map.size, width, height);
	else if (id == AV_CODEC_ID_MJPEG)
		rc = scan_jpeg(map.data, map.size, width, height);
	kc_map_close(&map);
	if (rc < 0)
		return kc_cause(rc, "%s", path);
	if (id != AV_CODEC_ID_PNG && id != AV_CODEC_ID_MJPEG)
		return size_by_decoding(path, width, height);
	if (*width < 1 || *height < 1 || (int64_t)*width * *height > KC_IMAGE_PIXELS)
		return KC_FAIL(KC_EFORMAT, "%s: a picture of %d x %d pixels", path, *width,
			       *height);
	return 0;
}

/* ---- encoding ---- */

/* Annex K of ITU-T T.81, tables K.1 and K.2, in row order. */
static const uint8_t quantizer[2][64] = {
	{16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
	 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
	 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
	 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},
	{17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
	 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
	 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
	 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99},
};

/* The usual scale: 50 is the table itself, 100 all ones.  libav multiplies by qscale / 8 = 1. */
static uint16_t *scaled_quantizer(int table, int quality)
{
	int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
	uint16_t *q = av_malloc(64 * sizeof *q);

	for (int i = 0; q && i < 64; i++)
		q[i] = (uint16_t)KC_MIN(KC_MAX((quantizer[table][i] * scale + 50) / 100, 1), 255);
	return q;
}

static int set_up_encoder(AVCodecContext *av, const struct kc_image *image, bool jpeg, int quality)
{
	av->width = image->width;
	av->height = image->height;
	av->time_base = (AVRational){1, 25};
	av->thread_count = 1;
	av->flags |= AV_CODEC_FLAG_BITEXACT;
	av->pix_fmt = jpeg ? AV_PIX_FMT_YUVJ444P : AV_PIX_FMT_RGB24;
	if (!jpeg) {
		av->compression_level = 3;
		av_opt_set(av, "pred", "up", AV_OPT_SEARCH_CHILDREN);
		return 0;
	}
	av->color_range = AVCOL_RANGE_JPEG;
	av->flags |= AV_CODEC_FLAG_QSCALE;
	av->qmin = av->qmax = 8;
	av->global_quality = 8 * FF_QP2LAMBDA;
	av->dct_algo = FF_DCT_INT;
	av->intra_matrix = scaled_quantizer(0, quality);
	av->chroma_intra_matrix = scaled_quantizer(1, quality);
	if (!av->intra_matrix || !av->chroma_intra_matrix)
		return KC_FAIL(KC_ENOMEM, "out of memory while encoding");
	return 0;
}

static int fill_frame(AVFrame *frame, const AVCodecContext *av, const struct kc_image *image)
{
	const size_t row = (size_t)image->width * 3;

	frame->format = av->pix_fmt;
	frame->width = av->width;
	frame->height = av->height;
	frame->quality = av->global_quality;
	frame->color_range = av->color_range;
	if (av_frame_get_buffer(frame, 0) < 0)
		return KC_FAIL(KC_ENOMEM, "out of memory while encoding");
	if (av->pix_fmt == AV_PIX_FMT_RGB24) {
		for (int y = 0; y < image->height; y++)
			memcpy(frame->data[0] + y * (ptrdiff_t)frame->linesize[0],
			       image->rgb + (size_t)y * row, row);
	} else {
		const ptrdiff_t stride[3] = {frame->linesize[0], frame->linesize[1],
					     frame->linesize[2]};

		kc_ycbcr_from_rgb(image->rgb, image->width, image->height, frame->data, stride);
	}
	return 0;
}

static int run_encoder(AVCodecContext *av, const AVFrame *frame, uint8_t **bytes, size_t *size)
{
	AVPacket *packet = av_packet_alloc();
	int rc = packet ? avcodec_send_frame(av, frame) : AVERROR(ENOMEM);

	if (rc >= 0)
		rc = avcodec_receive_packet(av, packet);
	if (rc < 0) {
		rc = kc_av_fail(KC_EBACKEND, rc, "libav cannot encode");
	} else {
		*size = (size_t)packet->size;
		*bytes = kc_alloc(*size);
		if (*bytes)
			memcpy(*bytes, packet->data, *size);
		rc = *bytes ? 0 : KC_ENOMEM;
	}
	av_packet_free(&packet);
	return rc;
}

int kc_image_encode(const struct kc_image *image, enum kc_image_format format, int quality,
		    uint8_t **bytes, size_t *size)
{
	bool jpeg = format == KC_IMAGE_JPEG;
	const AVCodec *codec = avcodec_find_encoder(jpeg ? AV_CODEC_ID_MJPEG : AV_CODEC_ID_PNG);
	AVCodecContext *av;
	AVFrame *frame;
	int rc;

	if (jpeg && (quality < 1 || quality > 100))
		return KC_FAIL(KC_EINVAL, "JPEG quality %d, 1 to 100 expected", quality);
	if (!codec)
		return KC_FAIL(KC_ENOSUP, "this libav has no encoder for %s",
			       jpeg ? "JPEG" : "PNG");
	kc_av_begin();
	av = avcodec_alloc_context3(codec);
	frame = av_frame_alloc();
	if (!av || !frame)
		rc = KC_FAIL(KC_ENOMEM, "out of memory while encoding");
	else
		rc = set_up_encoder(av, image, jpeg, quality);
	if (rc >= 0) {
		int averr = avcodec_open2(av, codec, NULL);

		if (averr < 0)
			rc = kc_av_fail(KC_EBACKEND, averr, "libav cannot start its encoder");
	}
	if (rc >= 0)
		rc = fill_frame(frame, av, image);
	if (rc >= 0)
		rc = run_encoder(av, frame, bytes, size);
	if (av)
		av_freep(&av->chroma_intra_matrix);     /* libav 5 forgets it */
	av_frame_free(&frame);
	avcodec_free_context(&av);
	return rc;
}

/*
 * Beside, then renamed: never half a picture under its name.  Not made durable one by one, as
 * kc_file_write does: that costs 14 ms a file, and pictures come by the thousand.
 */
static int write_quickly(const char *path, const uint8_t *bytes, size_t size)
{
	char *temp = kc_format("%s.tmp", path);
	FILE *f = temp ? fopen(temp, "wb") : NULL;
	bool good = f && fwrite(bytes, 1, size, f) == size;
	int rc = temp ? 0 : KC_ENOMEM;

	if (f && fclose(f) != 0)
		good = false;
	if (temp && (!good || rename(temp, path) < 0)) {
		rc = KC_FAIL(errno == ENOENT ? KC_ENOENT : KC_EIO, "%s: cannot write: %s", path,
			     strerror(errno));
		unlink(temp);
	}
	free(temp);
	return rc;
}

int kc_image_write(const char *path, const struct kc_image *image, int quality)
{
	bool jpeg = name_ends(path, ".jpg") || name_ends(path, ".jpeg");
	uint8_t *bytes;
	size_t size;
	int rc;

	if (!jpeg && !name_ends(path, ".png"))
		return KC_FAIL(KC_EINVAL, "%s: a name in .png, .jpg or .jpeg expected", path);
	rc = kc_image_encode(image, jpeg ? KC_IMAGE_JPEG : KC_IMAGE_PNG, quality, &bytes, &size);
	if (rc < 0)
		return kc_cause(rc, "%s", path);
	rc = write_quickly(path, bytes, size);
	free(bytes);
	return rc;
}
