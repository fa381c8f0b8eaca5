/* From files of weights to a colorizer that is ready to run. */
#ifndef KC_EVAL_MODEL_H
#define KC_EVAL_MODEL_H

#include "models/colorizer.h"

enum kc_flow_choice { KC_MODEL_FLOW_UNSAID, KC_MODEL_FLOW_DIS, KC_MODEL_FLOW_FLOWNET2 };

struct kc_model_files {
	const char *model;              /* of TCVC, of siggraph17 or of eccv16 */
	const char *key_net;            /* for a TCVC file without fea_key.*; or NULL */
	const char *flow_net;           /* FlowNet 2.0, for a file without flow.*; or NULL */
	double mask_cent;               /* in place of the file's, if has_mask_cent */
	bool has_mask_cent;
	enum kc_flow_choice flow;       /* unsaid: FlowNet 2.0 where there are weights, else DIS */
};

/* What was found in the files. */
struct kc_model_about {
	const char *network;            /* "TCVC", "siggraph17", "eccv16", ... */
	const char *key_source, *flow_source;   /* files, or words; NULL: not needed */
	double width;
	int64_t iter;                   /* of training; -1: not told */
	double temperature;             /* that eccv16 runs with; 0: another network */
	bool temperature_told;          /* by the file */
};

/*
 * Fills in network, width, mask_cent, temperature, key, the parts and flownet of args from the
 * model file, opens the colorizer and loads its weights.  mask_cent is that of key_net, if it is
 * given.  Strings of *about live as long as `files`.
 * KC_ENOENT, KC_EFORMAT, KC_ESHAPE: a file is missing, damaged, or not of this network;
 * KC_ECONFIG: weights that are needed are in no file.
 */
int kc_model_open(struct kc_colorizer **, struct kc_colorizer_args *args, struct kc_device *,
		  const struct kc_model_files *, struct kc_model_about *about);

#endif
