#include "eval/grey.h"

#include "layers/layers.h"

static int build(struct kc_grey *g)
{
	const struct kc_plan_opts opts = {.real = KC_F32, .deterministic = true};
	struct kc_type plane = KC_TYPE(KC_REAL, 1, 1, g->height, g->width);
	struct kc_tensor *lab, *none;

	g->graph = kc_graph_new(&kc_layers);
	if (!g->graph)
		return KC_ENOMEM;
	g->in = kc_input(g->graph, "frame", KC_TYPE(KC_U8, 1, 3, g->height, g->width));
	lab = kc_rgb_to_lab(g->graph, kc_to_real(g->graph, g->in, 1.0 / 255));
	none = kc_fill(g->graph, 0, plane);
	lab = KC_CONCAT(g->graph, 1, kc_slice(g->graph, lab, 1, 0, 1, 1), none, none);
	g->out = kc_scale(g->graph, kc_lab_to_rgb_fit(g->graph, lab), 255);
	g->out = kc_pw1(g->graph, KC_PW_round, 0, 0, g->out);
	return kc_plan_build(&g->plan, g->graph, g->device, &g->out, 1, &opts);
}

static int fit(struct kc_grey *g, const struct kc_image *image)
{
	int rc;

	if (g->plan && g->width == image->width && g->height == image->height)
		return 0;
	kc_grey_release(g);
	g->width = image->width;
	g->height = image->height;
	rc = build(g);
	if (rc < 0)
		kc_grey_release(g);
	return rc;
}

int kc_grey_run(struct kc_grey *g, struct kc_image *image)
{
	struct kc_buf b;

	KC_TRY(fit(g, image));
	b = kc_buf_of(image->rgb, &g->in->type, KC_CLAST);
	KC_TRY(kc_plan_feed(g->plan, g->in, &b));
	KC_TRY(kc_plan_run(g->plan));
	return kc_plan_read(g->plan, g->out, &b);
}

void kc_grey_release(struct kc_grey *g)
{
	kc_plan_free(g->plan);
	kc_graph_free(g->graph);
	*g = (struct kc_grey){.device = g->device};
}
