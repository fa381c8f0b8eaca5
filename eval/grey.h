/* The grey picture of the same luma (L of CIE Lab): what is left of a frame without its colour. */
#ifndef KC_EVAL_GREY_H
#define KC_EVAL_GREY_H

#include "core/plan.h"
#include "data/image.h"

/* Compiled for one size; starts zeroed, is compiled anew when the size changes. */
struct kc_grey {
	struct kc_device *device;
	int width, height;
	struct kc_graph *graph;
	struct kc_plan *plan;
	struct kc_tensor *in, *out;
};

/* In place. */
int kc_grey_run(struct kc_grey *, struct kc_image *);
void kc_grey_release(struct kc_grey *);

#endif
