#include "eval/network.h"

#include "core/graph.h"
#include "models/eccv16.h"
#include "models/flownet2.h"
#include "models/siggraph17.h"
#include "models/tcvc.h"

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
	const struct kc_tcvc_args a = {.frames = 3, .width = width};

	kc_tcvc(m, image(m, "l", a.frames, 1), &a);
}

static void build_siggraph17(struct kc_model *m, double width)
{
	const struct kc_siggraph17_args a = {.width = width};

	kc_siggraph17(m, image(m, "l", 1, 1), &a);
}

static void build_eccv16(struct kc_model *m, double width)
{
	(void)width;
	kc_eccv16(m, image(m, "l", 1, 1), 1);
}

static void build_flownet2(struct kc_model *m, double width)
{
	(void)width;
	kc_flownet2(m, image(m, "first", 1, 3), image(m, "second", 1, 3), 1, 0);
}

const struct kc_network kc_networks[] = {
	{"tcvc", "weigting.conv1.weight", "flow.", 196, build_tcvc},
	{"siggraph17", "model10.1.weight", NULL, 128, build_siggraph17},
	{"eccv16", "model_out.weight", NULL, 0, build_eccv16},
	{"flownet2", "flownetfusion.conv0.0.weight", NULL, 0, build_flownet2},
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

double kc_network_width(const struct kc_network *n, const struct kc_weights *w)
{
	const char *text = kc_weights_note(w, "width");
	double width = text ? strtod(text, NULL) : 0;
	const struct kc_st_tensor *t;

	if (!n->channels)
		return 1;
	if (width >= 0.0625 && width <= 1)
		return width;
	if (kc_weights_find(w, n->sign, &t) < 0 || !t || t->ndim < 1)
		return 1;
	/* Rounded up to multiples of 8, so the largest factor that gives the shape. */
	width = (double)t->dim[0] / n->channels;
	return KC_MIN(KC_MAX(width, 0.0625), 1);
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
