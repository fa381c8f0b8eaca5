/* From files of weights to a colorizer: what is found where, and what is missing. */
#include "core/file.h"
#include "eval/model.h"
#include "layers/cpu/cpu.h"
#include "models/eccv16.h"
#include "models/init.h"
#include "tests/test.h"
#include "weights/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes the parameters whose names begin with `prefix` (NULL: all), without `drop` letters. */
static void save(struct kc_params *s, const char *file, const char *prefix, size_t drop,
		 const char *width)
{
	const struct kc_st_pair meta[] = {{"width", width}, {"iter", "42"}};
	struct kc_st_item *items = kc_calloc(s->n, sizeof *items);
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct kc_param *p = s->v[i];

		if (prefix && strncmp(p->name, prefix, strlen(prefix)))
			continue;
		items[n] = (struct kc_st_item){.name = p->name + drop,
					       .dtype = KC_ST_F32,
					       .ndim = p->type.ndim,
					       .data = kc_param_master(p).data};
		memcpy(items[n++].dim, p->type.dim, (size_t)p->type.ndim * sizeof(int64_t));
	}
	KC_CHECK_OK(kc_seal_save(kc_test_path(file), items, n, meta, width ? 2 : 0, NULL));
	free(items);
}

/* A TCVC of that width as whole.safetensors, its parts as heads and key. */
static void write_models(struct kc_device *d)
{
	const struct kc_init init = {.write = kc_init_default, .seed = 1};
	struct kc_colorizer *c;
	struct kc_params *s;

	if (!KC_CHECK_OK(
		    kc_colorizer_open(&c, &(struct kc_colorizer_args){.width = 0.0625}, d, NULL)))
		return;
	s = kc_colorizer_params(c);
	KC_CHECK_OK(kc_params_init(s, &init));
	save(s, "whole.safetensors", NULL, 0, "0.0625");
	save(s, "key.safetensors", "fea_key.", 8, "0.0625");
	save(s, "heads.safetensors", "weigting.", 0, "0.0625");
	save(s, "wide.safetensors", NULL, 0, NULL);
	save(s, "odd.safetensors", NULL, 0, "many");
	save(s, "other.safetensors", "L_fea", 0, "1");
	kc_colorizer_close(c);
}

static int load(struct kc_device *d, const struct kc_model_files *files,
		struct kc_model_about *about, struct kc_colorizer_args *args)
{
	struct kc_colorizer *c;
	int rc;

	*args = (struct kc_colorizer_args){0};
	rc = kc_model_open(&c, args, d, files, about);
	if (rc >= 0)
		kc_colorizer_close(c);
	return rc;
}

static void test_found(void)
{
	struct kc_colorizer_args args;
	struct kc_model_about about;
	struct kc_device d;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	write_models(&d);
	if (KC_CHECK_OK(load(&d,
			     &(struct kc_model_files){.model = kc_test_path("whole.safetensors")},
			     &about, &args))) {
		KC_CHECK(args.network == KC_COLORIZE_TCVC && args.width == 0.0625 && !args.flownet);
		KC_CHECK(about.iter == 42 && !strcmp(about.flow_source, "DIS"));
	}
	if (KC_CHECK_OK(load(&d, &(struct kc_model_files){.model = kc_test_path("key.safetensors")},
			     &about, &args)))
		KC_CHECK(args.network == KC_COLORIZE_FRAMES && !about.flow_source);
	KC_CHECK_OK(load(&d, &(struct kc_model_files){.model = kc_test_path("whole.safetensors"),
			 .key_net = kc_test_path("key.safetensors")}, &about, &args));
	kc_device_release(&d);
}

static void test_eccv16(void)
{
	const struct kc_init init = {.write = kc_eccv16_init, .seed = 1};
	const struct kc_colorizer_args bins = {.network = KC_COLORIZE_BINS, .size = 16};
	struct kc_colorizer_args args;
	struct kc_model_about about;
	struct kc_colorizer *c;
	struct kc_device d;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	if (KC_CHECK_OK(kc_colorizer_open(&c, &bins, &d, NULL))) {
		save(kc_colorizer_params(c), "zeros.safetensors", NULL, 0, NULL);
		KC_CHECK_OK(kc_params_init(kc_colorizer_params(c), &init));
		save(kc_colorizer_params(c), "bins.safetensors", NULL, 0, NULL);
		kc_colorizer_close(c);
	}
	if (KC_CHECK_OK(load(&d, &(struct kc_model_files){
				.model = kc_test_path("bins.safetensors")}, &about, &args))) {
		KC_CHECK(args.network == KC_COLORIZE_BINS && !about.flow_source);
		KC_CHECK(!strcmp(about.network, "eccv16") && args.temperature == 0);
		KC_CHECK(about.temperature == 1 && !about.temperature_told);
	}
	KC_CHECK_ERR(load(&d, &(struct kc_model_files){.model = kc_test_path("zeros.safetensors")},
			  &about, &args), KC_EFORMAT, "off the table of bin centres");
	kc_device_release(&d);
}

static void test_missing(void)
{
	struct kc_colorizer_args args;
	struct kc_model_about about;
	struct kc_device d;

	KC_CHECK_OK(kc_device_cpu(&d, 1));
	write_models(&d);
#define REFUSED(err, text, ...) \
	KC_CHECK_ERR(load(&d, &(struct kc_model_files){__VA_ARGS__}, &about, &args), err, text)
	REFUSED(KC_ENOENT, "no such file", .model = kc_test_path("none.safetensors"));
	REFUSED(KC_EFORMAT, "as TCVC: ",
		.model = kc_test_path("heads.safetensors"));
	REFUSED(KC_EFORMAT, "neither TCVC", .model = kc_test_path("other.safetensors"));
	REFUSED(KC_ESHAPE, "the network needs", .model = kc_test_path("wide.safetensors"));
	REFUSED(KC_EFORMAT, "metadata width", .model = kc_test_path("odd.safetensors"));
	REFUSED(KC_ECONFIG, "--flow-net", .model = kc_test_path("whole.safetensors"),
		.flow = KC_MODEL_FLOW_FLOWNET2);
	REFUSED(KC_EFORMAT, "as FlowNet2: ", .model = kc_test_path("whole.safetensors"),
		.flow_net = kc_test_path("key.safetensors"));
#undef REFUSED
	kc_device_release(&d);
}

const struct kc_test kc_tests_model[] = {
	{"network, width and parts are found in the files", test_found},
	{"eccv16 is found as such", test_eccv16},
	{"what is missing or does not fit is named", test_missing},
	{0},
};
