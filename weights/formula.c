#include "weights/formula.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SQRT2 1.4142135623730951

/* The first row whose patterns match network and parameter decides. */
static const struct {
	const char *net, *name;
	double gain;
} gains[] = {
	{"siggraph17", "model1.0.*", 4},
	{"siggraph17", "model_out.*", 1},
	{"siggraph17", "model_class.*", 1},
	{"siggraph17", "*", SQRT2},
	{"eccv16", "model1.0.*", 4},
	{"eccv16", "model8.6.*", 12},
	{"eccv16", "model_out.*", 6},
	{"eccv16", "*", SQRT2},
	{"flownet2", "flownetfusion.predict_flow0.*", 0.9},
	{"flownet2", "flownetfusion.predict_flow*", 0.5},
	{"flownet2", "flownetfusion.conv0.0.*", 1},
	{"flownet2", "flownets_d.predict_flow2.*", 20},
	{"flownet2", "*predict_flow*", 0.5},
	{"flownet2", "*upsampled_flow*", 1},
	{"flownet2", "flownetc.conv3.0.*", 4},
	{"flownet2", "*conv_redir*", 0.5},
	{"flownet2", "*.conv[56]*", 2.5},
	{"flownet2", "*.conv[01].0.*", 2},
	{"flownet2", "*", 1.4},
	{"tcvc", "L_fea_extractor.0.*", 4},
	{"tcvc", "weigting.conv3.*", 2},
	{"tcvc", "feature_refine.conv3.*", 0.5},
	{"tcvc", "*", SQRT2},
	{"nlayer_*", "*", 1.4},
	{"pixel_*", "*", 1.4},
	{"sn_patch", "*", 1.4},
	{"vgg*", "features.0.*", 0.7},
	{"vgg*", "*", SQRT2},
	{"convlstm_net", "*", 1.5},
	{"lstm_net", "*", 1.5},
};

static uint64_t hash_text(uint64_t h, const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++)
		h = (h ^ *p) * 0x100000001B3u;
	return h;
}

static uint64_t hash_name(const char *name, uint64_t seed)
{
	uint64_t h = hash_text(0xCBF29CE484222325u, name);
	char suffix[24];

	if (!seed)
		return h;
	snprintf(suffix, sizeof suffix, "#%llu", (unsigned long long)seed);
	return hash_text(h, suffix);
}

static uint32_t unit(uint64_t hash, uint64_t i)
{
	uint64_t z = hash + i + 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)((z ^ z >> 31) >> 40);
}

static float value(uint64_t hash, uint64_t i, double centre, double bound)
{
	return (float)(centre + bound * (2.0 * (unit(hash, i) / 16777216.0) - 1.0));
}

uint32_t kc_formula_unit(const char *name, uint64_t i, uint64_t seed)
{
	return unit(hash_name(name, seed), i);
}

float kc_formula_value(const char *name, uint64_t i, double centre, double bound, uint64_t seed)
{
	return value(hash_name(name, seed), i, centre, bound);
}

/* TCVC holds two whole networks under prefixes; their layers keep their own gains. */
static void strip_prefix(const char **net, const char **name)
{
	if (strcmp(*net, "tcvc"))
		return;
	if (!strncmp(*name, "fea_key.", 8)) {
		*net = "siggraph17";
		*name += 8;
	} else if (!strncmp(*name, "flow.", 5)) {
		*net = "flownet2";
		*name += 5;
	}
}

static int find_gain(const char *net, const char *name, double *gain)
{
	strip_prefix(&net, &name);
	for (size_t i = 0; i < KC_COUNT(gains); i++)
		if (!fnmatch(gains[i].net, net, 0) && !fnmatch(gains[i].name, name, 0)) {
			*gain = gains[i].gain;
			return 0;
		}
	return KC_FAIL(KC_EINVAL, "no weight formula for the network \"%s\"", net);
}

static bool is_spectral(const struct kc_formula *f)
{
	return !fnmatch("*.weight_[uv]", f->name, 0);
}

static int weight_bound(const struct kc_formula *f, double *bound)
{
	double fan = 1, gain;

	for (int i = 1; i < f->ndim; i++)
		fan *= (double)f->dim[i];
	if (f->kind == KC_PARAM_DECONV && f->ndim == 4)
		fan = fan / (double)f->dim[1] * (double)f->dim[0] / (double)(f->stride * f->stride);
	KC_TRY(find_gain(f->net, f->name, &gain));
	*bound = gain * sqrt(3 / fan);
	return 0;
}

int kc_formula_rule(const struct kc_formula *f, double *centre, double *bound)
{
	*centre = 0;
	*bound = is_spectral(f) ? 1 : 0.1;
	switch (f->kind) {
	case KC_PARAM_CONV:
	case KC_PARAM_DECONV:
	case KC_PARAM_LINEAR:
		return is_spectral(f) ? 0 : weight_bound(f, bound);
	case KC_PARAM_BIAS:
		*bound = 0.05;
		return 0;
	case KC_PARAM_NORM_WEIGHT:
		*centre = 1;
		return 0;
	case KC_PARAM_NORM_BIAS:
	case KC_PARAM_NORM_MEAN:
	case KC_PARAM_UNIT:
		return 0;
	case KC_PARAM_NORM_VAR:
		*centre = 1.1;
		return 0;
	case KC_PARAM_NORM_COUNT:
		*bound = 0;
		return 0;
	default:
		return KC_FAIL(KC_EINVAL, "%s: no weight formula for its kind", f->name);
	}
}

static uint64_t count_of(const struct kc_formula *f)
{
	uint64_t n = 1;

	for (int i = 0; i < f->ndim; i++)
		n *= (uint64_t)f->dim[i];
	return n;
}

/* What the elements are divided by: 1, or the length of a vector of spectral norm. */
static double length_of(const struct kc_formula *f, uint64_t hash, double centre, double bound)
{
	uint64_t n = count_of(f);
	double sum = 0;

	if (!is_spectral(f))
		return 1;
	for (uint64_t i = 0; i < n; i++) {
		double x = value(hash, i, centre, bound);

		sum += x * x;
	}
	return sqrt(sum);
}

int kc_formula_fill_f64(const struct kc_formula *f, double *out)
{
	uint64_t hash = hash_name(f->name, f->seed), n = count_of(f);
	double centre, bound, length;

	KC_TRY(kc_formula_rule(f, &centre, &bound));
	length = length_of(f, hash, centre, bound);
	for (uint64_t i = 0; i < n; i++)
		out[i] = value(hash, i, centre, bound) / length;
	return 0;
}

int kc_formula_fill_f32(const struct kc_formula *f, float *out)
{
	uint64_t hash = hash_name(f->name, f->seed), n = count_of(f);
	double centre, bound, length;

	KC_TRY(kc_formula_rule(f, &centre, &bound));
	length = length_of(f, hash, centre, bound);
	for (uint64_t i = 0; i < n; i++)
		out[i] = (float)(value(hash, i, centre, bound) / length);
	return 0;
}
