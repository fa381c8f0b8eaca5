/*
 * Still images: decoding to 8-bit RGB, writing PNG and JPEG.
 *
 * Read: PNG, JPEG, BMP, TIFF, WebP, PNM.  Grey becomes three equal channels; 16-bit
 * samples become round(v * 255 / 65535); palettes are looked up; alpha is dropped, never
 * blended.  JPEG chroma is converted as in ycbcr.h.  Colour profiles and the orientation
 * tag are not applied.  A damaged file is an error, never half a picture: checksums are
 * checked, and PNG and JPEG files must reach their end marker.
 *
 * Errors start with the path.  KC_ENOENT, KC_EIO: the file cannot be read.  KC_EFORMAT:
 * damaged, or no image.  KC_ENOSUP: an image of a kind that is not read (CMYK, ...).
 */
#ifndef KC_DATA_IMAGE_H
#define KC_DATA_IMAGE_H

#include "core/base.h"

enum {
	KC_IMAGE_BYTES = 256 << 20,     /* largest file */
	KC_IMAGE_PIXELS = 1 << 27       /* largest picture */
};

/* Packed rows of RGB triples.  Start from a zeroed struct; reading again reuses the buffer. */
struct kc_image {
	int width, height;
	uint8_t *rgb;
	size_t room;
};

/* Makes the picture width x height, contents undefined. */
int kc_image_resize_buffer(struct kc_image *, int width, int height);
void kc_image_release(struct kc_image *);

int kc_image_read(const char *path, struct kc_image *);
int kc_image_decode(const void *bytes, size_t size, struct kc_image *);

/* Width and height from the header if it is PNG or JPEG, else by decoding. */
int kc_image_size(const char *path, int *width, int *height);

/* True if the name ends like an image that is read here (.png, .jpg, ..., any case). */
bool kc_image_name(const char *name);

enum kc_image_format { KC_IMAGE_PNG, KC_IMAGE_JPEG };

/*
 * Encodes; the caller frees *bytes.  quality: 1 to 100, the scale of the tables in annex K
 * of the JPEG standard, chroma not subsampled; without effect on PNG, which is exact.
 */
int kc_image_encode(const struct kc_image *, enum kc_image_format, int quality,
		    uint8_t **bytes, size_t *size);

/*
 * Writes in the format that the name ends in: .png, .jpg or .jpeg.  The picture appears under
 * its name when it is complete, but is not forced to the disk.
 */
int kc_image_write(const char *path, const struct kc_image *, int quality);

#endif
