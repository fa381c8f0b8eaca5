#include "train/crops.h"

#include "data/symmetry.h"
#include "layers/cut.h"

_Static_assert((int)KC_CUT_MIRROR_X == KC_MIRROR_X && (int)KC_CUT_MIRROR_Y == KC_MIRROR_Y &&
		       (int)KC_CUT_TRANSPOSE == KC_TRANSPOSE,
	       "loader and operators number the symmetries alike");

/* ---- the choice ---- */

/* With frames much larger than the crop, what is not needed would be most of a batch. */
enum { AT_MOST = 2 };

static bool computes_flow(const struct kc_config *c)
{
	return c->recipe == KC_RECIPE_TCVC && c->flow == KC_FLOW_DIS;
}

bool kc_crops_need_data(const struct kc_config *c, const struct kc_device *d)
{
	if (c->data.augment == KC_AUGMENT_AUTO)
		return d->memory && !computes_flow(c);
	return c->data.augment == KC_AUGMENT_DEVICE;
}

/* Why the step cannot do it, or NULL. */
static const char *obstacle(const struct kc_config *c, const struct kc_dataset *d, int *width,
			    int *height)
{
	int window = c->recipe == KC_RECIPE_TCVC ? (int)c->data.keyframe_interval + 2 : 1;

	if (computes_flow(c))
		return "flow: dis is computed from the crops";
	if (!d)
		return "the data are not there";
	if (!kc_dataset_one_size(d, window, width, height))
		return window > 1 ? "the frames differ in size"
				  : "images of a folder may differ in size";
	if (*width < c->data.size || *height < c->data.size)
		return "a frame is smaller than the crop";
	return NULL;
}

int kc_crops_choose(const struct kc_config *c, const struct kc_device *device,
		    const struct kc_dataset *d, int *width, int *height, const char **why)
{
	bool wanted = c->data.augment == KC_AUGMENT_DEVICE ||
		      (c->data.augment == KC_AUGMENT_AUTO && device->memory);

	*why = wanted ? obstacle(c, d, width, height) : NULL;
	if (*why && c->data.augment == KC_AUGMENT_DEVICE)
		return KC_FAIL(KC_ECONFIG, "datasets.train.augment_on: device: %s", *why);
	if (wanted && !*why && c->data.augment == KC_AUGMENT_AUTO &&
	    (int64_t)*width * *height > AT_MOST * c->data.size * c->data.size)
		*why = "the frames are more than twice as large";
	if (!wanted || *why)
		*width = *height = 0;
	return 0;
}

/* ---- the step's inputs ---- */

static struct kc_tensor *cuts_of(struct kc_training *t)
{
	if (!t->fed.cuts)
		t->fed.cuts = kc_input(t->graph, "cuts",
				       KC_TYPE(KC_I32, t->batch, KC_CUT_COLUMNS));
	return t->fed.cuts;
}

void kc_training_frames(struct kc_training *t)
{
	int64_t n = t->window * t->batch, side = t->config->data.size, w = t->fed.width;

	if (!w) {
		t->frames = kc_input(t->graph, "frames", KC_TYPE(KC_U8, n, 3, side, side));
		t->fed.frames = t->frames;
		return;
	}
	t->fed.frames = kc_input(t->graph, "frames", KC_TYPE(KC_U8, n, 3, t->fed.height, w));
	t->frames = kc_cut_frames(t->graph, t->fed.frames, cuts_of(t), side);
}

void kc_training_flows(struct kc_training *t)
{
	int64_t n = t->n_pairs * t->batch, side = t->config->data.size, w = t->fed.width;

	if (!w) {
		t->flows = kc_input(t->graph, "flows", KC_TYPE(KC_REAL, n, 2, side, side));
		t->fed.flows = t->flows;
		return;
	}
	t->fed.flows = kc_input(t->graph, "flows", KC_TYPE(KC_I32, n, 1, t->fed.height, w));
	t->flows = kc_cut_flows(t->graph, t->fed.flows, cuts_of(t), side, KC_PACK_FLOW_UNIT);
}

static int feed(struct kc_plan *p, const struct kc_tensor *input, void *data)
{
	struct kc_buf b;

	if (!input)
		return 0;
	b = kc_buf_of(data, &input->type, KC_CLAST);
	return kc_plan_feed(p, input, &b);
}

int kc_training_feed(struct kc_training *t, struct kc_plan *p, const struct kc_batch *b)
{
	KC_ASSERT(!b->cuts == !t->fed.cuts);
	KC_TRY(feed(p, t->fed.frames, b->frames));
	KC_TRY(feed(p, t->fed.cuts, b->cuts));
	return feed(p, t->fed.flows, b->cuts ? (void *)b->stored_flows : (void *)b->flows);
}
