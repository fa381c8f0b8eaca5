/* The numbers of sRGB and CIE Lab (D65), for kernels: those of scikit-image. */
#ifndef KC_LAYERS_COLOUR_H
#define KC_LAYERS_COLOUR_H

static const double xyz_of_rgb[3][3] = {
	{0.412453, 0.357580, 0.180423}, {0.212671, 0.715160, 0.072169},
	{0.019334, 0.119193, 0.950227},
};
static const double rgb_of_xyz[3][3] = {
	{3.24048134, -1.53715152, -0.49853633}, {-0.96925495, 1.87599, 0.04155593},
	{0.05564664, -0.20404134, 1.05731107},
};
static const double white[3] = {0.95047, 1, 1.08883};

static const double srgb_knee = 0.04045, linear_knee = 0.0031308;
static const double xyz_knee = 0.008856, lab_knee = 0.2068966;
/* Of the straight part of f below xyz_knee. */
static const double slope = 7.787, offset = 16.0 / 116;

#endif
