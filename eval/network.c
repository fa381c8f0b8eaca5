#include "eval/network.h"

#include "core/graph.h"
#include "models/eccv16.h"
#include "models/flownet2.h"
#include "models/siggraph17.h"
#include "models/tcvc.h"
#include "models/width.h"
#include "weights/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64 };             /* any size that all networks accept */

static struct kc_tensor *image(struct kc_model *m, const char *name, int n, int channels)
{
	return kc_input(m->g, name, KC_TYPE(KC_REAL, n, channels, SIDE, SIDE));
}

static void build_tcvc(struct kc_model *m, double width)
{
	const struct kc_tcvc_args a = {.frames = 3, .width = width, .class_head = true};

	kc_tcvc(m, image(m, "l", a.frames, 1), &a);
}

static void build_tcvc_eccv16(struct kc_model *m, double width)
{
	const struct kc_tcvc_args a = {.frames = 3, .width = width, .key = KC_TCVC_ECCV16};

	kc_tcvc(m, image(m, "l", a.frames, 1), &a);
}

static void build_siggraph17(struct kc_model *m, double width)
{
	const struct kc_siggraph17_args a = {.width = width, .global_hints = true,
					     .distribution = true};

	kc_siggraph17(m, image(m, "l", 1, 1), &a);
}

static void build_eccv16(struct kc_model *m, double width)
{
	kc_eccv16(m, image(m, "l", 1, 1), &(struct kc_eccv16_args){.width = width});
}

static void build_flownet2(struct kc_model *m, double width)
{
	(void)width;
	kc_flownet2(m, image(m, "first", 1, 3), image(m, "second", 1, 3), 1, 0);
}

static int check_eccv16(const struct kc_params *params, FILE *out)
{
	struct kc_eccv16_weights m;

	KC_TRY(kc_eccv16_check(params, &m));
	fprintf(out, "eccv16: model_out is the table of bin centres within %.2g; model8.6 varies "
		"by %.3g between bins (2.6 times as much with the temperature inside as without)\n",
		m.decoder_error, m.sharpness);
	return 0;
}

const struct kc_network kc_networks[] = {
	{"tcvc_eccv16", "fea_key.model8.4.weight", {"flow."}, 256, build_tcvc_eccv16, NULL},
	{"tcvc", "weigting.conv1.weight", {"flow.", "class_head."}, 196, build_tcvc, NULL},
	{"siggraph17", "model10.1.weight", {"global", "dist."}, 128, build_siggraph17, NULL},
	{"eccv16", "model8.4.weight", {0}, 256, build_eccv16, check_eccv16},
	{"flownet2", "flownetfusion.conv0.0.weight", {0}, 0, build_flownet2, NULL},
	{0},
};

const struct kc_network *kc_network_named(const char *name)
{
	char known[128] = "";

	for (const struct kc_network *n = kc_networks; n->name; n++) {
		size_t at = strlen(known);

		if (!strcmp(name, n->name))
			return n;
		snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", n->name);
	}
	kc_fail_at(KC_EINVAL, __FILE__, __LINE__, "no network %s; expected one of %s", name, known);
	return NULL;
}

const struct kc_network *kc_network_recognise(const struct kc_weights *w)
{
	for (const struct kc_network *n = kc_networks; n->name; n++)
		if (kc_weights_has(w, n->sign))
			return n;
	return NULL;
}

static bool has_part(const struct kc_network *n, const struct kc_weights *w, const char *part)
{
	char name[128];

	snprintf(name, sizeof name, "%s%s", part, n->sign);
	return kc_weights_has(w, name);
}

const char *kc_network_part(const struct kc_network *n, const struct kc_weights *w)
{
	static const char *const parts[] = {"", "fea_key.", "flow."};

	for (size_t i = 0; i < KC_COUNT(parts); i++)
		if (has_part(n, w, parts[i]))
			return parts[i];
	return "";
}

/* The roundest factor that makes `have` channels out of `full` (models/width.h). */
static double guess_width(int64_t have, int full)
{
	static const int parts[] = {1, 2, 4, 8, 16, 10, 20, 32, 64, 100};

	for (size_t i = 0; i < KC_COUNT(parts); i++)
		for (int k = 1; k <= parts[i]; k++)
			if (16 * k >= parts[i] && kc_width((double)k / parts[i], full) == have)
				return (double)k / parts[i];
	return 1;
}

double kc_network_width(const struct kc_network *n, const struct kc_weights *w)
{
	const char *text = kc_weights_note(w, "width");
	double width = text ? strtod(text, NULL) : 0;
	const struct kc_st_tensor *t;
	char name[128];

	if (!n->channels)
		return 1;
	if (width >= 0.0625 && width <= 1)
		return width;
	snprintf(name, sizeof name, "%s%s", kc_network_part(n, w), n->sign);
	if (kc_weights_find(w, name, &t) < 0 || !t || t->ndim < 1)
		return 1;
	return guess_width(t->dim[0], n->channels);
}

int kc_network_params(const struct kc_network *n, double width, struct kc_params **out)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_params *params = kc_params_new(KC_F32);
	struct kc_model m = {.g = g, .params = params};
	int rc = KC_ENOMEM;

	if (g && params) {
		n->build(&m, width);
		rc = kc_graph_status(g);
	}
	kc_model_release(&m);
	kc_graph_free(g);
	if (rc < 0)
		kc_params_free(params);
	else
		*out = params;
	return rc;
}

static int check(const struct kc_network *n, const struct kc_weights *w, struct kc_params *params,
		 FILE *out)
{
	struct kc_load_dest *d = kc_calloc(params->n, sizeof *d);
	int rc = d ? kc_params_alloc(params, false, false) : KC_ENOMEM;

	for (size_t i = 0; i < params->n && rc >= 0; i++) {
		const struct kc_param *p = params->v[i];

		d[i] = (struct kc_load_dest){p->name, p->type.ndim, p->type.dim,
					     kc_param_master(p).data};
	}
	if (rc >= 0)
		rc = kc_load_tensors(w, d, params->n, KC_LOAD_COMPLETE, NULL);
	free(d);
	return rc < 0 ? rc : n->check(params, out);
}

int kc_network_check(const struct kc_network *n, const struct kc_weights *w, FILE *out)
{
	struct kc_params *params;
	int rc;

	if (!n->check)
		return 0;
	KC_TRY(kc_network_params(n, kc_network_width(n, w), &params));
	rc = check(n, w, params, out);
	kc_params_free(params);
	return rc;
}
