/*
 * Stands in for what a build without some libraries leaves out (make gpu_check on a machine that
 * has CUDA and little else): every function says so.  The CPU's kernels are the reference's then.
 */
#include "data/clip.h"
#include "data/image.h"
#include "layers/cpu/cpu.h"
#include "train/yaml.h"
#include "weights/h5.h"

int kc_device_cpu(struct kc_device *d, int threads)
{
	(void)threads;
	kc_device_reference(d);
	return 0;
}

const char *kc_cpu_describe(void)
{
	return "reference kernels";
}

double kc_cpu_peak(bool low)
{
	(void)low;
	return 0;
}

void kc_cpu_share_cores(char **argv)
{
	(void)argv;
}

int kc_yaml_load(const char *path, struct kc_yaml *y)
{
	(void)y;
	return KC_FAIL(KC_ENOSUP, "%s: this build is without libyaml", path);
}

int kc_yaml_parse(const char *name, const char *text, size_t size, struct kc_yaml *y)
{
	(void)text;
	(void)size;
	return kc_yaml_load(name, y);
}

void kc_yaml_release(struct kc_yaml *y)
{
	(void)y;
}

bool kc_dataset_one_size(const struct kc_dataset *d, int window, int *width, int *height)
{
	(void)d, (void)window, (void)width, (void)height;
	return false;
}

int kc_image_read(const char *path, struct kc_image *image)
{
	(void)image;
	return KC_FAIL(KC_ENOSUP, "%s: this build reads no images", path);
}

void kc_image_release(struct kc_image *image)
{
	(void)image;
}

bool kc_h5_is(const void *data, size_t size)
{
	(void)data;
	(void)size;
	return false;
}

int kc_h5_open(const char *path, struct kc_h5 *f)
{
	(void)f;
	return KC_FAIL(KC_ENOSUP, "%s: this build is without HDF5", path);
}

void kc_h5_close(struct kc_h5 *f)
{
	(void)f;
}

int kc_clip_load(const struct kc_clip *c, int64_t frame, struct kc_image *image)
{
	(void)frame;
	(void)image;
	return KC_FAIL(KC_ENOSUP, "%s: this build reads no clips", c->name);
}
